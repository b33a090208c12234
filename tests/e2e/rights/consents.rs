//! Viewers who agree to be counted, and take it back; networks that object.

use std::fs;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use crate::canary::Canary;
use crate::http;
use crate::http::LOCAL;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::Relay;
use crate::rights::HOUR;
use crate::rights::by_http;
use crate::rights::by_rtsp;
use crate::rights::host;
use crate::rights::json;
use crate::rights::later;
use crate::rights::no_trace_of;
use crate::rights::post;
use crate::rights::relay;
use crate::rights::says;
use crate::rights::seen;
use crate::rights::until_audited;
use crate::rights::until_counted;
use crate::rights::until_rows;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

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
