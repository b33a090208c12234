//! Statistics that leave: text, CSV, numbers with noise; by the program and over HTTP, each in the audit trail.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::process::Output;
use std::time::Duration;

use crate::audience::zone_with_midnight_in;
use crate::clips;
use crate::http;
use crate::http::LOCAL;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::relay::louver;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

/// A relay on whose path `cam` somebody watched.
fn watched() -> Relay {
    // No day ends during a test.
    let zone = zone_with_midnight_in(Duration::from_secs(12 * 3600));
    let config = format!("[privacy]\nk = 1\ntime_zone = \"{zone}\"\n[paths.cam]\nsource = \"publish:\"");
    let relay = Relay::start(Options::publish().config(&config));
    let publisher = ffmpeg::publish(clips::h264(), &relay.rtsp("cam"), Transport::Tcp);
    relay.wait_for_state("cam", "ready");
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let mut viewer = Viewer::watch(Conn::open(from, relay.addr("rtsp")), "cam", Transport::Tcp);
    viewer.until(Duration::from_millis(200));
    viewer.leave();
    eventually("the session is stored", || {
        (relay.stats()["sessions"] == 1).then_some(())
    });
    drop(publisher);
    relay
}

/// What the program says to these words, with this in its environment.
fn say(relay: &Relay, words: &str, environment: &[(&str, &str)]) -> Output {
    louver()
        .args(words.split(' '))
        .arg("--config")
        .arg(relay.config_file())
        .arg("--data-dir")
        .arg(relay.data_dir())
        .env_remove("LC_ALL")
        .env_remove("LC_CTYPE")
        .env_remove("LANG")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

#[track_caller]
fn text(out: &Output) -> String {
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}: {error}", out.status);
    String::from_utf8(out.stdout.clone()).unwrap()
}

/// How often something stands in the audit trail.
fn audited(relay: &Relay, what: &str) -> usize {
    text(&say(relay, "audit show", &[])).matches(what).count()
}

#[test]
fn a_report_in_a_pipe_is_plain_and_in_the_characters_of_its_locale() {
    let relay = watched();
    let ascii = text(&say(&relay, "stats", &[("COLUMNS", "300")]));
    assert!(
        ascii.is_ascii() && ascii.contains("By path") && ascii.contains("#"),
        "{ascii}"
    );
    let widest = ascii.lines().map(str::len).max().unwrap();
    assert!(widest <= 80, "{ascii}");
    let utf8 = text(&say(
        &relay,
        "stats",
        &[("LANG", "C.UTF-8"), ("TERM", "xterm-256color")],
    ));
    assert!(utf8.contains('█') && !utf8.contains('\u{1b}'), "{utf8}");
    relay.stop();
}

/// `script` gives the program a terminal, of which it says how wide it is.
#[cfg(target_os = "linux")]
#[test]
fn in_a_terminal_a_report_has_colours_unless_somebody_minds() {
    let relay = watched();
    let in_terminal = |environment: &[(&str, &str)]| {
        let command = format!(
            "stty cols 60; exec {} stats --config {} --data-dir {}",
            env!("CARGO_BIN_EXE_louver"),
            relay.config_file().display(),
            relay.data_dir().display()
        );
        let out = std::process::Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .envs(environment.iter().copied())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        text(&out)
    };
    let coloured = in_terminal(&[]);
    assert!(coloured.contains("\u{1b}[1mBy path"), "{coloured:?}");
    let plain = in_terminal(&[("NO_COLOR", "1")]);
    assert!(
        plain.contains("By path") && !plain.contains('\u{1b}'),
        "{plain:?}"
    );
    let table = plain.lines().skip_while(|line| !line.starts_with("By path"));
    let widest = table
        .take_while(|line| !line.trim().is_empty())
        .map(|line| line.trim_end().chars().count());
    assert!(widest.max().unwrap() <= 60, "{plain}");
    relay.stop();
}

