//! The papers and the trail of a relay that runs: what is shown to everybody, what is noted, what is found.

use std::fs;
use std::process::Output;
use std::time::Duration;

use crate::http;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::louver;

/// A command on the relay's own data directory.
fn command(relay: &Relay, words: &[&str]) -> Output {
    let mut cmd = louver();
    cmd.args(words);
    cmd.arg("--config").arg(relay.config_file());
    cmd.arg("--data-dir").arg(relay.data_dir());
    cmd.output().unwrap()
}

/// The program ends; its files stay.
fn end(relay: &mut Relay) {
    relay.signal("TERM");
    let status = relay.wait(Duration::from_secs(10)).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", relay.log());
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

#[test]
fn the_notice_is_for_everybody_and_is_that_of_the_command_line() {
    let notice = "[notice]\ncontroller = \"The Harbour Office\"\nsecurity_contact = \"mailto:s@example.org\"\n\
                  [auth]\nrequired = \"always\"";
    let relay = Relay::start(Options::publish().config(notice));
    let get = |path: &str| http::get(relay.addr("http"), path);
    let page = get("/privacy");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<html lang=\"en\">") && page.text().contains("The Harbour Office"));
    let french = get("/privacy.json?lang=fr").text();
    assert!(french.contains("\"language\":\"fr\""), "{french}");
    // The command does not know which port the system chose for the relay.
    let port = relay.addr("rtsp").port();
    let markdown = get("/privacy.md").text();
    let printed = command(&relay, &["privacy", "notice"]);
    let printed = String::from_utf8_lossy(&printed.stdout).replace("HOST:PORT/", &format!("HOST:{port}/"));
    assert_eq!(markdown, printed);
    assert!(
        markdown.contains(&format!("rtsp://HOST:{port}/nostats/NAME")),
        "{markdown}"
    );
    let security = get("/.well-known/security.txt").text();
    assert!(
        security.starts_with("Contact: mailto:s@example.org\nExpires: 20"),
        "{security}"
    );
    assert_eq!(get("/api/v1/stats").status, 401, "the rest stays closed");
}

#[test]
fn the_trail_has_reads_and_wrong_logins_and_one_changed_byte_breaks_it() {
    let mut relay = Relay::start(Options::publish());
    for _ in 0..5 {
        assert_eq!(http::get(relay.addr("http"), "/api/v1/stats").status, 200);
    }
    end(&mut relay);
    let shown = text(&command(&relay, &["audit", "show"]));
    for word in [
        "relay.start",
        "setting.change  privacy.k  5",
        "report.view",
        "and 4 times more",
        "relay.end",
    ] {
        assert!(shown.contains(word), "{word} is not in\n{shown}");
    }
    let good = command(&relay, &["audit", "verify"]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    let file = relay.data_dir().join("audit/trail-000000000001.log");
    let trail = fs::read_to_string(&file).unwrap();
    fs::write(&file, trail.replacen("report.view", "report.export", 1)).unwrap();
    let bad = command(&relay, &["audit", "verify"]);
    assert_eq!(bad.status.code(), Some(1), "{}", text(&bad));
    assert!(text(&bad).contains("was changed"), "{}", text(&bad));
    fs::write(&file, trail).unwrap();
}

#[test]
fn a_scan_of_the_data_directory_finds_nothing_until_something_is_planted() {
    let mut relay = Relay::start(Options::publish());
    end(&mut relay);
    let scan = |relay: &Relay| {
        let mut cmd = louver();
        cmd.args(["privacy", "scan"]).arg(relay.data_dir());
        cmd.arg("--data-dir").arg(relay.data_dir());
        cmd.output().unwrap()
    };
    let clean = scan(&relay);
    assert_eq!(clean.status.code(), Some(0), "{}", text(&clean));
    let planted = relay.data_dir().join("planted.log");
    fs::write(&planted, "viewer 8.8.4.4 came\n").unwrap();
    let found = scan(&relay);
    fs::remove_file(planted).unwrap();
    assert_eq!(found.status.code(), Some(1));
    let told = text(&found);
    assert!(
        told.contains("planted.log: IPv4 address (text) at byte 7"),
        "{told}"
    );
    assert!(!told.contains("8.8.4.4"), "{told}");
    let shown = text(&command(&relay, &["audit", "show"]));
    let (none, some) = ("scan  nothing found", "scan  found 1 ipv4");
    assert!(shown.contains(none) && shown.contains(some), "{shown}");
    assert!(
        !shown.contains("planted"),
        "names of files may be personal data: {shown}"
    );
}

#[test]
fn the_self_check_is_content_with_the_defaults_and_not_with_an_open_page() {
    let relay = Relay::start(Options::publish());
    let good = command(&relay, &["privacy", "self-check"]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    let open = relay.data_dir().join("open.toml");
    fs::write(&open, "[http]\nlisten = \"0.0.0.0:80\"\n[privacy]\nk = 4\n").unwrap();
    let out = louver()
        .args(["privacy", "self-check", "--config"])
        .arg(&open)
        .arg("--data-dir")
        .arg(relay.data_dir())
        .output()
        .unwrap();
    fs::remove_file(open).unwrap();
    assert_eq!(out.status.code(), Some(1));
    for name in ["BAD      plaintext-admin", "BAD      small-k"] {
        assert!(text(&out).contains(name), "{}", text(&out));
    }
}
