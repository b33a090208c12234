//! Scripted cameras: RTSP servers that say what a file of `tests/devices` says, and send a clip.
//!
//! Independent of our own RTSP code; only the packetizers are ours, and what comes out is compared picture by
//! picture.

mod media;
mod script;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Digest;
use md5::Md5;

pub use media::Pictures;
pub use script::Script;

use media::Sender;
use script::Reaction;

pub const USER: &str = "viewer";
pub const PASSWORD: &str = "device-pass-7q";
/// Between two pictures: twice as fast as their time stamps say.
const STEP: Duration = Duration::from_millis(20);

/// A camera that runs. Ends when dropped.
pub struct Device {
    pub script: Script,
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

struct Shared {
    script: Script,
    began: Instant,
    /// Counts restarts; a connection of an older life ends.
    life: AtomicU32,
    /// Connections that were let play.
    plays: AtomicU32,
    /// Stands still: connected, and no picture.
    frozen: AtomicBool,
    seen: Mutex<Vec<String>>,
    /// RTSP in HTTP: what comes by POST is given to the connection of the GET with the same cookie.
    tunnels: Mutex<HashMap<String, mpsc::Sender<Vec<u8>>>>,
}

impl Device {
    pub fn start(name: &str) -> Self {
        Self::start_at(Script::load(name), (Ipv4Addr::LOCALHOST, 0).into())
    }
    pub fn start_at(script: Script, addr: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            script: script.clone(),
            began: Instant::now(),
            life: AtomicU32::new(0),
            plays: AtomicU32::new(0),
            frozen: AtomicBool::new(false),
            seen: Mutex::default(),
            tunnels: Mutex::default(),
        });
        // Made before anybody waits for it.
        Pictures::of(script.get("video").split_whitespace().next().unwrap());
        let mut device = Self {
            script,
            addr,
            shared,
            accepting: None,
        };
        device.come_back(addr);
        device
    }
    /// Its address as a source of Louver's, with credentials if it wants them.
    pub fn source(&self) -> String {
        let login = match self.script.get("auth") {
            "" | "none" => String::new(),
            _ => format!("{USER}:{PASSWORD}@"),
        };
        format!("rtsp://{login}{}{}", self.addr, self.script.get("path"))
    }
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
    /// How often it was let play.
    pub fn plays(&self) -> u32 {
        self.shared.plays.load(Ordering::SeqCst)
    }
    /// The requests so far: method and URL.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }
    /// Cuts all connections, as a reboot does.
    pub fn restart(&self) {
        self.shared.life.fetch_add(1, Ordering::SeqCst);
    }
    /// Connections stay and nothing comes any more, or it goes on.
    pub fn freeze(&self, frozen: bool) {
        self.shared.frozen.store(frozen, Ordering::SeqCst);
    }
    /// Switched off: connections are refused.
    pub fn go_away(&mut self) {
        self.restart();
        if let Some((stop, thread)) = self.accepting.take() {
            stop.store(true, Ordering::SeqCst);
            let _ = TcpStream::connect(self.addr); // wakes it
            thread.join().unwrap();
        }
    }
    /// Switched on, perhaps under another address.
    pub fn come_back(&mut self, addr: SocketAddr) {
        let listener = TcpListener::bind(addr).unwrap();
        self.addr = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&self.shared), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || Conn::new(socket, shared).run());
            }
        });
        self.accepting = Some((stop, thread));
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.accepting.is_some() {
            self.go_away();
        }
        if std::thread::panicking() {
            eprintln!("--- {} was asked\n{}", self.script.name, self.seen().join("\n"));
        }
    }
}

/// One track that was set up.
struct Way {
    sender: Sender,
    udp: Option<(UdpSocket, SocketAddr)>,
    channel: u8,
    video: bool,
}

struct Conn {
    socket: TcpStream,
    shared: Arc<Shared>,
    life: u32,
    input: Vec<u8>,
    ways: Vec<Way>,
    /// The next picture, while it plays.
    next: Option<usize>,
    sent: usize,
    counts: HashMap<String, u32>,
    nonces: u32,
    authorized: u32,
    tunnel: Option<mpsc::Receiver<Vec<u8>>>,
}

struct Request {
    method: String,
    url: String,
    headers: HashMap<String, String>,
}

