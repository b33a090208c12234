//! How long what is kept, and how it goes for good.
//!
//! Numbers of viewers go a day after their calendar day closed, rows of sessions after some days, hours after some
//! months (their days stay), days after two years. In SQLite, `secure_delete` overwrites what is deleted, and what stays
//! in tables of single sessions is written anew, as a page that once split may hold a second copy of a row. Emptying
//! the WAL moves that into the file, and then the files are searched for a canary: a row that was stored and deleted
//! for this, and rows that went with it. In PostgreSQL the tables are written anew (`VACUUM FULL`); what its own WAL and
//! its backups keep is for its administrator to know.
//!
//! Not here: adding up (`days`).

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;

use jiff::tz::TimeZone;

use crate::analytics::Retention;
use crate::analytics::calendar;
use crate::analytics::calendar::Day;
use crate::analytics::db::Db;
use crate::analytics::db::Value;
use crate::analytics::store::LOCK_NOT_AVAILABLE;

/// Bytes that are searched at a time.
const CHUNK: usize = 1 << 20;

/// Numbers of rows that are searched for, beside the canary.
const SAMPLE: i64 = 7;

/// What a purge did, for who keeps account of it. Nothing in it is of one viewer, or of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// Kinds of rows that went, and how many: down to a multiple of k, and 0 where it were fewer, or of fewer viewers.
    pub rows: Vec<(&'static str, u64)>,
    /// What became of their bytes.
    pub bytes: Bytes,
}

/// What became of the bytes of rows that were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// The files were searched, and nothing was found.
    Gone,
    /// The files were searched, and so much was found.
    Left(u64),
    /// The files could not be searched.
    NotSearched,
    /// PostgreSQL wrote its tables anew. Its files are not ours to search.
    WrittenAnew,
    /// PostgreSQL did not.
    NotWrittenAnew,
}

impl Bytes {
    /// Whether it is as it should be.
    pub fn are_gone(self) -> bool {
        matches!(self, Self::Gone | Self::WrittenAnew)
    }
}

/// Who is told what a purge did.
pub type PurgeSink = Box<dyn Fn(Purged) + Send + Sync>;

/// Rows that went and are not told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Went {
    /// Of sessions that are over, with their times.
    pub(super) sessions: u64,
    /// The viewers of those; after several purges, of the one with the most.
    pub(super) viewers: u64,
    /// Of single sessions, as they are kept for some days.
    visits: u64,
    /// Those that stay, without the number of their viewer.
    numbers: u64,
    /// Counts of hours.
    hours: u64,
    /// Counts of days.
    days: u64,
}

impl Went {
    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            sessions: self.sessions + other.sessions,
            viewers: self.viewers.max(other.viewers),
            visits: self.visits + other.visits,
            numbers: self.numbers + other.numbers,
            hours: self.hours + other.hours,
            days: self.days + other.days,
        }
    }

    /// As it may be told: what fewer than k did is not counted.
    pub(super) fn told(self, k: u64) -> Vec<(&'static str, u64)> {
        let k = k.max(1);
        let rows = [
            ("sessions", self.sessions, self.viewers >= k),
            ("visits", self.visits, true),
            ("viewer numbers", self.numbers, true),
            ("counts of hours", self.hours, true),
            ("counts of days", self.days, true),
        ];
        let went = rows.into_iter().filter(|(_, n, _)| *n > 0);
        went.map(|(kind, n, of_many)| (kind, if of_many { n / k * k } else { 0 }))
            .collect()
    }
}

/// What must be in no file any more.
#[derive(Clone, Default)]
pub(super) struct Gone(Vec<[u8; 16]>);

impl Gone {
    /// One more.
    pub(super) fn and(mut self, id: [u8; 16]) -> Self {
        self.0.push(id);
        self
    }
}

/// Stores a row of nobody, to be deleted with the others: what is searched for, whether or not others go.
pub(super) async fn plant(db: &mut Db) -> Result<[u8; 16], sqlx::Error> {
    let canary = crate::analytics::recorder::random_id();
    db.execute(
        "INSERT INTO visits (id, viewer, day, path, length) VALUES ($1, $2, 0, '', 0)",
        &[Value::Bytes(&canary), Value::Bytes(&canary)],
    )
    .await?;
    Ok(canary)
}

