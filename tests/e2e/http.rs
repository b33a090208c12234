//! A small HTTP/1.1 client for tests: chooses its source address, sends any header, reads bodies that never end.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

use socket2::Domain;
use socket2::Socket;
use socket2::Type;

/// Where ordinary requests come from.
pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A TCP connection from `from`; on Linux any 127/8 address is ours.
pub fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket
        .connect_timeout(&to.into(), Duration::from_secs(10))
        .unwrap_or_else(|e| panic!("{to}: {e}"));
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.into()
}

/// A whole answer.
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// `GET` from the usual address without any header.
pub fn get(to: SocketAddr, path: &str) -> Answer {
    request(LOCAL, to, "GET", path, &[])
}

/// Any request; the connection is closed after the answer.
pub fn request(from: IpAddr, to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = Stream::open(from, to, method, path, headers);
    let mut body = vec![];
    if method != "HEAD" {
        stream
            .body
            .read_to_end(&mut body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"));
    }
    Answer {
        status: stream.status,
        headers: stream.headers,
        body,
    }
}

/// An answer whose body is read bit by bit.
pub struct Stream {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: BufReader<Box<dyn Read + Send>>,
}

impl Stream {
    /// Sends a request and reads the head of its answer.
    pub fn open(from: IpAddr, to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut conn = connect(from, to);
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\n", to.port());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        conn.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut input = BufReader::new(conn);
        let (first, headers) = read_head(&mut input).unwrap_or_else(|| panic!("{method} {path}: no answer"));
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect(&first);
        let body: Box<dyn Read + Send> = if find(&headers, "transfer-encoding") == Some("chunked") {
            Box::new(Chunked {
                input,
                left: 0,
                ended: false,
            })
        } else if let Some(n) = find(&headers, "content-length") {
            let n = n.parse().unwrap();
            Box::new(input.take(n))
        } else {
            Box::new(input)
        };
        Self {
            status,
            headers,
            body: BufReader::new(body),
        }
    }
    /// The next part of `multipart/x-mixed-replace`: its body, by its own Content-Length.
    pub fn next_part(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        while line.trim().is_empty() {
            line.clear();
            if self.body.read_line(&mut line).ok()? == 0 {
                return None;
            }
        }
        assert!(line.starts_with("--"), "not a boundary: {line:?}");
        let mut headers = vec![];
        read_headers(&mut self.body, &mut headers)?;
        let length = find(&headers, "content-length")
            .expect("every part has a Content-Length")
            .parse()
            .unwrap();
        let mut part = vec![0; length];
        self.body.read_exact(&mut part).ok()?;
        Some(part)
    }
}

/// The first line and the headers of an HTTP or RTSP message.
pub fn read_head(input: &mut impl BufRead) -> Option<(String, Vec<(String, String)>)> {
    let mut first = String::new();
    if input.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut headers = vec![];
    read_headers(input, &mut headers)?;
    Some((first.trim_end().to_owned(), headers))
}

fn read_headers(input: &mut impl BufRead, headers: &mut Vec<(String, String)>) -> Option<()> {
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Some(());
        }
        let (name, value) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("not a header: {line:?}"));
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// RFC 9112 section 7.1, without trailers.
struct Chunked<R> {
    input: R,
    left: usize,
    ended: bool,
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.ended || out.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let mut line = String::new();
            while line.trim().is_empty() {
                line.clear();
                if self.input.read_line(&mut line)? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
            let size = line.trim().split(';').next().unwrap_or_default();
            self.left = usize::from_str_radix(size, 16).map_err(|_| std::io::ErrorKind::InvalidData)?;
            self.ended = self.left == 0;
            if self.ended {
                return Ok(0);
            }
        }
        let n = out.len().min(self.left);
        let n = self.input.read(&mut out[..n])?;
        self.left -= n;
        Ok(n)
    }
}
