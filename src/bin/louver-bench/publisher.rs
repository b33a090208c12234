//! Sends the clip to a server over RTSP and TCP, one write per access unit, at the clip's pace.

use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use crate::Fault;
use crate::clip::Clip;
use crate::clip::Stream;
use crate::rtsp;
use crate::rtsp::Message;

/// A publisher on a thread of its own; ends when dropped.
pub(crate) struct Publisher {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Publisher {
    /// Announces the clip and goes on sending it.
    pub(crate) fn start(clip: &Arc<Clip>, to: SocketAddr, url: &str) -> Result<Self, Fault> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut input = BufReader::new(stream.try_clone()?);
        announce(&stream, &mut input, clip, url)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (clip, stopped) = (Arc::clone(clip), Arc::clone(&stop));
        let sender = std::thread::spawn(move || {
            if let Err(e) = send(&stream, &clip, &stopped) {
                eprintln!("louver-bench: the server ended the publisher: {e}");
            }
            stream.shutdown(std::net::Shutdown::Both).ok();
        });
        let drain = std::thread::spawn(move || drain(input));
        Ok(Self {
            stop,
            threads: vec![sender, drain],
        })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn announce(
    mut stream: &TcpStream,
    input: &mut BufReader<TcpStream>,
    clip: &Clip,
    url: &str,
) -> Result<(), Fault> {
    let (sdp, track) = (rtsp::sdp(&clip.sprop), format!("{url}/trackID=0"));
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n";
    let steps = [
        ("ANNOUNCE", url, "Content-Type: application/sdp\r\n", sdp.as_str()),
        ("SETUP", &track, transport, ""),
        ("RECORD", url, "Range: npt=0.000-\r\n", ""),
    ];
    let mut session = None;
    for (n, (method, url, headers, body)) in (1..).zip(steps) {
        let text = rtsp::request(method, url, n, session.as_deref(), headers, body);
        stream.write_all(text.as_bytes())?;
        let answer = Message::read(input).ok_or_else(|| format!("the server closed after {method}"))?;
        if !answer.is_ok() {
            return Err(format!("the server answered {} to {method}", answer.first).into());
        }
        session = answer.session().or(session);
    }
    Ok(())
}

/// Receiver reports come back; nobody needs them.
fn drain(mut input: BufReader<TcpStream>) {
    let mut buf = [0; 4096];
    loop {
        match input.read(&mut buf) {
            Ok(0) => return,
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

fn send(mut to: &TcpStream, clip: &Clip, stop: &AtomicBool) -> std::io::Result<()> {
    let mut stream = Stream::new(clip);
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep((start + stream.due()).saturating_duration_since(Instant::now()));
        to.write_all(stream.next().interleaved)?;
    }
    Ok(())
}
