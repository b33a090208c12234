//! Logs of other servers, counted by the real program: what comes out is right, nothing of a viewer does, and a power cut
//! in the middle changes nothing.
//!
//! The files in tests/logs are of 1 and 2 January 2000, which are moved to days that are not too old.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::ToSpan;
use jiff::Zoned;
use jiff::civil::Date;
use serde_json::Value;
use tempfile::TempDir;

use crate::canary;
use crate::canary::Canary;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::louver;

const NGINX: &str = include_str!("../logs/nginx.log");
const MEDIAMTX: &str = include_str!("../logs/mediamtx.log");

/// Ten days ago.
fn first_day() -> Date {
    Zoned::now().date().checked_sub(10.days()).unwrap()
}

/// The log with its two days moved.
fn moved(log: &str) -> String {
    let (first, second) = (first_day(), first_day().tomorrow().unwrap());
    log.replace("01/Jan/2000", &first.strftime("%d/%b/%Y").to_string())
        .replace("02/Jan/2000", &second.strftime("%d/%b/%Y").to_string())
        .replace("2000/01/01", &first.strftime("%Y/%m/%d").to_string())
}

/// A directory with a configuration, and with the relay's data in `data`.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::Builder::new().prefix("louver-e2e-").tempdir().unwrap());
        home.set("");
        home
    }
    /// Writes the configuration, with these lines at its end.
    fn set(&self, lines: &str) {
        let paths =
            "[paths.cam]\nsource = \"publish:\"\n[paths.ward]\nsource = \"publish:\"\nsensitive = true\n";
        fs::write(self.path().join("louver.toml"), format!("{paths}{lines}")).unwrap();
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn command(&self, words: &[&str]) -> Command {
        let mut command = louver();
        command.args(words);
        command.arg("--config").arg(self.path().join("louver.toml"));
        command.arg("--data-dir").arg(self.path().join("data"));
        command
    }
    fn run(&self, words: &[&str], file: Option<&Path>) -> Output {
        let mut command = self.command(words);
        command.args(file);
        command.output().unwrap()
    }
    /// Imports a file that must be one.
    fn import(&self, words: &[&str], file: &Path) -> String {
        let out = self.run(&[&["privacy", "anonymize-past"], words].concat(), Some(file));
        assert_eq!(out.status.code(), Some(0), "{}", text(&out));
        text(&out)
    }
    /// Of the two days and those around them.
    fn stats(&self, days: i64) -> Value {
        let until = first_day().checked_add(days.days()).unwrap().to_string();
        let words = [
            "stats",
            "--json",
            "--since",
            &first_day().to_string(),
            "--until",
            &until,
        ];
        let out = self.run(&words, None);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out));
        let mut answer: Value = serde_json::from_slice(&out.stdout).unwrap();
        for of_now in ["live", "from", "to"] {
            answer.as_object_mut().unwrap().remove(of_now);
        }
        answer
    }
    /// Every file of the data directory.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        canary::files(&self.path().join("data"))
    }
}

/// Whatever a test is about, nothing of who is in those logs is kept.
impl Drop for Home {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            canary::assert_none(&canaries(), &self.files());
        }
    }
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// All that the nginx log has of viewers.
fn canaries() -> Vec<Canary> {
    let mut all: Vec<Canary> = (11..=23)
        .chain([99])
        .map(|n| Canary::Addr(format!("203.0.113.{n}").parse().unwrap()))
        .collect();
    all.extend([17, 77, 98, 99].map(|n| Canary::Addr(format!("198.51.100.{n}").parse().unwrap())));
    all.extend(
        [
            "2001:db8:1:2:3:4:5:16",
            "2001:db8:1:2",
            "CANARYTOKEN",
            "CANARYPASS",
            "canary-user",
            "canary@example.org",
            "CanaryPlayer",
            "user=bob",
            "viewer.example.org",
            "seg100.ts",
            "Firefox/128",
        ]
        .map(Canary::text),
    );
    all
}

