//! Days of the past that come into the store, and a store out of which all numbers of viewers go.
//!
//! A day comes in as leaves, made by the same arithmetic as those of today's viewers, in one transaction with a mark that
//! says so: a leaf of a dimension that no answer has (`past`), whose value names the import. So a day is in the store
//! once, however often an import was killed and begun again. No row of a session is stored.
//!
//! Not here: whose days they are (`past`), what is printed (`cli`).

use std::collections::HashMap;
use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;

use crate::analytics::Options;
use crate::analytics::calendar::Day;
use crate::analytics::closed;
use crate::analytics::days;
use crate::analytics::db::Db;
use crate::analytics::db::Value;
use crate::analytics::firsts::Watched;
use crate::analytics::leaves;
use crate::analytics::leaves::Ended;
use crate::analytics::leaves::First;
use crate::analytics::leaves::Row;
use crate::analytics::private::BOUNDED_PATHS;
use crate::analytics::private::BOUNDED_SESSIONS;
use crate::analytics::purge;
use crate::analytics::purge::Gone;
use crate::analytics::store;
use crate::analytics::store::Store;
use crate::analytics::store::StoreError;

/// A session of the past, without who. Not stored: counted.
pub struct PastSession {
    /// Random, the same for the same viewer in one day.
    pub viewer: [u8; 16],
    /// A name that may be kept.
    pub path: Arc<str>,
    /// Words of closed lists.
    pub protocol: &'static str,
    pub transport: &'static str,
    pub client: &'static str,
    /// Empty where none is known.
    pub country: Arc<str>,
    /// Whether it was a recorder or a monitor.
    pub machine: bool,
    /// Whether it began in this day; else only what was watched in it counts.
    pub began: bool,
    /// Milliseconds since 1970.
    pub from_ms: i64,
    /// Not before `from_ms`.
    pub to_ms: i64,
}

/// What became of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is in the store now.
    Now,
    /// This import had brought it before.
    Before,
    /// Another import had; it was left out.
    Other,
}

/// An import that goes on.
pub struct Import {
    store: Store,
    db: Db,
    name: String,
    add: bool,
}

const MARKS: &str =
    "SELECT count(*) FROM leaves WHERE dimension = 'past' AND scope = '*' AND day = $1 AND value <> $2";
const MARKED: &str =
    "SELECT count(*) FROM leaves WHERE dimension = 'past' AND scope = '*' AND day = $1 AND value = $2";
const MARK: &str = "
    INSERT INTO leaves (day, scope, dimension, value, sessions, viewers, watch_ms, peak, views)
    VALUES ($1, '*', 'past', $2, 0, 0, 0, 0, 0)";

impl Import {
    /// Begins, or goes on. `name` tells one import from others, in a few letters and digits; `add`: days that another
    /// import brought get what this one brings as well.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn begin(store: &Store, name: &str, add: bool) -> Result<Self, StoreError> {
        Ok(Self {
            store: store.clone(),
            db: store.writer().await?,
            name: name.to_owned(),
            add,
        })
    }

    /// Brings a day that is over, with all its sessions.
    ///
    /// # Errors
    /// When it cannot be stored. Then nothing of the day is.
    pub async fn day(&mut self, date: Date, sessions: &[PastSession]) -> Result<Imported, StoreError> {
        let options = self.store.options();
        let day = Day::on(date, &options.time_zone);
        let values = [Value::Int(day.number), Value::Text(&self.name)];
        let db = &mut self.db;
        db.begin_writing().await?;
        let done = if db.number(MARKED, &values).await? > 0 {
            Imported::Before
        } else if !self.add && db.number(MARKS, &values).await? > 0 {
            Imported::Other
        } else {
            let leaves = leaves::of_day(&rows(sessions), &day, &day.window);
            days::add_day(db, &day, &leaves).await?;
            closed::close_late(db, day.number, options.k).await?;
            db.execute(MARK, &values).await?;
            Imported::Now
        };
        db.commit().await?;
        Ok(done)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the database does not let go in order.
    pub async fn end(mut self) -> Result<(), StoreError> {
        if self.db.is_sqlite() {
            purge::sweep(&mut self.db).await?;
        }
        Ok(self.db.close().await?)
    }
}

/// Sessions as the arithmetic takes them.
fn rows(sessions: &[PastSession]) -> Vec<Row> {
    let mut ordered: Vec<&PastSession> = sessions.iter().collect();
    ordered.sort_by_key(|session| session.from_ms); // so that who comes first is first
    let mut seen = HashSet::new();
    let mut views: HashMap<([u8; 16], &str), Watched> = HashMap::new();
    ordered
        .into_iter()
        .map(|session| {
            let view = views.entry((session.viewer, &session.path)).or_default();
            if view.is_over(session.from_ms) {
                *view = Watched::default();
            }
            let viewed_ms = view.add(session.from_ms, session.to_ms);
            Row {
                viewed_ms,
                ..row(session, &mut seen)
            }
        })
        .collect()
}

/// A viewer, a path or all of them, a fact, and which.
type Seen<'s> = ([u8; 16], &'s str, i64, &'s str);

