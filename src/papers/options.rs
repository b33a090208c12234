//! What the papers are made of: the settings in force, in the words of this room.

use std::collections::BTreeMap;

use sha2::Digest;
use sha2::Sha256;

use crate::papers::Lang;
use crate::papers::notice;
use crate::privacy::Policy;

/// The settings in force. The configuration fills it; see `config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Who answers for the processing, as the configuration names them; empty: it names nobody.
    pub controller: String,
    /// How to reach them.
    pub contact: String,
    /// The data protection officer; empty: there is none.
    pub dpo: String,
    /// The supervisory authority for complaints; empty: none is named.
    pub authority: String,
    /// Where to report holes in security; empty: nowhere.
    pub security_contact: String,
    /// How much is known of viewers.
    pub policy: Policy,
    /// Groups smaller than this are not shown.
    pub k: u32,
    /// Whose calendar days count.
    pub time_zone: String,
    /// How many paths are sensitive.
    pub sensitive_paths: usize,
    /// Whether core files, which hold keys, may be written.
    pub core_dumps: bool,
    /// Whether sessions get receipts.
    pub receipts: bool,
    /// Days that a consent lasts.
    pub consent_days: u32,
    /// Days that rows of sessions are kept after theirs closed.
    pub rows_days: u32,
    /// Days that counts by hour are kept.
    pub hours_days: u32,
    /// Days that counts by day are kept.
    pub counts_days: u32,
    /// Days that the audit trail is kept.
    pub audit_days: u32,
    /// Whether another machine has the database.
    pub remote_database: bool,
    /// Whether other machines can reach RTSP without TLS.
    pub open_rtsp: bool,
    /// Whether other machines can reach RTSP in TLS.
    pub encrypted_rtsp: bool,
    /// Whether other machines can reach the page and the API, which have no TLS of their own.
    pub open_http: bool,
    /// Whether there is neither page nor API.
    pub no_page: bool,
    /// Whether credentials are asked for on every listener.
    pub always_credentials: bool,
    /// Whether alerts go out by e-mail.
    pub alerts_by_mail: bool,
    /// Whether alerts go out to a web server.
    pub alerts_by_webhook: bool,
    /// Some trusted proxy is everybody.
    pub trusts_everybody: bool,
    /// How the address of a stream begins: `rtsp://HOST:8554/`, or in TLS where there is nothing else. Empty: RTSP is
    /// off.
    pub streams_at: String,
    /// Names and values of all settings that matter, as the audit trail compares them.
    pub settings: BTreeMap<&'static str, String>,
    /// How they came to be what they are, newest first.
    pub changes: Vec<Change>,
}

/// A setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The day, as in `2026-05-01`.
    pub date: String,
    /// Which.
    pub setting: String,
    /// `old -> new`.
    pub change: String,
}

impl Options {
    /// A short name of the settings and of what the notice says of them: what anybody agreed to has the same name for
    /// as long as not a word of it changes. But for the port: it is nothing to agree to, and the system may choose it.
    pub fn version(&self) -> String {
        let mut hash = Sha256::new();
        for (name, value) in &self.settings {
            hash.update(format!("{name}={value}\n"));
        }
        for text in [
            &self.controller,
            &self.contact,
            &self.dpo,
            &self.authority,
            &self.security_contact,
        ] {
            hash.update(text);
            hash.update("\n");
        }
        let anywhere = Self {
            streams_at: "rtsp://HOST:8554/".to_owned(),
            ..self.clone()
        };
        for lang in [Lang::En, Lang::Fr] {
            hash.update(notice::told(&anywhere, lang).plain());
        }
        hash.finalize()[..6].iter().map(|b| format!("{b:02x}")).collect()
    }
    /// Whether anybody is counted.
    pub(super) fn counts(&self) -> bool {
        self.policy.consent != crate::privacy::Consent::Off
    }
    /// A name of the configuration, or that it is missing.
    pub(super) fn or_missing(text: &str) -> &str {
        match text {
            "" => "[missing: name it in [notice] of the configuration]",
            text => text,
        }
    }
    /// Who gets data from the relay.
    pub(super) fn recipients(&self) -> Vec<&'static str> {
        [
            (self.remote_database, "the operator's PostgreSQL database on another machine: sessions and counts"),
            (
                self.alerts_by_mail,
                "the operator's mail server: alerts about the use of the statistics, without anything of viewers",
            ),
            (
                self.alerts_by_webhook,
                "the operator's web server (signed webhook): the same alerts, without anything of viewers",
            ),
        ]
        .into_iter()
        .filter_map(|(is, text)| is.then_some(text))
        .collect()
    }
}
