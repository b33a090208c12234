//! A network of a test's own: the relay, its peers and nobody else share a loopback, so that the usual ports are
//! free, and multicast and captures meet no strangers. Needs root, or user namespaces.

use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use crate::canary;
use crate::canary::Canary;
use crate::link;
use crate::relay::kill;

/// A network namespace with the relay in it. When dropped, what the relay left is searched for traces of viewers.
pub struct Island {
    relay: Child,
    dir: tempfile::TempDir,
}

/// What the relay listens on in there. The configuration's `[rtsp]` goes on where this ends.
const CONFIG: &str = r#"
[rtsps]
listen = "127.0.0.1:8322"
[http]
listen = []
[rtsp]
"#;
/// Datagrams are cut before they are captured, not after.
const UP: &str = "ip link set lo up multicast on gso_max_segs 1 && ip route add 224.0.0.0/4 dev lo && ";

/// Whether the tests may do what they want; else they make themselves a world in which they may.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

impl Island {
    /// Starts the relay in there, on the usual ports, waiting for publishers on these paths. `rtsp` are lines for that
    /// table of its configuration, and tables after it.
    pub fn start(paths: &[&str], rtsp: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("louver.toml");
        std::fs::write(&config, format!("{CONFIG}{rtsp}\n")).unwrap();
        let mut cmd = Command::new("unshare");
        if !is_root() {
            cmd.args(["--user", "--map-root-user"]);
        }
        cmd.args(["--net", "sh", "-c", &format!("{UP} exec \"$@\""), "sh"]);
        cmd.args([env!("CARGO_BIN_EXE_louver"), "run", "--config"])
            .arg(&config);
        cmd.arg("--data-dir").arg(dir.path().join("data"));
        cmd.args(paths.iter().map(|p| format!("{p}=publish:")));
        let log = File::create(dir.path().join("log")).unwrap();
        let mut relay = cmd.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = BufReader::new(relay.stdout.take().unwrap());
        let mut lines = stdout.lines().map_while(Result::ok);
        let island = Self { relay, dir };
        let listens = lines.any(|line| line.starts_with("listening rtsps "));
        assert!(listens, "no relay in a network of its own: {}", island.log());
        // The rest is for administrators; read, so that the relay can go on writing it.
        std::thread::spawn(move || lines.for_each(drop));
        island
    }
    pub fn url(&self, path: &str) -> String {
        format!("rtsp://localhost:8554/{path}")
    }
    /// A command that runs in there.
    pub fn inside(&self, program: &str) -> Command {
        self.enter(&Command::new(program))
    }
    /// The same command in there.
    pub fn enter(&self, cmd: &Command) -> Command {
        enter(self.relay.id(), cmd)
    }
    /// The same for a program that refuses to run as root, made with `peers::vlc::unprivileged`.
    pub fn enter_unprivileged(&self, cmd: &Command) -> Command {
        if is_root() {
            return self.enter(cmd);
        }
        // In here its user is called root; so it gets yet another name.
        let mut renamed = Command::new("unshare");
        renamed
            .args(["--user", "--map-user=65534", "--"])
            .arg(cmd.get_program())
            .args(cmd.get_args());
        take_surroundings(&mut renamed, cmd);
        self.enter(&renamed)
    }
    /// What the relay said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }
    /// Its configuration.
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("louver.toml")
    }
    /// The relay's process, by which its network is known.
    pub fn pid(&self) -> u32 {
        self.relay.id()
    }
    /// Where files of the test may be.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        kill(self.relay.id(), "KILL");
        let _ = self.relay.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the relay\n{}", self.log());
            return;
        }
        let mut seen = canary::files(&self.dir.path().join("data"));
        assert!(!seen.is_empty(), "a relay keeps something");
        seen.push(("the log".to_owned(), self.log().into_bytes()));
        let mut canaries = Canary::always();
        canaries.push(Canary::PlainAddr(link::READERS));
        canary::assert_none(&canaries, &seen);
    }
}

/// The same command with a process's rights over networks, but in ours.
pub fn beside(pid: u32, cmd: &Command) -> Command {
    if is_root() {
        let mut same = Command::new(cmd.get_program());
        same.args(cmd.get_args());
        take_surroundings(&mut same, cmd);
        return same;
    }
    entering(pid, &["--user", "--preserve-credentials"], cmd)
}

/// The same command in the network of a process.
pub fn enter(pid: u32, cmd: &Command) -> Command {
    let user: &[_] = if is_root() {
        &["--net"]
    } else {
        &["--net", "--user", "--preserve-credentials"]
    };
    entering(pid, user, cmd)
}

fn entering(pid: u32, what: &[&str], cmd: &Command) -> Command {
    let mut entered = Command::new("nsenter");
    entered.arg(format!("--target={pid}")).args(what);
    entered.arg(cmd.get_program()).args(cmd.get_args());
    take_surroundings(&mut entered, cmd);
    entered
}

/// Environment and directory.
fn take_surroundings(to: &mut Command, from: &Command) {
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
    if let Some(dir) = from.get_current_dir() {
        to.current_dir(dir);
    }
}
