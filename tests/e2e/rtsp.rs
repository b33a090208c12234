//! A small RTSP reader for tests: chooses its source address, agent and manners, and knows how long it watched.
//!
//! It decodes nothing; what arrives is judged by the real readers in `peers`.

use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::time::Duration;
use std::time::Instant;

use crate::http;
use crate::peers::Transport;
use crate::relay::DEADLINE;

/// An answer of the relay.
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

/// One RTSP connection from an address of our choice.
pub struct Conn {
    stream: TcpStream,
    /// Bytes that came and were not looked at yet.
    input: Vec<u8>,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
    pub session: Option<String>,
    cseq: u32,
    /// Interleaved packets that came so far, by channel.
    pub packets: [u64; 4],
    /// The largest of them, in bytes.
    pub largest: usize,
    /// The first hundred of them, with their channels.
    pub taken: Vec<(u8, Vec<u8>)>,
}

impl Conn {
    pub fn open(from: IpAddr, to: SocketAddr) -> Self {
        let stream = http::connect(from, to);
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self {
            stream,
            input: vec![],
            headers: vec![],
            session: None,
            cseq: 0,
            packets: [0; 4],
            largest: 0,
            taken: vec![],
        }
    }
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
    /// Sends a request and waits for its answer, counting the packets that come before.
    #[track_caller]
    pub fn request(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) -> Reply {
        self.request_with(method, url, headers, "")
    }
    /// The same with a body.
    #[track_caller]
    pub fn request_with(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.send(method, url, headers, body).unwrap();
        self.reply()
            .unwrap_or_else(|| panic!("{method}: the relay closed the connection"))
    }
    /// The same, and the answer must be 200.
    #[track_caller]
    pub fn ok(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) -> Reply {
        let reply = self.request(method, url, headers);
        assert_eq!(reply.status, 200, "{method} {url}");
        reply
    }
    /// For requests that the relay may take as a reason to close: `None` then.
    pub fn try_request(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) -> Option<Reply> {
        self.send(method, url, headers, "").ok()?;
        self.reply()
    }
    /// Sends an interleaved packet, as publishers do.
    pub fn send_packet(&mut self, channel: u8, packet: &[u8]) {
        assert!(
            self.try_send_packet(channel, packet),
            "the relay closed the connection"
        );
    }
    /// The same; false when the relay has closed.
    pub fn try_send_packet(&mut self, channel: u8, packet: &[u8]) -> bool {
        let [high, low] = u16::try_from(packet.len()).unwrap().to_be_bytes();
        let head = [b'$', channel, high, low];
        self.stream.write_all(&[&head, packet].concat()).is_ok()
    }
    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }
    fn send(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> io::Result<()> {
        self.cseq += 1;
        let mut text = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n", self.cseq);
        if let Some(id) = &self.session {
            text.push_str(&format!("Session: {id}\r\n"));
        }
        let own = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.stream.write_all(format!("{text}\r\n{body}").as_bytes())
    }
    #[track_caller]
    fn reply(&mut self) -> Option<Reply> {
        let until = Instant::now() + DEADLINE;
        loop {
            self.skip_packets();
            if let Some(reply) = self.take_reply() {
                if let Some(id) = reply.header("session") {
                    self.session = Some(id.split(';').next().unwrap_or_default().to_owned());
                }
                return Some(reply);
            }
            if !self.fill() {
                return None;
            }
            assert!(Instant::now() < until, "no answer");
        }
    }
    /// Whether the relay has closed the connection.
    pub fn has_ended(&mut self) -> bool {
        !self.fill()
    }
    /// Waits a moment for more bytes; false when the relay closed.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(n) => {
                self.input.extend_from_slice(&chunk[..n]);
                true
            }
            Err(e) => matches!(
                e.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
            ),
        }
    }
    /// Counts and drops whole interleaved packets at the start of the input (RFC 2326 section 10.12).
    pub fn skip_packets(&mut self) {
        let mut at = 0;
        while let Some([b'$', channel, high, low]) = self.input[at..].first_chunk() {
            let end = at + 4 + usize::from(u16::from_be_bytes([*high, *low]));
            if self.input.len() < end {
                break;
            }
            self.packets[usize::from(*channel)] += 1;
            self.largest = self.largest.max(end - at - 4);
            if self.taken.len() < 100 {
                self.taken.push((*channel, self.input[at + 4..end].to_vec()));
            }
            at = end;
        }
        self.input.drain(..at);
    }
    fn take_reply(&mut self) -> Option<Reply> {
        if self.input.first() == Some(&b'$') {
            return None;
        }
        let head_end = self.input.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let (first, headers) = http::read_head(&mut &self.input[..head_end])?;
        let length = headers
            .iter()
            .find(|(n, _)| n == "content-length")
            .map_or(0, |(_, v)| v.parse().unwrap());
        if self.input.len() < head_end + length {
            return None;
        }
        let body = String::from_utf8_lossy(&self.input[head_end..head_end + length]).into_owned();
        self.input.drain(..head_end + length);
        let status = first
            .strip_prefix("RTSP/1.0 ")
            .and_then(|l| l.get(..3))
            .and_then(|s| s.parse().ok());
        Some(Reply {
            status: status.unwrap_or_else(|| panic!("not a status line: {first:?}")),
            headers,
            body,
        })
    }
}

