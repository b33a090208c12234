//! Keys of SRTP in descriptions.

use crate::base::time::Rate;
use crate::media::Codec;
use crate::media::Description;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::mikey::Message;
use crate::proto::rtp::srtp::KEY_LEN;
use crate::proto::rtp::srtp::MasterKey;
use crate::proto::rtp::srtp::Suite;
use crate::proto::sdp::Keying;
use crate::proto::sdp::keys;
use crate::proto::sdp::parse;
use crate::proto::sdp::write_sealed;

fn message() -> Message {
    let key = MasterKey::new(Suite::Tag80, &[7; KEY_LEN]).unwrap();
    Message { key, roll_over: 0 }
}

fn mikey() -> String {
    message().to_base64(&[1], &[2; 20], 3)
}

/// 30 bytes of 7.
const INLINE: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

#[test]
fn a_key_is_found_at_its_track_at_the_session_or_as_crypto() {
    let m = "m=video 0 RTP/SAVP 96\na=rtpmap:96 H264/90000\n";
    let (mikey, tag32) = (mikey(), MasterKey::new(Suite::Tag32, &[7; KEY_LEN]).unwrap());
    for text in [
        format!("v=0\n{m}a=key-mgmt:mikey {mikey}\n"),
        format!("v=0\na=key-mgmt:mikey {mikey}\n{m}"),
        format!("v=0\n{m}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE}|2^31\n"),
    ] {
        assert_eq!(keys(text.as_bytes()), [Keying::Key(message())], "{text}");
    }
    let short = format!("v=0\n{m}a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{INLINE}\n");
    let short_key = Message {
        key: tag32,
        roll_over: 0,
    };
    assert_eq!(keys(short.as_bytes()), [Keying::Key(short_key)]);
    assert_eq!(keys(format!("v=0\n{m}").as_bytes()), [Keying::Missing]);
    for unreadable in [
        "a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA\n",
        "a=key-mgmt:mikey AAAA\n",
        "a=key-mgmt:other AAAA\n",
    ] {
        let text = format!("v=0\n{m}{unreadable}");
        assert_eq!(keys(text.as_bytes()), [Keying::Unreadable], "{unreadable}");
    }
    let for_all = format!("v=0\na=key-mgmt:mikey AAAA\n{m}");
    assert_eq!(keys(for_all.as_bytes()), [Keying::Unreadable]);
}

#[test]
fn keys_are_in_the_order_of_tracks_and_media_in_the_clear_have_none() {
    let text = format!(
        "v=0\nm=text 0 RTP/SAVP 98\nm=audio 0 RTP/AVP 0\nm=video 0 RTP/SAVPF 96\na=rtpmap:96 H264/90000\n\
         a=key-mgmt:mikey {}\n",
        mikey()
    );
    assert_eq!(parse(text.as_bytes()).unwrap().0.tracks.len(), 2);
    assert_eq!(keys(text.as_bytes()), [Keying::Clear, Keying::Key(message())]);
    assert_eq!(keys(b"nonsense"), []);
}

#[test]
fn what_is_told_to_readers_of_srtp_can_be_read() {
    let track = Track {
        id: TrackId(0),
        kind: MediaKind::Video,
        codec: Codec::H264,
        payload_type: 96,
        rate: Rate::VIDEO,
        encoding: "H264".into(),
        channels: None,
        fmtp: None,
    };
    let description = Description { tracks: vec![track] };
    let text = write_sealed(&description, 1, &mikey(), INLINE);
    assert!(text.contains("m=video 0 RTP/SAVP 96\r\n"), "{text}");
    assert!(
        text.contains(&format!("AES_CM_128_HMAC_SHA1_80 inline:{INLINE}\r\n")),
        "{text}"
    );
    assert_eq!(parse(text.as_bytes()).unwrap().0, description);
    assert_eq!(keys(text.as_bytes()), [Keying::Key(message())]);
}
