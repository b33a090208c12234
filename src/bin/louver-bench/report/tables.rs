//! Markdown tables. A cell is the median of the runs, with the least and the most when they differ.

use std::fmt::Write as _;

use crate::report::Cell;
use crate::report::Churn;
use crate::report::Report;
use crate::report::figures::show;

/// Heading and figure.
type Column = (&'static str, &'static str);

const FANOUT: &[Column] = &[
    ("CPU-s/GB", "cpu_seconds_per_gb"),
    ("x floor", "cpu_x_floor"),
    ("resident MB, no reader", "resident_before_mb"),
    ("with readers", "resident_mb"),
    ("KB/reader", "kb_per_reader"),
    ("of which anonymous", "anonymous_kb_per_reader"),
    ("delay ms p50", "delay_ms_p50"),
    ("x floor", "delay_p50_x_floor"),
    ("p99", "delay_ms_p99"),
    ("x floor", "delay_p99_x_floor"),
    ("first keyframe ms p50", "first_keyframe_ms_p50"),
    ("p99", "first_keyframe_ms_p99"),
    ("packets lost", "packets_lost"),
    ("of", "packets"),
    ("readers starved", "readers_starved"),
    ("dropped", "readers_dropped"),
    ("generator CPU-s", "generator_cpu_seconds"),
    ("of s", "seconds"),
];
const JOINS: &[Column] = &[
    ("joins/s achieved", "joins_per_second_achieved"),
    ("failed", "joins_failed"),
    ("connect to keyframe ms p50", "connect_to_keyframe_ms_p50"),
    ("p99", "connect_to_keyframe_ms_p99"),
    ("max", "connect_to_keyframe_ms_max"),
    ("PLAY to keyframe ms p50", "play_to_keyframe_ms_p50"),
    ("p99", "play_to_keyframe_ms_p99"),
    ("audience's packets lost", "packets_lost"),
    ("of", "packets"),
    ("CPU-s", "cpu_seconds"),
    ("generator CPU-s", "generator_cpu_seconds"),
];
const SLOW: &[Column] = &[
    ("stuck", "readers_stuck"),
    ("of which closed", "stuck_closed"),
    ("others' packets lost", "packets_lost"),
    ("of", "packets"),
    ("dropped", "readers_dropped"),
    ("delay ms p50", "delay_ms_p50"),
    ("x without stuck", "delay_p50_x_alone"),
    ("p99", "delay_ms_p99"),
    ("x without stuck", "delay_p99_x_alone"),
    ("resident MB peak", "resident_peak_mb"),
    ("without stuck", "alone_resident_peak_mb"),
    ("generator CPU-s", "generator_cpu_seconds"),
];
const CAPTURE: &[Column] = &[
    ("ffmpeg CPU-s", "ffmpeg_cpu_seconds"),
    ("louver CPU-s", "louver_cpu_seconds"),
    ("louver / ffmpeg", "ratio"),
    ("louver resident MB", "louver_resident_mb"),
    ("peak", "louver_resident_peak_mb"),
    ("pictures", "louver_pictures"),
    ("in s", "seconds"),
];
const STATS: &[Column] = &[
    ("new viewers/s, one core", "new_per_second"),
    ("known viewers/s", "known_per_second"),
    ("us per session opened", "open_us"),
    ("bytes per viewer of the day", "map_bytes_per_viewer"),
];
const CHURN: &[Column] = &[
    ("second", "second"),
    ("readers", "readers"),
    ("resident MB", "resident_mb"),
    ("anonymous MB", "anonymous_mb"),
    ("descriptors", "descriptors"),
];

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "Measured on {}. Medians, with the least and the most of several runs.\n",
            self.machine
        );
        if let Some(runs) = &self.capture {
            text.push_str("\n## Capture: 1280x720 at 30 frames/s, encoded\n");
            head(&mut text, &[], CAPTURE);
            row(&mut text, &[], CAPTURE.iter().map(|(_, name)| runs.cell(name)));
        }
        if let Some(runs) = &self.stats {
            text.push_str("\n## Statistics: pseudonyms of 1,000,000 viewers in one day\n");
            head(&mut text, &[], STATS);
            row(&mut text, &[], STATS.iter().map(|(_, name)| runs.cell(name)));
        }
        table(&mut text, "Fan-out", FANOUT, &self.fanout);
        table(
            &mut text,
            "Joins (the floor has no keyframe for them: they wait for the next)",
            JOINS,
            &self.joins,
        );
        table(&mut text, "Slow readers: a tenth reads nothing", SLOW, &self.slow);
        self.churn.iter().for_each(|c| churn(&mut text, c));
        if let Some(figures) = &self.store {
            text.push_str("\n## The session store\n\n| | |\n|---|---|\n");
            for (name, value) in figures.all() {
                writeln!(text, "| {} | {value:.1} |", name.replace('_', " ")).expect(INFALLIBLE);
            }
        }
        text
    }
}

