//! One entry of the trail: what was done, by whom, to what, and how it is written and read. Pure.
//!
//! An entry has no place for a viewer: no address, agent, session, pseudonym or query fits into its fields. Objects are
//! names of the configuration, of paths that exist, or of tables; who acted is a kind, or the short keyed tag of a
//! configured user. One entry is one line of JSON with sorted keys, so that the same entry is always the same bytes.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// Bytes of a MAC of the chain.
pub(super) const MAC_LEN: usize = 32;
/// A MAC of the chain.
pub(super) type Mac = [u8; MAC_LEN];
/// What the first entry follows.
pub(super) const BEGINNING: Mac = [0; MAC_LEN];

/// Longest object and detail, in bytes.
const MAX_TEXT: usize = 160;

/// Who acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Actor {
    /// The program itself.
    Relay,
    /// Somebody at the command line of this machine.
    Shell,
    /// Somebody at a listener that asks nobody who they are (loopback).
    Local,
    /// A configured user, by a tag that only the audit key can make; see [`crate::audit::Keys::actor`].
    User([u8; 4]),
    /// Somebody who did not get in.
    Stranger,
    /// Somebody who watches, and showed a consent, a receipt or a link; which one is not told.
    Viewer,
}

impl Actor {
    fn text(self) -> String {
        match self {
            Self::Relay => "relay".to_owned(),
            Self::Shell => "shell".to_owned(),
            Self::Local => "local".to_owned(),
            Self::User(tag) => format!("user-{}", hex(&tag)),
            Self::Stranger => "stranger".to_owned(),
            Self::Viewer => "viewer".to_owned(),
        }
    }
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "relay" => Self::Relay,
            "shell" => Self::Shell,
            "local" => Self::Local,
            "stranger" => Self::Stranger,
            "viewer" => Self::Viewer,
            _ => Self::User(unhex(text.strip_prefix("user-")?)?),
        })
    }
    /// As in the trail: a kind, or the tag of a user.
    pub fn name(self) -> String {
        self.text()
    }
    /// What the actor may do.
    pub fn role(self) -> &'static str {
        match self {
            Self::Relay => "program",
            Self::Shell => "admin",
            Self::Local | Self::User(_) => "operator",
            Self::Stranger => "none",
            Self::Viewer => "viewer",
        }
    }
}

