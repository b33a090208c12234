//! N readers of one published stream: what the server's time, memory, delay and loss are.

use std::time::Duration;
use std::time::Instant;

use crate::Fault;
use crate::crowd::Crowd;
use crate::crowd::Histogram;
use crate::crowd::Target;
use crate::crowd::Transport;
use crate::report::Figures;
use crate::report::Key;
use crate::scenarios::Bench;
use crate::scenarios::Clocks;
use crate::scenarios::dropped;
use crate::scenarios::seen;
use crate::server::Server;

/// So many readers join one by one, the others in crowds.
const ALONE: usize = 10;
const CROWD: usize = 16;
/// A server that takes so long for a keyframe waits for the next one; then all readers may as well wait together.
const CACHED: Duration = Duration::from_millis(400);
/// How long readers settle before the window opens.
const SETTLE: Duration = Duration::from_secs(1);
/// How long nobody may join before we give up.
const PATIENCE: Duration = Duration::from_secs(25);

pub(super) fn run(bench: &Bench<'_>, server: &Server, key: &Key) -> Result<Figures, Fault> {
    let served = bench.serve(server)?;
    let before = served.process.memory()?;
    let mut crowd = Crowd::new()?;
    let keyframes = gather(
        &mut crowd,
        &served.target,
        key.transport,
        key.readers,
        !server.is_floor(),
    )?;
    crowd.run_until(Instant::now() + SETTLE)?;
    served.process.forget_peak();
    let clocks = Clocks::start(&served.process)?;
    crowd.counting = true;
    crowd.run_until(Instant::now() + Duration::from_secs_f64(bench.args.seconds))?;
    crowd.counting = false;
    let clocks = clocks.stop()?;
    let with = served.process.memory()?;
    let gigabytes = crowd.tally.bytes as f64 / 1e9;
    let cpu = clocks.get("cpu_seconds").unwrap_or_default();
    if crowd.tally.packets == 0 {
        return Err("no reader got anything in the window".into());
    }
    let per_reader = |with: f64, before: f64| (with - before) / key.readers as f64 / 1e3;
    Ok(clocks
        .with("gigabytes", gigabytes)
        .with("cpu_seconds_per_gb", cpu / gigabytes)
        .with("resident_before_mb", before.resident / 1e6)
        .with("resident_mb", with.resident / 1e6)
        .with("resident_peak_mb", with.peak / 1e6)
        .with("kb_per_reader", per_reader(with.resident, before.resident))
        .with("anonymous_before_mb", before.anonymous / 1e6)
        .with("anonymous_mb", with.anonymous / 1e6)
        .with(
            "anonymous_kb_per_reader",
            per_reader(with.anonymous, before.anonymous),
        )
        .and(seen(&crowd.tally))
        .with("first_keyframe_ms_p50", keyframes.percentile(50))
        .with("first_keyframe_ms_p99", keyframes.percentile(99))
        .with("readers_starved", crowd.starved() as f64)
        .with("readers_dropped", dropped(&crowd)))
}

/// Lets readers join until all have their first keyframe; how long each took for it since connecting.
///
/// `cached`: the server is thought to have a keyframe for them, so that it is worth waiting for each.
pub(super) fn gather(
    crowd: &mut Crowd,
    to: &Target,
    transport: Transport,
    readers: usize,
    mut cached: bool,
) -> Result<Histogram, Fault> {
    let mut times = Histogram::default();
    let (mut begun, mut joined) = (0, 0);
    let mut until = Instant::now() + PATIENCE;
    while joined < readers {
        let (asking, waiting) = crowd.waiting();
        let (busy, most) = match cached {
            true => (waiting, if joined < ALONE { 1 } else { CROWD }),
            false => (asking, CROWD),
        };
        for _ in busy..most.min(busy + readers - begun) {
            crowd.join(to, transport, true);
            begun += 1;
        }
        crowd.turn(until)?;
        for news in crowd.joined.drain(..) {
            times.record(u64::try_from(news.since_connect.as_micros()).unwrap_or(u64::MAX));
            cached &= news.since_connect < CACHED || joined >= ALONE;
            joined += 1;
            until = Instant::now() + PATIENCE;
        }
        if let Some(why) = crowd.gone.iter().find_map(|gone| gone.why.as_ref()) {
            return Err(format!("{joined} of {readers} readers joined, then one failed: {why}").into());
        }
        if Instant::now() > until {
            return Err(format!("only {joined} of {readers} readers got a keyframe").into());
        }
    }
    Ok(times)
}
