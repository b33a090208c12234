//! SETUP: dialects of the URL, lists of transports, channels, limits.

use super::*;
use crate::proto::rtsp::Limit;
use crate::proto::rtsp::Limits;
use crate::proto::rtsp::server::ChosenTransport;
use crate::proto::rtsp::server::Event;
use crate::proto::rtsp::server::Rendition;

fn setup(url: &str, transport: &str) -> String {
    format!("SETUP {url} RTSP/1.0\nCSeq: 3\nTransport: {transport}")
}

fn tcp(n: usize) -> String {
    setup(&format!("rtsp://h/cam/trackID={n}"), "RTP/AVP/TCP;unicast")
}

#[test]
fn path_query_and_track_are_found_in_both_dialects() {
    for (described, url, play) in [
        ("rtsp://h/cam", "rtsp://h/cam/trackID=0", "rtsp://h/cam/"),
        ("rtsp://h/cam/", "rtsp://h/cam/trackID=0", "rtsp://h/cam"),
        (
            "rtsp://h/cam?k=v",
            "rtsp://h/cam?k=v/trackID=0",
            "rtsp://h/cam?k=v/",
        ),
        (
            "rtsp://h/cam?k=v",
            "rtsp://h/cam/trackID=0?k=v",
            "rtsp://h/cam/?k=v",
        ),
        (
            "rtsp://h/cam?k=v",
            "rtsp://h/cam/trackID=0?k=v/",
            "rtsp://h/cam/?k=v/",
        ),
        ("rtsp://h/cam", "rtsp://h/cam/", "rtsp://h/cam/"),
        ("rtsp://h/cam", "rtsp://h/cam", "rtsp://h/cam"),
        ("rtsp://h/cam?k=v", "rtsp://h/cam?k=v/", "rtsp://h/cam?k=v/"),
        ("rtsp://h/cam?k=v", "rtsp://h/cam/?k=v", "rtsp://h/cam/?k=v"),
        (
            "rtsp://h/a/b/cam",
            "rtsp://h/a/b/cam/trackID=0",
            "rtsp://h/a/b/cam/",
        ),
        ("rtsp://h/a/b/cam", "rtsp://h/a/b/cam/", "rtsp://h/a/b/cam/"),
        (
            "rtsp://h/a/cam?k=v",
            "rtsp://h/a/cam?k=v/trackID=0",
            "rtsp://h/a/cam?k=v/",
        ),
        ("rtsp://h", "rtsp://h/trackID=0", "rtsp://h"),
        ("rtsp://h/", "rtsp://h//trackID=0", "rtsp://h//"),
        (
            "rtsp://[::1]:8554/cam",
            "rtsp://[::1]:8554/cam/trackID=0",
            "rtsp://[::1]:8554/cam/",
        ),
        ("rtsp://h/my cam", "rtsp://h/my%20cam/trackID=0", "/my cam/"),
        ("/cam", "/cam/trackID=0", "/cam/"),
    ] {
        let mut peer = Peer::open();
        peer.ask(&format!("DESCRIBE {described} RTSP/1.0\nCSeq: 2"));
        peer.conn.answer(
            peer.now,
            Answer::Refused(crate::proto::rtsp::server::Refusal::NotFound),
        );
        peer.drain();
        peer.describe(described, 1);
        let request = peer.ask_setup(&setup(url, "RTP/AVP/TCP;unicast;interleaved=0-1"));
        assert_eq!(request.track, Some(TrackId(0)), "{url}");
        assert_eq!(request.rendition, Rendition::Native, "{url}");
        let query = described.split_once('?').map(|d| d.1);
        assert_eq!(request.target.query.as_deref(), query, "{url}");
        let path = described
            .strip_prefix("rtsp://")
            .map_or(described, |d| d.split_once('/').map_or("", |d| d.1));
        let path = path.split('?').next().unwrap().trim_matches('/');
        assert_eq!(request.target.path, path, "{url}");
        assert_eq!(peer.answer(Answer::SetUp { ssrc: 1 }).status, 200);
        assert_eq!(
            peer.play(&format!("PLAY {play} RTSP/1.0\nCSeq: 4")).status,
            200,
            "{play}"
        );
    }
}