/// Writes a fieldless enum with the name of each variant in the trail.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$of])* $variant,)* }

        impl $name {
            /// The name in the trail.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
            fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

named! {
    /// What was done.
    Action {
        /// The relay started.
        Started = "relay.start",
        /// The relay ended by itself.
        Ended = "relay.end",
        /// The settings that concern privacy, at the first start, or one that changed since then.
        Setting = "setting.change",
        /// One that has changed in the file and takes effect at the next start.
        SettingAwaits = "setting.await",
        /// A configuration was read again.
        Reloaded = "config.reload",
        /// A report was looked at.
        ReportViewed = "report.view",
        /// A report left as a file.
        Exported = "report.export",
        /// The day's key and map were wiped and new ones begun.
        KeyRotated = "key.rotate",
        /// Rows were deleted for good.
        Purged = "purge",
        /// Old data were made anonymous.
        PastAnonymized = "past.anonymize",
        /// Files were searched for personal data.
        Scanned = "scan",
        /// Published numbers were attacked.
        ReportVerified = "report.verify",
        /// The program judged itself.
        SelfChecked = "self.check",
        /// The trail was read.
        AuditShown = "audit.show",
        /// The trail was verified.
        AuditVerified = "audit.verify",
        /// Credentials were wrong.
        LoginFailed = "login.fail",
        /// A consent was given.
        ConsentGiven = "consent.give",
        /// A consent was withdrawn.
        ConsentWithdrawn = "consent.withdraw",
        /// Somebody used the receipt of a session to see it.
        ReceiptRead = "receipt.read",
        /// Somebody used the receipt of a session to erase it.
        ReceiptErased = "receipt.erase",
        /// Somebody objected for a whole network.
        NetworkKeptOut = "network.object",
        /// The links in force were listed.
        SharesListed = "share.list",
        /// A report was shared by a link.
        ShareMade = "share.make",
        /// A link was ended.
        ShareRevoked = "share.revoke",
        /// A shared report was looked at.
        ShareViewed = "share.view",
        /// The second line of defence took something out of a log line.
        Redacted = "log.redact",
        /// A rule about behaviour held.
        AlertRaised = "alert.raise",
    }
}

impl Action {
    /// Whether the same again within a while is counted instead of written: what can happen many times a minute.
    pub(super) fn folds(self) -> bool {
        matches!(
            self,
            Self::ReportViewed
                | Self::LoginFailed
                | Self::AuditShown
                | Self::ReceiptRead
                | Self::ConsentGiven
                | Self::NetworkKeptOut
                | Self::ShareViewed
                | Self::SharesListed
        )
    }
}

named! {
    /// Why it was done.
    Purpose {
        /// To know the audience.
        Audience = "audience",
        /// To keep strangers out.
        Security = "security",
        /// To be able to answer for what is done.
        Accountability = "accountability",
        /// To run the relay.
        Operation = "operation",
        /// To do what a viewer asked for.
        Rights = "rights",
    }
}

named! {
    /// How it went.
    Outcome {
        Done = "done",
        Refused = "refused",
        Failed = "failed",
    }
}

/// What happened, as rooms tell it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    pub actor: Actor,
    pub action: Action,
    /// A configured path, a setting, a table; empty where there is only one.
    pub object: String,
    /// More, in fixed words and numbers: `5 -> 3`.
    pub detail: String,
    pub purpose: Purpose,
    pub outcome: Outcome,
    /// How many rows, files or findings; 0 where nothing is counted.
    pub amount: u64,
    /// Cells of a report that k hid.
    pub hidden: u32,
    /// What was asked for besides the object, as text that is digested under a key and dropped.
    pub params: String,
}

impl Event {
    /// Something that went well.
    pub fn new(actor: Actor, action: Action, purpose: Purpose) -> Self {
        Self {
            actor,
            action,
            object: String::new(),
            detail: String::new(),
            purpose,
            outcome: Outcome::Done,
            amount: 0,
            hidden: 0,
            params: String::new(),
        }
    }
    /// To what it was done.
    #[must_use]
    pub fn object(mut self, object: &str) -> Self {
        self.object = short(object);
        self
    }
    /// More, in fixed words and numbers.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = short(&detail.into());
        self
    }
    /// How it went.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }
    /// How many.
    #[must_use]
    pub fn amount(mut self, amount: u64) -> Self {
        self.amount = amount;
        self
    }
    /// How many cells were hidden in what was shown.
    #[must_use]
    pub fn hidden(mut self, cells: u32) -> Self {
        self.hidden = cells;
        self
    }
    /// What was asked for besides the object, as `name=value&...`. Of values only keyed digests are written.
    #[must_use]
    pub fn params(mut self, params: impl Into<String>) -> Self {
        self.params = params.into();
        self
    }
}

/// Cut to what an entry takes, without control characters.
fn short(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().filter(|c| !c.is_control()).collect()
}

/// An event in its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 1, 2, 3 ...
    pub seq: u64,
    /// Seconds since 1970.
    pub ts: i64,
    pub actor: Actor,
    pub action: Action,
    pub object: String,
    pub detail: String,
    pub purpose: Purpose,
    pub outcome: Outcome,
    pub amount: u64,
    /// Cells of a report that k hid.
    pub hidden: u32,
    /// What was asked for, its values as keyed digests; empty where nothing was.
    pub params: String,
    /// How often the same happened again since the last entry of its kind.
    pub repeats: u64,
    /// The MAC of the entry before.
    pub(super) prev: Mac,
}

