//! The program under test: started on port 0, awaited by its `listening` lines, killed by its pid.
//!
//! Not here: the peers that talk to it (`peers`, `http`, `rtsp`).

mod asks;
mod options;

use std::collections::HashMap;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::canary;
use crate::canary::Canary;
use crate::http;
use crate::island::is_root;
pub use options::Options;

/// How long anything may take on a busy machine before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// The real binary, on ports the system chose. Killed when dropped; its data directory goes with it.
pub struct Relay {
    child: Option<Child>,
    options: Options,
    addrs: HashMap<String, SocketAddr>,
    dir: tempfile::TempDir,
    canaries: Vec<Canary>,
    /// Whether the end was searched for traces.
    searched: bool,
}

/// Every listener on a port that the system chooses.
const PORT_ZERO: &str = r#"
[rtsp]
listen = "127.0.0.1:0"
udp_ports = [0, 0]
"#;

/// A configuration with the listeners that tests have.
fn whole(config: &str, options: &Options) -> String {
    let Options { http, rtsp, .. } = options;
    format!("{config}\n[http]\nlisten = \"127.0.0.1:0\"\n{http}{PORT_ZERO}{rtsp}")
}

/// What the log says after SIGHUP.
const READ_AGAIN: &str = "The configuration was read again.";
const NOT_TAKEN: &str = "The configuration was not taken over";

/// The `louver` binary that cargo built for this test run.
pub fn louver() -> Command {
    Command::new(env!("CARGO_BIN_EXE_louver"))
}