#[test]
fn rtp_info_names_the_track_as_the_client_did() {
    for url in ["rtsp://h/cam?k=v/trackID=0", "rtsp://h/cam/trackID=0?k=v"] {
        let mut peer = Peer::open();
        peer.set_up(&setup(&url.replace("//h", "//u:p@h"), "RTP/AVP/TCP"));
        peer.ask("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4");
        let reply = peer.answer(Answer::Playing {
            rtp_info: vec![info(0, 5, 6)],
        });
        assert_eq!(
            reply.get("RTP-Info"),
            Some(format!("url={url};seq=5;rtptime=6").as_str())
        );
    }
}

/// Nobody makes us keep kilobytes per track.
#[test]
fn rtp_info_names_the_track_as_the_description_did_where_the_url_was_very_long() {
    for (token, told) in [(400, None), (5000, Some("trackID=1"))] {
        let url = format!("rtsp://h/cam?token={}/trackID=1", "x".repeat(token));
        let mut peer = Peer::open();
        peer.set_up(&setup(&url, "RTP/AVP/TCP"));
        peer.ask("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4");
        let reply = peer.answer(Answer::Playing {
            rtp_info: vec![info(1, 5, 6)],
        });
        let told = told.unwrap_or(&url);
        let line = format!("url={told};seq=5;rtptime=6");
        assert_eq!(reply.get("RTP-Info"), Some(line.as_str()));
    }
}

#[test]
fn the_base_url_of_several_tracks_is_no_track() {
    let mut peer = Peer::open();
    peer.describe("rtsp://h/cam", 2);
    assert_eq!(peer.reply(&setup("rtsp://h/cam/", "RTP/AVP/TCP")).status, 459);
}

#[test]
fn the_base_url_means_the_only_track_that_was_shown() {
    let mut peer = Peer::open();
    peer.ask("DESCRIBE rtsp://h/cam?audio=none RTSP/1.0\nCSeq: 2");
    let sdp = "v=0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=control:trackID=3\r\n".to_owned();
    peer.answer(Answer::Describe { sdp });
    let request = peer.ask_setup(&setup("rtsp://h/cam?audio=none/", "RTP/AVP/TCP"));
    assert_eq!(
        (request.track, request.rendition),
        (Some(TrackId(3)), Rendition::Native)
    );
}

#[test]
fn the_first_transport_that_we_have_is_taken() {
    let udp = |client_rtp, client_rtcp| ChosenTransport::Udp {
        client_rtp,
        client_rtcp,
    };
    let tcp = |rtp_channel, rtcp_channel| ChosenTransport::Tcp {
        rtp_channel,
        rtcp_channel,
    };
    for (list, chosen, word) in [
        (
            "RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;unicast",
            udp(5000, 5001),
            "RTP/AVP;",
        ),
        (
            "RTP/AVP/TCP;interleaved=4-5,RTP/AVP;client_port=5000",
            tcp(4, 5),
            "RTP/AVP/TCP;",
        ),
        (
            "RTP/AVP;multicast;client_port=5000-5001, rtp/avp/tcp;unicast",
            tcp(0, 1),
            "rtp/avp/tcp;",
        ),
        (
            "RAW/RAW/UDP;unicast;client_port=1-2,RTP/AVP/UDP;client_port=7000",
            udp(7000, 7001),
            "RTP/AVP/UDP;",
        ),
        (
            "RTP/AVP;unicast,RTP/AVP;unicast;client_port=0-1,RTP/AVP/TCP",
            tcp(0, 1),
            "RTP/AVP/TCP;",
        ),
        (
            "RTP/AVP;client_port=9000-9005;destination=192.0.2.9;x=y",
            udp(9000, 9005),
            "RTP/AVP;",
        ),
    ] {
        let mut peer = Peer::open();
        assert_eq!(
            peer.ask_setup(&setup("rtsp://h/cam/trackID=0", list)).transport,
            chosen,
            "{list}"
        );
        let reply = peer.answer(Answer::SetUp { ssrc: 1 });
        let transport = reply.get("Transport").expect("a transport");
        assert!(transport.starts_with(word), "{transport}");
        assert!(
            !transport.contains("destination") && !transport.contains("source"),
            "{transport}"
        );
        assert!(!transport.contains(','), "exactly one: {transport}");
    }
}

#[test]
fn transports_on_several_lines_are_one_list() {
    let mut peer = Peer::open();
    let request = peer.ask_setup(&format!(
        "{}\nTransport: RTP/AVP/TCP",
        setup("rtsp://h/cam/trackID=0", "RAW")
    ));
    assert!(matches!(request.transport, ChosenTransport::Tcp { .. }));
}

