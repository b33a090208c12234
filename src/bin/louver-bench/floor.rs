//! The floor: a bare sender that does what a relay must do at the least, so that relays can be measured against it.
//!
//! Enough RTSP to let readers in, then per access unit one `send` of a prebuilt buffer per TCP reader, and one
//! `sendmsg` with UDP segmentation offload per run of equal packets per UDP reader. No ingest, no reports, no
//! time-outs, no keyframe for those who join.

use std::collections::BTreeMap;
use std::io;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use nix::sys::epoll::Epoll;
use nix::sys::epoll::EpollCreateFlags;
use nix::sys::epoll::EpollEvent;
use nix::sys::epoll::EpollFlags;
use nix::sys::epoll::EpollTimeout;
use socket2::MsgHdr;
use socket2::SockAddr;
use socket2::SockRef;

use crate::Fault;
use crate::clip::Clip;
use crate::clip::Stream;
use crate::rtsp;
use crate::rtsp::Message;

struct Reader {
    conn: TcpStream,
    media: Media,
}

enum Media {
    /// The rest of a buffer that the connection did not take at once.
    Tcp(Vec<u8>),
    /// Where to.
    Udp(SockAddr),
}

type Readers = Arc<Mutex<BTreeMap<u64, Reader>>>;

/// Serves the clip to whoever comes, for ever.
pub(crate) fn serve(clip: &Clip) -> Result<(), Fault> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("listening rtsp {}", listener.local_addr()?);
    let readers = Readers::default();
    let epoll = Arc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
    let port = udp.local_addr()?.port();
    let (sprop, waiting, ends) = (clip.sprop.clone(), Arc::clone(&readers), Arc::clone(&epoll));
    std::thread::spawn(move || {
        for (stream, id) in listener.incoming().flatten().zip(0..) {
            let (sprop, waiting, ends) = (sprop.clone(), Arc::clone(&waiting), Arc::clone(&ends));
            std::thread::spawn(move || {
                let reader = admit(&stream, &sprop, port)?;
                waiting.lock().ok()?.insert(id, reader);
                ends.add(&stream, EpollEvent::new(EpollFlags::EPOLLRDHUP, id))
                    .ok()
            });
        }
    });
    let leaving = Arc::clone(&readers);
    std::thread::spawn(move || tidy_up(&leaving, &epoll));
    let mut stream = Stream::new(clip);
    let start = Instant::now();
    loop {
        std::thread::sleep((start + stream.due()).saturating_duration_since(Instant::now()));
        let burst = stream.next();
        let runs = runs(burst.packets);
        for reader in readers.lock().expect("no panic while it is locked").values_mut() {
            match &mut reader.media {
                Media::Tcp(rest) => send_tcp(&reader.conn, rest, burst.interleaved),
                Media::Udp(to) => {
                    runs.iter()
                        .try_for_each(|run| send_udp(&udp, to, burst.interleaved, run))
                        .ok();
                }
            }
        }
    }
}

/// Forgets readers whose connection ends.
fn tidy_up(readers: &Readers, epoll: &Epoll) {
    let mut events = [EpollEvent::empty(); 64];
    loop {
        let n = epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
        let mut readers = readers.lock().expect("no panic while it is locked");
        for event in &events[..n] {
            readers.remove(&event.data());
        }
    }
}

fn send_tcp(mut to: &TcpStream, rest: &mut Vec<u8>, bytes: &[u8]) {
    if !rest.is_empty() {
        let n = to.write(rest).unwrap_or(0);
        rest.drain(..n);
    }
    if rest.is_empty() {
        match to.write(bytes) {
            Ok(n) if n < bytes.len() => rest.extend_from_slice(&bytes[n..]),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(_) => {}
        }
    }
}

/// Runs of packets of one size, the last of which may be shorter: what one offloaded call may carry.
fn runs(packets: &[Range<usize>]) -> Vec<&[Range<usize>]> {
    const MOST: usize = 40;
    let mut runs = vec![];
    let mut start = 0;
    for n in 1..=packets.len() {
        let ends = packets.get(n).is_none_or(|p| {
            p.len() > packets[start].len() || packets[n - 1].len() < packets[start].len() || n - start == MOST
        });
        if ends {
            runs.push(&packets[start..n]);
            start = n;
        }
    }
    runs
}

fn send_udp(from: &UdpSocket, to: &SockAddr, bytes: &[u8], run: &[Range<usize>]) -> io::Result<()> {
    // struct cmsghdr of Linux on 64 bits: length, level SOL_UDP, type UDP_SEGMENT, then the segment's size.
    let segment = u16::try_from(run[0].len()).unwrap_or(u16::MAX);
    let mut control = [0; 24];
    control[..8].copy_from_slice(&18_u64.to_ne_bytes());
    control[8..12].copy_from_slice(&17_i32.to_ne_bytes());
    control[12..16].copy_from_slice(&103_i32.to_ne_bytes());
    control[16..18].copy_from_slice(&segment.to_ne_bytes());
    let parts: Vec<_> = run.iter().map(|p| io::IoSlice::new(&bytes[p.clone()])).collect();
    let mut message = MsgHdr::new().with_addr(to).with_buffers(&parts);
    if run.len() > 1 {
        message = message.with_control(&control);
    }
    SockRef::from(from).sendmsg(&message, 0).map(drop)
}

/// Answers a reader's requests until it plays.
fn admit(stream: &TcpStream, sprop: &str, server_port: u16) -> Option<Reader> {
    let mut input = BufReader::new(stream.try_clone().ok()?);
    let mut client_port = None;
    loop {
        let request = Message::read(&mut input)?;
        let cseq = request.header("cseq")?;
        let method = request.first.split(' ').next()?;
        let url = request.first.split(' ').nth(1)?;
        let (headers, body) = match method {
            "DESCRIBE" => {
                let body = rtsp::sdp(sprop);
                let length = body.len();
                (
                    format!(
                        "Content-Base: {url}/\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n"
                    ),
                    body,
                )
            }
            "SETUP" => {
                let transport = request.header("transport")?;
                let port = transport
                    .split("client_port=")
                    .nth(1)
                    .and_then(|p| p.split('-').next());
                client_port = port.and_then(|p| p.parse::<u16>().ok());
                let server =
                    client_port.map_or_else(String::new, |_| format!(";server_port={server_port}-0"));
                (
                    format!("Transport: {transport}{server}\r\nSession: floor\r\n"),
                    String::new(),
                )
            }
            _ => (String::new(), String::new()),
        };
        let answer = format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n{headers}\r\n{body}");
        input.get_mut().write_all(answer.as_bytes()).ok()?;
        if method == "PLAY" {
            break;
        }
    }
    stream.set_nonblocking(true).ok()?;
    stream.set_nodelay(true).ok()?;
    Some(Reader {
        conn: stream.try_clone().ok()?,
        media: client_port.map_or(Media::Tcp(vec![]), |port| {
            Media::Udp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())
        }),
    })
}
