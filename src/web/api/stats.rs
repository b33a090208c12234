//! `/api/v1/stats` and `louver stats --json`: one shape for both.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;

use crate::analytics::query;
use crate::analytics::query::Counts;
use crate::analytics::query::Question;
use crate::analytics::query::Stats;
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
    #[serde(flatten)]
    total: CountsJson,
    live: LiveJson,
    by_path: Vec<ByPath>,
    by_protocol: Vec<ByProtocol>,
    by_transport: Vec<ByTransport>,
    by_client: Vec<ByClient>,
    by_country: Vec<ByCountry>,
    by_hour: Vec<ByHour>,
    /// Recorders, relays and monitors: in nothing of the above.
    machines: CountsJson,
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
rows!(ByClient client, ByCountry country, ByHour hour);

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
            by_hour: ByHour::all(&stats.by_hour, time),
            machines: Some(stats.machines).into(),
            opted_out_honoured: true,
            restarts: stats.restarts,
        }
    }
}

/// Cells of an answer that show nothing because of k.
pub(in crate::web) fn hidden_cells(stats: &Stats) -> u32 {
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
    let all = words.sum::<usize>() + hidden(&stats.by_hour);
    u32::try_from(all).unwrap_or(u32::MAX)
}

/// Reads `?since=`, `?until=` and `?path=`.
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
    Ok(Question {
        since,
        until,
        path,
        now,
    })
}
