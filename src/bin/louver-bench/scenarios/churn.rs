//! Readers that come and go for long: what grows, what leaks, and whether the statistics know of every one.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use crate::Fault;
use crate::crowd::Crowd;
use crate::crowd::Transport;
use crate::process::Process;
use crate::report::Churn;
use crate::report::Figures;
use crate::scenarios::Bench;
use crate::scenarios::Clocks;
use crate::scenarios::dropped;
use crate::scenarios::seen;
use crate::server::Server;
use crate::server::sessions;

/// How often all that is sampled is looked at for its maximum.
const LOOK: Duration = Duration::from_secs(1);
/// How long statistics may lag behind.
const LAG: Duration = Duration::from_secs(20);

/// All servers but the floor, one after the other.
pub(super) fn measure(bench: &Bench<'_>) -> Vec<Churn> {
    let servers = bench.servers.iter().filter(|server| !server.is_floor());
    let one = |server: &Server| {
        let name = server.name().to_owned();
        eprintln!("louver-bench: churn: {name}");
        run(bench, server).unwrap_or_else(|e| Churn {
            server: name,
            failed: Some(e.to_string()),
            figures: Figures::default(),
            samples: vec![],
            readers_served: 0,
            sessions: None,
        })
    };
    servers.map(one).collect()
}

fn run(bench: &Bench<'_>, server: &Server) -> Result<Churn, Fault> {
    let served = bench.serve(server)?;
    let (mut crowd, mut samples) = (Crowd::new()?, Samples::new(bench.args.churn_seconds));
    let clocks = Clocks::start(&served.process)?;
    samples.take(&served.process, &crowd)?;
    crowd.counting = true;
    let rate = bench.args.churn_rate.max(1);
    let all = (f64::from(rate) * bench.args.churn_seconds).round().max(1.0) as u32;
    let start = Instant::now();
    let due = |n: u32| start + Duration::from_secs(1) * n / rate;
    let mut begun = 0;
    let mut leaving: VecDeque<(Instant, usize)> = VecDeque::new();
    let stay = Duration::from_secs_f64(bench.args.churn_stay);
    while begun < all || crowd.len() > 0 {
        let now = Instant::now();
        while begun < all && due(begun) <= now {
            let by = [Transport::Tcp, Transport::Udp][begun as usize % 2];
            crowd.join(&served.target, by, true);
            begun += 1;
        }
        let next = if begun < all { due(begun) } else { now + LOOK };
        crowd.turn(leaving.front().map_or(next, |(at, _)| next.min(*at)))?;
        leaving.extend(crowd.joined.drain(..).map(|news| (news.at + stay, news.reader)));
        while let Some((_, reader)) = leaving.pop_front_if(|(at, _)| *at <= Instant::now()) {
            crowd.leave(reader);
        }
        samples.look(&served.process, &crowd)?;
    }
    let clocks = clocks.stop()?;
    let readers_served = crowd.gone.iter().filter(|gone| gone.served).count() as u64;
    let counted = served
        .http
        .map(|http| settled(http, readers_served))
        .transpose()?;
    samples.take(&served.process, &crowd)?;
    Ok(Churn {
        server: server.name().to_owned(),
        failed: None,
        figures: clocks
            .and(samples.most)
            .with("joins", f64::from(all))
            .with(
                "joins_failed",
                crowd.gone.iter().filter(|gone| !gone.joined).count() as f64,
            )
            .with("readers_dropped", dropped(&crowd))
            .and(seen(&crowd.tally)),
        samples: samples.all,
        readers_served,
        sessions: counted,
    })
}

/// The number of sessions, when it is the expected one or no longer changes.
fn settled(http: std::net::SocketAddr, expected: u64) -> Result<u64, Fault> {
    let until = Instant::now() + LAG;
    loop {
        let (all, live) = sessions(http)?;
        if (all == expected && live == 0) || Instant::now() > until {
            return Ok(all);
        }
        std::thread::sleep(LOOK / 4);
    }
}

/// What the server holds over time.
struct Samples {
    start: Instant,
    every: Duration,
    looked: Instant,
    taken: Instant,
    all: Vec<Figures>,
    most: Figures,
}

impl Samples {
    /// One a minute; of a short run, three.
    fn new(seconds: f64) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            every: Duration::from_secs_f64((seconds / 3.0).min(60.0)),
            looked: now,
            taken: now,
            all: vec![],
            most: Figures::default(),
        }
    }
    /// Once a second.
    fn look(&mut self, process: &Process, crowd: &Crowd) -> Result<(), Fault> {
        if self.taken.elapsed() >= self.every {
            return self.take(process, crowd);
        }
        if self.looked.elapsed() >= LOOK {
            self.now(process, crowd)?;
        }
        Ok(())
    }
    fn take(&mut self, process: &Process, crowd: &Crowd) -> Result<(), Fault> {
        self.taken = Instant::now();
        let sample = self.now(process, crowd)?;
        self.all.push(sample);
        Ok(())
    }
    fn now(&mut self, process: &Process, crowd: &Crowd) -> Result<Figures, Fault> {
        self.looked = Instant::now();
        let memory = process.memory()?;
        let values = [
            ("resident_mb", "resident_max_mb", memory.resident / 1e6),
            ("anonymous_mb", "anonymous_max_mb", memory.anonymous / 1e6),
            ("descriptors", "descriptors_max", process.descriptors()? as f64),
        ];
        let mut sample = Figures::default()
            .with("second", self.start.elapsed().as_secs_f64().round())
            .with("readers", crowd.len() as f64);
        let mut most = Figures::default();
        for (name, max, value) in values {
            sample = sample.with(name, value);
            most = most.with(max, self.most.get(max).unwrap_or(0.0).max(value));
        }
        self.most = most;
        Ok(sample)
    }
}
