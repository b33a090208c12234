//! What is measured, and in which order.

mod capture;
mod churn;
mod fanout;
mod joins;
mod slow;
mod stats;
mod store;

use std::sync::Arc;

use crate::Args;
use crate::Fault;
use crate::What;
use crate::clip::Clip;
use crate::crowd::Crowd;
use crate::crowd::Tally;
use crate::process::Process;
use crate::process::own_cpu;
use crate::report::Cell;
use crate::report::Figures;
use crate::report::Key;
use crate::report::Report;
use crate::report::Runs;
use crate::server::Served;
use crate::server::Server;

/// Ratios to the floor, where both have the figure.
const TO_FLOOR: &[(&str, &str)] = &[
    ("cpu_seconds_per_gb", "cpu_x_floor"),
    ("delay_ms_p50", "delay_p50_x_floor"),
    ("delay_ms_p99", "delay_p99_x_floor"),
];
/// Readers of the scenario with slow ones, unless told.
const SLOW_READERS: &[usize] = &[500];

/// What all scenarios need.
pub(crate) struct Bench<'a> {
    args: &'a Args,
    clip: Arc<Clip>,
    servers: Vec<Server>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(args: &'a Args) -> Result<Self, Fault> {
        Ok(Self {
            args,
            clip: Arc::new(Clip::read(&args.clip)?),
            servers: Server::all(args)?,
        })
    }
    /// Everything that was asked for.
    pub(crate) fn measure(&self) -> Result<Report, Fault> {
        let mut report = Report::new();
        let args = self.args;
        let plain = |transport, readers: &usize| Key {
            transport,
            readers: *readers,
            joins_per_second: None,
        };
        let keys = |each: &dyn Fn(_) -> Vec<Key>| args.transport.iter().flat_map(|t| each(*t)).collect();
        for what in &args.what {
            match what {
                What::Capture => report.capture = Some(capture::measure(args)?),
                What::Fanout => {
                    let keys: Vec<_> = keys(&|t| args.readers().iter().map(|n| plain(t, n)).collect());
                    report.fanout = self.interleave("fan-out", &keys, fanout::run)?;
                }
                What::Joins => {
                    let key = |t, rate: &u32| Key {
                        joins_per_second: Some(*rate),
                        ..plain(t, &args.audience)
                    };
                    let keys: Vec<_> = keys(&|t| args.join_rate.iter().map(|r| key(t, r)).collect());
                    report.joins = self.interleave("joins", &keys, joins::run)?;
                }
                What::Slow => {
                    let readers = args.readers.as_deref().unwrap_or(SLOW_READERS);
                    let keys: Vec<_> = keys(&|t| readers.iter().map(|n| plain(t, n)).collect());
                    report.slow = self.interleave("slow", &keys, slow::run)?;
                }
                What::Churn => report.churn = churn::measure(self),
                What::Stats => {
                    report.stats = Some(stats::measure(args)?);
                    report.store = Some(store::measure()?);
                }
            }
        }
        Ok(report)
    }
    fn serve(&self, server: &Server) -> Result<Served, Fault> {
        server.start(self.args, &self.clip)
    }
    /// Measures each key several times; servers take turns, so that all meet the same weather.
    fn interleave(
        &self,
        what: &str,
        keys: &[Key],
        run: impl Fn(&Self, &Server, &Key) -> Result<Figures, Fault>,
    ) -> Result<Vec<Cell>, Fault> {
        let mut cells = vec![];
        for key in keys {
            let mut of_key: Vec<_> = self.servers.iter().map(|s| Cell::new(s.name(), key)).collect();
            for n in 1..=self.args.runs {
                for (server, cell) in self.servers.iter().zip(&mut of_key) {
                    let (name, by) = (server.name(), key.transport.name());
                    eprintln!(
                        "louver-bench: {what}, {} readers over {by}, run {n}: {name}",
                        key.readers
                    );
                    match run(self, server, key) {
                        Ok(figures) => cell.runs.runs.push(figures),
                        Err(e) => {
                            eprintln!("louver-bench: {name} failed: {e}");
                            cell.runs.failed.push(e.to_string());
                        }
                    }
                }
            }
            of_key.iter_mut().for_each(|cell| cell.runs.finish());
            if let Some(floor) = self.servers.iter().position(Server::is_floor) {
                let floor = of_key[floor].runs.runs.clone();
                of_key
                    .iter_mut()
                    .for_each(|cell| cell.runs.compare(&floor, TO_FLOOR));
            }
            cells.extend(of_key);
        }
        Ok(cells)
    }
}

impl Cell {
    fn new(server: &str, key: &Key) -> Self {
        Self {
            server: server.to_owned(),
            transport: key.transport.name(),
            key: key.clone(),
            runs: Runs::default(),
        }
    }
}

/// Processor time from here on: of the server and of our own thread.
struct Clocks<'a> {
    process: &'a Process,
    server: f64,
    own: f64,
    start: std::time::Instant,
}

impl<'a> Clocks<'a> {
    fn start(process: &'a Process) -> Result<Self, Fault> {
        Ok(Self {
            process,
            server: process.cpu()?,
            own: own_cpu(),
            start: std::time::Instant::now(),
        })
    }
    fn stop(&self) -> Result<Figures, Fault> {
        Ok(Figures::default()
            .with("seconds", self.start.elapsed().as_secs_f64())
            .with("cpu_seconds", self.process.cpu()? - self.server)
            .with("generator_cpu_seconds", own_cpu() - self.own))
    }
}

/// What the counted readers of a crowd saw.
fn seen(tally: &Tally) -> Figures {
    Figures::default()
        .with("packets", tally.packets as f64)
        .with("packets_lost", tally.lost as f64)
        .with("delay_ms_p50", tally.delays.percentile(50))
        .with("delay_ms_p99", tally.delays.percentile(99))
        .with("delay_ms_max", tally.delays.max())
}

/// Readers that counted and are gone without our wish.
fn dropped(crowd: &Crowd) -> f64 {
    crowd.gone.iter().filter(|g| g.counted && g.why.is_some()).count() as f64
}
