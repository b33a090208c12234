//! Attacks on what Louver does not have. When it gets it, these tests fail and say which attack then has to be written.

use std::process::Command;

/// What the program answers to these words: its exit status, and all that it printed. No relay runs here.
fn louver(words: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_louver"))
        .args(words)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code(), text)
}

#[track_caller]
fn is_absent(words: &[&str], attack: &str) {
    let (status, text) = louver(words);
    assert_eq!(
        status,
        Some(2),
        "louver {} is there now: write {attack}\n{text}",
        words.join(" ")
    );
}

#[test]
fn there_is_no_backup_that_could_bring_back_who_was_erased() {
    let a21 = "A21: a backup is encrypted, has no key or token, and what was erased stays erased after restoring it";
    for words in [["help", "backup"], ["help", "restore"]] {
        is_absent(&words, a21);
    }
}

#[test]
fn there_is_no_bundle_for_support_that_could_hold_secrets() {
    let a30 = "A30: a bundle for support, or a printed configuration, has neither secrets nor addresses";
    for words in [
        &["help", "doctor"][..],
        &["help", "support"],
        &["run", "--print-config"],
        &["check", "--print-config"],
        &["--print-config"],
    ] {
        is_absent(words, a30);
    }
}

#[test]
fn a_command_that_is_there_is_not_taken_for_absent() {
    assert_eq!(louver(&["help", "check"]).0, Some(0));
}
