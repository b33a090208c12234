//! A6, A8: what errors tell at each level of the log, and what the API tells to whoever asks cleverly.

use std::collections::BTreeSet;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Shutdown;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;

use crate::audience::zone_with_midnight_in;
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

/// Where the attacks come from.
const VIEWER: Ipv4Addr = Ipv4Addr::new(127, 9, 8, 6);

/// What is in addresses of sources, and what visitors say.
const SECRETS: [&str; 8] = [
    "canarysource",
    "canarysecret",
    "canarytoken",
    "canaryagent",
    "canarydigest",
    "canarybytes",
    "canaryheader",
    "canaryname",
];

/// A server that answers every connection with these bytes and ends it. Runs as long as the test program.
fn answering(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for conn in listener.incoming() {
            let Ok(mut conn) = conn else { return };
            conn.set_read_timeout(Some(Duration::from_secs(2))).ok();
            let _ = conn.read(&mut [0; 4096]); // what was asked makes no difference
            conn.write_all(bytes).ok();
            conn.shutdown(Shutdown::Both).ok();
        }
    });
    port
}

/// Sources that fail, each in its way, with credentials in their addresses.
fn failing_sources() -> Vec<String> {
    let closed = answering(b"");
    let garbage = answering(b"canarybytes \x00\xff\r\n\r\n");
    let refusing = answering(
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"canaryheader\"\r\nContent-Length: 0\r\n\r\n",
    );
    let denying = answering(
        b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm=\"canaryheader\", nonce=\"x\"\r\n\r\n",
    );
    let login = "canarysource:canarysecret@127.0.0.1";
    let tail = "stream?token=canarytoken#retry_first=20ms&retry_max=200ms";
    vec![
        format!("a=rtsp://{login}:{closed}/{tail}"),
        format!("b=rtsp://{login}:{garbage}/{tail}"),
        format!("c=rtsp://{login}:{denying}/{tail}"),
        format!("d=rtsps://{login}:{garbage}/{tail}"),
        format!("e=http://{login}:{refusing}/{tail}"),
        format!("f=http://{login}:{garbage}/{tail}"),
        format!("g=rtmp://{login}:{garbage}/{tail}"),
        format!("h=rtsp://{login}:{garbage}/{tail}&transport=http"),
    ]
}

/// Visitors with wrong bytes, wrong digests, endless headers, half requests, TLS where there is none.
fn visit(relay: &Relay) {
    let long = format!("X-Canary: canaryheader{}\r\n", "a".repeat(100_000));
    let many = "X-Canary: canaryheader\r\n".repeat(2_000);
    let digest = "Authorization: Digest username=\"canarydigest\", realm=\"Louver\", nonce=\"canarydigest\", \
                  uri=\"rtsp://canarydigest/\", response=\"canarydigest\"\r\n";
    let rtsp = |head: &str| {
        format!("DESCRIBE rtsp://canaryname:1/x RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: canaryagent\r\n{head}\r\n")
    };
    let get = |head: &str| format!("GET /canaryname?canarytoken HTTP/1.1\r\nHost: localhost\r\n{head}\r\n");
    let mut texts = vec![
        rtsp(digest).into_bytes(),
        rtsp(&long).into_bytes(),
        rtsp(&many).into_bytes(),
        get(digest).into_bytes(),
        get(&long).into_bytes(),
        get(&many).into_bytes(),
        rtsp("Content-Length: 99999999999999999999\r\n").into_bytes(),
        rtsp("Require: canaryheader\r\nTransport: canaryheader\r\n").into_bytes(),
        b"canarybytes".to_vec(),
        b"\x16\x03\x01\x00\x20canarybytes canarybytes canaryby".to_vec(),
        b"$\x00\xff\xffcanarybytes".to_vec(),
        b"ANNOUNCE rtsp://a/mystream RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 11\r\n\r\ncanarybytes".to_vec(),
    ];
    texts.push(rtsp("").as_bytes()[..30].to_vec());
    for listener in ["rtsp", "rtsps", "http"] {
        for text in &texts {
            let mut conn = http::connect(VIEWER.into(), relay.addr(listener));
            conn.write_all(text).ok(); // refused midway, some of them
            conn.shutdown(Shutdown::Write).ok();
            std::io::copy(&mut conn, &mut std::io::sink()).ok();
        }
    }
}

#[test]
fn a06_errors_of_all_kinds_tell_nothing_at_any_level_of_the_log() {
    for level in ["error", "warn", "info", "debug", "trace"] {
        let sources = failing_sources();
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        let mut relay = Relay::start(Options::sources(&sources).rtsps().log(level));
        relay.expect_no_trace_of(Canary::Addr(VIEWER));
        for secret in SECRETS {
            relay.expect_no_trace_of(Canary::text(secret));
        }
        visit(&relay);
        eventually("every source failed", || {
            let paths = relay.api("/api/v1/paths");
            let items = paths["items"].as_array()?;
            let failed = items.iter().filter(|path| path["last_error"].is_string()).count();
            (failed == sources.len()).then_some(())
        });
        // The types did it: the second line of defence had nothing to take out of the log.
        assert_eq!(relay.lost("Redacted"), 0, "{level}:\n{}", relay.log());
        relay.stop();
    }
}

const ROUTES: &str = include_str!("../../src/web/route.rs");

/// Every URL of the server, with a path that is there.
const URLS: &[&str] = &[
    "/",
    "/style.css",
    "/app.js",
    "/icon.svg",
    "/api/v1/stats",
    "/api/v1/paths",
    "/healthz",
    "/metrics",
    "/privacy",
    "/privacy/",
    "/privacy.json",
    "/privacy.md",
    "/.well-known/security.txt",
    "/.well-known/gpc.json",
    "/live/cam/",
    "/live/cam/snapshot.jpg",
];

