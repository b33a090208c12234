//! The rules of the house as a test: who may name whom, and words that have one home.
//!
//! It is a search of text. A macro or a re-export can fool it: it catches the slip, review catches the
//! intent. What clippy can forbid is in clippy.toml. Each rule has a violation in `planted.rs`, so that it
//! can be seen to fail.

#[path = "architecture/planted.rs"]
mod planted;
#[path = "architecture/text.rs"]
mod text;

use std::path::Path;

use text::Sources;
use text::contains_word;
use text::items_after;
use text::repository;

/// A module of the crate, what its code may name after `crate::`, and words that may not stand in it.
struct Room {
    name: &'static str,
    /// A room (`base`), a part of one (`base::time`), `*::Options` for the settings of any, or `*` for all.
    may: &'static [&'static str],
    never: &'static [&'static str],
}

const fn room(name: &'static str, may: &'static [&'static str], never: &'static [&'static str]) -> Room {
    Room { name, may, never }
}

/// In the order of lib.rs. A new arrow is a decision: it stands alone in its commit, with ARCHITECTURE.md.
const ROOMS: &[Room] = &[
    room("base", &[], &[]),
    room("telemetry", &[], &[]),
    room("logs", &["telemetry"], &[]),
    room("media", &["base::time"], &["tokio", "serde"]),
    room(
        "proto",
        &["base::time", "media"],
        &["tokio", "std::net", "std::fs", "SocketAddr", "IpAddr", "::now("],
    ),
    room("av", &["base", "media", "telemetry"], &[]),
    room(
        "hub",
        &["base", "media", "proto::rtp", "telemetry"],
        &["SocketAddr", "IpAddr", "PeerAddr"],
    ),
    room(
        "ingest",
        &["base", "media", "proto", "av", "hub", "telemetry"],
        &["PeerAddr"],
    ),
    room(
        "privacy",
        &["base::clock", "base::locked", "base::peer", "base::raw"],
        &["Serialize", "tracing"],
    ),
    room(
        "analytics",
        &[
            "base",
            "privacy::Viewer",
            "privacy::Pseudonym",
            "privacy::ClientClass",
            // Names of players: which rows a table has must not depend on who was there (`analytics::private`).
            "privacy::ClientFamily",
            "privacy::Country",
            "telemetry",
        ],
        &["RawViewer", "PeerAddr"],
    ),
    room(
        "alerts",
        &["audit::Sink", "audit::rules", "audit::Actor", "base", "telemetry"],
        &["PeerAddr", "RawViewer"],
    ),
    room("audit", &["base", "telemetry"], &["PeerAddr", "RawViewer"]),
    room(
        "rights",
        &[
            "base",
            "privacy::Clerk",
            "privacy::Consent",
            "privacy::Receipt",
            "privacy::row_number",
            "analytics::Record",
            "analytics::Recorder",
            "audit",
        ],
        &["PeerAddr", "RawViewer", "Serialize"],
    ),
    room(
        "papers",
        &[
            "privacy::Consent",
            "privacy::Level",
            "privacy::Policy",
            "privacy::address::Mask",
            "privacy::fields",
        ],
        &["PeerAddr", "RawViewer", "tokio", "std::fs"],
    ),
    room(
        "past",
        &[
            "analytics::past::PastSession",
            "base::peer",
            "base::why",
            "privacy::ClientClass",
            "privacy::Options",
            "privacy::PastDoor",
            "privacy::Pseudonym",
        ],
        &["RawViewer", "tokio", "tracing", "Serialize"],
    ),
    room("scan", &["base::why"], &[]),
    room(
        "egress",
        &[
            "base",
            "media",
            "proto",
            "av",
            "hub",
            "privacy",
            "analytics::Protocol",
            "analytics::Recorder",
            "analytics::SessionHandle",
            "analytics::Transport",
            "telemetry",
        ],
        &[],
    ),
    room(
        "web",
        &[
            "base",
            "media",
            "av",
            "hub",
            "egress",
            "privacy",
            "analytics",
            "telemetry",
            "audit",
            "papers",
            "rights",
            // The same users watch over HTTP and RTSP, so their hashes have one home.
            "proto::rtsp::auth",
        ],
        &[],
    ),
    // Settings of any room, and the words of the file that a room reads itself.
    room(
        "config",
        &[
            "*::Options",
            "analytics::Retention",
            "alerts",
            "hub::PathName",
            "ingest::Source",
            "proto::rtsp::auth::User",
            "base::proxies",
            "base::whole",
            "base::why",
            "privacy::Consent",
            "privacy::Level",
            "privacy::Policy",
            "privacy::address::Mask",
        ],
        &[],
    ),
    room(
        "cli",
        &[
            "alerts",
            "analytics",
            "app",
            "audit",
            "av",
            "base",
            "config",
            "logs",
            "papers",
            "past",
            "rights",
            "scan",
            "telemetry",
            "web",
        ],
        &[],
    ),
    room("app", &["*"], &[]),
    room("main", &["*"], &[]),
    room("lib", &["*"], &[]),
    room("fuzzing", &["*"], &[]),
    // Tools beside the relay, crates of their own.
    room("bin", &["*"], &[]),
];

/// A word, the only files (by the start of their path) where it may stand in code, and what to do instead.
const HOMES: &[(&str, &[&str], &str)] = &[
    (
        "expose_to_send",
        &["src/base/peer.rs", "src/egress/rtsp"],
        "an address is taken out only to send packets to it",
    ),
    (
        "expose_to_admit",
        &["src/base/peer.rs", "src/base/proxies.rs", "src/privacy/"],
        "hand the PeerAddr to privacy::Door, which forgets it",
    ),
    (
        "expose_raw",
        &["src/base/raw.rs", "src/base/peer.rs", "src/privacy/"],
        "hand the Raw to privacy::Door, which forgets it",
    ),
    (
        "RawViewer",
        &[
            "src/privacy/",
            "src/egress/",
            "src/web/",
            "src/lib.rs",
            "src/bin/",
        ],
        "take a privacy::Viewer, which knows less",
    ),
    (
        "unsafe",
        &["src/av/sys.rs", "src/base/locked.rs"],
        "put a safe function into src/av/sys.rs and call that",
    ),
    (
        "Serialize",
        &["src/web/api", "src/bin/"],
        "make a shape for it in web::api, so that all that leaves us is in one place",
    ),
    (
        "Deserialize",
        &["src/config/", "src/web/api"],
        "read it in config, or as a request in web::api",
    ),
    ("tokio::spawn", SPAWNERS, SPAWN),
    ("task::spawn", SPAWNERS, SPAWN),
    ("thread::spawn", SPAWNERS, SPAWN),
    ("thread::Builder", SPAWNERS, SPAWN),
    (
        "unbounded",
        &[],
        "give the queue a bound, a drop rule and a counter",
    ),
    (
        "unbounded_channel",
        &[],
        "give the queue a bound, a drop rule and a counter",
    ),
];
const SPAWNERS: &[&str] = &["src/base/tasks.rs", "src/bin/"];
const SPAWN: &str = "spawn through base::tasks::Tasks, which waits for it at exit";

/// Files of web::api give answers; they may not even see who asks.
const NO_WHO: (&str, &[&str]) = ("src/web/api", &["RawViewer", "PeerAddr"]);

/// Longest file under src, in lines; files that are tests alone may be longer.
const MAX_LINES: usize = 700;
const MAX_TEST_LINES: usize = 1000;

/// Parts of column names that would hold what we promise not to keep.
const NO_COLUMNS: &[&str] = &[
    "addr", "agent", "cookie", "host", "query", "referer", "referrer", "token", "user",
];

#[test]
fn rooms_name_only_what_they_may() {
    assert_none(&imports(&Sources::read()));
}

#[test]
fn words_stay_in_their_homes() {
    assert_none(&words(&Sources::read()));
}

#[test]
fn files_are_short() {
    assert_none(&sizes(&Sources::read()));
}

#[test]
fn tables_have_no_column_for_who() {
    let sql: Vec<_> = repository()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".sql"))
        .collect();
    assert!(
        !sql.is_empty(),
        "there is no .sql file; where have the tables gone?"
    );
    assert_none(&columns(&sql));
    assert_none(&sql_in_code(&Sources::read()));
}

