//! Errors over HTTP: `application/problem+json` (RFC 9457) with a title, and a detail that says what to do.
//!
//! The texts are fixed: nothing of a request (URL, query, header) is ever part of an answer.

use hyper::Response;
use hyper::StatusCode;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;

use crate::web::api;
use crate::web::reply::Body;
use crate::web::route;

/// What went wrong, for whom asked.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// What is wrong, the same for every problem of the kind.
    pub(super) title: &'static str,
    /// What to do next.
    pub(super) detail: &'static str,
    /// A header that belongs to the problem.
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    const fn new(status: StatusCode, title: &'static str, detail: &'static str) -> Self {
        Self {
            status,
            title,
            detail,
            header: None,
        }
    }
    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, HeaderValue::from_static(value)));
        self
    }

    /// No route has this URL.
    pub(super) fn no_such_page() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "there is no such page",
            "the page at / shows what there is; streams are at /live/PATH/",
        )
    }
    /// No path has this name.
    pub(super) fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "there is no such path",
            "see /api/v1/paths for the paths there are; a published path exists while it is published. Of each there are \
             /live/PATH/, /live/PATH/stream.mjpeg and /live/PATH/snapshot.jpg",
        )
    }
    /// What a route does not answer to.
    pub(super) fn method_not_allowed(allowed: &'static str) -> Self {
        let (title, detail) = match allowed {
            route::READ => ("this URL can only be read", "use GET or HEAD"),
            _ => (
                "this URL does not take that method",
                "the header Allow tells those it takes",
            ),
        };
        Self::new(StatusCode::METHOD_NOT_ALLOWED, title, detail).with(header::ALLOW, allowed)
    }
    /// No or wrong credentials; the text does not tell which.
    pub(super) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "credentials are needed",
            "send the user name and password that louver printed at its first start, as Basic credentials",
        )
        .with(
            header::WWW_AUTHENTICATE,
            "Basic realm=\"louver\", charset=\"UTF-8\"",
        )
    }
    /// The user may not watch this path.
    pub(super) fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "this user may not watch this path",
            "use the name of a user that the configuration lets read it",
        )
    }
    /// A browser was sent here by a name that is not ours (DNS rebinding).
    pub(super) fn wrong_host() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this listener does not answer to that host name",
            "open it as localhost or by its address; a proxy in front of it must send 'Host: localhost'",
        )
    }
    /// `?width=` is none.
    pub(super) fn bad_width() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "the width is not usable",
            "give width as a whole number of pixels from 16 to 3840",
        )
    }
    /// `?since=` or `?until=` is none.
    pub(super) fn bad_range() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "the period is not usable",
            "give since and until as RFC 3339 times, such as 2026-05-01T00:00:00Z, since before until",
        )
    }
    /// `?format=` or `?by=` is none.
    pub(super) fn bad_form() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "the form is not usable",
            "give format as json or csv; with csv, by may name one breakdown: total, path, protocol, transport, client, \
             country, length, staying, day, hour, weekday_hour or machines",
        )
    }
    /// No picture came in time.
    pub(super) fn no_picture() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the path has no picture now",
            "try again in some seconds; /api/v1/paths tells the path's state and last error",
        )
        .with(header::RETRY_AFTER, "5")
    }
    /// The picture is there but could not be made smaller.
    pub(super) fn not_resized() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the picture could not be resized",
            "ask for it without width, or try again: the next picture may be whole",
        )
    }
    /// Unknown, forged, expired, revoked or erased: nobody is told which.
    pub(super) fn nothing_of_that() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "there is nothing of that",
            "it may be mistyped, over, or gone; after some days nothing is kept that could be found",
        )
    }
    /// Consent is given where it is asked for.
    pub(super) fn consent_not_asked() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "consent is not asked for here",
            "see /privacy for who is counted and how not to be",
        )
    }
    /// Too much of what costs, by everybody together.
    pub(super) fn too_many_tries() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many tries",
            "wait some seconds and try again",
        )
        .with(header::RETRY_AFTER, "5")
    }
    /// A bound was reached.
    pub(super) fn no_more_kept() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no more of them can be kept",
            "add ?stats=off to the address of a stream not to be counted; the operator can make room",
        )
    }
    /// A file could not be written.
    pub(super) fn not_noted() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "it could not be noted",
            "try again in some seconds; louver's log tells why",
        )
        .with(header::RETRY_AFTER, "5")
    }
    /// A form that is too large, too slow or no text.
    pub(super) fn bad_fields() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "the form cannot be read",
            "send it as application/x-www-form-urlencoded, 4096 bytes at most",
        )
    }
    /// Days or an expiry that cannot be.
    pub(super) fn bad_share() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "the share is not usable",
            "give path, days (1 to 366) and expires_days (1 to 366), as application/x-www-form-urlencoded",
        )
    }
    /// A page of another site acts in somebody's name.
    pub(super) fn other_site() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "a page of another site asked for this",
            "open /privacy/choices here and do it there",
        )
    }
    /// The store of sessions did not answer.
    pub(super) fn no_statistics() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the statistics cannot be read now",
            "try again in some seconds; louver's log tells why",
        )
        .with(header::RETRY_AFTER, "5")
    }

    /// The answer.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = api::json(self.status, &api::ProblemJson::from(&self));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.extend(self.header.map(|(name, value)| (Some(name), value)));
        response
    }
}
