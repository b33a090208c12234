//! Each limit of the configuration: what is refused at it, how that is told and counted, and that a viewer who was
//! there before notices nothing. Descriptors, and connections of one host, are in `strangers`.

use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::TcpStream;
use std::time::Duration;

use crate::http;
use crate::peers::Transport;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;
use crate::watchful::Watchful;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TCP: (&str, &str) = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1");

/// A relay with two test pictures, these limits, and somebody who watches.
fn limited(limits: &str) -> (Relay, Watchful) {
    let sources = [
        "cam=pattern:?size=160x120&fps=25",
        "two=pattern:?size=160x120&fps=25",
    ];
    let relay = Relay::start(Options::sources(&sources).config(&format!("[limits]\n{limits}")));
    relay.wait_for_state("two", "ready");
    let watchful = Watchful::of(&relay, "cam");
    (relay, watchful)
}

/// The limit was counted once, and whoever watched goes on.
#[track_caller]
fn counted_once(relay: Relay, mut watchful: Watchful, key: &str) {
    watchful.watch(Duration::from_millis(200));
    assert_eq!(relay.limited(key), 1, "{key}");
    drop(watchful);
    relay.stop();
}

fn open(relay: &Relay) -> Conn {
    Conn::open(HOST, relay.addr("rtsp"))
}

fn setup(conn: &mut Conn, relay: &Relay, path: &str) -> u16 {
    let url = relay.rtsp(path);
    conn.request("SETUP", &format!("{url}/trackID=0"), &[TCP]).status
}

fn announce(conn: &mut Conn, relay: &Relay, path: &str, sdp: &str) -> u16 {
    conn.request_with("ANNOUNCE", &relay.rtsp(path), &[], sdp).status
}

const ONE_TRACK: &str = "v=0\r\nm=audio 0 RTP/AVP 8\r\na=control:a\r\n";

#[test]
fn a_request_that_is_too_long_is_told_so_and_its_connection_ends() {
    let (relay, watchful) = limited("request_size = \"1KiB\"");
    let mut conn = open(&relay);
    let long = "x".repeat(1024);
    assert_eq!(
        conn.request("OPTIONS", &relay.rtsp("cam"), &[("X", &long)])
            .status,
        413
    );
    eventually("the end", || conn.has_ended().then_some(()));
    counted_once(relay, watchful, "request_size");
}

#[test]
fn an_address_that_is_too_long_is_told_so() {
    let (relay, watchful) = limited("request_size = \"1KiB\"");
    let url = relay.rtsp(&"x".repeat(1024));
    assert_eq!(open(&relay).request("OPTIONS", &url, &[]).status, 414);
    counted_once(relay, watchful, "request_size");
}

#[test]
fn too_many_headers_are_told_so() {
    let (relay, watchful) = limited("request_headers = 16");
    let many = [("X", "y"); 16]; // and CSeq
    assert_eq!(
        open(&relay).request("OPTIONS", &relay.rtsp("cam"), &many).status,
        413
    );
    counted_once(relay, watchful, "request_headers");
}

#[test]
fn an_announcement_that_is_too_long_is_told_so() {
    let (relay, watchful) = limited("announce_size = \"1KiB\"");
    let sdp = format!("{ONE_TRACK}a=x:{}\r\n", "y".repeat(1024));
    assert_eq!(announce(&mut open(&relay), &relay, "live", &sdp), 413);
    counted_once(relay, watchful, "announce_size");
}

#[test]
fn a_publisher_may_have_so_many_tracks() {
    let (relay, watchful) = limited("tracks = 1");
    let two = format!("{ONE_TRACK}m=audio 0 RTP/AVP 0\r\na=control:b\r\n");
    let mut conn = open(&relay);
    assert_eq!(announce(&mut conn, &relay, "live", &two), 453);
    assert_eq!(announce(&mut conn, &relay, "live", ONE_TRACK), 200);
    counted_once(relay, watchful, "tracks");
}

#[test]
fn publishers_may_open_so_many_paths() {
    let (relay, watchful) = limited("published_paths = 1");
    let mut conns = [open(&relay), open(&relay)];
    assert_eq!(announce(&mut conns[0], &relay, "live/1", ONE_TRACK), 200);
    assert_eq!(announce(&mut conns[1], &relay, "live/2", ONE_TRACK), 453);
    counted_once(relay, watchful, "published_paths");
}

