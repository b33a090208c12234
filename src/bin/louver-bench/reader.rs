//! One RTSP reader among many: joins, counts what comes in the measured window, judges loss and delay.
//!
//! It decodes nothing. All readers share one thread, so that the generator leaves the other processors to the server.

use std::io;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::Fault;
use crate::clip::micros_now;
use crate::clip::read_stamp;
use crate::rtsp;
use crate::rtsp::Message;

/// How RTP travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// What all readers of a run look at.
pub(crate) struct Shared {
    /// The window is open: count.
    pub(crate) counting: AtomicBool,
    /// Tells the readers to leave.
    pub(crate) stop: CancellationToken,
}

/// What one reader saw in the window, and how it joined.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) packets: u64,
    /// Of RTP packets with their headers.
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    /// Access units that ended.
    pub(crate) pictures: usize,
    /// From the publisher's write to our read of an access unit's first packet, in microseconds.
    pub(crate) delays: Vec<u32>,
}

impl Seen {
    /// Adds what another reader saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.pictures += other.pictures;
        self.delays.extend(other.delays);
    }
}

/// A reader that has its first keyframe.
pub(crate) struct Reader {
    conn: Conn,
    udp: Option<(UdpSocket, UdpSocket)>,
    input: Vec<u8>,
    /// For datagrams and for what comes on the control connection of a UDP reader.
    buffers: Box<[[u8; 2048]; 2]>,
    watch: Watch,
    /// From connecting to the last packet of the first keyframe.
    pub(crate) first_picture: Duration,
}

