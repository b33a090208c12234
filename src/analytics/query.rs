//! Questions and their answers: plain values; `web::api` makes JSON of them, `table` text.
//!
//! Not here: which cells of a breakdown are shown (`cells`), who may ask.

use std::ops::Range;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sqlx::Connection;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::analytics::Store;
use crate::analytics::StoreError;
use crate::analytics::cells::Answer;
use crate::analytics::cells::MOST_DAYS_BY_HOUR;
use crate::analytics::cells::Sums;
use crate::analytics::days;
use crate::analytics::leaves;
use crate::analytics::leaves::Day;
use crate::analytics::leaves::Dimension;
use crate::analytics::leaves::Leaf;

/// Days in the range when nothing else is asked for, including today.
const USUAL_DAYS: i64 = 7;

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
    /// The range that was counted: what was asked for, rounded outward to whole hours (whole days where the
    /// day before yesterday is passed: hours are no longer known apart there), and not beyond now.
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
    /// By the hour's first moment: every hour of the range, or none when it is longer than 31 days.
    /// Viewer-days are the distinct viewers who watched in that hour.
    pub by_hour: Vec<Cell<Timestamp>>,
    /// Recorders, relays and monitors, which are in nothing of the above.
    pub machines: Counts,
    /// Times that the relay was started again in the range. Each starts new pseudonyms, so that a viewer of
    /// before and after counts twice.
    pub restarts: u64,
}

/// One row of a breakdown; `None` when it would show too few viewers, or would let another such row be
/// computed.
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

/// Sessions that play at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Of the audience.
    pub sessions: u64,
    /// Of recorders, relays and monitors.
    pub machines: u64,
    /// Of the audience, by path.
    pub by_path: Vec<(String, u64)>,
}

/// Answers a question.
///
/// # Errors
/// When nothing was recorded yet, or the file cannot be read.
pub async fn stats(store: &Store, question: &Question) -> Result<Stats, StoreError> {
    let options = store.options();
    let zone = &options.time_zone;
    let now_ms = milliseconds(question.now);
    let asked = range(question, now_ms, zone);
    let path = question.path.as_deref().unwrap_or_default();

    let Found {
        mut sums,
        rows,
        restarts,
        live,
    } = look(store, &asked, path, now_ms).await?;
    for day in days_of(&rows, &asked, zone) {
        for (key, leaf) in leaves::of_day(&rows, &day, &asked) {
            sums.entry(key).or_default().add(leaf);
        }
    }
    let answer = Answer {
        sums,
        path,
        k: u64::from(options.k),
    };
    Ok(Stats {
        from: timestamp(asked.start),
        to: timestamp(asked.end),
        time_zone: zone.clone(),
        k: options.k,
        total: answer.total(Dimension::All),
        live,
        by_path: answer.by_path(),
        by_protocol: answer.by(Dimension::Protocol),
        by_transport: answer.by(Dimension::Transport),
        by_client: answer.by(Dimension::Client),
        by_country: Vec::new(),
        by_hour: answer.by_hour(&asked, zone),
        machines: answer.total(Dimension::Machines),
        restarts,
    })
}

/// What the store has to say to a question.
struct Found {
    sums: Sums,
    rows: Vec<leaves::Row>,
    restarts: u64,
    live: Live,
}

async fn look(store: &Store, asked: &Range<i64>, path: &str, now_ms: i64) -> Result<Found, StoreError> {
    let mut connection = store.reader().await?;
    let mut tx = connection.begin().await?; // so that no day is added up between two looks
    let run = Run::latest(&mut tx).await?;
    let alive = !run.ended && store.relay_runs();
    let open_until = if alive {
        now_ms.max(run.seen_ms)
    } else {
        run.seen_ms
    };
    let found = Found {
        sums: stored(&mut tx, asked, path, &store.options().time_zone).await?,
        rows: days::rows(&mut tx, path, open_until).await?,
        restarts: restarts(&mut tx, asked).await?,
        live: if alive {
            live(&mut tx, path).await?
        } else {
            Live::default()
        },
    };
    tx.rollback().await?;
    connection.close().await?;
    Ok(found)
}

/// What was asked, rounded outward, in milliseconds since 1970.
fn range(question: &Question, now_ms: i64, zone: &TimeZone) -> Range<i64> {
    let kept_from = leaves::kept_from(now_ms, zone);
    let unit = |ms: i64| {
        let day = Day::of(ms, zone);
        if ms < kept_from {
            day.window
        } else {
            day.hour_of(ms)
        }
    };
    let asked = |moment: Option<Timestamp>| moment.map(|at| at.as_millisecond().clamp(0, now_ms));
    let today = Day::of(now_ms, zone);
    let from = match asked(question.since) {
        Some(since) => unit(since).start,
        None => today.back(USUAL_DAYS - 1, zone).window.start,
    };
    let to = match asked(question.until) {
        Some(until) => unit((until - 1).max(0)).end.min(now_ms),
        None => now_ms,
    };
    from..to.max(from)
}

