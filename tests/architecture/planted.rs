//! Planted violations: each rule must see its own, and nothing else.

use super::text::code_of;
use super::*;

fn sources(files: &[(&str, &str)]) -> Sources {
    Sources::new(
        files
            .iter()
            .map(|(p, t)| ((*p).to_owned(), (*t).to_owned()))
            .collect(),
    )
}

#[track_caller]
fn says(wrong: &[String], starts: &[&str]) {
    assert!(
        wrong.len() == starts.len() && wrong.iter().zip(starts).all(|(w, s)| w.starts_with(s)),
        "expected {starts:#?}, got {wrong:#?}"
    );
}

#[test]
fn an_import_that_is_not_in_the_table() {
    let code = "//! crate::hub in a comment\nuse crate::media::Track;\nuse crate::base::time::Rate;\n\
        fn f() -> &'static str { \"crate::hub // in a string\" }\nuse crate::hub::Path;\n\
        fn g(x: crate::base::clock::SharedClock) {}\nuse crate::base::timekeeper;\n\
        use crate::{media, web};\n";
    says(
        &imports(&sources(&[("src/proto/x.rs", code)])),
        &[
            "src/proto/x.rs:5: proto may not name hub::Path;",
            "src/proto/x.rs:6: proto may not name base::clock::SharedClock;",
            "src/proto/x.rs:7: proto may not name base::timekeeper;",
            "src/proto/x.rs:8: a tree of imports;",
        ],
    );
}

#[test]
fn settings_of_any_room_are_for_config_and_nothing_more_of_it() {
    let code = "use crate::egress::rtsp::Options;\n\
        use crate::web::Options as WebOptions;\nuse crate::web::Site;\n";
    says(
        &imports(&sources(&[("src/config/mod.rs", code)])),
        &["src/config/mod.rs:3: config may not name web::Site;"],
    );
}

#[test]
fn a_room_without_a_rule() {
    says(
        &imports(&sources(&[("src/attic.rs", "")])),
        &["src/attic.rs:1: no rule for attic;"],
    );
}

#[test]
fn super_that_leaves_the_room() {
    let files = [
        ("src/hub/ring.rs", "use super::Hub;\nuse super::super::web;\n"),
        ("src/hub/mod.rs", "pub use self::ring::Ring;\nuse super::web;\n"),
    ];
    says(
        &imports(&sources(&files)),
        &[
            "src/hub/ring.rs:2: super:: leaves hub;",
            "src/hub/mod.rs:2: super:: leaves hub;",
        ],
    );
}

#[test]
fn words_that_a_room_may_not_contain() {
    let proto = "use std::net::TcpStream;\nlet t = Instant::now();\nfn tokio_like() {}\n\
        let f = std::fs::read(p);\ntokio::x();\n";
    let privacy = "tracing::info!(\"x\");\n#[derive(Serialize)]\n";
    let wrong = imports(&sources(&[
        ("src/proto/a.rs", proto),
        ("src/privacy/mod.rs", privacy),
        ("src/hub/a.rs", "x: IpAddr"),
    ]));
    says(
        &wrong,
        &[
            "src/proto/a.rs:1: proto may not name std::net;",
            "src/proto/a.rs:2: proto may not name ::now(;",
            "src/proto/a.rs:4: proto may not name std::fs;",
            "src/proto/a.rs:5: proto may not name tokio;",
            "src/privacy/mod.rs:1: privacy may not name tracing;",
            "src/privacy/mod.rs:2: privacy may not name Serialize;",
            "src/hub/a.rs:1: hub may not name IpAddr;",
        ],
    );
}

#[test]
fn tests_may_do_more_and_only_tests() {
    let ring = "#[cfg(test)]
fn helper() { crate::web::x({ 1 }) }
use crate::web;
#[cfg(test)]
use crate::web;
\
        #[cfg(test)]
mod tests {
    use crate::web;
}
use crate::app;
";
    let parent = "#[cfg(test)]
mod testing;
mod code;
";
    let files = [
        ("src/hub/ring.rs", ring),
        ("src/hub/mod.rs", parent),
        ("src/hub/testing.rs", "use crate::web;"),
        ("src/hub/testing/more.rs", "use crate::web;"),
        ("src/hub/code.rs", "use crate::web;"),
    ];
    let wrong = imports(&sources(&files));
    says(
        &wrong,
        &[
            "src/hub/ring.rs:3: hub may not name web;",
            "src/hub/ring.rs:10: hub may not name app;",
            "src/hub/code.rs:1: hub may not name web;",
        ],
    );
}

