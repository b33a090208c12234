//! Publishers that come one after the other: refused, taking over, or awaited by readers; and paths that are
//! elsewhere, or not for everybody.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::time::Duration;
use std::time::Instant;

use crate::http;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::DEADLINE;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A publisher of G.711: twenty milliseconds in a packet, marked with one byte.
struct Sound {
    conn: Conn,
    mark: u8,
    sequence: u16,
    time: u32,
}

fn announce(relay: &Relay, payload_type: u8) -> (Conn, u16) {
    announce_to(relay, &relay.rtsp("live"), payload_type)
}

fn announce_to(relay: &Relay, url: &str, payload_type: u8) -> (Conn, u16) {
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    let sdp = format!("v=0\r\nm=audio 0 RTP/AVP {payload_type}\r\na=control:a\r\n");
    let status = conn.request_with("ANNOUNCE", url, &[], &sdp).status;
    (conn, status)
}

impl Sound {
    #[track_caller]
    fn publish(relay: &Relay, payload_type: u8, mark: u8) -> Self {
        Self::publish_to(relay, &relay.rtsp("live"), payload_type, mark)
    }
    #[track_caller]
    fn publish_to(relay: &Relay, url: &str, payload_type: u8, mark: u8) -> Self {
        let (mut conn, status) = announce_to(relay, url, payload_type);
        assert_eq!(status, 200);
        let transport = "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record";
        conn.ok("SETUP", &format!("{url}/a"), &[("Transport", transport)]);
        conn.ok("RECORD", url, &[]);
        Self {
            conn,
            mark,
            sequence: u16::from(mark) * 1000,
            time: u32::from(mark) * 1_000_000,
        }
    }
    fn send(&mut self, payload_type: u8) {
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.time.to_be_bytes());
        packet.extend([0, 0, 0, self.mark]);
        packet.extend([self.mark; 160]);
        self.conn.send_packet(0, &packet);
        self.sequence = self.sequence.wrapping_add(1);
        self.time += 160;
    }
}

/// Sends until the viewer has a packet with the publisher's mark.
#[track_caller]
fn heard_by(viewer: &mut Viewer, sound: &mut Sound) {
    let until = Instant::now() + DEADLINE;
    let mark = sound.mark;
    let marked = |p: &(u8, Vec<u8>)| p.0 == 0 && p.1.last() == Some(&mark);
    while !viewer.conn.taken.iter().any(marked) {
        sound.send(8);
        assert!(
            viewer.receive() && Instant::now() < until,
            "the viewer was cut off"
        );
    }
}

/// All that was taken of the stream is one stream: one source, numbers without a step back, a clock that goes on.
#[track_caller]
fn is_one_stream(viewer: &Viewer) {
    let media: Vec<_> = viewer
        .conn
        .taken
        .iter()
        .filter(|p| p.0 == 0)
        .map(|p| &p.1)
        .collect();
    for pair in media.windows(2) {
        let number = |p: &[u8]| u16::from_be_bytes([p[2], p[3]]);
        let time = |p: &[u8]| u32::from_be_bytes([p[4], p[5], p[6], p[7]]);
        assert_eq!(pair[0][8..12], pair[1][8..12], "one source");
        let step = number(pair[1]).wrapping_sub(number(pair[0]));
        assert!((1..=2).contains(&step), "a step of {step}");
        let passed = time(pair[1]).wrapping_sub(time(pair[0]));
        assert!((1..8000 * 60).contains(&passed), "{passed} units passed");
        assert_eq!(pair[1][1] & 0x7f, 8);
    }
}

fn watch(relay: &Relay) -> Viewer {
    Viewer::begin(Conn::open(HOST, relay.addr("rtsp")), "live", Transport::Tcp)
}

#[test]
fn a_second_publisher_is_refused_unless_the_first_has_gone() {
    let relay = Relay::start(Options::publish());
    let mut first = Sound::publish(&relay, 8, 1);
    first.send(8);
    assert_eq!(announce(&relay, 8).1, 403);
    let log = relay.log();
    assert!(log.contains("A publisher was refused: the path has one"), "{log}");
    drop(first);
    eventually("the path is free", || {
        (announce(&relay, 8).1 == 200).then_some(())
    });
    relay.stop();
}

#[test]
fn a_second_publisher_takes_over_where_that_is_configured_and_readers_notice_nothing() {
    let relay = Relay::start(Options::publish().config("[publish]\ntakeover = true"));
    let mut first = Sound::publish(&relay, 8, 1);
    first.send(8);
    let mut viewer = watch(&relay);
    heard_by(&mut viewer, &mut first);
    let mut second = Sound::publish(&relay, 8, 2);
    heard_by(&mut viewer, &mut second);
    is_one_stream(&viewer);
    eventually("the first publisher's connection ends", || {
        first.conn.has_ended().then_some(())
    });
    // Another kind of sound: readers begin anew.
    let _third = Sound::publish(&relay, 0, 3);
    eventually("the reader is told", || (!viewer.receive()).then_some(()));
    assert!(
        viewer
            .conn
            .taken
            .iter()
            .any(|p| p.0 == 1 && p.1[..].windows(2).any(|w| w == [0x81, 203]))
    );
    relay.stop();
}

#[test]
fn readers_wait_for_the_next_publisher_where_that_is_configured() {
    let relay = Relay::start(Options::publish().config("[publish]\nkeep_readers = \"2s\""));
    let mut first = Sound::publish(&relay, 8, 1);
    first.send(8);
    let mut viewer = watch(&relay);
    heard_by(&mut viewer, &mut first);
    drop(first);
    relay.wait_for_state("live", "waiting");
    let mut second = Sound::publish(&relay, 8, 2);
    relay.wait_for_state("live", "ready");
    heard_by(&mut viewer, &mut second);
    is_one_stream(&viewer);
    let left = Instant::now();
    drop(second);
    eventually("nobody came", || (!viewer.receive()).then_some(()));
    assert!(
        left.elapsed() > Duration::from_millis(1_500),
        "readers were not given their time"
    );
    relay.stop();
}