/// The leaves of days that were added up.
async fn stored(
    connection: &mut SqliteConnection,
    asked: &Range<i64>,
    path: &str,
    zone: &TimeZone,
) -> Result<Sums, sqlx::Error> {
    let mut sums = Sums::new();
    if asked.is_empty() {
        return Ok(sums);
    }
    let (first, last) = (
        Day::of(asked.start, zone).number,
        Day::of(asked.end - 1, zone).number,
    );
    let found = sqlx::query(
        "SELECT scope, dimension, value, sessions, viewers, watch_ms, peak FROM leaves
        WHERE day BETWEEN $1 AND $2 AND (scope = $3 OR ($3 = '' AND dimension = 'all'))
            AND (dimension <> 'hour' OR $2 - $1 < $4)",
    )
    .bind(first)
    .bind(last)
    .bind(path)
    .bind(MOST_DAYS_BY_HOUR)
    .fetch_all(connection)
    .await?;
    for row in &found {
        let (scope, name, value): (&str, &str, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let Some(dimension) = Dimension::ALL.into_iter().find(|d| d.name() == name) else {
            continue; // of a later version
        };
        let count = |column: usize| row.try_get::<i64, _>(column).map(i64::unsigned_abs);
        let leaf = Leaf {
            sessions: count(3)?,
            viewers: count(4)?,
            watch_ms: count(5)?,
            peak: count(6)?,
        };
        sums.entry((scope.into(), dimension, value.into()))
            .or_default()
            .add(leaf);
    }
    Ok(sums)
}

/// The days of the range in which something is that was not added up.
fn days_of(rows: &[leaves::Row], asked: &Range<i64>, zone: &TimeZone) -> Vec<Day> {
    let first = rows
        .iter()
        .flat_map(|row| row.spans.iter().map(|s| s.start).chain([row.started_ms]))
        .min();
    let last = rows
        .iter()
        .flat_map(|row| row.spans.iter().map(|s| s.end).chain([row.started_ms]))
        .max();
    let (Some(first), Some(last)) = (first, last) else {
        return Vec::new();
    };
    let mut days = Vec::new();
    let mut day = Day::of(first.max(asked.start), zone);
    while day.window.start < asked.end && day.window.start <= last {
        let next = day.next(zone);
        days.push(day);
        day = next;
    }
    days
}

/// The newest start of the relay.
struct Run {
    seen_ms: i64,
    ended: bool,
}

impl Run {
    async fn latest(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let found = sqlx::query("SELECT seen_ms, ended FROM runs ORDER BY id DESC LIMIT 1")
            .fetch_optional(connection)
            .await?;
        match found {
            Some(row) => Ok(Self {
                seen_ms: row.try_get(0)?,
                ended: row.try_get(1)?,
            }),
            None => Ok(Self {
                seen_ms: 0,
                ended: true,
            }),
        }
    }
}

async fn live(connection: &mut SqliteConnection, path: &str) -> Result<Live, sqlx::Error> {
    let found = sqlx::query(
        "SELECT s.path, s.machine, count(*) FROM spans p JOIN sessions s ON s.id = p.session
        WHERE p.ended_ms IS NULL AND ($1 = '' OR s.path = $1) GROUP BY s.path, s.machine ORDER BY s.path",
    )
    .bind(path)
    .fetch_all(connection)
    .await?;
    let mut live = Live::default();
    for row in &found {
        let sessions = row.try_get::<i64, _>(2)?.unsigned_abs();
        if row.try_get(1)? {
            live.machines += sessions;
        } else {
            live.sessions += sessions;
            live.by_path.push((row.try_get(0)?, sessions));
        }
    }
    Ok(live)
}

async fn restarts(connection: &mut SqliteConnection, asked: &Range<i64>) -> Result<u64, sqlx::Error> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM runs WHERE again = 1 AND started_ms >= $1 AND started_ms < $2",
    )
    .bind(asked.start)
    .bind(asked.end)
    .fetch_one(connection)
    .await?;
    Ok(count.unsigned_abs())
}

fn milliseconds(at: SystemTime) -> i64 {
    let since_1970 = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    #[test]
    fn ranges_are_rounded_outward_to_what_is_still_told_apart() {
        let now = at("2026-11-21T13:20:30Z"); // 14:20 in Berlin
        let range = |since: Option<&str>, until: Option<&str>| {
            let question = Question {
                since: since.map(at),
                until: until.map(at),
                path: None,
                now: now.into(),
            };
            let range = range(&question, now.as_millisecond(), &berlin());
            (
                timestamp(range.start).to_string(),
                timestamp(range.end).to_string(),
            )
        };
        let is = |from: &str, to: &str| (from.to_string(), to.to_string());
        let now = "2026-11-21T13:20:30Z";
        assert_eq!(
            range(None, None),
            is("2026-11-14T23:00:00Z", now),
            "seven days, from midnight in Berlin"
        );
        assert_eq!(
            range(Some("2026-11-21T10:59:00Z"), None),
            is("2026-11-21T10:00:00Z", now)
        );
        assert_eq!(
            range(Some("2026-11-20T10:01:00Z"), Some("2026-11-20T10:02:00Z")),
            is("2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z")
        );
        assert_eq!(
            range(Some("2026-11-18T10:00:00Z"), Some("2026-11-18T11:00:00Z")),
            is("2026-11-17T23:00:00Z", "2026-11-18T23:00:00Z"),
            "before yesterday only days are known"
        );
        assert_eq!(
            range(Some("2026-11-17T23:00:00Z"), Some("2026-11-18T23:00:00Z")),
            is("2026-11-17T23:00:00Z", "2026-11-18T23:00:00Z"),
            "whole days stay what they are"
        );
        assert_eq!(
            range(Some("2030-01-01T00:00:00Z"), None),
            is("2026-11-21T13:00:00Z", now)
        );
        let (from, to) = range(Some("2026-11-21T10:00:00Z"), Some("2026-11-20T10:00:00Z"));
        assert_eq!(from, to, "a range that ends before it begins is empty");
    }
}
