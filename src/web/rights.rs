//! Consents, receipts, networks that object, and share links over HTTP: for viewers without credentials and for their
//! operators with them.
//!
//! Every answer is for one alone (`no-store`, `no-referrer`). Unknown, forged, expired and used up get the same 404.
//! Requests of other sites' pages are refused: they could act in the name of who has the page open. Pages need no script;
//! where a browser asks (`Accept: text/html`), answers are pages, else JSON.

use std::time::Duration;

use http_body_util::BodyExt;
use http_body_util::Limited;
use hyper::HeaderMap;
use hyper::Response;
use hyper::StatusCode;
use hyper::Uri;
use hyper::body::Incoming;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::analytics::Look;
use crate::analytics::query::Stats;
use crate::analytics::table;
use crate::privacy::Consent;
use crate::rights::Given;
use crate::rights::Options;
use crate::rights::RightsError;
use crate::web::api;
use crate::web::api::RecordJson;
use crate::web::problem::Problem;
use crate::web::reply;
use crate::web::reply::Body;

/// Bytes of a form.
const MAX_FORM: usize = 4096;
/// How long a form may take to come.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// A form that came, as `a=1&b=2`. Wiped when it goes: tokens are in it.
pub(super) struct Fields(Zeroizing<String>);

impl Fields {
    /// Reads the body of a request.
    pub(super) async fn read(body: Incoming) -> Result<Self, Problem> {
        let body = Limited::new(body, MAX_FORM).collect();
        let body = tokio::time::timeout(FORM_TIMEOUT, body).await;
        let bytes = body
            .map_err(|_| Problem::bad_fields())?
            .map_err(|_| Problem::bad_fields())?
            .to_bytes();
        let text = std::str::from_utf8(&bytes).map_err(|_| Problem::bad_fields())?;
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The value of a field, or of the query's setting of the same name.
    pub(super) fn value(&self, uri: &Uri, name: &str) -> Option<Zeroizing<String>> {
        let query = uri.query().unwrap_or_default();
        self.0.split('&').chain(query.split('&')).find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let value = (key == name && !value.is_empty()).then_some(value)?;
            let plain = Zeroizing::new(value.replace('+', " "));
            let text = percent_decode_str(&plain).decode_utf8().ok()?.trim().to_owned();
            Some(Zeroizing::new(text))
        })
    }
}

/// Refuses what a page of another site asks for.
pub(super) fn refuse_other_sites(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let named = |name: &'static str| headers.get(HeaderName::from_static(name));
    let site = named("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Err(Problem::other_site());
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let theirs = origin.split_once("://").map_or("", |(_, authority)| authority);
    let ours = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(header::HOST).and_then(|h| h.to_str().ok()),
    };
    let same = !theirs.is_empty() && ours.is_some_and(|ours| ours.eq_ignore_ascii_case(theirs));
    same.then_some(()).ok_or_else(Problem::other_site)
}

/// Whether a browser asks for something to look at.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    accept.is_some_and(|types| types.contains("text/html"))
}

impl From<RightsError> for Problem {
    fn from(error: RightsError) -> Self {
        match error {
            RightsError::Unknown => Self::nothing_of_that(),
            RightsError::NotAsked => Self::consent_not_asked(),
            RightsError::TooMany => Self::too_many_tries(),
            RightsError::Full => Self::no_more_kept(),
            RightsError::NotNow => Self::no_statistics(),
            RightsError::File(_) => {
                tracing::warn!(%error, "A viewer's wish could not be noted.");
                Self::not_noted()
            }
        }
    }
}

/// The page on which viewers choose.
pub(super) fn choices(options: &Options) -> Response<Body> {
    let mut text = String::from(
        "<p>This relay does not know who you are. What you choose here needs no name, no account and no cookie. \
         <a href=\"/privacy\">What it does, in full</a>.</p>",
    );
    if options.consent != Consent::Off {
        text.push_str(
            "<h2>Do not count my network today</h2>\
             <p>Nobody who watches from your network address (IPv6: from your /64) is counted from now on until midnight of \
             the relay's time zone, by any player: for all who share the address, and for streams that begin from now on. For \
             that, a keyed hash of the address is kept in memory until then; it is on no disk, and its key is wiped with \
             it. Streams are sent as before. For longer, or for yourself alone, add <code>?stats=off</code> to the address \
             of a stream.</p>\
             <form method=\"post\" action=\"/privacy/network\"><button>Do not count my network today</button></form>",
        );
    }
    if options.consent == Consent::OptIn {
        text.push_str(&format!(
            "<h2>Agree to be counted</h2>\
             <p>Only those are counted here who agree. You get a token that counts for {} days; add it to the address of a \
             stream as <code>?consent=TOKEN</code>. Keep it: you need it to take your consent back. Nobody else has it.</p>\
             <form method=\"post\" action=\"/privacy/consent\">\
             <label>Stream (empty: all) <input name=\"path\"></label> <button>I agree</button></form>",
            options.consent_days
        ));
    }
    text.push_str(
        "<h2>Take a consent back</h2>\
         <p>It stops counting at once, and what hangs on it is erased.</p>\
         <form method=\"post\" action=\"/privacy/withdraw\">\
         <label>Token <input name=\"consent\" autocomplete=\"off\" size=\"60\"></label> \
         <button>Take it back</button></form>\
         <h2>See or erase a session</h2>\
         <p>With the receipt that came with the session, in the header <code>Privacy-Receipt</code> of its first answer.</p>\
         <form method=\"post\" action=\"/privacy/receipt\">\
         <label>Receipt <input name=\"receipt\" autocomplete=\"off\" size=\"60\"></label> \
         <button name=\"do\" value=\"see\">See it</button> \
         <button name=\"do\" value=\"erase\">Erase it</button></form>",
    );
    with_forms(page("Your choices", &text))
}

