//! Publishers: FFmpeg and GStreamer, by TCP and UDP.

use super::*;
use crate::proto::rtsp::server::ChosenTransport;
use crate::proto::rtsp::server::Event;
use crate::proto::rtsp::server::Purpose;
use crate::proto::rtsp::server::Refusal;

const SDP: &str = "v=0\r\nm=video 0 RTP/AVP 96\r\na=control:streamid=0\r\n";

fn announce(url: &str) -> String {
    format!(
        "ANNOUNCE {url} RTSP/1.0\nContent-Type: application/sdp\nCSeq: 2\nContent-Length: {}\n\n{SDP}",
        SDP.len()
    )
}

/// Sends the announcement, whose body is not to be changed.
#[track_caller]
fn announced(peer: &mut Peer, url: &str, controls: &[&str]) {
    let (head, _) = announce(url)
        .split_once("\n\n")
        .map(|(h, b)| (h.replace('\n', "\r\n"), b.len()))
        .unwrap();
    let out = peer.bytes(format!("{head}\r\n\r\n{SDP}").as_bytes());
    let [Output::Ask(Ask::Announce(target, sdp))] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(sdp, SDP.as_bytes());
    assert!(target.query.is_none() || !format!("{target:?}").contains("k=v"));
    let controls = controls.iter().map(|c| (*c).to_owned()).collect();
    assert_eq!(peer.answer(Answer::Announced { controls }).status, 200);
}

fn setup(url: &str, transport: &str) -> String {
    format!("SETUP {url} RTSP/1.0\nTransport: {transport}\nCSeq: 3")
}

const TCP: &str = "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record";

#[test]
fn a_key_in_setup_that_cannot_be_read_is_463_for_publishers_alone() {
    let bad = "\nKeyMgmt: prot=mikey;uri=\"\";data=\"AAAA\"";
    let mut peer = Peer::open();
    announced(&mut peer, "rtsp://h/cam", &["streamid=0"]);
    let request = setup(
        "rtsp://h/cam/streamid=0",
        "RTP/SAVP/TCP;unicast;interleaved=0-1;mode=record",
    );
    let reply = peer.reply(&format!("{request}{bad}"));
    assert_eq!((reply.status, reply.get("CSeq")), (463, Some("3")));
    assert!(peer.ask_setup(&request).sealed, "it may try again");
    assert_eq!(peer.answer(Answer::Refused(Refusal::NoKey)).status, 463);
    // GStreamer offers a key when it reads, for the reports that it sends; those count for little.
    let read = setup("rtsp://h/cam/trackID=0", "RTP/SAVP/TCP;unicast;interleaved=0-1");
    assert!(Peer::open().ask_setup(&format!("{read}{bad}")).key.is_none());
}

#[test]
fn ffmpeg_publishes_two_tracks_by_tcp() {
    let mut peer = Peer::open();
    assert_eq!(
        peer.reply("OPTIONS rtsp://h:8554/cam RTSP/1.0\nCSeq: 1").status,
        200
    );
    announced(&mut peer, "rtsp://h:8554/cam", &["streamid=0", "streamid=1"]);
    let request = peer.ask_setup(&setup("rtsp://h:8554/cam/streamid=0", TCP));
    assert_eq!(
        (request.purpose, request.track),
        (Purpose::Record, Some(TrackId(0)))
    );
    assert_eq!(request.target.path, "cam");
    let reply = peer.answer(Answer::SetUp { ssrc: 1 });
    assert_eq!(
        reply.get("Transport"),
        Some("RTP/AVP/TCP;unicast;interleaved=0-1"),
        "it has an SSRC of its own"
    );
    let session = format!("\nSession: {}", reply.session());
    let record = format!("RECORD rtsp://h:8554/cam RTSP/1.0\nRange: npt=0.000-\nCSeq: 5{session}");
    assert_eq!(peer.reply(&record).status, 455, "a track is missing");
    let second = setup("rtsp://h:8554/cam/streamid=1", &TCP.replace("0-1", "2-3"));
    assert_eq!(
        peer.ask_setup(&format!("{second}{session}")).track,
        Some(TrackId(1))
    );
    assert_eq!(peer.answer(Answer::SetUp { ssrc: 1 }).status, 200);

    assert_eq!(peer.bytes(b"$\x00\x00\x01x"), [], "not yet");
    assert_eq!(peer.ask(&record), Ask::Record { session: FIRST });
    let reply = peer.answer(Answer::Recording);
    assert_eq!(
        (reply.status, reply.session().as_str()),
        (200, "00000000000000a1")
    );
    let packet = |track, rtcp, packet: &[u8]| Output::Interleaved {
        session: FIRST,
        track: TrackId(track),
        rtcp,
        packet: packet.to_vec(),
    };
    let media = peer.bytes(b"$\x00\x00\x01x$\x03\x00\x02yz$\x02\x00\x01w$\x04\x00\x01?");
    assert_eq!(
        media,
        [
            packet(0, false, b"x"),
            packet(1, true, b"yz"),
            packet(1, false, b"w")
        ]
    );
    assert_eq!(peer.reply(&record).status, 200, "again is no error");

    let end = peer.say(&format!("TEARDOWN rtsp://h:8554/cam RTSP/1.0\nCSeq: 9{session}"));
    assert_eq!(end[0], Output::Event(Event::TornDown { session: FIRST }));
    announced(&mut peer, "rtsp://h:8554/cam", &["streamid=0"]);
}

