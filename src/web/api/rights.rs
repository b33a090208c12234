//! Consents, receipts and share links.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::analytics::Record;
use crate::analytics::query;
use crate::rights::Given;
use crate::rights::Share;
use crate::web::api::ListJson;
use crate::web::api::rfc3339;

/// `POST /privacy/consent`. The token is nowhere but here.
#[derive(Serialize)]
pub(in crate::web) struct ConsentJson<'c> {
    /// What to append to the address of a stream, or to send as `X-Consent`.
    consent: &'c str,
    purpose: &'static str,
    /// `null`: all paths.
    path: Option<&'c str>,
    /// The last day on which it counts.
    until: String,
    /// The version of the notice that was agreed to.
    notice: &'c str,
}

impl<'c> ConsentJson<'c> {
    pub(in crate::web) fn new(given: &'c Given, path: Option<&'c str>, notice: &'c str) -> Self {
        Self {
            consent: given.token.as_str(),
            purpose: "audience",
            path,
            until: given.until.to_string(),
            notice,
        }
    }
}

/// `POST /privacy/withdraw`.
#[derive(Serialize)]
pub(in crate::web) struct WithdrawnJson {
    pub(in crate::web) withdrawn: bool,
    /// Sessions whose rows went.
    pub(in crate::web) erased_sessions: usize,
}

/// `POST /privacy/network`.
#[derive(Serialize)]
pub(in crate::web) struct NetworkJson {
    pub(in crate::web) counted: bool,
    pub(in crate::web) until: &'static str,
}

/// `GET /privacy/receipt/RECEIPT`: all that is kept of one session.
#[derive(Serialize)]
pub(in crate::web) struct RecordJson {
    path: String,
    /// When it began; the hour alone, once that is over; `null` when it is shared with the whole day.
    began: Option<String>,
    day: Option<String>,
    protocol: Option<String>,
    transport: Option<String>,
    client: Option<String>,
    country: Option<String>,
    /// A class, as `"60-300"`.
    seconds: Option<String>,
    /// Whether a random number stands for its viewer in it.
    viewer_number: bool,
    playing: bool,
}

impl RecordJson {
    pub(in crate::web) fn new(record: Record, zone: &TimeZone) -> Self {
        let day = |n: i64| {
            let at = Timestamp::from_second(n.saturating_mul(86_400)).unwrap_or_default();
            at.strftime("%Y-%m-%d").to_string()
        };
        let moment = |at: i64| rfc3339(Timestamp::from_second(at).unwrap_or_default(), zone);
        Self {
            path: record.path,
            began: record.began.map(moment),
            day: record.day.map(day),
            protocol: record.protocol,
            transport: record.transport,
            client: record.client,
            country: record.country,
            seconds: record.length.map(seconds),
            viewer_number: record.numbered,
            playing: record.open,
        }
    }

    /// Names and values, for a page.
    pub(in crate::web) fn rows(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("Stream", Some(self.path.as_str())),
            ("Began", self.began.as_deref()),
            ("Day", self.day.as_deref()),
            ("Protocol", self.protocol.as_deref()),
            ("Transport", self.transport.as_deref()),
            ("Player", self.client.as_deref()),
            ("Country", self.country.as_deref()),
            ("Seconds watched", self.seconds.as_deref()),
            (
                "Number of its viewer",
                Some(if self.viewer_number {
                    "a random one"
                } else {
                    "none"
                }),
            ),
            ("Playing", Some(if self.playing { "yes" } else { "no" })),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

/// A class of lengths as `"60-300"`, the last one as `"14400-"`.
fn seconds(class: usize) -> String {
    let limits = query::length_limits();
    let from = class.checked_sub(1).and_then(|c| limits.get(c)).unwrap_or(&0);
    let to = limits.get(class).map(ToString::to_string).unwrap_or_default();
    format!("{from}-{to}")
}

/// One of `/api/v1/shares`.
#[derive(Serialize)]
pub struct ShareJson {
    id: String,
    path: String,
    from: String,
    to: String,
    expires: String,
    views: u64,
    /// Where the report is, relative to this server; told once, when the link is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl ShareJson {
    /// With its URL when it was just made.
    pub fn new(share: &Share, token: Option<&str>) -> Self {
        let time = |at| rfc3339(at, &TimeZone::UTC);
        Self {
            id: share.id.clone(),
            path: share.path.clone(),
            from: time(share.since),
            to: time(share.until),
            expires: time(share.expires),
            views: share.views,
            url: token.map(|token| format!("/share/{token}")),
        }
    }

    /// `/api/v1/shares`.
    pub fn list(shares: &[Share]) -> ListJson<Self> {
        ListJson::whole(shares.iter().map(|share| Self::new(share, None)).collect())
    }
}
