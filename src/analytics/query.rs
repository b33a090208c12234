//! Questions and their answers: plain values; `web::api` makes JSON of them, `table` text.
//!
//! A range is made of whole calendar days, rounded outward, since only those are known apart for every fact; the
//! answer says which it was. Hours are told within it. For others than operators there is [`Tier::Published`]: closed
//! days alone, each leaf rounded down to a multiple of k, each total the sum of such leaves.
//!
//! Not here: which cells of a breakdown are shown (`cells`), who may ask.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::analytics::Options;
use crate::analytics::Store;
use crate::analytics::StoreError;
use crate::analytics::calendar;
use crate::analytics::calendar::Day;
use crate::analytics::cells::Answer;
use crate::analytics::cells::Sums;
use crate::analytics::closed;
use crate::analytics::days;
use crate::analytics::db::Db;
use crate::analytics::db::Row;
use crate::analytics::db::Value;
use crate::analytics::leaves;
use crate::analytics::leaves::Dimension;
use crate::analytics::leaves::Leaf;
use crate::analytics::retention;

pub use crate::analytics::retention::Staying;
pub use crate::analytics::tallies::Health;

/// Days in the range when its beginning is not asked for, including the last.
const USUAL_DAYS: i64 = 7;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The first moment; by default the last is in the seventh calendar day.
    pub since: Option<Timestamp>,
    /// The last moment; by default now.
    pub until: Option<Timestamp>,
    /// One path alone.
    pub path: Option<String>,
    /// Who will see the answer.
    pub tier: Tier,
    /// What time it is.
    pub now: SystemTime,
}

/// Who sees an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// The operator: totals are exact, small cells hidden.
    #[default]
    Console,
    /// Anybody else: closed days alone, everything rounded down to multiples of k, totals made of what is shown.
    Published,
}

/// The answer. Everything but [`Self::machines`] and [`Self::restarts`] is about the audience alone.
#[derive(Clone, Debug)]
pub struct Stats {
    /// The range that was counted: what was asked for, rounded outward to whole days, and not beyond now.
    pub from: Timestamp,
    /// See [`Self::from`].
    pub to: Timestamp,
    /// The zone of days and of the times above.
    pub time_zone: TimeZone,
    /// Cells with fewer distinct viewers are `None`.
    pub k: u32,
    /// For whom it is.
    pub tier: Tier,
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
    /// Country of the masked address, where one is known.
    pub by_country: Vec<Cell<String>>,
    /// Sessions that ended, by the class of their length: 0 is to ten seconds, see [`length_limits`].
    pub by_length: Vec<Cell<usize>>,
    /// How many go on watching for how long.
    pub staying: Vec<Staying>,
    /// By weekday (0 is Monday) and hour of the day; empty for ranges of less than four weeks.
    pub by_weekday_hour: Vec<Cell<(i8, i8)>>,
    /// Every day of the range, or of more than two years those since the first on which somebody watched.
    pub by_day: Vec<Cell<Date>>,
    /// By the hour's first moment: every hour of the range, or none when it is longer than 31 days.
    /// Viewer-days are the distinct viewers who watched in that hour.
    pub by_hour: Vec<Cell<Timestamp>>,
    /// Recorders, relays and monitors, which are in nothing of the above.
    pub machines: Counts,
    /// How well it was served.
    pub health: Health,
    /// Whether sessions cannot be stored now, so that the newest are missing here.
    pub store_is_failing: bool,
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
    /// Sessions of one viewer on one path with at most a minute between them, watched for ten seconds in all.
    pub views: u64,
}

/// Upper ends of the classes of session lengths, in seconds; the last class has none.
pub fn length_limits() -> &'static [i64] {
    &leaves::LENGTHS
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
        sums,
        restarts,
        live,
        health,
        playing,
    } = look(store, &asked, path, question.tier, now_ms).await?;
    let answer = Answer {
        sums,
        path,
        k: u64::from(options.k),
        tier: question.tier,
    };
    Ok(Stats {
        from: timestamp(asked.start),
        to: timestamp(asked.end),
        time_zone: zone.clone(),
        k: options.k,
        tier: question.tier,
        total: answer.total(Dimension::All),
        live,
        by_path: answer.by_path(),
        by_protocol: answer.by(Dimension::Protocol),
        by_transport: answer.by(Dimension::Transport),
        by_client: answer.by(Dimension::Client),
        by_country: answer.by(Dimension::Country),
        by_length: answer.by_length(),
        staying: retention::curve(&answer.lengths(&playing), answer.k),
        by_day: answer.by_day(&asked, zone),
        by_hour: answer.by_hour(&asked, zone),
        by_weekday_hour: answer.by_weekday_hour(&asked, zone),
        machines: answer.total(Dimension::Machines),
        health,
        store_is_failing: store.is_failing(),
        restarts,
    })
}

