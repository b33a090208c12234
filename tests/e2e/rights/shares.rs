//! Reports that the operator shares by a link.

use std::fs;

use serde_json::Value;

use crate::http;
use crate::http::LOCAL;
use crate::peers::Transport;
use crate::peers::chromium;
use crate::relay::eventually;
use crate::rights::HOUR;
use crate::rights::by_rtsp;
use crate::rights::json;
use crate::rights::later;
use crate::rights::no_trace_of;
use crate::rights::post;
use crate::rights::relay;
use crate::rights::says;
use crate::rights::until_audited;
use crate::rights::until_counted;
use crate::rtsp::Viewer;

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
    until_audited(&relay, "purge  9 sessions, searched, nothing left", 1); // of ten, in multiples of k
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
    assert_eq!(get("/api/v1/shares").status, 200);
    until_audited(&relay, "share.list", 4); // three by the command
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
