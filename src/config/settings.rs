//! The settings that matter for privacy, as names and short values: what the audit trail compares and the papers tell.
//!
//! No value names anybody or anything secret: where a setting is a text or a list of people, only whether and how many.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sha2::Digest;
use sha2::Sha256;

use crate::config::Config;
use crate::config::Required;
use crate::config::units;
use crate::privacy::address::Mask;

/// Settings that are followed when the configuration is read again; all others are at the next start.
const FOLLOWED: [&str; 5] = [
    "auth.users",
    "privacy.sensitive_paths",
    "privacy.trusted_proxies",
    "publish.allow",
    "rtsp.session_timeout",
];

/// Whether a setting of [`Config::settings`] is followed when the configuration is read again.
pub fn is_followed(setting: &str) -> bool {
    FOLLOWED.contains(&setting)
}

impl Config {
    /// The keys that cannot change while the program runs, and whose values another configuration changes.
    pub fn fixed_keys_that_differ(&self, other: &Self) -> Vec<&'static str> {
        let (a, b) = (self, other);
        let differs = [
            ("[rtsp] listen", a.rtsp.listen != b.rtsp.listen),
            ("[rtsp] udp_ports", a.rtsp.udp_ports != b.rtsp.udp_ports),
            ("[rtsp] multicast", a.rtsp.multicast != b.rtsp.multicast),
            ("[rtsps] listen", a.rtsps.listen != b.rtsps.listen),
            ("[tls] certificate, key", a.tls != b.tls),
            ("[http] listen", a.http.listen != b.http.listen),
            ("[auth] required", a.auth.required != b.auth.required),
            ("[privacy] time_zone", a.privacy.time_zone != b.privacy.time_zone),
            ("[privacy] k", a.privacy.k != b.privacy.k),
            ("[privacy] level", a.privacy.level != b.privacy.level),
            ("[privacy] consent", a.privacy.consent != b.privacy.consent),
            ("[privacy] mask", a.privacy.mask != b.privacy.mask),
            ("[privacy] countries", a.privacy.countries != b.privacy.countries),
            (
                "[privacy] core_dumps",
                a.privacy.core_dumps != b.privacy.core_dumps,
            ),
            (
                "[rtsp] proxy_protocol",
                a.rtsp.proxy_protocol != b.rtsp.proxy_protocol,
            ),
            (
                "[rtsps] proxy_protocol",
                a.rtsps.proxy_protocol != b.rtsps.proxy_protocol,
            ),
            ("[privacy] receipts", a.privacy.receipts != b.privacy.receipts),
            (
                "[privacy] consent_days",
                a.privacy.consent_days != b.privacy.consent_days,
            ),
            ("[privacy.retention]", a.privacy.retention != b.privacy.retention),
            ("[stats]", a.stats != b.stats),
            ("[alerts]", a.alerts != b.alerts),
            ("[audit]", a.audit != b.audit),
            ("[notice]", a.notice != b.notice),
            ("[data] dir", a.data_dir != b.data_dir),
        ];
        let changed = differs.into_iter().filter(|(_, differs)| *differs);
        changed.map(|(key, _)| key).collect()
    }

    /// What the papers are to tell once another configuration was read while the program runs: this one, with what is
    /// followed of the other ([`is_followed`]).
    #[must_use]
    pub fn following(&self, now: &Self) -> Self {
        let mut both = self.clone();
        both.auth.users.clone_from(&now.auth.users);
        both.paths.clone_from(&now.paths);
        both.privacy
            .trusted_proxies
            .clone_from(&now.privacy.trusted_proxies);
        both.publish.allow = now.publish.allow;
        both.rtsp.session_timeout = now.rtsp.session_timeout;
        both
    }

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
        let mask = match self.privacy.mask {
            Mask::Usual => "usual",
            Mask::Strict => "strict",
        };
        let sensitive: Vec<&str> = self
            .paths
            .iter()
            .filter(|p| p.sensitive)
            .map(|p| p.name.as_str())
            .collect();
        let sensitive = match sensitive.is_empty() {
            true => "none".to_owned(),
            false => short_list(&sensitive),
        };
        let named = |text: &str| if text.is_empty() { "nobody" } else { "named" }.to_owned();
        let on = |is: bool| if is { "on" } else { "off" }.to_owned();
        BTreeMap::from([
            ("alerts.mail", on(self.alerts.mail.is_some())),
            ("alerts.webhook", on(self.alerts.webhook.is_some())),
            ("audit.keep", format!("{} d", self.audit.keep.as_secs() / 86_400)),
            ("auth.required", required.to_owned()),
            ("auth.users", self.auth.users.len().to_string()),
            ("http.reach", reach(&self.http.listen)),
            ("notice.authority", named(&self.notice.authority)),
            ("notice.contact", named(&self.notice.contact)),
            ("notice.controller", named(&self.notice.controller)),
            ("notice.dpo", named(&self.notice.dpo)),
            ("privacy.consent", self.privacy.consent.name().to_owned()),
            ("privacy.consent_days", self.privacy.consent_days.to_string()),
            ("privacy.core_dumps", self.privacy.core_dumps.to_string()),
            ("privacy.countries", self.privacy.countries.is_some().to_string()),
            ("privacy.k", self.privacy.k.to_string()),
            ("privacy.level", self.privacy.level.name().to_owned()),
            ("privacy.mask", mask.to_owned()),
            ("privacy.receipts", self.privacy.receipts.to_string()),
            ("privacy.sensitive_paths", sensitive),
            ("privacy.time_zone", self.privacy.time_zone.clone()),
            (
                "privacy.trusted_proxies",
                self.privacy.trusted_proxies.len().to_string(),
            ),
            ("publish.allow", self.publish.allow.to_string()),
            (
                "retention.days",
                format!("{} months", self.privacy.retention.days_months),
            ),
            (
                "retention.hours",
                format!("{} d", self.privacy.retention.hours_days),
            ),
            (
                "retention.sessions",
                format!("{} d", self.privacy.retention.sessions_days),
            ),
            ("rtsp.reach", reach(&self.rtsp.listen)),
            (
                "rtsp.session_timeout",
                units::show_duration(self.rtsp.session_timeout),
            ),
            ("rtsps.reach", reach(&self.rtsps.listen)),
            (
                "stats.database",
                if self.stats.database.is_some() {
                    "a server"
                } else {
                    "a file"
                }
                .to_owned(),
            ),
        ])
    }
}

