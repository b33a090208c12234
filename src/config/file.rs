//! The file as the user wrote it. Only shapes here; no rules and no defaults (see `check.rs`).
//!
//! Everything is optional and keeps its place in the file, so that one run can report several mistakes,
//! each at its line. Unknown keys are refused. `flatten`, `untagged` and `tag` are not used: serde buffers
//! for them, and the errors would lose their lines.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde::de::value::SeqAccessDeserializer;
use toml::Spanned;

/// A text value and where it stands.
pub(super) type Text = Option<Spanned<String>>;
/// A whole number and where it stands. Signed and wide, so that our range check speaks, not the parser's.
pub(super) type Number = Option<Spanned<i64>>;
/// Yes or no, and where it stands.
pub(super) type Flag = Option<Spanned<bool>>;

/// Names of users, each at its place.
pub(super) type Names = Option<Vec<Spanned<String>>>;

/// The whole file.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct File {
    pub(super) rtsp: RtspFile,
    pub(super) rtsps: RtspsFile,
    pub(super) tls: TlsFile,
    pub(super) http: HttpFile,
    pub(super) hub: HubFile,
    pub(super) publish: PublishFile,
    pub(super) paths: BTreeMap<Spanned<String>, PathFile>,
    pub(super) auth: AuthFile,
    pub(super) limits: LimitsFile,
    pub(super) privacy: PrivacyFile,
    pub(super) notice: NoticeFile,
    pub(super) audit: AuditFile,
    pub(super) alerts: AlertsFile,
    pub(super) stats: StatsFile,
    pub(super) data: DataFile,
    pub(super) log: LogFile,
}

/// `[rtsp]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RtspFile {
    pub(super) listen: Option<Spanned<OneOrMore>>,
    pub(super) udp_ports: Option<Spanned<Vec<i64>>>,
    pub(super) session_timeout: Text,
    pub(super) write_timeout: Text,
    pub(super) multicast: Text,
    pub(super) multicast_port: Number,
    pub(super) multicast_ttl: Number,
    pub(super) proxy_protocol: Flag,
}

/// `[rtsps]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RtspsFile {
    pub(super) listen: Option<Spanned<OneOrMore>>,
    pub(super) proxy_protocol: Flag,
}

/// `[tls]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct TlsFile {
    pub(super) certificate: Text,
    pub(super) key: Text,
}

/// `[http]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct HttpFile {
    pub(super) listen: Option<Spanned<OneOrMore>>,
    pub(super) proxy_protocol: Flag,
}

/// `[hub]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct HubFile {
    pub(super) ring_size: Text,
    pub(super) ring_time: Text,
}

/// `[publish]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct PublishFile {
    pub(super) allow: Option<bool>,
    pub(super) takeover: Option<bool>,
    pub(super) keep_readers: Text,
    pub(super) users: Names,
}

/// `[paths.NAME]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct PathFile {
    pub(super) source: Text,
    pub(super) on_demand: Option<Spanned<bool>>,
    pub(super) transport: Text,
    pub(super) user: Text,
    pub(super) password: Text,
    pub(super) silence: Text,
    pub(super) retry_first: Text,
    pub(super) retry_max: Text,
    pub(super) backchannel: Option<Spanned<bool>>,
    pub(super) fingerprint: Text,
    pub(super) insecure: Option<Spanned<bool>>,
    pub(super) read: Names,
    pub(super) publish: Names,
    pub(super) sensitive: Option<bool>,
}

/// `[auth]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct AuthFile {
    pub(super) required: Text,
    pub(super) users: Vec<Spanned<UserFile>>,
}

/// `[[auth.users]]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct UserFile {
    pub(super) name: Text,
    pub(super) ha1_md5: Text,
    pub(super) ha1_sha256: Text,
}

/// `[privacy]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct PrivacyFile {
    pub(super) time_zone: Text,
    pub(super) k: Number,
    pub(super) level: Text,
    pub(super) consent: Text,
    pub(super) mask: Text,
    pub(super) countries: Text,
    pub(super) trusted_proxies: Option<Spanned<OneOrMore>>,
    pub(super) core_dumps: Option<bool>,
    pub(super) receipts: Option<bool>,
    pub(super) consent_days: Number,
    pub(super) retention: RetentionFile,
}

/// `[privacy.retention]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RetentionFile {
    pub(super) sessions_days: Number,
    pub(super) hours_days: Number,
    pub(super) days_months: Number,
}

/// `[stats]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct StatsFile {
    pub(super) database: Text,
}

/// `[notice]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct NoticeFile {
    pub(super) controller: Text,
    pub(super) contact: Text,
    pub(super) dpo: Text,
    pub(super) authority: Text,
    pub(super) security_contact: Text,
}

/// `[audit]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct AuditFile {
    pub(super) keep: Text,
    pub(super) max_size: Text,
}

/// `[alerts]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct AlertsFile {
    pub(super) smtp: Text,
    pub(super) smtp_user: Text,
    pub(super) smtp_password: Text,
    pub(super) from: Text,
    pub(super) to: Option<Spanned<OneOrMore>>,
    pub(super) webhook: Text,
    pub(super) webhook_secret: Text,
}

/// `[data]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct DataFile {
    pub(super) dir: Text,
}

/// `[limits]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct LimitsFile {
    pub(super) rtsp_connections: Number,
    pub(super) rtsp_connections_per_host: Number,
    pub(super) http_connections: Number,
    pub(super) sessions: Number,
    pub(super) sessions_per_connection: Number,
    pub(super) kept_sessions: Number,
    pub(super) kept_sessions_per_host: Number,
    pub(super) tunnels: Number,
    pub(super) request_size: Text,
    pub(super) request_headers: Number,
    pub(super) announce_size: Text,
    pub(super) tracks: Number,
    pub(super) published_paths: Number,
}

/// `[log]`
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct LogFile {
    pub(super) filter: Text,
}

/// `"a"` or `["a", "b"]`.
pub(super) enum OneOrMore {
    One(String),
    More(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMoreVisitor)
    }
}

struct OneOrMoreVisitor;

impl<'de> Visitor<'de> for OneOrMoreVisitor {
    type Value = OneOrMore;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }
    fn visit_str<E>(self, text: &str) -> Result<OneOrMore, E> {
        Ok(OneOrMore::One(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMore, A::Error> {
        Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMore::More)
    }
}