#[test]
fn the_same_table_comes_from_the_program_and_over_http_and_each_is_in_the_trail() {
    let relay = watched();
    let by_program = text(&say(&relay, "stats --csv --by path", &[]));
    let over_http = |path: &str, accept: &str| {
        let headers = [("Accept", accept)];
        http::request(LOCAL, relay.addr("http"), "GET", path, &headers)
    };
    let answer = over_http("/api/v1/stats?by=path", "text/csv");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/csv; charset=utf-8; header=present")
    );
    assert_eq!(answer.header("vary"), Some("Accept"));
    let name = answer.header("content-disposition").unwrap();
    assert!(
        name.starts_with("attachment; filename=\"louver-20") && name.ends_with(".csv\""),
        "{name}"
    );
    // All but the end of the range, which is now.
    let facts = |table: &str| -> Vec<Vec<String>> {
        let rows = table.trim_end().split("\r\n");
        rows.map(|row| row.split(',').take(10).map(str::to_owned).collect())
            .collect()
    };
    assert_eq!(facts(&answer.text()), facts(&by_program));
    let rows = facts(&by_program);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0][..3], ["breakdown", "value", "sessions_count"]);
    assert_eq!(rows[1][..3], ["path", "cam", "1"]);

    let json = over_http("/api/v1/stats", "application/json, text/csv;q=0.5");
    assert_eq!(json.header("content-type"), Some("application/json"));
    for bad in ["format=xml", "format=csv&by=viewer", "by=path&format=json"] {
        let refused = over_http(&format!("/api/v1/stats?{bad}"), "text/csv");
        assert_eq!(refused.status, 400, "{bad}");
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    }
    eventually("both exports are in the trail", || {
        (audited(&relay, "report.export") >= 2).then_some(())
    });
    relay.stop();
}

#[test]
fn numbers_with_noise_cost_a_budget_that_outlives_the_program() {
    let relay = watched();
    let yesterday = "--since 2d --until 24h";
    let ask = |table: &str, epsilon: &str| {
        let words = format!("stats export --private --epsilon {epsilon} --table {table} {yesterday}");
        say(&relay, &words, &[])
    };
    let first = text(&ask("path", "0.6"));
    let head = first.lines().next().unwrap();
    assert!(
        head.starts_with("day_date,path,viewer_days_count,plus_minus_count"),
        "{head}"
    );
    assert!(first.contains(",cam,") && first.contains(",0.6,3"), "{first}");
    assert_eq!(
        text(&ask("path", "1")),
        first,
        "the same again, whatever is wished"
    );
    let refused = ask("total", "0.5");
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("only 0.4 is left"), "{why}");
    assert!(refused.stdout.is_empty());
    // At the same time, from several programs: one of these fits.
    let outs: Vec<Output> = std::thread::scope(|scope| {
        let all: Vec<_> = ["total", "client", "country", "protocol"]
            .map(|table| scope.spawn(move || ask(table, "0.4")))
            .into_iter()
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let given = outs.iter().filter(|out| out.status.success()).count();
    assert_eq!(given, 1);
    for words in [
        "stats export --private",
        "stats export --private --epsilon 2",
        "stats export --epsilon 1",
    ] {
        assert_eq!(say(&relay, words, &[]).status.code(), Some(2), "{words}");
    }
    assert_eq!(audited(&relay, "with noise, epsilon 0.6 for each of 2 days"), 1);
    assert_eq!(audited(&relay, "with noise, 2 days again"), 1);
    assert!(audited(&relay, "refused") >= 4);
    relay.stop();
}

#[test]
fn what_is_exported_without_noise_is_the_published_tier() {
    let relay = watched();
    let export = text(&say(&relay, "stats export", &[]));
    assert!(
        export.contains(",published,") && !export.contains(",console,"),
        "{export}"
    );
    let total = export.lines().find(|line| line.starts_with("total,")).unwrap();
    assert!(
        total.starts_with("total,,0,0,0,0,0,"),
        "today is not over: {total}"
    );
    relay.stop();
}
