//! The incremental parser of what a client sends: requests and interleaved frames, from bytes cut anywhere.
//!
//! What comes out does not depend on the cuts: each byte is judged once, in its order, and limits count
//! from where a message begins. Not here: what a line says (`lines`), what headers mean (`headers`), replies (`server`).

use std::sync::Arc;

use super::Interleaved;
use super::Limit;
use super::Limits;
use super::Request;
use super::lines::content_length;
use super::lines::header;
use super::lines::request_line;
use super::lines::status;
use super::lines::trim_end;
use super::lines::version;

/// Bytes between two messages that belong to none.
pub const GARBAGE_MAX: usize = 64 * 1024;
/// Bytes of a method; a longer word is garbage.
const METHOD_MAX: usize = 32;

/// What is wrong with the bytes, and where. Holds none of them: they may carry credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {pos}: {what}, while reading {context}")]
pub struct ParseError {
    /// Bytes of this connection before the line, or message, that is wrong.
    pub pos: u64,
    /// The part of the grammar.
    pub context: &'static str,
    pub what: What,
}

/// Where a request line, a head, headers and a body are too long.
const LINE: &str = "a request line";
const HEAD: &str = "a request's head";
const HEADERS: &str = "headers";
const BODY: &str = "a body";

impl ParseError {
    /// The limit that was reached, if it was one that the operator can raise.
    pub fn limit(&self) -> Option<Limit> {
        match (self.what, self.context) {
            (What::TooLong(_), LINE | HEAD) => Some(Limit::RequestSize),
            (What::TooMany(_), HEADERS) => Some(Limit::RequestHeaders),
            (What::TooLong(_), BODY) => Some(Limit::AnnounceSize),
            _ => None,
        }
    }
    /// What the peer is told (RFC 2326 section 11.3).
    pub fn status(&self) -> u16 {
        match (self.limit(), self.context) {
            (None, _) => 400,
            (Some(_), LINE) => 414,
            (Some(_), _) => 413,
        }
    }
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    #[error("expected {0}")]
    Expected(&'static str),
    #[error("more than {0} bytes")]
    TooLong(usize),
    #[error("more than {0} headers")]
    TooMany(usize),
}

/// One thing that a client sent. Responses are read and forgotten: we ask clients nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    Request(Request),
    Interleaved(Interleaved),
}

/// The parser. After an error it gives nothing any more.
#[derive(Default)]
pub struct Parser {
    buf: Vec<u8>,
    /// Bytes of `buf` that are done with.
    start: usize,
    /// Bytes of the connection before `buf[start]`.
    pos: u64,
    scan: Scan,
    /// A head that waits for its body: a request, or a response to be forgotten.
    head: Option<Box<(Option<Request>, usize)>>,
    garbage: usize,
    failed: bool,
    limits: Arc<Limits>,
}

/// How far the head at `buf[start]` has been looked at; offsets from there.
#[derive(Default)]
struct Scan {
    at: usize,
    line: usize,
    lines: usize,
    /// The first word is complete.
    word: bool,
}

/// What looking at a head came to.
enum Found {
    More,
    /// So many bytes cannot begin a message.
    Garbage(usize),
    /// The head is this long.
    Head(usize),
}

/// A buffer up to this size is let go when it is empty: most connections are readers that rarely speak.
const SMALL: usize = 4096;

impl Parser {
    /// A parser at the start of a connection.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// Bytes taken in that no message has used yet.
    pub fn waiting(&self) -> usize {
        self.buf.len() - self.start
    }

    /// Gives back the memory of a few requests; that of a publisher's packets is needed again at once.
    pub(super) fn rest(&mut self) {
        if self.waiting() == 0 && self.buf.capacity() <= SMALL {
            (self.buf, self.start) = (Vec::new(), 0);
        }
    }

    /// The next message, if it is all there.
    pub fn next_message(&mut self) -> Result<Option<Message>, ParseError> {
        if self.failed {
            return Ok(None);
        }
        let result = self.advance();
        self.failed = result.is_err();
        result
    }

