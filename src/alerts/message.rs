//! What an alert says: a rule, who acted as far as that is known here, and when. In fixed words.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::json;

use crate::audit::rules::Alert;

/// One alert, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Random; the same when it is sent again.
    id: String,
    rule: &'static str,
    text: &'static str,
    /// `relay`, `shell`, `local`, `stranger`, or the tag of a user.
    actor: String,
    /// Seconds since 1970.
    ts: i64,
}

impl Message {
    /// What the rules raised.
    pub fn of(alert: &Alert) -> Self {
        Self {
            id: random(),
            rule: alert.rule.name(),
            text: alert.rule.text(),
            actor: alert.actor.name(),
            ts: alert.ts,
        }
    }

    /// One that nothing has happened for.
    pub fn test(now: i64) -> Self {
        Self {
            id: random(),
            rule: "test",
            text: "Nothing has happened: somebody tried whether alerts arrive.",
            actor: "shell".to_owned(),
            ts: now,
        }
    }

    /// Its rule's name.
    pub fn rule(&self) -> &'static str {
        self.rule
    }
    pub(super) fn id(&self) -> &str {
        &self.id
    }
    fn time(&self) -> Timestamp {
        Timestamp::from_second(self.ts).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// For programs.
    pub(super) fn json(&self) -> String {
        json!({
            "type": "louver.alert", "id": self.id, "timestamp": self.time().to_string(),
            "data": { "rule": self.rule, "text": self.text, "actor": self.actor },
        })
        .to_string()
    }

    /// For people, as a message of RFC 5322, in ASCII alone.
    pub(super) fn letter(&self, from: &str, to: &[String]) -> String {
        let date = jiff::fmt::rfc2822::to_string(&self.time().to_zoned(jiff::tz::TimeZone::UTC));
        let domain = from.rsplit('@').next().unwrap_or("localhost");
        format!(
            "From: Louver <{from}>\r\nTo: {}\r\nSubject: Louver alert: {}\r\nDate: {}\r\n\
             Message-ID: <{}@{domain}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=us-ascii\r\n\r\n{}\r\n\r\nRule: {}\r\nWho acted: {}\r\nWhen: {}\r\n\r\n\
             `louver audit show` tells more. This message has nothing of any viewer.\r\n",
            to.join(", "),
            self.rule,
            date.unwrap_or_default(),
            self.id,
            self.text,
            self.rule,
            self.actor,
            self.time(),
        )
    }
}

/// 128 random bits.
fn random() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    let mut text = String::with_capacity(32);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Actor;
    use crate::audit::rules::Rule;

    #[test]
    fn every_alert_is_a_short_letter_of_plain_lines() {
        for rule in Rule::ALL {
            let alert = Alert {
                rule,
                actor: Actor::User([1, 2, 3, 4]),
                ts: 1_790_000_000,
            };
            let message = Message::of(&alert);
            let to = ["a@example.org".to_owned(), "b@example.org".to_owned()];
            let letter = message.letter("louver@example.org", &to);
            assert!(letter.is_ascii() && !letter.replace("\r\n", "").contains(['\r', '\n']));
            assert!(letter.lines().all(|line| line.len() < 900), "{letter}");
            let (head, body) = letter.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("To: a@example.org, b@example.org\r\n"), "{head}");
            assert!(
                head.contains("Date: Mon, 21 Sep 2026 14:13:20 +0000\r\n"),
                "{head}"
            );
            assert!(
                body.contains(rule.name()) && body.contains("user-01020304"),
                "{body}"
            );
        }
    }

    #[test]
    fn the_same_alert_has_the_same_id_and_another_has_another() {
        assert_ne!(Message::test(1).id(), Message::test(1).id());
        let message = Message::test(1);
        let json: serde_json::Value = serde_json::from_str(&message.json()).unwrap();
        assert_eq!(json["id"], message.id());
        assert_eq!(json["timestamp"], "1970-01-01T00:00:01Z");
    }
}