#[test]
fn ffmpeg_publishes_by_udp_and_sends_no_keepalive() {
    let mut peer = Peer::open();
    announced(&mut peer, "rtsp://h/cam", &["streamid=0"]);
    let udp = "RTP/AVP/UDP;unicast;client_port=24616-24617;mode=record";
    let request = peer.ask_setup(&setup("rtsp://h/cam/streamid=0", udp));
    assert_eq!(
        request.transport,
        ChosenTransport::Udp {
            client_rtp: 24616,
            client_rtcp: 24617
        }
    );
    let reply = peer.answer(Answer::SetUp { ssrc: 1 });
    let expected = "RTP/AVP/UDP;unicast;client_port=24616-24617;server_port=8000-8001";
    assert_eq!(reply.get("Transport"), Some(expected));
    peer.ask("RECORD rtsp://h/cam RTSP/1.0\nCSeq: 4");
    assert_eq!(peer.answer(Answer::Recording).status, 200);
    for _ in 0..5 {
        assert_eq!(peer.wait(IDLE - Duration::from_secs(1)), []);
        peer.conn.alive(peer.now, FIRST, peer.now);
        assert_eq!(peer.sleeps(), IDLE);
    }
    let end = peer.wait(IDLE);
    assert_eq!(
        end,
        [Output::Event(Event::TimedOut { session: FIRST }), Output::Close]
    );
}

#[test]
fn media_by_tcp_keeps_a_publisher_alive_and_its_absence_ends_it() {
    let mut peer = Peer::open();
    announced(&mut peer, "rtsp://h/cam", &["streamid=0"]);
    peer.set_up(&setup("rtsp://h/cam/streamid=0", TCP));
    peer.ask("RECORD rtsp://h/cam RTSP/1.0\nCSeq: 4");
    peer.answer(Answer::Recording);
    for _ in 0..3 {
        assert_eq!(peer.wait(IDLE - Duration::from_secs(1)), []);
        assert_eq!(peer.bytes(b"$\x00\x00\x01x").len(), 1);
    }
    assert_eq!(
        peer.wait(IDLE)[0],
        Output::Event(Event::TimedOut { session: FIRST })
    );
}

#[test]
fn tracks_are_found_by_the_controls_of_the_announced_sdp() {
    for (url, control, setup_url) in [
        ("rtsp://h/cam", "streamid=0", "rtsp://h/cam/streamid=0"),
        ("rtsp://h/cam?k=v", "streamid=0", "rtsp://h/cam?k=v/streamid=0"),
        ("rtsp://h/cam?k=v", "stream=0", "rtsp://h/cam/stream=0?k=v"),
        ("rtsp://h/a/b", "trackID=0", "rtsp://h/a/b/trackID=0"),
        ("rtsp://h/cam", "track1", "rtsp://h/cam/track1"),
        ("rtsp://h/cam", "rtsp://h/cam/anything", "rtsp://h/cam/anything"),
        ("rtsp://h/cam", "", "rtsp://h/cam"),
        ("rtsp://h/cam", "*", "rtsp://h/cam/"),
        ("rtsp://h/cam", "streamid=0", "rtsp://h/cam/"),
        ("rtsp://h/cam", "trackID=7", "rtsp://h/cam/trackID=7"),
    ] {
        for mode in [";mode=record", ";mode=\"RECORD\"", ";mode=receive", ""] {
            let mut peer = Peer::open();
            announced(&mut peer, url, &[control]);
            let text = setup(setup_url, &format!("RTP/AVP/TCP;unicast;interleaved=0-1{mode}"));
            let request = peer.ask_setup(&text);
            assert_eq!(request.purpose, Purpose::Record, "{setup_url}{mode}");
            assert_eq!(request.track, Some(TrackId(0)), "{setup_url}{mode}");
        }
    }
}

