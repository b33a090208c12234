//! Readers that want multicast.

use super::*;
use crate::proto::rtsp::server::ChosenTransport;
use crate::proto::rtsp::server::Group;

fn setup(transport: &str) -> String {
    format!("SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 3\nTransport: {transport}")
}

fn group() -> Group {
    Group {
        destination: "239.1.2.3".into(),
        ports: (6000, 6001),
        ttl: 4,
    }
}

#[test]
fn the_reply_names_group_ports_and_ttl_in_the_clients_spelling() {
    for (asked, told) in [
        (
            "RTP/AVP/UDP;multicast",
            "RTP/AVP/UDP;multicast;destination=239.1.2.3;port=6000-6001;ttl=4",
        ),
        // live555 names a port, GStreamer the mode: both are told ours.
        (
            "RTP/AVP;multicast;client_port=5000-5001",
            "RTP/AVP;multicast;destination=239.1.2.3;port=6000-6001;ttl=4",
        ),
        (
            "RTP/AVP;multicast;mode=\"PLAY\"",
            "RTP/AVP;multicast;destination=239.1.2.3;port=6000-6001;ttl=4",
        ),
    ] {
        let mut peer = Peer::with_options(Some((8000, 8001)), None, true);
        assert_eq!(
            peer.ask_setup(&setup(asked)).transport,
            ChosenTransport::Multicast
        );
        let reply = peer.answer(Answer::SetUpMulticast {
            ssrc: 0xab,
            group: group(),
        });
        assert_eq!(
            reply.get("Transport"),
            Some(format!("{told};ssrc=000000AB").as_str())
        );
        // It lives by its requests, and outlives its connection.
        peer.play("PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 4");
        assert_eq!(peer.sleeps(), IDLE);
        assert_eq!(peer.conn.give_up().len(), 1);
    }
}

#[test]
fn where_it_is_off_and_for_publishers_it_is_461_or_the_next_that_is_offered() {
    assert_eq!(Peer::open().reply(&setup("RTP/AVP;multicast")).status, 461);
    let mut on = Peer::with_options(Some((8000, 8001)), None, true);
    assert_eq!(on.reply(&setup("RTP/AVP;multicast;mode=record")).status, 461);
    let next = Peer::open().ask_setup(&setup("RTP/AVP;multicast,RTP/AVP/TCP;interleaved=0-1"));
    assert!(matches!(next.transport, ChosenTransport::Tcp { .. }));
}
