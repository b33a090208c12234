//! A tenth of the readers read nothing any more: what the others notice, and what becomes of the stuck.

use std::time::Duration;
use std::time::Instant;

use crate::Fault;
use crate::crowd::Crowd;
use crate::crowd::Mood;
use crate::report::Figures;
use crate::report::Key;
use crate::scenarios::Bench;
use crate::scenarios::Clocks;
use crate::scenarios::dropped;
use crate::scenarios::fanout::gather;
use crate::scenarios::seen;
use crate::server::Server;

/// How long the stuck may take to read what is left for them, to see whether the server has closed.
const AFTERWARDS: Duration = Duration::from_secs(3);

pub(super) fn run(bench: &Bench<'_>, server: &Server, key: &Key) -> Result<Figures, Fault> {
    let alone = half(bench, server, key, 0)?;
    let stuck = half(bench, server, key, key.readers.div_ceil(10))?;
    let ratio = |name| match (stuck.get(name), alone.get(name)) {
        (Some(with), Some(without)) if without > 0.0 => with / without,
        _ => f64::NAN,
    };
    let (p50, p99) = (ratio("delay_ms_p50"), ratio("delay_ms_p99"));
    let of_alone = |name| alone.get(name).unwrap_or(f64::NAN);
    Ok(stuck
        .with("delay_p50_x_alone", p50)
        .with("delay_p99_x_alone", p99)
        .with("alone_delay_ms_p50", of_alone("delay_ms_p50"))
        .with("alone_delay_ms_p99", of_alone("delay_ms_p99"))
        .with("alone_packets_lost", of_alone("packets_lost"))
        .with("alone_resident_peak_mb", of_alone("resident_peak_mb")))
}

fn half(bench: &Bench<'_>, server: &Server, key: &Key, stuck: usize) -> Result<Figures, Fault> {
    let served = bench.serve(server)?;
    let mut crowd = Crowd::new()?;
    gather(
        &mut crowd,
        &served.target,
        key.transport,
        key.readers,
        !server.is_floor(),
    )?;
    crowd.run_until(Instant::now() + Duration::from_secs(1))?;
    crowd.set_mood(stuck, Mood::Stuck)?;
    served.process.forget_peak();
    let clocks = Clocks::start(&served.process)?;
    crowd.counting = true;
    crowd.run_until(Instant::now() + Duration::from_secs_f64(bench.args.slow_seconds))?;
    crowd.counting = false;
    let clocks = clocks.stop()?;
    let memory = served.process.memory()?;
    // A server that closed leaves an end behind what it had sent; one that did not goes on sending.
    crowd.set_mood(stuck, Mood::Recovering)?;
    crowd.run_until(Instant::now() + if stuck > 0 { AFTERWARDS } else { Duration::ZERO })?;
    let closed = crowd.gone.iter().filter(|gone| gone.stuck).count();
    Ok(clocks
        .with("readers_stuck", stuck as f64)
        .with("stuck_closed", closed as f64)
        .with("readers_dropped", dropped(&crowd))
        .with("readers_starved", crowd.starved() as f64)
        .with("resident_mb", memory.resident / 1e6)
        .with("resident_peak_mb", memory.peak / 1e6)
        .and(seen(&crowd.tally)))
}
