//! The register of all that could be known of a viewer: what it is, what is made of it, why, and for how long.
//!
//! One table ([`ALL`]) is the source of the notice, of the record of processing, and of a test
//! (`tests/privacy/drift.rs`) that fails when a column or field of the program is not in it, or it names one that is not in
//! the program. Who adds a column, or reads another header, adds it here first.
//!
//! Not here: wording in other languages, durations (the configuration has them).

mod table;

use crate::privacy::policy::Consent;
use crate::privacy::policy::Level;
use crate::privacy::policy::Policy;

pub use crate::privacy::fields::table::ALL;

/// One signal: something that comes with a viewer, or is made of what comes.
#[derive(Debug)]
pub struct Field {
    /// Its name, for tables and translations. Never changes.
    pub name: &'static str,
    /// What it is, in plain words, without a full stop.
    pub what: &'static str,
    /// Where it comes from.
    pub source: Source,
    /// What the raw form is used for while it exists.
    pub used_for: &'static str,
    /// What is left of it; `None`: nothing.
    pub kept: Option<&'static str>,
    /// Where that lies: `table.column` in the database, `Type.field` in memory.
    pub places: &'static [&'static str],
    pub purpose: Purpose,
    /// How long what is left is kept.
    pub retention: Retention,
    /// When it is processed at all.
    pub when: When,
    /// The last moment at which the raw form exists.
    pub dropped: Dropped,
}

/// Where a signal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The socket.
    Connection,
    /// What proxies say of a connection.
    Proxy,
    /// Headers and URLs of RTSP and HTTP.
    Request,
    /// TLS.
    Handshake,
    /// RTCP, and what sockets take.
    Delivery,
    /// Made by the relay.
    Relay,
}

/// Why it is processed (Art. 5(1)(b) GDPR).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To send what was asked for.
    Service,
    /// To keep strangers and floods out.
    Security,
    /// To count the audience.
    Audience,
    /// To obey the viewer's own choice.
    Choice,
    /// To run the relay; says nothing of a viewer.
    Operation,
}

/// On what ground (Art. 6(1) GDPR).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// Letter a.
    Consent,
    /// Letter b: it is what the viewer asked for.
    Request,
    /// Letter f.
    LegitimateInterest,
    /// No personal data, so none is needed.
    NotPersonal,
}

/// How long what is left is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retention {
    /// Nothing is kept.
    None,
    /// In memory, until the session ends.
    Session,
    /// In memory, until midnight.
    Day,
    /// On disk, until a day after its day closed.
    DayAfter,
    /// As long as rows of sessions are kept.
    Rows,
    /// As long as counts of hours and days are kept.
    Counts,
    /// As long as a consent must be proven.
    Proofs,
}

/// When a signal is processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    Always,
    /// While an audience is counted.
    Counted,
    /// From this level on, while an audience is counted.
    From(Level),
    /// At this level alone, while an audience is counted.
    Only(Level),
    /// When there is a database of countries, while an audience is counted.
    Country,
    /// When some hosts may speak for others.
    Proxies,
    /// When those alone are counted who agreed.
    OptIn,
    /// Never: it comes with a connection and is not looked at.
    Never,
}

/// The last moment at which the raw form exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// It is not taken out of the bytes that came.
    NotRead,
    /// When the request or packet was understood.
    Parse,
    /// When the session was admitted.
    Door,
    /// When the session ended.
    Session,
    /// When the connection ended.
    Connection,
    /// There is no raw form.
    Made,
}

impl When {
    /// Whether a relay with this policy processes it.
    pub fn holds(self, policy: &Policy) -> bool {
        let counted = policy.consent != Consent::Off;
        match self {
            Self::Always => true,
            Self::Counted => counted,
            Self::From(level) => counted && policy.level >= level,
            Self::Only(level) => counted && policy.level == level,
            Self::Country => counted && policy.country,
            Self::Proxies => policy.proxies,
            Self::OptIn => policy.consent == Consent::OptIn,
            Self::Never => false,
        }
    }
}

impl Field {
    /// The ground of its processing under a policy.
    pub fn basis(&self, policy: &Policy) -> Basis {
        match self.purpose {
            Purpose::Service => Basis::Request,
            Purpose::Security | Purpose::Choice => Basis::LegitimateInterest,
            Purpose::Audience if policy.consent == Consent::OptIn => Basis::Consent,
            Purpose::Audience => Basis::LegitimateInterest,
            Purpose::Operation => Basis::NotPersonal,
        }
    }
}

/// The signals that a relay with this policy processes.
pub fn in_force(policy: &Policy) -> impl Iterator<Item = &'static Field> {
    ALL.iter().filter(|field| field.when.holds(policy))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_different_and_texts_are_no_sentences() {
        let names: HashSet<_> = ALL.iter().map(|f| f.name).collect();
        assert_eq!(names.len(), ALL.len());
        for field in ALL {
            let texts = [Some(field.what), Some(field.used_for), field.kept];
            for text in texts.into_iter().flatten() {
                assert!(!text.is_empty() && !text.ends_with('.'), "{}: {text}", field.name);
            }
        }
    }

    #[test]
    fn what_leaves_nothing_has_no_place_and_no_retention() {
        for field in ALL {
            let nothing = field.kept.is_none();
            assert_eq!(nothing, field.retention == Retention::None, "{}", field.name);
            let on_disk = field.places.iter().any(|p| p.chars().all(|c| !c.is_uppercase()));
            assert!(
                !(nothing && on_disk),
                "{} leaves nothing but has a column",
                field.name
            );
            let unread = field.when == When::Never;
            assert_eq!(unread, field.dropped == Dropped::NotRead, "{}", field.name);
            assert!(!unread || nothing, "{} is not read but kept", field.name);
        }
    }

    /// Waits, loss and jumps are kept as classes of sessions: the papers are made of this.
    #[test]
    fn what_is_kept_of_quality_is_in_force_while_anybody_is_counted() {
        let kept = |consent| {
            let policy = Policy {
                consent,
                ..Policy::default()
            };
            let mut fields = in_force(&policy);
            fields.any(|f| f.what.contains("packets lost") && f.retention == Retention::Counts)
        };
        assert!(kept(Consent::Exempt) && kept(Consent::OptIn) && !kept(Consent::Off));
    }

    #[test]
    fn each_setting_changes_what_is_in_force() {
        let names = |policy: Policy| in_force(&policy).map(|f| f.name).collect::<Vec<_>>();
        let usual = names(Policy::default());
        let settings = [
            Policy {
                level: Level::Anonymous,
                ..Policy::default()
            },
            Policy {
                consent: Consent::Off,
                ..Policy::default()
            },
            Policy {
                country: true,
                ..Policy::default()
            },
            Policy {
                proxies: true,
                ..Policy::default()
            },
        ];
        for policy in settings {
            assert_ne!(names(policy), usual, "{policy:?}");
        }
        assert!(
            names(Policy {
                consent: Consent::Off,
                ..Policy::default()
            })
            .len()
                < usual.len()
        );
    }
}