impl Relay {
    /// Starts the relay and waits until every listener is bound.
    pub fn start(options: Options) -> Self {
        let dir = tempfile::Builder::new().prefix("louver-e2e-").tempdir().unwrap();
        let config = whole(&options.config, &options);
        std::fs::write(dir.path().join("louver.toml"), config).unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let mut relay = Self {
            child: None,
            options,
            addrs: HashMap::new(),
            dir,
            canaries: Canary::always(),
            searched: false,
        };
        relay.restart();
        relay
    }
    /// The command that starts this relay, without its outputs.
    pub fn command(&self) -> Command {
        let mut cmd = self.program();
        let log = if self.options.log.is_empty() {
            "info"
        } else {
            &self.options.log
        };
        cmd.arg("run").arg("--config").arg(self.config_file());
        cmd.arg("--data-dir").arg(self.data_dir());
        if !self.options.log_by_file {
            cmd.args(["--log", log]);
        }
        cmd.envs(self.options.env.iter().map(|(k, v)| (*k, v)));
        cmd.args(&self.options.args)
            .args(&self.options.sources)
            .stdin(Stdio::null());
        cmd
    }
    /// The program, with a disk of its own where the test asked for one.
    fn program(&self) -> Command {
        let Some(kib) = self.options.disk else {
            return louver();
        };
        let mut cmd = Command::new("unshare");
        if !is_root() {
            cmd.args(["--user", "--map-root-user"]);
        }
        let mount = format!("mount -t tmpfs -o size={kib}k,mode=700 none \"$0\" || exit");
        let mount = format!("{mount}\n{}\nexec \"$@\"", self.options.first);
        cmd.args(["--mount", "sh", "-c", &mount]).arg(self.data_dir());
        cmd.arg(louver().get_program());
        cmd
    }
    /// The data directory of the running program, as others see it.
    pub fn disk(&self) -> PathBuf {
        match self.options.disk {
            Some(_) => PathBuf::from(format!("/proc/{}/root{}", self.pid(), self.data_dir().display())),
            None => self.data_dir(),
        }
    }
    /// Starts the program again on the same data directory (and new ports).
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the relay still runs");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .unwrap();
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("start louver");
        let out = child.stdout.take().unwrap();
        self.child = Some(child);
        let names: Vec<&str> = if self.options.listeners.is_empty() {
            vec!["rtsp", "http"]
        } else {
            self.options.listeners.clone()
        };
        self.addrs = listening(out, &names).unwrap_or_else(|seen| {
            panic!("waited for {names:?}, got {seen:?}\n--- log\n{}", self.log());
        });
    }
    /// Where a listener is bound.
    pub fn addr(&self, name: &str) -> SocketAddr {
        *self
            .addrs
            .get(name)
            .unwrap_or_else(|| panic!("no listener {name}: {:?}", self.addrs))
    }
    /// `rtsp://localhost:PORT/PATH`.
    pub fn rtsp(&self, path: &str) -> String {
        format!("rtsp://localhost:{}/{path}", self.addr("rtsp").port())
    }
    /// `rtsps://localhost:PORT/PATH`.
    pub fn rtsps(&self, path: &str) -> String {
        format!("rtsps://localhost:{}/{path}", self.addr("rtsps").port())
    }
    /// `http://localhost:PORT/PATH`.
    pub fn http(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.addr("http").port())
    }
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the relay runs").id()
    }
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("louver.toml")
    }
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }
    /// A directory that goes with the relay, for what a test writes.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }
    fn log_file(&self) -> PathBuf {
        self.dir.path().join("louver.log")
    }
    /// Everything logged so far, over all restarts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_file()).unwrap()).into_owned()
    }
    /// Adds what the privacy scan at the end looks for.
    pub fn expect_no_trace_of(&mut self, canary: Canary) {
        self.canaries.push(canary);
    }
    /// The test's own credentials from now on.
    pub fn login_as(&mut self, user: &str, password: &str) {
        self.options.authorization = Some(basic(user, password));
    }
    /// Writes another configuration with the same listeners.
    pub fn rewrite(&self, config: &str) {
        let text = whole(config, &self.options);
        std::fs::write(self.config_file(), text).unwrap();
    }
    /// Writes another configuration with the same listeners, sends SIGHUP, and waits until it was read.
    pub fn reconfigure(&self, config: &str) {
        let read = |log: &str| log.matches(READ_AGAIN).count() + log.matches(NOT_TAKEN).count();
        let before = read(&self.log());
        self.rewrite(config);
        self.signal("HUP");
        eventually("the configuration is read", || {
            (read(&self.log()) > before).then_some(())
        });
    }
    /// Sends a signal, as an administrator would.
    pub fn signal(&self, signal: &str) {
        kill(self.pid(), signal);
    }
    /// Waits for the program to end by itself.
    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.as_mut().expect("the relay runs").try_wait().unwrap() {
                self.child = None;
                return Some(status);
            }
            if Instant::now() > until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    /// As a power cut does: no warning, no clean-up.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("the relay runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    /// Ends the program, which must be clean and quick; then searches everything it left for what it must not know.
    /// Returns the log.
    #[track_caller]
    pub fn stop(mut self) -> String {
        let mut seen = vec![];
        if self.child.is_some() {
            seen = self.answers();
            if self.options.disk.is_some() {
                seen.extend(self.left_behind()); // the disk goes with the program
            }
            self.signal("TERM");
            let status = self.wait(Duration::from_secs(5));
            let status = status.unwrap_or_else(|| panic!("SIGTERM did not end it in 5 s\n{}", self.log()));
            assert!(status.success(), "louver ended with {status}\n{}", self.log());
        }
        seen.extend(self.left_behind());
        self.searched = true;
        self.assert_no_canary(&seen);
        let log = self.log();
        assert!(!log.contains("panicked at"), "a task panicked:\n{log}");
        log
    }
    /// Searches the log and all files as they are now.
    #[track_caller]
    pub fn assert_no_trace(&self) {
        self.assert_no_canary(&self.left_behind());
    }
    #[track_caller]
    fn assert_no_canary(&self, seen: &[(String, Vec<u8>)]) {
        canary::assert_none(&self.canaries, seen);
    }
    /// Starts the log anew: what was told to the administrator on purpose is not searched.
    pub fn forget_log(&self) {
        std::fs::write(self.log_file(), "").unwrap();
    }
    /// What the running program tells to whoever asks.
    fn answers(&self) -> Vec<(String, Vec<u8>)> {
        let pages = ["/", "/api/v1/paths", "/api/v1/stats", "/metrics", "/healthz"];
        let mut seen: Vec<_> = pages
            .iter()
            .map(|p| ((*p).to_owned(), http::get(self.addr("http"), p).body))
            .collect();
        seen.push(("louver stats".to_owned(), self.stats().to_string().into_bytes()));
        seen
    }
    /// The log and every file of the data directory.
    fn left_behind(&self) -> Vec<(String, Vec<u8>)> {
        let data = match self.child {
            Some(_) => self.disk(),
            None => self.data_dir(),
        };
        let mut seen = canary::files(&data);
        seen.push(("the log".to_owned(), self.log().into_bytes()));
        seen
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the relay\n{}", self.log());
        } else if !self.searched {
            // A test that forgot to look for traces, or ended its relay in a way of its own.
            self.assert_no_trace();
        }
    }
}

/// An `Authorization` header.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Sends a signal to one process.
pub fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .arg(format!("-{signal}"))
        .arg(pid.to_string())
        .status();
    assert!(status.expect("run kill").success(), "kill -{signal} {pid}");
}

/// Reads `listening NAME ADDR` lines until all the names are there; goes on draining the pipe afterwards.
fn listening(
    out: impl std::io::Read + Send + 'static,
    names: &[&str],
) -> Result<HashMap<String, SocketAddr>, Vec<String>> {
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            tx.send(line).ok();
        }
    });
    let (mut addrs, mut seen) = (HashMap::new(), vec![]);
    let until = Instant::now() + DEADLINE;
    while !names.iter().all(|n| addrs.contains_key(*n)) {
        let Ok(line) = rx.recv_timeout(until.saturating_duration_since(Instant::now())) else {
            return Err(seen);
        };
        if let Some((name, addr)) = line.strip_prefix("listening ").and_then(|l| l.split_once(' ')) {
            addrs.insert(
                name.to_owned(),
                addr.parse().unwrap_or_else(|e| panic!("{line:?}: {e}")),
            );
        }
        seen.push(line);
    }
    Ok(addrs)
}

/// Asks again until there is an answer; gives up after [`DEADLINE`].
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