#[test]
fn words_away_from_home() {
    let all = "a.expose_to_send();\nb.expose_to_admit();\nuse x::RawViewer;\nunsafe { }\n\
        #[derive(Clone, Serialize)]\n\
        #[derive(serde::Deserialize)]\ntokio::spawn(f);\nstd::thread::spawn(f);\n\
        mpsc::unbounded_channel();\n\
        crossbeam::unbounded();\n#![deny(unsafe_code)]\nself.tasks.spawn(f);\n";
    let words_of = |path| words(&sources(&[(path, all)]));
    let lines = |path| {
        words_of(path)
            .iter()
            .map(|w| w.split(':').nth(1).unwrap().parse().unwrap())
            .collect::<Vec<u8>>()
    };
    assert_eq!(lines("src/hub/x.rs"), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(lines("src/egress/rtsp/udp.rs"), [2, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(lines("src/egress/pictures.rs"), [1, 2, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(lines("src/privacy/door.rs"), [1, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(lines("src/av/sys.rs"), [1, 2, 3, 5, 6, 7, 8, 9, 10]);
    assert_eq!(lines("src/config/shape.rs"), [1, 2, 3, 4, 5, 7, 8, 9, 10]);
    assert_eq!(lines("src/base/tasks.rs"), [1, 2, 3, 4, 5, 6, 9, 10]);
    assert_eq!(lines("src/web/site.rs"), [1, 2, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(lines("src/web/api/mod.rs"), [1, 2, 3, 4, 7, 8, 9, 10]);
    says(
        &words(&sources(&[("src/web/api/x.rs", "peer: PeerAddr")])),
        &["src/web/api/x.rs:1: PeerAddr may not stand here;"],
    );
    assert!(words_of("src/hub/x.rs")[0].ends_with("an address is taken out only to send packets to it"));
}

#[test]
fn a_file_that_is_too_long() {
    let (fits, long) = (
        "
"
        .repeat(MAX_LINES),
        "
"
        .repeat(MAX_LINES + 1),
    );
    let files = [
        ("src/a.rs", fits.as_str()),
        ("src/b.rs", &long),
        (
            "src/c/mod.rs",
            "#[cfg(test)]
mod tests;",
        ),
        ("src/c/tests.rs", &long),
    ];
    says(
        &sizes(&sources(&files)),
        &["src/b.rs:701: longer than 700 lines;"],
    );
}

#[test]
fn a_column_for_who_somebody_is() {
    let sql = "CREATE TABLE s (\n -- the user's ip address\n id INTEGER,\n description TEXT,\n \
        peer_ip BLOB,\n\
        username TEXT,\n userAgent TEXT, last_query TEXT);\nALTER TABLE s ADD COLUMN addr TEXT;\n";
    says(
        &columns(&[("m.sql".to_owned(), sql.to_owned())]),
        &[
            "m.sql:5: peer_ip ",
            "m.sql:6: username ",
            "m.sql:7: useragent ",
            "m.sql:7: last_query ",
            "m.sql:8: addr ",
        ],
    );
    let code = "let q = \"create table x (ip)\";\n";
    says(
        &sql_in_code(&sources(&[("src/analytics/store.rs", code)])),
        &["src/analytics/store.rs:1: tables are made"],
    );
}

#[test]
fn a_path_of_somebodys_machine() {
    let text = format!(
        "fine: ~/x\n{}alice/x\n{}x\n",
        concat!("/ho", "me/"),
        concat!("/ro", "ot/")
    );
    let wrong = home_paths(&[("README.md".to_owned(), text)]);
    says(&wrong, &["README.md:2: ", "README.md:3: "]);
}

#[test]
fn a_dependency_without_a_reason() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# Why.\na = \"1\"\nb = \"2\"\n\n\
        [target.'cfg(unix)'.dependencies]\nc = { version = \"1\" }\n[dev-dependencies]\n\
        # Why.\nd = \"1\"\n\n# far\n\ne = \"1\"\n[lints.rust]\nf = \"deny\"\n";
    says(
        &dependencies(manifest),
        &["Cargo.toml:6: b ", "Cargo.toml:9: c ", "Cargo.toml:16: e "],
    );
}

#[test]
fn strings_and_comments_are_no_code() {
    let text = "a /* unsafe\n */ b // unsafe\n\"un\\\"safe\" 'x' '\\'' \
        r#\"x \" unsafe\"# fn f<'a>(x: &'a u8) {}\nfor_r(\"y\")";
    assert_eq!(
        code_of(text),
        "a  \n b  \n        fn f<'a>(x: &'a u8) {}\nfor_r( )"
    );
}
