//! RTSP inside HTTP: what the first bytes of a connection are, the head of an HTTP request, and the base64 in which
//! requests come through a tunnel (Apple's "Tunneling RTSP over HTTP", which QuickTime, live555, FFmpeg and
//! GStreamer speak; WebSocket: RFC 6455, ONVIF Streaming Specification section 5.1.1.5).
//!
//! Not here: which connection belongs to which (`egress::rtsp`), RTSP itself (`parse`, `server`).

use super::Limits;

/// Bytes of a cookie at most; those of players have 22 and less.
pub const COOKIE_MAX: usize = 128;

/// What a connection speaks, as far as its first bytes tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speech {
    /// Both are possible.
    Unclear,
    Http,
    /// RTSP, or nothing that we know, which is RTSP's affair.
    Rtsp,
}

/// Tells HTTP from RTSP: `GET ` and `POST ` are no methods of RTSP.
pub fn speech(bytes: &[u8]) -> Speech {
    let of = |method: &[u8]| {
        let seen = bytes.len().min(method.len());
        let fits = bytes[..seen] == method[..seen];
        match fits {
            true if seen == method.len() => Speech::Http,
            true => Speech::Unclear,
            false => Speech::Rtsp,
        }
    };
    match (of(b"GET "), of(b"POST ")) {
        (Speech::Rtsp, other) | (other, _) => other,
    }
}

/// What somebody wants who speaks HTTP to an RTSP server.
///
/// No `Debug`: the cookie is what lets somebody into a tunnel.
pub enum Wish {
    /// The way from us to the peer.
    Get(Cookie),
    /// The way from the peer to us.
    Post(Cookie),
    WebSocket {
        /// `Sec-WebSocket-Key`.
        key: String,
        /// The subprotocol to answer with, if one was offered that we know.
        protocol: Option<&'static str>,
    },
    /// A browser, most likely.
    Other,
}

/// What a tunnel's two connections have in common. It is compared and never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cookie(Box<str>);

/// Why a head cannot be read. Holds nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HttpError {
    #[error("an HTTP head with more bytes or headers than allowed")]
    TooLong,
    #[error("expected an HTTP request line and `name: value` lines")]
    Malformed,
    #[error("a tunnel's bytes are not base64")]
    NotBase64,
}

/// The subprotocol of RTSP over WebSocket.
const ONVIF: &str = "rtsp.onvif.org";

/// Reads a head; the number is its length. `None`: more is to come.
///
/// # Errors
/// When it is too long or no HTTP.
pub fn head(bytes: &[u8], limits: &Limits) -> Result<Option<(Wish, usize)>, HttpError> {
    let within = &bytes[..bytes.len().min(limits.head)];
    let end = within.windows(2).enumerate().find_map(|(n, pair)| match pair {
        b"\n\n" => Some(n + 2),
        b"\n\r" if within.get(n + 2) == Some(&b'\n') => Some(n + 3),
        _ => None,
    });
    let Some(end) = end else {
        let full = bytes.len() >= limits.head;
        return if full { Err(HttpError::TooLong) } else { Ok(None) };
    };
    let text = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = text.lines();
    let mut first = lines.next().unwrap_or_default().split_ascii_whitespace();
    let (Some(method), Some(_), Some(version)) = (first.next(), first.next(), first.next()) else {
        return Err(HttpError::Malformed);
    };
    if !version.starts_with("HTTP/1.") {
        return Err(HttpError::Malformed);
    }
    let mut headers = Vec::new();
    for line in lines.map(str::trim).filter(|l| !l.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(HttpError::Malformed)?;
        headers.push((name.trim(), value.trim()));
        if headers.len() > limits.headers {
            return Err(HttpError::TooLong);
        }
    }
    Ok(Some((wish(method, &headers), end)))
}