#[test]
fn transports_that_we_do_not_have_are_461_and_none_is_400() {
    let mut peer = Peer::open();
    for list in ["RTP/AVP;multicast", "RAW/RAW/UDP", "RTP/AVP;unicast"] {
        let reply = peer.reply(&setup("rtsp://h/cam/trackID=0", list));
        assert_eq!((reply.status, reply.get("CSeq")), (461, Some("3")), "{list}");
    }
    assert_eq!(
        peer.reply("SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 3")
            .status,
        400
    );
    let mut without_udp = Peer::with(None, None);
    let udp = setup("rtsp://h/cam/trackID=0", "RTP/AVP;unicast;client_port=5000-5001");
    assert_eq!(without_udp.reply(&udp).status, 461);
    let reply = without_udp.set_up(&setup(
        "rtsp://h/cam/trackID=0",
        "RTP/AVP;client_port=5000,RTP/AVP/TCP",
    ));
    assert!(
        reply
            .get("Transport")
            .is_some_and(|t| t.starts_with("RTP/AVP/TCP;"))
    );
}

#[test]
fn channels_are_as_asked_or_the_next_even_pair() {
    let mut peer = Peer::open();
    let mut ask = |n: u8, wish: &str| {
        let url = format!("rtsp://h/cam/trackID={n}");
        let reply = peer.set_up(&setup(&url, &format!("RTP/AVP/TCP;unicast{wish}")));
        let transport = reply.get("Transport").expect("a transport");
        transport
            .split(';')
            .find_map(|p| p.strip_prefix("interleaved="))
            .expect("channels")
            .to_owned()
    };
    assert_eq!(ask(0, ""), "0-1");
    assert_eq!(ask(1, ";interleaved=0-1"), "2-3", "taken");
    assert_eq!(ask(2, ";interleaved=1-2"), "4-5", "taken in part");
    assert_eq!(ask(3, ";interleaved=7-8"), "7-8", "odd, but asked for and free");
    assert_eq!(
        ask(4, ";interleaved=20-25"),
        "10-11",
        "no pair; 6-7 and 8-9 are not free"
    );
    assert_eq!(ask(5, ";interleaved=255-0"), "12-13");
    assert_eq!(ask(6, ";interleaved=254"), "254-255");
    assert_eq!(ask(7, ";interleaved=254-255"), "14-15");
}

#[test]
fn a_track_may_be_set_up_anew_before_it_plays() {
    let mut peer = Peer::open();
    let session = format!("\nSession: {}", peer.set_up(&tcp(0)).session());
    let again = setup("rtsp://h/cam/trackID=0", "RTP/AVP;client_port=5000-5001");
    let request = peer.ask_setup(&format!("{again}{session}"));
    assert_eq!(request.session, FIRST);
    assert!(
        matches!(request.transport, ChosenTransport::Udp { .. }),
        "alone it may change"
    );
    assert_eq!(peer.answer(Answer::SetUp { ssrc: 1 }).status, 200);
    peer.ask_setup(&format!("{again}{session}").replace("trackID=0", "trackID=1"));
    peer.answer(Answer::SetUp { ssrc: 1 });
    assert_eq!(
        peer.reply(&format!("{}{session}", tcp(1))).status,
        461,
        "together they may not"
    );
    assert_eq!(
        peer.reply(&format!("{}{session}", tcp(2))).status,
        461,
        "nor may another join"
    );
}

#[test]
fn a_refused_setup_leaves_the_session_as_it_was() {
    let mut peer = Peer::open();
    peer.set_up(&tcp(0));
    peer.ask_setup(&tcp(1));
    let refused = Answer::Refused(crate::proto::rtsp::server::Refusal::NotFound);
    assert_eq!(peer.answer(refused).status, 404);
    peer.ask("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4");
    let reply = peer.answer(Answer::Playing {
        rtp_info: vec![info(0, 1, 1), info(1, 1, 1)],
    });
    assert_eq!(
        reply.get("RTP-Info"),
        Some("url=rtsp://h/cam/trackID=0;seq=1;rtptime=1")
    );
}

