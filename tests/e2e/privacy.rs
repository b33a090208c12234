//! A viewer made of canaries: whatever a viewer can say of itself, it says, with the log at its most talkative. Then
//! every file, line and answer is searched for it.

use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::Digest;
use sha2::Sha256;

use crate::canary::Canary;
use crate::clips;
use crate::http;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 9, 8, 7);
const FORWARDED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);
const DESTINATION: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 78);
const USER: &str = "canaryuser";
const PASSWORD: &str = "canarypassword";
/// Everything else that the viewer says. The first letters must differ from anything the relay would say.
const TEXTS: [&str; 13] = [
    "canaryagent",
    "canaryquery",
    "canaryreferer",
    "canarycookie",
    "canarylanguage",
    "canarywronguser",
    "canarywrongpassword",
    "canarypath",
    "canaryheader",
    "canarysession",
    "canarysdp",
    "canarygarbage",
    "canarydigest",
];

/// `MD5(user:Louver:password)` as the configuration takes it.
pub fn ha1_md5(user: &str, password: &str) -> String {
    hex(&Md5::digest(format!("{user}:Louver:{password}")))
}

/// The same with SHA-256.
pub fn ha1_sha256(user: &str, password: &str) -> String {
    hex(&Sha256::digest(format!("{user}:Louver:{password}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A relay that asks for credentials, as on a network, and logs all it can.
fn relay() -> Relay {
    let users = format!(
        "[auth]\nrequired = \"always\"\n[[auth.users]]\nname = \"{USER}\"\nha1_md5 = \"{}\"\nha1_sha256 = \"{}\"\n\
         [privacy]\nk = 1\n",
        ha1_md5(USER, PASSWORD),
        ha1_sha256(USER, PASSWORD)
    );
    let mut relay = Relay::start(
        Options::publish()
            .config(&users)
            .log("trace")
            .login(USER, PASSWORD),
    );
    for address in [ADDRESS, FORWARDED, DESTINATION] {
        relay.expect_no_trace_of(Canary::Addr(address));
    }
    let pair = format!("{USER}:{PASSWORD}");
    for text in TEXTS.iter().copied().chain([USER, PASSWORD, pair.as_str()]) {
        relay.expect_no_trace_of(Canary::text(text));
    }
    for hash in [ha1_md5(USER, PASSWORD), ha1_sha256(USER, PASSWORD)] {
        relay.expect_no_trace_of(Canary::Text(hash));
    }
    relay
}

#[test]
fn nothing_that_leaves_us_names_the_viewer() {
    let relay = relay();
    let login = format!(
        "rtsp://{USER}:{PASSWORD}@localhost:{}/cam",
        relay.addr("rtsp").port()
    );
    let _publisher = ffmpeg::publish(clips::h264(), &login, Transport::Tcp);
    relay.wait_for_state("cam", "ready");
    browse(&relay);
    watch(&relay);
    lie(&relay);
    eventually("the canary's sessions are stored", || {
        (relay.stats()["sessions"] == 3).then_some(())
    });
    let log = relay.stop();
    assert!(
        log.contains("TRACE") || log.contains("DEBUG"),
        "the log was talkative:\n{log}"
    );
}

#[test]
fn nothing_is_left_of_the_viewer_after_a_power_cut() {
    let mut relay = relay();
    let login = format!(
        "rtsp://{USER}:{PASSWORD}@localhost:{}/cam",
        relay.addr("rtsp").port()
    );
    let publisher = ffmpeg::publish(clips::h264(), &login, Transport::Tcp);
    relay.wait_for_state("cam", "ready");
    let mut viewer = Viewer::watch(canary(&relay), "cam?token=canaryquery", Transport::Tcp);
    viewer.until(Duration::from_secs(3));
    relay.kill9();
    drop((viewer, publisher));
    // Before anything is tidied up: the write-ahead log is there as it was.
    relay.assert_no_trace();
    relay.restart();
    eventually("the session survived", || {
        (relay.stats()["sessions"] == 1).then_some(())
    });
    relay.stop();
}

/// Pages, pictures and mistakes over HTTP.
fn browse(relay: &Relay) {
    let (from, to) = (IpAddr::V4(ADDRESS), relay.addr("http"));
    let (right, wrong) = (
        basic(USER, PASSWORD),
        basic("canarywronguser", "canarywrongpassword"),
    );
    let forwarded = FORWARDED.to_string();
    for (authorization, expected) in [(&right, 200), (&wrong, 401)] {
        let headers = [
            ("User-Agent", "Mozilla/5.0 canaryagent"),
            ("Referer", "http://canaryreferer/?from=canaryreferer"),
            ("Cookie", "id=canarycookie"),
            ("Accept-Language", "canarylanguage"),
            ("X-Forwarded-For", &forwarded),
            ("Forwarded", &format!("for={forwarded}")),
            ("X-Canary", "canaryheader"),
            ("Authorization", authorization),
        ];
        for path in [
            "/",
            "/api/v1/paths",
            "/api/v1/stats",
            "/metrics",
            "/live/cam/",
            "/live/cam/snapshot.jpg",
        ] {
            let answer = http::request(from, to, "GET", &format!("{path}?token=canaryquery"), &headers);
            assert_eq!(answer.status, expected, "{path}: {}", answer.text());
        }
        for path in [
            "/canarypath",
            "/live/canarypath/stream.mjpeg",
            "/api/v1/stats?since=canaryquery",
        ] {
            let answer = http::request(from, to, "GET", path, &headers);
            assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
            assert!(!answer.text().contains("canary"), "{path}: {}", answer.text());
        }
        let answer = http::request(from, to, "POST", "/live/cam/?token=canaryquery", &headers);
        assert!((400..500).contains(&answer.status));
        let mut stream = http::Stream::open(
            from,
            to,
            "GET",
            "/live/cam/stream.mjpeg?token=canaryquery",
            &headers,
        );
        assert_eq!(stream.status, expected);
        if expected == 200 {
            stream.next_part().expect("a picture");
        }
    }
}

fn canary(relay: &Relay) -> Conn {
    Conn::open(IpAddr::V4(ADDRESS), relay.addr("rtsp"))
        .header("User-Agent", "LibVLC/3.0.20 canaryagent")
        .header("X-Canary", "canaryheader")
        .header("Referer", "rtsp://canaryreferer/")
        .header("Authorization", &basic(USER, PASSWORD))
}

/// Right credentials, all the way.
fn watch(relay: &Relay) {
    for transport in [Transport::Tcp, Transport::Udp] {
        let mut viewer = Viewer::watch(canary(relay), "cam?token=canaryquery", transport);
        viewer.until(Duration::from_millis(500));
        viewer.leave();
    }
}

/// Wrong credentials, wrong paths, wrong bytes.
fn lie(relay: &Relay) {
    let (from, to) = (IpAddr::V4(ADDRESS), relay.addr("rtsp"));
    let port = to.port();
    let host = format!("canarywronguser:canarywrongpassword@localhost:{port}");
    let refused = [
        (
            "DESCRIBE",
            format!("rtsp://{host}/cam?token=canaryquery"),
            basic("canarywronguser", "canarywrongpassword"),
        ),
        ("DESCRIBE", format!("rtsp://{host}/cam"), DIGEST.to_owned()),
        (
            "SETUP",
            format!("rtsp://{host}/cam"),
            "Basic canarydigest!".to_owned(),
        ),
        (
            "DESCRIBE",
            format!("rtsp://localhost:{port}/canarypath?canaryquery"),
            basic(USER, PASSWORD),
        ),
        (
            "CANARYGARBAGE",
            format!("rtsp://localhost:{port}/canarypath"),
            basic(USER, PASSWORD),
        ),
    ];
    for (method, url, authorization) in refused {
        let mut conn = Conn::open(from, to)
            .header("User-Agent", "canaryagent")
            .header("Session", "canarysession");
        let transport = format!("RTP/AVP;unicast;client_port=5000-5001;destination={DESTINATION}");
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Transport", &transport),
        ];
        if let Some(answer) = conn.try_request(method, &url, &headers) {
            assert!(answer.status >= 400, "{method} {url}: {}", answer.status);
            assert!(!answer.body.contains("canary"), "{method}: {}", answer.body);
        }
    }
    describe_what_a_canary_published(relay);
    for (name, text) in [
        (
            "rtsp",
            "canarygarbage \u{0}\u{1} 127.9.8.7\r\nAuthorization: canarygarbage\r\n\r\n",
        ),
        (
            "rtsp",
            "DESCRIBE rtsp://canarygarbage:1/\u{7f} RTSP/9.9\r\nCSeq: canarygarbage\r\n\r\n",
        ),
        (
            "http",
            "GET /canarygarbage\u{0} HTTP/9.9\r\nHost: canarygarbage\r\n\r\n",
        ),
        ("http", "\u{16}\u{3}\u{1}canarygarbage"),
    ] {
        let mut conn = http::connect(from, relay.addr(name));
        conn.write_all(text.as_bytes()).unwrap();
        conn.shutdown(std::net::Shutdown::Write).unwrap();
        std::io::copy(&mut conn, &mut std::io::sink()).ok();
    }
}

const DIGEST: &str = "Digest username=\"canarydigest\", realm=\"Louver\", nonce=\"canarydigest\", \
                      uri=\"rtsp://canarydigest/\", response=\"0123456789abcdef0123456789abcdef\"";

/// A publisher's SDP names its host and its maker; readers must get neither.
fn describe_what_a_canary_published(relay: &Relay) {
    let url = relay.rtsp("from-canary");
    let sdp = format!(
        "v=0\r\no=canarysdp 1 1 IN IP4 {ADDRESS}\r\ns=canarysdp\r\ni=canarysdp\r\nu=http://canarysdp/\r\n\
         e=canarysdp@example.org\r\nc=IN IP4 {ADDRESS}\r\nt=0 0\r\na=tool:canarysdp\r\n\
         m=video 0 RTP/AVP 96\r\nc=IN IP4 {ADDRESS}\r\na=rtpmap:96 H264/90000\r\n\
         a=fmtp:96 packetization-mode=1\r\na=x-canarysdp:1\r\na=control:streamid=0\r\n"
    );
    let mut publisher = canary(relay);
    assert_eq!(
        publisher
            .request_with("ANNOUNCE", &url, &[("Content-Type", "application/sdp")], &sdp)
            .status,
        200
    );
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")];
    publisher.ok("SETUP", &format!("{url}/streamid=0"), &transport);
    publisher.ok("RECORD", &url, &[]);
    let described = canary(relay).ok("DESCRIBE", &url, &[]);
    for text in ["canary", "127.9.8.7"] {
        assert!(
            !described.body.replace("from-canary", "").contains(text),
            "{text} in {}",
            described.body
        );
    }
}

#[test]
fn on_the_network_a_password_is_made_once_and_nobody_gets_in_without() {
    let mut relay = Relay::start(Options::publish().arg("--lan"));
    let password = eventually("an address with the password is shown", || {
        let log = relay.log();
        let url = log
            .split_whitespace()
            .find_map(|w| w.strip_prefix("http://louver:"))?;
        Some(url.split('@').next()?.to_owned())
    });
    assert!(
        password.len() >= 12 && password == password.to_lowercase(),
        "long, and fit for VLC"
    );
    let status = |relay: &Relay, headers: &[(&str, &str)]| {
        let to = (Ipv4Addr::LOCALHOST, relay.addr("http").port()).into();
        http::request(http::LOCAL, to, "GET", "/api/v1/paths", headers).status
    };
    let right = basic("louver", &password);
    assert_eq!(status(&relay, &[]), 401);
    assert_eq!(
        status(&relay, &[("X-Forwarded-For", "127.0.0.1")]),
        401,
        "trust does not follow a header"
    );
    assert_eq!(
        status(&relay, &[("Authorization", &basic("louver", "nonsense"))]),
        401
    );
    assert_eq!(status(&relay, &[("Authorization", &right)]), 200);
    let rtsp = (Ipv4Addr::LOCALHOST, relay.addr("rtsp").port()).into();
    let refused = Conn::open(http::LOCAL, rtsp).request("DESCRIBE", &relay.rtsp("webcam"), &[]);
    assert_eq!(refused.status, 401);
    let refused = refused
        .headers
        .iter()
        .filter(|(n, _)| n == "www-authenticate")
        .count();
    assert!(refused >= 2, "Basic and Digest are offered");
    relay.kill9();
    // Kept as hashes only, and shown no second time.
    relay.expect_no_trace_of(Canary::text(&password));
    relay.forget_log();
    relay.restart();
    assert_eq!(status(&relay, &[("Authorization", &right)]), 200);
    relay.login_as("louver", &password);
    relay.stop();
}
