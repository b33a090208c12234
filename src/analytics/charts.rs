//! Charts of a report, drawn with characters: days, hours, weeks, lengths, who stays. Pure.
//!
//! A hidden value is drawn as one ([`Look::hidden`]), never as nothing. Not here: tables of numbers (`table`).

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;

use crate::analytics::look::Look;
use crate::analytics::query;
use crate::analytics::query::Cell;
use crate::analytics::query::Stats;
use crate::analytics::table::duration;
use crate::analytics::table::line;

/// More days than this are shown as a line per month.
const DAYS_WITH_BARS: usize = 31;

/// More hours than this (a day, also one of 25 hours) are shown as a line per day.
const HOURS_WITH_BARS: usize = 25;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A row per day, or for long ranges a row per month; nothing for a single day.
pub(super) fn by_day(text: &mut String, stats: &Stats, look: &Look) {
    if stats.by_day.len() < 2 {
        return;
    }
    if stats.by_day.len() <= DAYS_WITH_BARS {
        let names = |cell: &Cell<_>| weekday_and_date(cell.key);
        return bars(text, "By day", &stats.by_day, names, stats.k, look);
    }
    let Some(most) = most_watched(&stats.by_day) else {
        return;
    };
    heading(text, "Watch time by day of the month", stats.k, look);
    let mut months: BTreeMap<String, String> = BTreeMap::new();
    for cell in &stats.by_day {
        let month = months.entry(cell.key.strftime("%Y-%m").to_string()).or_default();
        if month.is_empty() {
            // The first month of a range may begin in its middle.
            month.push_str(&" ".repeat(usize::try_from(cell.key.day() - 1).unwrap_or(0)));
        }
        month.push(glyph(cell, most, look));
    }
    for (month, days) in months {
        line(text, format_args!("{month}  {}", days.trim_end()));
    }
}

fn weekday_and_date(date: jiff::civil::Date) -> String {
    date.strftime("%a %Y-%m-%d").to_string()
}

/// A row per hour of a single day, else a row per day with a character per hour.
pub(super) fn by_hour(text: &mut String, stats: &Stats, look: &Look) {
    if stats.by_hour.len() <= HOURS_WITH_BARS {
        let name = |cell: &Cell<Timestamp>| local(stats, cell.key, "%H:%M");
        return bars(text, "By hour", &stats.by_hour, name, stats.k, look);
    }
    let Some(most) = most_watched(&stats.by_hour) else {
        return;
    };
    heading(text, "Watch time by hour", stats.k, look);
    let mut days: Vec<(String, Vec<char>)> = Vec::new();
    for cell in &stats.by_hour {
        let day = local(stats, cell.key, "%a %Y-%m-%d");
        if days.last().is_none_or(|(last, _)| *last != day) {
            days.push((day, Vec::new()));
        }
        if let Some((_, hours)) = days.last_mut() {
            hours.push(glyph(cell, most, look));
        }
    }
    let label = days.iter().map(|(day, _)| day.len()).max().unwrap_or(0);
    let wide = wide(look, label);
    line(text, format_args!("{:label$}  {}", "", hours_of_day(wide)));
    for (day, hours) in days {
        row(text, &day, label, &hours, wide);
    }
}

/// What weeks are like: a row per weekday, a column per hour; each the mean of who watched at the same time.
pub(super) fn by_weekday_hour(text: &mut String, stats: &Stats, look: &Look) {
    let Some(most) = most_watched(&stats.by_weekday_hour) else {
        return;
    };
    let mean = most as f64 / 3600.0;
    let title = format!("Watching at the same time, mean of weeks (most: {mean:.1})");
    heading(text, &title, stats.k, look);
    let wide = wide(look, WEEKDAYS[0].len());
    line(text, format_args!("     {}", hours_of_day(wide)));
    for (day, name) in (0_i8..).zip(WEEKDAYS) {
        let hours = (0..24_i8).map(|hour| {
            let cell = stats.by_weekday_hour.iter().find(|cell| cell.key == (day, hour));
            match cell.map(|cell| cell.counts) {
                Some(Some(counts)) => look.shade(counts.watch_seconds, most),
                Some(None) => look.hidden(),
                None => ' ',
            }
        });
        row(text, name, name.len(), &hours.collect::<Vec<_>>(), wide);
    }
}

/// A row per class of length, the shortest first.
pub(super) fn by_length(text: &mut String, stats: &Stats, look: &Look) {
    let sessions = |cell: &Cell<usize>| cell.counts.map(|counts| counts.sessions);
    let Some(most) = stats.by_length.iter().filter_map(sessions).max() else {
        return;
    };
    let length = look.bar_length(25);
    let title = format!("{:<13}  {:length$}  sessions", "By length", "");
    line(text, format_args!("\n{}", look.title(&title)));
    for cell in &stats.by_length {
        let name = length_name(cell.key);
        match sessions(cell) {
            Some(sessions) => {
                let bar = look.bar(sessions, most, length);
                line(text, format_args!("{name:<13}  {bar}  {sessions:>8}"));
            }
            None => line(text, format_args!("{name:<13}  {}", look.dim("hidden"))),
        }
    }
}

