//! Real programs that publish to the relay and read from it. Each file says what its program can and cannot do.

pub mod chromium;
pub mod ffmpeg;
pub mod gstreamer;
pub mod postgres;
pub mod retina;
pub mod vlc;

use std::fmt;
use std::fs::File;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use tempfile::NamedTempFile;

use crate::relay::DEADLINE;
use crate::relay::kill;

/// How RTP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
    /// RTSP in HTTP. ffmpeg reads so; GStreamer reads and publishes.
    Http,
    /// The same in TLS, for ffmpeg.
    Https,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// A program that runs beside the test. Killed when dropped.
pub struct Peer {
    pub child: Child,
    name: String,
    log: NamedTempFile,
}

impl Peer {
    /// Starts it with its messages going to a file and nothing to read.
    pub fn spawn(name: &str, cmd: &mut Command) -> Self {
        Self::spawn_with(name, cmd, Stdio::null())
    }
    /// Starts it with an input.
    pub fn spawn_with(name: &str, cmd: &mut Command, stdin: impl Into<Stdio>) -> Self {
        let log = NamedTempFile::new().unwrap();
        let err = File::options().append(true).open(log.path()).unwrap();
        let child = cmd.stdin(stdin).stderr(err).spawn();
        let child =
            child.unwrap_or_else(|e| panic!("{name} cannot be started ({e}); scripts/test installs it"));
        Self {
            child,
            name: name.to_owned(),
            log,
        }
    }
    /// What it said so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log.path()).unwrap()).into_owned()
    }
    /// Asks it to end, as Ctrl-C does, so that it says good-bye to the relay.
    pub fn interrupt(mut self) {
        kill(self.child.id(), "INT");
        self.wait(DEADLINE);
    }
    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < until,
                "{} did not end in {within:?}: {}",
                self.name,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    /// Waits until it ends by itself, which must be well and without a word.
    #[track_caller]
    pub fn wait_silent(mut self) {
        let status = self.wait(DEADLINE);
        let log = self.log();
        // ffmpeg tries UDP ports by chance and says so when another has one; it then takes the next.
        let mut lines = log
            .lines()
            .filter(|l| !l.ends_with("bind failed: Address already in use"));
        assert!(
            status.success() && lines.all(|l| l.trim().is_empty()),
            "{}: {status}: {log}",
            self.name
        );
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- {} said\n{}", self.name, self.log());
        }
    }
}

/// Runs a command to its end within the deadline and returns its stdout; it must succeed.
#[track_caller]
pub fn output(name: &str, cmd: &mut Command) -> Vec<u8> {
    let out = NamedTempFile::new().unwrap();
    let mut peer = Peer::spawn(name, cmd.stdout(File::create(out.path()).unwrap()));
    let status = peer.wait(DEADLINE);
    assert!(status.success(), "{name}: {status}: {}", peer.log());
    std::fs::read(out.path()).unwrap()
}
