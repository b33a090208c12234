//! What viewers can do without saying who they are: agree and take it back, see and erase a session, and what the
//! operator may show to others of a report.
//!
//! - A **consent** is a token that the viewer keeps and shows (`?consent=TOKEN`, header `X-Consent`). The relay keeps a keyed
//!   hash of it in a [ledger](Registry): the proof. Taking it back erases what hangs on it.
//! - A **receipt** goes out with a session, if the operator has them on (header `Privacy-Receipt`). Who holds it, and nobody
//!   else, can read what is kept of that session and have it erased (Art. 11(2), 15 and 17 GDPR). Reports do not change by
//!   that: what was added up is of nobody, and the difference would be of the one who left.
//! - **Tombstones** keep erased what was erased, also when a backup is put back.
//! - A **share link** shows one report of the published tier to whoever has it, until it expires or is revoked.
//!
//! Tokens, receipts and links are secrets of those who hold them: they are in no log, error, metric or audit entry. Keys
//! are made of the installation's secret (`base::master`); none is the input of the number of a viewer.
//!
//! Not here: who is counted (`privacy`), rows (`analytics`), pages (`web`).

mod budget;
mod desk;
mod file;
mod ledger;
mod registry;
mod seal;
mod share;
mod tombstones;

use std::io;

use jiff::tz::TimeZone;

use crate::privacy::Consent;

pub use crate::rights::desk::Given;
pub use crate::rights::desk::Rights;
pub use crate::rights::ledger::Proofs;
pub use crate::rights::registry::Registry;
pub use crate::rights::share::Share;
pub use crate::rights::share::Shares;

/// Settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Consents are given only where they are asked for.
    pub consent: Consent,
    /// Whether sessions get receipts.
    pub receipts: bool,
    /// Days that a consent lasts.
    pub consent_days: u16,
    /// The version of the notice at the start, in hex. A consent to another one than is in force is none.
    pub notice: String,
    /// As at the door.
    pub tenant: String,
    /// As at the door.
    pub time_zone: TimeZone,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            consent: Consent::default(),
            receipts: false,
            consent_days: 180,
            notice: String::new(),
            tenant: "default".into(),
            time_zone: TimeZone::UTC,
        }
    }
}

/// Why something cannot be done now.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    /// Unknown, forged, expired or used up: nobody is told which.
    #[error("there is nothing of that")]
    Unknown,
    #[error("consent is not asked for here; set consent = \"opt-in\" in [privacy]")]
    NotAsked,
    #[error("too many tries; wait some seconds")]
    TooMany,
    #[error("no more of them can be kept; ask the operator")]
    Full,
    #[error("the files of consents and erasures cannot be used ({0}); look at the data directory")]
    File(io::ErrorKind),
    #[error("what is kept of sessions cannot be told or erased now; try again later")]
    NotNow,
}

impl From<io::Error> for RightsError {
    fn from(e: io::Error) -> Self {
        Self::File(e.kind())
    }
}

#[cfg(test)]
mod tests;
