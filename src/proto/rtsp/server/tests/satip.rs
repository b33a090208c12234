//! VLC without live555, as Debian has it: its `satip` module sets up without describing and wants MPEG-TS.

use super::*;
use crate::proto::rtsp::server::ChosenTransport;
use crate::proto::rtsp::server::Event;
use crate::proto::rtsp::server::Rendition;

const SETUP: &str = "SETUP rtsp://HOST:8554/mystream RTSP/1.0\nCSeq: 0\n\
                     Transport: RTP/AVP;unicast;client_port=9242-9243";

fn dialogue(peer: &mut Peer, setup: &str, base: &str) {
    let request = peer.ask_setup(setup);
    assert_eq!((request.rendition, request.track), (Rendition::MpegTs, None));
    assert_eq!(request.target.path, "mystream");
    assert_eq!(
        request.transport,
        ChosenTransport::Udp {
            client_rtp: 9242,
            client_rtcp: 9243
        }
    );
    let reply = peer.answer(Answer::SetUp { ssrc: 1 });
    assert_eq!(reply.get("CSeq"), Some("0"));
    let session = reply.session();
    assert_eq!(
        reply.get("Session"),
        Some(format!("{session};timeout=60").as_str())
    );
    let transport = reply.get("Transport").expect("a transport");
    assert!(transport.starts_with("RTP/AVP;unicast;client_port=9242-9243;server_port=8000-8001"));
    assert_eq!(reply.get("Content-Base"), Some(base));
    assert_eq!(reply.get("com.ses.streamID"), Some("0"));

    let control = format!("{base}stream=0");
    let play = format!("PLAY {control} RTSP/1.0\nCSeq: 1\nSession: {session}");
    assert_eq!(peer.ask(&play), Ask::Play { session: FIRST });
    let reply = peer.answer(Answer::Playing {
        rtp_info: vec![info(0, 3, 4)],
    });
    assert_eq!((reply.status, reply.session()), (200, session.clone()));

    let keepalive = format!("OPTIONS {control} RTSP/1.0\nCSeq: 2\nSession: {session}");
    for _ in 0..3 {
        assert_eq!(peer.wait(Duration::from_secs(55)), []);
        assert_eq!(peer.reply(&keepalive).status, 200);
    }
    let end = peer.say(&format!(
        "TEARDOWN {control} RTSP/1.0\nCSeq: 3\nSession: {session}"
    ));
    assert_eq!(end[0], Output::Event(Event::TornDown { session: FIRST }));
    assert_eq!(reply_alone(end[1..].to_vec()).status, 200);
}

#[test]
fn satip_gets_mpeg_ts_and_ends_well() {
    dialogue(&mut Peer::open(), SETUP, "rtsp://HOST:8554/mystream/");
}

#[test]
fn satip_brings_its_credentials_in_the_url_and_only_there() {
    let setup = SETUP.replace("HOST", "user:p%61ss@HOST");
    dialogue(&mut Peer::guarded(), &setup, "rtsp://HOST:8554/mystream/");
}

#[test]
fn satip_may_fall_back_to_its_default_control_without_a_base() {
    let mut peer = Peer::open();
    let session = peer.set_up(SETUP).session();
    let play = format!("PLAY rtsp://HOST:8554/stream=0 RTSP/1.0\nCSeq: 1\nSession: {session}");
    assert_eq!(peer.play(&play).status, 200);
}

#[test]
fn a_query_of_satip_is_kept() {
    let mut peer = Peer::open();
    let request = peer.ask_setup(&SETUP.replace("mystream", "mystream?stats=off"));
    assert!(request.target.stats_off);
    let reply = peer.answer(Answer::SetUp { ssrc: 1 });
    assert_eq!(
        reply.get("Content-Base"),
        Some("rtsp://HOST:8554/mystream?stats=off/")
    );
}

#[test]
fn who_described_the_path_gets_its_only_track_instead() {
    let mut peer = Peer::open();
    peer.describe("rtsp://HOST:8554/mystream", 1);
    let request = peer.ask_setup(SETUP);
    assert_eq!(
        (request.rendition, request.track),
        (Rendition::Native, Some(TrackId(0)))
    );
    let reply = peer.answer(Answer::SetUp { ssrc: 1 });
    assert_eq!(reply.get("com.ses.streamID"), None);
    let mut other = Peer::open();
    other.describe("rtsp://HOST:8554/other", 1);
    assert_eq!(other.ask_setup(SETUP).rendition, Rendition::MpegTs);
}

#[test]
fn a_realmedia_player_is_answered_and_goes_away() {
    let mut peer = Peer::open();
    let reply = peer.reply(
        "OPTIONS rtsp://HOST:8554 RTSP/1.0\nCSeq: 1\nUser-Agent: RealMedia Player\n\
         ClientChallenge: 9e26d33f2984236010ef6253fb1887f7\nRegionData: 0",
    );
    assert_eq!(reply.status, 200);
}
