//! What reaches the world beside streams and answers: connections of the program's own (A24), and what of an answer tells
//! one visitor from another (A25).

use std::process::Command;

use crate::http;
use crate::island::Island;
use crate::relay::Options;
use crate::relay::Relay;

/// How often somebody in a network of its own asked for a way out of it that is not there.
fn ways_out(island: &Island) -> Vec<(String, u64)> {
    let counters =
        |file: &str| std::fs::read_to_string(format!("/proc/{}/net/{file}", island.pid())).unwrap();
    let snmp = counters("snmp");
    let mut ip = snmp.lines().filter(|line| line.starts_with("Ip: "));
    let (names, values) = (ip.next().unwrap(), ip.next().unwrap());
    let at = names.split(' ').position(|name| name == "OutNoRoutes").unwrap();
    let ipv4 = values.split(' ').nth(at).unwrap().parse().unwrap();
    let snmp6 = counters("snmp6");
    let line = snmp6.lines().find(|line| line.starts_with("Ip6OutNoRoutes"));
    let ipv6 = line.unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    vec![("IPv4".to_owned(), ipv4), ("IPv6".to_owned(), ipv6)]
}

#[test]
fn a24_a_relay_asks_nobody_outside_for_anything() {
    let island = Island::start(&["cam"], "");
    let none = [("IPv4".to_owned(), 0), ("IPv6".to_owned(), 0)];
    let publish = "timeout 60 ffmpeg -v error -re -f lavfi -i testsrc=size=320x240:rate=10 -c:v libx264 -preset ultrafast \
                   -g 10 -f rtsp rtsp://127.0.0.1:8554/cam";
    let read =
        "timeout 60 ffmpeg -v error -rtsp_transport tcp -i rtsp://127.0.0.1:8554/cam -frames:v 5 -f null -";
    let both = format!(
        "{publish} & pub=$!; n=0; until {read} 2>/dev/null; do n=$((n + 1)); [ $n -lt 40 ] || exit 1; sleep 0.5; done; \
         kill $pub; wait $pub; exit 0"
    );
    let watched = island
        .enter(Command::new("sh").args(["-c", &both]))
        .output()
        .unwrap();
    assert!(
        watched.status.success(),
        "{}",
        String::from_utf8_lossy(&watched.stderr)
    );
    assert_eq!(ways_out(&island), none);
    // The counter counts what this test is about.
    let mut stranger = island.inside("sh");
    stranger.args(["-c", "timeout 20 ffmpeg -v quiet -i http://192.0.2.1/ -f null -"]);
    stranger.output().unwrap();
    assert_ne!(ways_out(&island), none);
}

#[test]
fn a24_alerts_ask_nobody_but_the_server_that_is_named() {
    let island = Island::start(&["cam"], "");
    let alert_to = |server: &str| {
        let file = island.scratch().join("alerts.toml");
        let config =
            format!("[alerts]\nwebhook = \"{server}\"\nwebhook_secret = \"0123456789abcdef01234567\"\n");
        std::fs::write(&file, config).unwrap();
        let mut louver = island.inside(env!("CARGO_BIN_EXE_louver"));
        louver.args(["privacy", "alert-test", "--config"]).arg(&file);
        louver.arg("--data-dir").arg(island.scratch()).output().unwrap()
    };
    let before = ways_out(&island);
    let here = alert_to("http://127.0.0.1:1/hook");
    assert!(String::from_utf8_lossy(&here.stdout).contains("webhook: the web server cannot be reached"));
    assert_eq!(ways_out(&island), before, "nobody but this machine was asked");
    alert_to("https://192.0.2.1/hook");
    assert_ne!(ways_out(&island), before, "who is named is asked");
}

#[test]
fn a25_no_answer_tells_one_visitor_from_another_or_repeats_what_was_asked() {
    let relay = Relay::start(Options::publish());
    let secret = "?token=CANARYTOKEN&email=canary@example.org";
    for page in [
        "/",
        "/style.css",
        "/app.js",
        "/icon.svg",
        "/privacy",
        "/privacy.json",
        "/.well-known/gpc.json",
        "/healthz",
        "/metrics",
        "/api/v1/stats",
        "/api/v1/paths",
        "/live/cam/",
        "/live/cam/snapshot.jpg",
        "/live/CANARYPATH/stream.mjpeg",
        "/favicon.ico",
        "/CANARYPATH",
        "/api/v1/CANARYPATH",
    ] {
        let once = http::get(relay.addr("http"), &format!("{page}{secret}"));
        let again = http::get(relay.addr("http"), &format!("{page}{secret}"));
        for answer in [&once, &again] {
            for header in [
                "etag",
                "last-modified",
                "set-cookie",
                "server",
                "server-timing",
                "x-request-id",
                "via",
            ] {
                assert_eq!(answer.header(header), None, "{header} of {page}");
            }
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{page}");
            let cache = answer.header("cache-control").unwrap_or_default();
            let same_for_all = ["/", "/live/cam/", "/style.css", "/app.js", "/icon.svg"].contains(&page);
            assert!(cache == "no-store" || same_for_all, "{page}: {cache}");
            let whole = format!("{:?}{}", answer.headers, answer.text());
            assert!(
                !whole.contains("CANARY") && !whole.contains("canary@"),
                "{page}: {whole}"
            );
        }
        assert_eq!(once.status, again.status, "{page}");
    }
    drop(relay);
}
