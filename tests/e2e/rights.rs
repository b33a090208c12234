//! What viewers can do without saying who they are, with the real program: agree and take it back, see and erase a
//! session, object for a network; and what the operator shows to others. Nothing of it is undone by a power cut or by a
//! database that is put back.
//!
//! Hours and days pass by moving what is stored into the past while the program does not run.

use std::fs;
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
use crate::http::LOCAL;
use crate::peers::Transport;
use crate::peers::chromium;
use crate::peers::ffmpeg;
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

fn agree(relay: &mut Relay, form: &str) -> String {
    let given = post(relay, LOCAL, "/privacy/consent", &[], form);
    assert_eq!(
        (given.status, given.header("cache-control")),
        (201, Some("no-store"))
    );
    let token = json(&given)["consent"].as_str().unwrap().to_owned();
    no_trace_of(relay, &token);
    token
}

#[test]
fn only_who_shows_a_consent_is_counted_and_one_call_takes_it_back() {
    let mut relay = relay("k = 1\nconsent = \"opt-in\"\nreceipts = true\n");
    let token = agree(&mut relay, "path=cam");
    let other = agree(&mut relay, "path=cam");
    let with_token = format!("cam?consent={token}");
    // Who shows none, one for another path, one beside an objection, or something else: they watch and are in no number.
    for path in [
        "cam",
        &format!("dam?consent={token}"),
        &format!("{with_token}&stats=off"),
        "cam?consent=c1.00.00",
    ] {
        let viewer = by_rtsp(&relay, 2, path, Transport::Tcp);
        assert_eq!(viewer.receipt, None, "{path}");
        viewer.leave();
        assert_eq!(by_http(&relay, 2, path, &[]).1, None, "{path}");
    }
    let objects = [("X-Consent", token.as_str()), ("Sec-GPC", "1")];
    assert_eq!(by_http(&relay, 2, "cam", &objects).1, None);
    // Four who agreed: a player that knows nothing of all this, two more by the same token, and somebody else.
    assert_eq!(ffmpeg::read(&relay.rtsp(&with_token), Transport::Tcp, 5).len(), 5);
    let mut watching = by_rtsp(&relay, 3, &with_token, Transport::Udp);
    let (looks, by_header) = by_http(&relay, 4, "cam", &[("X-Consent", &token)]);
    let (others, others_receipt) = by_http(&relay, 5, &format!("cam?consent={other}"), &[]);
    until_counted(&relay, 4, 3);
    let theirs = [watching.receipt.clone().unwrap(), by_header.unwrap()];
    let others_receipt = others_receipt.unwrap();
    for receipt in theirs.iter().chain([&others_receipt]) {
        no_trace_of(&mut relay, receipt);
        assert_eq!(seen(&relay, receipt).status, 200);
    }

    let withdraw = |form: &str| post(&relay, host(9), "/privacy/withdraw", &[], form);
    let back = withdraw(&format!("consent={token}"));
    assert_eq!(
        (back.status, &json(&back)["erased_sessions"]),
        (200, &Value::from(3))
    );
    until_counted(&relay, 4, 1);
    for receipt in &theirs {
        assert_eq!(seen(&relay, receipt).status, 404);
    }
    assert_eq!(seen(&relay, &others_receipt).status, 200);
    watching.until(watching.watched() + Duration::from_millis(300)); // the stream goes on
    assert_eq!(by_rtsp(&relay, 3, &with_token, Transport::Tcp).receipt, None);
    assert_eq!(
        json(&withdraw(&format!("consent={token}")))["erased_sessions"],
        0,
        "twice is once"
    );
    assert_eq!(withdraw("consent=c1.00.00").status, 404);
    assert_eq!(withdraw("").status, 404);
    drop((watching, looks, others));
    until_counted(&relay, 4, 0);

    // The proof: what, when, until when, and nobody.
    let proof = fs::read_to_string(relay.data_dir().join("consents")).unwrap();
    let words = |word: &str| proof.lines().filter(|line| line.contains(word)).count();
    assert_eq!(
        (words("given "), words("withdrawn "), words(" cam ")),
        (2, 1, 2),
        "{proof}"
    );
    assert!(!proof.contains("127.0."), "{proof}");
    says(
        &relay,
        "privacy consent list",
        "",
        0,
        "2 given, 1 of them taken back",
    );

    // Hours later, after a power cut: rows are those of who still agrees.
    later(&mut relay, 3 * HOUR);
    until_rows(&relay, 1);
    until_counted(&relay, 4, 0);
    assert!(theirs.iter().all(|receipt| seen(&relay, receipt).status == 404));
    assert_eq!(seen(&relay, &others_receipt).status, 200);
    says(
        &relay,
        "privacy consent withdraw",
        &format!("{other}\n"),
        0,
        "It counts no more",
    );
    until_rows(&relay, 0);
    assert_eq!(seen(&relay, &others_receipt).status, 404);
    says(
        &relay,
        "privacy consent withdraw",
        "c1.00.00",
        1,
        "none that this installation gave out",
    );
    says(
        &relay,
        "privacy consent withdraw",
        "",
        1,
        "none that this installation gave out",
    );

    // A proof that was changed proves nothing: nobody is counted by it.
    let last = agree(&mut relay, "");
    let (shows_it, receipt) = by_http(&relay, 6, &format!("cam?consent={last}"), &[]);
    no_trace_of(&mut relay, &receipt.expect("it counts"));
    drop(shows_it);
    fs::write(relay.data_dir().join("consents"), proof.replace(" cam ", " dam ")).unwrap();
    says(
        &relay,
        "privacy consent list",
        "",
        1,
        "line 1 of the file `consents` was changed",
    );
    relay.kill9();
    relay.restart();
    relay.wait_for_state("cam", "ready");
    assert_eq!(by_http(&relay, 6, &format!("cam?consent={last}"), &[]).1, None);
    relay.stop();
}

