//! Errors, limits, timeouts, and bytes that are no RTSP.

use proptest::prelude::*;

use super::*;
use crate::proto::rtsp::Limits;
use crate::proto::rtsp::server::ConnError;
use crate::proto::rtsp::server::Event;
use crate::proto::rtsp::server::Refusal;
use crate::proto::rtsp::server::Side;
use crate::proto::rtsp::server::fuzz;

const SETUP_TCP: &str =
    "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP/TCP;interleaved=0-1";
const SETUP_UDP: &str =
    "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP;client_port=5000-5001";

#[test]
fn a_request_without_cseq_is_400_and_gets_none() {
    let mut peer = Peer::open();
    for request in [
        "OPTIONS * RTSP/1.0",
        "DESCRIBE rtsp://h/cam RTSP/1.0\nCSeq: x",
        "FOO * RTSP/1.0\nA: b",
    ] {
        let reply = peer.reply(request);
        assert_eq!((reply.status, reply.get("CSeq")), (400, None), "{request}");
    }
    assert_eq!(
        peer.reply("OPTIONS * RTSP/1.0\ncseq: 7").get("CSeq"),
        Some("7"),
        "whatever its case"
    );
}

#[test]
fn unknown_methods_versions_and_urls_are_answered_and_the_connection_goes_on() {
    let mut peer = Peer::open();
    for (request, status) in [
        ("REDIRECT rtsp://h/cam RTSP/1.0\nCSeq: 1", 501),
        ("describe rtsp://h/cam RTSP/1.0\nCSeq: 1", 501),
        ("GET / RTSP/1.0\nCSeq: 1", 501),
        ("OPTIONS * RTSP/2.0\nCSeq: 1", 505),
        ("DESCRIBE http://h/cam RTSP/1.0\nCSeq: 1", 400),
        ("DESCRIBE * RTSP/1.0\nCSeq: 1", 400),
        ("PLAY RTSP/1.0\nCSeq: 1", 400),
        ("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 1", 454),
    ] {
        let reply = peer.reply(request);
        assert_eq!(
            (reply.status, reply.get("CSeq")),
            (status, Some("1")),
            "{request}"
        );
    }
    assert_eq!(peer.reply("OPTIONS * RTSP/1.0\nCSeq: 1").status, 200);
}

#[test]
fn a_method_that_is_not_there_leaves_the_session_as_it_was() {
    let mut peer = Peer::open();
    let request = "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP/TCP";
    let session = peer.set_up(request).session();
    let mut within = |method: &str| {
        let reply = peer.reply(&format!(
            "{method} rtsp://h/cam RTSP/1.0\nCSeq: 4\nSession: {session}"
        ));
        (reply.status, reply.get("Session").is_some())
    };
    assert_eq!(within("REDIRECT"), (501, false));
    assert_eq!(within("SET_PARAMETER"), (200, true));
    assert_eq!(within("GET_PARAMETER"), (200, true));
    assert_eq!(within("OPTIONS"), (200, true));
    assert_eq!(
        peer.play("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 5").session(),
        session
    );
}

#[test]
fn options_that_we_lack_are_551_by_name() {
    let mut peer = Peer::open();
    for name in ["Require", "Proxy-Require"] {
        let reply = peer.reply(&format!(
            "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 4\n{name}: implicit-play\n{name}: onvif-replay, \
             www.onvif.org/ver20/backchannel"
        ));
        assert_eq!(reply.status, 551);
        assert_eq!(reply.get("Unsupported"), Some("implicit-play, onvif-replay"));
    }
    peer.ask("DESCRIBE rtsp://h/cam RTSP/1.0\nCSeq: 2\nRequire: www.onvif.org/ver20/backchannel");
}