fn length_name(class: usize) -> String {
    let limits = query::length_limits();
    match limits.get(class) {
        Some(to) => format!("to {}", duration(to.unsigned_abs())),
        None => format!(
            "over {}",
            duration(limits.last().map_or(0, |last| last.unsigned_abs()))
        ),
    }
}

/// The curve of those who still watch, lying on its side.
pub(super) fn staying(text: &mut String, stats: &Stats, look: &Look) {
    if stats.staying.is_empty() {
        return;
    }
    let length = look.bar_length(26);
    let title = format!("{:<16}", "Still watching");
    line(
        text,
        format_args!("\n{} (estimated)", look.title(title.trim_end())),
    );
    for point in &stats.staying {
        let after = format!("after {}", duration(point.seconds.unsigned_abs()));
        let bar = look.bar(point.per_thousand, 1000, length);
        let share = point.per_thousand as f64 / 10.0;
        line(text, format_args!("{after:<16}  {bar}  {share:>4.0} %"));
    }
}

/// Rows with a bar of watch time each.
fn bars<K>(
    text: &mut String,
    title: &str,
    cells: &[Cell<K>],
    name: impl Fn(&Cell<K>) -> String,
    k: u32,
    look: &Look,
) {
    let Some(most) = most_watched(cells) else { return };
    let names: Vec<String> = cells.iter().map(name).collect();
    let label = names
        .iter()
        .map(String::len)
        .chain([title.len()])
        .max()
        .unwrap_or(0);
    let length = look.bar_length(label + 26);
    let head = format!(
        "{title:<label$}  {:length$}  {:>8}  {:>10}",
        "", "sessions", "watch time"
    );
    line(text, format_args!("\n{}", look.title(&head)));
    for (name, cell) in names.iter().zip(cells) {
        match cell.counts {
            Some(counts) => {
                let bar = look.bar(counts.watch_seconds, most, length);
                let (sessions, watch) = (counts.sessions, duration(counts.watch_seconds));
                line(
                    text,
                    format_args!("{name:<label$}  {bar}  {sessions:>8}  {watch:>10}"),
                );
            }
            None => {
                let hidden = look.dim(&format!("hidden: fewer than {k} viewers, or next to it"));
                line(text, format_args!("{name:<label$}  {hidden}"));
            }
        }
    }
}

/// The longest watch time that is shown; `None` when there is nothing to draw.
fn most_watched<K>(cells: &[Cell<K>]) -> Option<u64> {
    let watched = cells
        .iter()
        .filter_map(|cell| cell.counts)
        .map(|c| c.watch_seconds);
    watched.max().filter(|most| *most > 0)
}

fn glyph<K>(cell: &Cell<K>, most: u64, look: &Look) -> char {
    cell.counts
        .map_or(look.hidden(), |counts| look.height(counts.watch_seconds, most))
}

fn heading(text: &mut String, title: &str, k: u32, look: &Look) {
    let hidden = look.hidden();
    let legend = look.dim(&format!("({hidden} hidden: fewer than {k} viewers)"));
    line(text, format_args!("\n{} {legend}", look.title(title)));
}

/// Characters for an hour beside a label.
fn wide(look: &Look, label: usize) -> usize {
    (look.width.saturating_sub(label + 2) / 25).clamp(1, 3)
}

/// Above hours: 0, 6, 12, 18.
fn hours_of_day(wide: usize) -> String {
    let mut text = String::new();
    for hour in [0, 6, 12, 18] {
        let _ = write!(text, "{hour:<width$}", width = 6 * wide); // a String takes everything
    }
    text.trim_end().to_owned()
}

fn row(text: &mut String, name: &str, label: usize, glyphs: &[char], wide: usize) {
    let drawn: String = glyphs
        .iter()
        .flat_map(|glyph| std::iter::repeat_n(*glyph, wide))
        .collect();
    line(text, format_args!("{name:<label$}  {}", drawn.trim_end()));
}

