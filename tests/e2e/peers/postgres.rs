//! A PostgreSQL server of a test's own, as `scripts/postgres` makes them: in a temporary directory, without a TCP port.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The server. Ended when dropped; its data goes with it.
pub struct Postgres {
    dir: tempfile::TempDir,
    /// For `[stats] database`.
    pub address: String,
}

impl Postgres {
    pub fn start() -> Self {
        // The server is not root, and must get to its directory.
        let all = std::fs::Permissions::from_mode(0o755);
        let dir = tempfile::Builder::new().permissions(all).tempdir().unwrap();
        let address = script("start", dir.path());
        Self { dir, address }
    }
    /// The server ends as in a power cut; what it has stored stays.
    pub fn stop(&self) {
        script("stop", self.dir.path());
    }
    pub fn start_again(&self) {
        script("start", self.dir.path());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
        std::fs::remove_file(self.dir.path().with_extension("log")).ok();
    }
}

fn script(what: &str, dir: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
    let output = Command::new(script).arg(what).arg(dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/postgres {what}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
