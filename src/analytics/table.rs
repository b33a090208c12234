//! The answer as text for a terminal or a file: numbers here, charts in `charts`. A pure function; columns line up in
//! any font of one width. Not here: printing, and what it is printed on (`look`).

use std::fmt::Write;

use jiff::Timestamp;

use crate::analytics::charts;
use crate::analytics::look::Look;
use crate::analytics::query::Cell;
use crate::analytics::query::Counts;
use crate::analytics::query::Live;
use crate::analytics::query::Stats;
use crate::analytics::query::Tier;

/// What `louver stats` prints.
pub fn render(stats: &Stats, look: &Look) -> String {
    let mut text = String::new();
    let zone = stats.time_zone.iana_name().unwrap_or("local time");
    let (from, to) = (minute(stats, stats.from), minute(stats, stats.to));
    line(&mut text, format_args!("{from} to {to} ({zone})\n"));
    totals(&mut text, stats);
    breakdown(&mut text, "By path", &stats.by_path, stats.k, look);
    breakdown(&mut text, "By protocol", &stats.by_protocol, stats.k, look);
    breakdown(&mut text, "By transport", &stats.by_transport, stats.k, look);
    breakdown(&mut text, "By player", &stats.by_client, stats.k, look);
    breakdown(&mut text, "By country", &stats.by_country, stats.k, look);
    charts::by_length(&mut text, stats, look);
    charts::staying(&mut text, stats, look);
    charts::by_day(&mut text, stats, look);
    charts::by_hour(&mut text, stats, look);
    charts::by_weekday_hour(&mut text, stats, look);
    served(&mut text, stats, look);
    notes(&mut text, stats);
    text
}

pub(super) fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a string does not fail");
    text.truncate(text.trim_end_matches(' ').len());
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
    if stats.tier == Tier::Console {
        let (now, live) = (stats.live.sessions, where_now(&stats.live));
        line(text, format_args!("Watching now  {now:>9}{live}"));
    }
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
fn breakdown(text: &mut String, title: &str, cells: &[Cell<String>], k: u32, look: &Look) {
    if cells.is_empty() {
        return;
    }
    let names = cells.iter().map(|cell| cell.key.chars().count());
    let width = names.chain([title.len()]).max().unwrap_or(0);
    // Where it is narrow, two numbers are enough.
    let shown = if look.width < width + 2 + WIDTH_OF_NUMBERS {
        2
    } else {
        4
    };
    let length = look.bar_length(width + 4 + WIDTH_OF_NUMBERS);
    let head = numbers(&["sessions", "viewer-days", "watch time", "peak"][..shown]);
    let head = format!("{title:<width$}  {:length$}{head}", "");
    line(text, format_args!("\n{}", look.title(&head)));
    let mut cells: Vec<_> = cells.iter().collect();
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.counts.map(|counts| counts.sessions)));
    let sessions = cells.iter().filter_map(|cell| cell.counts).map(|c| c.sessions);
    let most = sessions.max().unwrap_or(0);
    for cell in cells {
        let key = &cell.key;
        let Some(counts) = cell.counts else {
            let why = look.dim(&format!("hidden: fewer than {k} viewers, or next to such a row"));
            line(text, format_args!("{key:<width$}  {why}"));
            continue;
        };
        let of_cell = [
            counts.sessions.to_string(),
            counts.viewer_days.to_string(),
            duration(counts.watch_seconds),
            counts.peak_concurrent.to_string(),
        ];
        let bar = look.bar(counts.sessions, most, length);
        line(
            text,
            format_args!("{key:<width$}  {bar}{}", numbers(&of_cell[..shown])),
        );
    }
}

/// Columns of the numbers of a breakdown.
const NUMBERS: [usize; 4] = [8, 11, 10, 4];
const WIDTH_OF_NUMBERS: usize = 8 + 11 + 10 + 4 + 3 * 2;

/// The columns after the bar.
fn numbers(texts: &[impl AsRef<str>]) -> String {
    let mut row = String::new();
    for (text, width) in texts.iter().zip(NUMBERS) {
        let _ = write!(row, "  {:>width$}", text.as_ref()); // a String takes everything
    }
    row
}

