//! Readers that speak: ONVIF's back channel.

use super::*;
use crate::proto::rtsp::auth::Rule;
use crate::proto::rtsp::server::ChosenTransport;
use crate::proto::rtsp::server::Event;
use crate::proto::rtsp::server::Refusal;
use crate::proto::rtsp::server::backchannel_track;
use crate::proto::rtsp::server::backchannel_type;

const REQUIRE: &str = "Require: www.onvif.org/ver20/backchannel";

fn setup(track: u8, transport: &str) -> String {
    format!("SETUP rtsp://h/cam/trackID={track} RTSP/1.0\nCSeq: 3\nTransport: {transport}")
}

#[test]
fn a_back_channel_is_the_paths_own_affair_and_551_by_name_where_there_is_none() {
    let mut peer = Peer::open();
    let wants = |ask: Ask| match ask {
        Ask::Describe(target) => target.backchannel,
        other => panic!("{other:?}"),
    };
    assert!(!wants(peer.ask("DESCRIBE rtsp://h/cam RTSP/1.0\nCSeq: 1")));
    peer.answer(Answer::Refused(Refusal::NotFound));
    assert!(wants(
        peer.ask(&format!("DESCRIBE rtsp://h/cam RTSP/1.0\nCSeq: 1\n{REQUIRE}"))
    ));
    let reply = peer.answer(Answer::Refused(Refusal::NoBackchannel));
    assert_eq!((reply.status, reply.get("CSeq")), (551, Some("1")));
    assert_eq!(reply.get("Unsupported"), Some("www.onvif.org/ver20/backchannel"));
    // The others of a list are refused by us alone.
    let both = format!("DESCRIBE rtsp://h/cam RTSP/1.0\nCSeq: 1\n{REQUIRE}, onvif-replay");
    let reply = peer.reply(&both);
    assert_eq!(
        (reply.status, reply.get("Unsupported")),
        (551, Some("onvif-replay"))
    );
    // SETUP and PLAY repeat it.
    let request = peer.ask_setup(&format!("{}\n{REQUIRE}", setup(0, "RTP/AVP/TCP")));
    assert!(request.target.backchannel);
    peer.answer(Answer::SetUp { ssrc: 1 });
    assert_eq!(
        peer.play(&format!("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4\n{REQUIRE}"))
            .status,
        200
    );
}

#[test]
fn what_a_reader_says_counts_while_it_plays_and_by_its_own_track_alone() {
    let mut peer = Peer::open();
    peer.set_up(&setup(0, "RTP/AVP/TCP;unicast;interleaved=0-1"));
    let reply = peer.set_up(&setup(200, "RTP/AVP/TCP;unicast;interleaved=2-3"));
    assert_eq!(
        reply.get("Transport"),
        Some("RTP/AVP/TCP;unicast;interleaved=2-3"),
        "its source is its own choice"
    );
    assert_eq!(peer.bytes(b"$\x02\x00\x01x"), [], "not yet");
    peer.ask("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4");
    let rtp_info = vec![info(0, 5, 6)];
    let reply = peer.answer(Answer::Playing { rtp_info });
    assert_eq!(
        reply.get("RTP-Info"),
        Some("url=rtsp://h/cam/trackID=0;seq=5;rtptime=6")
    );
    let said = |track, rtcp| {
        [Output::Interleaved {
            session: FIRST,
            track: TrackId(track),
            rtcp,
            packet: b"x".to_vec(),
        }]
    };
    assert_eq!(peer.bytes(b"$\x02\x00\x01x"), said(200, false));
    assert_eq!(peer.bytes(b"$\x03\x00\x01x"), said(200, true));
    assert_eq!(
        peer.bytes(b"$\x00\x00\x01x"),
        [],
        "the stream's own tracks go one way"
    );
    let out = peer.say("TEARDOWN rtsp://h/cam/trackID=200 RTSP/1.0\nCSeq: 5");
    let gone = Event::TrackTornDown {
        session: FIRST,
        track: TrackId(200),
    };
    assert_eq!(out[0], Output::Event(gone));
    assert_eq!(peer.bytes(b"$\x02\x00\x01x"), []);
    peer.set_up(&setup(208, "RTP/AVP/TCP;unicast"));
    peer.say("PAUSE rtsp://h/cam RTSP/1.0\nCSeq: 6");
    assert_eq!(peer.bytes(b"$\x02\x00\x01x"), [], "nor while it pauses");
}

#[test]
fn nobody_speaks_by_srtp_or_to_a_group() {
    let mut peer = Peer::with_options(Some((8000, 8001)), None, true);
    for transport in [
        "RTP/AVP;multicast",
        "RTP/SAVP/TCP;unicast",
        "RTP/SAVP;client_port=5000",
    ] {
        assert_eq!(peer.reply(&setup(200, transport)).status, 461, "{transport}");
    }
    let request = peer.ask_setup(&setup(208, "RTP/AVP;unicast;client_port=5000"));
    assert!(matches!(request.transport, ChosenTransport::Udp { .. }));
    assert_eq!(request.track.and_then(backchannel_type), Some(8));
    assert_eq!(backchannel_track(8), TrackId(208));
    assert!(
        [0, 15, 199, 201, 255]
            .iter()
            .all(|n| backchannel_type(TrackId(*n)).is_none())
    );
}

#[test]
fn who_may_read_and_not_publish_may_not_speak() {
    let users = |publish: &[&str]| {
        let publish = Some(publish.iter().map(|n| (*n).to_owned()).collect());
        let rules = vec![Rule {
            path: Some("cam".into()),
            read: None,
            publish,
        }];
        Users::new("Louver", vec![User::new("user", "Louver", "pass")]).with_rules(rules)
    };
    let basic = "Authorization: Basic dXNlcjpwYXNz"; // user:pass
    let request = |track| format!("{}\n{basic}", setup(track, "RTP/AVP/TCP;unicast"));
    let mut peer = Peer::with(None, Some(users(&[])));
    peer.ask_setup(&request(0));
    peer.answer(Answer::SetUp { ssrc: 1 });
    match &peer.say(&request(200))[..] {
        [Output::Event(Event::Forbidden { .. }), Output::Send(bytes)] => {
            assert_eq!(Reply::read(bytes).status, 403)
        }
        other => panic!("{other:?}"),
    }
    Peer::with(None, Some(users(&["user"]))).ask_setup(&request(200));
}