fn row<'s>(session: &'s PastSession, seen: &mut HashSet<Seen<'s>>) -> Row {
    const CLASSES: [&str; leaves::LENGTHS.len() + 1] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let watched_ms = session.to_ms - session.from_ms;
    let mut bits = |bit: i64, value: &'s str| {
        let everywhere = i64::from(seen.insert((session.viewer, "", bit, value))) * bit;
        let here = i64::from(seen.insert((session.viewer, &session.path, bit, value))) * First::of_path(bit);
        everywhere | here
    };
    let mut firsts = bits(First::LENGTH, CLASSES[leaves::length_class(watched_ms)]);
    if session.began {
        let here = bits(First::HERE, "");
        firsts |= here;
        firsts |= bits(First::PROTOCOL, session.protocol);
        firsts |= bits(First::TRANSPORT, session.transport);
        // Of one viewer no more than so many count where noise is added.
        let mut among = |bit: i64, most: u32| {
            let mut places = CLASSES.into_iter().take(most as usize);
            i64::from(places.any(|n| seen.insert((session.viewer, "", bit, n)))) * bit
        };
        firsts |= among(First::AMONG_SESSIONS, BOUNDED_SESSIONS);
        if here & First::of_path(First::HERE) != 0 {
            firsts |= among(First::AMONG_PATHS, BOUNDED_PATHS);
        }
    }
    Row {
        id: [0; 16],
        viewer: session.viewer,
        path: Arc::clone(&session.path),
        protocol: session.protocol.into(),
        transport: session.transport.into(),
        client: session.client.into(),
        country: Arc::clone(&session.country),
        machine: session.machine,
        started_ms: session.from_ms,
        counted: !session.began,
        firsts,
        viewed_ms: None,
        ended: Some(Ended {
            at_ms: session.to_ms,
            watched_ms,
            cut: false,
        }),
        watched_ms,
        spans: std::iter::once(session.from_ms..session.to_ms).collect(),
    }
}

/// One line of a summary: counts that may be published, of one day, path and fact.
pub struct Summed {
    /// A path; empty for all.
    pub scope: Arc<str>,
    /// `all`, `protocol`, `client`, `country` ...
    pub dimension: &'static str,
    /// Which.
    pub value: Arc<str>,
    pub sessions: u64,
    pub viewers: u64,
    pub watch_seconds: u64,
    pub peak: u64,
}

/// What a day was like, without a store: of cells with fewer than `k` viewers nothing, of others all rounded down to
/// multiples of `k` (watch time: of `k` minutes), as everywhere else that numbers leave.
pub fn summary(date: Date, sessions: &[PastSession], options: &Options) -> Vec<Summed> {
    let day = Day::on(date, &options.time_zone);
    let k = u64::from(options.k.max(1));
    let down = |n: u64, step: u64| n / step * step;
    let leaves = leaves::of_day(&rows(sessions), &day, &day.window);
    let shown = leaves.into_iter().filter(|(_, leaf)| leaf.viewers >= k);
    shown
        .map(|((scope, dimension, value), leaf)| Summed {
            scope,
            dimension: dimension.name(),
            value,
            sessions: down(leaf.sessions, k),
            viewers: down(leaf.viewers, k),
            watch_seconds: down(leaf.watch_ms / 1000, 60 * k),
            peak: down(leaf.peak, k),
        })
        .collect()
}

/// What a database has, or had, of single viewers and sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unset {
    /// Rows of sessions, with the moments in which they were watched.
    pub sessions: u64,
    /// Rows of single visits.
    pub visits: u64,
    /// Random numbers of viewers and sessions that still lay in the file afterwards.
    pub left: u64,
}

/// Rows whose numbers are searched for afterwards, of each table.
const SAMPLE: i64 = 8;

/// Says what [`unset`] would take out of a database of Louver's, of this version or an older one.
///
/// # Errors
/// When it is none, or cannot be read.
pub async fn look(file: &Path) -> Result<Unset, StoreError> {
    let not_ours = || StoreError::NotOurs {
        file: file.to_path_buf(),
    };
    // What is no database shows when it is opened, or with the first question.
    let mut db = store::open_to_read(file).await.map_err(|_| not_ours())?;
    let tables = db.number(TABLES, &[]).await.map_err(|_| not_ours())?;
    if tables != 4 {
        return Err(not_ours());
    }
    let found = count(&mut db).await?;
    db.close().await?;
    Ok(found)
}