/// Deletes what was kept long enough. The caller has begun a transaction.
///
/// Returns what must be gone then, and how much went.
pub(super) async fn expire(
    db: &mut Db,
    keep: &Retention,
    zone: &TimeZone,
    now_ms: i64,
    canary: [u8; 16],
) -> Result<(Gone, Went), sqlx::Error> {
    let today = Day::of(now_ms, zone);
    let visits_from = today.number - i64::from(keep.sessions_days);
    let hours_from = today.back(i64::from(keep.hours_days), zone);
    let days_from = today.back_months(i64::from(keep.days_months), zone);
    let mut gone = Gone(vec![canary]);
    let mut went = Went::default();
    db.each(
        "SELECT id FROM visits WHERE day < $1 LIMIT $2",
        &[Value::Int(visits_from), Value::Int(SAMPLE)],
        |row| {
            gone.0.extend(row.id(0)?);
            Ok(())
        },
    )
    .await?;
    went.visits = db
        .execute(
            "DELETE FROM visits WHERE day < $1 AND day > 0",
            &[Value::Int(visits_from)],
        )
        .await?;
    db.execute("DELETE FROM visits WHERE day = 0", &[]).await?;
    if db.is_sqlite() {
        // Samples of what columns held, for the planner, if somebody ever made them (ANALYZE).
        db.execute("DROP TABLE IF EXISTS sqlite_stat4", &[]).await?;
    }
    let known_from = calendar::known_from(now_ms, zone);
    let known_day = Day::of(known_from, zone).number;
    went.numbers = db
        .execute(
            "UPDATE visits SET viewer = NULL WHERE viewer IS NOT NULL AND day < $1",
            &[Value::Int(known_day)],
        )
        .await?;
    db.execute(
        "UPDATE sessions SET viewer = NULL WHERE viewer IS NOT NULL AND started_ms < $1",
        &[Value::Int(known_from)],
    )
    .await?;
    went.hours = db
        .execute(
            "DELETE FROM leaves WHERE dimension = 'hour' AND day < $1",
            &[Value::Int(hours_from.number)],
        )
        .await?;
    merge_tallies(db, hours_from.window.start / 1000, zone).await?;
    for statement in [
        "DELETE FROM leaves WHERE day < $1",
        "DELETE FROM runs WHERE ended = 1 AND started_ms < $1 * 86400000",
        "DELETE FROM tallies WHERE hour < $1 * 86400",
    ] {
        went.days += db.execute(statement, &[Value::Int(days_from.number)]).await?;
    }
    if db.is_sqlite() {
        // Those of sessions are few, as they go every hour.
        run_all(db, &SESSIONS_ANEW).await?;
        run_all(db, &SPANS_ANEW).await?;
    }
    if went.visits + went.numbers > 0 {
        visits_anew(db).await?;
    }
    Ok((gone, went))
}

/// Writes what is in a table of SQLite once more, in pages where nothing else was, and overwrites all former pages:
/// where a page split, `secure_delete` leaves the copy of a row that moved. Meanwhile the rows are in memory
/// (`temp_store`), where `VACUUM` would have the whole file.
macro_rules! anew {
    ($table:literal) => {
        [
            concat!("CREATE TEMP TABLE staying AS SELECT * FROM ", $table),
            concat!("DELETE FROM ", $table),
            concat!("INSERT INTO ", $table, " SELECT * FROM staying"),
            "DROP TABLE staying",
        ]
    };
}
const SESSIONS_ANEW: [&str; 4] = anew!("sessions");
const SPANS_ANEW: [&str; 4] = anew!("spans");
const VISITS_ANEW: [&str; 4] = anew!("visits");

/// After some rows of `visits` went: leaves no copy of them beside those that stay. The caller has begun a transaction;
/// in PostgreSQL that is for [`sweep`].
pub(super) async fn visits_anew(db: &mut Db) -> Result<(), sqlx::Error> {
    if db.is_sqlite() {
        run_all(db, &VISITS_ANEW).await?;
    }
    Ok(())
}