fn wish(method: &str, headers: &[(&str, &str)]) -> Wish {
    let named = |name: &str| {
        let found = headers.iter().find(|h| h.0.eq_ignore_ascii_case(name));
        found.map(|h| h.1)
    };
    let upgrade = named("Upgrade").is_some_and(|u| u.eq_ignore_ascii_case("websocket"));
    if let (true, Some(key)) = (upgrade && method == "GET", named("Sec-WebSocket-Key")) {
        let all = headers
            .iter()
            .filter(|h| h.0.eq_ignore_ascii_case("Sec-WebSocket-Protocol"));
        let offered = all.flat_map(|h| h.1.split(',')).any(|p| p.trim() == ONVIF);
        return Wish::WebSocket {
            key: key.to_owned(),
            protocol: offered.then_some(ONVIF),
        };
    }
    let cookie = named("x-sessioncookie").filter(|c| (1..=COOKIE_MAX).contains(&c.len()));
    match (method, cookie) {
        ("GET", Some(cookie)) => Wish::Get(Cookie(cookie.into())),
        ("POST", Some(cookie)) => Wish::Post(Cookie(cookie.into())),
        _ => Wish::Other,
    }
}

/// The answer to a tunnel's GET. Its body goes on for as long as the tunnel does.
pub const TUNNEL_ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nServer: Louver\r\nConnection: close\r\n\
    Cache-Control: no-store, no-cache\r\nPragma: no-cache\r\n\
    Content-Type: application/x-rtsp-tunnelled\r\n\r\n";

