//! What is stored of hours and days that are over, as it is asked for.
//!
//! The sums are made by the database: in 25 months there are a million leaves, of which an answer needs some dozens of
//! sums. For the published tier, a day that closed gets leaves of its own once (scope `*`): of each path's leaf so
//! much as may be seen, added up. They are never changed, whatever is deleted or comes late.

use std::collections::HashMap;
use std::ops::Range;

use crate::analytics::Options;
use crate::analytics::calendar::Day;
use crate::analytics::cells::MOST_DAYS_OF_HOURS;
use crate::analytics::db::Db;
use crate::analytics::db::Row;
use crate::analytics::db::Value;
use crate::analytics::leaves::Dimension;
use crate::analytics::leaves::Key;
use crate::analytics::leaves::Leaf;
use crate::analytics::query::Tier;
use crate::analytics::tallies::Health;
use crate::analytics::tallies::Kind;

/// The days that are asked for.
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
    /// From this day on, days are not added up.
    pub(super) apart_from: i64,
}

/// A leaf, or the sum of several.
pub(super) struct Part {
    /// `None` for a sum.
    pub(super) day: Option<i64>,
    pub(super) key: Key,
    pub(super) leaf: Leaf,
    /// Viewers of the day that had the most.
    pub(super) most_viewers: u64,
}

/// The sums of a scope, for values: first and last day, the first day apart, and the scope. Only what tells rows
/// apart is sorted: that is what they cost.
macro_rules! sums_where {
    ($which:literal) => {
        concat!(
            "SELECT CAST(-1 AS BIGINT), CAST($4 AS TEXT), dimension, value, CAST(sum(sessions) AS BIGINT),
                CAST(sum(viewers) AS BIGINT), CAST(sum(watch_ms) AS BIGINT), max(peak), CAST(sum(views) AS BIGINT),
                max(viewers)
            FROM leaves WHERE scope = $4 AND day BETWEEN $1 AND $2 AND day < $3 AND ",
            $which,
            " GROUP BY dimension, value
            UNION ALL SELECT day, scope, dimension, value, sessions, viewers, watch_ms, peak, views, viewers
            FROM leaves WHERE scope = $4 AND day BETWEEN $1 AND $2 AND day >= $3 AND ",
            $which
        )
    };
}

/// The same, but of each leaf only so much as may be published; with k as one value more. Fewer than k viewers are
/// nobody; all else is rounded down to a multiple of k (watch time: of k minutes).
macro_rules! published_where {
    ($which:literal) => {
        concat!(
            "SELECT CAST(-1 AS BIGINT), CAST($4 AS TEXT), dimension, value, CAST(sum(sessions / $5 * $5) AS BIGINT),
                CAST(sum(viewers / $5 * $5) AS BIGINT), CAST(sum(watch_ms / ($5 * 60000) * ($5 * 60000)) AS BIGINT),
                max(peak / $5 * $5), CAST(sum(views / $5 * $5) AS BIGINT), max(viewers)
            FROM leaves WHERE scope = $4 AND day BETWEEN $1 AND $2 AND $3 >= 0 AND viewers >= $5 AND ",
            $which,
            " GROUP BY dimension, value"
        )
    };
}

/// All but hours, which are many.
const OF_SCOPE: &str = sums_where!(
    "dimension IN ('all', 'protocol', 'transport', 'client', 'country', 'length', 'cut', 'machines')"
);
const HOURS_OF_SCOPE: &str = sums_where!("dimension = 'hour'");

/// The same of each path. Leaves lie in the order of scopes: sums by scope alone need no sorting.
const PATHS: &str = "
    SELECT CAST(-1 AS BIGINT), scope, 'all', '', CAST(sum(sessions) AS BIGINT), CAST(sum(viewers) AS BIGINT),
        CAST(sum(watch_ms) AS BIGINT), max(peak), CAST(sum(views) AS BIGINT), max(viewers)
    FROM leaves WHERE dimension = 'all' AND scope <> $4 AND scope <> '*' AND day BETWEEN $1 AND $2 AND day < $3
    GROUP BY scope
    UNION ALL SELECT day, scope, 'all', '', sessions, viewers, watch_ms, peak, views, viewers
    FROM leaves WHERE dimension = 'all' AND scope <> $4 AND scope <> '*' AND day BETWEEN $1 AND $2 AND day >= $3";

/// Days told apart. Values are those of the sums.
const DAYS: &str = "
    SELECT day, scope, 'day', CAST(day AS TEXT), sessions, viewers, watch_ms, peak, views, viewers
    FROM leaves WHERE dimension = 'all' AND scope = $4 AND day BETWEEN $1 AND $2 AND $3 >= 0";