impl Entry {
    /// The bytes that the MAC is made of.
    pub(super) fn text(&self) -> String {
        Value::Object(self.fields()).to_string()
    }
    /// The line in the file.
    pub(super) fn line(&self, mac: &Mac) -> String {
        let mut fields = self.fields();
        fields.insert("mac".to_owned(), hex(mac).into());
        format!("{}\n", Value::Object(fields))
    }
    fn fields(&self) -> Map<String, Value> {
        let value = json!({
            "seq": self.seq, "ts": self.ts, "actor": self.actor.text(), "role": self.actor.role(),
            "action": self.action.name(), "object": self.object, "detail": self.detail,
            "purpose": self.purpose.name(), "result": self.outcome.name(), "amount": self.amount,
            "params": self.params, "repeats": self.repeats, "prev": hex(&self.prev),
        });
        let Value::Object(mut fields) = value else {
            unreachable!("braces make an object")
        };
        if self.hidden > 0 {
            fields.insert("hidden".to_owned(), self.hidden.into());
        }
        fields
    }
    /// Reads a line; `None` when it is not exactly what [`Self::line`] writes.
    pub(super) fn parse(line: &str) -> Option<(Self, Mac)> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let entry = Self {
            seq: number("seq")?,
            ts: value.get("ts")?.as_i64()?,
            actor: Actor::parse(text("actor")?)?,
            action: Action::parse(text("action")?)?,
            object: text("object")?.to_owned(),
            detail: text("detail")?.to_owned(),
            purpose: Purpose::parse(text("purpose")?)?,
            outcome: Outcome::parse(text("result")?)?,
            amount: number("amount")?,
            hidden: match value.get("hidden") {
                None => 0,
                Some(cells) => u32::try_from(cells.as_u64()?).ok()?,
            },
            params: text("params")?.to_owned(),
            repeats: number("repeats")?,
            prev: unhex(text("prev")?)?,
        };
        let mac = unhex(text("mac")?)?;
        (entry.line(&mac).trim_end() == line).then_some((entry, mac))
    }
    /// What happened, as far as an entry says it: values that were asked for only as their digests.
    pub(super) fn event(&self) -> Event {
        Event {
            actor: self.actor,
            action: self.action,
            object: self.object.clone(),
            detail: self.detail.clone(),
            purpose: self.purpose,
            outcome: self.outcome,
            amount: self.amount,
            hidden: self.hidden,
            params: self.params.clone(),
        }
    }
    /// The entry as one line of JSON, without its MAC.
    pub fn json(&self) -> String {
        self.text()
    }
    /// The event's actor as the trail writes it.
    pub fn actor_text(&self) -> String {
        self.actor.text()
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
    }
    text
}

/// Bytes of exactly this length out of hexadecimal digits.
pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            seq: 7,
            ts: 1_700_000_000,
            actor: Actor::User([1, 2, 3, 0xff]),
            action: Action::ReportViewed,
            object: "front/door".into(),
            detail: "5 -> 3 \"x\"".into(),
            purpose: Purpose::Audience,
            outcome: Outcome::Done,
            amount: 12,
            hidden: 4,
            params: "0011223344556677".into(),
            repeats: 3,
            prev: [9; MAC_LEN],
        }
    }

    #[test]
    fn an_entry_reads_as_it_was_written_and_one_changed_byte_is_noticed() {
        let line = entry().line(&[5; MAC_LEN]);
        assert_eq!(Entry::parse(line.trim_end()), Some((entry(), [5; MAC_LEN])));
        assert!(
            Entry::parse(&line.replace(",", ", ")).is_none(),
            "not as we write"
        );
        assert!(Entry::parse(line.trim_end().trim_end_matches('}')).is_none());
        assert!(line.starts_with("{\"action\":\"report.view\",\"actor\":\"user-010203ff\""));
        assert_eq!(
            entry().event().hidden,
            4,
            "the rules get it from what commands wrote"
        );
        let none = Entry { hidden: 0, ..entry() }.line(&[5; MAC_LEN]);
        assert!(
            !none.contains("hidden"),
            "as it was before there was such a field"
        );
        assert!(Entry::parse(none.trim_end()).is_some());
    }

    #[test]
    fn objects_and_details_are_short_and_stay_on_their_line() {
        let long = "é".repeat(MAX_TEXT) + "\n";
        let event = Event::new(Actor::Shell, Action::Scanned, Purpose::Security)
            .object(&long)
            .detail("a\n\u{1b}b");
        assert!(event.object.len() <= MAX_TEXT && event.detail == "ab");
    }
}
