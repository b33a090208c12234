//! What capturing and encoding cost, beside the ffmpeg command line that does the same.

use std::net::Ipv4Addr;
use std::net::UdpSocket;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::Args;
use crate::Fault;
use crate::fanout::TempDir;
use crate::fanout::louver;
use crate::process::Process;
use crate::reader::Reader;
use crate::reader::Seen;
use crate::reader::Shared;
use crate::reader::Transport;
use crate::report::Capture;

/// Louver's bit rate for this size.
const BITS: &str = "2073600";

/// Both run side by side, so that whatever else the machine does hits both alike.
pub(crate) fn measure(args: &Args) -> Result<Option<Capture>, Fault> {
    eprintln!("louver-bench: capture");
    let dir = TempDir::new()?;
    let mut cmd = louver(args, &dir.0, &["pattern:?size=1280x720&fps=30"])?;
    let (relay, addr) = Process::listening(&mut cmd)?;
    // Somebody holds the port to which ffmpeg sends, or every datagram would cost it an error.
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ffmpeg = Process::plain(&mut ffmpeg(sink.local_addr()?.port()))?;
    let url = format!("rtsp://127.0.0.1:{}/webcam", addr.port());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let reader = tokio::time::timeout(Duration::from_secs(20), Reader::join(addr, &url, Transport::Tcp));
        let reader = reader
            .await
            .map_err(|_| "no picture of the test pattern within 20 s")??;
        let shared = Arc::new(Shared {
            counting: false.into(),
            stop: CancellationToken::new(),
        });
        let watching = Arc::clone(&shared);
        let running = tokio::spawn(async move { reader.run(&watching).await });
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = (relay.cpu()?, ffmpeg.cpu()?, Instant::now());
        shared.counting.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(args.seconds)).await;
        shared.counting.store(false, Ordering::Relaxed);
        let (louver_cpu, ffmpeg_cpu) = (relay.cpu()? - before.0, ffmpeg.cpu()? - before.1);
        let seconds = before.2.elapsed().as_secs_f64();
        let (rss, peak) = relay.memory()?;
        shared.stop.cancel();
        let seen: Seen = running.await??;
        Ok(Some(Capture {
            seconds,
            louver_cpu_seconds: louver_cpu,
            ffmpeg_cpu_seconds: ffmpeg_cpu,
            ratio: louver_cpu / ffmpeg_cpu,
            louver_pictures: seen.pictures,
            louver_resident_mb: rss,
            louver_resident_peak_mb: peak,
        }))
    })
}

/// The same picture, encoded with the same settings, sent as RTP. Without the clock that Louver burns in.
fn ffmpeg(port: u16) -> Command {
    let mut cmd = Command::new("ffmpeg");
    cmd.args(["-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i"]);
    cmd.arg("testsrc2=size=1280x720:rate=30,format=yuv420p");
    cmd.args([
        "-c:v",
        "libx264",
        "-preset",
        "superfast",
        "-tune",
        "zerolatency",
        "-threads",
        "1",
    ]);
    cmd.args([
        "-b:v",
        BITS,
        "-maxrate",
        BITS,
        "-bufsize",
        BITS,
        "-g",
        "60",
        "-bf",
        "0",
        "-sc_threshold",
        "0",
    ]);
    cmd.args(["-f", "rtp", &format!("rtp://127.0.0.1:{port}")])
        .stderr(Stdio::inherit());
    cmd
}
