//! What a relay is started with.

use std::fmt::Write as _;

use crate::relay::basic;

/// What a relay is started with. Everything has a default that suits most tests.
#[derive(Clone, Default)]
pub struct Options {
    /// `[PATH=]SOURCE` arguments; none: one open slot for publishers on any path.
    pub sources: Vec<String>,
    /// More arguments, such as `--lan`.
    pub args: Vec<String>,
    /// More lines for the top of the configuration file.
    pub config: String,
    /// More lines for its `[rtsp]`, and for its `[http]`.
    pub(super) rtsp: String,
    pub(super) http: String,
    /// Log filter; `info` when empty.
    pub log: String,
    /// Whether the log filter is left to the configuration.
    pub log_by_file: bool,
    /// Variables of its environment.
    pub env: Vec<(&'static str, String)>,
    /// `Authorization` of the test's own questions to the API.
    pub(super) authorization: Option<String>,
    /// Listeners to wait for; `rtsp` and `http` when empty.
    pub listeners: Vec<&'static str>,
    /// Its data directory is a disk of its own, of so many KiB.
    pub(super) disk: Option<u32>,
    /// What is done to it (`$0`) before the relay starts.
    pub(super) first: String,
}

impl Options {
    /// A relay with these `[PATH=]SOURCE` arguments.
    pub fn sources(sources: &[&str]) -> Self {
        Self {
            sources: sources.iter().map(|s| (*s).to_owned()).collect(),
            ..Self::default()
        }
    }
    /// A relay that waits for publishers.
    pub fn publish() -> Self {
        Self::sources(&["publish:"])
    }
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }
    pub fn config(mut self, lines: &str) -> Self {
        writeln!(self.config, "{lines}").unwrap();
        self
    }
    pub fn rtsp(mut self, line: &str) -> Self {
        writeln!(self.rtsp, "{line}").unwrap();
        self
    }
    pub fn http(mut self, line: &str) -> Self {
        writeln!(self.http, "{line}").unwrap();
        self
    }
    /// How the test itself gets in where credentials are asked for.
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.authorization = Some(basic(user, password));
        self
    }
    /// With a listener for RTSP in TLS.
    pub fn rtsps(mut self) -> Self {
        self.listeners = vec!["rtsp", "rtsps", "http"];
        self.config("[rtsps]\nlisten = \"127.0.0.1:0\"")
    }
    /// With a data directory that is a small disk: a `tmpfs` that only the relay sees.
    pub fn disk(mut self, kib: u32) -> Self {
        self.disk = Some(kib);
        self
    }
    /// With something done to that disk (`$0`) by `sh` before the relay starts.
    pub fn first(mut self, script: &str) -> Self {
        script.clone_into(&mut self.first);
        self
    }
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }
    pub fn log(mut self, filter: &str) -> Self {
        filter.clone_into(&mut self.log);
        self
    }
}
