//! Rows out of the store, hours into leaves.
//!
//! Adding up moves: in one transaction the counts of rows go into leaves and the rows go, so that leaves plus rows
//! are always everything once, whatever the clock did and whenever a row came late. Once an hour is added up, only
//! sessions that still last have rows, with nothing of their past but the hour in which they began. Not here: the
//! arithmetic (`leaves`), how long what is kept (`purge`).

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::analytics::calendar;
use crate::analytics::calendar::Day;
use crate::analytics::db;
use crate::analytics::db::Db;
use crate::analytics::db::Value;
use crate::analytics::leaves;
use crate::analytics::leaves::Ended;
use crate::analytics::leaves::Key;
use crate::analytics::leaves::Leaf;
use crate::analytics::leaves::Row;

/// A session with its spans, one row per span, spans of a session together.
const ROWS: &str = "
    SELECT s.id, s.viewer, s.path, s.protocol, s.transport, s.client, s.country, s.machine, s.started_ms, s.counted,
        s.firsts, s.viewed_ms, s.ended_ms, s.watched_ms, s.cut, p.started_ms, p.ended_ms
    FROM sessions s LEFT JOIN spans p ON p.session = s.id
    WHERE ($1 = '' OR s.path = $1)
        AND (s.started_ms < $2 OR s.started_ms >= $3 OR p.started_ms < $2 OR p.started_ms >= $3)
    ORDER BY s.id, p.number";

const ADD_LEAF: &str = "
    INSERT INTO leaves (day, scope, dimension, value, sessions, viewers, watch_ms, peak, views)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (dimension, scope, day, value) DO UPDATE SET sessions = leaves.sessions + excluded.sessions,
        viewers = leaves.viewers + excluded.viewers, watch_ms = leaves.watch_ms + excluded.watch_ms,
        peak = CASE WHEN leaves.peak < excluded.peak THEN excluded.peak ELSE leaves.peak END,
        views = leaves.views + excluded.views";

/// What of rows goes once its counts are in leaves: with the first and the last moment of what is kept.
const MOVED: [&str; 6] = [
    // What was played of sessions that last.
    "UPDATE sessions SET watched_ms = watched_ms + coalesce((
            SELECT CAST(sum(CASE WHEN ended_ms < $1 THEN ended_ms ELSE $1 END - started_ms) AS BIGINT)
            FROM spans WHERE session = sessions.id AND started_ms < $1), 0)
        WHERE open = 1 AND $2 > 0",
    "DELETE FROM spans WHERE ended_ms <= $1 OR (started_ms >= $2 AND ended_ms IS NOT NULL)",
    "UPDATE spans SET started_ms = $1 WHERE started_ms < $1 AND $2 > 0",
    // To the beginning of its hour. Hours are counted from the cut.
    "UPDATE sessions SET counted = 1,
            started_ms = CASE WHEN started_ms < $1 THEN $1 - (($1 - started_ms + 3599999) / 3600000) * 3600000
                ELSE started_ms END
        WHERE counted = 0 AND (started_ms < $1 OR started_ms >= $2)",
    "UPDATE sessions SET viewed_ms = -1 WHERE viewed_ms >= 0 AND (viewed_ms < $1 OR viewed_ms >= $2)",
    "DELETE FROM sessions WHERE counted = 1 AND open = 0
        AND (ended_ms IS NULL OR ended_ms < $1 OR ended_ms >= $2)
        AND NOT EXISTS (SELECT 1 FROM spans WHERE session = sessions.id)",
];

/// All rows, of all paths or of one. Spans that still play are taken to last until `open_until`.
pub(super) async fn rows(db: &mut Db, path: &str, open_until: i64) -> Result<Vec<Row>, sqlx::Error> {
    rows_outside(db, path, i64::MAX..i64::MAX, open_until).await
}