#[test]
fn where_consent_is_not_asked_for_none_is_taken() {
    let relay = relay("k = 1\n");
    let refused = post(&relay, LOCAL, "/privacy/consent", &[], "path=cam");
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert_eq!(
        by_http(&relay, 2, "cam", &[]).1,
        None,
        "nor are there receipts unless asked for"
    );
    assert!(!relay.data_dir().join("consents").exists());
    relay.stop();
}

#[test]
fn a_receipt_shows_one_session_and_what_it_erased_does_not_come_back() {
    let mut relay = relay("k = 1\nreceipts = true\n");
    let tcp = by_rtsp(&relay, 2, "cam", Transport::Tcp);
    let udp = by_rtsp(&relay, 3, "dam", Transport::Udp);
    let (looks, by_http) = by_http(&relay, 4, "cam", &[("User-Agent", "Mozilla/5.0 Firefox/128.0")]);
    until_counted(&relay, 3, 3);
    let receipts = [
        tcp.receipt.clone().unwrap(),
        udp.receipt.clone().unwrap(),
        by_http.unwrap(),
    ];
    for (receipt, (path, protocol, transport)) in receipts.iter().zip([
        ("cam", "rtsp", "tcp"),
        ("dam", "rtsp", "udp"),
        ("cam", "mjpeg", "tcp"),
    ]) {
        no_trace_of(&mut relay, receipt);
        let answer = seen(&relay, receipt);
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("no-store"))
        );
        let session = json(&answer);
        assert_eq!(
            (
                &session["path"],
                &session["protocol"],
                &session["transport"],
                &session["playing"]
            ),
            (&path.into(), &protocol.into(), &transport.into(), &true.into()),
            "{session}"
        );
        assert!(!session.to_string().contains("127.0.0."), "{session}");
    }
    tcp.leave();
    udp.leave();
    drop(looks);
    until_counted(&relay, 3, 0);
    let erase = |relay: &Relay, receipt: &str| {
        http::request(LOCAL, relay.addr("http"), "DELETE", &receipt_url(receipt), &[]).status
    };
    let gone = |relay: &Relay, receipt: &str| assert_eq!(seen(relay, receipt).status, 404);
    let there = |relay: &Relay, receipt: &str| assert_eq!(seen(relay, receipt).status, 200);

    // While its hour lasts, before a power cut.
    assert_eq!(erase(&relay, &receipts[0]), 204);
    assert_eq!(erase(&relay, &receipts[0]), 404, "once");
    gone(&relay, &receipts[0]);
    until_counted(&relay, 3, 0); // counts are of nobody
    until_audited(&relay, "receipt.erase", 1);
    later(&mut relay, 3 * HOUR);
    until_rows(&relay, 2);
    gone(&relay, &receipts[0]);
    let session = json(&seen(&relay, &receipts[1]));
    assert!(
        session["day"].is_string() && session["protocol"].is_null(),
        "{session}"
    );
    assert!(
        session["began"].as_str().unwrap().contains(":00:00"),
        "the hour alone: {session}"
    );

    // By the form of the page. Then the database of before comes back, as from a backup.
    relay.kill9();
    sql(&relay, "PRAGMA wal_checkpoint(TRUNCATE)");
    let backup = relay.scratch().join("backup.db");
    fs::copy(database(&relay), &backup).unwrap();
    relay.restart();
    let form = format!("receipt={}&do=erase", receipts[1]);
    let foreign = [("Origin", "http://elsewhere.example"), ("Accept", "text/html")];
    assert_eq!(
        post(&relay, LOCAL, "/privacy/receipt", &foreign, &form).status,
        403
    );
    there(&relay, &receipts[1]);
    let own = format!("http://localhost:{}", relay.addr("http").port());
    let page = [("Origin", own.as_str()), ("Accept", "text/html")];
    let answer = post(&relay, LOCAL, "/privacy/receipt", &page, &form);
    assert!(
        answer.status == 200 && answer.text().contains("The session was erased"),
        "{}",
        answer.text()
    );
    until_rows(&relay, 1);
    until_audited(&relay, "receipt.erase", 2);
    relay.kill9();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(relay.data_dir().join(format!("louver.db{suffix}"))).ok();
    }
    fs::copy(&backup, database(&relay)).unwrap();
    relay.restart();
    until_rows(&relay, 1);
    gone(&relay, &receipts[1]);
    there(&relay, &receipts[2]);

    // By the operator's hand, beside the relay.
    says(
        &relay,
        "privacy erase",
        "r1.00.00",
        1,
        "none that this installation gave out",
    );
    says(
        &relay,
        "privacy erase",
        "",
        1,
        "none that this installation gave out",
    );
    says(
        &relay,
        "privacy erase",
        &format!("{}\n", receipts[2]),
        0,
        "Nobody is shown it any more",
    );
    gone(&relay, &receipts[2]);
    until_rows(&relay, 0);
    let erased = fs::read_to_string(relay.data_dir().join("erased")).unwrap();
    assert_eq!(erased.lines().count(), 3, "{erased}");
    until_audited(&relay, "receipt.erase", 3);
    relay.stop();
}

