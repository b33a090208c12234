//! RTSP 1.0 (RFC 2326): messages as values, their parser, and the server side of a connection as a state
//! machine.
//!
//! Not here: sockets, tasks and timers (`egress::rtsp` drives [`server::Conn`]), RTP and RTCP
//! (`proto::rtp`), SDP (`proto::sdp`), the pulling client (`ingest`).

pub mod auth;
pub mod headers;
pub mod http;
mod limits;
mod lines;
pub mod parse;
mod rules;
pub mod server;
pub mod url;

use std::fmt;

pub use limits::Limit;
pub use limits::Limits;

use url::Url;

/// What a request wants (RFC 2326 section 10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Announce,
    Describe,
    GetParameter,
    Options,
    Pause,
    Play,
    Record,
    Setup,
    SetParameter,
    Teardown,
    /// A method that we do not know, REDIRECT and the HTTP ones among them.
    Other,
}

/// Every method that is there, in the order of the `Public` header.
const METHODS: [(Method, &str); 10] = [
    (Method::Options, "OPTIONS"),
    (Method::Describe, "DESCRIBE"),
    (Method::Announce, "ANNOUNCE"),
    (Method::Setup, "SETUP"),
    (Method::Play, "PLAY"),
    (Method::Pause, "PAUSE"),
    (Method::Record, "RECORD"),
    (Method::Teardown, "TEARDOWN"),
    (Method::GetParameter, "GET_PARAMETER"),
    (Method::SetParameter, "SET_PARAMETER"),
];

impl Method {
    /// Reads the first word of a request line. Methods are case-sensitive (RFC 2326 section 6.1).
    pub fn from_token(token: &str) -> Self {
        let known = METHODS.iter().find(|(_, name)| *name == token);
        known.map_or(Self::Other, |(method, _)| *method)
    }

    /// The word on the wire; empty for [`Method::Other`].
    pub fn as_str(self) -> &'static str {
        let known = METHODS.iter().find(|(method, _)| *method == self);
        known.map_or("", |(_, name)| name)
    }

    /// The value of the `Public` header: exactly what is there.
    pub fn public() -> String {
        METHODS.map(|(_, name)| name).join(", ")
    }
}

/// One request, complete with its body.
///
/// `Debug` shows the method, the path and the names of the headers: never credentials, query or agent.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// As sent; may hold credentials and a query.
    pub url: String,
    /// Major and minor.
    pub version: (u8, u8),
    /// In the order of arrival, values trimmed.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).next()
    }

    /// All headers of this name: `Transport` and `Require` may come on several lines.
    pub fn headers_named(&self, name: &str) -> impl Iterator<Item = &str> {
        let same = move |h: &&(String, String)| h.0.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|h| h.1.as_str())
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|h| h.0.as_str()).collect();
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &Url::parse(&self.url).map(|u| u.path().to_owned()))
            .field("headers", &names)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// One response of ours.
///
/// `Debug` shows no header values: `Content-Base` repeats the peer's query.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    reason: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Response {
    /// A response with the reason phrase of RFC 2326 section 7.1.1.
    pub fn new(status: u16) -> Self {
        Self::with_reason(status, reason(status))
    }

    /// A response with a reason phrase of its own; what may not be in one becomes a space.
    pub fn with_reason(status: u16, reason: &str) -> Self {
        let plain = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { ' ' };
        Self {
            status,
            reason: reason.chars().take(200).map(plain).collect(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header; it is written exactly so cased, as some clients compare with case. Control
    /// characters are taken out of the value, so that nothing that a peer sent can begin another header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let mut value = value.into();
        value.retain(|c| !c.is_control());
        self.headers.push((name, value));
        self
    }

    /// Sets the body and with it `Content-Type` and `Content-Length`.
    #[must_use]
    pub fn body(self, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        let mut with = self
            .header("Content-Type", content_type)
            .header("Content-Length", length);
        with.body = body;
        with
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("RTSP/1.0 {} {}\r\n", self.status, self.reason);
        for (name, value) in &self.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|h| h.0).collect();
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

/// The usual words for a status (RFC 2326 section 7.1.1).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        451 => "Parameter Not Understood",
        453 => "Not Enough Bandwidth",
        454 => "Session Not Found",
        455 => "Method Not Valid in This State",
        459 => "Aggregate Operation Not Allowed",
        461 => "Unsupported Transport",
        463 => "Key Management Failure",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "RTSP Version Not Supported",
        551 => "Option Not Supported",
        _ => "Error",
    }
}

/// A frame between messages: `$`, channel, length, packet (RFC 2326 section 10.12).
#[derive(Clone, PartialEq, Eq)]
pub struct Interleaved {
    pub channel: u8,
    /// An RTP or RTCP packet, or so it should be.
    pub packet: Vec<u8>,
}

impl fmt::Debug for Interleaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Interleaved {{ channel: {}, {} bytes }}",
            self.channel,
            self.packet.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_shows_no_secret_in_debug() {
        let request = Request {
            method: Method::Describe,
            url: "rtsp://alice:wonder@host/cam1?token=s3cret".into(),
            version: (1, 0),
            headers: vec![
                ("Authorization".into(), "Basic YWxpY2U6d29uZGVy".into()),
                ("User-Agent".into(), "Rabbit/7".into()),
            ],
            body: Vec::new(),
        };
        let shown = format!("{request:?}");
        assert!(
            shown.contains("cam1") && shown.contains("Authorization"),
            "{shown}"
        );
        for secret in ["alice", "wonder", "s3cret", "YWxp", "Rabbit"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }

    #[test]
    fn a_response_is_written_with_its_length_and_no_header_can_be_smuggled_in() {
        let response = Response::new(200)
            .header("CSeq", "3")
            .header("Content-Base", "rtsp://h/a\r\nX: y/")
            .body("application/sdp", "v=0\r\n");
        let text = String::from_utf8(response.to_bytes()).unwrap();
        assert_eq!(
            text,
            "RTSP/1.0 200 OK\r\nCSeq: 3\r\nContent-Base: rtsp://h/aX: y/\r\n\
             Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
        );
        assert!(!format!("{response:?}").contains("rtsp://"));
        let refused = Response::with_reason(415, "no\r\nX: y").to_bytes();
        assert_eq!(refused, b"RTSP/1.0 415 no  X: y\r\n\r\n");
    }

    #[test]
    fn methods_are_case_sensitive_and_public_lists_each() {
        for (method, name) in METHODS {
            assert_eq!(Method::from_token(name), method);
            assert_eq!(method.as_str(), name);
            assert!(Method::public().split(", ").any(|m| m == name));
        }
        assert_eq!(Method::from_token("describe"), Method::Other);
        assert_eq!(Method::from_token("REDIRECT"), Method::Other);
    }
}
