//! JSON: the shapes that programs and scripts rely on, and the only types of the program that serialize.
//!
//! A shape may get more keys; none is renamed or taken away. `louver stats --json`, `devices --json` and
//! `formats --json` print the same shapes. Not here: what the numbers mean (`analytics::query`).

mod csv;
mod machine;
mod papers;
mod private;
mod rights;
mod stats;

use std::time::SystemTime;

use hyper::Response;
use hyper::StatusCode;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::hub::PathSnapshot;
use crate::hub::PathState;
use crate::hub::Quality;
use crate::media::Track;
use crate::web::problem::Problem;
use crate::web::reply;
use crate::web::reply::Body;

pub use csv::Breakdown;
pub(super) use csv::CSV;
pub(super) use csv::rows as csv_rows;
pub use csv::stats_csv;
pub use machine::DeviceJson;
pub use machine::FormatsJson;
pub use papers::DocumentJson;
pub use private::PrivateJson;
pub use private::private_csv;
pub(super) use rights::ConsentJson;
pub(super) use rights::NetworkJson;
pub(super) use rights::RecordJson;
pub use rights::ShareJson;
pub(super) use rights::WithdrawnJson;
pub use stats::StatsJson;
pub use stats::hidden_cells;
pub(super) use stats::question;

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

/// `/.well-known/gpc.json` (Global Privacy Control): that the signal is honoured, and since when this has been so.
#[derive(Serialize)]
pub(super) struct GpcJson {
    gpc: bool,
    #[serde(rename = "lastUpdate")]
    last_update: &'static str,
}

impl GpcJson {
    pub(super) const HONOURED: Self = Self {
        gpc: true,
        last_update: "2026-11-23",
    };
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

/// `/api/v1/paths`.
#[derive(Serialize)]
pub struct PathsJson {
    #[serde(flatten)]
    list: ListJson<PathJson>,
    /// What paths are published and played under: `rtsp://HOST:PORT/`.
    rtsp: Option<String>,
}

impl PathsJson {
    /// `host` is the name by which the asker calls us; it is part of URLs, so it must be checked already.
    pub(super) fn new(paths: &[PathSnapshot], rtsp_port: Option<u16>, host: &str) -> Self {
        let rtsp = rtsp_port.map(|port| format!("rtsp://{host}:{port}/"));
        let items = paths.iter().map(|path| PathJson::new(path, rtsp.as_deref()));
        Self {
            list: ListJson::whole(items.collect()),
            rtsp,
        }
    }
}

/// One path of [`PathsJson`].
#[derive(Serialize)]
struct PathJson {
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
    /// How it reaches the readers that report it; null while none does.
    quality: Option<QualityJson>,
    last_error: Option<String>,
    /// When its source is tried again, RFC 3339.
    next_attempt: Option<String>,
    urls: UrlsJson,
}

/// What readers reported by RTCP in the last whole ten seconds, or `null` and `"below_k": true` where it would be a
/// few viewers' own.
#[derive(Serialize)]
struct QualityJson {
    reports: Option<u64>,
    loss_percent: Option<f64>,
    jitter_ms: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    below_k: bool,
}

impl QualityJson {
    fn new(quality: Quality) -> Self {
        let figures = match quality {
            Quality::Of(figures) => Some(figures),
            Quality::BelowK => None,
        };
        let rounded = |n: f64| (n * 100.0).round() / 100.0;
        Self {
            reports: figures.map(|f| f.reports),
            loss_percent: figures.map(|f| rounded(f.loss_percent)),
            jitter_ms: figures.map(|f| rounded(f.jitter_ms)),
            below_k: figures.is_none(),
        }
    }
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
    fn new(path: &PathSnapshot, rtsp: Option<&str>) -> Self {
        let name = &path.name;
        let utc = |time: SystemTime| rfc3339(Timestamp::try_from(time).unwrap_or_default(), &TimeZone::UTC);
        Self {
            path: name.to_string(),
            state: match path.state {
                PathState::Ready => "ready",
                PathState::Waiting => "waiting",
                PathState::Offline => "offline",
            },
            since: utc(path.since),
            source: path.source.clone(),
            tracks: path.tracks.iter().map(TrackJson::from).collect(),
            viewers: path.readers,
            bytes_in: path.bytes_in,
            quality: path.quality.map(QualityJson::new),
            last_error: path.last_error.clone(),
            next_attempt: path.next_attempt.map(utc),
            urls: UrlsJson {
                rtsp: rtsp.map(|rtsp| format!("{rtsp}{name}")),
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

/// Whole seconds with the zone's offset; `Z` for UTC.
fn rfc3339(time: Timestamp, zone: &TimeZone) -> String {
    if *zone == TimeZone::UTC {
        return time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    time.to_zoned(zone.clone())
        .strftime("%Y-%m-%dT%H:%M:%S%:z")
        .to_string()
}

#[cfg(test)]
mod tests;
