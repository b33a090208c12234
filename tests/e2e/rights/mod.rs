//! What viewers can do without saying who they are, with the real program: agree and take it back, see and erase a
//! session, object for a network; and what the operator shows to others. Nothing of it is undone by a power cut or by a
//! database that is put back.
//!
//! Hours and days pass by moving what is stored into the past while the program does not run.

mod consents; // who agrees, and who objects
mod guesses; // who has no right token
mod receipts; // who sees and erases a session
mod shares; // what the operator shows to others

use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::audience::zone_with_midnight_in;
use crate::canary::Canary;
use crate::http;
use crate::http::Answer;
use crate::peers::Transport;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::relay::louver;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

const HOUR: i64 = 3600;

/// A relay with two test pictures; no day ends during a test.
fn relay(privacy: &str) -> Relay {
    let zone = zone_with_midnight_in(Duration::from_secs(12 * 3600));
    let config = format!("[privacy]\ntime_zone = \"{zone}\"\n{privacy}");
    let sources = ["cam", "dam"].map(|path| format!("{path}=pattern:?size=320x240&fps=15"));
    Relay::start(Options::sources(&sources.each_ref().map(String::as_str)).config(&config))
}

fn host(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, n))
}

fn by_rtsp(relay: &Relay, n: u8, path: &str, transport: Transport) -> Viewer {
    Viewer::watch(Conn::open(host(n), relay.addr("rtsp")), path, transport)
}

/// MJPEG, and the receipt of it.
fn by_http(relay: &Relay, n: u8, path: &str, headers: &[(&str, &str)]) -> (http::Stream, Option<String>) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let url = format!("/live/{path}/stream.mjpeg?{query}");
    let mut stream = http::Stream::open(host(n), relay.addr("http"), "GET", &url, headers);
    assert_eq!(stream.status, 200, "{url}");
    stream.next_part().expect("a picture");
    let receipt = stream.headers.iter().find(|(name, _)| name == "privacy-receipt");
    let receipt = receipt.map(|(_, value)| value.clone());
    (stream, receipt)
}

/// Sends a form.
fn post(relay: &Relay, from: IpAddr, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
    let to = relay.addr("http");
    let mut conn = http::connect(from, to);
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n",
        to.port()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let whole = format!("{head}Content-Length: {}\r\n\r\n{form}", form.len());
    conn.write_all(whole.as_bytes()).unwrap();
    let mut input = BufReader::new(conn);
    let (first, headers) = http::read_head(&mut input).expect("an answer");
    let mut body = Vec::new();
    input.read_to_end(&mut body).unwrap();
    let status = first.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        headers,
        body,
    }
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{e}: {}", answer.text()))
}

fn receipt_url(receipt: &str) -> String {
    format!("/privacy/receipt/{receipt}")
}

/// What its holder is shown of a session.
fn seen(relay: &Relay, receipt: &str) -> Answer {
    http::get(relay.addr("http"), &receipt_url(receipt))
}

/// A command beside the relay, with this on its stdin.
fn say(relay: &Relay, words: &str, input: &str) -> Output {
    let mut child = louver()
        .args(words.split(' '))
        .arg("--config")
        .arg(relay.config_file())
        .arg("--data-dir")
        .arg(relay.data_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// It must end with this status and say this.
#[track_caller]
fn says(relay: &Relay, words: &str, input: &str, status: i32, text: &str) -> String {
    let out = say(relay, words, input);
    let told = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(status), "{words}: {told}");
    assert!(told.contains(text), "{words}: {text:?} is not in {told:?}");
    String::from_utf8(out.stdout).unwrap()
}

fn database(relay: &Relay) -> PathBuf {
    relay.data_dir().join("louver.db")
}

fn sql(relay: &Relay, text: &str) -> String {
    let out = Command::new("sqlite3")
        .args(["-cmd", ".timeout 20000"])
        .arg(database(relay))
        .arg(text)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[track_caller]
fn until_rows(relay: &Relay, want: u32) {
    eventually(&format!("{want} sessions have rows"), || {
        let hours_are_added_up = sql(relay, "SELECT count(*) FROM sessions") == "0";
        let rows = sql(relay, "SELECT count(*) FROM visits");
        (hours_are_added_up && rows == want.to_string()).then_some(())
    });
}

#[track_caller]
fn until_counted(relay: &Relay, sessions: u64, live: u64) {
    eventually(&format!("{sessions} sessions are counted, {live} play"), || {
        let stats = relay.api("/api/v1/stats");
        (stats["sessions"] == sessions && stats["live"]["sessions"] == live).then_some(())
    });
}

/// Waits until this stands so often in the audit trail.
#[track_caller]
fn until_audited(relay: &Relay, what: &str, times: usize) {
    eventually(&format!("{what} is in the trail"), || {
        let trail = says(relay, "audit show", "", 0, "");
        (trail.matches(what).count() == times).then_some(())
    });
}

/// A power cut, after which so much time has passed for all sessions.
fn later(relay: &mut Relay, seconds: i64) {
    relay.kill9();
    let by = seconds * 1000;
    sql(
        relay,
        &format!(
            "UPDATE sessions SET started_ms = started_ms - {by}, ended_ms = ended_ms - {by}, viewed_ms = viewed_ms - {by};
             UPDATE spans SET started_ms = started_ms - {by}, ended_ms = ended_ms - {by};
             DELETE FROM leaves WHERE dimension = 'closed'"
        ),
    );
    relay.restart();
    relay.wait_for_state("cam", "ready");
}

/// Neither whole nor by its parts in a file, a log or an answer.
fn no_trace_of(relay: &mut Relay, secret: &str) {
    for part in secret.split('.').skip(1).chain([secret]) {
        relay.expect_no_trace_of(Canary::text(part));
    }
}

#[test]
fn the_commands_say_what_they_do_and_what_is_wrong() {
    let relay = relay("");
    for (words, text) in [
        ("stats --help", "Print a link by which others see one report"),
        ("stats share --help", "How long the link works, in days"),
        ("stats shares --help", "how often each was looked at"),
        ("stats unshare --help", "End a link"),
        ("privacy --help", "Consents of viewers, and their proof"),
        ("privacy consent --help", "Count consents and withdrawals"),
        (
            "privacy consent withdraw --help",
            "Read the token of a consent from stdin",
        ),
        ("privacy erase --help", "Read the receipt of a session from stdin"),
    ] {
        says(&relay, words, "", 0, text);
    }
    for (words, text) in [
        ("stats share cam --days 0", "0 is not in 1..=366"),
        ("stats share cam --expires 5w", "expected days, from 1d to 366d"),
        ("stats share cam --expires 400d", "expected days, from 1d to 366d"),
        ("stats share ../cam", "path"),
        ("stats share", "<PATH>"),
        ("stats unshare", "<ID>"),
        ("privacy consent", "Usage"),
    ] {
        says(&relay, words, "", 2, text);
    }
    says(&relay, "stats unshare ../../etc", "", 1, "there is no such link");
    says(
        &relay,
        "privacy consent list",
        "",
        0,
        "0 given, 0 of them taken back",
    );
    relay.stop();
}