#[test]
fn garbage_between_requests_is_passed_over_to_the_next_one() {
    let mut peer = Peer::open();
    let outputs = peer.bytes(
        b"\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n\xff\x00\x17junkOPTIONS * RTSP/1.0\r\nCSeq: 2\r\n\r\n",
    );
    let replies: Vec<_> = outputs
        .iter()
        .map(|output| match output {
            Output::Send(bytes) => Reply::read(bytes).get("CSeq").map(str::to_owned),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(replies, [Some("1".to_owned()), Some("2".to_owned())]);
}

#[test]
fn a_path_that_is_elsewhere_is_302_with_an_absolute_url() {
    let mut peer = Peer::open();
    peer.ask("DESCRIBE rtsp://h/cam RTSP/1.0\nCSeq: 2");
    let location = "rtsp://192.0.2.7:554/a?b".to_owned();
    let reply = peer.answer(Answer::Refused(Refusal::Moved { location }));
    assert_eq!(
        (reply.status, reply.get("Location")),
        (302, Some("rtsp://192.0.2.7:554/a?b"))
    );
}

#[test]
fn a_client_that_asks_for_small_packets_gets_the_usual_ones() {
    let mut peer = Peer::open();
    peer.set_up(&format!("{SETUP_TCP}\nBlocksize: 400"));
}

#[test]
fn bytes_that_are_no_rtsp_get_a_400_and_the_end() {
    let mut peer = Peer::open();
    let browser = b"GET /secret HTTP/1.1\r\nHost: h\r\n\r\n";
    let error = peer
        .conn
        .handle(peer.now, Input::Bytes(browser))
        .expect_err("HTTP");
    assert_eq!(
        error.to_string(),
        "the peer's bytes are not RTSP: byte 0: expected `METHOD URL RTSP/1.0`, while reading a request line"
    );
    assert_eq!(error.side(), Side::Peer);
    let out = peer.drain();
    let [Output::Send(reply), Output::Close] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(Reply::read(reply).status, 400);
}

#[test]
fn requests_behind_a_question_wait_in_their_order_and_only_so_many() {
    let mut peer = Peer::open();
    let both = "DESCRIBE rtsp://h/a RTSP/1.0\nCSeq: 1\n\nOPTIONS * RTSP/1.0\nCSeq: 2\n\n\
                DESCRIBE rtsp://h/b RTSP/1.0\nCSeq: 3";
    assert!(matches!(peer.ask(both), Ask::Describe(t) if t.path == "a"));
    assert_eq!(peer.say("OPTIONS * RTSP/1.0\nCSeq: 4"), []);
    peer.conn
        .answer(peer.now, Answer::Describe { sdp: String::new() });
    let out = peer.drain();
    let [
        Output::Send(one),
        Output::Send(two),
        Output::Ask(Ask::Describe(b)),
    ] = &out[..]
    else {
        panic!("{out:?}")
    };
    assert_eq!(
        (Reply::read(one).get("CSeq"), Reply::read(two).get("CSeq")),
        (Some("1"), Some("2"))
    );
    assert_eq!(b.path, "b");
    assert_eq!(
        peer.wait(IDLE * 2),
        [],
        "as long as the driver thinks nothing times out"
    );

    let flood = vec![b'\n'; Limits::DEFAULT.backlog() + 1];
    let error = peer
        .conn
        .handle(peer.now, Input::Bytes(&flood))
        .expect_err("too much");
    assert_eq!(error, ConnError::Backlog(Limits::DEFAULT.backlog()));
    assert_eq!(peer.drain(), [Output::Close]);
}

#[test]
fn a_connection_that_says_nothing_whole_ends() {
    let mut peer = Peer::open();
    assert_eq!(peer.sleeps(), IDLE);
    assert_eq!(peer.wait(IDLE - Duration::from_secs(1)), []);
    assert_eq!(peer.bytes(b"OPTIONS"), [], "a drip is no sign of life");
    assert_eq!(peer.wait(Duration::from_secs(1)), [Output::Close]);
    assert_eq!(peer.wait(IDLE), [Output::Close]);
}

#[test]
fn a_reader_by_udp_lives_by_its_requests_or_by_its_reports() {
    let mut peer = Peer::open();
    peer.set_up(SETUP_UDP);
    peer.play("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4");
    for _ in 0..3 {
        assert_eq!(peer.wait(IDLE - Duration::from_secs(1)), []);
        assert_eq!(
            peer.reply("GET_PARAMETER rtsp://h/cam RTSP/1.0\nCSeq: 5").status,
            200
        );
        assert_eq!(peer.wait(IDLE - Duration::from_secs(1)), []);
        peer.conn.alive(peer.now, FIRST, peer.now);
    }
    peer.conn.alive(peer.now, SECOND, peer.now);
    assert_eq!(peer.sleeps(), IDLE);
    let end = peer.wait(IDLE);
    assert_eq!(
        end,
        [Output::Event(Event::TimedOut { session: FIRST }), Output::Close]
    );
}

/// What the driver heard of a reader between two looks counts from when it heard it.
#[test]
fn a_sign_of_life_counts_from_its_moment() {
    let mut peer = Peer::open();
    peer.set_up(SETUP_UDP);
    peer.play("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4");
    let begin = peer.now;
    let second = Duration::from_secs(1);
    assert_eq!(peer.wait(IDLE - second), []);
    peer.conn.alive(peer.now, FIRST, begin + second);
    assert_eq!(peer.sleeps(), 2 * second);
    peer.conn.alive(peer.now, FIRST, begin);
    assert_eq!(peer.sleeps(), 2 * second, "what is older than that is no news");
    let over = Output::Event(Event::TimedOut { session: FIRST });
    assert_eq!(peer.wait(2 * second).first(), Some(&over));
}

#[test]
fn the_connection_outlives_a_session_if_it_was_used_since() {
    let mut peer = Peer::open();
    let session = peer.set_up(SETUP_UDP).session();
    peer.set_up(&SETUP_UDP.replace("cam", "two"));
    peer.wait(Duration::from_secs(40));
    assert_eq!(peer.reply("OPTIONS * RTSP/1.0\nCSeq: 5").status, 200);
    assert_eq!(peer.sleeps(), Duration::from_secs(25));
    assert_eq!(
        peer.wait(Duration::from_secs(25)),
        [Output::Event(Event::TimedOut { session: FIRST })]
    );
    assert_eq!(
        peer.reply(&format!(
            "PLAY rtsp://h/cam RTSP/1.0\nCSeq: 6\nSession: {session}"
        ))
        .status,
        454
    );
}

#[test]
fn a_reader_by_tcp_may_be_silent_while_it_plays_but_not_while_it_pauses() {
    let mut peer = Peer::open();
    peer.set_up(SETUP_TCP);
    peer.play("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4");
    for _ in 0..4 {
        assert_eq!(peer.wait(IDLE * 3), []);
        assert!(peer.sleeps() >= IDLE, "and the driver is not kept awake");
    }
    assert_eq!(peer.say("PAUSE rtsp://h/cam RTSP/1.0\nCSeq: 5").len(), 2);
    let end = peer.wait(IDLE);
    assert_eq!(
        end,
        [Output::Event(Event::TimedOut { session: FIRST }), Output::Close]
    );
}

#[test]
fn ids_of_sessions_differ_even_if_the_generator_repeats_itself() {
    let options = Options {
        limits: Arc::default(),
        server_ports: None,
        multicast: false,
        idle: IDLE,
        users: None,
        carrier: Carrier::Tcp,
    };
    let now = some_instant();
    let conn = Conn::new(now, options, [0; 16], Box::new(|| u64::MAX));
    let mut peer = Peer {
        conn,
        now,
        claims: Vec::new(),
    };
    let one = peer.set_up(SETUP_TCP).session();
    let two = peer.set_up(&SETUP_TCP.replace("cam", "two")).session();
    assert_eq!(
        (one.as_str(), two.as_str()),
        ("ffffffffffffffff", "0000000000000000")
    );
}

/// A whole dialogue, with frames and an error at the end.
const DIALOGUE: &[u8] = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n\
    DESCRIBE rtsp://user:pass@h/cam?stats=off RTSP/1.0\r\nCSeq: 2\r\nUser-Agent: x\r\n\r\n\
    SETUP rtsp://user:pass@h/cam?stats=off/trackID=0 RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP\r\n\r\n\
    PLAY rtsp://h/cam RTSP/1.0\r\nCSeq: 4\r\n\r\n$\x01\x00\x04abcd\r\n\
    PAUSE rtsp://h/cam RTSP/1.0\r\nCSeq: 5\r\n\r\n\x80\x81 junk \x00\
    TEARDOWN rtsp://h/cam RTSP/1.0\r\nCSeq: 6\r\n\r\n\
    ANNOUNCE rtsp://user:pass@h/cam RTSP/1.0\r\nCSeq: 7\r\nContent-Length: 3\r\n\r\nv=0\
    SETUP rtsp://user:pass@h/cam/streamid=0 RTSP/1.0\r\nCSeq: 8\r\nTransport: RTP/AVP/TCP;mode=record\r\n\r\n\
    RECORD rtsp://h/cam RTSP/1.0\r\nCSeq: 9\r\n\r\n$\x00\x00\x04abcd$\x01\x00\x00$\x02\x00\x01?\
    TEARDOWN rtsp://h/cam RTSP/1.0\r\nCSeq: 10\r\n\r\nEND\r\n";

#[test]
fn a_dialogue_is_the_same_at_every_cut_and_in_single_bytes() {
    let now = some_instant();
    for choice in 0..8 {
        let whole = fuzz::outputs(now, choice, &[DIALOGUE]);
        if choice == 0 {
            let replies = whole
                .iter()
                .filter(|o| matches!(o, Output::Send(b) if b.starts_with(b"RTSP/1.0 200")));
            assert_eq!(replies.count(), 10);
            let frames = whole.iter().filter(|o| matches!(o, Output::Interleaved { .. }));
            assert_eq!(frames.count(), 3);
        }
        for cut in 0..=DIALOGUE.len() {
            let (a, b) = DIALOGUE.split_at(cut);
            assert_eq!(
                fuzz::outputs(now, choice, &[a, b]),
                whole,
                "choice {choice}, cut at {cut}"
            );
        }
        let bytes: Vec<&[u8]> = DIALOGUE.chunks(1).collect();
        assert_eq!(fuzz::outputs(now, choice, &bytes), whole);
    }
}

/// Pieces of requests in any order, with noise.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("OPTIONS * RTSP/1.0"),
        Just("DESCRIBE rtsp://user:pass@h/cam RTSP/1.0"),
        Just("SETUP rtsp://user:pass@h/cam/trackID=0 RTSP/1.0"),
        Just("SETUP rtsp://user:pass@h/cam/trackID=1 RTSP/1.0"),
        Just("SETUP rtsp://user:pass@h/cam RTSP/1.0"),
        Just("SETUP rtsp://user:no@h/cam RTSP/1.0"),
        Just("ANNOUNCE rtsp://user:pass@h/cam RTSP/1.0"),
        Just("PLAY rtsp://h/cam RTSP/1.0"),
        Just("PAUSE rtsp://h/cam RTSP/1.0"),
        Just("RECORD rtsp://h/cam RTSP/1.0"),
        Just("TEARDOWN rtsp://h/cam RTSP/1.0"),
        Just("TEARDOWN rtsp://h/cam/trackID=0 RTSP/1.0"),
        Just("RTSP/1.0 200 OK"),
    ];
    let header = prop_oneof![
        Just("Transport: RTP/AVP/TCP;interleaved=0-1"),
        Just("Transport: RTP/AVP;client_port=5000"),
        Just("Transport: RTP/AVP/TCP;mode=record,RTP/AVP;client_port=1-2"),
        Just("Session: 0000000000000001;timeout=60"),
        Just("Session: 0000000000000002"),
        Just("Content-Length: 2"),
        Just("Authorization: Digest username=\"user\", realm=\"\", nonce=\"\", uri=\"\""),
        Just("Authorization: Basic dXNlcjpwYXNz"),
        Just("Require: x"),
    ];
    let request = (line, proptest::collection::vec(header, 0..3)).prop_map(|(line, headers)| {
        format!(
            "{line}\r\nCSeq: 5\r\n{}\r\n",
            headers.iter().map(|h| format!("{h}\r\n")).collect::<String>()
        )
        .into_bytes()
    });
    let frame = (0u8..6, proptest::collection::vec(any::<u8>(), 0..5)).prop_map(|(channel, packet)| {
        let length = u8::try_from(packet.len()).expect("short");
        [&[b'$', channel, 0, length], &packet[..]].concat()
    });
    let noise = proptest::collection::vec(any::<u8>(), 0..4);
    let part = prop_oneof![6 => request, 2 => frame, 1 => noise];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_depends_on_the_cut(
        choice in 0u8..8,
        cut in any::<u16>(),
        data in nearly(),
    ) {
        let cut = cut % u16::try_from(data.len() + 1).unwrap_or(u16::MAX);
        let [a, b] = cut.to_be_bytes();
        let input = [&[choice, a, b], &data[..]].concat();
        fuzz::conn(some_instant(), &input);
    }

    #[test]
    fn random_bytes_do_not_panic(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz::conn(some_instant(), &data);
    }
}
