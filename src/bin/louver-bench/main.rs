//! `louver-bench`: what relaying and capturing cost, beside the floor of the machine and beside other programs.
//!
//! One process that publishes a stream, reads it N times over RTSP and watches the server's CPU time and memory in
//! `/proc`. `scripts/bench` builds everything, makes the stream and starts it; `scripts/bench --help` tells what the
//! scenarios are and how to read the results. Linux only.
//!
//! Not here: anything of the relay. What is measured is measured from outside, through sockets and `/proc`, so that
//! every server is treated alike.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool beside the program: it owns its clock, its threads and its output"
)]

mod clip;
mod crowd;
mod floor;
mod process;
mod publisher;
mod report;
mod rtsp;
mod scenarios;
mod server;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::crowd::Transport;

/// Anything that ends the run. The text says what to do.
type Fault = Box<dyn Error + Send + Sync>;

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// What capturing costs, beside ffmpeg.
    Capture,
    /// What N readers cost.
    Fanout,
    /// Readers that join at a steady rate.
    Joins,
    /// A tenth of the readers reads nothing.
    Slow,
    /// Readers that come and go for long.
    Churn,
    /// What counting the audience costs.
    Stats,
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
    #[arg(long, default_value = "target/release/louver", overrides_with = "louver")]
    louver: PathBuf,
    /// What the publisher sends: H.264 in Annex B form with access unit delimiters, 30 frames/s.
    #[arg(long, default_value = "target/bench/clip.h264", overrides_with = "clip")]
    clip: PathBuf,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_value = "capture,fanout")]
    what: Vec<What>,
    /// Runs of each measurement (of all but churn); tables show the median, the least and the most.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How many readers [default: 10,100,500; for slow: 500].
    #[arg(long, value_delimiter = ',')]
    readers: Option<Vec<usize>>,
    /// How they read.
    #[arg(long, value_delimiter = ',', default_value = "tcp,udp")]
    transport: Vec<Transport>,
    /// Seconds of each measurement of capture and fanout, after the last reader has joined.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// At most so many seconds a server gets the stream before readers come: until what it keeps of it no longer
    /// grows.
    #[arg(long, default_value_t = 11.0)]
    warm_up: f64,
    /// Joins: readers that watch all the time.
    #[arg(long, default_value_t = 100)]
    audience: usize,
    /// Joins: how many join per second.
    #[arg(long, value_delimiter = ',', default_value = "100,250", value_parser = clap::value_parser!(u32).range(1..))]
    join_rate: Vec<u32>,
    /// Joins: for how many seconds.
    #[arg(long, default_value_t = 10.0)]
    join_seconds: f64,
    /// Slow: seconds of each measurement.
    #[arg(long, default_value_t = 20.0)]
    slow_seconds: f64,
    /// Churn: how many join per second.
    #[arg(long, default_value_t = 50)]
    churn_rate: u32,
    /// Churn: seconds for which each stays.
    #[arg(long, default_value_t = 2.0)]
    churn_stay: f64,
    /// Churn: for how many seconds.
    #[arg(long, default_value_t = 600.0)]
    churn_seconds: f64,
    /// Another server to measure the same way: CMD is run by the shell; `{port}` in it becomes the port on which it
    /// must accept RTSP publishers and readers of any path, `{dir}` an empty directory that goes afterwards.
    #[arg(long = "peer", value_name = "NAME=CMD")]
    peers: Vec<String>,
    /// The URL to which that server is published, and from which it is read [default:
    /// rtsp://127.0.0.1:{port}/bench/stream].
    #[arg(long = "peer-url", value_name = "NAME=URL")]
    peer_urls: Vec<String>,
    /// Which servers of our own serve the readers.
    #[arg(long, value_delimiter = ',', default_value = "floor,louver")]
    servers: Vec<Own>,
    /// Write the JSON to this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Be the floor: serve the clip on a port that is printed.
    #[arg(long, hide = true)]
    serve_floor: bool,
}

const HELP: &str = "scripts/bench --help tells what each scenario does and how to read the results.";

impl Args {
    fn readers(&self) -> &[usize] {
        self.readers.as_deref().unwrap_or(&[10, 100, 500])
    }
}

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
    let report = scenarios::Bench::new(args)?.measure()?;
    println!("{}", report.markdown());
    let json = serde_json::to_string_pretty(&report)?;
    match &args.json {
        Some(path) => std::fs::write(path, json)?,
        None => println!("```json\n{json}\n```"),
    }
    match report.own_failed() {
        true => Err("a run of the floor or of louver failed; the table says why".into()),
        false => Ok(()),
    }
}
