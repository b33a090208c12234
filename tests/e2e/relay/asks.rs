//! What a running relay tells: its API, its metrics, `louver stats`.

use std::net::Ipv4Addr;
use std::process::Command;

use serde_json::Value;

use crate::http;
use crate::island::is_root;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::relay::louver;

impl Relay {
    fn get(&self, path: &str) -> http::Answer {
        let authorization = self
            .options
            .authorization
            .as_deref()
            .map(|a| ("Authorization", a));
        let to = (Ipv4Addr::LOCALHOST, self.addr("http").port()).into();
        http::request(http::LOCAL, to, "GET", path, authorization.as_slice())
    }
    /// An answer of the API, as JSON.
    pub fn api(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{path}: {e}: {}", answer.text()))
    }
    /// What `louver stats --json` says, beside the running relay or after it.
    pub fn stats(&self) -> Value {
        self.stats_with(&[])
    }
    /// The same for a range.
    pub fn stats_between(&self, since: &str, until: &str) -> Value {
        self.stats_with(&["--since", since, "--until", until])
    }
    fn stats_with(&self, args: &[&str]) -> Value {
        let mut cmd = louver();
        if self.options.disk.is_some() {
            cmd = Command::new("nsenter");
            let user: &[_] = if is_root() {
                &[]
            } else {
                &["--user", "--preserve-credentials"]
            };
            cmd.arg(format!("--target={}", self.pid()))
                .arg("--mount")
                .args(user);
            cmd.arg(louver().get_program());
        }
        let out = cmd
            .args(["stats", "--json"])
            .args(args)
            .arg("--config")
            .arg(self.config_file())
            .arg("--data-dir")
            .arg(self.data_dir())
            .output()
            .expect("start louver stats");
        let err = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "louver stats: {}: {err}", out.status);
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("louver stats --json: {e}: {err}"))
    }
    /// A number of `/metrics`; 0 if it is not there.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |n| n.trim().parse().unwrap())
    }
    /// What was lost for this reason.
    pub fn lost(&self, reason: &str) -> u64 {
        self.metric(&format!("louver_lost_total{{reason=\"{reason}\"}} "))
    }
    /// What was turned away at this limit.
    pub fn limited(&self, key: &str) -> u64 {
        self.metric(&format!("louver_limit_reached_total{{limit=\"{key}\"}} "))
    }
    /// Readers attached now: `RtspTcp`, `RtspUdp`, `Mjpeg`.
    pub fn readers(&self, output: &str) -> u64 {
        self.metric(&format!("louver_readers{{output=\"{output}\"}} "))
    }
    /// TCP connections now.
    pub fn connections(&self) -> u64 {
        self.metric("louver_connections ")
    }
    /// Waits until a path is in this state (`ready`, `waiting`, `offline`).
    pub fn wait_for_state(&self, path: &str, state: &str) {
        eventually(&format!("path {path} is {state}"), || {
            let paths = self.api("/api/v1/paths");
            let items = paths["items"].as_array()?;
            items
                .iter()
                .find(|p| p["path"] == path && p["state"] == state)
                .map(|_| ())
        });
    }
}
