//! The few RTSP messages that a generator and a floor need.

use std::io::BufRead;

/// A request or an answer without its body.
pub(crate) struct Message {
    /// Status line or request line.
    pub(crate) first: String,
    headers: Vec<(String, String)>,
}

impl Message {
    /// Parses the text up to the empty line.
    pub(crate) fn parse(head: &str) -> Self {
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(|l| l.split_once(':'));
        let headers = headers
            .map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_owned()))
            .collect();
        Self { first, headers }
    }
    /// Reads one from a blocking stream; `None` at its end.
    pub(crate) fn read(input: &mut impl BufRead) -> Option<Self> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if input.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        Some(Self::parse(&head))
    }
    /// A header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
    /// The session id without its parameters.
    pub(crate) fn session(&self) -> Option<String> {
        Some(self.header("session")?.split(';').next()?.to_owned())
    }
    pub(crate) fn is_ok(&self) -> bool {
        self.first.starts_with("RTSP/1.0 200")
    }
    pub(crate) fn content_length(&self) -> usize {
        self.header("content-length")
            .and_then(|v| v.parse().ok())
            .unwrap_or(0)
    }
}

/// What comes on a connection.
pub(crate) enum Piece<'a> {
    /// Channel and packet.
    Packet(u8, &'a [u8]),
    /// An answer with its body.
    Text(Message, String),
}

/// The first whole piece of the input and its length, prefixes included.
pub(crate) fn piece(input: &[u8]) -> Option<(Piece<'_>, usize)> {
    if *input.first()? == b'$' {
        let head = input.first_chunk::<4>()?;
        let end = 4 + usize::from(u16::from_be_bytes([head[2], head[3]]));
        return Some((Piece::Packet(head[1], input.get(4..end)?), end));
    }
    let start = input.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let message = Message::parse(&String::from_utf8_lossy(&input[..start]));
    let end = start + message.content_length();
    let body = String::from_utf8_lossy(input.get(start..end)?).into_owned();
    Some((Piece::Text(message, body), end))
}

/// One track of H.264, as the clip has it.
pub(crate) fn sdp(sprop: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=bench\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
         a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sprop}\r\n\
         a=control:trackID=0\r\n"
    )
}

/// A request with all its headers.
pub(crate) fn request(
    method: &str,
    url: &str,
    cseq: u32,
    session: Option<&str>,
    headers: &str,
    body: &str,
) -> String {
    let session = session.map_or_else(String::new, |s| format!("Session: {s}\r\n"));
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    format!("{method} {url} RTSP/1.0\r\nCSeq: {cseq}\r\n{session}{headers}{length}\r\n{body}")
}