#[test]
fn an_nginx_log_becomes_counts_and_leaves_nothing_of_a_viewer() {
    let home = Home::new();
    let log = home.path().join("access.log");
    fs::write(&log, moved(NGINX)).unwrap();
    let dry = home.import(&["--format", "nginx", "--path", "yard", "--dry-run"], &log);
    assert!(!home.path().join("data").exists(), "a dry run leaves nothing");
    assert!(dry.contains("Nothing was stored"), "{dry}");
    let told = home.import(&["--format", "nginx", "--path", "yard"], &log);
    for line in [
        "23 lines, 16 of which tell of somebody who watched.",
        "access.log: 3 lines of another format or damaged (line 8, 18, 23).",
        "10 sessions in 2 days; 1 of recorders and monitors beside them.",
        "Left out: 1 record of today, the future or before 1970.",
        "Left out: 1 record of viewers who objected or did not agree.",
        "Stored: 2 days now, 0 before.",
        "was searched: no personal data.",
    ] {
        assert!(told.contains(line), "{line} is not in\n{told}");
    }
    let stats = home.stats(1);
    assert_eq!(stats["sessions"], 10, "{stats}");
    assert_eq!(stats["viewer_days"], 9);
    assert_eq!(stats["watch_seconds"], 39);
    assert_eq!(stats["machines"]["sessions"], 1);
    home.set("[privacy]\nk = 1\n");
    let all = home.stats(1);
    let sessions = |path: &str| {
        let mut rows = all["by_path"].as_array().unwrap().iter();
        rows.find(|row| row["path"] == path).unwrap()["sessions"].clone()
    };
    assert_eq!(
        [sessions("cam"), sessions("yard"), sessions("(other)")],
        [8, 1, 1]
    );
    home.set("");
    let again = home.import(&["--format", "nginx", "--path", "yard"], &log);
    assert!(again.contains("Stored: 0 days now, 2 before."), "{again}");
    assert_eq!(home.stats(1), stats);
    let trail = text(&home.run(&["audit", "show"], None));
    assert!(
        trail.contains("past.anonymize  nginx  2 days stored  (10)"),
        "{trail}"
    );
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        moved(NGINX),
        "the log is as it was"
    );
    let mut places = home.files();
    for output in [dry, told, again, trail, stats.to_string()] {
        places.push(("output".to_owned(), output.into_bytes()));
    }
    assert_eq!(canary::scan(&canaries(), &places), [] as [&str; 0]);
    let clean = louver()
        .args(["privacy", "scan"])
        .arg(home.path().join("data"))
        .output();
    let clean = clean.unwrap();
    assert_eq!(clean.status.code(), Some(0), "{}", text(&clean));
}

#[test]
fn the_same_days_of_another_file_are_added_only_when_that_is_wished() {
    let home = Home::new();
    let (log, more) = (home.path().join("a.log"), home.path().join("b.log.gz"));
    fs::write(&log, moved(NGINX)).unwrap();
    let mut packed = GzEncoder::new(fs::File::create(&more).unwrap(), Compression::default());
    packed
        .write_all(moved(NGINX).replace("203.0.113.", "198.18.0.").as_bytes())
        .unwrap();
    packed.finish().unwrap();
    home.import(&["--format", "apache"], &log);
    let told = home.import(&["--format", "apache"], &more);
    assert!(
        told.contains("Left out: 2 days that another import brought"),
        "{told}"
    );
    assert_eq!(home.stats(1)["sessions"], 10);
    home.import(&["--format", "apache", "--add"], &more);
    assert_eq!(home.stats(1)["sessions"], 20);
}

#[test]
fn a_power_cut_in_the_middle_changes_no_number() {
    let mut log = String::new();
    for day in 0..9 {
        let date = first_day()
            .checked_add(day.days())
            .unwrap()
            .strftime("%d/%b/%Y")
            .to_string();
        for n in 0..4_000 {
            let (hour, minute, host) = (n / 200, n % 200 / 4, n % 97 + 1);
            log.push_str(&format!(
                "203.0.113.{host} - - [{date}:{hour:02}:{minute:02}:00 +0000] \"GET /cam-{n}.ts HTTP/1.1\" 200 1 \"-\" \
                 \"VLC/3.0.20\"\n"
            ));
        }
    }
    let (cut, whole) = (Home::new(), Home::new());
    for home in [&cut, &whole] {
        fs::write(home.path().join("access.log"), &log).unwrap();
    }
    let file = cut.path().join("access.log");
    for round in 1..=3 {
        let mut command = cut.command(&["privacy", "anonymize-past", "--format", "nginx"]);
        command.arg(&file).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let stored = lines.find(|line| line.ends_with("is stored."));
        child.kill().unwrap(); // SIGKILL
        let status = child.wait().unwrap();
        assert!(
            stored.is_some() && status.code().is_none(),
            "round {round}: it had ended: {status}"
        );
    }
    let told = cut.import(&["--format", "nginx"], &file);
    assert!(!told.contains(" 0 before"), "{told}");
    whole.import(&["--format", "nginx"], &whole.path().join("access.log"));
    let stats = whole.stats(9);
    assert_eq!(cut.stats(9), stats);
    assert!(stats["sessions"].as_u64().unwrap() >= 9 * 97, "{stats}");
}

#[test]
fn a_log_that_mediamtx_wrote_is_read() {
    let home = Home::new();
    let log = home.path().join("mediamtx.log");
    fs::write(&log, moved(MEDIAMTX)).unwrap();
    let told = home.import(&["--format", "mediamtx"], &log);
    let stats = home.stats(1);
    assert!(told.contains("0 of recorders"), "{told}");
    assert_eq!(stats["sessions"], 3, "{told}");
    assert_eq!(stats["watch_seconds"], 13, "{told}");
    assert_eq!(
        canary::scan(&[Canary::Addr([203, 0, 113, 7].into())], &home.files()),
        [] as [&str; 0]
    );
}

