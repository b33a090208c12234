//! `/api/v1/stats` and `louver stats --json`: one shape for both. As a table for spreadsheets: `csv`.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;

use crate::analytics::query;
use crate::analytics::query::Counts;
use crate::analytics::query::Question;
use crate::analytics::query::Stats;
use crate::analytics::query::Tier;
use crate::web::api::rfc3339;
use crate::web::problem::Problem;
use crate::web::route::query_value;

/// `/api/v1/stats`.
#[derive(Serialize)]
pub struct StatsJson {
    from: String,
    to: String,
    time_zone: Option<String>,
    k: u32,
    /// `"console"` or `"published"`.
    tier: &'static str,
    #[serde(flatten)]
    total: CountsJson,
    live: LiveJson,
    by_path: Vec<ByPath>,
    by_protocol: Vec<ByProtocol>,
    by_transport: Vec<ByTransport>,
    by_client: Vec<ByClient>,
    by_country: Vec<ByCountry>,
    by_length: Vec<ByLength>,
    by_day: Vec<ByDay>,
    by_hour: Vec<ByHour>,
    by_weekday_hour: Vec<ByWeekdayHour>,
    /// Estimated, with those who could not stay longer taken into account.
    staying: Vec<StayingJson>,
    /// Recorders, relays and monitors: in nothing of the above.
    machines: CountsJson,
    health: HealthJson,
    /// `"ok"`, or `"failing"`: the newest sessions wait in memory.
    store: &'static str,
    /// Who opts out is in no number.
    opted_out_honoured: bool,
    restarts: u64,
}

#[derive(Serialize)]
struct LiveJson {
    sessions: u64,
    machines: u64,
    by_path: Vec<LiveByPath>,
}

#[derive(Serialize)]
struct LiveByPath {
    path: String,
    sessions: u64,
}

/// Counts, or `null` and `"below_k": true` where they would tell of too few viewers.
#[derive(Serialize)]
struct CountsJson {
    sessions: Option<u64>,
    viewer_days: Option<u64>,
    watch_seconds: Option<u64>,
    peak_concurrent: Option<u64>,
    views: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    below_k: bool,
}

impl From<Option<Counts>> for CountsJson {
    fn from(counts: Option<Counts>) -> Self {
        Self {
            sessions: counts.map(|c| c.sessions),
            viewer_days: counts.map(|c| c.viewer_days),
            watch_seconds: counts.map(|c| c.watch_seconds),
            peak_concurrent: counts.map(|c| c.peak_concurrent),
            views: counts.map(|c| c.views),
            below_k: counts.is_none(),
        }
    }
}

/// A row of a breakdown: its key under the breakdown's own name, then its counts.
macro_rules! rows {
    ($($name:ident $key:ident),*) => {$(
        #[derive(Serialize)]
        struct $name {
            $key: String,
            #[serde(flatten)]
            counts: CountsJson,
        }

        impl $name {
            fn all<K>(cells: &[query::Cell<K>], key: impl Fn(&K) -> String) -> Vec<Self> {
                let row = |cell: &query::Cell<K>| Self { $key: key(&cell.key), counts: cell.counts.into() };
                cells.iter().map(row).collect()
            }
        }
    )*};
}

rows!(ByPath path, ByProtocol protocol, ByTransport transport);
rows!(ByClient client, ByCountry country, ByLength seconds, ByDay day, ByHour hour);

/// The mean of that hour in the weeks of the range.
#[derive(Serialize)]
struct ByWeekdayHour {
    /// 1 is Monday.
    weekday: i8,
    hour: i8,
    mean_concurrent: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    below_k: bool,
}

impl ByWeekdayHour {
    fn of(cell: &query::Cell<(i8, i8)>) -> Self {
        Self {
            weekday: cell.key.0 + 1,
            hour: cell.key.1,
            mean_concurrent: cell.counts.map(mean_concurrent),
            below_k: cell.counts.is_none(),
        }
    }
}

/// Sessions at the same time in an hour, on average.
pub(super) fn mean_concurrent(hour: Counts) -> f64 {
    (hour.watch_seconds as f64 / 36.0).round() / 100.0
}

#[derive(Serialize)]
struct StayingJson {
    seconds: i64,
    /// Share of those who began that still watch.
    share: f64,
}

#[derive(Serialize)]
struct HealthJson {
    attempts: u64,
    online_seconds: u64,
    startup_ms: Option<Quantiles>,
    loss_per_million: Option<Quantiles>,
    jumped_share: Option<f64>,
}

#[derive(Serialize)]
struct Quantiles {
    p50: i64,
    p90: i64,
}