/// 453, and the driver is told why.
#[track_caller]
fn refused_at(peer: &mut Peer, setup: &str, limit: Limit) {
    let outputs = peer.say(setup);
    assert_eq!(outputs[0], Output::Event(Event::Limited(limit)));
    let Output::Send(reply) = &outputs[1] else {
        panic!("{outputs:?}")
    };
    assert_eq!(Reply::read(reply).status, 453);
}

#[test]
fn one_connection_may_have_sessions_of_several_paths_up_to_a_limit() {
    let mut peer = Peer::open();
    let of = |n: usize| setup(&format!("rtsp://h/cam{n}/trackID=0"), "RTP/AVP/TCP");
    let mut ids: Vec<String> = (0..Limits::DEFAULT.sessions)
        .map(|n| peer.set_up(&of(n)).session())
        .collect();
    refused_at(
        &mut peer,
        &of(Limits::DEFAULT.sessions),
        Limit::SessionsPerConnection,
    );
    let first = ids.remove(0);
    let play = format!("PLAY rtsp://h/cam0 RTSP/1.0\nCSeq: 4\nSession: {first}");
    assert_eq!(peer.ask(&play), Ask::Play { session: FIRST });
    peer.answer(Answer::Playing { rtp_info: Vec::new() });
    peer.say(&format!(
        "TEARDOWN rtsp://h/cam0 RTSP/1.0\nCSeq: 5\nSession: {first}"
    ));
    assert!(!ids.contains(&peer.set_up(&of(Limits::DEFAULT.sessions)).session()));
}

#[test]
fn the_same_track_once_more_without_a_session_is_a_session_of_its_own() {
    let mut peer = Peer::open();
    let first = peer.set_up(&tcp(0)).session();
    peer.play("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 4");
    let again = peer.set_up(&setup(
        "rtsp://h/cam/trackID=0",
        "RTP/AVP/TCP;unicast;interleaved=0-1",
    ));
    assert_ne!(again.session(), first);
    let transport = again.get("Transport").unwrap_or_default();
    assert!(
        transport.contains(";interleaved=2-3;"),
        "the channels of the first are taken: {transport}"
    );
    // Named, it is the playing track, which stays as it is.
    assert_eq!(peer.reply(&format!("{}\nSession: {first}", tcp(0))).status, 455);
}

#[test]
fn a_session_of_another_connection_by_tcp_is_not_found() {
    let mut peer = Peer::open();
    let request = format!("{}\nSession: 00000000000000ff", tcp(0));
    assert_eq!(peer.reply(&request).status, 454);
    peer.set_up(&tcp(0));
}

#[test]
fn a_session_has_a_limit_of_tracks() {
    let mut peer = Peer::open();
    let session = format!("\nSession: {}", peer.set_up(&tcp(0)).session());
    for n in 1..Limits::DEFAULT.tracks {
        peer.set_up(&format!("{}{session}", tcp(n)));
    }
    let more = format!("{}{session}", tcp(Limits::DEFAULT.tracks));
    refused_at(&mut peer, &more, Limit::Tracks);
}

#[test]
fn a_session_is_of_one_path() {
    let mut peer = Peer::open();
    let session = peer.set_up(&tcp(0)).session();
    let other = setup("rtsp://h/other/trackID=1", "RTP/AVP/TCP");
    assert_eq!(peer.reply(&format!("{other}\nSession: {session}")).status, 404);
    assert_ne!(peer.set_up(&other).session(), session);
}

#[test]
fn gstreamer_tries_the_url_of_rfc_3986_first_and_takes_404_as_a_hint() {
    for (described, wrong, right) in [
        (
            "rtsp://h/cam?k=v",
            "rtsp://h/trackID=",
            "rtsp://h/cam?k=v/trackID=",
        ),
        (
            "rtsp://h/a/cam?k=v",
            "rtsp://h/a/trackID=",
            "rtsp://h/a/cam?k=v/trackID=",
        ),
    ] {
        let mut peer = Peer::open();
        peer.describe(described, 2);
        let of = |base: &str, n: u8| setup(&format!("{base}{n}"), "RTP/AVP/TCP;unicast");
        assert_eq!(peer.reply(&of(wrong, 0)).status, 404);
        let session = format!("\nSession: {}", peer.set_up(&of(right, 0)).session());
        assert_eq!(peer.reply(&format!("{}{session}", of(wrong, 1))).status, 404);
        peer.set_up(&format!("{}{session}", of(right, 1)));
    }
}