const PUBLISHED_DAYS: &str = "
    SELECT day, scope, 'day', CAST(day AS TEXT), sessions / $5 * $5, viewers / $5 * $5,
        watch_ms / ($5 * 60000) * ($5 * 60000), peak / $5 * $5, views / $5 * $5, viewers
    FROM leaves WHERE dimension = 'all' AND scope = $4 AND day BETWEEN $1 AND $2 AND $3 >= 0 AND viewers >= $5";

const PUBLISHED_OF_SCOPE: &str = published_where!(
    "dimension IN ('all', 'protocol', 'transport', 'client', 'country', 'length', 'cut', 'machines')"
);
const PUBLISHED_HOURS_OF_SCOPE: &str = published_where!("dimension = 'hour'");
const PUBLISHED_PATHS: &str = "
    SELECT CAST(-1 AS BIGINT), scope, 'all', '', CAST(sum(sessions / $5 * $5) AS BIGINT),
        CAST(sum(viewers / $5 * $5) AS BIGINT), CAST(sum(watch_ms / ($5 * 60000) * ($5 * 60000)) AS BIGINT),
        max(peak / $5 * $5), CAST(sum(views / $5 * $5) AS BIGINT), max(viewers)
    FROM leaves WHERE dimension = 'all' AND scope <> $4 AND scope <> '*' AND scope <> ''
        AND day BETWEEN $1 AND $2 AND $3 >= 0 AND viewers >= $5
    GROUP BY scope";

/// Closes days for good: what of them may be published is written down.
const CLOSE: &str = "
    INSERT INTO leaves (day, scope, dimension, value, sessions, viewers, watch_ms, peak, views)
    SELECT day, '*', dimension, value, CAST(sum(sessions / $2 * $2) AS BIGINT),
        CAST(sum(viewers / $2 * $2) AS BIGINT), CAST(sum(watch_ms / ($2 * 60000) * ($2 * 60000)) AS BIGINT),
        max(peak / $2 * $2), CAST(sum(views / $2 * $2) AS BIGINT)
    FROM leaves WHERE scope <> '' AND scope <> '*' AND day < $1 AND viewers >= $2
        AND day > (SELECT coalesce(max(day), -1) FROM leaves WHERE dimension = 'closed')
    GROUP BY day, dimension, value
    ON CONFLICT (dimension, scope, day, value) DO NOTHING";

/// Up to which day that was done.
const CLOSED: &str = "
    INSERT INTO leaves (day, scope, dimension, value, sessions, viewers, watch_ms, peak, views)
    VALUES ($1, '*', 'closed', '', 0, 0, 0, 0, 0) ON CONFLICT (dimension, scope, day, value) DO NOTHING";

/// Closes all days before `today` that are not closed yet. The caller has begun a transaction.
pub(super) async fn close(db: &mut Db, today: i64, k: u32) -> Result<(), sqlx::Error> {
    // Days that lie ahead were closed by a clock that was wrong.
    db.execute(
        "DELETE FROM leaves WHERE dimension = 'closed' AND day >= $1",
        &[Value::Int(today)],
    )
    .await?;
    db.execute(CLOSE, &[Value::Int(today), Value::Int(i64::from(k.max(1)))])
        .await?;
    db.execute(CLOSED, &[Value::Int(today - 1)]).await?;
    db.execute(
        "DELETE FROM leaves WHERE dimension = 'closed' AND day < $1",
        &[Value::Int(today - 1)],
    )
    .await?;
    Ok(())
}

/// Closes one day for good that was brought in after it would have been, unless it was closed with something in it.
const CLOSE_LATE: &str = "
    INSERT INTO leaves (day, scope, dimension, value, sessions, viewers, watch_ms, peak, views)
    SELECT day, '*', dimension, value, CAST(sum(sessions / $2 * $2) AS BIGINT),
        CAST(sum(viewers / $2 * $2) AS BIGINT), CAST(sum(watch_ms / ($2 * 60000) * ($2 * 60000)) AS BIGINT),
        max(peak / $2 * $2), CAST(sum(views / $2 * $2) AS BIGINT)
    FROM leaves WHERE scope <> '' AND scope <> '*' AND day = $1 AND viewers >= $2
        AND day <= (SELECT coalesce(max(day), -1) FROM leaves WHERE dimension = 'closed')
        AND NOT EXISTS (SELECT 1 FROM leaves WHERE day = $1 AND scope = '*' AND dimension NOT IN ('closed', 'past'))
    GROUP BY day, dimension, value
    ON CONFLICT (dimension, scope, day, value) DO NOTHING";

