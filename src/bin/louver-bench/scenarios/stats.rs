//! What the statistics cost, in this process: pseudonyms, and opening sessions.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Instant;

use louver::base::clock::SystemClock;
use louver::base::peer::PeerAddr;
use louver::privacy::Door;
use louver::privacy::Options;
use louver::privacy::RawViewer;

use crate::Args;
use crate::Fault;
use crate::report::Figures;
use crate::report::Runs;

/// Viewers of a day with many of them.
const VIEWERS: u32 = 1_000_000;
const AGENTS: [&str; 4] = [
    "LibVLC/3.0.20 (LIVE555 Streaming Media v2016.11.28)",
    "Lavf60.16.100",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "GStreamer/1.22.0",
];

/// Several times; a failure ends it.
pub(super) fn measure(args: &Args) -> Result<Runs, Fault> {
    let mut runs = Runs::default();
    for n in 1..=args.runs {
        eprintln!("louver-bench: stats, run {n}");
        runs.runs.push(pseudonyms());
    }
    runs.finish();
    Ok(runs)
}

/// Everybody comes twice: as somebody new, and as somebody known.
fn pseudonyms() -> Figures {
    let door = Door::new(Options::default(), SystemClock::shared());
    let everybody = || {
        let start = Instant::now();
        (0..VIEWERS).for_each(|n| open(&door, n));
        start.elapsed().as_secs_f64()
    };
    let (new, known) = (everybody(), everybody());
    let viewers = f64::from(VIEWERS);
    Figures::default()
        .with("new_per_second", viewers / new)
        .with("known_per_second", viewers / known)
        .with("open_us", new / viewers * 1e6)
        .with(
            "map_bytes_per_viewer",
            door.map_bytes() as f64 / door.viewers() as f64,
        )
}

/// All that opening a session adds, from an address and an agent string on.
fn open(door: &Door, n: u32) {
    let address = SocketAddr::from((Ipv4Addr::from_bits(0x0b00_0000 | n), 40_000));
    let agent = AGENTS[n as usize % AGENTS.len()];
    let raw = RawViewer::new(PeerAddr::new(address), Some(agent));
    let viewer = door.admit_to("webcam", raw).expect("nobody objects");
    black_box(viewer.begin().client());
}
