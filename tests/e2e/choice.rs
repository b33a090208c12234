//! A19, A27: who does not want to be counted is not, by whatever sign they say it; and nobody is on a sensitive path.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;

use crate::http;
use crate::http::LOCAL;
use crate::peers::Transport;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

const PATTERN: &str = "pattern:?size=320x240&fps=15";

fn relay(config: &str) -> Relay {
    Relay::start(Options::sources(&[PATTERN]).config(&format!("[privacy]\nk = 1\n{config}")))
}

/// Headers with which somebody objects, and the path they ask for.
type Objection = (&'static [(&'static str, &'static str)], &'static str);

const RTSP: &[Objection] = &[
    (&[("DNT", "1")], "webcam"),
    (&[("Sec-GPC", "1")], "webcam"),
    (&[("X-Stats", "off")], "webcam"),
    (&[("User-Agent", "LibVLC/3.0.20 nostats")], "webcam"),
    (&[], "webcam?stats=off"),
    (&[], "nostats/webcam"),
    (&[], "NoStats/webcam"),
];

const HTTP: &[Objection] = &[
    (&[("DNT", "1")], "/live/webcam/stream.mjpeg"),
    (&[("Sec-GPC", "1")], "/live/webcam/stream.mjpeg"),
    (&[("X-Stats", "off")], "/live/webcam/stream.mjpeg"),
    (
        &[("User-Agent", "Mozilla/5.0 NOSTATS")],
        "/live/webcam/stream.mjpeg",
    ),
    (&[], "/live/webcam/stream.mjpeg?stats=off"),
    (&[], "/live/nostats/webcam/stream.mjpeg"),
];

fn watch(relay: &Relay, from: IpAddr, headers: &[(&str, &str)], path: &str, transport: Transport) {
    let mut conn = Conn::open(from, relay.addr("rtsp"));
    for (name, value) in headers {
        conn = conn.header(name, value);
    }
    let mut viewer = Viewer::watch(conn, path, transport);
    viewer.until(Duration::from_millis(200));
    viewer.leave();
}

fn look(relay: &Relay, from: IpAddr, headers: &[(&str, &str)], path: &str) {
    let mut stream = http::Stream::open(from, relay.addr("http"), "GET", path, headers);
    assert_eq!(stream.status, 200, "{path}");
    stream.next_part().expect("a picture");
}

/// The sessions that the statistics know, once they know of `at_least`.
fn sessions(relay: &Relay, at_least: u64) -> serde_json::Value {
    eventually("the sessions are stored", || {
        let stats = relay.stats();
        (stats["sessions"].as_u64()? >= at_least).then(|| stats["sessions"].clone())
    })
}

#[test]
fn a19_who_objects_by_any_sign_is_in_no_statistics() {
    let relay = relay("");
    let (objector, other) = (
        Ipv4Addr::new(127, 0, 0, 2).into(),
        Ipv4Addr::new(127, 0, 0, 3).into(),
    );
    for (headers, path) in RTSP {
        for transport in [Transport::Tcp, Transport::Udp] {
            watch(&relay, objector, headers, path, transport);
        }
    }
    for (headers, path) in HTTP {
        look(&relay, objector, headers, path);
    }
    // Signs that mean the opposite, or nothing.
    watch(
        &relay,
        other,
        &[("DNT", "0"), ("X-Stats", "on")],
        "webcam?stats=on",
        Transport::Tcp,
    );
    assert_eq!(sessions(&relay, 1), 1);
    let stats = relay.stats();
    assert_eq!(stats["viewer_days"], 1, "{stats}");
    relay.stop();
}

#[test]
fn the_alias_is_a_name_of_the_same_path_and_of_no_other() {
    let relay = relay("");
    let to = relay.addr("http");
    let answer = http::request(LOCAL, to, "GET", "/live/nostats/webcam", &[]);
    assert_eq!(
        (answer.status, answer.header("location")),
        (308, Some("/live/nostats/webcam/"))
    );
    for path in ["/live/nostats/webcam/", "/live/nostats/webcam/snapshot.jpg"] {
        assert_eq!(http::get(to, path).status, 200, "{path}");
    }
    for path in [
        "/live/nostats/other/",
        "/live/nostats/nostats/webcam/",
        "/live/nostats/",
    ] {
        assert_eq!(http::get(to, path).status, 404, "{path}");
    }
    let gpc = http::get(to, "/.well-known/gpc.json");
    assert_eq!(gpc.status, 200);
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&gpc.body).unwrap()["gpc"],
        json!(true)
    );
    relay.stop();
}

