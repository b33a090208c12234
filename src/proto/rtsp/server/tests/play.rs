//! Readers that describe before they set up: FFmpeg, VLC with live555, GStreamer, QuickTime.

use super::*;
use crate::proto::rtsp::server::ChosenTransport;
use crate::proto::rtsp::server::Event;
use crate::proto::rtsp::server::Purpose;
use crate::proto::rtsp::server::Refusal;
use crate::proto::rtsp::server::Rendition;

const TCP_0: &str = "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP/TCP;interleaved=0-1";
const UDP_0: &str =
    "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP;client_port=5000-5001";

#[test]
fn options_lists_exactly_what_is_there_and_needs_no_url() {
    let mut peer = Peer::open();
    let reply = peer.reply("OPTIONS * RTSP/1.0\nCSeq: 1");
    assert_eq!((reply.status, reply.get("CSeq")), (200, Some("1")));
    assert_eq!(
        reply.get("Public"),
        Some(
            "OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, PAUSE, RECORD, TEARDOWN, GET_PARAMETER, SET_PARAMETER"
        )
    );
    assert_eq!(peer.reply("OPTIONS RTSP/1.0\nCSeq: 2").status, 200);
    assert_eq!(
        peer.reply("OPTIONS rtsp://h/cam RTSP/1.0\nCSeq: 3")
            .get("Session"),
        None
    );
}

#[test]
fn describe_tells_the_base_with_one_slash_and_the_query() {
    for (url, base) in [
        ("rtsp://h:8554/cam", "rtsp://h:8554/cam/"),
        ("rtsp://h:8554/cam/", "rtsp://h:8554/cam/"),
        ("rtsp://h/cam?k=v", "rtsp://h/cam?k=v/"),
        ("rtsp://user:pass@h/cam", "rtsp://h/cam/"),
    ] {
        let mut peer = Peer::open();
        let reply = peer.describe(url, 1);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.get("Content-Base"), Some(base));
        assert_eq!(reply.get("Content-Type"), Some("application/sdp"));
        assert_eq!(reply.headers[0].0, "CSeq");
        assert!(reply.body.starts_with("v=0\r\n"));
    }
}

#[test]
fn the_driver_learns_the_path_and_who_does_not_want_to_be_counted() {
    for (path, header, off) in [
        ("cam", "Accept: application/sdp", false),
        ("cam?stats=off", "Accept: x", true),
        ("cam?a=b&Stats=OFF", "Accept: x", true),
        ("cam", "X-Stats: off", true),
        ("cam", "dnt: 1", true),
        ("cam", "Sec-GPC: 1", true),
        ("cam?nostats=off", "DNT: 0", false),
    ] {
        let mut peer = Peer::open();
        let text = format!("DESCRIBE rtsp://h/{path} RTSP/1.0\nCSeq: 2\nUser-Agent: Lynx/9\n{header}");
        let Ask::Describe(mut target) = peer.ask(&text) else {
            panic!("{path}")
        };
        assert_eq!(
            (target.path.as_str(), target.stats_off),
            ("cam", off),
            "{path} {header}"
        );
        assert_eq!(target.query.as_deref(), path.split_once('?').map(|p| p.1));
        let shown = format!("{target:?}");
        assert!(!shown.contains("Lynx") && !shown.contains("off\""), "{shown}");
        assert_eq!(target.take_user_agent().as_deref(), Some("Lynx/9"));
        assert_eq!(target.take_user_agent(), None);
    }
}

