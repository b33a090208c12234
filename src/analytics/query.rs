//! Questions and their answers: plain values; `web::api` makes JSON of them, `table` text.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::analytics::Store;
use crate::analytics::StoreError;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The first moment; by default seven calendar days including today.
    pub since: Option<Timestamp>,
    /// The last moment; by default now.
    pub until: Option<Timestamp>,
    /// One path alone.
    pub path: Option<String>,
    /// What time it is.
    pub now: SystemTime,
}

/// The answer. Everything but [`Self::machines`] and [`Self::restarts`] is about the audience alone.
#[derive(Clone, Debug)]
pub struct Stats {
    /// The range that was counted: what was asked for, rounded outward to whole hours (whole days where hours
    /// were added up already), and not beyond now.
    pub from: Timestamp,
    /// See [`Self::from`].
    pub to: Timestamp,
    /// The zone of days and of the times above.
    pub time_zone: TimeZone,
    /// Cells with fewer distinct viewers are `None`.
    pub k: u32,
    /// Everything in the range, exact.
    pub total: Counts,
    /// What plays now.
    pub live: Live,
    /// By path.
    pub by_path: Vec<Cell<String>>,
    /// `rtsp`, `mjpeg` ...
    pub by_protocol: Vec<Cell<String>>,
    /// `tcp`, `udp`.
    pub by_transport: Vec<Cell<String>>,
    /// Family of the player.
    pub by_client: Vec<Cell<String>>,
    /// Always empty as yet: no country is looked up.
    pub by_country: Vec<Cell<String>>,
    /// First moment of the hour; every hour of the range, or none when it is longer than 31 days. `viewer_days`
    /// are the distinct viewers who watched in that hour.
    pub by_hour: Vec<Cell<Timestamp>>,
    /// Recorders, relays and monitors, which are in nothing of the above.
    pub machines: Counts,
    /// Times that the relay was started again in the range. Each starts new pseudonyms, so that a viewer of
    /// before and after counts twice.
    pub restarts: u64,
}

/// One row of a breakdown; `None` when it would show too few viewers, or would let another such row be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell<K> {
    pub key: K,
    pub counts: Option<Counts>,
}

/// Sums over a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions that began in the range.
    pub sessions: u64,
    /// Distinct viewers of each day, added up over the days.
    pub viewer_days: u64,
    /// Seconds watched within the range, rounded.
    pub watch_seconds: u64,
    /// Most sessions that played at the same time.
    pub peak_concurrent: u64,
}

/// Sessions that play at this moment. Of the audience; machines apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    pub sessions: u64,
    pub machines: u64,
    pub by_path: Vec<(String, u64)>,
}

/// Answers a question.
///
/// # Errors
/// When nothing was recorded yet, or the file cannot be read.
pub async fn stats(store: &Store, question: &Question) -> Result<Stats, StoreError> {
    let _ = question;
    let _reader = store.reader().await?;
    Err(StoreError::Database(sqlx::Error::RowNotFound))
}