/// How well it was served, as far as something is known of that.
fn served(text: &mut String, stats: &Stats, look: &Look) {
    let health = &stats.health;
    let mut lines = Vec::new();
    if let Some([half, most]) = health.startup_ms {
        lines.push(format!(
            "First picture      {half} ms for half of them, {most} ms for nine of ten"
        ));
    }
    if let Some([half, most]) = health.loss_per_million {
        let percent = |n: i64| n as f64 / 10_000.0;
        let (half, most) = (percent(half), percent(most));
        lines.push(format!(
            "Packets lost       {half} % for half of them, {most} % for nine of ten"
        ));
    }
    if let Some(jumped) = health.jumped_per_thousand {
        let share = jumped as f64 / 10.0;
        lines.push(format!(
            "Fell behind        {share} % of sessions, and went on at a later picture"
        ));
    }
    if health.attempts > 0 {
        lines.push(format!("Got no picture     {} requests", health.attempts));
    }
    if health.online_seconds > 0 {
        lines.push(format!("Streams were there {}", duration(health.online_seconds)));
    }
    if !lines.is_empty() {
        line(text, format_args!("\n{}", look.title("How it was served")));
        lines.iter().for_each(|of| line(text, format_args!("{of}")));
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
    if stats.tier == Tier::Published {
        let k = stats.k;
        line(
            text,
            format_args!(
                "Days that are over, rounded down to multiples of {k}; totals are sums of what is shown."
            ),
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
pub(super) fn duration(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} m {:02} s", seconds % 60),
        3600..360_000 => format!("{hours} h {:02} m", minutes % 60),
        _ => format!("{hours} h"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::analytics::query::Health;
    use crate::analytics::query::Staying;

    use jiff::tz::TimeZone;

    use super::*;

    pub(in crate::analytics) fn counts(sessions: u64) -> Option<Counts> {
        Some(Counts {
            sessions,
            viewer_days: sessions,
            watch_seconds: sessions * 100,
            peak_concurrent: 3,
            views: 2,
        })
    }

    pub(in crate::analytics) fn stats() -> Stats {
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
            by_day: Vec::new(),
            tier: Tier::Console,
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
        let text = render(&stats(), &Look::plain(true));
        let expected = "\
2026-11-21 00:00 to 2026-11-21 03:30 (Europe/Berlin)

Watching now          3   (door 1, webcam 2, machines 1)
Sessions             16
Views                 2
Viewer-days          16
Watch time    26 m 40 s
Peak                  3

By path                                  sessions  viewer-days  watch time  peak
webcam   ██████████████████████████████        10           10   16 m 40 s     3
door     ██████████████████                     6            6   10 m 00 s     3

By protocol                              sessions  viewer-days  watch time  peak
rtsp         ██████████████████████████        14           14   23 m 20 s     3
mjpeg        hidden: fewer than 5 viewers, or next to such a row

By length                                                sessions
to 10 s        ████████████████████████                         6
to 15 m 00 s   ████████████████████████████████████████        10

Still watching (estimated)
after 5 m 00 s    █████████████████████████                   62 %

By hour                                            sessions  watch time
00:00    hidden: fewer than 5 viewers, or next to it
01:00    █████                                            1    1 m 40 s
02:00    ████████████████████████████████████████         8   13 m 20 s
";
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.contains("recorders and monitors, 2 sessions, 3 m 20 s"),
            "{text}"
        );
        assert!(!text.contains("How it was served"), "nothing is known of that");
    }

    #[test]
    fn a_narrow_terminal_gets_fewer_columns_and_plain_text_is_ascii() {
        let mut stats = stats();
        stats.health.startup_ms = Some([40, 120]);
        stats.health.loss_per_million = Some([100, 5000]);
        for width in [30, 45, 64, 80, 132] {
            let look = Look {
                width,
                ..Look::plain(false)
            };
            let text = render(&stats, &look);
            assert!(text.is_ascii(), "{text}");
            assert_eq!(text.contains("peak"), width >= 52, "{width}: {text}");
            assert_eq!(text.contains("webcam   ##"), width >= 64, "{width}: {text}");
        }
        let text = render(&stats, &Look::plain(false));
        assert!(text.contains("\nPackets lost       0.01 % for half"), "{text}");
    }

    #[test]
    fn what_is_published_says_so_and_tells_nothing_of_now() {
        let mut stats = stats();
        stats.tier = Tier::Published;
        let text = render(&stats, &Look::plain(true));
        assert!(
            !text.contains("Watching now") && text.contains("multiples of 5"),
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
