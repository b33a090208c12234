//! Dialects as they are met, and the way back.

mod choice;
mod keys;
mod rules;

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::base::time::Rate;
use crate::media::Codec;
use crate::media::MediaKind;
use crate::media::TrackId;

/// Compares with `tests/golden/NAME`; `UPDATE_GOLDEN=1 cargo test` rewrites it, and git shows what moved.
#[track_caller]
fn golden(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(want == got, "{name} differs\n--- want\n{want}\n--- got\n{got}");
}

/// The tracks of a text in a few words each: `video H.264 96 H264/90000 a=b`.
fn drawn(text: &str) -> Vec<String> {
    let (description, controls) = parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e} in\n{text}"));
    assert_eq!(description.tracks.len(), controls.len());
    let line = |(t, control): (&Track, &String)| {
        let channels = t.channels.map(|c| format!("/{c}")).unwrap_or_default();
        let (kind, hz, fmtp) = (t.kind.as_str(), t.rate.hz(), t.fmtp.as_deref().unwrap_or("-"));
        format!(
            "{kind} {} {} {}/{hz}{channels} {fmtp} [{control}]",
            t.codec, t.payload_type, t.encoding
        )
    };
    description.tracks.iter().zip(&controls).map(line).collect()
}

const FFMPEG_DEFAULT: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    a=tool:libavformat LIBAVFORMAT_VERSION\r\nm=video 0 RTP/AVP 96\r\nb=AS:200\r\n\
    a=rtpmap:96 MP4V-ES/90000\r\n\
    a=fmtp:96 profile-level-id=1; config=000001B001000001B58913\r\na=control:streamid=0\r\n\
    m=audio 0 RTP/AVP 97\r\nb=AS:69\r\na=rtpmap:97 MPEG4-GENERIC/44100/1\r\n\
    a=fmtp:97 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;\
    indexdeltalength=3; config=120856E500\r\n\
    a=control:streamid=1\r\n";

#[test]
fn ffmpegs_publisher_without_options_sends_mpeg4_and_aac() {
    let aac =
        "profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=120856E500";
    assert_eq!(
        drawn(FFMPEG_DEFAULT),
        [
            "video MPEG-4 part 2 96 MP4V-ES/90000 \
                profile-level-id=1;config=000001B001000001B58913 [streamid=0]",
            &format!("audio AAC 97 MPEG4-GENERIC/44100/1 {aac} [streamid=1]"),
        ]
    );
}

#[test]
fn ffmpegs_h264_h265_jpeg_and_audio() {
    let text = "v=0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
        a=fmtp:96 packetization-mode=1; \
        sprop-parameter-sets=Z/QADJGbKCg=,aOvjxEhE; profile-level-id=F4000C\r\n\
        m=video 0 RTP/AVP 97\r\na=rtpmap:97 H265/90000\r\n\
        a=fmtp:97 sprop-vps=QAEM; sprop-sps=QgEB; sprop-pps=RAHB\r\n\
        m=video 5004 RTP/AVP 26\r\nb=AS:200\r\nm=audio 5006 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\n\
        m=audio 0 RTP/AVP 0\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 PCMA/16000/1\r\nm=audio 0 RTP/AVP 14\r\n\
        m=video 0 RTP/AVP 33\r\n";
    assert_eq!(
        drawn(text),
        [
            "video H.264 96 H264/90000 \
                packetization-mode=1;sprop-parameter-sets=Z/QADJGbKCg=,aOvjxEhE;profile-level-id=F4000C []",
            "video H.265 97 H265/90000 sprop-vps=QAEM;sprop-sps=QgEB;sprop-pps=RAHB []",
            "video MJPEG 26 JPEG/90000 - []",
            "audio Opus 97 opus/48000/2 - []",
            "audio G.711 mu-law 0 PCMU/8000 - []",
            "audio G.711 A-law 97 PCMA/16000/1 - []",
            "audio MPEG audio 14 MPA/90000 - []",
            "video MPEG-TS 33 MP2T/90000 - []",
        ]
    );
}

const GSTREAMER: &str = "v=0\r\no=- 1571926180 1 IN IP4 127.0.0.1\r\ns=Session streamed with GStreamer\r\n\
    i=rtspclientsink\r\nt=0 0\r\na=tool:GStreamer\r\n\
    m=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\nb=AS:2097\r\n\
    a=rtpmap:96 H264/90000\r\na=framerate:30\r\n\
    a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z/QADZGW,aOvMRIRA;profile-level-id=f4000d\r\n\
    a=control:stream=0\r\na=ts-refclk:local\r\na=mediaclk:sender\r\n\
    a=ssrc:3187884665 cname:user36@desk.example\r\n";

