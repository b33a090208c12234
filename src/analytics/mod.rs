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
//! Rows of sessions live until one day after their calendar day closed. Then they are added up into
//! **leaves** (counts per day, path and one fact, never two facts crossed), and the rows with their
//! pseudonyms are deleted, which `secure_delete` and a truncated WAL make real. Answers are made of leaves
//! and of rows not yet added up.
//!
//! A session counts in the hour and day in which it began, for the viewer it began with; its watch time
//! counts where it was watched; a peak is the greatest number of sessions that played at the same time.
//! Machines (recorders, relays, monitors) are kept apart: they are no audience, and are shown as such.
//!
//! Not here: addresses, agents, user names, queries (this room cannot name them); JSON (`web::api`).

mod batch;
mod cells;
mod days;
mod leaves;
pub mod query;
mod recorder;
mod store;
pub mod table;
mod writer;

use jiff::tz::TimeZone;

pub use crate::analytics::recorder::Recorder;
pub use crate::analytics::recorder::SessionHandle;
pub use crate::analytics::store::Mode;
pub use crate::analytics::store::Store;
pub use crate::analytics::store::StoreError;

/// Settings of the statistics.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where days begin: the same zone as the privacy door's.
    pub time_zone: TimeZone,
    /// A cell of a breakdown shows nothing when fewer distinct viewers than this are in it.
    pub k: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            time_zone: TimeZone::UTC,
            k: 5,
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