#[test]
fn paths_of_announcements_are_found_with_and_without_slashes() {
    for (url, setup_url, path, query) in [
        ("rtsp://h/cam", "rtsp://h/cam/bbb=ccc", "cam", None),
        ("rtsp://h/a/b", "rtsp://h/a/b/bbb=ccc", "a/b", None),
        ("rtsp://h/a/b?k=0", "rtsp://h/a/b?k=0/bbb=ccc", "a/b", Some("k=0")),
        ("rtsp://h/a/b?k=0", "rtsp://h/a/b/bbb=ccc?k=0", "a/b", Some("k=0")),
        ("rtsp://h", "rtsp://h/bbb=ccc", "", None),
        ("rtsp://h/", "rtsp://h//bbb=ccc", "", None),
    ] {
        let mut peer = Peer::open();
        announced(&mut peer, url, &["bbb=ccc"]);
        let request = peer.ask_setup(&setup(setup_url, TCP));
        assert_eq!(
            (request.target.path.as_str(), request.purpose),
            (path, Purpose::Record),
            "{setup_url}"
        );
        assert_eq!(request.target.query.as_deref(), query, "{setup_url}");
        peer.answer(Answer::SetUp { ssrc: 0 });
        assert_eq!(
            peer.ask(&format!("RECORD {url} RTSP/1.0\nCSeq: 4")),
            Ask::Record { session: FIRST }
        );
    }
}

#[test]
fn an_announcement_is_judged_by_its_body_and_a_bad_one_may_be_mended() {
    let mut peer = Peer::open();
    for kind in ["", "\r\nContent-Type: aa"] {
        let text = format!(
            "ANNOUNCE rtsp://h/cam RTSP/1.0\r\nCSeq: 1{kind}\r\nContent-Length: 4\r\n\r\n\x01\x02\x03\x04"
        );
        let out = peer.bytes(text.as_bytes());
        assert!(
            matches!(&out[..], [Output::Ask(Ask::Announce(_, body))] if *body == [1, 2, 3, 4]),
            "{out:?}"
        );
        assert_eq!(peer.answer(Answer::Refused(Refusal::BadSdp)).status, 400);
        assert_eq!(
            peer.reply(&setup("rtsp://h/cam/streamid=0", TCP)).status,
            455,
            "nothing was announced"
        );
    }
    announced(&mut peer, "rtsp://h/cam", &["streamid=0"]);
}

#[test]
fn a_publishers_track_may_be_set_up_anew_before_it_sends_and_not_later() {
    let mut peer = Peer::open();
    announced(&mut peer, "rtsp://h/cam", &["streamid=0"]);
    peer.set_up(&setup("rtsp://h/cam/streamid=0", TCP));
    let again = setup(
        "rtsp://h/cam/streamid=0",
        "RTP/AVP/TCP;unicast;interleaved=2-3;mode=record",
    );
    let again = format!("{again}\nSession: 00000000000000a1");
    assert_eq!(
        peer.set_up(&again).get("Transport"),
        Some("RTP/AVP/TCP;unicast;interleaved=2-3")
    );
    peer.ask("RECORD rtsp://h/cam RTSP/1.0\nCSeq: 4");
    peer.answer(Answer::Recording);
    assert_eq!(peer.bytes(b"$\x00\x00\x01x"), [], "the old channel is nobody's");
    assert_eq!(peer.bytes(b"$\x02\x00\x01x").len(), 1);
    assert_eq!(peer.reply(&again).status, 455);
}

#[test]
fn a_publisher_may_pause_twice() {
    let mut peer = Peer::open();
    announced(&mut peer, "rtsp://h/cam", &["streamid=0"]);
    peer.set_up(&setup("rtsp://h/cam/streamid=0", TCP));
    peer.ask("RECORD rtsp://h/cam RTSP/1.0\nCSeq: 4");
    peer.answer(Answer::Recording);
    assert_eq!(peer.say("PAUSE rtsp://h/cam RTSP/1.0\nCSeq: 5").len(), 2);
    assert_eq!(peer.reply("PAUSE rtsp://h/cam RTSP/1.0\nCSeq: 6").status, 200);
}

#[test]
fn urls_that_the_announcement_does_not_know_are_not_found() {
    let mut peer = Peer::open();
    announced(&mut peer, "rtsp://h/cam", &["streamid=0", "streamid=1"]);
    for url in [
        "rtsp://h/cam/streamid=2",
        "rtsp://h/other/streamid=0",
        "rtsp://h/cam",
    ] {
        assert_eq!(peer.reply(&setup(url, TCP)).status, 404, "{url}");
    }
    assert_eq!(peer.reply(&setup("rtsp://h/cam", "RTP/AVP/TCP")).status, 404);
}

