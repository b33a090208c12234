//! What a request asks for: one enum of all routes, and the pure functions that read URLs.
//!
//! Nothing of a URL leaves this file but a route and a few checked settings: an unknown path or query is
//! never logged, counted by name or echoed, since people put tokens into them.

use hyper::Method;
use percent_encoding::percent_decode_str;

/// What a URL's path names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Route {
    /// `/`: all paths, and the statistics.
    Index,
    /// `/style.css`
    Style,
    /// `/app.js`
    Script,
    /// `/icon.svg`
    Icon,
    /// `/live/PATH/...`; the name is decoded but not checked: only the hub knows which paths there are.
    Live { path: String, what: Live },
    /// `/live/PATH`, which is the player without the `/` that its relative links need.
    ToPlayer { path: String },
    /// `/api/v1/stats`
    Stats,
    /// `/api/v1/paths`
    Paths,
    /// `/healthz`: never asks for credentials.
    Health,
    /// `/metrics`
    Metrics,
    /// `/privacy`, `/privacy.json`, `/privacy.md`: for everybody, also without credentials.
    Privacy(Paper),
    /// `/privacy/choices`: a page with forms for the four below.
    Choices,
    /// `/privacy/consent`: a viewer agrees to be counted.
    Consent,
    /// `/privacy/withdraw`: and takes it back.
    Withdraw,
    /// `/privacy/network`: nobody of the asker's network is counted until midnight.
    Network,
    /// `/privacy/receipt/RECEIPT`: see and erase one session.
    Receipt(String),
    /// `/privacy/receipt`: the same, with the receipt in a form.
    ReceiptForm,
    /// `/share/TOKEN`: one report of the published tier.
    Share(String),
    /// `/api/v1/shares`
    Shares,
    /// `/api/v1/shares/ID`
    OneShare(String),
    /// `/.well-known/security.txt`
    SecurityTxt,
    /// `/.well-known/gpc.json`: tells that `Sec-GPC` is honoured; open, since browsers ask for it by themselves.
    Gpc,
}

/// The forms of the privacy notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Paper {
    Page,
    Json,
    Markdown,
}

/// What is asked of one path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Live {
    /// The page with the picture and the URLs.
    Player,
    /// `stream.mjpeg`
    Mjpeg,
    /// `snapshot.jpg`
    Snapshot,
}

impl Route {
    /// Reads the path of a URL, still percent-encoded and without the query. `None`: there is no such page.
    pub(super) fn decode(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Index,
            "/style.css" => Self::Style,
            "/app.js" => Self::Script,
            "/icon.svg" => Self::Icon,
            "/api/v1/stats" => Self::Stats,
            "/api/v1/paths" => Self::Paths,
            "/healthz" => Self::Health,
            "/metrics" => Self::Metrics,
            "/privacy" | "/privacy/" => Self::Privacy(Paper::Page),
            "/privacy.json" => Self::Privacy(Paper::Json),
            "/privacy.md" => Self::Privacy(Paper::Markdown),
            "/privacy/choices" => Self::Choices,
            "/privacy/consent" => Self::Consent,
            "/privacy/withdraw" => Self::Withdraw,
            "/privacy/network" => Self::Network,
            "/privacy/receipt" => Self::ReceiptForm,
            "/api/v1/shares" => Self::Shares,
            "/.well-known/security.txt" => Self::SecurityTxt,
            "/.well-known/gpc.json" => Self::Gpc,
            _ => return Self::decode_one(path),
        })
    }

    /// Reads URLs that name one of many.
    fn decode_one(path: &str) -> Option<Self> {
        let one = |prefix| {
            let name = path.strip_prefix(prefix)?;
            (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
        };
        if let Some(receipt) = one("/privacy/receipt/") {
            return Some(Self::Receipt(receipt));
        }
        if let Some(token) = one("/share/") {
            return Some(Self::Share(token));
        }
        if let Some(id) = one("/api/v1/shares/") {
            return Some(Self::OneShare(id));
        }
        Self::decode_live(path.strip_prefix("/live/")?)
    }

    /// Reads what follows `/live/`. The last part says what is asked, all before it is the path's name.
    fn decode_live(rest: &str) -> Option<Self> {
        let (path, what) = match rest.rsplit_once('/') {
            Some((path, "")) => (path, Live::Player),
            Some((path, "stream.mjpeg")) => (path, Live::Mjpeg),
            Some((path, "snapshot.jpg")) => (path, Live::Snapshot),
            _ => return decode(rest).map(|path| Self::ToPlayer { path }),
        };
        decode(path).map(|path| Self::Live { path, what })
    }

    /// The methods this route answers to, as in `Allow`.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Consent | Self::Withdraw | Self::Network | Self::ReceiptForm => "POST",
            Self::Receipt(_) => "GET, HEAD, DELETE",
            Self::Shares => "GET, HEAD, POST",
            Self::OneShare(_) => "DELETE",
            _ => READ,
        }
    }

    /// Whether this route answers to a method.
    pub(super) fn allows(&self, method: &Method) -> bool {
        self.methods()
            .split(", ")
            .any(|allowed| allowed == method.as_str())
    }

    /// Whether it is for viewers alone to say what they wish.
    pub(super) fn is_choice(&self) -> bool {
        matches!(
            self,
            Self::Choices
                | Self::Consent
                | Self::Withdraw
                | Self::Network
                | Self::Receipt(_)
                | Self::ReceiptForm
                | Self::Share(_)
        )
    }

    /// Whether the route is open to those who have no credentials.
    pub(super) fn is_public(&self) -> bool {
        self.is_choice()
            || matches!(
                self,
                Self::Health | Self::Gpc | Self::Privacy(_) | Self::SecurityTxt | Self::Style
            )
    }
}