#[test]
fn nobodys_home_directory_is_in_the_repository() {
    assert_none(&home_paths(&repository()));
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    assert_none(&dependencies(&std::fs::read_to_string(path).unwrap()));
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// `crate::` and `super::` against the table, and the words that a room may not contain.
fn imports(sources: &Sources) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, code) in sources.code() {
        let name = room_of(path);
        let Some(room) = ROOMS.iter().find(|r| r.name == name) else {
            wrong.push(format!(
                "{path}:1: no rule for {name}; add one to ROOMS here and tell in ARCHITECTURE.md"
            ));
            continue;
        };
        for (line, number) in code.lines().zip(1..) {
            for item in items_after(line, "crate::") {
                if item.is_empty() {
                    wrong.push(format!(
                        "{path}:{number}: a tree of imports; write one `use` for each item"
                    ));
                } else if !may_name(room, item) {
                    wrong.push(format!(
                        "{path}:{number}: {name} may not name {item}; move the code, or hand in what it needs"
                    ));
                }
            }
            if supers(line) > depth_of(path) {
                wrong.push(format!(
                    "{path}:{number}: super:: leaves {name}; write crate:: so that this test sees it"
                ));
            }
            for word in room.never.iter().filter(|w| contains_word(line, w)) {
                wrong.push(format!(
                    "{path}:{number}: {name} may not name {word}; take it as an argument or leave it out"
                ));
            }
        }
    }
    wrong
}

