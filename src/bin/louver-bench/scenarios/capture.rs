//! What capturing and encoding cost, beside the ffmpeg command line that does the same.

use std::net::Ipv4Addr;
use std::net::UdpSocket;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::Args;
use crate::Fault;
use crate::crowd::Crowd;
use crate::crowd::Target;
use crate::crowd::Transport;
use crate::process::Process;
use crate::report::Figures;
use crate::report::Runs;
use crate::scenarios::fanout::gather;
use crate::server::TempDir;
use crate::server::louver;

/// Louver's bit rate for this size.
const BITS: &str = "2073600";

/// Several times; a failure ends it.
pub(super) fn measure(args: &Args) -> Result<Runs, Fault> {
    let mut runs = Runs::default();
    for n in 1..=args.runs {
        eprintln!("louver-bench: capture, run {n}");
        runs.runs.push(run(args)?);
    }
    runs.finish();
    Ok(runs)
}

/// Both run side by side, so that whatever else the machine does hits both alike.
fn run(args: &Args) -> Result<Figures, Fault> {
    let dir = TempDir::new()?;
    let mut cmd = louver(args, &dir.0, &["pattern:?size=1280x720&fps=30"])?;
    let (relay, addrs) = Process::listening(&mut cmd, &["rtsp"])?;
    // Somebody holds the port to which ffmpeg sends, or every datagram would cost it an error.
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ffmpeg = Process::plain(&mut ffmpeg(sink.local_addr()?.port()))?;
    let target = Target {
        addr: addrs[0],
        url: format!("rtsp://127.0.0.1:{}/webcam", addrs[0].port()),
    };
    let mut crowd = Crowd::new()?;
    gather(&mut crowd, &target, Transport::Tcp, 1, true)?;
    crowd.run_until(Instant::now() + Duration::from_secs(2))?;
    let before = (relay.cpu()?, ffmpeg.cpu()?, Instant::now());
    crowd.counting = true;
    crowd.run_until(before.2 + Duration::from_secs_f64(args.seconds))?;
    let (louver_cpu, ffmpeg_cpu) = (relay.cpu()? - before.0, ffmpeg.cpu()? - before.1);
    let seconds = before.2.elapsed().as_secs_f64();
    let memory = relay.memory()?;
    Ok(Figures::default()
        .with("seconds", seconds)
        .with("ffmpeg_cpu_seconds", ffmpeg_cpu)
        .with("louver_cpu_seconds", louver_cpu)
        .with("ratio", louver_cpu / ffmpeg_cpu)
        .with("louver_pictures", crowd.tally.pictures as f64)
        .with("louver_resident_mb", memory.resident / 1e6)
        .with("louver_resident_peak_mb", memory.peak / 1e6))
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