#[test]
fn gstreamers_publisher_is_read_and_who_runs_it_is_told_to_nobody() {
    let want = "video H.264 96 H264/90000 \
        packetization-mode=1;sprop-parameter-sets=Z/QADZGW,aOvMRIRA;profile-level-id=f4000d [stream=0]";
    assert_eq!(drawn(GSTREAMER), [want]);
    let out = write(&parse(GSTREAMER.as_bytes()).unwrap().0, 1);
    assert!(
        !out.contains("user36") && !out.contains("desk") && !out.contains("127.0.0.1"),
        "{out}"
    );
}

#[test]
fn broken_lines_of_cameras_are_read_as_they_were_meant() {
    let cases: &[(&str, &str)] = &[
        (
            "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
            "video H.264 96 H264/90000 - []",
        ),
        (
            "v=0\nm = video  0  RTP/AVP  96 \r\r\na= rtpmap: 96  h264 / 90000 \n",
            "video H.264 96 h264/90000 - []",
        ),
        (
            "v=1\nt=\nc=nonsense\nb=AS:-1\nm=video 99999999/2 RTP/AVP 26 97\nz=?\n",
            "video MJPEG 26 JPEG/90000 - []",
        ),
        (
            "m=video 0 RTP/AVP 96\na=rtpmap:96 H264\na=fmtp:96 ;a=1; ;b=2;;",
            "video H.264 96 H264/90000 a=1;b=2 []",
        ),
        (
            "m=video 0 RTP/AVP 96\na=rtpmap:96 H265/0\n",
            "video H.265 96 H265/90000 - []",
        ),
        (
            "m=video 0 RTP/AVP 96\na=fmtp:96 sprop-parameter-sets=Z0I=,aM4=\n",
            "video H.264 96 H264/90000 sprop-parameter-sets=Z0I=,aM4= []",
        ),
        (
            "m=video 0 RTP/AVP 96\na=fmtp:96 x=1\na=rtpmap:97 VP8/90000\n\
                a=rtpmap:96 HEVC/90000\na=fmtp:97 y\na=fmtp:96 z=2",
            "video H.265 96 HEVC/90000 x=1;z=2 []",
        ),
        (
            "M=video\ngarbage\n=\n\nm=audio 0 rtp/avp 8\na=control:*\n",
            "audio G.711 A-law 8 PCMA/8000 - []",
        ),
        (
            "m=audio 0 RTP/AVP 97\na=rtpmap:97 OPUS/48000\n",
            "audio Opus 97 OPUS/48000/2 - []",
        ),
        (
            "m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/8000\na=fmtp:97 mode=CELP-vbr",
            "audio other 97 mpeg4-generic/8000 mode=CELP-vbr []",
        ),
        (
            "m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/8000\na=fmtp:97 MODE=aac-LBR",
            "audio AAC 97 mpeg4-generic/8000 MODE=aac-LBR []",
        ),
        (
            "m=audio 0 RTP/AVP 98\na=control:rtsp://h:554/p?q/track2\n",
            "audio other 98 /8000 - [rtsp://h:554/p?q/track2]",
        ),
        (
            "m=audio 0 RTP/AVP 97\na=rtpmap:97 H264/90000\n",
            "audio other 97 H264/90000 - []",
        ),
    ];
    for (text, want) in cases {
        assert_eq!(drawn(text), [*want], "{text}");
    }
    let latin1 = b"v=0\r\ns=Caf\xe9\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\ni=\xff\r\n";
    assert_eq!(parse(latin1).unwrap().0.tracks[0].codec, Codec::H264);
}

#[test]
fn what_is_not_relayed_is_left_out_and_ids_stay_dense() {
    let text = "m=text 0 RTP/AVP 98\na=control:t\nm=video 0 RTP/AVP 26\na=control:v\n\
        m=application/TP-LINK 0 RTP/AVP smart/1/90000\nm=application 0 RTP/AVP smart/1/90000\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\nm=application 0 RTP/AVP 107\n\
        a=rtpmap:107 vnd.onvif.metadata/90000\na=control:d\n";
    assert_eq!(
        drawn(text),
        [
            "video MJPEG 26 JPEG/90000 - [v]",
            "application other 107 vnd.onvif.metadata/90000 - [d]"
        ]
    );
    let (description, _) = parse(text.as_bytes()).unwrap();
    assert_eq!(description.tracks[1].id, TrackId(1));
}

#[test]
fn errors_tell_the_line_and_what_was_expected_and_quote_nothing() {
    let many = "m=video 0 RTP/AVP 26\n".repeat(17);
    let cases: &[(&str, &str)] = &[
        (
            "",
            "sdp: no track, expected at least one m=audio, m=video or m=application line over RTP",
        ),
        (
            "v=0\r\nm=text 0 RTP/AVP 96\r\n",
            "sdp: no track, expected at least one m=audio, m=video or m=application line over RTP",
        ),
        (
            "v=0\n\nm=video secret\n",
            "sdp: line 3: an m= line of fewer than four words, expected m=KIND PORT RTP/AVP PAYLOAD-TYPE",
        ),
        (
            "v=0\nm=video 0 RTP/AVP 128\n",
            "sdp: line 2: no payload type, expected a number from 0 to 127",
        ),
        (
            "v=0\nm=video 0 udp 33\n",
            "sdp: line 2: media that are not RTP, expected RTP/AVP",
        ),
        (
            "v=0\na=x\nm=video 0 UDP/TLS/RTP/SAVP 96\n",
            "sdp: line 3: media encrypted with DTLS, expected RTP/AVP or RTP/SAVP; send it so, over RTSPS if need be",
        ),
        (&many, "sdp: line 17: more than 16 tracks; announce fewer"),
    ];
    for (text, want) in cases {
        assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), *want, "{text}");
    }
    let long = "a=x\n".repeat(20_000);
    assert_eq!(
        parse(long.as_bytes()).unwrap_err().to_string(),
        "sdp: 80000 bytes, expected at most 65536; announce fewer tracks"
    );
}

