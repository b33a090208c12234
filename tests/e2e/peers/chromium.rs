//! Chromium without a window: what a person's browser makes of the page.

use std::path::Path;
use std::process::Command;

use crate::peers::output;

fn chromium(profile: &Path) -> Command {
    let mut cmd = Command::new("chromium");
    // A page with a live MJPEG picture never finishes loading: `--timeout` takes it as it is then.
    cmd.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    cmd.args(["--window-size=1280,900", "--timeout=6000"]);
    cmd.arg(format!("--user-data-dir={}", profile.display()));
    cmd
}

/// The page's document after its scripts ran.
#[track_caller]
pub fn dom(url: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let out = output("chromium", chromium(profile.path()).args(["--dump-dom", url]));
    String::from_utf8(out).unwrap()
}

/// A picture of the page, as PNG.
#[track_caller]
pub fn screenshot(url: &str) -> Vec<u8> {
    let profile = tempfile::tempdir().unwrap();
    let png = profile.path().join("page.png");
    output(
        "chromium",
        chromium(profile.path())
            .arg(format!("--screenshot={}", png.display()))
            .arg(url),
    );
    std::fs::read(png).expect("chromium wrote a screenshot")
}