fn local(stats: &Stats, at: Timestamp, format: &str) -> String {
    at.to_zoned(stats.time_zone.clone()).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::Date;

    use super::*;
    use crate::analytics::query::Counts;
    use crate::analytics::query::Staying;
    use crate::analytics::table::tests::counts;
    use crate::analytics::table::tests::stats;

    const ASCII: Look = Look::plain(false);
    const UTF8: Look = Look::plain(true);

    fn days(first: &str, sessions: impl IntoIterator<Item = Option<u64>>) -> Vec<Cell<Date>> {
        let first: Date = first.parse().unwrap();
        let dates = (0..).map(|n: i64| first.checked_add(n.days()).unwrap());
        let cells = dates.zip(sessions).map(|(key, n)| Cell {
            key,
            counts: n.and_then(counts),
        });
        cells.collect()
    }

    fn drawn(draw: impl Fn(&mut String, &Stats, &Look), stats: &Stats, look: Look) -> String {
        let mut text = String::new();
        draw(&mut text, stats, &look);
        text
    }

    #[test]
    fn days_have_bars_and_hidden_ones_say_so() {
        let mut stats = stats();
        stats.by_day = days("2026-11-20", [Some(4), None, Some(8)]);
        let expected = "
By day                                                    sessions  watch time
Fri 2026-11-20  ####################                             4    6 m 40 s
Sat 2026-11-21  hidden: fewer than 5 viewers, or next to it
Sun 2026-11-22  ########################################         8   13 m 20 s
";
        assert_eq!(drawn(by_day, &stats, ASCII), expected);
        stats.by_day.truncate(1);
        assert_eq!(drawn(by_day, &stats, ASCII), "", "a day alone is the total");
    }

    #[test]
    fn many_days_are_a_line_per_month_from_the_day_on_which_they_begin() {
        let mut stats = stats();
        let sessions = (0..40).map(|n| if n == 1 { None } else { Some(8) });
        stats.by_day = days("2026-01-30", sessions);
        let expected = "
Watch time by day of the month (· hidden: fewer than 5 viewers)
2026-01                               █·
2026-02  ████████████████████████████
2026-03  ██████████
";
        assert_eq!(drawn(by_day, &stats, UTF8), expected);
    }

    #[test]
    fn the_hours_of_one_day_have_bars_and_those_of_several_a_character() {
        let mut stats = stats();
        let text = drawn(by_hour, &stats, UTF8);
        assert!(text.contains("\n02:00    ████"), "{text}");
        let first = stats.by_hour[0].key;
        let hours = (0..48).map(|n: i64| Cell {
            key: first.checked_add(n.hours()).unwrap(),
            counts: match n {
                0 => None,
                5 => counts(8),
                _ => Some(Counts::default()),
            },
        });
        stats.by_hour = hours.collect();
        let expected = "
Watch time by hour (? hidden: fewer than 5 viewers)
                0           6           12          18
Sat 2026-11-21  ??        @@
Sun 2026-11-22
";
        assert_eq!(drawn(by_hour, &stats, ASCII), expected);
    }

    #[test]
    fn a_week_is_seven_rows_of_twenty_four_hours() {
        let mut stats = stats();
        stats.by_weekday_hour = (0..7)
            .flat_map(|day| (0..24).map(move |hour| (day, hour)))
            .map(|key| Cell {
                key,
                counts: match key {
                    (0, 0) => None,
                    (6, 23) => Some(Counts {
                        watch_seconds: 7200,
                        ..Counts::default()
                    }),
                    _ => Some(Counts::default()),
                },
            })
            .collect();
        let narrow = Look { width: 40, ..ASCII };
        let text = drawn(by_weekday_hour, &stats, narrow);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("(most: 2.0)"), "{text}");
        assert_eq!(lines[2], "     0     6     12    18");
        assert_eq!(lines[3], "Mon  ?");
        assert_eq!(lines[9], format!("Sun  {}@", " ".repeat(23)));
        assert_eq!(lines.len(), 10);
        stats.by_weekday_hour.clear();
        assert_eq!(drawn(by_weekday_hour, &stats, narrow), "");
    }

    #[test]
    fn who_stays_is_a_bar_of_all_who_came() {
        let mut stats = stats();
        stats.staying = vec![
            Staying {
                seconds: 10,
                per_thousand: 1000,
            },
            Staying {
                seconds: 300,
                per_thousand: 250,
            },
        ];
        let expected = "
Still watching (estimated)
after 10 s        ########################################   100 %
after 5 m 00 s    ##########                                  25 %
";
        assert_eq!(drawn(staying, &stats, ASCII), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_plain_text_is_ascii() {
        let mut stats = stats();
        stats.by_day = days("2026-11-01", (0..30).map(Some));
        let all = [by_day, by_hour, by_weekday_hour, by_length, staying];
        for width in [40, 60, 80, 200] {
            let look = Look { width, ..ASCII };
            for draw in all {
                let text = drawn(draw, &stats, look);
                assert!(text.is_ascii());
                let widest = text.lines().map(str::len).max().unwrap_or(0);
                assert!(widest <= width.max(60), "{width}: {text}");
            }
        }
    }
}
