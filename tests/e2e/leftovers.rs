//! A7, A22, A23: what is left of a crash and of an ending, and what metrics become when a thousand different viewers come.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::http;
use crate::http::LOCAL;
use crate::peers::Transport;
use crate::relay::Options;
use crate::relay::Relay;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

fn relay() -> Relay {
    Relay::start(Options::sources(&["pattern:?size=320x240&fps=15"]))
}

fn watch(relay: &Relay) -> Viewer {
    let conn = Conn::open(Ipv4Addr::new(127, 0, 0, 2).into(), relay.addr("rtsp"));
    Viewer::watch(conn, "webcam", Transport::Tcp)
}

/// The names of the metrics with their labels, without values.
fn series(relay: &Relay) -> BTreeSet<String> {
    let metrics = http::get(relay.addr("http"), "/metrics").text();
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').expect(line).0.to_owned())
        .collect()
}

#[test]
fn a07_metrics_stay_the_same_series_however_many_different_viewers_come() {
    let relay = relay();
    watch(&relay).leave();
    http::get(relay.addr("http"), "/live/nothing/");
    let before = series(&relay);
    for n in 0..1000_u16 {
        let [high, low] = n.to_be_bytes();
        let from = IpAddr::V4(Ipv4Addr::new(127, 7, high, low.max(1)));
        let agent = format!("Player-{n}/{n}.0 (serial {n})");
        if n % 2 == 0 {
            let mut conn = Conn::open(from, relay.addr("rtsp")).header("User-Agent", &agent);
            let described = conn.request("DESCRIBE", &relay.rtsp("webcam"), &[]);
            assert_eq!(described.status, 200);
        } else {
            let headers = [("User-Agent", agent.as_str()), ("Referer", "http://a.example/")];
            let page = http::request(
                from,
                relay.addr("http"),
                "GET",
                &format!("/live/webcam/?u={n}"),
                &headers,
            );
            assert_eq!(page.status, 200);
        }
    }
    let new: Vec<String> = series(&relay).difference(&before).cloned().collect();
    assert!(new.is_empty(), "{new:?}");
    for label in before.iter().filter_map(|s| s.split_once('{')) {
        let keys = label
            .1
            .trim_end_matches('}')
            .split(',')
            .filter_map(|pair| pair.split_once('='));
        for (key, value) in keys {
            assert!(["output", "reason"].contains(&key), "a label {key} in {label:?}");
            assert!(
                value.trim_matches('"').chars().all(|c| c.is_ascii_alphabetic()),
                "{label:?}"
            );
        }
    }
    relay.stop();
}

#[cfg(target_os = "linux")]
#[test]
fn a22_the_key_is_locked_in_memory_and_a_crash_leaves_no_core_file() {
    let mut relay = relay();
    let viewer = watch(&relay);
    let of = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", relay.pid())).unwrap();
    let locked = of("status")
        .lines()
        .find_map(|l| l.strip_prefix("VmLck:"))
        .map(str::to_owned);
    let locked = locked
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .trim()
        .parse::<u64>()
        .unwrap();
    assert!(locked >= 16, "{locked} kB are locked");
    let limits = of("limits");
    let core = limits
        .lines()
        .find(|l| l.starts_with("Max core file size"))
        .unwrap();
    let words: Vec<&str> = core.split_whitespace().collect();
    assert!(["0", "1"].contains(&words[4]) && words[4] == words[5], "{core}");
    // The page of the key is not to be dumped even where limits were raised.
    let secret = of("smaps")
        .lines()
        .any(|l| l.starts_with("VmFlags:") && l.contains(" lo") && l.contains(" dd"));
    assert!(secret, "no mapping is locked and left out of core files");
    // As a failed assertion of a C library does; its way is a core file by default.
    relay.signal("ABRT");
    assert!(relay.wait(Duration::from_secs(10)).is_some());
    drop(viewer);
    for dir in [
        std::env::current_dir().unwrap(),
        relay.data_dir(),
        relay.scratch().to_path_buf(),
    ] {
        for entry in std::fs::read_dir(dir).unwrap() {
            let name = entry.unwrap().file_name().display().to_string();
            let is_core = name == "core" || name.starts_with("core.") || name.ends_with(".core");
            assert!(!is_core, "{name} was left");
        }
    }
    relay.assert_no_trace();
}

#[test]
fn a23_an_ending_under_load_leaves_the_database_and_nothing_more() {
    let relay = relay();
    let files = |relay: &Relay| -> BTreeSet<String> {
        let entries = std::fs::read_dir(relay.data_dir()).unwrap();
        entries
            .map(|e| e.unwrap().file_name().display().to_string())
            .collect()
    };
    let viewers: Vec<Viewer> = (0..5).map(|_| watch(&relay)).collect();
    let mut page = http::Stream::open(LOCAL, relay.addr("http"), "GET", "/live/webcam/stream.mjpeg", &[]);
    page.next_part().expect("a picture");
    let before = files(&relay);
    let mut relay = relay;
    relay.signal("TERM");
    assert!(relay.wait(Duration::from_secs(5)).is_some());
    drop((viewers, page));
    let new: Vec<String> = files(&relay).difference(&before).cloned().collect();
    assert!(new.is_empty(), "made at the end: {new:?}");
    relay.stop();
}
