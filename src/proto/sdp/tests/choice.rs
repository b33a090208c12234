//! Which tracks a query shows.

use crate::proto::sdp::choose;
use crate::proto::sdp::parse;
use crate::proto::sdp::write;

/// Two of each kind, and the first video and audio tracks are what few know.
const MANY: &str = "v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 VP9/90000\nm=audio 0 RTP/AVP 97\na=rtpmap:97 opus/48000/2\n\
    m=application 0 RTP/AVP 98\na=rtpmap:98 smpte336m/90000\nm=video 0 RTP/AVP 99\na=rtpmap:99 H264/90000\n\
    m=audio 0 RTP/AVP 100\na=rtpmap:100 mpeg4-generic/48000/2\na=fmtp:100 mode=AAC-hbr\nm=audio 0 RTP/AVP 8\n\
    m=application 0 RTP/AVP 107\na=rtpmap:107 vnd.onvif.metadata/90000\n";

fn shown(sdp: &str, query: Option<&str>) -> Vec<u8> {
    let chosen = choose(&parse(sdp.as_bytes()).unwrap().0, query);
    chosen.tracks.iter().map(|t| t.id.0).collect()
}

#[test]
fn a_description_shows_one_video_and_one_audio_track_that_recorders_know() {
    assert_eq!(shown(MANY, None), [3, 4]);
    assert_eq!(shown(MANY, Some("token=x&stats=off")), [3, 4]);
    // Where there is none that they know, the first.
    let unknown =
        "v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 VP9/90000\nm=video 0 RTP/AVP 97\na=rtpmap:97 VP8/90000\n";
    assert_eq!(shown(unknown, None), [0]);
    let data = "v=0\nm=application 0 RTP/AVP 98\na=rtpmap:98 smpte336m/90000\nm=application 0 RTP/AVP 99\n";
    assert_eq!(
        shown(data, None),
        [0, 1],
        "data alone is what the stream is about"
    );
    // Their controls are those of the stream, so that SETUP means the same track.
    let chosen = choose(&parse(MANY.as_bytes()).unwrap().0, None);
    let text = write(&chosen, 1);
    assert_eq!(text.matches("m=").count(), 2);
    assert!(
        text.contains("a=control:trackID=3\r\n") && text.contains("a=control:trackID=4\r\n"),
        "{text}"
    );
}

#[test]
fn other_tracks_are_shown_by_the_query() {
    for (query, want) in [
        ("tracks=all", &[0, 1, 2, 3, 4, 5, 6][..]),
        ("video=all&audio=all&data=all", &[0, 1, 2, 3, 4, 5, 6]),
        ("video=all", &[0, 3, 4]),
        ("video=&audio=00", &[3]),
        ("Audio=ALL&k=v", &[1, 3, 4, 5]),
        ("data=1", &[2, 3, 4]),
        ("data=2", &[3, 4, 6]),
        ("data=smpte336m", &[2, 3, 4]),
        ("video=1&audio=3", &[0, 5]),
        ("video=vp9&audio=opus", &[0, 1]),
        ("video=H.264&audio=aac", &[3, 4]),
        ("audio=PCMA", &[3, 5]),
        ("audio=none", &[3]),
        ("video=0&audio=mpeg4-generic", &[4]),
        ("tracks=all&video=none", &[1, 2, 4, 5, 6]),
        ("video=9&audio=none", &[]),
        ("video=h265", &[4]),
        ("video=none&audio=none", &[]),
    ] {
        assert_eq!(shown(MANY, Some(query)), want, "{query}");
    }
}