/// The words that have one home.
fn words(sources: &Sources) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, code) in sources.code() {
        for (line, number) in code.lines().zip(1..) {
            for (word, homes, instead) in HOMES {
                if contains_word(line, word) && !homes.iter().any(|h| path.starts_with(h)) {
                    wrong.push(format!("{path}:{number}: {word} may not stand here; {instead}"));
                }
            }
            for word in NO_WHO
                .1
                .iter()
                .filter(|w| path.starts_with(NO_WHO.0) && contains_word(line, w))
            {
                wrong.push(format!(
                    "{path}:{number}: {word} may not stand here; an answer must not know who asks"
                ));
            }
        }
    }
    wrong
}

fn sizes(sources: &Sources) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in &sources.files {
        let most = if sources.is_test(path) {
            MAX_TEST_LINES
        } else {
            MAX_LINES
        };
        let lines = text.lines().count();
        if lines > most {
            wrong.push(format!(
                "{path}:{lines}: longer than {most} lines; split it where it does two things"
            ));
        }
    }
    wrong
}

/// Column names of SQL files.
fn columns(files: &[(String, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in files {
        for (line, number) in text.lines().zip(1..) {
            let line = line.split("--").next().unwrap_or_default().to_ascii_lowercase();
            // Each column has its line, or stands behind ADD COLUMN; more names than columns do no harm.
            for word in line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                let bad = word
                    .split('_')
                    .any(|p| p == "ip" || NO_COLUMNS.iter().any(|b| p.starts_with(b)));
                if bad {
                    wrong.push(format!(
                        "{path}:{number}: {word} would hold who somebody is; keep a count or nothing"
                    ));
                }
            }
        }
    }
    wrong
}

/// Tables are made where the test above reads them.
fn sql_in_code(sources: &Sources) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in sources.files.iter().filter(|(path, _)| !sources.is_test(path)) {
        for (line, number) in text.lines().zip(1..) {
            let line = line.to_ascii_uppercase();
            if line.contains(concat!("CREATE ", "TABLE")) || line.contains(concat!("ADD ", "COLUMN")) {
                wrong.push(format!(
                    "{path}:{number}: tables are made in migrations; write a .sql file"
                ));
            }
        }
    }
    wrong
}

fn home_paths(files: &[(String, String)]) -> Vec<String> {
    const HOMES: &[&str] = &[
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/ro", "ot/"),
        concat!("C:\\Us", "ers\\"),
    ];
    let mut wrong = Vec::new();
    for (path, text) in files {
        for (line, number) in text.lines().zip(1..) {
            for home in HOMES.iter().filter(|h| line.contains(**h)) {
                wrong.push(format!(
                    "{path}:{number}: {home} is somebody's machine; use a relative path or a variable"
                ));
            }
        }
    }
    wrong
}

/// In Cargo.toml, a comment directly above each line of a table of dependencies.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut in_table, mut above) = (false, "");
    for (line, number) in manifest.lines().zip(1..) {
        if let Some(table) = line.strip_prefix('[') {
            in_table = table.trim_end_matches(']').ends_with("dependencies");
        } else if in_table && line.contains('=') && !line.starts_with('#') && !above.starts_with('#') {
            let name = line.split('=').next().unwrap_or_default().trim();
            wrong.push(format!(
                "Cargo.toml:{number}: {name} has no comment above it; say why it is there"
            ));
        }
        above = line;
    }
    wrong
}

fn may_name(room: &Room, item: &str) -> bool {
    let inside = |whole: &str, part: &str| {
        part == whole || part.strip_prefix(whole).is_some_and(|r| r.starts_with("::"))
    };
    inside(room.name, item)
        || room.may.iter().any(|may| match *may {
            "*" => true,
            "*::Options" => item.split("::").any(|segment| segment == "Options"),
            may => inside(may, item),
        })
}

/// `src/proto/rtp/mod.rs` is in `proto`.
fn room_of(path: &str) -> &str {
    let path = path.trim_start_matches("src/");
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// How many `super::` stay in the room: none in `src/hub/mod.rs`, one in `src/hub/ring.rs`.
fn depth_of(path: &str) -> usize {
    let inner = path
        .trim_start_matches("src/")
        .trim_end_matches(".rs")
        .trim_end_matches("/mod");
    inner.matches('/').count()
}

/// The longest chain of `super::` in the line.
fn supers(line: &str) -> usize {
    (1..)
        .take_while(|n| line.contains(&"super::".repeat(*n)))
        .last()
        .unwrap_or(0)
}
