//! A scripted audience, and whether the statistics tell what happened: each session, each viewer, each second.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::audience::zone_with_midnight_in;
use crate::clips;
use crate::http;
use crate::http::LOCAL;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

const VLC: &str = "LibVLC/3.0.21 (LIVE555 Streaming Media v2016.11.28)";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

/// How somebody watches, and how they leave.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Rtsp(Transport),
    /// Closes the connection without a word.
    RtspAndGone,
    Mjpeg,
}

/// Last number of the address, way, seconds.
type Script = (u8, Way, f64);

const TCP: Way = Way::Rtsp(Transport::Tcp);
const UDP: Way = Way::Rtsp(Transport::Udp);

const AUDIENCE: [Script; 12] = [
    (11, TCP, 4.0),
    (12, TCP, 5.2),
    (13, TCP, 8.5),
    (14, TCP, 7.3),
    (15, Way::RtspAndGone, 6.4),
    (21, UDP, 4.6),
    (22, UDP, 6.0),
    (23, UDP, 9.0),
    (24, UDP, 5.5),
    (31, Way::Mjpeg, 4.3),
    (32, Way::Mjpeg, 7.0),
    (33, Way::Mjpeg, 10.0),
];

fn address(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, n))
}

/// Somebody who watches.
enum Watching {
    Rtsp(Box<Viewer>, Way),
    Mjpeg(Box<http::Stream>, Instant),
}

impl Watching {
    fn begin(relay: &Relay, (n, way, _): Script) -> Self {
        let rtsp = |transport| {
            let conn = Conn::open(address(n), relay.addr("rtsp")).header("User-Agent", VLC);
            Self::Rtsp(Box::new(Viewer::watch(conn, "cam", transport)), way)
        };
        match way {
            Way::Rtsp(transport) => rtsp(transport),
            Way::RtspAndGone => rtsp(Transport::Tcp),
            Way::Mjpeg => {
                let headers = [("User-Agent", FIREFOX)];
                let path = "/live/cam/stream.mjpeg";
                let mut stream = http::Stream::open(address(n), relay.addr("http"), "GET", path, &headers);
                stream.next_part().expect("a first picture");
                Self::Mjpeg(Box::new(stream), Instant::now())
            }
        }
    }
    fn watch_until(&mut self, watched: Duration) {
        match self {
            Self::Rtsp(viewer, _) => viewer.until(watched),
            Self::Mjpeg(stream, start) => {
                while start.elapsed() < watched {
                    stream.next_part().expect("one more picture");
                }
            }
        }
    }
    /// How long it was.
    fn leave(self) -> Duration {
        match self {
            Self::Rtsp(viewer, Way::RtspAndGone) => viewer.watched(),
            Self::Rtsp(viewer, _) => viewer.leave(),
            Self::Mjpeg(_, start) => start.elapsed(),
        }
    }
    fn watched(&self) -> Duration {
        match self {
            Self::Rtsp(viewer, _) => viewer.watched(),
            Self::Mjpeg(_, start) => start.elapsed(),
        }
    }
}

/// A relay that shows small numbers too, with a stream on `cam`. Its day has just begun, so that neither it nor an
/// hour ends during the test.
fn relay(k: u32) -> (Relay, crate::peers::Peer) {
    let zone = zone_with_midnight_in(Duration::from_secs(86_400 - 600));
    let config = format!("[privacy]\nk = {k}\ntime_zone = \"{zone}\"");
    let relay = Relay::start(Options::publish().config(&config));
    let publisher = ffmpeg::publish(clips::h264(), &relay.rtsp("cam"), Transport::Tcp);
    relay.wait_for_state("cam", "ready");
    (relay, publisher)
}