/// A viewer who plays all tracks of a path.
pub struct Viewer {
    pub conn: Conn,
    url: String,
    /// RTP and RTCP sockets, for UDP.
    udp: Vec<(UdpSocket, UdpSocket)>,
    packets: u64,
    /// When the first RTP packet came.
    started: Option<Instant>,
    /// `Privacy-Receipt` of the answer to PLAY.
    pub receipt: Option<String>,
}

impl Viewer {
    /// Goes all the way to the first packet.
    #[track_caller]
    pub fn watch(conn: Conn, path: &str, transport: Transport) -> Self {
        let mut viewer = Self::begin(conn, path, transport);
        let until = Instant::now() + DEADLINE;
        while viewer.started.is_none() {
            assert!(viewer.receive() && Instant::now() < until, "no packet after PLAY");
        }
        viewer
    }
    /// Goes as far as the answer to PLAY.
    #[track_caller]
    pub fn begin(mut conn: Conn, path: &str, transport: Transport) -> Self {
        let to = conn.stream.peer_addr().unwrap();
        let from = conn.stream.local_addr().unwrap().ip();
        let url = format!("rtsp://localhost:{}/{path}", to.port());
        conn.ok("OPTIONS", &url, &[]);
        let described = conn.ok("DESCRIBE", &url, &[("Accept", "application/sdp")]);
        let base = described.header("content-base").expect("Content-Base").to_owned();
        let controls: Vec<&str> = described
            .body
            .lines()
            .filter_map(|l| l.strip_prefix("a=control:"))
            .collect();
        let mut udp = vec![];
        for (n, control) in controls.iter().filter(|c| **c != "*").enumerate() {
            let transport = match transport {
                Transport::Tcp => format!("RTP/AVP/TCP;unicast;interleaved={}-{}", 2 * n, 2 * n + 1),
                Transport::Udp => {
                    let (rtp, rtcp) = udp_pair(from);
                    let port = rtp.local_addr().unwrap().port();
                    udp.push((rtp, rtcp));
                    format!("RTP/AVP;unicast;client_port={port}-{}", port + 1)
                }
                Transport::Http | Transport::Https => unimplemented!("this reader has no tunnel"),
            };
            conn.ok("SETUP", &format!("{base}{control}"), &[("Transport", &transport)]);
        }
        let playing = conn.ok("PLAY", &url, &[("Range", "npt=0.000-")]);
        Self {
            receipt: playing.header("privacy-receipt").map(str::to_owned),
            conn,
            url,
            udp,
            packets: 0,
            started: None,
        }
    }
    /// Goes on watching until so much time has passed since the first packet.
    #[track_caller]
    pub fn until(&mut self, watched: Duration) {
        while self.watched() < watched {
            assert!(self.receive(), "the relay closed the connection");
        }
    }
    /// Time since the first packet.
    pub fn watched(&self) -> Duration {
        self.started.map(|t| t.elapsed()).unwrap_or_default()
    }
    /// RTP packets so far.
    pub fn packets(&self) -> u64 {
        self.packets
    }
    /// Says good-bye; the time from the first packet to then.
    #[track_caller]
    pub fn leave(mut self) -> Duration {
        let url = self.url.clone();
        let watched = self.watched();
        self.conn.ok("TEARDOWN", &url, &[]);
        watched
    }
    /// Takes what is there, waiting a moment for it; false when the relay closed.
    pub fn receive(&mut self) -> bool {
        let mut datagram = [0; 65536];
        for (rtp, _) in &self.udp {
            while rtp.recv(&mut datagram).is_ok() {
                self.packets += 1;
            }
        }
        let open = self.conn.fill();
        self.conn.skip_packets();
        let [video, _, audio, _] = self.conn.packets;
        self.packets = self.packets.max(video + audio);
        if self.packets > 0 {
            self.started.get_or_insert_with(Instant::now);
        }
        open
    }
}

/// Two neighbouring ports, the lower one even, as RTP wants.
pub fn udp_pair(from: IpAddr) -> (UdpSocket, UdpSocket) {
    for _ in 0..1000 {
        let rtp = UdpSocket::bind((from, 0)).unwrap();
        let port = rtp.local_addr().unwrap().port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind((from, port + 1))
        {
            rtp.set_nonblocking(true).unwrap();
            rtcp.set_nonblocking(true).unwrap();
            return (rtp, rtcp);
        }
    }
    panic!("no free pair of ports");
}