/// Whoever adds a route adds it above, or says here why it is not asked for: it is a stream, or has its own attacks.
const NOT_CRAWLED: &[&str] = &[
    "/live/",
    // What viewers hold tokens for: `src/rights/tests.rs`.
    "/privacy/choices",
    "/privacy/consent",
    "/privacy/withdraw",
    "/privacy/network",
    "/privacy/receipt",
    "/privacy/receipt/",
    "/share/",
    "/api/v1/shares",
    "/api/v1/shares/",
];

/// What somebody may try who wants to single a viewer out.
const CLEVER: &[&str] = &[
    "",
    "limit=1",
    "page_size=1&page=1",
    "sort=started_ms&order=desc",
    "fields=viewer,id,started_ms",
    "viewer=0",
    "session=0",
    "id=1",
    "client=VLC",
    "protocol=rtsp&transport=tcp&client=VLC",
    "filter=viewer%3D1",
    "k=1",
    "raw=1",
    "debug=1",
    "group_by=viewer",
    "query={sessions{id}}",
    "path=cam",
    "path=cam&tier=console",
    "tier=published",
    "format=csv",
    "format=csv&by=path",
];

/// URLs that the router knows, as its source has them.
fn known_urls() -> BTreeSet<&'static str> {
    let code = ROUTES.split("#[cfg(test)]").next().unwrap();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(|text| text.starts_with('/') && text.len() > 1 || *text == "/")
        .collect()
}

/// Thirty-two hexadecimal digits in a row, which a number of a viewer or of a session would be.
fn numbers_of_somebody(body: &str) -> Vec<&str> {
    let digits = body.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    digits
        .filter(|word| word.chars().filter(char::is_ascii_hexdigit).count() >= 32)
        .collect()
}

#[test]
fn a08_no_question_to_the_api_singles_a_viewer_out() {
    let asked: BTreeSet<&str> = URLS.iter().chain(NOT_CRAWLED).copied().collect();
    let forgotten: Vec<_> = known_urls().difference(&asked).copied().collect();
    assert!(
        forgotten.is_empty(),
        "routes that nobody attacks; add them to URLS: {forgotten:?}"
    );

    // Midnight is far away, whenever this runs.
    let zone = zone_with_midnight_in(Duration::from_secs(12 * 3600));
    let mut relay = Relay::start(Options::publish().config(&format!("[privacy]\ntime_zone = \"{zone}\"")));
    relay.expect_no_trace_of(Canary::Addr(VIEWER));
    let _publisher = ffmpeg::publish(clips::h264(), &relay.rtsp("cam"), Transport::Tcp);
    relay.wait_for_state("cam", "ready");
    let conn = Conn::open(IpAddr::V4(VIEWER), relay.addr("rtsp")).header("User-Agent", "LibVLC/3.0.20");
    let mut viewer = Viewer::watch(conn, "cam", Transport::Tcp);
    viewer.until(Duration::from_millis(300));
    viewer.leave();
    eventually("the session is stored", || {
        (relay.api("/api/v1/stats")["sessions"] == 1).then_some(())
    });

    let now = jiff::Timestamp::now();
    // The session is a second long or so: windows around it, before it and behind it.
    let second = |n: i64| {
        let at = now.checked_add(jiff::SignedDuration::from_secs(n)).unwrap();
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let mut clever: Vec<String> = CLEVER.iter().map(|q| (*q).to_owned()).collect();
    for (since, until) in [(-600, -300), (-10, 0), (-2, -1), (-1, 1)] {
        clever.push(format!("since={}&until={}", second(since), second(until)));
    }
    for url in URLS {
        for query in &clever {
            for method in ["GET", "HEAD"] {
                if method == "HEAD" && !query.is_empty() {
                    continue;
                }
                let target = format!("{url}?{query}");
                let answer = http::request(VIEWER.into(), relay.addr("http"), method, &target, &[]);
                assert!(answer.status < 500 || url.contains("snapshot"), "{target}");
                if *url != "/live/cam/snapshot.jpg" {
                    let body = answer.text();
                    let numbers = numbers_of_somebody(&body);
                    assert!(numbers.is_empty(), "{target}: {numbers:?}");
                    assert!(
                        !body.contains("limit=1") && !body.contains("started_ms"),
                        "{target}"
                    );
                }
            }
        }
    }
    whoever_asks_for_a_second_gets_a_day(&relay, &clever);
    relay.stop();
}

/// Of one viewer no breakdown shows anything, whatever is asked; and narrow questions are answered as wide ones.
fn whoever_asks_for_a_second_gets_a_day(relay: &Relay, clever: &[String]) {
    let shown = |answer: &Value| -> Vec<String> {
        let tables = answer
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| name.starts_with("by_"));
        let cells = tables.flat_map(|(name, cells)| cells.as_array().unwrap().iter().map(move |c| (name, c)));
        cells
            .filter(|(_, cell)| cell["sessions"].as_u64().is_some_and(|n| n > 0))
            .map(|(name, cell)| format!("{name}: {cell}"))
            .collect()
    };
    let json = clever.iter().filter(|query| !query.contains("format="));
    let mut totals = BTreeSet::new();
    for query in json {
        let answer = http::get(relay.addr("http"), &format!("/api/v1/stats?{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(shown(&answer), Vec::<String>::new(), "{query}");
        if query.contains("tier=published") {
            assert_eq!(answer["sessions"], 0);
        } else {
            totals.insert(answer["sessions"].as_u64());
        }
        assert!(
            answer["from"].as_str().unwrap().contains("T00:00:00"),
            "{query}: whole days"
        );
    }
    assert_eq!(totals, BTreeSet::from([Some(1)]), "the same for every window");
}