    fn advance(&mut self) -> Result<Option<Message>, ParseError> {
        loop {
            if self.head.as_ref().is_some_and(|head| self.waiting() < head.1) {
                return Ok(None);
            }
            if let Some((request, length)) = self.head.take().map(|head| *head) {
                let body = self.consume(length);
                self.garbage = 0;
                match request {
                    Some(request) => return Ok(Some(Message::Request(Request { body, ..request }))),
                    None => continue,
                }
            }
            match self.buf.get(self.start) {
                None => return Ok(None),
                Some(b'\r' | b'\n') => self.skip(1),
                Some(b'$') => return Ok(self.interleaved().map(Message::Interleaved)),
                Some(_) => match self.scan()? {
                    Found::More => return Ok(None),
                    Found::Garbage(length) => self.discard(length)?,
                    Found::Head(length) => self.head(length)?,
                },
            }
        }
    }

    fn interleaved(&mut self) -> Option<Interleaved> {
        let &[_, channel, high, low] = self.buf.get(self.start..)?.first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if self.waiting() < 4 + length {
            return None;
        }
        self.skip(4);
        self.garbage = 0;
        let packet = self.consume(length);
        Some(Interleaved { channel, packet })
    }

    /// Looks on for the end of a head. Each byte is looked at once, however they are cut.
    fn scan(&mut self) -> Result<Found, ParseError> {
        let bytes = &self.buf[self.start..];
        let scan = &mut self.scan;
        let wrong = |scan: &Scan, context, what| ParseError {
            pos: self.pos + scan.line as u64,
            context,
            what,
        };
        while let Some(&byte) = bytes.get(scan.at) {
            if scan.at >= self.limits.head {
                let context = if scan.lines == 0 { LINE } else { HEAD };
                return Err(wrong(scan, context, What::TooLong(self.limits.head)));
            }
            if scan.lines == 0 && !scan.fits_first_line(bytes, byte) {
                return Ok(Found::Garbage(scan.at.max(1)));
            }
            scan.at += 1;
            if byte != b'\n' {
                continue;
            }
            let line = trim_end(&bytes[scan.line..scan.at]);
            if scan.lines == 0 && version(line).is_none() && status(line).is_none() {
                let what = What::Expected("`METHOD URL RTSP/1.0`");
                return Err(wrong(scan, LINE, what));
            }
            if scan.lines > 0 && line.is_empty() {
                return Ok(Found::Head(scan.at));
            }
            if scan.lines > self.limits.headers {
                return Err(wrong(scan, HEADERS, What::TooMany(self.limits.headers)));
            }
            scan.lines += 1;
            scan.line = scan.at;
        }
        Ok(Found::More)
    }

    /// Takes a complete head out of the buffer and keeps what it says.
    fn head(&mut self, length: usize) -> Result<(), ParseError> {
        let mut pos = self.pos;
        let bytes = self.consume(length);
        let mut lines = bytes.split_inclusive(|b| *b == b'\n');
        let first = lines.next().unwrap_or_default();
        pos += first.len() as u64;
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            header(line, &mut headers).map_err(|what| ParseError {
                pos,
                context: "a header",
                what,
            })?;
            pos += line.len() as u64;
        }
        let length = content_length(&headers, self.limits.body);
        let length = length.map_err(|what| ParseError {
            pos,
            context: BODY,
            what,
        })?;
        let first = trim_end(first);
        let line = if status(first).is_some() {
            None
        } else {
            request_line(first)
        };
        let request = line.map(|(method, url, version)| Request {
            method,
            url,
            version,
            headers,
            body: Vec::new(),
        });
        self.head = Some(Box::new((request, length)));
        Ok(())
    }

    /// Bytes that belong to nothing. No message begins among them: it would meet the same bad byte.
    fn discard(&mut self, length: usize) -> Result<(), ParseError> {
        let pos = self.pos;
        self.skip(length);
        self.garbage += length;
        if self.garbage > GARBAGE_MAX {
            let what = What::TooLong(GARBAGE_MAX);
            return Err(ParseError {
                pos,
                context: "what is no RTSP",
                what,
            });
        }
        Ok(())
    }

    fn skip(&mut self, n: usize) {
        self.start += n;
        self.pos += n as u64;
        self.scan = Scan::default();
    }

    fn consume(&mut self, n: usize) -> Vec<u8> {
        let bytes = self.buf[self.start..self.start + n].to_vec();
        self.skip(n);
        bytes
    }
}

