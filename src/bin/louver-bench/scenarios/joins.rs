//! Readers that join at a steady rate beside an audience that stays.
//!
//! The schedule is open: a join begins when it is due, however long earlier ones take.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use crate::Fault;
use crate::crowd::Crowd;
use crate::crowd::Histogram;
use crate::report::Figures;
use crate::report::Key;
use crate::scenarios::Bench;
use crate::scenarios::Clocks;
use crate::scenarios::fanout::gather;
use crate::scenarios::seen;
use crate::server::Server;

/// How long each stays after its keyframe.
const STAY: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Times {
    connect: Histogram,
    play: Histogram,
    joined: usize,
    last: Option<Instant>,
    /// Who leaves when.
    leaving: VecDeque<(Instant, usize)>,
}

pub(super) fn run(bench: &Bench<'_>, server: &Server, key: &Key) -> Result<Figures, Fault> {
    let served = bench.serve(server)?;
    let mut crowd = Crowd::new()?;
    gather(
        &mut crowd,
        &served.target,
        key.transport,
        key.readers,
        !server.is_floor(),
    )?;
    crowd.run_until(Instant::now() + STAY)?;
    let rate = key.joins_per_second.unwrap_or(1);
    let all = (f64::from(rate) * bench.args.join_seconds).round().max(1.0) as u32;
    let clocks = Clocks::start(&served.process)?;
    crowd.counting = true;
    let start = Instant::now();
    let due = |n: u32| start + Duration::from_secs(1) * n / rate;
    let (mut begun, mut times) = (0, Times::default());
    // Those who join last are waited for.
    while begun < all || crowd.len() > key.readers {
        let now = Instant::now();
        while begun < all && due(begun) <= now {
            crowd.join(&served.target, key.transport, false);
            begun += 1;
        }
        let next = if begun < all { due(begun) } else { now + STAY };
        crowd.turn(times.leaving.front().map_or(next, |(at, _)| next.min(*at)))?;
        times.take(&mut crowd);
        if crowd.gone.iter().any(|gone| gone.counted) {
            return Err("a reader of the audience was dropped".into());
        }
    }
    crowd.counting = false;
    let failed = crowd.gone.iter().filter(|gone| !gone.joined).count();
    let took = times
        .last
        .map_or(f64::INFINITY, |last| (last - start).as_secs_f64());
    Ok(clocks
        .stop()?
        .with("joins", f64::from(all))
        .with("joins_failed", failed as f64)
        .with(
            "joins_per_second_achieved",
            times.joined as f64 / took.max(bench.args.join_seconds),
        )
        .with("connect_to_keyframe_ms_p50", times.connect.percentile(50))
        .with("connect_to_keyframe_ms_p99", times.connect.percentile(99))
        .with("connect_to_keyframe_ms_max", times.connect.max())
        .with("play_to_keyframe_ms_p50", times.play.percentile(50))
        .with("play_to_keyframe_ms_p99", times.play.percentile(99))
        .with("play_to_keyframe_ms_max", times.play.max())
        .and(seen(&crowd.tally)))
}

impl Times {
    /// Notes who has a keyframe, and sends home who stayed long enough.
    fn take(&mut self, crowd: &mut Crowd) {
        for news in crowd.joined.drain(..) {
            let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            self.connect.record(micros(news.since_connect));
            self.play.record(micros(news.since_play));
            self.joined += 1;
            self.last = Some(news.at);
            self.leaving.push_back((news.at + STAY, news.reader));
        }
        while let Some((_, reader)) = self.leaving.pop_front_if(|(at, _)| *at <= Instant::now()) {
            crowd.leave(reader);
        }
    }
}