#[test]
fn a_network_that_objects_leaves_nothing_and_its_neighbours_are_counted() {
    let mut relay = relay("k = 1\nreceipts = true\n");
    relay.expect_no_trace_of(Canary::Addr(Ipv4Addr::new(127, 93, 81, 7)));
    let from = IpAddr::V4(Ipv4Addr::new(127, 93, 81, 7));
    let neighbour = IpAddr::V4(Ipv4Addr::new(127, 93, 81, 8));
    let foreign = [("Sec-Fetch-Site", "cross-site")];
    assert_eq!(post(&relay, from, "/privacy/network", &foreign, "").status, 403);
    let done = post(&relay, from, "/privacy/network", &[], "");
    assert_eq!((done.status, &json(&done)["counted"]), (200, &false.into()));
    let watch = |from| {
        let viewer = Viewer::watch(Conn::open(from, relay.addr("rtsp")), "cam", Transport::Tcp);
        let receipt = viewer.receipt.clone();
        viewer.leave();
        receipt
    };
    assert_eq!(watch(from), None);
    let mut looks = http::Stream::open(from, relay.addr("http"), "GET", "/live/cam/stream.mjpeg", &[]);
    looks.next_part().expect("a picture");
    assert!(!looks.headers.iter().any(|(name, _)| name == "privacy-receipt"));
    drop(looks);
    assert!(watch(neighbour).is_some());
    until_counted(&relay, 1, 0);
    until_audited(&relay, "network.object", 1);
    relay.kill9();
    relay.assert_no_trace();
    relay.restart();
    assert_eq!(relay.stats()["sessions"], 1);
    relay.stop();
}