impl Conn {
    fn new(socket: TcpStream, shared: Arc<Shared>) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        socket.set_nodelay(true).unwrap();
        let life = shared.life.load(Ordering::SeqCst);
        Self {
            socket,
            life,
            input: Vec::new(),
            ways: Vec::new(),
            next: None,
            sent: 0,
            counts: HashMap::new(),
            nonces: 1,
            authorized: 0,
            tunnel: None,
            shared,
        }
    }
    fn run(mut self) {
        let mut buffer = [0; 8192];
        while self.shared.life.load(Ordering::SeqCst) == self.life {
            match self.socket.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
            if self.input.starts_with(b"POST ") {
                return self.post();
            }
            while let Some(more) = self.tunnel.as_ref().and_then(|t| t.try_recv().ok()) {
                self.input.extend(more);
            }
            while let Some(request) = self.request() {
                if request.method == "GET" {
                    self.get(&request);
                    continue;
                }
                if self.react(&request).is_err() {
                    return;
                }
            }
            if self.send_due().is_err() {
                return;
            }
        }
    }
    /// One half of a tunnel: answers go out here.
    fn get(&mut self, request: &Request) {
        let (give, take) = mpsc::channel();
        let cookie = request.headers["x-sessioncookie"].clone();
        self.shared.tunnels.lock().unwrap().insert(cookie, give);
        self.shared
            .seen
            .lock()
            .unwrap()
            .push(format!("GET {}", request.url));
        self.tunnel = Some(take);
        let head = "HTTP/1.0 200 OK\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n";
        self.socket.write_all(head.as_bytes()).unwrap();
    }
    /// The other half: requests come in here, in base64, until it is closed.
    fn post(mut self) {
        let mut buffer = [0; 4096];
        let mut to = None;
        while self.shared.life.load(Ordering::SeqCst) == self.life {
            if to.is_none()
                && let Some(request) = self.request()
            {
                let cookie = &request.headers["x-sessioncookie"];
                to = self.shared.tunnels.lock().unwrap().get(cookie).cloned();
            }
            if let Some(to) = &to {
                let whole = self.input.len() / 4 * 4;
                // Each request is padded by itself.
                for group in self.input.drain(..whole).collect::<Vec<_>>().chunks(4) {
                    to.send(STANDARD.decode(group).unwrap()).unwrap();
                }
            }
            match self.socket.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
        }
    }
    /// Takes the next request out of what has come; passes over interleaved frames.
    fn request(&mut self) -> Option<Request> {
        while self.input.first() == Some(&b'$') {
            let length = 4 + usize::from(u16::from_be_bytes([*self.input.get(2)?, *self.input.get(3)?]));
            self.input.get(length - 1)?;
            self.input.drain(..length);
        }
        let end = self.input.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head: Vec<u8> = self.input.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("requests are text");
        let mut lines = head.lines();
        let mut words = lines.next()?.split(' ').map(str::to_owned);
        let headers = lines.filter_map(|l| l.split_once(':'));
        Some(Request {
            method: words.next()?,
            url: words.next()?,
            headers: headers
                .map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()))
                .collect(),
        })
    }
    fn react(&mut self, request: &Request) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let script = &shared.script;
        let seen = format!("{} {}", request.method, request.url);
        shared.seen.lock().unwrap().push(seen);
        let count = self.counts.entry(request.method.clone()).or_default();
        *count += 1;
        let mut tags = vec![if *count == 1 { "first" } else { "again" }];
        if !self.counts.contains_key("OPTIONS") {
            tags.push("no-options");
        }
        let login = self.login(request);
        tags.extend(login);
        let transport = request.headers.get("transport").map_or("", String::as_str);
        let tcp = transport.contains("TCP") || transport.contains("interleaved");
        tags.push(if tcp { "tcp" } else { "udp" });
        let track = self.track(&request.url);
        tags.push(track.map_or("no-track", |(name, _)| name));
        let mut variables = self.variables(request);
        let granted = login.is_none() && request.method == "SETUP";
        let granted =
            granted && !(tcp && script.has("rtp", "udp-only") || !tcp && script.has("rtp", "tcp-only"));
        if let Some((name, codec)) = track.filter(|_| granted) {
            let way = self.way(name, codec, transport, tcp);
            let port = way
                .udp
                .as_ref()
                .map_or(0, |(s, _)| s.local_addr().unwrap().port());
            variables.insert("server_port", format!("{port}-{}", port + 1));
            variables.insert("channels", format!("{}-{}", way.channel, way.channel + 1));
            variables.insert("client_port", parameter(transport, "client_port=").to_owned());
            self.ways.push(way);
        }
        if request.method == "PLAY" && login.is_none() && script.has("rtp", "early-report") {
            self.send_reports()?;
        }
        match script.react(&request.method, &tags, &variables) {
            Reaction::Answer(answer) => self.socket.write_all(&answer)?,
            Reaction::Close => return Err(ErrorKind::ConnectionAborted.into()),
            Reaction::Nothing => {}
        }
        if request.method == "PLAY" && login.is_none() {
            shared.plays.fetch_add(1, Ordering::SeqCst);
            self.next = Some(self.now());
        }
        Ok(())
    }
    fn variables(&self, request: &Request) -> HashMap<&'static str, String> {
        let local = self.socket.local_addr().unwrap();
        let mut variables = HashMap::from([
            ("cseq", request.headers.get("cseq").cloned().unwrap_or_default()),
            ("url", request.url.clone()),
            ("host", local.to_string()),
            ("ip", local.ip().to_string()),
            ("peer", self.socket.peer_addr().unwrap().ip().to_string()),
            ("nonce", self.nonce()),
            ("ssrc", format!("{:08X}", self.ssrc("video"))),
        ]);
        let video = self.shared.script.get("video").split_whitespace().next().unwrap();
        variables.insert("sprop", Pictures::of(video).sprop());
        let now = self.now();
        for way in &self.ways {
            let name = if way.video { "rtptime" } else { "audio_rtptime" };
            variables.insert(name, way.sender.time(now).to_string());
        }
        variables
    }
    /// The track that a SETUP is for: `KEY: CODEC PAYLOAD-TYPE PATH`, the path exactly.
    fn track(&self, url: &str) -> Option<(&'static str, &'static str)> {
        let path = match url.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
            None => url,
        };
        for name in ["video", "audio"] {
            let mut words = self.shared.script.get(name).split_whitespace();
            let codec = words.next().map(|c| match c {
                "h264" => "h264",
                "h265" => "h265",
                _ => "pcma",
            });
            if words.nth(1) == Some(path) {
                return Some((name, codec?));
            }
        }
        None
    }
    fn way(&self, name: &str, codec: &str, transport: &str, tcp: bool) -> Way {
        let script = &self.shared.script;
        let said = script
            .get(name)
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let video = name == "video";
        let actual = script.number("rtp", "actual-type").filter(|_| video);
        let first = script.number("rtp", "first-sequence").unwrap_or(40_000) as u16;
        // Every life begins elsewhere.
        let life = self.shared.plays.load(Ordering::SeqCst);
        let sender = Sender::new(
            codec,
            actual.map_or(said, |pt| pt as u8),
            self.ssrc(name),
            first.wrapping_add((life as u16).wrapping_mul(7_919)),
            life.wrapping_mul(1_000_003),
        );
        let mut way = Way {
            sender,
            udp: None,
            channel: 0,
            video,
        };
        if tcp {
            let asked = parameter(transport, "interleaved=")
                .split('-')
                .next()
                .unwrap_or("0");
            way.channel = asked.parse().unwrap_or(0);
        } else {
            let port: u16 = parameter(transport, "client_port=")
                .split('-')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            let ip = self.socket.local_addr().unwrap().ip();
            let peer = SocketAddr::from((self.socket.peer_addr().unwrap().ip(), port));
            way.udp = Some((even_port(ip), peer));
        }
        way
    }
    fn ssrc(&self, name: &str) -> u32 {
        let base = self.shared.script.number("rtp", "ssrc").unwrap_or(0x0d6d_6627);
        if name == "video" { base } else { base ^ 1 }
    }
    /// The number of the picture that the camera sees now.
    fn now(&self) -> usize {
        (self.shared.began.elapsed().as_millis() / STEP.as_millis()) as usize
    }
    fn send_due(&mut self) -> std::io::Result<()> {
        while let Some(next) = self.next.filter(|n| *n < self.now()) {
            self.next = Some(next + 1);
            if !self.shared.frozen.load(Ordering::SeqCst) {
                self.send(next)?;
            }
        }
        Ok(())
    }
    fn send(&mut self, n: usize) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let script = &shared.script;
        self.sent += 1;
        let sent = self.sent as u32;
        if script.number("rtp", "jump-after") == Some(sent) {
            self.ways.iter_mut().for_each(|w| w.sender.jump(900_000_000));
        }
        if script.number("rtp", "reset-after") == Some(sent) {
            for way in &mut self.ways {
                let (codec, pt) = if way.video { ("h264", 96) } else { ("pcma", 8) };
                way.sender = Sender::new(codec, pt, if way.video { 0x0d6d_6627 } else { 0x0d6d_6626 }, 1, 0);
            }
        }
        if sent % 50 == 1 {
            self.send_reports()?;
        }
        if script.has("rtp", "unassigned") && sent.is_multiple_of(10) {
            self.socket
                .write_all(&interleaved(9, &[0x80, 96, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5]))?;
        }
        for index in 0..self.ways.len() {
            let packets = self.ways[index].sender.packets(n);
            let mut last = Vec::new();
            for packet in packets {
                self.ways[index].send(&mut self.socket, false, &packet)?;
                last = packet;
            }
            if script.has("rtp", "type-50") && self.ways[index].video {
                last[1] = 0x80 | 50;
                self.ways[index].send(&mut self.socket, false, &last)?;
            }
        }
        Ok(())
    }
    /// A sender report for each track, with the wall clock of a camera that nobody has set.
    fn send_reports(&mut self) -> std::io::Result<()> {
        let now = self.now();
        for index in 0..self.ways.len() {
            let ssrc = self.ssrc(if self.ways[index].video { "video" } else { "audio" });
            let mut report = vec![0x80, 200, 0, 6];
            report.extend(ssrc.to_be_bytes());
            let micros = now as u64 * 1_000_000 / u64::from(media::FPS);
            let seconds = 2_208_988_800 + micros / 1_000_000;
            let fraction = ((micros % 1_000_000) << 32) / 1_000_000;
            report.extend((seconds << 32 | fraction).to_be_bytes());
            report.extend(self.ways[index].sender.time(now).to_be_bytes());
            report.extend([0; 8]);
            self.ways[index].send(&mut self.socket, true, &report)?;
        }
        Ok(())
    }
    /// What is wrong with the credentials, as a tag.
    fn login(&mut self, request: &Request) -> Option<&'static str> {
        let script = self.shared.script.clone();
        let kind = script.get("auth");
        if kind.is_empty() || kind == "none" || request.method == "OPTIONS" {
            return None;
        }
        let said = request.headers.get("authorization").map_or("", String::as_str);
        let good = match said.split_once(' ') {
            Some(("Basic", secret)) if kind == "basic" => {
                secret == STANDARD.encode(format!("{USER}:{PASSWORD}"))
            }
            Some(("Digest", said)) if kind == "digest" => {
                if field(said, "nonce") != self.nonce() && !field(said, "nonce").is_empty() {
                    return Some("stale");
                }
                self.digest_is_right(said, request)
            }
            _ => false,
        };
        if !good {
            return Some("unauthorized");
        }
        self.authorized += 1;
        if script.number("auth-nonce", "lasts") == Some(self.authorized) {
            self.nonces += 1;
            self.authorized = 0;
        }
        None
    }
    fn nonce(&self) -> String {
        format!("{:032x}", 0x00c0_ffee_u64 * u64::from(self.nonces))
    }
    fn digest_is_right(&self, said: &str, request: &Request) -> bool {
        let hash = |text: String| hex(&Md5::digest(text));
        let (realm, nonce, uri) = (field(said, "realm"), field(said, "nonce"), field(said, "uri"));
        let one = hash(format!("{USER}:{realm}:{PASSWORD}"));
        let two = hash(format!("{}:{uri}", request.method));
        let expected = match field(said, "qop").as_str() {
            "" => hash(format!("{one}:{nonce}:{two}")),
            qop => {
                let (nc, cnonce) = (field(said, "nc"), field(said, "cnonce"));
                hash(format!("{one}:{nonce}:{nc}:{cnonce}:{qop}:{two}"))
            }
        };
        let realm_is_right = realm == self.shared.script.get("realm");
        field(said, "response") == expected && field(said, "username") == USER && realm_is_right
    }
}

