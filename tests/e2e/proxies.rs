//! A17: who comes through a proxy is counted as themselves if the proxy is trusted, and as the proxy if it is not.

use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::canary::Canary;
use crate::http;
use crate::peers::Transport;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10));
const ONE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 23);

fn relay(proxy_protocol: bool) -> Relay {
    let config = "[privacy]\nk = 1\ntrusted_proxies = \"127.0.0.9\"\n".to_owned();
    let mut options = Options::sources(&["pattern:?size=320x240&fps=15"])
        .config(&config)
        .log("trace");
    if proxy_protocol {
        options = options
            .rtsp("proxy_protocol = true")
            .http("proxy_protocol = true");
    }
    let mut relay = Relay::start(options);
    for address in [ONE, OTHER] {
        relay.expect_no_trace_of(Canary::Addr(address));
    }
    relay
}

fn look(relay: &Relay, from: IpAddr, headers: &[(&str, &str)]) {
    let mut stream = http::Stream::open(
        from,
        relay.addr("http"),
        "GET",
        "/live/webcam/stream.mjpeg",
        headers,
    );
    assert_eq!(stream.status, 200);
    stream.next_part().expect("a picture");
}

/// Sessions and viewer-days, once so many sessions are stored.
fn counted(relay: &Relay, sessions: u64) -> u64 {
    eventually("the sessions are stored", || {
        let stats = relay.stats();
        (stats["sessions"] == sessions).then(|| stats["viewer_days"].as_u64().unwrap())
    })
}

#[test]
fn a17_only_a_trusted_proxy_names_viewers() {
    let relay = relay(false);
    let (one, other) = (ONE.to_string(), OTHER.to_string());
    // What a stranger says of others, or of itself, makes one viewer.
    look(&relay, STRANGER, &[("X-Forwarded-For", &one)]);
    look(&relay, STRANGER, &[("X-Forwarded-For", &other)]);
    look(&relay, STRANGER, &[("Forwarded", &format!("for={one}"))]);
    look(
        &relay,
        STRANGER,
        &[("X-Forwarded-For", &format!("{one}, 127.0.0.9"))],
    );
    assert_eq!(counted(&relay, 4), 1);
    // What a trusted one says makes as many as it names, whatever they claimed before it.
    look(&relay, PROXY, &[("X-Forwarded-For", &one)]);
    look(&relay, PROXY, &[("X-Forwarded-For", &format!("{other}, {one}"))]);
    look(
        &relay,
        PROXY,
        &[("X-Forwarded-For", &other), ("X-Forwarded-For", &one)],
    );
    look(
        &relay,
        PROXY,
        &[("Forwarded", &format!("for=\"{one}:4711\";proto=http"))],
    );
    assert_eq!(counted(&relay, 8), 2);
    look(&relay, PROXY, &[("X-Forwarded-For", &other)]);
    assert_eq!(counted(&relay, 9), 3);
    relay.stop();
}

/// A header of version 1 or 2 for this viewer.
fn header(version: u8, viewer: Ipv4Addr) -> Vec<u8> {
    if version == 1 {
        return format!("PROXY TCP4 {viewer} 192.0.2.1 40000 554\r\n").into_bytes();
    }
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend(viewer.octets());
    header.extend([192, 0, 2, 1, 0x9c, 0x40, 2, 0x2a]);
    header
}

fn watch(mut conn: Conn, first: &[u8]) {
    conn.send_raw(first);
    let mut viewer = Viewer::watch(conn, "webcam", Transport::Tcp);
    viewer.until(Duration::from_millis(200));
    viewer.leave();
}

#[test]
fn a17_a_proxy_header_is_read_from_a_trusted_proxy_alone() {
    let relay = relay(true);
    let rtsp = |from| Conn::open(from, relay.addr("rtsp"));
    for (version, viewer) in [(1, ONE), (2, ONE), (2, OTHER), (1, OTHER)] {
        watch(rtsp(PROXY), &header(version, viewer));
    }
    assert_eq!(counted(&relay, 4), 2);
    // The proxy's own check, and somebody who comes directly.
    watch(rtsp(PROXY), b"PROXY UNKNOWN\r\n");
    watch(rtsp(STRANGER), b"");
    assert_eq!(counted(&relay, 6), 4);
    // The same by HTTP; what is behind the header is a request like any other.
    for (version, viewer) in [(1, ONE), (2, OTHER)] {
        let mut conn = http::connect(PROXY, relay.addr("http"));
        conn.write_all(&header(version, viewer)).unwrap();
        conn.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        conn.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    relay.stop();
}

#[test]
fn a17_a_bad_proxy_header_ends_the_connection_and_a_strangers_is_no_header() {
    let relay = relay(true);
    let mut twice = header(1, ONE);
    twice.extend(header(1, OTHER));
    let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
    for (from, first) in [
        (PROXY, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n".to_vec()),
        (PROXY, b"PROXY TCP4 203.0.113.7\r\n".to_vec()),
        (PROXY, b"PROXY TCP4 999.0.113.7 192.0.2.1 1 2\r\n".to_vec()),
        (PROXY, long),
        (PROXY, twice),
        (STRANGER, header(1, ONE)),
        (STRANGER, header(2, ONE)),
    ] {
        let mut conn = http::connect(from, relay.addr("rtsp"));
        conn.write_all(&first).unwrap();
        let mut answer = Vec::new();
        conn.shutdown(std::net::Shutdown::Write).ok();
        conn.read_to_end(&mut answer).ok();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.starts_with("RTSP/1.0 200"), "{answer}");
    }
    watch(Conn::open(STRANGER, relay.addr("rtsp")), b"");
    assert_eq!(counted(&relay, 1), 1);
    relay.stop();
}
