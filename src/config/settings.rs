//! The settings that matter for privacy, as names and short values: what the audit trail compares and the papers tell.
//!
//! No value names anybody or anything secret: where a setting is a text or a list of people, only whether and how many.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::Config;
use crate::config::Required;
use crate::config::units;

impl Config {
    /// Names and values, in the order of the names. The same configuration gives the same map.
    pub fn settings(&self) -> BTreeMap<&'static str, String> {
        let reach = |all: &[SocketAddr]| {
            let text = match all {
                [] => "off",
                all if all.iter().all(|a| a.ip().is_loopback()) => "this machine",
                _ => "network",
            };
            text.to_owned()
        };
        let required = match self.auth.required {
            Required::Auto => "auto",
            Required::Always => "always",
        };
        BTreeMap::from([
            ("auth.required", required.to_owned()),
            ("auth.users", self.auth.users.len().to_string()),
            ("http.reach", reach(&self.http.listen)),
            ("privacy.k", self.privacy.k.to_string()),
            ("privacy.time_zone", self.privacy.time_zone.clone()),
            ("publish.allow", self.publish.allow.to_string()),
            ("rtsp.reach", reach(&self.rtsp.listen)),
            (
                "rtsp.session_timeout",
                units::show_duration(self.rtsp.session_timeout),
            ),
            ("rtsps.reach", reach(&self.rtsps.listen)),
        ])
    }
}