impl Way {
    fn send(&self, socket: &mut TcpStream, rtcp: bool, packet: &[u8]) -> std::io::Result<()> {
        match &self.udp {
            Some((udp, peer)) if !rtcp => {
                let _ = udp.send_to(packet, peer); // its port may be gone
                Ok(())
            }
            Some(_) => Ok(()),
            None => socket.write_all(&interleaved(self.channel + u8::from(rtcp), packet)),
        }
    }
}

fn interleaved(channel: u8, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![b'$', channel];
    frame.extend((packet.len() as u16).to_be_bytes());
    frame.extend(packet);
    frame
}

/// What follows `key` in a Transport header.
fn parameter<'a>(transport: &'a str, key: &str) -> &'a str {
    let mut parts = transport.split([';', ',']);
    parts.find_map(|p| p.trim().strip_prefix(key)).unwrap_or("")
}

/// One field of Digest credentials.
fn field(said: &str, name: &str) -> String {
    let fields = said.split(',').filter_map(|f| f.trim().split_once('='));
    let mut fields = fields.filter(|(key, _)| *key == name);
    fields
        .next()
        .map_or(String::new(), |(_, v)| v.trim_matches('"').to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A socket on an even port, as RTP wants it.
fn even_port(ip: IpAddr) -> UdpSocket {
    loop {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        if socket.local_addr().unwrap().port().is_multiple_of(2) {
            return socket;
        }
    }
}