#[test]
fn a_share_link_shows_its_report_and_nothing_more_until_it_ends() {
    let mut relay = relay("k = 3\n");
    let mut watching: Vec<Viewer> = (2..6)
        .map(|n| by_rtsp(&relay, n, "cam", Transport::Tcp))
        .collect();
    watching.extend((6..12).map(|n| by_rtsp(&relay, n, "dam", Transport::Tcp)));
    for viewer in watching {
        viewer.leave();
    }
    until_counted(&relay, 10, 0);
    later(&mut relay, 24 * HOUR);
    let link = says(
        &relay,
        "stats share cam --days 2 --expires 2d",
        "",
        0,
        "The report of cam from",
    );
    let link = link.trim();
    let token = link.rsplit('/').next().unwrap().to_owned();
    no_trace_of(&mut relay, &token);
    let get = |path: &str| http::get(relay.addr("http"), path);
    let report = eventually("yesterday is added up", || {
        let answer = get(&format!("/share/{token}"));
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("no-store"))
        );
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        let report = json(&answer);
        (report["sessions"] != 0).then_some(report)
    });
    assert_eq!(
        (&report["tier"], &report["sessions"]),
        (&"published".into(), &3.into()),
        "four are three"
    );
    assert!(!report.to_string().contains("dam"), "{report}");
    // Who comes today is not in it, nor is what somebody adds to the link.
    let today = by_rtsp(&relay, 2, "cam", Transport::Tcp);
    until_counted(&relay, 11, 1);
    for more in [
        "",
        "?path=dam",
        "?tier=console&since=2026-01-01",
        "?until=2099-01-01T00:00:00Z",
    ] {
        let again = json(&get(&format!("/share/{token}{more}")));
        assert_eq!(again["sessions"], 3, "{more}: {again}");
        assert!(
            !again.to_string().contains("dam") && again["live"]["sessions"] == 0,
            "{more}: {again}"
        );
    }
    today.leave();
    for wrong in [
        format!("/share/{token}0"),
        "/share/s1.00.00".into(),
        format!("/share/{token}/.."),
    ] {
        assert_eq!(get(&wrong).status, 404, "{wrong}");
    }
    let page = chromium::dom(&relay.http(&format!("/share/{token}")));
    assert!(
        page.contains("A shared report") && page.contains("cam") && !page.contains("dam"),
        "{page}"
    );
    assert!(!page.contains("<script"), "{page}");

    // It is listed, without what opens it; over; and gone.
    let id = fs::read_dir(relay.data_dir().join("shares"))
        .unwrap()
        .map(|file| file.unwrap().path());
    let file = id.into_iter().find(|file| file.extension().is_none()).unwrap();
    let id = file.file_name().unwrap().to_str().unwrap().to_owned();
    let list = says(&relay, "stats shares", "", 0, &id);
    assert!(!list.contains(&token) && list.contains(" cam "), "{list}");
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[3] = "2026-01-01T00:00:00Z";
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    assert_eq!(get(&format!("/share/{token}")).status, 404, "over");
    assert!(!says(&relay, "stats shares", "", 0, "REPORT").contains(&id));

    // Two that are ended: by the command, and over HTTP.
    let link = says(&relay, "stats share cam", "", 0, "/share/");
    let list: Value = serde_json::from_str(&says(&relay, "stats shares --json", "", 0, "cam")).unwrap();
    let id = list["items"][0]["id"].as_str().unwrap().to_owned();
    let open = format!("/share/{}", link.trim().rsplit('/').next().unwrap());
    assert_eq!(get(&open).status, 200);
    says(&relay, &format!("stats unshare {id}"), "", 0, "");
    assert_eq!(get(&open).status, 404, "revoked");
    says(
        &relay,
        &format!("stats unshare {id}"),
        "",
        1,
        "there is no such link",
    );
    let made = post(
        &relay,
        LOCAL,
        "/api/v1/shares",
        &[],
        "path=cam&days=1&expires_days=1",
    );
    assert_eq!(made.status, 201, "{}", made.text());
    let (made, to) = (json(&made), relay.addr("http"));
    let (open, one) = (
        made["url"].as_str().unwrap(),
        format!("/api/v1/shares/{}", made["id"].as_str().unwrap()),
    );
    assert_eq!(get(open).status, 200);
    assert_eq!(http::request(LOCAL, to, "DELETE", &one, &[]).status, 204);
    assert_eq!(get(open).status, 404, "revoked");
    assert_eq!(http::request(LOCAL, to, "DELETE", &one, &[]).status, 404);
    assert_eq!(
        post(&relay, LOCAL, "/api/v1/shares", &[], "path=none").status,
        404
    );
    assert_eq!(
        post(&relay, LOCAL, "/api/v1/shares", &[], "path=cam&days=0").status,
        400
    );
    relay.stop();
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
