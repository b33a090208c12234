//! The answer as text for a terminal. A pure function; nothing is coloured, columns line up in any font of
//! one width. Not here: printing.

use std::fmt::Write;

use jiff::Timestamp;

use crate::analytics::query;
use crate::analytics::query::Cell;
use crate::analytics::query::Counts;
use crate::analytics::query::Live;
use crate::analytics::query::Stats;

/// Characters of the longest bar.
const BAR: u64 = 24;

/// Heights of an hour.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What `louver stats` prints.
pub fn render(stats: &Stats) -> String {
    let mut text = String::new();
    let zone = stats.time_zone.iana_name().unwrap_or("local time");
    let (from, to) = (minute(stats, stats.from), minute(stats, stats.to));
    line(&mut text, format_args!("{from} to {to} ({zone})\n"));
    totals(&mut text, stats);
    breakdown(&mut text, "By path", &stats.by_path, stats.k);
    breakdown(&mut text, "By protocol", &stats.by_protocol, stats.k);
    breakdown(&mut text, "By transport", &stats.by_transport, stats.k);
    breakdown(&mut text, "By player", &stats.by_client, stats.k);
    breakdown(&mut text, "By country", &stats.by_country, stats.k);
    by_length(&mut text, stats);
    by_hour(&mut text, stats);
    notes(&mut text, stats);
    text
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a string does not fail");
    text.push('\n');
}

fn minute(stats: &Stats, at: Timestamp) -> String {
    let local = at.to_zoned(stats.time_zone.clone());
    local.strftime("%Y-%m-%d %H:%M").to_string()
}

fn totals(text: &mut String, stats: &Stats) {
    let Counts {
        sessions,
        viewer_days,
        watch_seconds,
        peak_concurrent,
        views,
    } = stats.total;
    line(
        text,
        format_args!(
            "Watching now  {:>9}{}",
            stats.live.sessions,
            where_now(&stats.live)
        ),
    );
    line(text, format_args!("Sessions      {sessions:>9}"));
    line(text, format_args!("Views         {views:>9}"));
    line(text, format_args!("Viewer-days   {viewer_days:>9}"));
    line(text, format_args!("Watch time    {:>9}", duration(watch_seconds)));
    line(text, format_args!("Peak          {peak_concurrent:>9}"));
}

fn where_now(live: &Live) -> String {
    let mut all = Vec::new();
    for (path, sessions) in &live.by_path {
        all.push(format!("{path} {sessions}"));
    }
    if live.machines > 0 {
        all.push(format!("machines {}", live.machines));
    }
    if all.is_empty() {
        String::new()
    } else {
        format!("   ({})", all.join(", "))
    }
}

/// A row per cell, those with the most sessions first; hidden ones last.
fn breakdown(text: &mut String, title: &str, cells: &[Cell<String>], k: u32) {
    if cells.is_empty() {
        return;
    }
    let width = cells
        .iter()
        .map(|cell| cell.key.chars().count())
        .chain([title.len()])
        .max()
        .unwrap_or(0);
    let head = numbers(["sessions", "viewer-days", "watch time", "peak"]);
    line(
        text,
        format_args!("\n{title:<width$}  {:<w$}  {head}", "", w = BAR as usize),
    );
    let mut cells: Vec<_> = cells.iter().collect();
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.counts.map(|counts| counts.sessions)));
    let most = cells
        .iter()
        .filter_map(|cell| cell.counts)
        .map(|c| c.sessions)
        .max()
        .unwrap_or(0);
    for cell in cells {
        let key = &cell.key;
        let Some(counts) = cell.counts else {
            line(
                text,
                format_args!("{key:<width$}  hidden: fewer than {k} viewers, or next to such a row"),
            );
            continue;
        };
        let bar = bar(counts.sessions, most);
        let numbers = numbers([
            &counts.sessions.to_string(),
            &counts.viewer_days.to_string(),
            &duration(counts.watch_seconds),
            &counts.peak_concurrent.to_string(),
        ]);
        line(
            text,
            format_args!("{key:<width$}  {bar:<w$}  {numbers}", w = BAR as usize),
        );
    }
}