/// Keeps its session, as encoders do whose camera hangs.
fn says_it_is_there(conn: &mut Conn, relay: &Relay) -> bool {
    conn.try_request("OPTIONS", &relay.rtsp("live"), &[])
        .is_some_and(|reply| reply.status == 200)
}

#[test]
fn a_publisher_that_keeps_its_session_without_media_loses_its_path_and_its_readers_wait_for_the_next() {
    let config = "[publish]\nkeep_readers = \"5m\"";
    let relay = Relay::start(Options::publish().rtsp("session_timeout = \"5s\"").config(config));
    let mut first = Sound::publish(&relay, 8, 1);
    first.send(8);
    let mut viewer = watch(&relay);
    heard_by(&mut viewer, &mut first);
    assert_eq!(announce(&relay, 8).1, 403);
    eventually("the first one's path is free", || {
        // Reports are no media.
        let report = [
            0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let _ = first.conn.try_send_packet(1, &report);
        (!says_it_is_there(&mut first.conn, &relay)).then_some(())
    });
    let mut second = Sound::publish(&relay, 8, 2);
    heard_by(&mut viewer, &mut second);
    is_one_stream(&viewer);
    assert_eq!(relay.lost("PublisherSilent"), 1);
    let log = relay.stop();
    assert!(
        log.contains("A publisher was ended: it kept its session without sending media."),
        "{log}"
    );
}

#[test]
fn a_publisher_that_only_announces_or_pauses_has_its_path_no_longer_than_a_silent_one() {
    let relay = Relay::start(Options::publish().rtsp("session_timeout = \"5s\""));
    let announced = announce(&relay, 8).0;
    let other = relay.rtsp("other");
    let mut sound = Sound::publish_to(&relay, &other, 8, 1);
    sound.send(8);
    sound.conn.ok("PAUSE", &other, &[]);
    let mut conns = [announced, sound.conn];
    eventually("both are ended", || {
        let here = conns.iter_mut().map(|conn| says_it_is_there(conn, &relay));
        (here.filter(|here| *here).count() == 0).then_some(())
    });
    for url in [relay.rtsp("live"), other] {
        Sound::publish_to(&relay, &url, 8, 2).send(8);
    }
    assert_eq!(relay.lost("PublisherSilent"), 2);
    relay.stop();
}

/// gortsplib: TestServerRecordPath and others; RFC 2326 section 11.3.3.
#[test]
fn who_asks_for_a_path_that_is_elsewhere_is_sent_there() {
    let there = Relay::start(Options::sources(&["cam=pattern:?size=160x120&fps=25"]));
    let here = Relay::start(Options::sources(&[&format!(
        "away=redirect:{}",
        there.rtsp("cam")
    )]));
    let mut conn = Conn::open(HOST, here.addr("rtsp"));
    let reply = conn.request("DESCRIBE", &here.rtsp("away"), &[]);
    assert_eq!(
        (reply.status, reply.header("location")),
        (302, Some(there.rtsp("cam").as_str()))
    );
    assert_eq!(
        ffmpeg::read(&here.rtsp("away"), Transport::Tcp, 5).len(),
        5,
        "FFmpeg goes there"
    );
    here.stop();
    there.stop();
}

#[test]
fn a_path_may_be_for_some_users_only_by_rtsp_and_http_alike() {
    let user = |name: &str| {
        let hashed = louver::proto::rtsp::auth::User::new(name, "Louver", "secret");
        let (md5, sha256) = (&hashed.ha1_md5, &hashed.ha1_sha256);
        format!("[[auth.users]]\nname = \"{name}\"\nha1_md5 = \"{md5}\"\nha1_sha256 = \"{sha256}\"\n")
    };
    let config = format!(
        "[auth]\nrequired = \"always\"\n{}{}[publish]\nusers = [\"anna\"]\n\
         [paths.cam]\nsource = \"pattern:?size=160x120&fps=25\"\nread = [\"anna\"]\n",
        user("anna"),
        user("bob")
    );
    let mut options = Options::publish().config(&config).login("anna", "secret");
    options.sources.clear();
    let relay = Relay::start(options);
    relay.wait_for_state("cam", "ready");
    for (name, read, publish) in [("anna", 200, 200), ("bob", 403, 403)] {
        let login = crate::relay::basic(name, "secret");
        let mut conn = Conn::open(HOST, relay.addr("rtsp")).header("Authorization", &login);
        assert_eq!(
            conn.request("DESCRIBE", &relay.rtsp("cam"), &[]).status,
            read,
            "{name}"
        );
        assert_eq!(
            conn.request("DESCRIBE", &relay.rtsp("CAM"), &[]).status,
            read,
            "{name}"
        );
        let sdp = "v=0\r\nm=audio 0 RTP/AVP 8\r\na=control:a\r\n";
        let announced = conn.request_with("ANNOUNCE", &relay.rtsp("new"), &[], sdp);
        assert_eq!(announced.status, publish, "{name}");
        let headers = [("Authorization", login.as_str())];
        let answer = http::request(
            HOST,
            relay.addr("http"),
            "GET",
            "/live/cam/snapshot.jpg",
            &headers,
        );
        assert_eq!(answer.status, read, "{name}");
    }
    relay.stop();
}