impl Scan {
    /// Whether a request line, or a response's status line, can go on with this byte.
    fn fits_first_line(&mut self, bytes: &[u8], byte: u8) -> bool {
        if !self.word {
            if self.at > 0 && (byte == b' ' || (byte == b'/' && &bytes[..self.at] == b"RTSP")) {
                self.word = true;
                return true;
            }
            return self.at < METHOD_MAX && (byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        }
        if bytes[self.at - 1] == b'\r' {
            return byte == b'\n';
        }
        !byte.is_ascii_control() || b"\t\r\n".contains(&byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::rtsp::Method;

    const HEAD_MAX: usize = Limits::DEFAULT.head;
    const HEADERS_MAX: usize = Limits::DEFAULT.headers;
    const BODY_MAX: usize = Limits::DEFAULT.body;

    /// What comes out of these pieces, in the order of the connection.
    fn read(pieces: &[&[u8]]) -> (Vec<Message>, Option<ParseError>) {
        let mut parser = Parser::default();
        let mut messages = Vec::new();
        for piece in pieces {
            parser.push(piece);
            loop {
                match parser.next_message() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => return (messages, Some(error)),
                }
            }
        }
        (messages, None)
    }

    /// The same for every cut in two, for single bytes, and uncut.
    fn everywhere(bytes: &[u8]) -> (Vec<Message>, Option<ParseError>) {
        let whole = read(&[bytes]);
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(read(&[a, b]), whole, "cut at {cut}");
        }
        assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), whole);
        whole
    }

    fn requests(bytes: &[u8]) -> Vec<Request> {
        let (messages, error) = everywhere(bytes);
        assert_eq!(error, None);
        let request = |m| match m {
            Message::Request(r) => r,
            Message::Interleaved(_) => panic!("a frame"),
        };
        messages.into_iter().map(request).collect()
    }

    fn error(bytes: &[u8]) -> ParseError {
        everywhere(bytes).1.expect("an error")
    }

    #[test]
    fn a_request_with_headers_and_body_comes_whole_at_every_cut() {
        let found = requests(
            b"ANNOUNCE rtsp://h/cam RTSP/1.0\r\nCSeq: 2\r\ncontent-LENGTH:4\r\nX:  a : b  \r\n\r\nv=0\n",
        );
        assert_eq!(found.len(), 1);
        let request = &found[0];
        assert_eq!((request.method, request.version), (Method::Announce, (1, 0)));
        assert_eq!(request.url, "rtsp://h/cam");
        assert_eq!(request.body, b"v=0\n");
        assert_eq!(request.header("CSEQ"), Some("2"));
        assert_eq!(request.header("x"), Some("a : b"));
        assert_eq!(request.header("y"), None);
    }

    #[test]
    fn requests_in_one_piece_come_one_by_one() {
        let found = requests(
            b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\nDESCRIBE rtsp://h/a RTSP/1.0\r\nCSeq: 2\r\n\r\n\
              PLAY rtsp://h/a/ RTSP/1.0\r\nCSeq: 3\r\n\r\n",
        );
        let methods: Vec<Method> = found.iter().map(|r| r.method).collect();
        assert_eq!(methods, [Method::Options, Method::Describe, Method::Play]);
    }

    #[test]
    fn bare_line_feeds_and_stray_line_ends_are_read() {
        let found = requests(
            b"\r\n\r\n\nOPTIONS rtsp://h RTSP/1.0\nCSeq: 1\n\n\r\nPLAY * RTSP/1.0\r\nA: b\n\r\n\r\n",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].header("cseq"), Some("1"));
        assert_eq!(found[1].method, Method::Play);
    }

    #[test]
    fn options_may_lack_a_url_and_a_url_may_have_spaces_or_odd_bytes() {
        let found = requests(
            b"OPTIONS RTSP/1.0\r\n\r\nOPTIONS  RTSP/1.0\r\n\r\n\
              DESCRIBE rtsp://h/my cam?a=b c RTSP/1.0\r\n\r\n\
              DESCRIBE rtsp://h/\xff\xc3\xa9 RTSP/1.0  \r\n\r\n",
        );
        let urls: Vec<&str> = found.iter().map(|r| r.url.as_str()).collect();
        assert_eq!(urls, ["", "", "rtsp://h/my cam?a=b c", "rtsp://h/\u{fffd}é"]);
    }

    #[test]
    fn frames_stand_between_requests_and_may_hold_anything() {
        let bytes = b"$\x00\x00\x04$\r\nOPLAY * RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x01\x00\x00$\xff\x00\x03\r\n\r";
        let (messages, error) = everywhere(bytes);
        assert_eq!(error, None);
        let frame = |channel, packet: &[u8]| {
            let packet = packet.to_vec();
            Message::Interleaved(Interleaved { channel, packet })
        };
        assert_eq!(messages.len(), 4);
        assert_eq!(messages[0], frame(0, b"$\r\nO"));
        assert!(matches!(&messages[1], Message::Request(r) if r.method == Method::Play));
        assert_eq!(messages[2], frame(1, b""));
        assert_eq!(messages[3], frame(255, b"\r\n\r"));
    }

    #[test]
    fn the_peers_responses_are_forgotten_with_their_bodies() {
        let found = requests(
            b"RTSP/1.0 200 OK\r\nCSeq: 9\r\nContent-Length: 20\r\n\r\nPLAY * RTSP/1.0\r\n\r\n!\
              RTSP/1.0 404 RTSP/1.0\r\n\r\nTEARDOWN * RTSP/1.0\r\n\r\n",
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].method, Method::Teardown);
    }

    #[test]
    fn after_garbage_the_next_request_is_found() {
        for garbage in [
            &b"\x00\xff\x80 ?"[..],
            b"abc\x01",
            b"one two three \x07",
            b"RTSP/nonsense\x00 ",
            b"A-WORD-THAT-IS-LONGER-THAN-ANY-METHOD-IS!",
            b"FOO a\r",
            b"a\rb \x1b",
        ] {
            let mut bytes = garbage.to_vec();
            bytes.extend_from_slice(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
            let found = requests(&bytes);
            assert_eq!(found.len(), 1, "{garbage:?}");
            assert_eq!(found[0].method, Method::Options);
        }
    }

    #[test]
    fn other_protocols_are_told_apart_with_position_and_grammar() {
        let error = error(b"OPTIONS * RTSP/1.0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(
            error.to_string(),
            "byte 22: expected `METHOD URL RTSP/1.0`, while reading a request line"
        );
    }

    #[test]
    fn bad_headers_are_told_with_the_position_of_their_line() {
        let error = |bytes: &[u8]| error(bytes).to_string();
        assert_eq!(
            error(b"PLAY * RTSP/1.0\r\nCSeq: 1\r\nsecret\r\n\r\n"),
            "byte 26: expected `name: value`, while reading a header"
        );
        assert_eq!(
            error(b"PLAY * RTSP/1.0\r\n: x\r\n\r\n"),
            "byte 17: expected a header's name, while reading a header"
        );
        assert_eq!(
            error(b"PLAY * RTSP/1.0\r\nContent-Length: -1\r\n\r\n"),
            "byte 39: expected a number in `Content-Length`, while reading a body"
        );
    }

    #[test]
    fn a_header_may_go_on_in_the_next_line() {
        let found = requests(b"SETUP * RTSP/1.0\r\nTransport: RTP/AVP,\r\n\t RTP/AVP/TCP\r\n\r\n");
        assert_eq!(found[0].header("transport"), Some("RTP/AVP, RTP/AVP/TCP"));
    }

    #[test]
    fn a_head_a_body_and_a_list_of_headers_have_limits() {
        let start = b"PLAY * RTSP/1.0\r\n";
        let mut line = start.to_vec();
        line.extend_from_slice(b"X: ");
        line.resize(HEAD_MAX - 4, b'y');
        let mut fits = line.clone();
        fits.extend_from_slice(b"\r\n\r\n");
        assert_eq!(read(&[&fits]).0.len(), 1);
        line.extend_from_slice(b"y\r\n\r\n");
        for pieces in [
            vec![&line[..]],
            line.chunks(1).collect(),
            line.chunks(777).collect(),
        ] {
            let what = read(&pieces).1.expect("too long").what;
            assert_eq!(what, What::TooLong(HEAD_MAX));
        }

        let with = |n: usize| {
            let headers: String = (0..n).map(|n| format!("H{n}: v\r\n")).collect();
            [&start[..], headers.as_bytes(), b"\r\n"].concat()
        };
        assert_eq!(read(&[&with(HEADERS_MAX)]).0.len(), 1);
        assert_eq!(error(&with(HEADERS_MAX + 1)).what, What::TooMany(HEADERS_MAX));

        let body = |n: &str| [&start[..], b"Content-Length: ", n.as_bytes(), b"\r\n\r\n"].concat();
        assert_eq!(read(&[&body("65536")]), (Vec::new(), None));
        assert_eq!(error(&body("65537")).what, What::TooLong(BODY_MAX));
        assert_eq!(
            error(&body("99999999999999999999999")).what,
            What::TooLong(BODY_MAX)
        );
    }

    #[test]
    fn endless_garbage_ends() {
        for unit in [&b"\x80"[..], b"A b \x01", b"AAAA"] {
            let bytes: Vec<u8> = unit.iter().copied().cycle().take(GARBAGE_MAX * 2).collect();
            let (messages, error) = read(&[&bytes]);
            assert_eq!(messages, []);
            assert_eq!(error.expect("enough").what, What::TooLong(GARBAGE_MAX));
            assert_eq!(read(&bytes.chunks(999).collect::<Vec<_>>()).1, error);
        }
    }

    #[test]
    fn what_was_read_does_not_stay_in_memory() {
        let mut parser = Parser::default();
        for _ in 0..10_000 {
            parser.push(b"$\x00\x00\x08abcdefgh$\x00");
            while parser.next_message().unwrap().is_some() {}
            parser.push(b"\x00\x00");
            while parser.next_message().unwrap().is_some() {}
            assert_eq!(parser.waiting(), 0);
        }
        assert!(parser.buf.capacity() < 1000);
    }

    /// Bytes that are nearly RTSP.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just(b"OPTIONS ".to_vec()),
            Just(b"SETUP rtsp://h/p/trackID=0 RTSP/1.0\r\n".to_vec()),
            Just(b"RTSP/1.0 200 OK\r\n".to_vec()),
            Just(b" RTSP/1.0\r\n".to_vec()),
            Just(b"CSeq: 1\r\n".to_vec()),
            Just(b"Content-Length: 3\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"$\x00\x00\x05".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..8),
        ];
        proptest::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn messages_do_not_depend_on_the_cuts(
            bytes in nearly(),
            cuts in proptest::collection::vec(1usize..40, 1..9),
        ) {
            let whole = read(&[&bytes]);
            let (mut rest, mut pieces) = (&bytes[..], Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (piece, more) = rest.split_at(rest.len().min(*cut));
                pieces.push(piece);
                rest = more;
            }
            prop_assert_eq!(read(&pieces), whole);
        }
    }
}