/// The columns after the bar.
fn numbers([sessions, viewer_days, watch, peak]: [&str; 4]) -> String {
    format!("{sessions:>8}  {viewer_days:>11}  {watch:>10}  {peak:>4}")
}

fn bar(value: u64, most: u64) -> String {
    let length = if most == 0 {
        0
    } else {
        (value * BAR).div_ceil(most)
    };
    "█".repeat(usize::try_from(length).unwrap_or(0))
}

/// A row per class of length, the shortest first, and how many stayed that long.
fn by_length(text: &mut String, stats: &Stats) {
    let most = stats
        .by_length
        .iter()
        .filter_map(|c| c.counts)
        .map(|c| c.sessions)
        .max();
    let Some(most) = most else { return };
    line(
        text,
        format_args!("\nBy length {:<w$}  sessions", "", w = BAR as usize + 4),
    );
    let limits = query::length_limits();
    for cell in &stats.by_length {
        let to = limits.get(cell.key).map(|s| u64::try_from(*s).unwrap_or(0));
        let name = match (to, limits.last()) {
            (Some(to), _) => format!("to {}", duration(to)),
            (None, last) => format!("over {}", duration(last.map_or(0, |s| s.unsigned_abs()))),
        };
        match cell.counts {
            Some(counts) => {
                let (bar, sessions) = (bar(counts.sessions, most), counts.sessions);
                line(
                    text,
                    format_args!("{name:<12}  {bar:<w$}  {sessions:>8}", w = BAR as usize),
                );
            }
            None => line(text, format_args!("{name:<12}  hidden")),
        }
    }
    let stayed = stats.staying.iter().map(|point| {
        let (share, after) = (
            point.per_thousand as f64 / 10.0,
            duration(point.seconds.unsigned_abs()),
        );
        format!("{share:.0} % after {after}")
    });
    let stayed: Vec<String> = stayed.collect();
    if !stayed.is_empty() {
        line(
            text,
            format_args!("Still watching (estimated): {}", stayed.join(", ")),
        );
    }
}

/// One line per day, one character per hour.
fn by_hour(text: &mut String, stats: &Stats) {
    let watched = |cell: &Cell<Timestamp>| cell.counts.map(|counts| counts.watch_seconds);
    let Some(most) = stats.by_hour.iter().filter_map(watched).max() else {
        return;
    };
    line(
        text,
        format_args!("\nWatch time by hour (· hidden: fewer than {} viewers)", stats.k),
    );
    let mut days: Vec<(String, String)> = Vec::new();
    for cell in &stats.by_hour {
        let day = cell
            .key
            .to_zoned(stats.time_zone.clone())
            .strftime("%a %Y-%m-%d")
            .to_string();
        if days.last().is_none_or(|(last, _)| *last != day) {
            days.push((day, String::new()));
        }
        let height = match watched(cell) {
            None => '·',
            Some(0) => ' ',
            Some(watched) => {
                HEIGHTS[usize::try_from((watched * 8).div_ceil(most.max(1)))
                    .unwrap_or(8)
                    .clamp(1, 8)
                    - 1]
            }
        };
        if let Some((_, hours)) = days.last_mut() {
            hours.push(height);
        }
    }
    for (day, hours) in days {
        line(text, format_args!("{day}  {hours}"));
    }
}

fn notes(text: &mut String, stats: &Stats) {
    text.push('\n');
    if stats.store_is_failing {
        line(
            text,
            format_args!("Sessions cannot be stored now: the newest are missing here until they can."),
        );
    }
    let machines = stats.machines;
    if machines != Counts::default() {
        let watch = duration(machines.watch_seconds);
        let sessions = machines.sessions;
        line(
            text,
            format_args!("Not counted above: recorders and monitors, {sessions} sessions, {watch}."),
        );
    }
    if stats.restarts > 0 {
        let restarts = stats.restarts;
        line(
            text,
            format_args!(
                "Restarts of the relay: {restarts}. Who watched before and after one counts twice that day."
            ),
        );
    }
    text.push_str(
        "A viewer-day is one viewer in one day; viewers are not linked across days.\n\
        Who opted out is in no number.\n",
    );
}