/// What the store has to say to a question.
struct Found {
    sums: Sums,
    restarts: u64,
    live: Live,
    health: Health,
    /// Lengths so far of the sessions that play, in milliseconds.
    playing: Vec<i64>,
}

async fn look(
    store: &Store,
    asked: &Range<i64>,
    path: &str,
    tier: Tier,
    now_ms: i64,
) -> Result<Found, StoreError> {
    let mut db = store.reader().await?;
    db.begin_reading().await?; // so that no hour is added up between two looks
    let run = Run::latest(&mut db).await?;
    let alive = !run.ended && store.relay_runs(&mut db).await?;
    let open_until = if alive {
        now_ms.max(run.seen_ms)
    } else {
        run.seen_ms
    };
    let console = tier == Tier::Console;
    let rows = if console {
        days::rows(&mut db, path, open_until).await?
    } else {
        Vec::new() // open days are not published
    };
    let mut found = Found {
        sums: sums(&mut db, asked, path, tier, &rows, store.options()).await?,
        restarts: restarts(&mut db, asked).await?,
        live: Live::default(),
        health: Health::default(),
        playing: Vec::new(),
    };
    if console {
        let options = store.options();
        // Whole days: the hour that has just begun belongs to it.
        let until = Day::of((asked.end - 1).max(asked.start), &options.time_zone)
            .window
            .end;
        found.health = closed::health(&mut db, &(asked.start..until), path, options).await?;
    }
    if console && alive {
        found.live = live(&mut db, path).await?;
        let open = rows.iter().filter(|row| row.ended.is_none() && !row.machine);
        found.playing = open
            .map(|row| row.watched_ms + row.spans.iter().map(|s| s.end - s.start).sum::<i64>())
            .collect();
    }
    db.close().await?;
    Ok(found)
}

/// The range that an answer is about: whole days, in milliseconds since 1970.
pub(super) fn asked_range(question: &Question, zone: &TimeZone) -> Range<i64> {
    range(question, milliseconds(question.now), zone)
}

/// What was asked in whole days, in milliseconds since 1970.
fn range(question: &Question, now_ms: i64, zone: &TimeZone) -> Range<i64> {
    // Whole days that closed, or all until now.
    let end = match question.tier {
        Tier::Console => now_ms,
        Tier::Published => Day::of(calendar::kept_from(now_ms, zone), zone).window.start,
    };
    let asked = |moment: Option<Timestamp>| moment.map(|at| at.as_millisecond().clamp(0, now_ms));
    let from = match asked(question.since) {
        Some(since) => Day::of(since, zone).window.start,
        None => {
            let last = asked(question.until).map_or(now_ms, |until| (until - 1).max(0));
            Day::of(last, zone).back(USUAL_DAYS - 1, zone).window.start
        }
    };
    let to = match asked(question.until) {
        Some(until) => Day::of((until - 1).max(0), zone).window.end.min(end),
        None => end,
    };
    from.min(end)..to.max(from.min(end))
}

/// The sums of leaves and of rows that were not added up.
async fn sums(
    db: &mut Db,
    asked: &Range<i64>,
    path: &str,
    tier: Tier,
    rows: &[leaves::Row],
    options: &Options,
) -> Result<Sums, sqlx::Error> {
    let zone = &options.time_zone;
    let mut sums = Sums::new();
    if asked.is_empty() {
        return Ok(sums);
    }
    let fresh = days_of(rows, asked, zone);
    let span = closed::Span {
        first: Day::of(asked.start, zone).number,
        last: Day::of(asked.end - 1, zone).number,
        // Days of which rows are not added up are added up apart: their viewers belong to leaves that are there.
        apart_from: fresh.first().map_or(i64::MAX, |day| day.number),
    };
    let mut apart: BTreeMap<(i64, leaves::Key), Leaf> = BTreeMap::new();
    for part in closed::leaves(db, &span, path, tier, options.k).await? {
        match part.day {
            Some(day) => apart.entry((day, part.key)).or_default().grow(part.leaf),
            None => sums
                .entry(part.key)
                .or_default()
                .add_sum(part.leaf, part.most_viewers),
        }
    }
    let with_now = asked.start..asked.end + 1; // what happens at this moment counts
    for day in &fresh {
        for (key, leaf) in leaves::of_day(rows, day, &with_now) {
            if key.1 == Dimension::All && *key.0 == *path {
                let told_apart = (key.0.clone(), Dimension::Day, day.number.to_string().into());
                apart.entry((day.number, told_apart)).or_default().grow(leaf);
            }
            apart.entry((day.number, key)).or_default().grow(leaf);
        }
    }
    for ((_, key), leaf) in apart {
        sums.entry(key).or_default().add(leaf);
    }
    Ok(sums)
}

