//! One RTSP reader among many: asks, plays, reads, leaves. Never waits: the crowd calls it when a socket is ready.
//!
//! It decodes nothing. Receiver reports are not sent; a request every 20 s tells the server that we are there.

use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::time::Duration;
use std::time::Instant;

use socket2::Domain;
use socket2::SockRef;
use socket2::Socket;
use socket2::Type;

use crate::Fault;
use crate::crowd::datagrams::Datagrams;
use crate::crowd::watch::Tally;
use crate::crowd::watch::Watch;
use crate::rtsp;
use crate::rtsp::Message;
use crate::rtsp::Piece;

const KEEPALIVE: Duration = Duration::from_secs(20);
/// Room for several keyframes, so that what we lose was not lost by us. The system may grant less.
const UDP_BUFFER: usize = 2 << 20;

/// How RTP travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Where a stream is read.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) url: String,
}

/// What the answer is awaited to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Connecting,
    Describing,
    SettingUp,
    Starting,
    Playing,
    /// TEARDOWN was sent; the server closes.
    Leaving,
}

/// Whether it takes what comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Reading,
    /// Reads nothing.
    Stuck,
    /// Was stuck, and reads what is still there.
    Recovering,
}

pub(crate) struct Reader {
    pub(crate) tcp: TcpStream,
    /// RTP and RTCP.
    pub(crate) udp: Option<(UdpSocket, UdpSocket)>,
    pub(crate) stage: Stage,
    /// Since when it is at this stage.
    pub(crate) since: Instant,
    pub(crate) start: Instant,
    /// When PLAY was sent.
    pub(crate) play: Instant,
    pub(crate) watch: Watch,
    /// Adds to the crowd's tally.
    pub(crate) counted: bool,
    pub(crate) mood: Mood,
    url: String,
    session: Option<String>,
    cseq: u32,
    /// The start of a message whose rest has not come.
    rest: Vec<u8>,
    spoke: Instant,
}