impl From<&query::Health> for HealthJson {
    fn from(health: &query::Health) -> Self {
        let quantiles = |of: Option<[i64; 2]>| of.map(|[p50, p90]| Quantiles { p50, p90 });
        Self {
            attempts: health.attempts,
            online_seconds: health.online_seconds,
            startup_ms: quantiles(health.startup_ms),
            loss_per_million: quantiles(health.loss_per_million),
            jumped_share: health.jumped_per_thousand.map(|n| n as f64 / 1000.0),
        }
    }
}

/// The name of a tier, in answers and in `?tier=`.
pub(super) fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Console => "console",
        Tier::Published => "published",
    }
}

/// A class of lengths as `"60-300"`, the last one as `"14400-"`.
pub(super) fn length_class(class: &usize) -> String {
    let limits = query::length_limits();
    let from = class
        .checked_sub(1)
        .and_then(|c| limits.get(c))
        .copied()
        .unwrap_or(0);
    let to = limits.get(*class).map(ToString::to_string).unwrap_or_default();
    format!("{from}-{to}")
}

impl From<&Stats> for StatsJson {
    fn from(stats: &Stats) -> Self {
        let time = |t: &Timestamp| rfc3339(*t, &stats.time_zone);
        let live = |(path, sessions): &(String, u64)| LiveByPath {
            path: path.clone(),
            sessions: *sessions,
        };
        Self {
            from: time(&stats.from),
            to: time(&stats.to),
            time_zone: stats.time_zone.iana_name().map(str::to_owned),
            k: stats.k,
            tier: tier_name(stats.tier),
            total: Some(stats.total).into(),
            live: LiveJson {
                sessions: stats.live.sessions,
                machines: stats.live.machines,
                by_path: stats.live.by_path.iter().map(live).collect(),
            },
            by_path: ByPath::all(&stats.by_path, String::clone),
            by_protocol: ByProtocol::all(&stats.by_protocol, String::clone),
            by_transport: ByTransport::all(&stats.by_transport, String::clone),
            by_client: ByClient::all(&stats.by_client, String::clone),
            by_country: ByCountry::all(&stats.by_country, String::clone),
            by_length: ByLength::all(&stats.by_length, length_class),
            by_day: ByDay::all(&stats.by_day, ToString::to_string),
            by_hour: ByHour::all(&stats.by_hour, time),
            by_weekday_hour: stats.by_weekday_hour.iter().map(ByWeekdayHour::of).collect(),
            staying: stats
                .staying
                .iter()
                .map(|point| StayingJson {
                    seconds: point.seconds,
                    share: point.per_thousand as f64 / 1000.0,
                })
                .collect(),
            machines: Some(stats.machines).into(),
            health: HealthJson::from(&stats.health),
            store: if stats.store_is_failing { "failing" } else { "ok" },
            opted_out_honoured: true,
            restarts: stats.restarts,
        }
    }
}

/// Cells of an answer that show nothing because of k.
pub fn hidden_cells(stats: &Stats) -> u32 {
    fn hidden<K>(cells: &[query::Cell<K>]) -> usize {
        cells.iter().filter(|cell| cell.counts.is_none()).count()
    }
    let rows = [
        &stats.by_path,
        &stats.by_protocol,
        &stats.by_transport,
        &stats.by_client,
    ];
    let words = rows
        .into_iter()
        .chain([&stats.by_country])
        .map(|cells| hidden(cells));
    let times = hidden(&stats.by_day) + hidden(&stats.by_hour) + hidden(&stats.by_length);
    let all = words.sum::<usize>() + times;
    u32::try_from(all).unwrap_or(u32::MAX)
}

/// Reads `?since=`, `?until=`, `?path=` and `?tier=` (`console` or `published`).
pub(in crate::web) fn question(query: Option<&str>, now: SystemTime) -> Result<Question, Problem> {
    let time = |name: &str| match query_value(query, name) {
        None => Ok(None),
        Some(text) => text
            .parse::<Timestamp>()
            .map(Some)
            .map_err(|_| Problem::bad_range()),
    };
    let (since, until) = (time("since")?, time("until")?);
    if since.zip(until).is_some_and(|(since, until)| since >= until) {
        return Err(Problem::bad_range());
    }
    let path = query_value(query, "path");
    let tier = match query_value(query, "tier").as_deref() {
        None | Some("console") => Tier::Console,
        Some("published") => Tier::Published,
        Some(_) => return Err(Problem::bad_range()),
    };
    Ok(Question {
        since,
        until,
        path,
        tier,
        now,
    })
}
