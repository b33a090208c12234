//! What carries a connection decides how its media may go.

use super::*;

const UDP: &str =
    "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP;unicast;client_port=5000-5001";
const LIST: &str = "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 1\n\
                    Transport: RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;unicast;interleaved=0-1";

#[test]
fn in_a_tunnel_media_goes_through_it_whatever_is_asked() {
    for request in [UDP, LIST] {
        let reply = Peer::carried_by(Carrier::Tunnel).set_up(request);
        let transport = reply.get("Transport").unwrap_or_default();
        assert!(
            transport.starts_with("RTP/AVP/TCP;unicast;interleaved=0-1"),
            "{transport}"
        );
    }
}

#[test]
fn who_comes_by_tls_gets_no_media_in_the_clear() {
    assert_eq!(Peer::carried_by(Carrier::Tls).reply(UDP).status, 461);
    let reply = Peer::carried_by(Carrier::Tls).set_up(LIST);
    let transport = reply.get("Transport").unwrap_or_default();
    assert!(transport.starts_with("RTP/AVP/TCP;"), "{transport}");
    Peer::carried_by(Carrier::Tcp).set_up(UDP);
}

#[test]
fn a_group_is_refused_in_tls_with_a_reason_where_there_are_groups() {
    let describe = "DESCRIBE rtsp://h/cam?vlcmulticast RTSP/1.0\nCSeq: 1";
    let multicast = "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP;multicast";
    let in_tls = |on: bool| Peer::make(Some((8000, 8001)), None, Carrier::Tls, on);
    for request in [describe, &describe.replace("?v", "?k=v&V"), multicast, UDP] {
        let out = in_tls(true).say(request);
        let [Output::Send(bytes)] = &out[..] else {
            panic!("{out:?}")
        };
        let text = String::from_utf8_lossy(bytes);
        assert!(
            text.starts_with("RTSP/1.0 461 ") && text.contains("in the clear what TLS hides"),
            "{text}"
        );
    }
    // Where there is none the query means nothing; out of TLS, or in a tunnel, the driver is asked.
    in_tls(false).ask(describe);
    Peer::with_options(Some((8000, 8001)), None, true).ask(describe);
    Peer::make(Some((8000, 8001)), None, Carrier::Tunnel, true).ask(describe);
}

#[test]
fn srtp_may_go_by_udp_over_tls_and_its_key_is_told() {
    const SAVP: &str = "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 1\n\
                        Transport: RTP/SAVP;unicast;client_port=5000-5001";
    let mut peer = Peer::carried_by(Carrier::Tls);
    assert!(peer.ask_setup(SAVP).sealed);
    let reply = peer.answer(Answer::SetUpSealed {
        ssrc: 1,
        mikey: "AAAA".to_owned(),
    });
    let transport = reply.get("Transport").unwrap_or_default();
    assert!(
        transport.starts_with("RTP/SAVP;unicast;client_port=5000-5001"),
        "{transport}"
    );
    let key = "prot=mikey;uri=\"rtsp://h/cam/trackID=0\";data=\"AAAA\"";
    assert_eq!(reply.get("KeyMgmt"), Some(key));
}

#[test]
fn who_asks_for_srtp_in_the_query_gets_it_by_any_transport() {
    // FFmpeg reads the key in the SDP, and asks for RTP/AVP all the same.
    for url in ["rtsp://h/cam?srtp/trackID=0", "rtsp://h/cam/trackID=0?a=b&srtp=1"] {
        let request = format!("SETUP {url} RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP;unicast");
        assert!(Peer::carried_by(Carrier::Tls).ask_setup(&request).sealed, "{url}");
    }
    assert!(!Peer::open().ask_setup(UDP).sealed);
}