impl Reader {
    /// Begins to connect.
    pub(crate) fn begin(to: &Target, transport: Transport, counted: bool) -> Result<Self, Fault> {
        let now = Instant::now();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&to.addr.into()) {
            Err(e) if e.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => return Err(e.into()),
            _ => {}
        }
        Ok(Self {
            tcp: socket.into(),
            udp: match transport {
                Transport::Tcp => None,
                Transport::Udp => Some(udp_pair()?),
            },
            stage: Stage::Connecting,
            since: now,
            start: now,
            play: now,
            watch: Watch::default(),
            counted,
            mood: Mood::Reading,
            url: to.url.clone(),
            session: None,
            cseq: 0,
            rest: vec![],
            spoke: now,
        })
    }
    /// The connection is up, or failed.
    pub(crate) fn connected(&mut self) -> Result<(), Fault> {
        if let Some(e) = self.tcp.take_error()? {
            return Err(e.into());
        }
        let url = self.url.clone();
        self.ask(Stage::Describing, "DESCRIBE", &url, "Accept: application/sdp\r\n")?;
        Ok(())
    }
    /// Reads once from the connection, through a buffer that all readers share.
    pub(crate) fn read(&mut self, buffer: &mut [u8], mut tally: Option<&mut Tally>) -> Result<(), Fault> {
        let before = self.rest.len();
        let (head, free) = buffer
            .split_at_mut_checked(before)
            .ok_or("a message without end")?;
        head.copy_from_slice(&self.rest);
        let n = match self.tcp.read(free) {
            Ok(0) => return Err("the server closed".into()),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let input = &buffer[..before + n];
        let mut at = 0;
        while let Some((piece, length)) = rtsp::piece(&input[at..]) {
            match piece {
                Piece::Packet(0, packet) => self.watch.packet(packet, tally.as_deref_mut()),
                Piece::Packet(..) => {}
                Piece::Text(answer, body) => self.answered(&answer, &body)?,
            }
            at += length;
        }
        self.rest.clear();
        self.rest.extend_from_slice(&input[at..]);
        Ok(())
    }
    /// Reads the datagrams that are there.
    pub(crate) fn read_rtp(
        &mut self,
        datagrams: &mut Datagrams,
        mut tally: Option<&mut Tally>,
    ) -> io::Result<()> {
        let Some((rtp, _)) = &self.udp else { return Ok(()) };
        let watch = &mut self.watch;
        datagrams.read(rtp, |packet| watch.packet(packet, tally.as_deref_mut()))
    }
    /// Says that we are still there, if it is time.
    pub(crate) fn keep_alive(&mut self, now: Instant) -> io::Result<()> {
        if self.stage != Stage::Playing || self.mood == Mood::Stuck || now - self.spoke < KEEPALIVE {
            return Ok(());
        }
        let url = self.url.clone();
        self.ask(Stage::Playing, "OPTIONS", &url, "")
    }
    /// Says goodbye; the server closes.
    pub(crate) fn leave(&mut self) -> io::Result<()> {
        let url = self.url.clone();
        self.ask(Stage::Leaving, "TEARDOWN", &url, "")?;
        self.tcp.shutdown(std::net::Shutdown::Write)
    }
    fn answered(&mut self, answer: &Message, body: &str) -> Result<(), Fault> {
        if !answer.is_ok() && self.stage != Stage::Playing {
            return Err(format!("the server answered {}", answer.first).into());
        }
        self.session = answer.session().or(self.session.take());
        match self.stage {
            Stage::Describing => {
                let control = control(answer, body, &self.url)
                    .ok_or("the server's SDP has no a=control of a video track")?;
                let transport = match &self.udp {
                    None => "RTP/AVP/TCP;unicast;interleaved=0-1".to_owned(),
                    Some((rtp, _)) => {
                        let port = rtp.local_addr()?.port();
                        format!("RTP/AVP;unicast;client_port={port}-{}", port + 1)
                    }
                };
                let transport = format!("Transport: {transport}\r\n");
                self.ask(Stage::SettingUp, "SETUP", &control, &transport)?;
            }
            Stage::SettingUp => {
                let url = self.url.clone();
                self.ask(Stage::Starting, "PLAY", &url, "Range: npt=0.000-\r\n")?;
                self.play = self.since;
            }
            Stage::Starting => self.enter(Stage::Playing),
            Stage::Connecting | Stage::Playing | Stage::Leaving => {}
        }
        Ok(())
    }
    fn ask(&mut self, stage: Stage, method: &str, url: &str, headers: &str) -> io::Result<()> {
        self.cseq += 1;
        let text = rtsp::request(method, url, self.cseq, self.session.as_deref(), headers, "");
        self.enter(stage);
        self.spoke = self.since;
        // A few hundred bytes always find room, unless the server does not read.
        self.tcp.write_all(text.as_bytes())
    }
    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.since = Instant::now();
    }
}

/// The URL of the first video track: some servers add a track of silence beside it.
fn control(answer: &Message, body: &str, url: &str) -> Option<String> {
    let base = answer.header("content-base").unwrap_or(url).trim_end_matches('/');
    let control = body
        .lines()
        .skip_while(|l| !l.starts_with("m=video"))
        .find_map(|l| l.strip_prefix("a=control:"))?;
    Some(if control.starts_with("rtsp://") {
        control.to_owned()
    } else {
        format!("{base}/{control}")
    })
}

/// Two neighbouring ports, the lower one even.
fn udp_pair() -> Result<(UdpSocket, UdpSocket), Fault> {
    for _ in 0..1000 {
        let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = rtp.local_addr()?.port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port + 1))
        {
            rtp.set_nonblocking(true)?;
            SockRef::from(&rtp).set_recv_buffer_size(UDP_BUFFER).ok();
            return Ok((rtp, rtcp));
        }
    }
    Err("no free pair of UDP ports".into())
}