/// A consent, to its holder who has a browser.
pub(super) fn given(given: &Given, streams_at: &str) -> Response<Body> {
    let text = format!(
        "<p>Thank you. This is your token; it is shown once:</p><pre>{0}</pre>\
         <p>Add it to the address of a stream, as in <code>{2}NAME?consent={0}</code>. It counts until {1}.</p>\
         <form method=\"post\" action=\"/privacy/withdraw\"><input type=\"hidden\" name=\"consent\" value=\"{0}\">\
         <button>Take it back</button></form>",
        given.token.as_str(),
        given.until,
        streams_at
    );
    with_forms(page("You agreed to be counted", &text))
}

/// A consent was taken back.
pub(super) fn withdrawn(erased: usize, headers: &HeaderMap) -> Response<Body> {
    if !wants_page(headers) {
        let shape = api::WithdrawnJson {
            withdrawn: true,
            erased_sessions: erased,
        };
        return api::json(StatusCode::OK, &shape);
    }
    let text = format!("<p>It does not count any more. Sessions that were erased: {erased}.</p>");
    page("Your consent was taken back", &text)
}

/// A network is not counted any more.
pub(super) fn kept_out(headers: &HeaderMap) -> Response<Body> {
    if !wants_page(headers) {
        let shape = api::NetworkJson {
            counted: false,
            until: "midnight",
        };
        return api::json(StatusCode::OK, &shape);
    }
    page(
        "Your network is not counted",
        "<p>Until midnight of the relay's time zone, nobody is counted who begins to watch from your network address.</p>",
    )
}

/// What is kept of a session, to who holds its receipt.
pub(super) fn record(record: &RecordJson, headers: &HeaderMap) -> Response<Body> {
    if !wants_page(headers) {
        return api::json(StatusCode::OK, record);
    }
    let rows: String = record
        .rows()
        .into_iter()
        .map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>", escaped(value)))
        .collect();
    page(
        "All that is kept of this session",
        &format!("<table>{rows}</table>"),
    )
}

/// A session was erased.
pub(super) fn erased(headers: &HeaderMap) -> Response<Body> {
    if !wants_page(headers) {
        return reply::empty(StatusCode::NO_CONTENT);
    }
    page(
        "The session was erased",
        "<p>Its row is gone. Counts stay as they were: they are of nobody, and a change of them would tell of you.</p>",
    )
}

/// A report that is shared.
pub(super) fn report(path: &str, stats: &Stats, headers: &HeaderMap) -> Response<Body> {
    if !wants_page(headers) {
        return api::json(StatusCode::OK, &api::StatsJson::from(stats));
    }
    let text = format!(
        "<p>How <b>{}</b> was watched. Whole days that are over, in multiples of {}; smaller groups are not shown.</p>\
         <pre>{}</pre>",
        escaped(path),
        stats.k,
        escaped(&table::render(stats, &Look::plain(true)))
    );
    page("A shared report", &text)
}

/// A page without script, for one alone.
fn page(title: &str, body: &str) -> Response<Body> {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
         <title>{title} - Louver</title><link rel=\"stylesheet\" href=\"/style.css\"></head>\
         <body><main class=\"paper\"><h1>{title}</h1>{body}\
         <p><a href=\"/privacy/choices\">Your choices</a> &middot; <a href=\"/privacy\">Privacy notice</a></p>\
         </main></body></html>"
    );
    reply::whole(StatusCode::OK, "text/html; charset=utf-8", html)
}

/// Forms of such a page tell where they come from: browsers say `Origin: null` to pages that tell nobody. No secret is in
/// the URL of one.
fn with_forms(mut page: Response<Body>) -> Response<Body> {
    let headers = page.headers_mut();
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_programs_and_own_pages_are_not() {
        let refused = |pairs: &[_]| refuse_other_sites(&Uri::from_static("/x"), &headers(pairs)).is_err();
        assert!(!refused(&[("host", "cam.example")]));
        assert!(!refused(&[
            ("host", "cam.example:8080"),
            ("origin", "http://cam.example:8080"),
            ("sec-fetch-site", "same-origin"),
        ]));
        assert!(refused(&[
            ("host", "cam.example"),
            ("origin", "https://evil.example")
        ]));
        assert!(refused(&[("host", "cam.example"), ("origin", "null")]));
        assert!(refused(&[
            ("host", "cam.example"),
            ("sec-fetch-site", "cross-site")
        ]));
        assert!(refused(&[
            ("host", "cam.example"),
            ("sec-fetch-site", "same-site")
        ]));
        assert!(refused(&[("origin", "http://")]));
    }

    #[test]
    fn forms_are_read_before_queries_and_decoded() {
        let form = Fields(Zeroizing::new("path=a%2Fb&consent=+c1.ab.cd+&empty=".into()));
        let uri = Uri::from_static("/x?path=q&more=1&empty=2");
        let value = |name| form.value(&uri, name).map(|v| v.to_string());
        assert_eq!(value("path").as_deref(), Some("a/b"));
        assert_eq!(value("consent").as_deref(), Some("c1.ab.cd"));
        assert_eq!(value("more").as_deref(), Some("1"));
        assert_eq!(value("empty").as_deref(), Some("2"));
        assert_eq!(value("none"), None);
    }
}