/// Takes all that is of single viewers and sessions out of a database of Louver's, of this version or an older one: what
/// was not added up is, tables are brought up to date, rows of sessions go, and rows of visits, of which each is one of k,
/// lose the numbers that link them. Then the file is written anew, and searched for some of what was in it.
///
/// # Errors
/// When it is none, a relay uses it, or it cannot be written. Then all of it is as before.
pub async fn unset(file: &Path, options: &Options, now_ms: i64) -> Result<Unset, StoreError> {
    let _lock: File = store::lock_beside(file).await?;
    let mut found = look(file).await?;
    let mut db = store::open_to_write(file).await?;
    let canary = purge::plant(&mut db).await?;
    let gone = numbers(&mut db, canary).await?;
    let zone = &options.time_zone;
    db.begin_writing().await?;
    // What a crash left open ended when the relay was last known to run.
    db.execute(CLOSE_SPANS, &[]).await?;
    db.execute(CLOSE_SESSIONS, &[]).await?;
    let last = db.number(LAST, &[]).await?.max(now_ms);
    // Hours count as over two minutes after they are; the last one, too, three days later.
    days::add_up(&mut db, zone, last.saturating_add(3 * 86_400_000)).await?;
    for statement in [
        "DELETE FROM spans",
        "DELETE FROM sessions",
        "DELETE FROM visits WHERE path = ''", // of the search
        "UPDATE visits SET viewer = NULL, id = randomblob(16)",
        // Statistics of its own, with samples of columns, which ANALYZE made.
        "DROP TABLE IF EXISTS sqlite_stat1",
        "DROP TABLE IF EXISTS sqlite_stat4",
    ] {
        db.execute(statement, &[]).await?;
    }
    db.commit().await?;
    db.execute("VACUUM", &[]).await?;
    purge::sweep(&mut db).await?;
    db.close().await?;
    let (file, wal) = (file.to_path_buf(), with_suffix(file, "-wal"));
    let searched = tokio::task::spawn_blocking(move || purge::scan(&[&file, &wal], &gone)).await;
    found.left = match searched {
        Ok(Ok(left)) => left as u64,
        _ => return Err(StoreError::Stuck),
    };
    Ok(found)
}

const CLOSE_SPANS: &str = "
    UPDATE spans SET ended_ms = max(started_ms, (SELECT coalesce(max(seen_ms), 0) FROM runs)) WHERE ended_ms IS NULL";
const CLOSE_SESSIONS: &str = "
    UPDATE sessions SET open = 0, cut = 1,
        ended_ms = coalesce((SELECT max(ended_ms) FROM spans WHERE session = sessions.id), started_ms),
        watched_ms = watched_ms
            + coalesce((SELECT sum(ended_ms - started_ms) FROM spans WHERE session = sessions.id), 0)
    WHERE open = 1";
const LAST: &str = "SELECT coalesce(max(coalesce(ended_ms, started_ms)), 0) FROM sessions";

/// What every version has.
const TABLES: &str = "SELECT count(*) FROM sqlite_schema
    WHERE type = 'table' AND name IN ('sessions', 'spans', 'leaves', '_sqlx_migrations')";

async fn count(db: &mut Db) -> Result<Unset, sqlx::Error> {
    let has_visits = "SELECT count(*) FROM sqlite_schema WHERE name = 'visits'";
    let mut found = Unset {
        sessions: db
            .number("SELECT count(*) FROM sessions", &[])
            .await?
            .unsigned_abs(),
        ..Unset::default()
    };
    if db.number(has_visits, &[]).await? > 0 {
        found.visits = db
            .number("SELECT count(*) FROM visits", &[])
            .await?
            .unsigned_abs();
    }
    Ok(found)
}

/// Some of the numbers in the database.
async fn numbers(db: &mut Db, canary: [u8; 16]) -> Result<Gone, sqlx::Error> {
    let mut gone = Gone::default().and(canary);
    for statement in [
        "SELECT id, viewer FROM sessions LIMIT $1",
        "SELECT id, viewer FROM visits WHERE path <> '' LIMIT $1",
    ] {
        let mut ids = Vec::new();
        db.each(statement, &[Value::Int(SAMPLE)], |row| {
            ids.extend(row.id(0)?.into_iter().chain(row.id(1)?));
            Ok(())
        })
        .await?;
        gone = ids.into_iter().fold(gone, Gone::and);
    }
    Ok(gone)
}

fn with_suffix(file: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::analytics::leaves::Dimension;

    #[test]
    fn sessions_with_less_than_a_minute_between_them_are_one_view() {
        let date = Date::constant(2026, 11, 3);
        let day = Day::on(date, &TimeZone::UTC);
        let views = |viewers: [u8; 2], spans: [(i64, i64); 2]| {
            let all: Vec<PastSession> = (viewers.into_iter().zip(spans))
                .map(|(viewer, (from, to))| PastSession {
                    viewer: [viewer; 16],
                    path: "cam".into(),
                    protocol: "rtsp",
                    transport: "tcp",
                    client: "VLC",
                    country: "".into(),
                    machine: false,
                    began: true,
                    from_ms: day.window.start + from * 1000,
                    to_ms: day.window.start + to * 1000,
                })
                .collect();
            let leaves = leaves::of_day(&rows(&all), &day, &day.window);
            leaves[&("cam".into(), Dimension::All, "".into())].views
        };
        assert_eq!(views([1, 1], [(0, 20), (50, 70)]), 1, "who comes back");
        assert_eq!(
            views([1, 1], [(0, 6), (10, 16)]),
            1,
            "together they are long enough"
        );
        assert_eq!(views([1, 1], [(0, 6), (67, 73)]), 0);
        assert_eq!(views([1, 1], [(0, 20), (81, 101)]), 2);
        assert_eq!(views([1, 2], [(0, 20), (50, 70)]), 2, "two viewers");
    }
}
