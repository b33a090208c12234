//! Chromium without a window: what a person's browser makes of the page.

use std::path::Path;
use std::process::Command;

use crate::peers::output;

/// What distributions call it.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

fn chromium(profile: &Path) -> Command {
    let installed = |name: &&&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(name).exists())
    };
    let name = NAMES
        .iter()
        .find(installed)
        .expect("chromium is installed; scripts/test does it");
    let mut cmd = Command::new(name);
    cmd.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    // A page with a live picture never finishes loading: it is taken after so many milliseconds of its own time,
    // which stands still while it waits for the network.
    cmd.args(["--window-size=1280,900", "--virtual-time-budget=5000"]);
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
