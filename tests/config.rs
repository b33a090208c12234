//! The configuration file and the command line as users meet them: texts, exit statuses, the sample.
//!
//! Error texts are golden files in `tests/golden/config`; `UPDATE_GOLDEN=1 cargo test --test config` rewrites
//! them, and git shows what moved.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use louver::config;
use louver::config::Config;
use louver::config::credentials::User;

const SAMPLE: &str = include_str!("../config/louver.toml");

#[test]
fn the_sample_equals_the_defaults() {
    assert_eq!(config::parse("louver.toml", SAMPLE).unwrap(), Config::default());
}

#[test]
fn the_examples_in_the_sample_are_right_too() {
    let uncommented: String = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(example) if !example.is_empty() && !example.starts_with(' ') => format!("{example}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = config::parse("louver.toml", &uncommented).unwrap();
    assert_eq!(config.paths.len(), 4);
    assert_eq!(config.auth.users.len(), 1);
    assert!(config.data_dir.is_some());
}

/// Serde lists what it expected; that list is compared with the sample, so no key can be forgotten.
#[test]
fn every_key_that_is_understood_occurs_in_the_sample() {
    let tables = expected("zzz = 1");
    assert!(tables.len() >= 8, "{tables:?}");
    for table in tables {
        let (header, keys) = match table.as_str() {
            "paths" => ("[paths.door]".to_owned(), expected("[paths.x]\nzzz = 1")),
            other => (format!("[{other}]"), expected(&format!("[{other}]\nzzz = 1"))),
        };
        let text = section(&header);
        for key in keys {
            let found = text.lines().any(|l| {
                let l = l.trim_start_matches('#');
                l.starts_with(&format!("{key} = ")) || l == format!("[[{table}.{key}]]")
            });
            let found = found || SAMPLE.contains(&format!("\n[{table}.{key}]\n"));
            assert!(found, "{key} of {header} is not in the sample");
        }
    }
    let text = section("[auth]");
    for key in expected("[[auth.users]]\nzzz = 1") {
        assert!(
            text.contains(&format!("#{key} = ")),
            "{key} of [[auth.users]] is not in the sample"
        );
    }
}

/// The names that the parser says it expected.
fn expected(text: &str) -> Vec<String> {
    let error = config::parse("f", text).expect_err("zzz is no key").to_string();
    let (_, list) = error.split_once("expected ").unwrap_or_else(|| panic!("{error}"));
    let list = list.lines().next().unwrap_or("");
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A table of the sample with what belongs to it.
fn section(header: &str) -> &'static str {
    let begin = |line: String| SAMPLE.find(&line).map(|at| at + 1);
    let start = begin(format!("\n{header}\n")).or_else(|| begin(format!("\n#{header}\n")));
    let start = start.unwrap_or_else(|| panic!("{header} is not in the sample"));
    let text = &SAMPLE[start..];
    let end = text[1..].find("\n\n\n").map_or(text.len(), |e| e + 1);
    &text[..end]
}

/// Name of the golden file, and a file with mistakes.
const MISTAKES: [(&str, &str); 40] = [
    ("not_toml", "[rtsp\nlisten = 1\n"),
    ("unknown_table", "[rtps]\nlisten = \"127.0.0.1:1\"\n"),
    (
        "unknown_key",
        "[rtsp]\nlisten = \"127.0.0.1:1\"\nsession_timeuot = \"60s\"\n",
    ),
    ("wrong_type", "[limits]\nsessions = \"many\"\n"),
    ("wrong_type_bool", "[publish]\nallow = 1\n"),
    ("wrong_type_table", "rtsp = 8554\n"),
    ("wrong_type_list", "[http]\nlisten = 8080\n"),
    (
        "listen_without_port",
        "[rtsp]\nlisten = \"127.0.0.1\"\n\n[http]\nlisten = [\"127.0.0.1:1\", \":8080\"]\n",
    ),
    ("port_clash", "[rtsp]\nlisten = [\"127.0.0.1:8080\"]\n"),
    (
        "port_clash_any",
        "[rtsp]\nlisten = \"0.0.0.0:80\"\n[http]\nlisten = \"127.0.0.1:80\"\n",
    ),
    (
        "port_clash_rtsps",
        "[rtsps]\nlisten = [\"127.0.0.1:8322\", \"127.0.0.1:8554\"]\n",
    ),
    (
        "tls_half",
        "[rtsps]\nlisten = \"[::1]\"\n[tls]\ncertificate = \"cert.pem\"\n",
    ),
    ("udp_ports_odd", "[rtsp]\nudp_ports = [8001, 8002]\n"),
    ("udp_ports_apart", "[rtsp]\nudp_ports = [8000, 8002]\n"),
    ("udp_ports_large", "[rtsp]\nudp_ports = [70000, 70001]\n"),
    (
        "durations",
        "[rtsp]\nsession_timeout = \"60\"\nwrite_timeout = \"2h\"\n[hub]\nring_time = \"200ms\"\n",
    ),
    ("sizes", "[hub]\nring_size = \"16M\"\n"),
    (
        "size_range",
        "[hub]\nring_size = \"2GiB\"\n[limits]\nsessions = 0\nannounce_size = \"1MiB\"\ntracks = 17\n",
    ),
    (
        "path_name",
        "[paths.\"front door\"]\nsource = \"webcam:\"\n[paths.\"a//b\"]\nsource = \"webcam:\"\n",
    ),
    (
        "path_twice",
        "[paths.door]\nsource = \"webcam:\"\n[paths.Door]\nsource = \"publish:\"\n",
    ),
    (
        "path_twice_exactly",
        "[paths.door]\nsource = \"webcam:\"\n[paths.door]\nsource = \"publish:\"\n",
    ),
    (
        "path_source",
        "[paths.a]\n[paths.b]\nsource = \"bogus://anna:hunter2@cam/1\"\n",
    ),
    (
        "path_options",
        "[paths.a]\nsource = \"rtsp://cam/1\"\ntransport = \"carrier\"\nsilence = \"never\"\n\
         retry_max = \"1ms\"\n[paths.b]\nsource = \"webcam:\"\non_demand = true\n\
         [paths.c]\nsource = \"rtsp://cam/1\"\npassword = \"hunter2\"\n",
    ),
    (
        "auth",
        "[auth]\nrequired = \"never\"\n[[auth.users]]\nname = \"a:b\"\nha1_md5 = \"hunter2\"\n\
         ha1_sha256 = \"00\"\n[[auth.users]]\nname = \"anna\"\n",
    ),
    (
        "multicast",
        "[rtsp]\nmulticast = \"224.0.0.0/24\"\nmulticast_port = 8001\nmulticast_ttl = 0\n",
    ),
    (
        "rules",
        "[publish]\nusers = [\"eve\"]\n[paths.a]\nsource = \"publish:\"\nread = [\"anna\", \"bob\"]\n\
         [[auth.users]]\nname = \"anna\"\nha1_md5 = \"ce3f452e65e24c137bd0167a86ad4f0a\"\n\
         ha1_sha256 = \"02fb644b3609611d64f5ad472b67339ad827b740d4e09e8e48594b0119ec8452\"\n",
    ),
    (
        "redirect",
        "[publish]\nkeep_readers = \"2h\"\n[paths.a]\nsource = \"redirect:rtsp://anna:hunter2@cam/1\"\n",
    ),
    (
        "backchannel",
        "[paths.a]\nsource = \"publish:\"\nbackchannel = true\n[paths.\"A/Backchannel\"]\nsource = \"publish:\"\n",
    ),
    ("time_zone", "[privacy]\ntime_zone = \"Europe/Atlantis\"\nk = 0\n"),
    ("log_filter", "[log]\nfilter = \"louver=loud\"\n"),
    (
        "privacy_words",
        "[privacy]\nlevel = \"all\"\nconsent = \"no\"\nmask = \"none\"\ncountries = \"\"\n",
    ),
    (
        "privacy_together",
        "[privacy]\nconsent = \"off\"\nlevel = \"identified\"\ncountries = \"countries.mmdb\"\n\
         [paths.\"nostats/a\"]\nsource = \"publish:\"\n",
    ),
    (
        "proxies",
        "[rtsp]\nproxy_protocol = true\n[http]\nproxy_protocol = true\n\
         [privacy]\ntrusted_proxies = [\"0.0.0.0/0\", \"::/0\", \"2000::/3\", \"10.0.0.1/8\", \"anna\"]\n",
    ),
    (
        "proxies_mapped",
        "[privacy]\ntrusted_proxies = [\"::ffff:0.0.0.0/97\", \"::ffff:128.0.0.0/97\"]\n",
    ),
    (
        "proxies_together",
        "[privacy]\ntrusted_proxies = [\"10.0.0.0/8\", \"2002::/17\", \"2002:8000::/17\"]\n",
    ),
    ("proxies_none", "[rtsps]\nproxy_protocol = true\n"),
    (
        "retention",
        "[privacy.retention]\nsessions_days = 32\nhours_days = 1\ndays_months = 26\nyears = 2\n",
    ),
    (
        "retention_bounds",
        "[privacy.retention]\nsessions_days = 32\nhours_days = 1\ndays_months = 26\n",
    ),
    (
        "database",
        "[stats]\ndatabase = \"mysql://louver:secret@db.example/louver\"\n",
    ),
    ("data_dir", "[data]\ndir = \"\"\n"),
];

#[test]
fn mistakes_are_told_with_line_and_what_was_expected() {
    let mut differ = Vec::new();
    for (name, text) in MISTAKES {
        let error = config::parse("louver.toml", text).expect_err(name).to_string();
        assert!(
            error.contains("expected") || error.contains("there are"),
            "{name}: {error}"
        );
        assert!(!error.contains("hunter2"), "{name}: {error}");
        differ.extend(golden(name, &(error + "\n")));
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn a_secret_of_the_wrong_shape_is_not_repeated() {
    for text in [
        "[auth]\nusers = \"hunter2\"\n",
        "[[auth.users]]\nha1_md5 = [\"hunter2\"]\n",
        "[[auth.users]]\nha1_md5 = \"hunter2\\q\"\n",
        "[paths]\ndoor = \"rtsp://anna:hunter2@cam/\"\n",
        "[auth]\npassword = \"hunter2\"\n",
    ] {
        let error = config::parse("f", text).unwrap_err().to_string();
        assert!(error.starts_with("f:"), "{error}");
        if !text.contains("users = ") {
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}

#[test]
fn check_ends_with_0_or_2_and_names_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good.toml");
    let bad = dir.path().join("bad.toml");
    fs::write(&good, SAMPLE).unwrap();
    fs::write(&bad, "[rtsp]\n\nlisten = 8554\n").unwrap();
    let out = louver(&["check", "--config", path(&good)]);
    assert_eq!(status(&out), 0, "{out:?}");
    let out = louver(&["check", "--config", path(&bad)]);
    assert_eq!(status(&out), 2, "{out:?}");
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(text.starts_with(&format!("{}:3: ", path(&bad))), "{text}");
    assert!(out.stdout.is_empty());
    let out = louver(&["check", "--config", path(&dir.path().join("none.toml"))]);
    assert_eq!(status(&out), 2, "{out:?}");
}

#[test]
fn the_users_own_configuration_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let check = |text: Option<&str>| {
        fs::create_dir_all(dir.path().join("louver")).unwrap();
        if let Some(text) = text {
            fs::write(dir.path().join("louver/louver.toml"), text).unwrap();
        }
        let out = Command::new(env!("CARGO_BIN_EXE_louver"))
            .arg("check")
            .env("XDG_CONFIG_HOME", dir.path())
            .output()
            .unwrap();
        status(&out)
    };
    if cfg!(target_os = "linux") {
        assert_eq!(check(None), 0);
        assert_eq!(check(Some("oops")), 2);
    }
}

#[test]
fn help_and_version_go_to_stdout_with_status_0() {
    let out = louver(&["--version"]);
    assert_eq!(status(&out), 0);
    assert_eq!(
        String::from_utf8_lossy(&out.stdout),
        format!("louver {}\n", env!("CARGO_PKG_VERSION"))
    );
    let out = louver(&["--help"]);
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(status(&out), 0);
    for word in [
        "Examples:",
        "--lan",
        "--config",
        "--data-dir",
        "devices",
        "formats",
        "stats",
        "check",
        "completions",
        "SOURCE",
    ] {
        assert!(text.contains(word), "{word} is not in the help:\n{text}");
    }
    for kind in [
        "webcam:",
        "pattern:",
        "publish:",
        "file:",
        "redirect:",
        "rtsp://",
        "srt://",
        "udp://",
    ] {
        assert!(
            text.contains(kind),
            "sources of the kind {kind} are not in the help:\n{text}"
        );
    }
    for command in [
        &["--help"][..],
        &["stats", "--help"],
        &["privacy", "anonymize-past", "--help"],
    ] {
        let text = louver(command).stdout;
        let text = String::from_utf8_lossy(&text);
        let wide = text.lines().find(|line| line.chars().count() > 100);
        assert_eq!(wide, None, "{command:?}");
    }
}

#[test]
fn bad_usage_ends_with_2_on_stderr_alone() {
    for words in [
        &["--no-such-option"][..],
        &["devics"],
        &["run", "door=camera:"],
        &["a b=pattern:"],
        &["x=pattern:", "x=pattern:"],
        &["--config"],
        &["--config", "/no/such/file.toml"],
        &["--log", "louver=loud", "pattern:"],
        &["--lan", "check"],
        &["--data-dir", "/tmp", "devices"],
        &["check", "surplus"],
        &["stats", "--since", "yesterday"],
        &["stats", "--since", "1h", "--until", "2h"],
        &["completions", "tcsh"],
    ] {
        let out = louver(words);
        assert_eq!(status(&out), 2, "{words:?}: {out:?}");
        assert!(
            out.stdout.is_empty() && !out.stderr.is_empty(),
            "{words:?}: {out:?}"
        );
    }
}

/// Whoever repairs the cause and starts again must be shown a password.
#[test]
fn a_start_that_fails_leaves_no_password_that_nobody_saw() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "[auth]\nrequired = \"always\"\n[rtsp]\nlisten = \"127.0.0.1:0\"\nudp_ports = []\n\
         [http]\nlisten = \"{}\"\n[data]\ndir = \"data\"\n[paths.x]\nsource = \"publish:\"\n",
        taken.local_addr().unwrap()
    );
    let file = dir.path().join("louver.toml");
    fs::write(&file, text).unwrap();
    let out = louver(&["--config", path(&file)]);
    assert_eq!(status(&out), 1, "{out:?}");
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(
        text.contains("[http] listen") && !text.contains("password"),
        "{text}"
    );
    assert!(dir.path().join("data").is_dir());
    assert!(!dir.path().join("data/credentials.toml").exists());
}

/// As an operator does it: with a file of their own, its comments and its order.
#[test]
fn users_are_added_listed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("louver.toml");
    let before = "# Mine.\n[http]\nlisten = [] # none\n\n[privacy]\nk = 6\n";
    fs::write(&file, before).unwrap();
    let user = |words: &[&str], stdin: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_louver"));
        child.arg("user").args(words).args(["--config", path(&file)]);
        child
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    };
    for (name, password) in [("anna", "hunter2"), ("bob", "hunter3"), ("anna", "hunter4")] {
        let out = user(&["add", name], &format!("{password}\n"));
        assert_eq!(status(&out), 0, "{out:?}");
        assert!(out.stdout.is_empty());
    }
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with(before) && !text.contains("hunter"), "{text}");
    let users = config::load(&file).unwrap().auth.users;
    let anna = User::new("anna", "Louver", "hunter4");
    assert!(users.contains(&anna), "the newer password counts");
    let listed = user(&["list"], "").stdout;
    assert_eq!(String::from_utf8(listed).unwrap(), "bob\nanna\n");
    assert_eq!(status(&user(&["remove", "bob"], "")), 0);
    assert_eq!(status(&user(&["remove", "anna"], "")), 0);
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), before.trim());
    assert_eq!(status(&user(&["remove", "anna"], "")), 2);
    assert_eq!(status(&user(&["add", "a:b"], "x\n")), 2);
    assert_eq!(status(&user(&["add", "anna"], "\n")), 2);
    // A user who is named in a rule stays, and the rule's line is told.
    fs::write(&file, "[paths.a]\nsource = \"publish:\"\nread = [\"eve\"]\n").unwrap();
    let out = user(&["add", "anna"], "x\n");
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("louver.toml:3: "),
        "{out:?}"
    );
}