#[test]
fn a_summary_is_printed_without_a_store() {
    let home = Home::new();
    let log = home.path().join("access.log");
    fs::write(&log, moved(NGINX)).unwrap();
    let csv = home.run(
        &["privacy", "anonymize-past", "--format", "nginx", "--to", "csv"],
        Some(&log),
    );
    let lines = String::from_utf8(csv.stdout).unwrap();
    assert!(
        lines.contains(&format!("{},,all,,5,5,0,0\n", first_day())),
        "eight sessions of seven viewers are five of five:\n{lines}"
    );
    assert!(!lines.contains("VLC"), "one viewer is none: {lines}");
    let json = home.run(
        &["privacy", "anonymize-past", "--format", "nginx", "--to", "json"],
        Some(&log),
    );
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), lines.lines().count() - 1);
    assert!(!home.path().join("data").exists(), "nothing is kept");
}

#[test]
fn what_cannot_be_done_is_said() {
    let home = Home::new();
    let log = home.path().join("access.log");
    fs::write(&log, moved(NGINX)).unwrap();
    let failed = |words: &[&str], file: &Path, status: i32, says: &str| {
        let out = home.run(&[&["privacy", "anonymize-past"], words].concat(), Some(file));
        assert_eq!(out.status.code(), Some(status), "{}", text(&out));
        assert!(text(&out).contains(says), "{}", text(&out));
    };
    failed(&["--format", "icecast"], &log, 1, "are they of this format?");
    failed(
        &["--format", "nginx"],
        Path::new("/nowhere/access.log"),
        1,
        "cannot read",
    );
    failed(&["--format", "nginx", "--path", "a b"], &log, 2, "is no path");
    failed(
        &["--format", "mediamtx", "--log-time-zone", "Mars"],
        &log,
        2,
        "unknown to this system",
    );
    failed(&["--format", "louver"], &log, 1, "is no database of Louver's");
    failed(&["--format", "louver", "--add"], &log, 2, "have no meaning");
}

#[test]
fn a_database_of_louvers_loses_what_is_of_single_viewers_when_no_relay_uses_it() {
    let mut relay = Relay::start(Options::publish());
    let data = relay.data_dir();
    let unset = || {
        let mut command = louver();
        command.args(["privacy", "anonymize-past", "--format", "louver", "--data-dir"]);
        command.arg(&data).arg(data.join("louver.db")).output().unwrap()
    };
    relay.stats(); // it listens before it has a database, and answers only then
    let refused = unset();
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(
        text(&refused).contains("in use by another louver"),
        "{}",
        text(&refused)
    );
    relay.signal("TERM");
    relay.wait(std::time::Duration::from_secs(10)).expect("it ends");
    let done = unset();
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert!(
        text(&done).contains("rows of sessions are gone"),
        "{}",
        text(&done)
    );
    assert!(
        text(&done).contains("was searched: no personal data"),
        "{}",
        text(&done)
    );
}

#[test]
fn what_can_be_computed_of_published_numbers_is_told() {
    let home = Home::new();
    let log = home.path().join("access.log");
    fs::write(&log, moved(NGINX)).unwrap();
    home.import(&["--format", "nginx"], &log);
    let since = first_day().to_string();
    let verify = || home.run(&["privacy", "verify-report", "--since", &since], None);

    let out = verify();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    let told = text(&out);
    assert!(told.contains(": 2 days with viewers, k = 5"), "{told}");
    assert!(
        told.contains("no number is published: ") && !told.contains("published: 0"),
        "{told}"
    );
    assert!(told.contains("Computed exactly: 0"), "{told}");

    // Two viewers, one by each protocol there is: of k = 2, both ones follow from the two.
    let day = first_day().checked_add(3.days()).unwrap();
    let number = day.since(Date::constant(1970, 1, 1)).unwrap().get_days();
    let rows = [("all", "", 2), ("protocol", "rtsp", 1), ("protocol", "mjpeg", 1)];
    let rows = rows.map(|(dimension, value, n)| {
        format!("({number}, 'cam', '{dimension}', '{value}', {n}, {n}, 60000, 1, {n})")
    });
    let insert = format!(
        "INSERT INTO leaves (day, scope, dimension, value, sessions, viewers, watch_ms, peak, views) VALUES {}",
        rows.join(",")
    );
    let mut sqlite = Command::new("sqlite3");
    let database = home.path().join("data/louver.db");
    assert!(sqlite.arg(database).arg(insert).status().unwrap().success());
    assert_eq!(verify().status.code(), Some(0), "of k = 5 nothing follows");
    home.set("[privacy]\nk = 2\n");
    let out = verify();
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    let told = text(&out);
    assert!(
        told.contains(&format!("COMPUTED: {day}, path cam, by protocol")),
        "{told}"
    );
    assert!(told.contains("with a larger `k` in [privacy]"), "{told}");

    let trail = text(&home.run(&["audit", "show"], None));
    assert!(
        trail.contains("report.verify  (") && trail.contains("failed"),
        "{trail}"
    );
}