/// Two units are enough: `2 h 05 m`.
fn duration(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} m {:02} s", seconds % 60),
        3600..360_000 => format!("{hours} h {:02} m", minutes % 60),
        _ => format!("{hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use crate::analytics::query::Health;
    use crate::analytics::query::Staying;

    use jiff::tz::TimeZone;

    use super::*;

    fn counts(sessions: u64) -> Option<Counts> {
        Some(Counts {
            sessions,
            viewer_days: sessions,
            watch_seconds: sessions * 100,
            peak_concurrent: 3,
            views: 2,
        })
    }

    fn stats() -> Stats {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let cell = |key: &str, counts| Cell {
            key: key.to_string(),
            counts,
        };
        Stats {
            from: at("2026-11-20T23:00:00Z"),
            to: at("2026-11-21T02:30:00Z"),
            time_zone: TimeZone::get("Europe/Berlin").unwrap(),
            k: 5,
            total: counts(16).unwrap(),
            live: Live {
                sessions: 3,
                machines: 1,
                by_path: vec![("door".into(), 1), ("webcam".into(), 2)],
            },
            by_path: vec![cell("door", counts(6)), cell("webcam", counts(10))],
            by_protocol: vec![cell("mjpeg", None), cell("rtsp", counts(14))],
            by_transport: Vec::new(),
            by_client: Vec::new(),
            by_country: Vec::new(),
            by_length: vec![
                Cell {
                    key: 0,
                    counts: counts(6),
                },
                Cell {
                    key: 4,
                    counts: counts(10),
                },
            ],
            staying: vec![Staying {
                seconds: 300,
                per_thousand: 625,
            }],
            by_weekday_hour: Vec::new(),
            health: Health::default(),
            store_is_failing: false,
            by_hour: vec![
                Cell {
                    key: at("2026-11-20T23:00:00Z"),
                    counts: None,
                },
                Cell {
                    key: at("2026-11-21T00:00:00Z"),
                    counts: counts(1),
                },
                Cell {
                    key: at("2026-11-21T01:00:00Z"),
                    counts: counts(8),
                },
            ],
            machines: counts(2).unwrap(),
            restarts: 1,
        }
    }

    #[test]
    fn the_table_lines_up_and_hides_what_is_hidden() {
        let text = render(&stats());
        let expected = "\
2026-11-21 00:00 to 2026-11-21 03:30 (Europe/Berlin)

Watching now          3   (door 1, webcam 2, machines 1)
Sessions             16
Views                 2
Viewer-days          16
Watch time    26 m 40 s
Peak                  3

By path                            sessions  viewer-days  watch time  peak
webcam   ████████████████████████        10           10   16 m 40 s     3
door     ███████████████                  6            6   10 m 00 s     3

By protocol                            sessions  viewer-days  watch time  peak
rtsp         ████████████████████████        14           14   23 m 20 s     3
mjpeg        hidden: fewer than 5 viewers, or next to such a row

By length                               sessions
to 10 s       ███████████████                  6
to 15 m 00 s  ████████████████████████        10
Still watching (estimated): 62 % after 5 m 00 s

Watch time by hour (· hidden: fewer than 5 viewers)
Sat 2026-11-21  ·▁█
";
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.contains("recorders and monitors, 2 sessions, 3 m 20 s"),
            "{text}"
        );
    }

    #[test]
    fn durations_have_two_units() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(3599), "59 m 59 s");
        assert_eq!(duration(3600 * 2 + 300), "2 h 05 m");
        assert_eq!(duration(360_000), "100 h");
    }
}
