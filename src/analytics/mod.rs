//! Behind the door: sessions are recorded, stored, rolled up and asked about, all without who.
//!
//! A **session** is one reader that received at least one access unit; the one who sends calls
//! [`Recorder::begin`] at that moment and not before, so probes are none. It ends when its
//! [`SessionHandle`] goes. Handles only note times in memory; one bounded queue leads to one writer task,
//! so that no viewer ever waits for a disk. While a session lasts, its row says "open" and the run's row
//! says when the relay was last alive (every two seconds while anybody watches): that is the checkpoint,
//! whatever the number of viewers. After a `kill -9` the next start closes what was open at that time: no
//! session is lost, and at most the last seconds of watch time are.
//!
//! Two minutes after its hour, a session's counts are in **leaves** (counts per day or hour, path and one
//! fact, never two facts crossed), and its row with its times is deleted, which `secure_delete` and a truncated WAL
//! make real; `visits` keeps rows of single sessions for some days, made so coarse that each is one of k. Answers are
//! made of leaves and of rows not yet added up.
//!
//! Connection, session, view and viewer-day are four things. A **view** is the sessions of one viewer on one path with
//! at most a minute between them, watched for ten seconds in all; it counts where it reached them. A **viewer-day** is
//! one distinct viewer in one calendar day; the writer remembers in memory who came already, the store keeps flags.
//! An **attempt** was allowed and got no access unit.
//!
//! A session counts in the hour and day in which it began, for the viewer it began with; its watch time
//! counts where it was watched; a peak is the greatest number of sessions that played at the same time.
//! Machines (recorders, relays, monitors) are kept apart: they are no audience, and are shown as such.
//!
//! Not here: addresses, agents, user names, queries (this room cannot name them); JSON (`web::api`).

mod batch;
mod bounds;
mod calendar;
mod cells;
mod charts;
mod closed;
mod days;
mod db;
mod firsts;
mod leaves;
mod look;
pub mod past;
pub mod private;
mod purge;
pub mod query;
mod recorder;
mod retention;
mod single;
mod store;
pub mod table;
mod tallies;
pub mod verify;
mod visits;
mod writer;

use jiff::tz::TimeZone;

pub use crate::analytics::look::Look;
pub use crate::analytics::purge::Bytes;
pub use crate::analytics::purge::PurgeSink;
pub use crate::analytics::purge::Purged;
pub use crate::analytics::recorder::Attempt;
pub use crate::analytics::recorder::Recorder;
pub use crate::analytics::recorder::SessionHandle;
pub use crate::analytics::single::Chosen;
pub use crate::analytics::single::NotNow;
pub use crate::analytics::single::Record;
pub use crate::analytics::store::Mode;
pub use crate::analytics::store::Server;
pub use crate::analytics::store::Store;
pub use crate::analytics::store::StoreError;
pub use crate::analytics::tallies::Kind;

/// Settings of the statistics.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where days begin: the same zone as the privacy door's.
    pub time_zone: TimeZone,
    /// A cell of a breakdown shows nothing when fewer distinct viewers than this are in it.
    pub k: u32,
    /// How long what is kept.
    pub keep: Retention,
    /// PostgreSQL instead of SQLite in the data directory.
    pub database: Option<Server>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            time_zone: TimeZone::UTC,
            k: 5,
            keep: Retention::default(),
            database: None,
        }
    }
}

impl Options {
    /// The same with the database of this address; `None` when it is none: see [`Server::parse`].
    #[must_use]
    pub fn in_database(self, url: &str) -> Option<Self> {
        let database = Some(Server::parse(url)?);
        Some(Self { database, ..self })
    }
}

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days, of rows of single sessions (made coarse); 0: none is ever made.
    pub sessions_days: u16,
    /// Days, of what hours were like. Their days stay.
    pub hours_days: u16,
    /// Months, of what days were like.
    pub days_months: u16,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            sessions_days: 7,
            hours_days: 90,
            days_months: 25,
        }
    }
}

/// How a reader is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Rtsp,
    Mjpeg,
}

impl Protocol {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Rtsp, Self::Mjpeg];

    /// The name in answers and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rtsp => "rtsp",
            Self::Mjpeg => "mjpeg",
        }
    }
}

/// What carries the media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// The name in answers and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

#[cfg(test)]
mod tests;
