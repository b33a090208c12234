//! A18: tokens, receipts and links that do not count get the same answer byte by byte, whatever they name: forged for
//! something that is there, or for nothing, erased, taken back or revoked.

use std::fs;

use crate::guesses::said;
use crate::http;
use crate::http::Answer;
use crate::http::LOCAL;
use crate::rights::by_http;
use crate::rights::json;
use crate::rights::no_trace_of;
use crate::rights::post;
use crate::rights::receipt_url;
use crate::rights::relay;
use crate::rights::says;
use crate::rights::until_counted;

/// The same token with another MAC; with another body too; and what is no token.
fn false_ones(token: &str) -> Vec<String> {
    let other = |from: usize| -> String {
        let turned = |(at, c): (usize, char)| match c {
            '.' => '.',
            c if at < from => c,
            '0' => '1',
            _ => '0',
        };
        token.char_indices().map(turned).collect()
    };
    vec![
        other(token.len() - 1),
        other(token.rfind('.').unwrap()),
        other(3),
        format!("{}.00.00", &token[..2]),
        "x".into(),
    ]
}

fn whole(answer: &Answer) -> String {
    said(answer.status, &answer.headers, &answer.text())
}

#[track_caller]
fn same(what: &str, answers: &[String]) {
    assert!(answers[0].starts_with("404"), "{what}: {}", answers[0]);
    for answer in answers {
        assert_eq!(&answers[0], answer, "{what}");
    }
}

#[test]
fn a18_tokens_that_do_not_count_get_the_same_answer_whatever_they_name() {
    let mut relay = relay("k = 1\nconsent = \"opt-in\"\nreceipts = true\n");
    let given = post(&relay, LOCAL, "/privacy/consent", &[], "path=cam");
    let consent = json(&given)["consent"].as_str().unwrap().to_owned();
    let (session, receipt) = by_http(&relay, 4, &format!("cam?consent={consent}"), &[]);
    let (other, erased) = by_http(&relay, 5, &format!("cam?consent={consent}"), &[]);
    let (receipt, erased) = (receipt.unwrap(), erased.unwrap());
    for token in [&consent, &receipt, &erased] {
        no_trace_of(&mut relay, token);
    }
    until_counted(&relay, 2, 2);
    let http = relay.addr("http");
    let ask = |method: &str, path: &str| whole(&http::request(LOCAL, http, method, path, &[]));
    let form = |path: &str, text: &str| whole(&post(&relay, LOCAL, path, &[], text));

    assert!(ask("DELETE", &receipt_url(&erased)).starts_with("204"));
    let receipts = [false_ones(&receipt), vec![erased.clone()]].concat();
    for method in ["GET", "HEAD", "DELETE"] {
        let answers: Vec<_> = receipts.iter().map(|r| ask(method, &receipt_url(r))).collect();
        same(method, &answers);
    }
    for what in ["see", "erase"] {
        let answers: Vec<_> = receipts
            .iter()
            .map(|r| form("/privacy/receipt", &format!("receipt={r}&do={what}")))
            .collect();
        same(what, &answers);
    }
    assert!(
        ask("GET", &receipt_url(&receipt)).starts_with("200"),
        "the right one is"
    );

    let answers: Vec<_> = false_ones(&consent)
        .iter()
        .map(|c| form("/privacy/withdraw", &format!("consent={c}")))
        .collect();
    same("withdrawing", &answers);
    // Who shows a consent that does not count sees what all see who show none.
    let shown: Vec<String> = [vec![String::new()], false_ones(&consent)]
        .concat()
        .iter()
        .map(|c| {
            let (stream, _) = by_http(&relay, 6, &format!("cam?consent={c}"), &[]);
            said(stream.status, &stream.headers, "")
        })
        .collect();
    assert!(shown.iter().all(|answer| *answer == shown[0]), "{shown:?}");

    let link = |path: &str| {
        let link = says(&relay, &format!("stats share {path}"), "", 0, "/share/");
        link.trim().rsplit('/').next().unwrap().to_owned()
    };
    let (share, over, revoked) = (link("cam"), link("dam"), link("dam"));
    let id = |token: &str| token.split('.').nth(1).unwrap().to_owned();
    let file = relay.data_dir().join("shares").join(id(&over));
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[3] = "2026-01-01T00:00:00Z";
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    says(&relay, &format!("stats unshare {}", id(&revoked)), "", 0, "");
    let shares = [false_ones(&share), vec![over, revoked]].concat();
    for method in ["GET", "HEAD"] {
        let answers: Vec<_> = shares
            .iter()
            .map(|s| ask(method, &format!("/share/{s}")))
            .collect();
        same(method, &answers);
    }
    assert!(ask("GET", &format!("/share/{share}")).starts_with("200"));
    drop((session, other));
    relay.stop();
}
