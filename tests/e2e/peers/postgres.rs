//! A PostgreSQL server of a test's own, as `scripts/postgres` makes them: in a temporary directory, without a TCP port.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use sqlx::Connection;
use sqlx::postgres::PgConnection;

/// The server. Ended when dropped; its data goes with it.
pub struct Postgres {
    dir: tempfile::TempDir,
    /// For `[stats] database`.
    pub address: String,
}

impl Postgres {
    pub fn start() -> Self {
        Self::with(None)
    }
    /// With a disk of its own of so many KiB ([`Self::small`]), for a tablespace.
    pub fn with_small_disk(kib: u32) -> Self {
        Self::with(Some(kib))
    }
    fn with(small: Option<u32>) -> Self {
        // The server is not root, and must get to its directory.
        let all = std::fs::Permissions::from_mode(0o755);
        let dir = tempfile::Builder::new().permissions(all).tempdir().unwrap();
        let address = script("start", dir.path(), small);
        Self { dir, address }
    }
    /// Where the server sees its small disk.
    pub fn small(&self) -> PathBuf {
        self.dir.path().join("small")
    }
    /// The same directory as others see it.
    pub fn small_from_outside(&self) -> PathBuf {
        let pid = std::fs::read_to_string(self.dir.path().join("data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap();
        PathBuf::from(format!("/proc/{pid}/root{}", self.small().display()))
    }
    /// As its administrator.
    pub fn execute(&self, sql: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let mut db = PgConnection::connect(&self.address).await.unwrap();
            let sql = sqlx::AssertSqlSafe(sql.to_owned());
            sqlx::raw_sql(sql).execute(&mut db).await.unwrap();
        });
    }
    /// The address for a role that was made and has no password.
    pub fn address_of(&self, role: &str) -> String {
        self.address.replacen("//louver@", &format!("//{role}@"), 1)
    }
    /// What the server logged.
    pub fn log(&self) -> Vec<u8> {
        std::fs::read(self.dir.path().join("data/server.log")).unwrap()
    }
    /// The server ends as in a power cut; what it has stored stays.
    pub fn stop(&self) {
        script("stop", self.dir.path(), None);
    }
    pub fn start_again(&self) {
        script("start", self.dir.path(), None);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
        std::fs::remove_file(self.dir.path().with_extension("log")).ok();
    }
}

fn script(what: &str, dir: &Path, small: Option<u32>) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
    let mut script = Command::new(script);
    script.arg(what).arg(dir);
    script.envs(small.map(|kib| ("SMALL", kib.to_string())));
    let output = script.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/postgres {what}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