/// The days of the range in which something is that was not added up.
fn days_of(rows: &[leaves::Row], asked: &Range<i64>, zone: &TimeZone) -> Vec<Day> {
    let moments = || {
        rows.iter().flat_map(|row| {
            let spans = row.spans.iter().flat_map(|s| [s.start, s.end]);
            let others = [Some(row.started_ms), row.viewed_ms, row.ended.map(|e| e.at_ms)];
            spans.chain(others.into_iter().flatten())
        })
    };
    let (Some(first), Some(last)) = (moments().min(), moments().max()) else {
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
    async fn latest(db: &mut Db) -> Result<Self, sqlx::Error> {
        let found = db
            .first("SELECT seen_ms, ended FROM runs ORDER BY id DESC LIMIT 1", &[])
            .await?;
        match found {
            Some(row) => Ok(Self {
                seen_ms: row.int(0)?,
                ended: row.flag(1)?,
            }),
            None => Ok(Self {
                seen_ms: 0,
                ended: true,
            }),
        }
    }
}

async fn live(db: &mut Db, path: &str) -> Result<Live, sqlx::Error> {
    let mut live = Live::default();
    let add = |row: &Row| {
        let sessions = row.count(2)?;
        if row.flag(1)? {
            live.machines += sessions;
        } else {
            live.sessions += sessions;
            live.by_path.push((row.text(0)?.to_owned(), sessions));
        }
        Ok(())
    };
    db.each(
        "SELECT s.path, s.machine, count(*) FROM spans p JOIN sessions s ON s.id = p.session
        WHERE p.ended_ms IS NULL AND ($1 = '' OR s.path = $1) GROUP BY s.path, s.machine ORDER BY s.path",
        &[Value::Text(path)],
        add,
    )
    .await?;
    Ok(live)
}

async fn restarts(db: &mut Db, asked: &Range<i64>) -> Result<u64, sqlx::Error> {
    let count = db
        .number(
            "SELECT count(*) FROM runs WHERE again = 1 AND started_ms >= $1 AND started_ms < $2",
            &[Value::Int(asked.start), Value::Int(asked.end)],
        )
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
    fn ranges_are_rounded_outward_to_whole_days() {
        let now = at("2026-11-21T13:20:30Z"); // 14:20 in Berlin
        let range = |tier, since: Option<&str>, until: Option<&str>| {
            let question = Question {
                since: since.map(at),
                until: until.map(at),
                path: None,
                tier,
                now: now.into(),
            };
            let range = range(&question, now.as_millisecond(), &berlin());
            (
                timestamp(range.start).to_string(),
                timestamp(range.end).to_string(),
            )
        };
        let console = |since, until| range(Tier::Console, since, until);
        let published = |since, until| range(Tier::Published, since, until);
        let is = |from: &str, to: &str| (from.to_string(), to.to_string());
        let (now, today) = ("2026-11-21T13:20:30Z", "2026-11-20T23:00:00Z");
        assert_eq!(
            console(None, None),
            is("2026-11-14T23:00:00Z", now),
            "seven days, from midnight in Berlin"
        );
        assert_eq!(published(None, None), is("2026-11-14T23:00:00Z", today));
        assert_eq!(
            console(None, Some("2026-11-10T23:00:00Z")),
            is("2026-11-03T23:00:00Z", "2026-11-10T23:00:00Z"),
            "seven days as well, up to the end that is asked for"
        );
        assert_eq!(console(Some("2026-11-21T10:59:00Z"), None), is(today, now));
        assert_eq!(
            published(Some("2026-11-21T10:59:00Z"), None),
            is(today, today),
            "what is not over is not published"
        );
        assert_eq!(
            console(Some("2026-11-18T10:00:00Z"), Some("2026-11-18T11:00:00Z")),
            is("2026-11-17T23:00:00Z", "2026-11-18T23:00:00Z")
        );
        assert_eq!(
            console(Some("2026-11-17T23:00:00Z"), Some("2026-11-18T23:00:00Z")),
            is("2026-11-17T23:00:00Z", "2026-11-18T23:00:00Z"),
            "whole days stay what they are"
        );
        assert_eq!(console(Some("2030-01-01T00:00:00Z"), None), is(today, now));
        let (from, to) = console(Some("2026-11-21T10:00:00Z"), Some("2026-11-19T10:00:00Z"));
        assert_eq!(from, to, "a range that ends before it begins is empty");
    }
}