#[test]
fn recording_needs_an_announcement_and_playing_none() {
    let mut peer = Peer::open();
    assert_eq!(peer.reply(&setup("rtsp://h/cam/streamid=0", TCP)).status, 455);
    peer.set_up(&setup("rtsp://h/cam/trackID=0", "RTP/AVP/TCP"));
    assert_eq!(peer.reply("RECORD rtsp://h/cam RTSP/1.0\nCSeq: 4").status, 455);
    let mut publisher = Peer::open();
    announced(&mut publisher, "rtsp://h/cam", &["streamid=0"]);
    publisher.set_up(&setup("rtsp://h/cam/streamid=0", TCP));
    assert_eq!(publisher.reply("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4").status, 455);
}

#[test]
fn one_connection_announces_one_path_at_a_time() {
    let mut peer = Peer::open();
    announced(&mut peer, "rtsp://h/cam", &["streamid=0"]);
    assert_eq!(peer.reply(&announce("rtsp://h/two")).status, 455);
    let mut second = Peer::open();
    second.ask(&announce("rtsp://h/cam"));
    assert_eq!(
        second.answer(Answer::Refused(Refusal::AlreadyPublished)).status,
        403
    );
    announced(&mut second, "rtsp://h/two", &["streamid=0"]);
    let mut empty = Peer::open();
    assert_eq!(empty.reply("ANNOUNCE rtsp://h/cam RTSP/1.0\nCSeq: 2").status, 400);
}

#[test]
fn a_publishing_session_has_one_transport_and_is_one() {
    let mut peer = Peer::open();
    announced(&mut peer, "rtsp://h/cam", &["streamid=0", "streamid=1"]);
    peer.set_up(&setup("rtsp://h/cam/streamid=0", TCP));
    let udp = setup(
        "rtsp://h/cam/streamid=1",
        "RTP/AVP;unicast;client_port=5000-5001;mode=record",
    );
    assert_eq!(peer.reply(&udp).status, 455);
    assert_eq!(
        peer.reply(&format!("{udp}\nSession: 00000000000000a1")).status,
        461
    );
    assert_eq!(peer.reply(&setup("rtsp://h/cam/streamid=0", TCP)).status, 455);
    let joins = setup(
        "rtsp://h/cam/streamid=1",
        "RTP/AVP/TCP;unicast;interleaved=2-3;mode=record",
    );
    assert_eq!(
        peer.set_up(&joins).session(),
        "00000000000000a1",
        "without naming it"
    );
}

#[test]
fn a_publisher_may_pause_and_go_on() {
    let mut peer = Peer::open();
    announced(&mut peer, "rtsp://h/cam", &["streamid=0"]);
    peer.set_up(&setup("rtsp://h/cam/streamid=0", TCP));
    for _ in 0..2 {
        assert_eq!(
            peer.ask("RECORD rtsp://h/cam RTSP/1.0\nCSeq: 4"),
            Ask::Record { session: FIRST }
        );
        peer.answer(Answer::Recording);
        let pause = peer.say("PAUSE rtsp://h/cam RTSP/1.0\nCSeq: 5");
        assert_eq!(pause[0], Output::Event(Event::Paused { session: FIRST }));
        assert_eq!(peer.bytes(b"$\x00\x00\x01x"), []);
    }
}

#[test]
fn a_publisher_that_tears_a_track_down_has_ended() {
    let mut peer = Peer::open();
    announced(&mut peer, "rtsp://h/cam", &["trackID=0"]);
    peer.set_up(&setup("rtsp://h/cam/trackID=0", TCP));
    let end = peer.say("TEARDOWN rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 4");
    assert_eq!(end[0], Output::Event(Event::TornDown { session: FIRST }));
}

#[test]
fn media_that_does_not_wait_for_the_answer_comes_after_it() {
    let mut peer = Peer::open();
    announced(&mut peer, "rtsp://h/cam", &["streamid=0"]);
    peer.set_up(&setup("rtsp://h/cam/streamid=0", TCP));
    let out = peer.bytes(b"RECORD rtsp://h/cam RTSP/1.0\r\nCSeq: 4\r\n\r\n$\x00\x00\x01x");
    assert_eq!(out, [Output::Ask(Ask::Record { session: FIRST })]);
    peer.conn.answer(peer.now, Answer::Recording);
    let out = peer.drain();
    assert!(matches!(out[0], Output::Send(_)));
    assert!(matches!(&out[1], Output::Interleaved { packet, rtcp: false, .. } if packet == b"x"));
}
