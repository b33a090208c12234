//! What browsers and programs get over HTTP.

use serde_json::Value;

use crate::clips;
use crate::http;
use crate::http::LOCAL;
use crate::peers::Transport;
use crate::peers::chromium;
use crate::peers::ffmpeg;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::relay::louver;

const PATTERN: &str = "pattern:?size=320x240&fps=15";

#[test]
fn a_snapshot_is_a_jpeg_of_the_asked_width() {
    let relay = Relay::start(Options::sources(&[PATTERN]));
    relay.wait_for_state("webcam", "ready");
    for (query, size) in [("", "mjpeg,320,240"), ("?width=160", "mjpeg,160,120")] {
        let answer = http::get(relay.addr("http"), &format!("/live/webcam/snapshot.jpg{query}"));
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("image/jpeg")),
            "{}",
            answer.text()
        );
        assert_eq!(ffmpeg::probe(&answer.body, "codec_name,width,height"), size);
        assert_eq!(ffmpeg::decode_bytes("mjpeg", &answer.body).len(), 1);
    }
    relay.stop();
}

#[test]
fn the_live_picture_moves() {
    let relay = Relay::start(Options::sources(&[PATTERN]));
    let mut stream = http::Stream::open(LOCAL, relay.addr("http"), "GET", "/live/webcam/stream.mjpeg", &[]);
    assert_eq!(stream.status, 200);
    let parts: Vec<_> = (0..10).map(|_| stream.next_part().expect("a picture")).collect();
    let mut pictures = ffmpeg::decode_bytes("mjpeg", &parts.concat());
    assert_eq!(pictures.len(), 10);
    pictures.sort();
    pictures.dedup();
    assert_eq!(pictures.len(), 10, "each picture is another");
    relay.stop();
}

#[test]
fn a_published_stream_has_pictures_too() {
    let relay = Relay::start(Options::publish());
    let _publisher = ffmpeg::publish(clips::h264(), &relay.rtsp("mystream"), Transport::Tcp);
    relay.wait_for_state("mystream", "ready");
    let answer = http::get(relay.addr("http"), "/live/mystream/snapshot.jpg");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(ffmpeg::probe(&answer.body, "width,height"), "320,240");
    let mut stream = http::Stream::open(
        LOCAL,
        relay.addr("http"),
        "GET",
        "/live/mystream/stream.mjpeg",
        &[],
    );
    for _ in 0..5 {
        stream.next_part().expect("a picture");
    }
    relay.stop();
}

#[test]
fn the_api_lists_paths_and_names_their_state() {
    let relay = Relay::start(Options::sources(&[PATTERN, "door=publish:"]));
    relay.wait_for_state("webcam", "ready");
    let list = relay.api("/api/v1/paths");
    assert_eq!(list["next"], Value::Null);
    let path = |name: &str| {
        let items = list["items"].as_array().unwrap();
        items
            .iter()
            .find(|p| p["path"] == name)
            .unwrap_or_else(|| panic!("{list:#}"))
            .clone()
    };
    let (webcam, door) = (path("webcam"), path("door"));
    for key in ["path", "state", "source", "tracks", "viewers", "last_error"] {
        assert!(
            webcam.get(key).is_some() && door.get(key).is_some(),
            "{key}: {list:#}"
        );
    }
    assert_eq!(webcam["tracks"][0]["codec"], "H.264");
    assert_ne!(door["state"], "ready");
    relay.stop();
}

#[test]
fn health_metrics_and_problems_are_as_the_standards_say() {
    let relay = Relay::start(Options::publish());
    assert_eq!(http::get(relay.addr("http"), "/healthz").status, 200);
    let metrics = http::get(relay.addr("http"), "/metrics").text();
    for line in metrics.lines() {
        let known = ["# HELP ", "# TYPE ", "# UNIT ", "# EOF"]
            .iter()
            .any(|p| line.starts_with(p));
        let sample = line.strip_prefix("louver_").and_then(|l| l.rsplit_once(' '));
        assert!(
            known || sample.is_some_and(|(_, v)| v.parse::<f64>().is_ok()),
            "{line}"
        );
    }
    assert!(metrics.ends_with("# EOF\n"));
    for (path, status) in [
        ("/nowhere", 404),
        ("/live/nowhere/snapshot.jpg", 404),
        ("/api/v1/stats?since=x", 400),
    ] {
        let answer = http::get(relay.addr("http"), path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{path}"
        );
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(
            problem["title"].is_string() && problem["status"] == status,
            "{path}: {problem}"
        );
    }
    let posted = http::request(LOCAL, relay.addr("http"), "POST", "/api/v1/paths", &[]);
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    relay.stop();
}

#[test]
fn no_cookie_is_set_and_no_other_site_is_loaded() {
    let relay = Relay::start(Options::publish());
    let page = http::get(relay.addr("http"), "/");
    assert_eq!(page.header("set-cookie"), None);
    assert!(
        page.header("content-security-policy")
            .is_some_and(|p| p.contains("default-src 'none'"))
    );
    for asset in ["/app.js", "/style.css", "/icon.svg"] {
        let answer = http::get(relay.addr("http"), asset);
        assert_eq!(
            (answer.status, answer.header("set-cookie")),
            (200, None),
            "{asset}"
        );
    }
    relay.stop();
}

#[test]
fn started_without_a_word_it_shows_the_camera_or_says_that_there_is_none() {
    let relay = Relay::start(Options::default());
    relay.wait_for_state("webcam", "ready");
    let mut pictures = ffmpeg::read(&relay.rtsp("webcam"), Transport::Tcp, 10);
    pictures.dedup();
    assert_eq!(pictures.len(), 10, "the picture moves");
    let source = relay.api("/api/v1/paths")["items"][0]["source"]
        .as_str()
        .unwrap()
        .to_owned();
    let devices = louver().args(["devices", "--json"]).output().unwrap();
    let devices: Value = serde_json::from_slice(&devices.stdout).unwrap();
    let has_camera = devices["items"].as_array().is_some_and(|d| !d.is_empty());
    assert!(
        source.starts_with(if has_camera { "webcam:" } else { "pattern:" }),
        "{source}: {devices}"
    );
    assert_eq!(
        relay.log().contains("No camera was found"),
        !has_camera,
        "{}",
        relay.log()
    );
    relay.stop();
}

#[test]
fn a_browser_shows_the_moving_picture_and_the_addresses() {
    let relay = Relay::start(Options::sources(&[PATTERN]));
    relay.wait_for_state("webcam", "ready");
    let url = relay.http("/");
    // Long addresses may be broken into lines.
    let dom = chromium::dom(&url).replace("<wbr>", "");
    assert!(
        dom.contains(&relay.rtsp("webcam")),
        "the RTSP address is on the page:\n{dom}"
    );
    assert!(
        dom.contains("/live/webcam/stream.mjpeg"),
        "the MJPEG address is on the page:\n{dom}"
    );
    // The test picture is made of strong colours; the page around it has hardly any.
    eventually("the preview shows the test picture", || {
        (strong_colours(&chromium::screenshot(&url)) > 20_000).then_some(())
    });
    eventually("the browser left", || {
        (relay.api("/api/v1/paths")["items"][0]["viewers"] == 0).then_some(())
    });
    relay.stop();
}

/// Pixels whose channels differ much.
fn strong_colours(png: &[u8]) -> usize {
    let raw = ffmpeg::pixels(png);
    raw.chunks_exact(3)
        .filter(|p| p.iter().max().unwrap() - p.iter().min().unwrap() > 150)
        .count()
}