impl Reader {
    /// Connects, plays, and waits for the first whole keyframe.
    pub(crate) async fn join(to: SocketAddr, url: &str, transport: Transport) -> Result<Self, Fault> {
        let start = Instant::now();
        let mut conn = Conn::open(to, url).await?;
        let control = conn.describe().await?;
        let udp = match transport {
            Transport::Tcp => None,
            Transport::Udp => Some(udp_pair().await?),
        };
        let transport = match &udp {
            None => "RTP/AVP/TCP;unicast;interleaved=0-1".to_owned(),
            Some((rtp, _)) => {
                let port = rtp.local_addr()?.port();
                format!("RTP/AVP;unicast;client_port={port}-{}", port + 1)
            }
        };
        conn.ok("SETUP", &control, &format!("Transport: {transport}\r\n"))
            .await?;
        conn.ok("PLAY", url, "Range: npt=0.000-\r\n").await?;
        let input = std::mem::take(&mut conn.input);
        let mut reader = Self {
            conn,
            udp,
            input,
            buffers: Box::new([[0; 2048]; 2]),
            watch: Watch::default(),
            first_picture: Duration::ZERO,
        };
        while !reader.watch.has_picture {
            reader.receive(false).await?;
        }
        reader.first_picture = start.elapsed();
        Ok(reader)
    }
    /// Reads until told to stop.
    pub(crate) async fn run(mut self, shared: &Shared) -> Result<Seen, Fault> {
        let mut keepalive = tokio::time::interval(Duration::from_secs(20));
        loop {
            let counting = shared.counting.load(Ordering::Relaxed);
            tokio::select! {
                done = self.receive(counting) => done?,
                () = shared.stop.cancelled() => return Ok(self.watch.seen),
                _ = keepalive.tick() => self.conn.send("OPTIONS", "").await?,
            }
        }
    }
    /// Takes what is there, waiting for it. May be cancelled at any time.
    async fn receive(&mut self, counting: bool) -> io::Result<()> {
        let Some((rtp, rtcp)) = &self.udp else {
            let n = self.conn.stream.read_buf(&mut self.input).await?;
            if n == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let used = self.watch.interleaved(&self.input, counting);
            self.input.drain(..used);
            return Ok(());
        };
        let [packet, other] = &mut *self.buffers;
        tokio::select! {
            n = rtp.recv(packet) => {
                self.watch.packet(&packet[..n?], counting);
                while let Ok(n) = rtp.try_recv(packet) {
                    self.watch.packet(&packet[..n], counting);
                }
            }
            ready = rtcp.readable() => {
                ready?;
                rtcp.try_recv(packet).ok();
            }
            n = self.conn.stream.read(other) => if n? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// Follows one track's packets.
#[derive(Default)]
struct Watch {
    next: Option<u16>,
    keyframe: bool,
    has_picture: bool,
    seen: Seen,
}

impl Watch {
    /// Whole interleaved packets and answers at the start of the input; how many bytes they were.
    fn interleaved(&mut self, input: &[u8], counting: bool) -> usize {
        let mut at = 0;
        while let Some(head) = input[at..].first_chunk::<4>() {
            let rest = &input[at + 4..];
            if head[0] == b'$' {
                let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
                let Some(packet) = rest.get(..length) else { break };
                if head[1] == 0 {
                    self.packet(packet, counting);
                }
                at += 4 + length;
            } else {
                let Some(end) = rest.windows(4).position(|w| w == b"\r\n\r\n") else {
                    break;
                };
                at += 4 + end + 4;
            }
        }
        at
    }
    fn packet(&mut self, packet: &[u8], counting: bool) {
        let Some(header) = packet.first_chunk::<12>() else {
            return;
        };
        let payload = &packet[12..];
        let sequence = u16::from_be_bytes([header[2], header[3]]);
        let lost = self.next.map_or(0, |next| sequence.wrapping_sub(next));
        self.next = Some(sequence.wrapping_add(1));
        let kind = payload.first().map_or(0, |b| b & 0x1f);
        self.keyframe |= kind == 5 || (kind == 28 && payload.get(1).is_some_and(|b| b & 0x9f == 0x85));
        self.has_picture |= self.keyframe && header[1] & 0x80 != 0;
        if !counting {
            return;
        }
        self.seen.packets += 1;
        self.seen.bytes += packet.len() as u64;
        self.seen.pictures += usize::from(header[1] & 0x80 != 0);
        // A step back is a late packet, not half the range lost.
        self.seen.lost += u64::from(if lost < 0x8000 { lost } else { 0 });
        if let Some(sent) = read_stamp(payload) {
            self.seen
                .delays
                .push(u32::try_from(micros_now().saturating_sub(sent)).unwrap_or(u32::MAX));
        }
    }
}

/// The control connection.
struct Conn {
    stream: TcpStream,
    url: String,
    session: Option<String>,
    cseq: u32,
    input: Vec<u8>,
}

impl Conn {
    async fn open(to: SocketAddr, url: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            url: url.to_owned(),
            session: None,
            cseq: 0,
            input: vec![],
        })
    }
    /// The URL of the first track.
    async fn describe(&mut self) -> Result<String, Fault> {
        let url = self.url.clone();
        let (answer, body) = self.ok("DESCRIBE", &url, "Accept: application/sdp\r\n").await?;
        let base = answer
            .header("content-base")
            .unwrap_or(&url)
            .trim_end_matches('/');
        let mut controls = body.lines().filter_map(|l| l.strip_prefix("a=control:"));
        let control = controls.next_back().ok_or("the server's SDP has no a=control")?;
        Ok(if control.starts_with("rtsp://") {
            control.to_owned()
        } else {
            format!("{base}/{control}")
        })
    }
    async fn send(&mut self, method: &str, headers: &str) -> io::Result<()> {
        let url = self.url.clone();
        self.send_to(method, &url, headers).await
    }
    async fn send_to(&mut self, method: &str, url: &str, headers: &str) -> io::Result<()> {
        self.cseq += 1;
        let text = rtsp::request(method, url, self.cseq, self.session.as_deref(), headers, "");
        self.stream.write_all(text.as_bytes()).await
    }
    /// Sends a request; its answer must be 200. Whatever came after the answer stays in `input`.
    async fn ok(&mut self, method: &str, url: &str, headers: &str) -> Result<(Message, String), Fault> {
        self.send_to(method, url, headers).await?;
        loop {
            if let Some(end) = self.input.windows(4).position(|w| w == b"\r\n\r\n") {
                let answer = Message::parse(&String::from_utf8_lossy(&self.input[..end]));
                let (start, end) = (end + 4, end + 4 + answer.content_length());
                if let Some(body) = self.input.get(start..end) {
                    let body = String::from_utf8_lossy(body).into_owned();
                    self.input.drain(..end);
                    self.session = answer.session().or(self.session.take());
                    return match answer.is_ok() {
                        true => Ok((answer, body)),
                        false => Err(format!("the server answered {} to {method}", answer.first).into()),
                    };
                }
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(format!("the server closed after {method}").into());
            }
        }
    }
}

/// Two neighbouring ports, the lower one even.
async fn udp_pair() -> Result<(UdpSocket, UdpSocket), Fault> {
    for _ in 0..1000 {
        let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = rtp.local_addr()?.port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port + 1)).await
        {
            return Ok((rtp, rtcp));
        }
    }
    Err("no free pair of UDP ports".into())
}
