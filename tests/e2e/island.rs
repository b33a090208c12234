//! A network of a test's own: the relay, its peers and nobody else share a loopback, so that multicast and
//! captures meet no strangers. Needs root, or user namespaces.

use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::fs::MetadataExt;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use crate::relay::kill;

/// A network namespace with the relay in it.
pub struct Island {
    relay: Child,
    /// `HOST:PORT` of its RTSP listener.
    pub address: String,
    dir: tempfile::TempDir,
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

impl Island {
    /// Starts the relay in there, waiting for publishers on these paths. `rtsp` are lines for that table of its configuration.
    pub fn start(paths: &[&str], rtsp: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("louver.toml");
        let text =
            format!("[rtsp]\nlisten = \"127.0.0.1:0\"\nudp_ports = [0, 0]\n{rtsp}\n[http]\nlisten = []\n");
        std::fs::write(&config, text).unwrap();
        // Datagrams are cut before they are captured, not after.
        let script =
            "ip link set lo up multicast on gso_max_segs 1 && ip route add 224.0.0.0/4 dev lo && exec \"$@\"";
        let mut cmd = Command::new("unshare");
        if !is_root() {
            cmd.args(["--user", "--map-root-user"]);
        }
        cmd.args([
            "--net",
            "sh",
            "-c",
            script,
            "sh",
            env!("CARGO_BIN_EXE_louver"),
            "run",
            "--config",
        ]);
        cmd.arg(&config)
            .arg("--data-dir")
            .arg(dir.path())
            .args(paths.iter().map(|p| format!("{p}=publish:")));
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut relay = cmd.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = BufReader::new(relay.stdout.take().unwrap());
        let mut listening = stdout.lines().map_while(Result::ok);
        let address = listening.find_map(|line| line.strip_prefix("listening rtsp ").map(str::to_owned));
        let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
        Self {
            address: address.unwrap_or_else(|| panic!("no relay in a network of its own: {}", log())),
            relay,
            dir,
        }
    }
    pub fn url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.address)
    }
    /// A command that runs in there.
    pub fn inside(&self, program: &str) -> Command {
        let mut cmd = Command::new("nsenter");
        cmd.arg(format!("--target={}", self.relay.id())).arg("--net");
        if !is_root() {
            cmd.args(["--user", "--preserve-credentials"]);
        }
        cmd.arg(program);
        cmd
    }
    /// Where files of the test may be.
    pub fn scratch(&self) -> &std::path::Path {
        self.dir.path()
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        kill(self.relay.id(), "KILL");
        let _ = self.relay.wait();
    }
}