/// The answer to everything in HTTP that is no tunnel.
pub fn refusal(status: u16) -> Vec<u8> {
    let (reason, text) = match status {
        400 => ("Bad Request", "This is no HTTP request.\n"),
        431 => (
            "Request Header Fields Too Large",
            "Too many headers, or too long ones.\n",
        ),
        408 => ("Request Timeout", "The other half of the tunnel did not come.\n"),
        503 => ("Service Unavailable", "Too many tunnels are waiting.\n"),
        _ => (
            "Not Found",
            "This port is for RTSP; the page is on another one.\n",
        ),
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\nServer: Louver\r\nConnection: close\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

/// The answer that turns a connection into a WebSocket; `accept` is made of the key.
pub fn switching(accept: &str, protocol: Option<&str>) -> Vec<u8> {
    let protocol = protocol.map(|p| format!("Sec-WebSocket-Protocol: {p}\r\n"));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{}\r\n",
        protocol.unwrap_or_default()
    )
    .into_bytes()
}

/// Base64 that comes in pieces, each request on its own: padding may stand in the middle, and space anywhere.
#[derive(Clone, Default)]
pub struct Base64Stream {
    /// Bits of an unfinished group, and how many characters they are of.
    bits: u32,
    count: u8,
    /// The group is being padded: only `=` may come until it is full.
    padded: bool,
}

impl Base64Stream {
    /// Decodes what came; at most three bytes for four are added to `out`.
    ///
    /// # Errors
    /// At a character that base64 does not have, or has not there.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), HttpError> {
        for &byte in input {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                b'=' if self.count >= 2 => {
                    self.pad(out);
                    continue;
                }
                b'\r' | b'\n' | b' ' | b'\t' => continue,
                _ => return Err(HttpError::NotBase64),
            };
            if self.padded {
                return Err(HttpError::NotBase64);
            }
            self.bits = self.bits << 6 | u32::from(value);
            self.count += 1;
            if self.count == 4 {
                out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                *self = Self::default();
            }
        }
        Ok(())
    }

    fn pad(&mut self, out: &mut Vec<u8>) {
        if !self.padded {
            // Two characters hold one byte, three hold two.
            let bytes = (self.bits << (6 * (4 - self.count))).to_be_bytes();
            out.extend_from_slice(&bytes[1..usize::from(self.count)]);
            self.padded = true;
        }
        self.count += 1;
        if self.count == 4 {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<(Wish, usize)>, HttpError> {
        head(bytes, &Limits::DEFAULT)
    }

    #[test]
    fn http_is_told_from_rtsp_by_its_first_bytes() {
        for (bytes, speaks) in [
            (&b""[..], Speech::Unclear),
            (b"G", Speech::Unclear),
            (b"GET", Speech::Unclear),
            (b"GET /", Speech::Http),
            (b"GET_PARAMETER", Speech::Rtsp),
            (b"P", Speech::Unclear),
            (b"PO", Speech::Unclear),
            (b"POST /", Speech::Http),
            (b"PLAY", Speech::Rtsp),
            (b"OPTIONS", Speech::Rtsp),
            (b"$\0\0\x04", Speech::Rtsp),
            (b"\r\nGET ", Speech::Rtsp),
        ] {
            assert_eq!(speech(bytes), speaks, "{}", bytes.escape_ascii());
        }
    }

    fn wish(text: &str) -> Wish {
        let text = text.replace('\n', "\r\n");
        for cut in 0..text.len() {
            assert!(matches!(read(&text.as_bytes()[..cut]), Ok(None)), "cut at {cut}");
        }
        let (wish, length) = read(&[text.as_bytes(), b"rest"].concat())
            .ok()
            .flatten()
            .expect("a head");
        assert_eq!(length, text.len());
        wish
    }

    #[test]
    fn the_halves_of_a_tunnel_are_known_by_their_cookie_whatever_a_proxy_adds() {
        let get = wish(
            "GET /cam HTTP/1.0\nUser-Agent: x\nx-sessioncookie: 4db3f6e1\nAccept: application/x-rtsp-tunnelled\n\
             Via: 1.1 proxy\nX-Forwarded-For: 192.0.2.1\n\n",
        );
        let post = wish(
            "POST /cam HTTP/1.1\nX-SessionCookie:4db3f6e1\nContent-Type: application/x-rtsp-tunnelled\n\
             Content-Length: 32767\n\n",
        );
        let (Wish::Get(a), Wish::Post(b)) = (get, post) else {
            panic!("a GET and a POST");
        };
        assert!(a == b);
        assert!(matches!(wish("GET / HTTP/1.1\nHost: h\n\n"), Wish::Other));
        let long = format!(
            "GET / HTTP/1.1\nx-sessioncookie: {}\n\n",
            "c".repeat(COOKIE_MAX + 1)
        );
        assert!(matches!(wish(&long), Wish::Other));
    }

    #[test]
    fn a_websocket_is_taken_with_the_subprotocol_of_onvif_and_without() {
        let request = |protocol: &str| {
            wish(&format!(
                "GET /cam HTTP/1.1\nConnection: keep-alive, Upgrade\nUpgrade: WebSocket\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n{protocol}\n"
            ))
        };
        for (header, answer) in [
            ("", None),
            ("Sec-WebSocket-Protocol: chat, rtsp.onvif.org\n", Some(ONVIF)),
            ("Sec-WebSocket-Protocol: chat\n", None),
        ] {
            let Wish::WebSocket { key, protocol } = request(header) else {
                panic!("a WebSocket")
            };
            assert_eq!((key.as_str(), protocol), ("dGhlIHNhbXBsZSBub25jZQ==", answer));
        }
    }

    #[test]
    fn a_head_has_limits() {
        let endless = vec![b'x'; Limits::DEFAULT.head];
        assert_eq!(read(&endless).err(), Some(HttpError::TooLong));
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "a: b\r\n".repeat(Limits::DEFAULT.headers + 1)
        );
        assert_eq!(read(many.as_bytes()).err(), Some(HttpError::TooLong));
        for bad in [
            "GET /\r\n\r\n",
            "GET / RTSP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nx\r\n\r\n",
        ] {
            assert_eq!(read(bad.as_bytes()).err(), Some(HttpError::Malformed), "{bad}");
        }
    }

    #[test]
    fn base64_is_the_same_at_every_cut_with_space_and_padding_anywhere() {
        let requests = ["OPTIONS * RTSP/1.0\r\n\r\n", "a", "ab", "abc", ""];
        let mut text = String::new();
        for request in requests {
            text += &STANDARD.encode(request);
            text += "\r\n ";
        }
        for cut in 0..=text.len() {
            let (mut stream, mut out) = (Base64Stream::default(), Vec::new());
            stream.decode(&text.as_bytes()[..cut], &mut out).unwrap();
            stream.decode(&text.as_bytes()[cut..], &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), requests.concat(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_base64_ends_the_tunnel() {
        for bad in ["OPTIONS *", "=", "A=", "AA=A", "AAAA=", "\u{e9}"] {
            let result = Base64Stream::default().decode(bad.as_bytes(), &mut Vec::new());
            assert_eq!(result, Err(HttpError::NotBase64), "{bad}");
        }
    }
}