fn table(text: &mut String, title: &str, columns: &[Column], cells: &[Cell]) {
    let Some(first) = cells.first() else { return };
    let mut keys = vec!["server", "by", "readers"];
    keys.extend(first.key.joins_per_second.map(|_| "joins/s wanted"));
    writeln!(text, "\n## {title}").expect(INFALLIBLE);
    head(text, &keys, columns);
    for cell in cells {
        let (key, runs) = (&cell.key, &cell.runs);
        let mut keys = vec![
            cell.server.clone(),
            cell.transport.into(),
            key.readers.to_string(),
        ];
        keys.extend(key.joins_per_second.map(|rate| rate.to_string()));
        match (runs.runs.is_empty(), runs.failed.first()) {
            (true, Some(why)) => row(text, &keys, std::iter::once(format!("failed: {}", flat(why)))),
            (_, why) => {
                if let Some(why) = why {
                    keys[0] += &format!(" ({} runs failed: {})", runs.failed.len(), flat(why));
                }
                row(text, &keys, columns.iter().map(|(_, name)| runs.cell(name)));
            }
        }
    }
}

fn churn(text: &mut String, churn: &Churn) {
    writeln!(text, "\n## Churn: {}", churn.server).expect(INFALLIBLE);
    if let Some(why) = &churn.failed {
        writeln!(text, "\nfailed: {}", flat(why)).expect(INFALLIBLE);
        return;
    }
    head(text, &[], CHURN);
    for sample in &churn.samples {
        let value = |name| sample.get(name).map_or_else(String::new, show);
        row(text, &[], CHURN.iter().map(|(_, name)| value(name)));
    }
    let of = |name| churn.figures.get(name).map_or_else(String::new, show);
    write!(
        text,
        "\nAt most: {} MB resident, {} MB anonymous, {} descriptors. Joins: {}, failed: {}, dropped: {}. Packets \
         lost: {} of {}. Readers that got media: {}",
        of("resident_max_mb"),
        of("anonymous_max_mb"),
        of("descriptors_max"),
        of("joins"),
        of("joins_failed"),
        of("readers_dropped"),
        of("packets_lost"),
        of("packets"),
        churn.readers_served
    )
    .expect(INFALLIBLE);
    match churn.sessions {
        Some(n) => writeln!(text, "; sessions in the statistics: {n}.").expect(INFALLIBLE),
        None => text.push_str(".\n"),
    }
}

fn head(text: &mut String, keys: &[&str], columns: &[Column]) {
    let titles = keys.iter().chain(columns.iter().map(|(title, _)| title));
    let titles: Vec<_> = titles.copied().collect();
    let line = titles.join(" | ");
    writeln!(text, "\n| {line} |\n|{}", "---|".repeat(titles.len())).expect(INFALLIBLE);
}

fn row(text: &mut String, keys: &[String], cells: impl Iterator<Item = String>) {
    let cells: Vec<_> = keys.iter().cloned().chain(cells).collect();
    writeln!(text, "| {} |", cells.join(" | ")).expect(INFALLIBLE);
}

/// Text that cannot break a table.
fn flat(text: &str) -> String {
    text.replace(['\n', '|'], " ")
}

const INFALLIBLE: &str = "writing to a string does not fail";