async fn run_all(db: &mut Db, statements: &[&'static str]) -> Result<(), sqlx::Error> {
    for statement in statements {
        db.execute(statement, &[]).await?;
    }
    Ok(())
}

/// Hours of tallies become one row per day.
async fn merge_tallies(db: &mut Db, before: i64, zone: &TimeZone) -> Result<(), sqlx::Error> {
    let mut hours = Vec::new();
    db.each(
        "SELECT DISTINCT hour FROM tallies WHERE hour < $1",
        &[Value::Int(before)],
        |row| {
            hours.push(row.int(0)?);
            Ok(())
        },
    )
    .await?;
    for hour in hours {
        let day = Day::of(hour * 1000, zone).window.start / 1000;
        if day == hour {
            continue;
        }
        let values = [Value::Int(hour), Value::Int(day)];
        db.execute(
            "INSERT INTO tallies (hour, scope, kind, bucket, n)
            SELECT $2, scope, kind, bucket, n FROM tallies WHERE hour = $1
            ON CONFLICT (kind, scope, hour, bucket) DO UPDATE SET n = tallies.n + excluded.n",
            &values,
        )
        .await?;
        db.execute("DELETE FROM tallies WHERE hour = $1", &values[..1])
            .await?;
    }
    Ok(())
}

/// What became of the bytes of rows that were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swept {
    Gone,
    /// Somebody reads: try again later.
    Busy,
    /// PostgreSQL writes tables anew for their owner alone. To others it says that it did, and leaves them as they are.
    NotOurs,
}

/// Each table of single sessions in PostgreSQL: in which file it is, and how it is written anew.
const TABLES: [(&str, &str); 3] = [
    (
        "SELECT CAST(pg_relation_filenode('sessions') AS BIGINT)",
        "VACUUM FULL sessions",
    ),
    (
        "SELECT CAST(pg_relation_filenode('spans') AS BIGINT)",
        "VACUUM FULL spans",
    ),
    (
        "SELECT CAST(pg_relation_filenode('visits') AS BIGINT)",
        "VACUUM FULL visits",
    ),
];

/// Makes what was deleted gone.
pub(super) async fn sweep(db: &mut Db) -> Result<Swept, sqlx::Error> {
    if db.is_sqlite() {
        let busy = db.number("PRAGMA wal_checkpoint(TRUNCATE)", &[]).await?;
        return Ok(if busy == 0 { Swept::Gone } else { Swept::Busy });
    }
    let mut swept = Swept::Gone;
    for (file, anew) in TABLES {
        let before = db.number(file, &[]).await?;
        match db.execute(anew, &[]).await {
            Ok(_) if db.number(file, &[]).await? == before => swept = Swept::NotOurs,
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) => {
                return Ok(Swept::Busy);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(swept)
}

/// How many of what must be gone still lie in the files of a database.
///
/// # Errors
/// When a file that is there cannot be read.
pub(super) fn scan(files: &[&Path], gone: &Gone) -> io::Result<usize> {
    let mut left: HashSet<[u8; 16]> = gone.0.iter().copied().collect();
    let all = left.len();
    for file in files {
        match File::open(file) {
            Ok(file) => search(file, &mut left)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all - left.len())
}

/// Takes those out that are found.
fn search(mut file: impl Read, left: &mut HashSet<[u8; 16]>) -> io::Result<()> {
    let mut begins = [false; 1 << 16];
    for needle in &*left {
        begins[usize::from(u16::from_le_bytes([needle[0], needle[1]]))] = true;
    }
    let mut buffer = vec![0; CHUNK + 15];
    let mut kept = 0; // what may be the beginning of one
    loop {
        let read = file.read(&mut buffer[kept..])?;
        if read == 0 {
            return Ok(());
        }
        let filled = &buffer[..kept + read];
        for bytes in filled.windows(16) {
            if begins[usize::from(u16::from_le_bytes([bytes[0], bytes[1]]))] {
                left.remove(bytes);
            }
        }
        kept = filled.len().min(15);
        let end = filled.len();
        buffer.copy_within(end - kept..end, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slowly<'b>(&'b [u8]);

    impl Read for Slowly<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(into.len()).min(7);
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn what_went_is_told_in_multiples_of_k_and_of_few_viewers_not_at_all() {
        let went = Went {
            sessions: 23,
            viewers: 5,
            visits: 4,
            days: 10,
            ..Went::default()
        };
        assert_eq!(
            went.told(5),
            [("sessions", 20), ("visits", 0), ("counts of days", 10)]
        );
        let one = Went { viewers: 1, ..went };
        assert_eq!(one.told(5)[0], ("sessions", 0), "one who came again and again");
        assert_eq!(one.and(went).told(5)[0], ("sessions", 45));
        assert_eq!(Went::default().told(5), []);
    }

    #[test]
    fn what_lies_across_two_reads_is_found() {
        let needles = [[7; 16], [9; 16]];
        for before in 0..40 {
            let mut file = vec![1; before];
            file.extend([7; 16]);
            file.extend([9; 15]);
            let mut left = HashSet::from(needles);
            search(Slowly(&file), &mut left).unwrap();
            assert_eq!(left, HashSet::from([[9; 16]]), "{before}");
        }
    }
}
