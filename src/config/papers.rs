//! The rules of `[notice]` and `[audit]`, and what the papers are made of.

use std::net::SocketAddr;

use crate::base::proxies::are_everybody;
use crate::config::Audit;
use crate::config::Config;
use crate::config::Notice;
use crate::config::Required;
use crate::config::file::AuditFile;
use crate::config::file::NoticeFile;
use crate::config::file::Text;
use crate::config::values::Checker;
use crate::papers::Options;

/// Longest text of the notice, in bytes.
const MAX_TEXT: usize = 300;
const DAY: u64 = 86_400;

impl Checker<'_> {
    pub(super) fn notice(&mut self, f: &NoticeFile) -> Notice {
        Notice {
            controller: self.line("controller", &f.controller),
            contact: self.line("contact", &f.contact),
            dpo: self.line("dpo", &f.dpo),
            authority: self.line("authority", &f.authority),
            security_contact: self.security_contact(&f.security_contact),
        }
    }

    pub(super) fn audit(&mut self, f: &AuditFile) -> Audit {
        let d = Audit::default();
        Audit {
            keep: self.duration("keep", &f.keep, 30 * DAY..=5 * 365 * DAY, d.keep),
            max_bytes: self.size("max_size", &f.max_size, 1 << 20..=1 << 30, d.max_bytes as usize) as u64,
        }
    }

    /// One line of text for the notice.
    fn line(&mut self, key: &str, raw: &Text) -> String {
        let Some(raw) = raw else { return String::new() };
        let text = raw.get_ref().trim();
        if text.len() > MAX_TEXT || text.contains(char::is_control) {
            let message =
                format!("{key} is no line of text, expected {MAX_TEXT} bytes at most, without line ends");
            self.wrong(&raw.span(), &message);
        }
        text.to_owned()
    }

    fn security_contact(&mut self, raw: &Text) -> String {
        let text = self.line("security_contact", raw);
        if let Some(raw) = raw.as_ref().filter(|_| !text.is_empty()) {
            let starts = ["mailto:", "https://", "tel:"]
                .iter()
                .any(|s| text.starts_with(s));
            if !starts || text.contains(' ') {
                self.wrong(
                    &raw.span(),
                    "security_contact is no contact, expected mailto:..., https://... or tel:... (RFC 9116)",
                );
            }
        }
        text
    }
}

impl Config {
    /// What the papers tell of this configuration. What was changed when, they learn from the audit trail.
    pub fn papers(&self) -> Options {
        let settings = self.settings();
        let network = |name: &str| settings.get(name).is_some_and(|reach| reach == "network");
        Options {
            controller: self.notice.controller.clone(),
            contact: self.notice.contact.clone(),
            dpo: self.notice.dpo.clone(),
            authority: self.notice.authority.clone(),
            security_contact: self.notice.security_contact.clone(),
            policy: self.privacy.policy(),
            k: self.privacy.k,
            time_zone: self.privacy.time_zone.clone(),
            sensitive_paths: self.paths.iter().filter(|path| path.sensitive).count(),
            core_dumps: self.privacy.core_dumps,
            receipts: self.privacy.receipts,
            consent_days: u32::from(self.privacy.consent_days),
            rows_days: u32::from(self.privacy.retention.sessions_days),
            hours_days: u32::from(self.privacy.retention.hours_days),
            counts_days: most_days(u32::from(self.privacy.retention.days_months)),
            audit_days: u32::try_from(self.audit.keep.as_secs() / DAY).unwrap_or(u32::MAX),
            remote_database: self.stats.database.is_some(),
            open_rtsp: network("rtsp.reach"),
            encrypted_rtsp: !self.rtsps.listen.is_empty(),
            open_http: network("http.reach"),
            no_page: self.http.listen.is_empty(),
            always_credentials: self.auth.required == Required::Always,
            alerts_by_mail: self.alerts.mail.is_some(),
            alerts_by_webhook: self.alerts.webhook.is_some(),
            trusts_everybody: are_everybody(&self.privacy.trusted_proxies),
            streams_at: streams_at(&self.rtsp.listen, &self.rtsps.listen),
            settings,
            changes: Vec::new(),
        }
    }
}

/// How the address of a stream begins, where it is listened on these. The host is whatever viewers call it.
pub fn streams_at(rtsp: &[SocketAddr], rtsps: &[SocketAddr]) -> String {
    let (scheme, first) = match (rtsp, rtsps) {
        ([first, ..], _) => ("rtsp", first),
        ([], [first, ..]) => ("rtsps", first),
        ([], []) => return String::new(),
    };
    match first.port() {
        0 => format!("{scheme}://HOST:PORT/"), // the system chooses one at each start
        port => format!("{scheme}://HOST:{port}/"),
    }
}

/// The most days that so many calendar months can have, up to some years.
fn most_days(months: u32) -> u32 {
    // The longest runs begin in July or December; a leap day is in each of a year or more.
    const OF_YEAR: [u32; 12] = [0, 31, 62, 92, 123, 153, 184, 215, 245, 276, 306, 337];
    let (years, rest) = (months / 12, months % 12);
    years * 365 + u32::from(years > 0) + OF_YEAR[rest as usize]
}

#[cfg(test)]
mod tests {
    use crate::config::papers::most_days;
    use crate::config::parse;

    #[test]
    fn the_papers_name_whom_the_file_names_and_refuse_what_is_no_line() {
        let text = "[notice]\ncontroller = \" The Harbour \"\nsecurity_contact = \"https://example.org/s\"\n\
                    [audit]\nkeep = \"200d\"";
        let papers = parse("f", text).unwrap().papers();
        assert_eq!(
            (papers.controller.as_str(), papers.audit_days),
            ("The Harbour", 200)
        );
        for wrong in [
            "[notice]\ncontroller = \"a\\nb\"",
            "[notice]\nsecurity_contact = \"security@example.org\"",
            "[audit]\nkeep = \"1d\"",
            "[audit]\nmax_size = \"2GiB\"",
        ] {
            let error = parse("f", wrong).unwrap_err().to_string();
            assert!(
                error.starts_with("f:2: ") && error.contains("expected"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_notice_names_the_port_of_the_first_listener() {
        for (text, at) in [
            ("", "rtsp://HOST:8554/"),
            (
                "[rtsp]\nlisten = [\"127.0.0.1:5540\", \"[::1]:8554\"]",
                "rtsp://HOST:5540/",
            ),
            ("[rtsp]\nlisten = \"127.0.0.1:0\"", "rtsp://HOST:PORT/"),
            (
                "[rtsp]\nlisten = []\n[rtsps]\nlisten = \"127.0.0.1:8322\"",
                "rtsps://HOST:8322/",
            ),
            ("[rtsp]\nlisten = []", ""),
        ] {
            assert_eq!(parse("f", text).unwrap().papers().streams_at, at, "{text}");
        }
    }

    #[test]
    fn months_are_told_with_the_most_days_that_they_can_have() {
        let days = [1, 2, 3, 11, 12, 13, 24, 25].map(most_days);
        assert_eq!(days, [31, 62, 92, 337, 366, 397, 731, 762]);
    }

    #[test]
    fn settings_name_nobody() {
        let text = "[notice]\ncontroller = \"Canary\"\ndpo = \"canary@example.org\"";
        let settings = parse("f", text).unwrap().settings();
        assert!(
            settings.values().all(|v| !v.to_lowercase().contains("canary")),
            "{settings:?}"
        );
        assert_eq!(settings["notice.dpo"], "named");
    }
}