/// The methods of routes that only read.
pub(super) const READ: &str = "GET, HEAD";

/// Percent-decodes a path's name; `None` when it is empty or not UTF-8. The alias by which viewers say that they do not
/// want to be counted is no part of it.
fn decode(encoded: &str) -> Option<String> {
    let encoded = encoded.strip_prefix(ALIAS).unwrap_or(encoded);
    let path = percent_decode_str(encoded).decode_utf8().ok()?;
    (!path.is_empty()).then(|| path.into_owned())
}

/// Before a path's name: not to be counted, for players in which only the URL can be set. RTSP has the same.
pub(super) const ALIAS: &str = "nostats/";

/// Whether a URL's path says so.
pub(super) fn is_alias(path: &str) -> bool {
    path.strip_prefix("/live/")
        .is_some_and(|rest| rest.starts_with(ALIAS))
}

/// The value of one setting in a query: the first of this name, decoded. Other settings are not looked at.
/// `+` stands for itself: times have it (`+02:00`), and no setting has spaces.
pub(super) fn query_value(query: Option<&str>, name: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key != name {
            return None;
        }
        Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(path: &str, what: Live) -> Option<Route> {
        Some(Route::Live {
            path: path.into(),
            what,
        })
    }

    #[test]
    fn every_url_has_one_meaning() {
        for (url, want) in [
            ("/", Some(Route::Index)),
            ("/style.css", Some(Route::Style)),
            ("/app.js", Some(Route::Script)),
            ("/icon.svg", Some(Route::Icon)),
            ("/api/v1/stats", Some(Route::Stats)),
            ("/api/v1/paths", Some(Route::Paths)),
            ("/healthz", Some(Route::Health)),
            ("/metrics", Some(Route::Metrics)),
            ("/privacy", Some(Route::Privacy(Paper::Page))),
            ("/privacy.json", Some(Route::Privacy(Paper::Json))),
            ("/privacy.md", Some(Route::Privacy(Paper::Markdown))),
            ("/privacy/", Some(Route::Privacy(Paper::Page))),
            ("/privacy/choices", Some(Route::Choices)),
            ("/privacy/receipt", Some(Route::ReceiptForm)),
            ("/privacy/receipt/", None),
            ("/privacy/receipt/r1.a.b", Some(Route::Receipt("r1.a.b".into()))),
            ("/privacy/receipt/a/b", None),
            ("/share/s1.a.b", Some(Route::Share("s1.a.b".into()))),
            ("/share/", None),
            ("/api/v1/shares", Some(Route::Shares)),
            ("/api/v1/shares/ab", Some(Route::OneShare("ab".into()))),
            ("/.well-known/security.txt", Some(Route::SecurityTxt)),
            ("/live/webcam/", live("webcam", Live::Player)),
            ("/live/webcam/stream.mjpeg", live("webcam", Live::Mjpeg)),
            ("/live/webcam/snapshot.jpg", live("webcam", Live::Snapshot)),
            (
                "/live/floor/2/hall/snapshot.jpg",
                live("floor/2/hall", Live::Snapshot),
            ),
            ("/live/nostats/webcam/", live("webcam", Live::Player)),
            ("/live/nostats/a/b/stream.mjpeg", live("a/b", Live::Mjpeg)),
            ("/live/nostats/", live("nostats", Live::Player)),
            ("/.well-known/gpc.json", Some(Route::Gpc)),
            ("/live/floor%2F2/", live("floor/2", Live::Player)),
            ("/live/caf%C3%A9/", live("café", Live::Player)),
            ("/live/a%2", Some(Route::ToPlayer { path: "a%2".into() })),
            (
                "/live/webcam",
                Some(Route::ToPlayer {
                    path: "webcam".into(),
                }),
            ),
            (
                "/live/snapshot.jpg",
                Some(Route::ToPlayer {
                    path: "snapshot.jpg".into(),
                }),
            ),
            ("/live/a/snapshot.jpg/", live("a/snapshot.jpg", Live::Player)),
            (
                "/live/a/Snapshot.jpg",
                Some(Route::ToPlayer {
                    path: "a/Snapshot.jpg".into(),
                }),
            ),
            ("/live/", None),
            ("/live//", None),
            ("/live//stream.mjpeg", None),
            ("/live", None),
            ("/live/%FF/", None),
            ("", None),
            ("*", None),
            ("//", None),
            ("/index.html", None),
            ("/api/v1/paths/", None),
            ("/API/v1/paths", None),
            ("/../etc/passwd", None),
        ] {
            assert_eq!(Route::decode(url), want, "{url}");
        }
    }

    #[test]
    fn only_reading_is_allowed_and_only_health_and_papers_are_public() {
        let stats = Route::decode("/api/v1/stats").unwrap();
        assert!(stats.allows(&Method::GET) && stats.allows(&Method::HEAD));
        assert!(!stats.allows(&Method::POST) && !stats.allows(&Method::OPTIONS));
        assert!(!stats.is_public() && Route::Health.is_public());
        assert!(Route::Privacy(Paper::Page).is_public() && Route::SecurityTxt.is_public());
        assert!(!Route::Metrics.is_public() && !Route::Index.is_public());
    }

    #[test]
    fn a_query_value_is_the_first_of_its_name() {
        let q = Some("a=1&width=640&width=2&x=%20y+02:00&flag&%FF=");
        assert_eq!(query_value(q, "width").as_deref(), Some("640"));
        assert_eq!(query_value(q, "x").as_deref(), Some(" y+02:00"));
        assert_eq!(query_value(q, "flag").as_deref(), Some(""));
        assert_eq!(query_value(q, "idth"), None);
        assert_eq!(query_value(None, "width"), None);
    }
}
