//! JSON: the shapes that programs and scripts rely on, and the only types of the program that serialize.
//!
//! A shape may get more keys; none is renamed or taken away. `louver stats --json`, `devices --json` and
//! `formats --json` print the same shapes. Not here: what the numbers mean (`analytics::query`).

use std::time::SystemTime;

use hyper::Response;
use hyper::StatusCode;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::analytics::query;
use crate::analytics::query::Counts;
use crate::analytics::query::Question;
use crate::analytics::query::Stats;
use crate::hub::PathSnapshot;
use crate::hub::PathState;
use crate::media::Track;
use crate::web::problem::Problem;
use crate::web::reply;
use crate::web::reply::Body;
use crate::web::route::query_value;

/// The type of `/metrics`.
pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    reply::whole(status, "application/json", to_line(value))
}

/// One value as a line of JSON.
pub fn to_line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("our shapes have text keys and no failing parts");
    text.push('\n');
    text
}

/// RFC 9457.
#[derive(Serialize)]
pub(super) struct ProblemJson {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
}

impl From<&Problem> for ProblemJson {
    fn from(problem: &Problem) -> Self {
        Self {
            kind: "about:blank",
            title: problem.title,
            status: problem.status.as_u16(),
            detail: problem.detail,
        }
    }
}

/// Every list. `next` is where the next part of it is; as yet there is always one part.
#[derive(Serialize)]
pub struct ListJson<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

impl<T> ListJson<T> {
    /// A whole list.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// One path of `/api/v1/paths`.
#[derive(Serialize)]
pub struct PathJson {
    path: String,
    /// `ready`, `waiting`, `offline`.
    state: &'static str,
    /// Since when it is in this state, RFC 3339.
    since: String,
    source: String,
    tracks: Vec<TrackJson>,
    /// Who watches now: readers of packets, and viewers of pictures that are counted.
    viewers: u32,
    /// RTP bytes that came in since the program started.
    bytes_in: u64,
    last_error: Option<String>,
    urls: UrlsJson,
}

#[derive(Serialize)]
struct TrackJson {
    kind: &'static str,
    codec: String,
    /// RTP clock, units per second.
    clock_rate: u32,
    channels: Option<u8>,
}

/// Where to watch. Those on this server are relative to it.
#[derive(Serialize)]
struct UrlsJson {
    rtsp: Option<String>,
    page: String,
    mjpeg: String,
    snapshot: String,
}

impl PathJson {
    /// `host` is the name by which the asker calls us; it is part of a URL, so it must be checked already.
    pub(super) fn new(path: &PathSnapshot, rtsp_port: Option<u16>, host: &str) -> Self {
        let name = &path.name;
        Self {
            path: name.to_string(),
            state: match path.state {
                PathState::Ready => "ready",
                PathState::Waiting => "waiting",
                PathState::Offline => "offline",
            },
            since: rfc3339(
                Timestamp::try_from(path.since).unwrap_or_default(),
                &TimeZone::UTC,
            ),
            source: path.source.clone(),
            tracks: path.tracks.iter().map(TrackJson::from).collect(),
            viewers: path.readers,
            bytes_in: path.bytes_in,
            last_error: path.last_error.clone(),
            urls: UrlsJson {
                rtsp: rtsp_port.map(|port| format!("rtsp://{host}:{port}/{name}")),
                page: format!("/live/{name}/"),
                mjpeg: format!("/live/{name}/stream.mjpeg"),
                snapshot: format!("/live/{name}/snapshot.jpg"),
            },
        }
    }
}

impl From<&Track> for TrackJson {
    fn from(track: &Track) -> Self {
        Self {
            kind: track.kind.as_str(),
            codec: track.codec.to_string(),
            clock_rate: track.rate.hz(),
            channels: track.channels,
        }
    }
}

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

/// Reads `?since=`, `?until=` and `?path=`.
pub(super) fn question(query: Option<&str>, now: SystemTime) -> Result<Question, Problem> {
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

/// Whole seconds with the zone's offset; `Z` for UTC.
fn rfc3339(time: Timestamp, zone: &TimeZone) -> String {
    if *zone == TimeZone::UTC {
        return time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    time.to_zoned(zone.clone())
        .strftime("%Y-%m-%dT%H:%M:%S%:z")
        .to_string()
}