#[test]
fn ffmpeg_plays_two_tracks_by_tcp() {
    let mut peer = Peer::open();
    assert_eq!(peer.describe("rtsp://h:8554/cam", 2).status, 200);
    let request = peer.ask_setup(
        "SETUP rtsp://h:8554/cam/trackID=0 RTSP/1.0\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\n\
         CSeq: 3\nUser-Agent: Lavf59.27.100",
    );
    assert_eq!(request.session, FIRST);
    assert_eq!(
        (request.track, request.rendition),
        (Some(TrackId(0)), Rendition::Native)
    );
    assert_eq!(request.purpose, Purpose::Play);
    let channels = |rtp_channel, rtcp_channel| ChosenTransport::Tcp {
        rtp_channel,
        rtcp_channel,
    };
    assert_eq!(request.transport, channels(0, 1));
    let reply = peer.answer(Answer::SetUp { ssrc: 0xbeef });
    assert_eq!(reply.get("Session"), Some("00000000000000a1;timeout=60"));
    assert_eq!(
        reply.get("Transport"),
        Some("RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=0000BEEF")
    );

    let request = peer.ask_setup(
        "SETUP rtsp://h:8554/cam/trackID=1 RTSP/1.0\nTransport: RTP/AVP/TCP;unicast;interleaved=2-3\n\
         CSeq: 4\nSession: 00000000000000a1",
    );
    assert_eq!((request.session, request.track), (FIRST, Some(TrackId(1))));
    assert_eq!(request.transport, channels(2, 3));
    let reply = peer.answer(Answer::SetUp { ssrc: 2 });
    assert_eq!(reply.session(), "00000000000000a1");

    let play = "PLAY rtsp://h:8554/cam/ RTSP/1.0\nRange: npt=0.000-\nCSeq: 5\nSession: 00000000000000a1";
    assert_eq!(peer.ask(play), Ask::Play { session: FIRST });
    let rtp_info = vec![info(0, 17, 90_000), info(1, 65_535, u32::MAX), info(9, 1, 1)];
    let reply = peer.answer(Answer::Playing { rtp_info });
    assert_eq!(reply.get("Range"), Some("npt=0.000-"));
    assert_eq!(
        reply.get("RTP-Info"),
        Some(
            "url=rtsp://h:8554/cam/trackID=0;seq=17;rtptime=90000,\
             url=rtsp://h:8554/cam/trackID=1;seq=65535;rtptime=4294967295"
        )
    );

    let reply = peer.reply("GET_PARAMETER rtsp://h:8554/cam/ RTSP/1.0\nCSeq: 6\nSession: 00000000000000a1");
    assert_eq!(
        (reply.status, reply.session().as_str()),
        (200, "00000000000000a1")
    );

    let end = peer.say("TEARDOWN rtsp://h:8554/cam/ RTSP/1.0\nCSeq: 7\nSession: 00000000000000a1");
    assert_eq!(end[0], Output::Event(Event::TornDown { session: FIRST }));
    assert_eq!(reply_alone(end[1..].to_vec()).status, 200);
    assert_eq!(
        peer.reply("PLAY rtsp://h:8554/cam/ RTSP/1.0\nCSeq: 8").status,
        454
    );
}

#[test]
fn play_info_is_left_out_when_there_is_none() {
    let mut peer = Peer::open();
    peer.set_up(TCP_0);
    let reply = peer.play("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4\nRange: npt=now-");
    assert_eq!(
        (reply.get("RTP-Info"), reply.get("Range")),
        (None, Some("npt=now-"))
    );
}

#[test]
fn ffmpeg_falls_back_from_udp_to_tcp_on_the_same_connection() {
    let mut peer = Peer::open();
    peer.describe("rtsp://h/cam", 2);
    let setup = |n: u8, transport: &str, more: &str| {
        format!("SETUP rtsp://h/cam/trackID={n} RTSP/1.0\nTransport: {transport}\nCSeq: 3{more}")
    };
    let reply = peer.set_up(&setup(0, "RTP/AVP/UDP;unicast;client_port=14496-14497", ""));
    assert_eq!(
        reply.get("Transport"),
        Some("RTP/AVP/UDP;unicast;client_port=14496-14497;server_port=8000-8001;ssrc=0102ABCD")
    );
    let session = format!("\nSession: {}", reply.session());
    peer.set_up(&setup(1, "RTP/AVP/UDP;unicast;client_port=14498-14499", &session));
    assert_eq!(
        peer.play(&format!("PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 5{session}"))
            .status,
        200
    );

    let pause = peer.say(&format!("PAUSE rtsp://h/cam/ RTSP/1.0\nCSeq: 6{session}"));
    assert_eq!(pause[0], Output::Event(Event::Paused { session: FIRST }));
    assert_eq!(reply_alone(pause[1..].to_vec()).status, 200);

    // The client drops the session without saying so.
    let again = peer.say(&setup(0, "RTP/AVP/TCP;unicast;interleaved=0-1", ""));
    assert_eq!(again[0], Output::Event(Event::TornDown { session: FIRST }));
    let Output::Ask(Ask::Setup(request)) = &again[1] else {
        panic!("{again:?}")
    };
    assert_eq!(request.session, SECOND);
    let reply = peer.answer(Answer::SetUp { ssrc: 1 });
    assert_eq!(
        reply.get("Transport"),
        Some("RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=00000001")
    );
    let session = format!("\nSession: {}", reply.session());
    assert_ne!(reply.session(), "00000000000000a1");
    peer.set_up(&setup(1, "RTP/AVP/TCP;unicast;interleaved=2-3", &session));
    assert_eq!(
        peer.play(&format!("PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 9{session}"))
            .status,
        200
    );
}