/// Watch time of each session in the store, in seconds, sorted.
fn stored_seconds(relay: &Relay) -> Vec<f64> {
    let file = std::fs::read_dir(relay.data_dir())
        .unwrap()
        .map(|e| e.unwrap().path());
    let file = file.filter(|p| {
        matches!(
            p.extension().and_then(|e| e.to_str()),
            Some("db" | "sqlite" | "sqlite3")
        )
    });
    let file = file.last().expect("a database in the data directory");
    let question = "select sum(ended_ms - started_ms) / 1000.0 from spans group by session";
    let out = Command::new("sqlite3")
        .arg("-readonly")
        .arg(file)
        .arg(question)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let mut seconds: Vec<f64> = text
        .lines()
        .map(|l| l.parse().unwrap_or_else(|e| panic!("{l:?}: {e}")))
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// Both ways of asking, which must agree when nobody watches.
fn stats(relay: &Relay) -> Value {
    let (api, cli) = (relay.api("/api/v1/stats"), relay.stats());
    for key in [
        "sessions",
        "viewer_days",
        "watch_seconds",
        "peak_concurrent",
        "by_path",
        "by_protocol",
    ] {
        assert_eq!(api[key], cli[key], "{key} of the API and of `louver stats`");
    }
    cli
}

#[test]
fn twelve_viewers_are_twelve_and_each_second_counts() {
    let (relay, _publisher) = relay(1);
    let (all_here, counted) = (Barrier::new(13), Barrier::new(13));
    let mut watched: Vec<f64> = thread::scope(|s| {
        let viewers = AUDIENCE.map(|script| {
            let (relay, all_here, counted) = (&relay, &all_here, &counted);
            s.spawn(move || {
                let mut watching = Watching::begin(relay, script);
                all_here.wait();
                counted.wait();
                watching.watch_until(Duration::from_secs_f64(script.2));
                watching.leave().as_secs_f64()
            })
        });
        all_here.wait();
        eventually("twelve sessions are live", || {
            (relay.api("/api/v1/stats")["live"]["sessions"] == 12).then_some(())
        });
        counted.wait();
        viewers.into_iter().map(|v| v.join().unwrap()).collect()
    });
    // One of them comes back: one session more, no viewer more.
    let mut again = Watching::begin(&relay, AUDIENCE[0]);
    again.watch_until(Duration::from_secs(2));
    watched.push(again.leave().as_secs_f64());
    watched.sort_by(f64::total_cmp);
    eventually("nobody is live", || {
        (relay.api("/api/v1/stats")["live"]["sessions"] == 0).then_some(())
    });

    let got = stats(&relay);
    assert_eq!(got["sessions"], 13, "{got:#}");
    assert_eq!(got["viewer_days"], 12, "{got:#}");
    assert_eq!(got["peak_concurrent"], 12, "{got:#}");
    let sum: f64 = watched.iter().sum();
    let seconds = got["watch_seconds"].as_f64().unwrap();
    assert!(
        (seconds - sum).abs() <= 13.0,
        "{seconds} s in the statistics, {sum} s watched"
    );
    let stored = stored_seconds(&relay);
    assert_eq!(stored.len(), 13, "{stored:?}");
    for (stored, watched) in stored.iter().zip(&watched) {
        assert!(
            (stored - watched).abs() <= 1.0,
            "{stored} s stored, {watched} s watched"
        );
    }
    let by_protocol = got["by_protocol"].as_array().unwrap();
    let of = |name: &str| {
        by_protocol
            .iter()
            .find(|p| p["protocol"] == name)
            .map(|p| p["sessions"].clone())
    };
    assert_eq!(
        (of("rtsp"), of("mjpeg")),
        (Some(json!(10)), Some(json!(3))),
        "{got:#}"
    );
    assert_eq!(got["by_path"][0]["path"], "cam");
    assert_eq!(got["by_path"][0]["sessions"], 13);
    relay.stop();
}

#[test]
fn a_power_cut_loses_no_session_and_at_most_five_seconds_of_each() {
    let (mut relay, publisher) = relay(1);
    let mut audience: Vec<_> = [AUDIENCE[0], AUDIENCE[1], AUDIENCE[5], AUDIENCE[9]]
        .map(|s| Watching::begin(&relay, s))
        .into();
    audience.remove(1).leave();
    thread::scope(|s| {
        for watching in &mut audience {
            s.spawn(|| watching.watch_until(Duration::from_secs(8)));
        }
    });
    let mut watched: Vec<f64> = audience.iter().map(|w| w.watched().as_secs_f64()).collect();
    relay.kill9();
    drop((audience, publisher));
    relay.restart();
    let got = stats(&relay);
    assert_eq!(
        (&got["sessions"], &got["restarts"]),
        (&json!(4), &json!(1)),
        "{got:#}"
    );
    assert_eq!(got["live"]["sessions"], 0, "nobody watches after the power cut");
    watched.sort_by(f64::total_cmp);
    // The shortest is the one who left before.
    let stored = stored_seconds(&relay);
    for (stored, watched) in stored[1..].iter().zip(&watched) {
        assert!(
            (watched - 5.0..=watched + 1.0).contains(stored),
            "{stored} s stored, {watched} s watched"
        );
    }
    relay.stop();
}

#[test]
fn probes_snapshots_and_those_who_opted_out_are_in_no_number() {
    let (relay, _publisher) = relay(1);
    let (rtsp, web) = (relay.addr("rtsp"), relay.addr("http"));
    let url = relay.rtsp("cam");
    let mut probe = Conn::open(address(11), rtsp).header("User-Agent", VLC);
    probe.ok("OPTIONS", &url, &[]);
    probe.ok("DESCRIBE", &url, &[]);
    for path in ["/live/cam/snapshot.jpg", "/live/cam/", "/api/v1/paths", "/"] {
        assert_eq!(
            http::request(address(12), web, "GET", path, &[]).status,
            200,
            "{path}"
        );
    }
    assert_eq!(
        http::request(address(12), web, "HEAD", "/live/cam/stream.mjpeg", &[]).status,
        200
    );
    for (n, (header, value)) in (13..).zip([("DNT", "1"), ("Sec-GPC", "1"), ("User-Agent", "VLC nostats")]) {
        let conn = Conn::open(address(n), rtsp).header(header, value);
        let mut viewer = Viewer::watch(conn, "cam", Transport::Tcp);
        viewer.until(Duration::from_millis(500));
        viewer.leave();
        let headers = [(header, value)];
        let mut stream = http::Stream::open(address(n), web, "GET", "/live/cam/stream.mjpeg", &headers);
        stream.next_part().expect("a picture");
    }
    let conn = Conn::open(address(17), rtsp).header("User-Agent", VLC);
    Viewer::watch(conn, "cam?stats=off", Transport::Udp).leave();
    let mut stream = http::Stream::open(address(18), web, "GET", "/live/cam/stream.mjpeg?stats=off", &[]);
    stream.next_part().expect("a picture");
    drop((probe, stream));
    // Events are written in order: when this one is there, the others would be.
    let conn = Conn::open(LOCAL, rtsp).header("User-Agent", VLC);
    let mut marker = Viewer::watch(conn, "cam", Transport::Tcp);
    marker.until(Duration::from_millis(500));
    marker.leave();
    eventually("the one ordinary session is counted", || {
        (relay.stats()["sessions"] == 1).then_some(())
    });
    let got = stats(&relay);
    assert_eq!(
        (&got["viewer_days"], &got["opted_out_honoured"]),
        (&json!(1), &json!(true)),
        "{got:#}"
    );
    eventually("its end is stored", || {
        (relay.api("/api/v1/stats")["live"]["sessions"] == 0).then_some(())
    });
    assert_eq!(stored_seconds(&relay).len(), 1);
    relay.stop();
}

#[test]
fn small_groups_are_not_shown_one_by_one() {
    let (relay, _publisher) = relay(5);
    let audience =
        [(11, TCP, 0.0), (12, TCP, 0.0), (31, Way::Mjpeg, 0.0)].map(|s| Watching::begin(&relay, s));
    eventually("they are counted", || {
        (relay.stats()["sessions"] == 3).then_some(())
    });
    for rows in ["by_path", "by_protocol", "by_client"] {
        for row in relay.stats()[rows].as_array().unwrap() {
            assert_eq!(
                (&row["sessions"], &row["below_k"]),
                (&Value::Null, &json!(true)),
                "{rows}: {row}"
            );
        }
    }
    drop(audience);
    relay.stop();
}