/// Closes a day of the past that was just brought in. The caller has begun a transaction.
pub(super) async fn close_late(db: &mut Db, day: i64, k: u32) -> Result<(), sqlx::Error> {
    db.execute(CLOSE_LATE, &[Value::Int(day), Value::Int(i64::from(k.max(1)))])
        .await
        .map(drop)
}

/// The leaves of a scope and, for all paths together, those of each path.
pub(super) async fn leaves(
    db: &mut Db,
    span: &Span,
    path: &str,
    tier: Tier,
    k: u32,
) -> Result<Vec<Part>, sqlx::Error> {
    let published = tier == Tier::Published;
    let [of_scope, days, hours, paths] = if published {
        [
            PUBLISHED_OF_SCOPE,
            PUBLISHED_DAYS,
            PUBLISHED_HOURS_OF_SCOPE,
            PUBLISHED_PATHS,
        ]
    } else {
        [OF_SCOPE, DAYS, HOURS_OF_SCOPE, PATHS]
    };
    let scope = if published && path.is_empty() { "*" } else { path };
    let mut statements = vec![(of_scope, scope), (days, scope)];
    if span.last - span.first < MOST_DAYS_OF_HOURS {
        statements.push((hours, scope));
    }
    if path.is_empty() {
        statements.push((paths, ""));
    }
    let mut parts = Vec::new();
    for (statement, scope) in statements {
        let values = [
            Value::Int(span.first),
            Value::Int(span.last),
            Value::Int(span.apart_from),
            Value::Text(scope),
            Value::Int(i64::from(k.max(1))),
        ];
        let values = if published { &values[..] } else { &values[..4] };
        db.each(statement, values, |row| {
            parts.extend(part(row)?);
            Ok(())
        })
        .await?;
    }
    Ok(parts)
}

/// `None` for a dimension of a later version.
fn part(row: &Row) -> Result<Option<Part>, sqlx::Error> {
    let Some(dimension) = Dimension::named(row.text(2)?) else {
        return Ok(None);
    };
    let scope = match row.text(1)? {
        "*" => "",
        scope => scope,
    };
    let day = row.int(0)?;
    Ok(Some(Part {
        day: (day >= 0).then_some(day),
        key: (scope.into(), dimension, row.text(3)?.into()),
        leaf: Leaf {
            sessions: row.count(4)?,
            viewers: row.count(5)?,
            watch_ms: row.count(6)?,
            peak: row.count(7)?,
            views: row.count(8)?,
        },
        most_viewers: row.count(9)?,
    }))
}

/// What tallies say of a range.
pub(super) async fn health(
    db: &mut Db,
    asked: &Range<i64>,
    path: &str,
    options: &Options,
) -> Result<Health, sqlx::Error> {
    let mut counts = HashMap::new();
    let values = [
        Value::Int(asked.start / 1000),
        Value::Int(asked.end / 1000),
        Value::Text(path),
    ];
    db.each(
        "SELECT kind, bucket, CAST(sum(n) AS BIGINT) FROM tallies
        WHERE hour >= $1 AND hour < $2 AND ($3 = '' OR scope = $3) GROUP BY kind, bucket",
        &values,
        |row| {
            let bucket = usize::try_from(row.int(1)?).unwrap_or_default();
            if let Some(kind) = Kind::named(row.text(0)?) {
                counts.insert((kind, bucket), row.count(2)?);
            }
            Ok(())
        },
    )
    .await?;
    // As for cells of a breakdown: the day that had the most viewers decides.
    let mut days: HashMap<(Kind, i64), u64> = HashMap::new();
    db.each(
        "SELECT kind, hour, n FROM tallies
        WHERE hour >= $1 AND hour < $2 AND scope = $3
            AND kind IN ('startup_viewers', 'loss_viewers', 'jumps_viewers')",
        &values,
        |row| {
            let day = Day::of(row.int(1)?.saturating_mul(1000), &options.time_zone).number;
            if let Some(kind) = Kind::named(row.text(0)?) {
                *days.entry((kind, day)).or_default() += row.count(2)?;
            }
            Ok(())
        },
    )
    .await?;
    let mut viewers: HashMap<Kind, u64> = HashMap::new();
    for ((kind, _), n) in days {
        let most = viewers.entry(kind).or_default();
        *most = n.max(*most);
    }
    Ok(Health::of(&counts, &viewers, u64::from(options.k)))
}