#[test]
fn vlc_deselects_a_track_and_takes_it_again_while_the_other_plays() {
    let mut peer = Peer::open();
    peer.describe("rtsp://h/cam", 2);
    let setup = |n: u8| {
        let port = 5000 + 2 * u16::from(n);
        format!(
            "SETUP rtsp://h/cam/trackID={n} RTSP/1.0\nCSeq: 3\nSession: 00000000000000a1\n\
             Transport: RTP/AVP;unicast;client_port={port}-{}",
            port + 1
        )
    };
    peer.set_up(&setup(0).replace("Session: 00000000000000a1\n", ""));
    peer.set_up(&setup(1));
    let play = "PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 5\nSession: 00000000000000a1\nRange: npt=0.000-";
    peer.play(play);

    let track = "TEARDOWN rtsp://h/cam/trackID=1 RTSP/1.0\nCSeq: 6\nSession: 00000000000000a1";
    let out = peer.say(track);
    let track_1 = TrackId(1);
    assert_eq!(
        out[0],
        Output::Event(Event::TrackTornDown {
            session: FIRST,
            track: track_1
        })
    );
    assert_eq!(reply_alone(out[1..].to_vec()).session(), "00000000000000a1");
    assert_eq!(peer.reply(track).status, 404, "it is gone already");

    assert_eq!(peer.ask_setup(&setup(1)).track, Some(track_1));
    assert_eq!(peer.answer(Answer::SetUp { ssrc: 1 }).status, 200);
    assert_eq!(
        peer.ask("PLAY rtsp://h/cam/trackID=1 RTSP/1.0\nCSeq: 8\nSession: 00000000000000a1"),
        Ask::Play { session: FIRST }
    );
    assert_eq!(peer.answer(Answer::Playing { rtp_info: Vec::new() }).status, 200);
    assert_eq!(
        peer.reply(&setup(1)).status,
        455,
        "a track that plays stays where it is"
    );
}

#[test]
fn a_session_outlives_its_last_track() {
    let mut peer = Peer::open();
    peer.set_up(UDP_0);
    peer.play("PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 4");
    let out = peer.say("TEARDOWN rtsp://h/cam/trackID=0/ RTSP/1.0\nCSeq: 5");
    let track = TrackId(0);
    assert_eq!(
        out[0],
        Output::Event(Event::TrackTornDown {
            session: FIRST,
            track
        })
    );
    assert_eq!(out[1], Output::Event(Event::Paused { session: FIRST }));
    assert_eq!(peer.reply("PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 6").status, 455);
    assert_eq!(
        peer.set_up(TCP_0).session(),
        "00000000000000a1",
        "and may go on by another transport"
    );
    assert_eq!(peer.play("PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 8").status, 200);
}

#[test]
fn a_client_plays_pauses_pauses_and_plays() {
    let mut peer = Peer::open();
    let session = format!("\nSession: {};timeout=60", peer.set_up(TCP_0).session());
    let say = |method: &str| format!("{method} rtsp://h/cam/ RTSP/1.0\nCSeq: 4{session}");
    assert_eq!(peer.reply(&say("PAUSE")).status, 200, "before anything played");
    peer.play(&say("PLAY"));
    assert_eq!(peer.play(&say("PLAY")).status, 200, "a repeated PLAY is no error");
    assert_eq!(peer.say(&say("PAUSE")).len(), 2);
    assert_eq!(peer.reply(&say("PAUSE")).status, 200);
    peer.play(&say("PLAY"));
    assert_eq!(peer.say(&say("PAUSE")).len(), 2);
}

#[test]
fn a_request_without_a_session_means_the_one_of_its_connection() {
    let mut peer = Peer::open();
    assert_eq!(peer.reply("PAUSE rtsp://h/cam RTSP/1.0\nCSeq: 1").status, 454);
    peer.describe("rtsp://h/cam", 2);
    peer.set_up(TCP_0);
    let second = TCP_0.replace("trackID=0", "trackID=1").replace("0-1", "2-3");
    assert_eq!(peer.set_up(&second).session(), "00000000000000a1");
    assert_eq!(peer.play("PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 4").status, 200);
    assert_eq!(peer.say("TEARDOWN rtsp://h/cam RTSP/1.0\nCSeq: 5").len(), 2);
}

#[test]
fn a_session_that_is_not_here_is_454_for_every_method() {
    let mut peer = Peer::open();
    peer.set_up(TCP_0);
    for method in [
        "OPTIONS",
        "SETUP",
        "PLAY",
        "PAUSE",
        "RECORD",
        "TEARDOWN",
        "GET_PARAMETER",
        "SET_PARAMETER",
    ] {
        let reply = peer.reply(&format!(
            "{method} rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 4\nSession: 00000000000000a2\n\
             Transport: RTP/AVP/TCP;interleaved=0-1"
        ));
        assert_eq!((reply.status, reply.get("CSeq")), (454, Some("4")), "{method}");
    }
}