/// Rows that began, or have spans that began, outside of `kept`.
async fn rows_outside(
    db: &mut Db,
    path: &str,
    kept: Range<i64>,
    open_until: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let mut words = Words::default();
    let mut rows: Vec<Row> = Vec::new();
    let values = [Value::Text(path), Value::Int(kept.start), Value::Int(kept.end)];
    db.each(ROWS, &values, |found| {
        let id = found.id(0)?.unwrap_or_default();
        if rows.last().is_none_or(|last| last.id != id) {
            rows.push(row(found, id, &mut words)?);
        }
        if let (Some(from), Some(row)) = (found.maybe_int(15)?, rows.last_mut()) {
            let to = found.maybe_int(16)?;
            row.spans.push(from..to.unwrap_or(open_until).max(from));
        }
        Ok(())
    })
    .await?;
    Ok(rows)
}

fn row(found: &db::Row, id: [u8; 16], words: &mut Words) -> Result<Row, sqlx::Error> {
    let (watched_ms, cut) = (found.int(13)?, found.flag(14)?);
    let ended = found.maybe_int(12)?.map(|at_ms| Ended {
        at_ms,
        watched_ms,
        cut,
    });
    Ok(Row {
        id,
        viewer: found.id(1)?.unwrap_or(id),
        path: words.one(found.text(2)?),
        protocol: words.one(found.text(3)?),
        transport: words.one(found.text(4)?),
        client: words.one(found.text(5)?),
        country: words.one(found.text(6)?),
        machine: found.flag(7)?,
        started_ms: found.int(8)?,
        counted: found.flag(9)?,
        firsts: found.int(10)?,
        viewed_ms: found.maybe_int(11)?.filter(|at| *at >= 0),
        ended,
        watched_ms,
        spans: Vec::new(),
    })
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

/// Adds up the hours that are over and deletes their rows. Days that lie ahead are added up at once: the clock was
/// wrong when they were recorded. The caller has begun a transaction.
///
/// Returns the rows of sessions that are over and gone.
pub(super) async fn add_up(db: &mut Db, zone: &TimeZone, now_ms: i64) -> Result<Vec<Row>, sqlx::Error> {
    let ahead = Day::of(now_ms, zone).next(zone).window.end;
    let kept = calendar::kept_from(now_ms, zone)..ahead;
    let rows = rows_outside(db, "", kept.clone(), now_ms).await?;
    for day in days_outside(&rows, &kept, zone) {
        let before = day.window.start..day.window.end.min(kept.start);
        let after = day.window.start.max(kept.end)..day.window.end;
        for part in [before, after] {
            if !part.is_empty() {
                add_day(db, &day, &leaves::of_day(&rows, &day, &part)).await?;
            }
        }
    }
    for statement in MOVED {
        db.execute(statement, &[Value::Int(kept.start), Value::Int(kept.end)])
            .await?;
    }
    let over = rows.into_iter().filter(|row| {
        let kept_on = |ms| kept.contains(&ms);
        row.ended.is_some_and(|ended| !kept_on(ended.at_ms)) && !kept_on(row.started_ms)
    });
    Ok(over.collect())
}

pub(super) async fn add_day(db: &mut Db, day: &Day, leaves: &BTreeMap<Key, Leaf>) -> Result<(), sqlx::Error> {
    let count = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    for ((scope, dimension, value), leaf) in leaves {
        let values = [
            Value::Int(day.number),
            Value::Text(scope),
            Value::Text(dimension.name()),
            Value::Text(value),
            count(leaf.sessions),
            count(leaf.viewers),
            count(leaf.watch_ms),
            count(leaf.peak),
            count(leaf.views),
        ];
        db.execute(ADD_LEAF, &values).await?;
    }
    Ok(())
}

/// The days of which something lies outside of `kept`.
fn days_outside(rows: &[Row], kept: &Range<i64>, zone: &TimeZone) -> Vec<Day> {
    let mut days: BTreeMap<i64, Day> = BTreeMap::new();
    let mut note = |ms: i64| {
        let day = Day::of(ms, zone);
        let next = day.window.end;
        if !kept.contains(&ms) {
            days.insert(day.number, day);
        }
        next
    };
    for row in rows {
        for moment in [Some(row.started_ms), row.viewed_ms, row.ended.map(|e| e.at_ms)] {
            moment.map(&mut note);
        }
        for span in &row.spans {
            let mut at = span.start;
            while at < span.end && !kept.contains(&at) {
                at = note(at);
            }
        }
    }
    days.into_values().collect()
}
