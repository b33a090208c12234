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