/// Longest list that is told by its names: an entry of the trail has to take two of them, the old and the new.
const MAX_LIST: usize = 70;

/// Names with blanks between; where that is too long how many, and a digest that tells one list from another.
fn short_list(names: &[&str]) -> String {
    let all = names.join(" ");
    if all.len() <= MAX_LIST {
        return all;
    }
    let hash = Sha256::digest(&all);
    let digest: String = hash[..6].iter().map(|b| format!("{b:02x}")).collect();
    format!("{} #{digest}", names.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_many_sensitive_paths_fits_into_an_entry_and_tells_what_changes() {
        let of = |names: std::ops::Range<u32>| {
            let paths =
                names.map(|n| format!("[paths.ward-number-{n}]\nsource = \"publish:\"\nsensitive = true\n"));
            let config = crate::config::parse("f", &paths.collect::<String>()).unwrap();
            config.settings().remove("privacy.sensitive_paths").unwrap()
        };
        assert_eq!(of(1..3), "ward-number-1 ward-number-2");
        let (one, other) = (of(0..40), of(1..41));
        assert!(
            one.starts_with("40 #") && one != other && one == of(0..40),
            "{one}"
        );
        assert!(format!("{one} -> {other}").len() < 160);
        assert!(of(0..5).len() <= MAX_LIST && of(0..6).len() <= MAX_LIST);
    }

    #[test]
    fn what_is_followed_is_a_setting_and_none_of_the_keys_that_are_fixed() {
        let config = Config::default();
        assert!(FOLLOWED.iter().all(|name| config.settings().contains_key(name)));
        let mut other = config.clone();
        other.privacy.k += 1;
        other.privacy.receipts = !config.privacy.receipts;
        other.publish.allow = !config.publish.allow;
        let (before, now) = (config.settings(), other.settings());
        let changed = before.iter().filter(|(name, value)| now[*name] != **value);
        let changed: Vec<(&str, bool)> = changed.map(|(name, _)| (*name, is_followed(name))).collect();
        assert_eq!(
            changed,
            [
                ("privacy.k", false),
                ("privacy.receipts", false),
                ("publish.allow", true)
            ]
        );
        let fixed = config.fixed_keys_that_differ(&other);
        assert_eq!(fixed, ["[privacy] k", "[privacy] receipts"]);
    }

    #[test]
    fn papers_follow_what_is_followed_and_nothing_else() {
        let text = format!(
            "[rtsp]\nlisten = []\nsession_timeout = \"90s\"\n[rtsps]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = []\n\
             [publish]\nallow = false\n[paths.a]\nsource = \"publish:\"\nsensitive = true\n\
             [privacy]\ntime_zone = \"Europe/Paris\"\nk = 6\nlevel = \"identified\"\nconsent = \"opt-in\"\n\
             mask = \"strict\"\ncountries = \"c.mmdb\"\ntrusted_proxies = [\"10.0.0.0/8\"]\ncore_dumps = true\n\
             receipts = true\nconsent_days = 9\n\
             [privacy.retention]\nsessions_days = 3\nhours_days = 9\ndays_months = 9\n\
             [stats]\ndatabase = \"postgres://louver@db.example/louver\"\n\
             [notice]\ncontroller = \"a\"\ncontact = \"b\"\ndpo = \"c\"\nauthority = \"d\"\n\
             [audit]\nkeep = \"200d\"\n[auth]\nrequired = \"always\"\n\
             [[auth.users]]\nname = \"anna\"\nha1_md5 = \"{}\"\nha1_sha256 = \"{}\"\n",
            "0".repeat(32),
            "0".repeat(64)
        );
        let (was, now) = (Config::default(), crate::config::parse("f", &text).unwrap());
        let both = was.following(&now).settings();
        let (was, now) = (was.settings(), now.settings());
        for (name, value) in both.iter().filter(|(name, _)| !name.starts_with("alerts.")) {
            assert_ne!(was[name], now[name], "{name} is to be tried");
            let expected = if is_followed(name) { &now } else { &was };
            assert_eq!(*value, expected[name], "{name}");
        }
    }

    #[test]
    fn keys_that_need_another_start_are_named_and_no_others() {
        let keys = |text: &str| {
            let other = crate::config::parse("f", text).unwrap();
            Config::default().fixed_keys_that_differ(&other)
        };
        assert!(
            keys("[paths.a]\nsource = \"publish:\"\n[limits]\ntracks = 2\n[publish]\nallow = false")
                .is_empty()
        );
        assert_eq!(
            keys("[http]\nlisten = []\n[data]\ndir = \"d\"\n[privacy]\nk = 6"),
            ["[http] listen", "[privacy] k", "[data] dir"]
        );
    }
}