#[test]
fn only_the_tracks_that_are_set_up_are_played() {
    let mut peer = Peer::open();
    peer.describe("rtsp://h/cam", 3);
    peer.set_up(&TCP_0.replace("trackID=0", "trackID=2"));
    peer.ask("PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 4");
    let rtp_info = vec![info(0, 1, 1), info(2, 3, 4)];
    let reply = peer.answer(Answer::Playing { rtp_info });
    assert_eq!(
        reply.get("RTP-Info"),
        Some("url=rtsp://h/cam/trackID=2;seq=3;rtptime=4")
    );
}

#[test]
fn reports_of_a_reader_by_tcp_are_handed_on_while_it_plays() {
    let mut peer = Peer::open();
    peer.set_up(TCP_0);
    assert_eq!(peer.bytes(b"$\x01\x00\x02ab"), [], "before PLAY");
    peer.play("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4");
    let report = Output::Interleaved {
        session: FIRST,
        track: TrackId(0),
        rtcp: true,
        packet: b"ab".to_vec(),
    };
    assert_eq!(peer.bytes(b"$\x01\x00\x02ab"), [report]);
    assert_eq!(peer.bytes(b"$\x00\x00\x02ab"), [], "a reader sends no media");
    assert_eq!(peer.bytes(b"$\x07\x00\x02ab"), [], "nobody's channel");
}

#[test]
fn setting_a_parameter_is_refused_and_asking_for_none_is_a_keepalive() {
    let mut peer = Peer::open();
    let with = |method: &str, body: &str| {
        format!(
            "{method} rtsp://h/cam RTSP/1.0\nCSeq: 1\nContent-Length: {}\n\n{body}",
            body.len()
        )
    };
    assert_eq!(peer.reply("SET_PARAMETER * RTSP/1.0\nCSeq: 1").status, 200);
    assert_eq!(peer.reply("GET_PARAMETER * RTSP/1.0\nCSeq: 1").status, 200);
    assert_eq!(peer.reply(&with("GET_PARAMETER", "position")).status, 200);
    assert_eq!(peer.reply(&with("SET_PARAMETER", "volume: 11")).status, 451);
}

#[test]
fn refusals_have_their_status_and_a_reason_to_show() {
    for (refusal, line) in [
        (Refusal::NotFound, "404 Not Found"),
        (Refusal::BadPath, "400 Bad Request: not a path name"),
        (
            Refusal::Unavailable,
            "503 Service Unavailable: the path has no stream now",
        ),
        (Refusal::Forbidden, "403 Forbidden"),
        (
            Refusal::AlreadyPublished,
            "403 Forbidden: the path has a publisher",
        ),
        (Refusal::BadSdp, "400 Bad Request: SDP not understood"),
        (Refusal::UnsupportedTransport, "461 Unsupported Transport"),
        (Refusal::PortsTaken, "400 Bad Request: client ports are in use"),
        (Refusal::Limit, "453 Not Enough Bandwidth: limit reached"),
        (Refusal::Internal, "500 Internal Server Error"),
    ] {
        let mut peer = Peer::open();
        peer.ask("DESCRIBE rtsp://h/cam RTSP/1.0\nCSeq: 2");
        peer.conn.answer(peer.now, Answer::Refused(refusal));
        let Output::Send(bytes) = peer.conn.poll() else {
            panic!("{line}")
        };
        assert!(
            bytes.starts_with(format!("RTSP/1.0 {line}\r\nCSeq: 2\r\n").as_bytes()),
            "{line}"
        );
        assert!(
            peer.describe("rtsp://h/other", 1).status == 200,
            "the connection goes on"
        );
    }
    let mut peer = Peer::open();
    peer.ask_setup(TCP_0);
    let why = "no MPEG-TS for VP8\r\n".into();
    assert_eq!(
        peer.answer(Answer::Refused(Refusal::UnsupportedMedia { why }))
            .status,
        415
    );
    assert_eq!(
        peer.reply("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4").status,
        454,
        "no session came of it"
    );
}

#[test]
fn an_answer_to_another_question_is_our_fault_and_no_panic() {
    let mut peer = Peer::open();
    peer.ask("DESCRIBE rtsp://h/cam RTSP/1.0\nCSeq: 2");
    assert_eq!(peer.answer(Answer::Recording).status, 500);
    peer.conn.answer(peer.now, Answer::Recording);
    assert_eq!(peer.drain(), []);
}