#[test]
fn a27_on_a_sensitive_path_nobody_is_counted() {
    let config = format!("[paths.ward]\nsource = \"{PATTERN}\"\nsensitive = true\n");
    let relay = relay(&config);
    let from = Ipv4Addr::new(127, 0, 0, 2).into();
    watch(&relay, from, &[], "ward", Transport::Tcp);
    look(&relay, from, &[], "/live/ward/stream.mjpeg");
    watch(&relay, from, &[], "webcam", Transport::Tcp);
    assert_eq!(sessions(&relay, 1), 1);
    assert!(!relay.stats().to_string().contains("ward"));
    relay.stop();
}

#[test]
fn modes_of_consent_that_count_nobody_count_nobody() {
    for consent in ["off", "opt-in"] {
        let relay = relay(&format!("consent = \"{consent}\"\n"));
        watch(&relay, LOCAL, &[], "webcam", Transport::Tcp);
        look(&relay, LOCAL, &[], "/live/webcam/stream.mjpeg");
        let dir = relay.data_dir();
        let log = relay.log();
        let stats = relay.stats();
        assert_eq!(stats["sessions"], 0, "{consent}: {stats}\n{log}");
        assert!(dir.exists());
        relay.stop();
    }
}

/// Players that send a header of their own do not always do so with each request.
#[test]
fn an_objection_with_describe_or_setup_alone_is_enough() {
    let relay = relay("");
    let signs = [("DNT", "1"), ("Sec-GPC", "1"), ("X-Stats", "off")];
    for ((name, value), at) in signs
        .into_iter()
        .flat_map(|sign| [(sign, "DESCRIBE"), (sign, "SETUP")])
    {
        let sign = |method: &str| {
            if method == at {
                (name, value)
            } else {
                ("X-Other", "1")
            }
        };
        let mut conn = Conn::open(Ipv4Addr::new(127, 0, 0, 2).into(), relay.addr("rtsp"));
        let url = relay.rtsp("webcam");
        let described = conn.ok(
            "DESCRIBE",
            &url,
            &[("Accept", "application/sdp"), sign("DESCRIBE")],
        );
        let base = described.header("content-base").unwrap();
        let mut controls = described
            .body
            .lines()
            .filter_map(|l| l.strip_prefix("a=control:"));
        let control = controls.next_back().unwrap();
        let transport = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1");
        conn.ok("SETUP", &format!("{base}{control}"), &[transport, sign("SETUP")]);
        conn.ok("PLAY", &url, &[]);
        while conn.packets[0] == 0 {
            assert!(!conn.has_ended(), "{name} with {at}");
            conn.skip_packets();
        }
        conn.ok("TEARDOWN", &url, &[]);
    }
    watch(&relay, LOCAL, &[], "webcam", Transport::Tcp);
    assert_eq!(sessions(&relay, 1), 1);
    relay.stop();
}

#[test]
fn browsers_are_told_that_their_wish_is_obeyed_also_where_a_password_is_asked_for() {
    let config = "[auth]\nrequired = \"always\"\n";
    let relay = Relay::start(Options::sources(&[PATTERN]).config(config));
    let to = relay.addr("http");
    assert_eq!(http::get(to, "/api/v1/stats").status, 401);
    let gpc = http::get(to, "/.well-known/gpc.json");
    let told: serde_json::Value = serde_json::from_slice(&gpc.body).unwrap();
    assert_eq!(
        (gpc.status, gpc.header("content-type"), &told["gpc"]),
        (200, Some("application/json"), &json!(true))
    );
    assert!(told["lastUpdate"].is_string(), "{told}");
    assert_eq!(
        http::request(LOCAL, to, "HEAD", "/.well-known/gpc.json", &[]).status,
        200
    );
    relay.forget_log();
}
