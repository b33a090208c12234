//! What the RTSP server promises publishers about sockets, keys and time, in dialogues by hand.

use std::net::IpAddr;
use std::net::Ipv4Addr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::relay::Options;
use crate::relay::Relay;
use crate::rtsp::Conn;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// MIKEY with one key in the clear: 16 bytes of 1, 14 of 2.
fn mikey() -> String {
    let mut bytes = vec![1, 0, 1, 0, 0, 0, 0, 1, 0, 0];
    bytes.extend([0, 0, 0, 4 + 16 + 2 + 14, 0, 3 << 4, 0, 16]);
    bytes.extend([1; 16]);
    bytes.extend([0, 14]);
    bytes.extend([2; 14]);
    bytes.push(0);
    STANDARD.encode(bytes)
}

#[test]
fn srtp_with_a_key_that_is_missing_or_not_understood_is_refused_and_never_taken_in_the_clear() {
    let relay = Relay::start(Options::publish());
    let url = relay.rtsp("live");
    let sdp = |line: &str| format!("v=0\r\nm=audio 0 RTP/SAVP 8\r\n{line}a=control:a\r\n");
    let announce = |line: &str| {
        let mut conn = Conn::open(HOST, relay.addr("rtsp"));
        let status = conn.request_with("ANNOUNCE", &url, &[], &sdp(line)).status;
        (conn, status)
    };
    let inline = STANDARD.encode([7; 46]);
    for unreadable in [
        "a=key-mgmt:mikey AAAA\r\n".to_owned(),
        format!("a=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:{inline}\r\n"),
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\n".to_owned(),
    ] {
        assert_eq!(announce(&unreadable).1, 463, "{unreadable}");
        assert!(!relay.api("/api/v1/paths").to_string().contains("\"live\""));
    }
    // No key yet: it has to come with SETUP, whatever the transport is called.
    let (mut conn, status) = announce("");
    assert_eq!(status, 200);
    let mut setup = |profile: &str, key: &str| {
        let transport = format!("{profile}/TCP;unicast;interleaved=0-1;mode=record");
        let mut headers = vec![("Transport", transport.as_str())];
        let key = format!("prot=mikey;uri=\"\";data=\"{key}\"");
        if !key.ends_with("data=\"\"") {
            headers.push(("KeyMgmt", &key));
        }
        conn.request("SETUP", &format!("{url}/a"), &headers).status
    };
    assert_eq!(setup("RTP/AVP", ""), 463);
    assert_eq!(setup("RTP/SAVP", ""), 463);
    assert_eq!(setup("RTP/SAVP", "AAAA"), 463);
    assert_eq!(setup("RTP/SAVP", &mikey()), 200);
    relay.stop();
}
