//! `louver-bench`: what relaying and capturing cost, beside the floor of the machine and beside other programs.
//!
//! One process that publishes a stream, reads it N times over RTSP and watches the server's CPU time and memory in
//! `/proc`. `scripts/bench` builds everything, makes the stream and starts it; `scripts/bench --help` tells how to
//! read the results. Linux only.
//!
//! Not here: anything of the relay. What is measured is measured from outside, through sockets and `/proc`, so that
//! every server is treated alike.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool beside the program: it owns its clock, its threads and its output"
)]

mod capture;
mod clip;
mod fanout;
mod floor;
mod process;
mod publisher;
mod reader;
mod report;
mod rtsp;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::reader::Transport;

/// Anything that ends the run. The text says what to do.
type Fault = Box<dyn Error + Send + Sync>;

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Capture,
    Fanout,
}

/// Servers that need no `--peer`.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Own {
    /// A bare sender: what no relay can beat.
    Floor,
    Louver,
}

/// Measures capture and RTSP fan-out; prints Markdown, then the same as JSON.
#[derive(Parser)]
#[command(name = "scripts/bench", after_help = HELP)]
struct Args {
    /// The relay to measure.
    #[arg(long, default_value = "target/release/louver")]
    louver: PathBuf,
    /// What the publisher sends: H.264 in Annex B form with access unit delimiters, 30 frames/s.
    #[arg(long, default_value = "target/bench/clip.h264")]
    clip: PathBuf,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_value = "capture,fanout")]
    what: Vec<What>,
    /// How many readers.
    #[arg(long, value_delimiter = ',', default_value = "10,100,500")]
    readers: Vec<usize>,
    /// How they read.
    #[arg(long, value_delimiter = ',', default_value = "tcp,udp")]
    transport: Vec<Transport>,
    /// Seconds of each measurement, after the last reader has joined.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Another server to measure the same way: CMD is run by the shell; `{port}` in it becomes the port on which it
    /// must accept RTSP publishers and readers of any path.
    #[arg(long = "peer", value_name = "NAME=CMD")]
    peers: Vec<String>,
    /// Which servers of our own serve the readers.
    #[arg(long, value_delimiter = ',', default_value = "floor,louver")]
    servers: Vec<Own>,
    /// Be the floor: serve the clip on a port that is printed.
    #[arg(long, hide = true)]
    serve_floor: bool,
}

const HELP: &str = "\
FAN-OUT. One publisher sends a 2 Mbit/s 720p30 H.264 stream over TCP; N readers in one other process take it on
loopback. CPU-s/GB is the server's user and system time per 10^9 bytes of RTP delivered. The floor is a bare sender
without ingest in the same run: one system call per picture and TCP reader, UDP segmentation offload for UDP readers.
Compare ratios: loopback charges the receiver's share of the work to the sender. Latency is from the publisher's
write to the reader's read of the same picture; first picture is from connecting to the whole first keyframe.

CAPTURE. Louver's own 1280x720 30 frames/s test picture (with a clock burned in) encoded to H.264 for one reader,
beside an ffmpeg command line that makes, encodes and sends the same picture (without the clock), at the same time.

Other load on the machine makes CPU times larger and latencies much larger: run it on a quiet one.";

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("louver-bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Fault> {
    process::raise_file_limit();
    if args.serve_floor {
        return floor::serve(&clip::Clip::read(&args.clip)?);
    }
    let mut report = report::Report::new();
    if args.what.contains(&What::Capture) {
        report.capture = capture::measure(args)?;
    }
    if args.what.contains(&What::Fanout) {
        report.fanout = fanout::measure(args)?;
    }
    println!("{}", report.markdown());
    println!("```json\n{}\n```", serde_json::to_string_pretty(&report)?);
    Ok(())
}
