//! The results, as Markdown for people and JSON for comparisons.

use std::fmt::Write as _;

use serde::Serialize;

/// One run of the tool.
#[derive(Serialize)]
pub(crate) struct Report {
    /// What was measured on: processors and kernel, nothing else.
    machine: String,
    pub(crate) capture: Option<Capture>,
    pub(crate) fanout: Vec<Fanout>,
}

/// Capture and encode, beside ffmpeg.
#[derive(Serialize)]
pub(crate) struct Capture {
    pub(crate) seconds: f64,
    pub(crate) louver_cpu_seconds: f64,
    pub(crate) ffmpeg_cpu_seconds: f64,
    pub(crate) ratio: f64,
    /// Access units that our reader got from Louver in the window.
    pub(crate) louver_pictures: usize,
    pub(crate) louver_resident_mb: f64,
    pub(crate) louver_resident_peak_mb: f64,
}

/// One server with one number of readers. Sizes are decimal (MB = 10^6, GB = 10^9).
#[derive(Serialize)]
pub(crate) struct Fanout {
    pub(crate) server: String,
    pub(crate) transport: String,
    pub(crate) readers: usize,
    pub(crate) seconds: f64,
    pub(crate) gigabytes: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_seconds_per_gb: f64,
    pub(crate) resident_mb: f64,
    pub(crate) resident_peak_mb: f64,
    pub(crate) delay_ms: Percentiles,
    pub(crate) first_picture_ms: Percentiles,
    pub(crate) packets: u64,
    pub(crate) packets_lost: u64,
    /// Readers that got nothing in the window.
    pub(crate) readers_starved: usize,
}

/// Of times in milliseconds.
#[derive(Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Percentiles {
    pub(crate) fn of_micros(mut times: Vec<u32>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let n = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            times.get(n).map_or(0.0, |t| f64::from(*t) / 1000.0)
        };
        Self {
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }
}

impl Report {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let machine = format!("{processors} processors, Linux {}", kernel.trim());
        Self {
            machine,
            capture: None,
            fanout: vec![],
        }
    }
    /// Tables; the ratio is to the floor of the same run.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("Measured on {}.\n", self.machine);
        if let Some(c) = &self.capture {
            writeln!(
                text,
                "\n| 1280x720 at 30 frames/s, {:.0} s | CPU-s | resident MB (peak) | pictures |\n|---|---|---|---|\n\
                 | ffmpeg | {:.2} | | |\n| louver | {:.2} | {:.0} ({:.0}) | {} |\n\nLouver / ffmpeg: {:.2}",
                c.seconds,
                c.ffmpeg_cpu_seconds,
                c.louver_cpu_seconds,
                c.louver_resident_mb,
                c.louver_resident_peak_mb,
                c.louver_pictures,
                c.ratio
            )
            .expect("writing to a string does not fail");
        }
        if !self.fanout.is_empty() {
            text.push_str(
                "\n| server | by | readers | CPU-s/GB | x floor | resident MB (peak) | delay ms p50/p99 \
                 | first picture ms p50/p99 | packets lost | starved |\n|---|---|---|---|---|---|---|---|---|---|\n",
            );
        }
        for row in &self.fanout {
            let alike =
                |f: &&Fanout| f.server == "floor" && f.transport == row.transport && f.readers == row.readers;
            let floor = self.fanout.iter().find(alike);
            let ratio = floor.map_or_else(String::new, |f| {
                format!("{:.2}", row.cpu_seconds_per_gb / f.cpu_seconds_per_gb)
            });
            writeln!(
                text,
                "| {} | {} | {} | {:.2} | {ratio} | {:.1} ({:.1}) | {:.1} / {:.1} | {:.1} / {:.1} | {} of {} | {} |",
                row.server,
                row.transport,
                row.readers,
                row.cpu_seconds_per_gb,
                row.resident_mb,
                row.resident_peak_mb,
                row.delay_ms.p50,
                row.delay_ms.p99,
                row.first_picture_ms.p50,
                row.first_picture_ms.p99,
                row.packets_lost,
                row.packets + row.packets_lost,
                row.readers_starved
            )
            .expect("writing to a string does not fail");
        }
        text
    }
}
