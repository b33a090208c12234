//! Rows out of the store, days into leaves, and rows away for good.
//!
//! Adding up moves: in one transaction the counts of rows go into leaves and the rows go, so that leaves
//! plus rows are always everything once, whatever the clock did and whenever a row came late. Not here: the
//! arithmetic (`leaves`).

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use futures::TryStreamExt;
use jiff::tz::TimeZone;
use sqlx::Connection;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::analytics::leaves;
use crate::analytics::leaves::Day;
use crate::analytics::leaves::Key;
use crate::analytics::leaves::Leaf;
use crate::analytics::leaves::Row;

/// Leaves are kept for 25 months.
const LEAVES_KEPT_DAYS: i64 = 761;

/// A session with its spans, one row per span, spans of a session together.
const ROWS: &str = "
    SELECT s.id, s.viewer, s.path, s.protocol, s.transport, s.client, s.machine, s.started_ms, s.counted,
        p.started_ms AS span_from, p.ended_ms AS span_to
    FROM sessions s LEFT JOIN spans p ON p.session = s.id
    WHERE ($1 = '' OR s.path = $1)
        AND (s.started_ms < $2 OR s.started_ms >= $3 OR p.started_ms < $2 OR p.started_ms >= $3)
    ORDER BY s.id, p.number";

const ADD_LEAF: &str = "
    INSERT INTO leaves (day, scope, dimension, value, sessions, viewers, watch_ms, peak)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (day, scope, dimension, value) DO UPDATE SET sessions = sessions + excluded.sessions,
        viewers = viewers + excluded.viewers, watch_ms = watch_ms + excluded.watch_ms,
        peak = max(peak, excluded.peak)";

/// All rows, of all paths or of one. Spans that still play are taken to last until `open_until`.
pub(super) async fn rows(
    connection: &mut SqliteConnection,
    path: &str,
    open_until: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    rows_outside(connection, path, i64::MAX..i64::MAX, open_until).await
}

/// Rows that began, or have spans that began, outside of `kept`.
async fn rows_outside(
    connection: &mut SqliteConnection,
    path: &str,
    kept: Range<i64>,
    open_until: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    // One after the other: what the database makes of a row is ten times what we keep of it.
    let mut all = sqlx::query(ROWS)
        .bind(path)
        .bind(kept.start)
        .bind(kept.end)
        .fetch(connection);
    let mut words = Words::default();
    let mut rows: Vec<Row> = Vec::new();
    let mut last: Option<[u8; 16]> = None;
    while let Some(found) = all.try_next().await? {
        let id = number(&found, "id")?.unwrap_or_default();
        if last != Some(id) {
            rows.push(row(&found, id, &mut words)?);
            last = Some(id);
        }
        let from: Option<i64> = found.try_get("span_from")?;
        if let (Some(from), Some(row)) = (from, rows.last_mut()) {
            let to: Option<i64> = found.try_get("span_to")?;
            row.spans.push(from..to.unwrap_or(open_until).max(from));
        }
    }
    Ok(rows)
}

fn row(found: &SqliteRow, id: [u8; 16], words: &mut Words) -> Result<Row, sqlx::Error> {
    Ok(Row {
        viewer: number(found, "viewer")?.unwrap_or(id),
        path: words.one(found.try_get("path")?),
        protocol: words.one(found.try_get("protocol")?),
        transport: words.one(found.try_get("transport")?),
        client: words.one(found.try_get("client")?),
        machine: found.try_get("machine")?,
        started_ms: found.try_get("started_ms")?,
        counted: found.try_get("counted")?,
        spans: Vec::new(),
    })
}

fn number(found: &SqliteRow, column: &str) -> Result<Option<[u8; 16]>, sqlx::Error> {
    let bytes: Option<&[u8]> = found.try_get(column)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()))
}

/// The few words that many rows have in common.
#[derive(Default)]
struct Words(HashSet<Arc<str>>);

impl Words {
    fn one(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.0.insert(new.clone());
        new
    }
}

/// Adds up the days that closed long enough ago and deletes their rows. Days that lie ahead are added up at
/// once: the clock was wrong when they were recorded. True when something was deleted, so that the WAL
/// should be emptied ([`empty_wal`]).
pub(super) async fn add_up(
    connection: &mut SqliteConnection,
    zone: &TimeZone,
    now_ms: i64,
) -> Result<bool, sqlx::Error> {
    let today = Day::of(now_ms, zone);
    let ahead = today.next(zone).window.end;
    let kept = leaves::kept_from(now_ms, zone)..ahead;
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let rows = rows_outside(&mut tx, "", kept.clone(), now_ms).await?;
    for day in days_outside(&rows, &kept, zone) {
        add_day(&mut tx, &day, &leaves::of_day(&rows, &day, &day.window)).await?;
    }
    let mut deleted = 0;
    for statement in [
        "DELETE FROM spans WHERE ended_ms <= $1 OR (started_ms >= $2 AND ended_ms IS NOT NULL)",
        "UPDATE spans SET started_ms = $1 WHERE started_ms < $1",
        "UPDATE sessions SET viewer = NULL, counted = 1
            WHERE counted = 0 AND (started_ms < $1 OR started_ms >= $2)",
        "DELETE FROM sessions WHERE counted = 1 AND open = 0
            AND NOT EXISTS (SELECT 1 FROM spans WHERE session = sessions.id)",
    ] {
        let done = sqlx::query(statement)
            .bind(kept.start)
            .bind(kept.end)
            .execute(&mut *tx)
            .await?;
        deleted += done.rows_affected();
    }
    for statement in [
        "DELETE FROM leaves WHERE day < $1",
        "DELETE FROM runs WHERE ended = 1 AND started_ms < $1 * 86400000",
    ] {
        let oldest = today.number - LEAVES_KEPT_DAYS;
        let done = sqlx::query(statement).bind(oldest).execute(&mut *tx).await?;
        deleted += done.rows_affected();
    }
    tx.commit().await?;
    Ok(deleted > 0)
}

async fn add_day(
    connection: &mut SqliteConnection,
    day: &Day,
    leaves: &BTreeMap<Key, Leaf>,
) -> Result<(), sqlx::Error> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for ((scope, dimension, value), leaf) in leaves {
        sqlx::query(ADD_LEAF)
            .bind(day.number)
            .bind(&**scope)
            .bind(dimension.name())
            .bind(&**value)
            .bind(count(leaf.sessions))
            .bind(count(leaf.viewers))
            .bind(count(leaf.watch_ms))
            .bind(count(leaf.peak))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The days outside of `kept` in which something began or played.
fn days_outside(rows: &[Row], kept: &Range<i64>, zone: &TimeZone) -> Vec<Day> {
    let mut days: BTreeMap<i64, Day> = BTreeMap::new();
    let mut note = |ms: i64| {
        let day = Day::of(ms, zone);
        let next = day.window.end;
        if !kept.contains(&day.window.start) {
            days.insert(day.number, day);
        }
        next
    };
    for row in rows {
        note(row.started_ms);
        for span in &row.spans {
            let mut at = span.start;
            while at < span.end && !kept.contains(&at) {
                at = note(at);
            }
        }
    }
    days.into_values().collect()
}

/// Moves the WAL into the main file, where `secure_delete` overwrites what was deleted, and cuts it to
/// nothing. False while somebody reads: try again later.
pub(super) async fn empty_wal(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let answer = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(connection)
        .await?;
    let busy: i64 = answer.try_get(0)?;
    Ok(busy == 0)
}