#[test]
fn readers_of_ffmpegs_default_publisher_are_told_this() {
    golden(
        "ffmpeg_default.sdp",
        &write(&parse(FFMPEG_DEFAULT.as_bytes()).unwrap().0, 7),
    );
}

#[test]
fn readers_of_gstreamers_publisher_are_told_this() {
    golden(
        "gstreamer_h264.sdp",
        &write(&parse(GSTREAMER.as_bytes()).unwrap().0, 7),
    );
}

#[test]
fn readers_of_fixed_types_and_unknown_ones_are_told_this() {
    let text = "m=video 0 RTP/AVP 26\nm=audio 0 RTP/AVP 10\nm=application 0 RTP/AVP 98\n\
        m=audio 0 RTP/AVP 97\n\
        a=rtpmap:97 opus/48000\na=fmtp:97 sprop-stereo=0\n";
    golden(
        "fixed_types.sdp",
        &write(&parse(text.as_bytes()).unwrap().0, u64::MAX),
    );
}

/// Tracks as [`parse`] makes them.
fn a_track() -> impl Strategy<Value = Track> {
    let encodings = [
        ("H264", Codec::H264, MediaKind::Video),
        ("hevc", Codec::H265, MediaKind::Video),
        ("JPEG", Codec::Jpeg, MediaKind::Video),
        ("MP4V-ES", Codec::Mpeg4Visual, MediaKind::Video),
        ("VP9", Codec::Vp9, MediaKind::Video),
        ("av1", Codec::Av1, MediaKind::Video),
        ("MPV", Codec::Mpeg2Video, MediaKind::Video),
        ("L24", Codec::Lpcm, MediaKind::Audio),
        ("smpte336m", Codec::Klv, MediaKind::Application),
        ("MPEG4-generic", Codec::Aac, MediaKind::Audio),
        ("MP4A-LATM", Codec::AacLatm, MediaKind::Audio),
        ("PCMU", Codec::Pcmu, MediaKind::Audio),
        ("MP2T", Codec::MpegTs, MediaKind::Application),
        ("x-unheard.of", Codec::Other, MediaKind::Application),
    ];
    let params =
        proptest::option::of("[a-z-]{1,8}=[A-Za-z0-9+/=,]{0,12}(;[a-z]{1,8}=[ -:<-~]{0,8}[!-:<-~]){0,3}");
    let parts = (
        prop::sample::select(encodings.to_vec()),
        0u8..128,
        1u32..,
        prop::option::of(1u8..),
        params,
    );
    parts.prop_map(
        |((encoding, codec, kind), payload_type, hz, channels, fmtp)| Track {
            id: TrackId(0),
            kind,
            codec,
            payload_type,
            rate: Rate::new(hz).unwrap(),
            encoding: encoding.into(),
            channels,
            fmtp: fmtp.filter(|f| !f.contains("mode=")),
        },
    )
}

/// Lines made of the words that matter, and of noise.
const NEARLY_SDP: &str = "\
    (([vmasct]=)?(video|audio|fmtp:96|rtpmap:96|[ -~\r\n]{1,3}| 0 RTP/AVP 96|/90000|\n|é)\
    {0,9}\n){0,9}";

proptest! {
    #[test]
    fn what_is_written_is_read_back(mut tracks in prop::collection::vec(a_track(), 1..=MAX_TRACKS), id: u64) {
        for (track, n) in tracks.iter_mut().zip(0..) {
            track.id = TrackId(n);
        }
        let description = Description { tracks };
        let text = write(&description, id);
        let (again, controls) = parse(text.as_bytes()).unwrap();
        prop_assert_eq!(&again, &description);
        prop_assert_eq!(&controls[0], "trackID=0");
        prop_assert!(text.split("\r\n").all(|line| !line.contains(['\r', '\n'])) && text.ends_with("\r\n"));
    }

    /// Whatever is read can be written, and reads the same from then on.
    #[test]
    fn no_text_panics_and_what_is_read_is_stable(text in NEARLY_SDP) {
        if let Ok((description, _)) = parse(text.as_bytes()) {
            prop_assert_eq!(parse(write(&description, 1).as_bytes()).unwrap().0, description);
        }
    }
}