#[test]
fn there_are_so_many_sessions_in_all() {
    let (relay, watchful) = limited("sessions = 2"); // and one watches already
    let mut conns = [open(&relay), open(&relay)];
    assert_eq!(setup(&mut conns[0], &relay, "cam"), 200);
    assert_eq!(setup(&mut conns[1], &relay, "cam"), 453);
    assert_eq!(relay.limited("sessions"), 1);
    conns[0].ok("TEARDOWN", &relay.rtsp("cam"), &[]);
    assert_eq!(setup(&mut conns[1], &relay, "cam"), 200, "there is room again");
    counted_once(relay, watchful, "sessions");
}

#[test]
fn a_connection_has_so_many_sessions() {
    let (relay, watchful) = limited("sessions_per_connection = 1");
    let mut conn = open(&relay);
    assert_eq!(setup(&mut conn, &relay, "cam"), 200);
    conn.session = None;
    assert_eq!(setup(&mut conn, &relay, "two"), 453);
    counted_once(relay, watchful, "sessions_per_connection");
}

#[test]
fn so_many_sessions_by_udp_outlive_their_connections() {
    for (limits, key) in [
        ("kept_sessions = 1", "kept_sessions"),
        ("kept_sessions_per_host = 1", "kept_sessions_per_host"),
    ] {
        let (relay, watchful) = limited(limits);
        let viewers = [(); 2].map(|()| Viewer::watch(open(&relay), "two", Transport::Udp));
        drop(viewers);
        eventually("one is kept and one ended", || {
            (relay.limited(key) == 1).then_some(())
        });
        counted_once(relay, watchful, key);
    }
}

#[test]
fn there_are_so_many_tunnels() {
    let (relay, watchful) = limited("tunnels = 1");
    let tunnel = |cookie: &str| {
        let mut stream = http::connect(HOST, relay.addr("rtsp"));
        let head = format!("GET /cam HTTP/1.0\r\nx-sessioncookie: {cookie}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        (status_line(&mut stream), stream)
    };
    let first = tunnel("a");
    assert!(first.0.contains(" 200 "), "{}", first.0);
    let second = tunnel("b");
    assert!(second.0.contains(" 503 "), "{}", second.0);
    drop((first, second));
    counted_once(relay, watchful, "tunnels");
}

#[test]
fn there_are_so_many_connections_by_rtsp() {
    let (relay, watchful) = limited("rtsp_connections = 2");
    let url = relay.rtsp("cam");
    let mut first = open(&relay);
    first.ok("OPTIONS", &url, &[]);
    assert!(open(&relay).try_request("OPTIONS", &url, &[]).is_none());
    counted_once(relay, watchful, "rtsp_connections");
}

#[test]
fn there_are_so_many_connections_by_http() {
    let sources = Options::sources(&["cam=pattern:?size=160x120&fps=25"]);
    let relay = Relay::start(sources.config("[limits]\nhttp_connections = 1"));
    let mut watchful = Watchful::of(&relay, "cam");
    // A connection that has just been closed may still count.
    let ask = |path: &str| {
        let mut stream = http::connect(HOST, relay.addr("http"));
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    };
    let holding = http::connect(HOST, relay.addr("http"));
    eventually("the second is refused", || {
        ask("/healthz").starts_with("HTTP/1.1 503 ").then_some(())
    });
    drop(holding);
    let metrics = eventually("there is room again", || {
        Some(ask("/metrics")).filter(|text| text.starts_with("HTTP/1.1 200 "))
    });
    assert!(metrics.contains("louver_limit_reached_total{limit=\"http_connections\"}"));
    watchful.watch(Duration::from_millis(200));
}

#[test]
fn a_head_of_http_that_is_too_long_is_told_so() {
    let (relay, watchful) = limited("request_size = \"8KiB\"");
    let long = "x".repeat(9000);
    let mut stream = http::connect(HOST, relay.addr("http"));
    let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let line = status_line(&mut stream);
    assert!(line.contains(" 431 "), "{line}");
    counted_once(relay, watchful, "request_size");
}

/// The first line of an answer, or what came of it.
fn status_line(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while bytes.last() != Some(&b'\n') && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        bytes.push(byte[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_reader_that_reads_nothing_is_closed_and_whoever_reads_loses_nothing() {
    let relay = Relay::start(Options::sources(&["cam=pattern:?size=640x360&fps=25&bitrate=4M"]));
    relay.wait_for_state("cam", "ready");
    let mut watchful = Watchful::of(&relay, "cam");
    let stuck = Viewer::watch(open(&relay), "cam", Transport::Tcp);
    eventually("the end of who reads nothing", || {
        watchful.watch(Duration::from_millis(100));
        (relay.lost("ReaderStuck") == 1).then_some(())
    });
    drop((stuck, watchful));
    relay.stop();
}