#[test]
fn without_data_stats_say_where_they_would_come_from() {
    let dir = tempfile::tempdir().unwrap();
    let out = louver(&["stats", "--json", "--data-dir", path(dir.path())]);
    assert_eq!(status(&out), 1, "{out:?}");
    assert!(out.stdout.is_empty(), "{out:?}");
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("--data-dir"),
        "{out:?}"
    );
}

#[test]
fn devices_and_formats_print_their_result_on_stdout() {
    for words in [["devices", "--json"], ["formats", "--json"]] {
        let out = louver(&words);
        assert_eq!(status(&out), 0, "{out:?}");
        let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert!(value.is_object(), "{value}");
    }
    assert_eq!(status(&louver(&["devices"])), 0);
    let out = louver(&["formats"]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("H.264"), "{out:?}");
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let out = louver(&["completions", shell]);
        assert_eq!(status(&out), 0, "{shell}");
        assert!(
            String::from_utf8_lossy(&out.stdout).contains("data-dir"),
            "{shell}"
        );
    }
}

/// The real program, away from the configuration and data of whoever runs the tests. Nobody ever watches it here, so
/// there are no traces of viewers to search for.
fn louver(words: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("there is room for temporary files");
    Command::new(env!("CARGO_BIN_EXE_louver"))
        .args(words)
        .env("HOME", home.path())
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_DATA_HOME")
        .env_remove("RUST_LOG")
        .output()
        .expect("the program starts")
}

fn status(out: &Output) -> i32 {
    out.status.code().expect("no signal ended it")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

/// Compares with `tests/golden/config/NAME.txt`; tells what differs.
fn golden(name: &str, got: &str) -> Option<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/config")
        .join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, got).expect("the golden file can be written");
    }
    let want = fs::read_to_string(&file).unwrap_or_default();
    (want != got).then(|| format!("{name}.txt differs\n--- want\n{want}--- got\n{got}"))
}
