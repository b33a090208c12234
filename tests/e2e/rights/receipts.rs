//! Viewers who see and erase a session of theirs.

use std::fs;

use crate::http;
use crate::http::LOCAL;
use crate::peers::Transport;
use crate::relay::Relay;
use crate::rights::HOUR;
use crate::rights::by_http;
use crate::rights::by_rtsp;
use crate::rights::database;
use crate::rights::json;
use crate::rights::later;
use crate::rights::no_trace_of;
use crate::rights::post;
use crate::rights::receipt_url;
use crate::rights::relay;
use crate::rights::says;
use crate::rights::seen;
use crate::rights::sql;
use crate::rights::until_audited;
use crate::rights::until_counted;
use crate::rights::until_rows;

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
