//! `louver-bench` with few readers and short windows: does every scenario run, and do its counts add up?
//!
//! Not here: how long anything takes, and how much memory; a debug build on a busy machine proves nothing about that.
//! Nor a search for traces of viewers: these readers come from 127.0.0.1 and name no agent, so there is nothing of theirs
//! that could be told from the relay's own.
#![allow(
    clippy::unwrap_used,
    clippy::tests_outside_test_module,
    reason = "a test may panic"
)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// Two seconds of H.264 at 30 frames/s with access unit delimiters, as scripts/bench makes them but smaller.
fn clip() -> &'static PathBuf {
    static CLIP: OnceLock<PathBuf> = OnceLock::new();
    CLIP.get_or_init(|| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench.h264");
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args("-nostdin -v error -y -f lavfi -i testsrc2=size=320x240:rate=30 -t 2".split(' '));
        ffmpeg.args("-pix_fmt yuv420p -c:v libx264 -preset ultrafast -bf 0 -g 30".split(' '));
        ffmpeg.args("-bsf:v h264_metadata=aud=insert -f h264".split(' '));
        let status = ffmpeg.arg(&path).status();
        assert!(status.expect("ffmpeg is installed").success());
        path
    })
}

/// Runs a scenario; its JSON. As in scripts/bench, options after the first `--louver` and `--clip` win.
fn bench(what: &str, options: &str) -> Value {
    let json = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{what}.json"));
    let mut bench = Command::new(env!("CARGO_BIN_EXE_louver-bench"));
    bench.args("--louver none --clip none".split(' '));
    bench.args(["--louver", env!("CARGO_BIN_EXE_louver"), "--what", what]);
    bench.args("--warm-up 0.5 --runs 1".split(' '));
    bench
        .args(options.split(' '))
        .arg("--clip")
        .arg(clip())
        .arg("--json")
        .arg(&json);
    let output = bench.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    report[what].take()
}

/// Asserts that floor and Louver were measured over TCP and UDP, and that nothing was lost.
#[track_caller]
fn nothing_lost(cells: &Value) {
    let cells = cells.as_array().unwrap();
    let who: Vec<_> = cells
        .iter()
        .map(|c| (c["server"].as_str().unwrap(), c["transport"].as_str().unwrap()))
        .collect();
    let all = [
        ("floor", "tcp"),
        ("louver", "tcp"),
        ("floor", "udp"),
        ("louver", "udp"),
    ];
    assert_eq!(who, all);
    for cell in cells {
        let median = &cell["median"];
        assert!(median["packets"].as_f64().unwrap() > 0.0, "{cell}");
        assert_eq!(median["packets_lost"], 0.0, "{cell}");
    }
}

#[test]
fn every_reader_gets_every_packet() {
    let cells = bench("fanout", "--readers 3 --seconds 1");
    nothing_lost(&cells);
    for cell in cells.as_array().unwrap() {
        assert!(
            cell["median"]["cpu_seconds_per_gb"].as_f64().unwrap() > 0.0,
            "{cell}"
        );
        assert!(cell["median"]["cpu_x_floor"].as_f64().unwrap() > 0.0, "{cell}");
        assert_eq!(cell["median"]["readers_dropped"], 0.0, "{cell}");
    }
}

#[test]
fn everybody_who_joins_gets_a_keyframe() {
    let cells = bench("joins", "--audience 2 --join-rate 10 --join-seconds 1");
    nothing_lost(&cells);
    for cell in cells.as_array().unwrap() {
        assert_eq!(cell["median"]["joins"], 10.0, "{cell}");
        assert_eq!(cell["median"]["joins_failed"], 0.0, "{cell}");
    }
}

#[test]
fn who_reads_loses_nothing_to_who_does_not() {
    let cells = bench("slow", "--readers 4 --slow-seconds 1");
    nothing_lost(&cells);
    for cell in cells.as_array().unwrap() {
        assert_eq!(cell["median"]["readers_stuck"], 1.0, "{cell}");
    }
}

#[test]
fn the_statistics_know_of_every_reader() {
    let churn = bench("churn", "--churn-rate 10 --churn-stay 0.5 --churn-seconds 3");
    let louver = &churn[0];
    assert_eq!(louver["server"], "louver");
    assert_eq!(louver["readers_served"], 30, "{louver}");
    assert_eq!(louver["sessions"], 30, "{louver}");
    assert_eq!(louver["figures"]["packets_lost"], 0.0, "{louver}");
}

#[test]
fn a_peer_that_does_not_start_is_told_and_ends_nothing() {
    let options = "--readers 1 --seconds 0.5 --transport tcp --servers louver --peer gone=false";
    let cells = bench("fanout", options);
    assert_eq!(cells[1]["server"], "gone");
    assert!(
        cells[1]["failed"][0].as_str().unwrap().contains("ended at once"),
        "{cells}"
    );
    assert!(cells[0]["median"]["packets"].as_f64().unwrap() > 0.0, "{cells}");
}

#[test]
fn the_help_of_the_script_tells_every_option() {
    let help = Command::new(env!("CARGO_BIN_EXE_louver-bench"))
        .arg("--help")
        .output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    let script = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/bench")).unwrap();
    let options: Vec<_> = help
        .lines()
        .filter_map(|l| l.trim().strip_prefix("--")?.split(' ').next())
        .collect();
    assert!(options.len() > 10, "{help}");
    for option in options {
        assert!(
            script.contains(&format!("--{option}")),
            "--{option} is not in scripts/bench"
        );
    }
}
