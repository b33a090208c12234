//! Statistics as CSV (RFC 4180) for spreadsheets: one long table, a row per cell of each breakdown.
//!
//! Lines end with CR LF, cells are quoted where they must be. A cell that a spreadsheet would take for a formula gets
//! an apostrophe before it: paths are named by publishers, and opening a report must run nothing. The unit of each
//! column is in its name; a cell is empty where a number makes no sense or is hidden (`below_k` tells which). Each row
//! says of which range and tier it is, since rows get copied.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::analytics::query::Cell;
use crate::analytics::query::Counts;
use crate::analytics::query::Stats;
use crate::web::api::rfc3339;
use crate::web::api::stats::length_class;
use crate::web::api::stats::mean_concurrent;
use crate::web::api::stats::tier_name;

/// The type of such an answer.
pub(in crate::web) const CSV: &str = "text/csv; charset=utf-8; header=present";

const COLUMNS: [&str; 14] = [
    "breakdown",
    "value",
    "sessions_count",
    "views_count",
    "viewer_days_count",
    "watch_seconds",
    "peak_concurrent_sessions",
    "mean_concurrent_sessions",
    "still_watching_share",
    "below_k",
    "k_viewers",
    "tier",
    "from_time",
    "to_time",
];

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Which part of the statistics, by its name in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakdown {
    Total,
    Path,
    Protocol,
    Transport,
    Client,
    Country,
    Length,
    Staying,
    Day,
    Hour,
    WeekdayHour,
    Machines,
}

impl Breakdown {
    /// In the order of the table.
    pub const ALL: [Self; 12] = [
        Self::Total,
        Self::Path,
        Self::Protocol,
        Self::Transport,
        Self::Client,
        Self::Country,
        Self::Length,
        Self::Staying,
        Self::Day,
        Self::Hour,
        Self::WeekdayHour,
        Self::Machines,
    ];

    /// The name in the first column, in `?by=` and in `--by`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Path => "path",
            Self::Protocol => "protocol",
            Self::Transport => "transport",
            Self::Client => "client",
            Self::Country => "country",
            Self::Length => "length",
            Self::Staying => "staying",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::WeekdayHour => "weekday_hour",
            Self::Machines => "machines",
        }
    }

    /// The breakdown of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.name() == name)
    }
}

/// The statistics, or one breakdown of them, as a table.
pub fn stats_csv(stats: &Stats, by: Option<Breakdown>) -> String {
    let mut table = Table::new(stats);
    let all = Breakdown::ALL.into_iter();
    for of in all.filter(|of| by.is_none_or(|by| by == *of)) {
        table.add(of, stats);
    }
    table.text
}

/// Rows of a table, without its head.
pub(in crate::web) fn rows(table: &str) -> u64 {
    (table.lines().count() as u64).saturating_sub(1)
}

struct Table {
    text: String,
    /// What stands at the end of each row.
    about: [String; 4],
}

impl Table {
    fn new(stats: &Stats) -> Self {
        let time = |t: Timestamp| rfc3339(t, &stats.time_zone);
        let tier = tier_name(stats.tier);
        let mut text = String::new();
        line(&mut text, &COLUMNS);
        Self {
            text,
            about: [
                stats.k.to_string(),
                tier.to_owned(),
                time(stats.from),
                time(stats.to),
            ],
        }
    }

    fn add(&mut self, of: Breakdown, stats: &Stats) {
        let text = |key: &String| key.clone();
        match of {
            Breakdown::Total => self.counts(of, "", Some(stats.total)),
            Breakdown::Path => self.cells(of, &stats.by_path, text),
            Breakdown::Protocol => self.cells(of, &stats.by_protocol, text),
            Breakdown::Transport => self.cells(of, &stats.by_transport, text),
            Breakdown::Client => self.cells(of, &stats.by_client, text),
            Breakdown::Country => self.cells(of, &stats.by_country, text),
            // With the unit, or spreadsheets take "10-30" for a day in October.
            Breakdown::Length => {
                self.cells(of, &stats.by_length, |class| format!("{} s", length_class(class)))
            }
            Breakdown::Staying => {
                for point in &stats.staying {
                    let share = (point.per_thousand as f64 / 1000.0).to_string();
                    self.row(
                        of,
                        &format!("{} s", point.seconds),
                        [const { String::new() }; 6],
                        &share,
                        "",
                    );
                }
            }
            Breakdown::Day => self.cells(of, &stats.by_day, ToString::to_string),
            Breakdown::Hour => self.cells(of, &stats.by_hour, |hour| rfc3339(*hour, &stats.time_zone)),
            Breakdown::WeekdayHour => {
                for cell in &stats.by_weekday_hour {
                    let (day, hour) = cell.key;
                    let day = WEEKDAYS[usize::try_from(day).unwrap_or(0) % 7];
                    let mut numbers = [const { String::new() }; 6];
                    numbers[5] = cell
                        .counts
                        .map(|c| mean_concurrent(c).to_string())
                        .unwrap_or_default();
                    self.row(
                        of,
                        &format!("{day} {hour:02}:00"),
                        numbers,
                        "",
                        below_k(cell.counts),
                    );
                }
            }
            Breakdown::Machines => self.counts(of, "", Some(stats.machines)),
        }
    }

    fn cells<K>(&mut self, of: Breakdown, cells: &[Cell<K>], name: impl Fn(&K) -> String) {
        for cell in cells {
            self.counts(of, &name(&cell.key), cell.counts);
        }
    }

    fn counts(&mut self, of: Breakdown, value: &str, counts: Option<Counts>) {
        let numbers = counts.map(|c| {
            [
                c.sessions,
                c.views,
                c.viewer_days,
                c.watch_seconds,
                c.peak_concurrent,
            ]
            .map(|n| n.to_string())
        });
        let [sessions, views, viewer_days, watch, peak] = numbers.unwrap_or_default();
        let numbers = [sessions, views, viewer_days, watch, peak, String::new()];
        self.row(of, value, numbers, "", below_k(counts));
    }

    fn row(&mut self, of: Breakdown, value: &str, numbers: [String; 6], share: &str, below_k: &str) {
        let [a, b, c, d, e, f] = &numbers;
        let [k, tier, from, to] = &self.about;
        line(
            &mut self.text,
            &[
                of.name(),
                value,
                a,
                b,
                c,
                d,
                e,
                f,
                share,
                below_k,
                k,
                tier,
                from,
                to,
            ],
        );
    }
}

fn below_k(counts: Option<Counts>) -> &'static str {
    if counts.is_none() { "true" } else { "false" }
}

/// Adds a line of a table.
pub(super) fn line(table: &mut String, cells: &[&str]) {
    for (n, text) in cells.iter().enumerate() {
        if n > 0 {
            table.push(',');
        }
        table.push_str(&cell(text));
    }
    table.push_str("\r\n");
}

/// A text as a cell that is read as this text.
fn cell(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let safe = if formula {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    };
    if safe.contains([',', '"', '\r', '\n']) {
        return Cow::Owned(format!("\"{}\"", safe.replace('"', "\"\"")));
    }
    safe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::web::api::tests::stats;
    use jiff::tz::TimeZone;

    /// Reads a table as RFC 4180 has it, by its grammar.
    fn parse(table: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
        let mut chars = table.chars().peekable();
        let mut quoted = false;
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => cell.push(chars.next().unwrap()),
                '"' => quoted = !quoted,
                ',' if !quoted => row.push(std::mem::take(&mut cell)),
                '\r' if !quoted => {
                    assert_eq!(chars.next(), Some('\n'), "lines end with CR LF");
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                c => cell.push(c),
            }
        }
        assert!(!quoted && row.is_empty() && cell.is_empty(), "ends with a line");
        rows
    }

    #[test]
    fn every_breakdown_has_rows_of_as_many_cells_as_columns() {
        let table = stats_csv(&stats(TimeZone::UTC), None);
        let all = parse(&table);
        assert_eq!(all[0], COLUMNS);
        assert!(all.iter().all(|row| row.len() == COLUMNS.len()));
        assert_eq!(all.len() as u64, 1 + rows(&table));
        for of in Breakdown::ALL {
            let there = all[1..].iter().filter(|row| row[0] == of.name()).count();
            assert_eq!(there > 0, of != Breakdown::Country, "{of:?}"); // of which none is known there
            let alone = parse(&stats_csv(&stats(TimeZone::UTC), Some(of)));
            assert_eq!(alone.len(), 1 + there, "{of:?}");
            assert_eq!(Breakdown::named(of.name()), Some(of));
        }
        assert_eq!(Breakdown::named("viewer"), None);
    }

    #[test]
    fn numbers_stand_below_their_names_and_hidden_ones_are_empty() {
        let all = parse(&stats_csv(&stats(TimeZone::UTC), None));
        let row = |of: &str, value: &str| {
            let found = all.iter().find(|row| row[0] == of && row[1] == value);
            found.unwrap_or_else(|| panic!("{of} {value}: {all:?}"))[2..10].join("|")
        };
        assert_eq!(row("total", ""), "12|6|11|720|3|||false");
        assert_eq!(row("path", "webcam"), "9|4|8|540|3|||false");
        assert_eq!(row("path", "yard"), "|||||||true");
        assert_eq!(row("length", "60-300 s"), "7|3|6|420|3|||false");
        assert_eq!(row("day", "2026-03-01"), "12|6|11|720|3|||false");
        assert_eq!(row("hour", "2026-03-01T23:00:00Z"), "12|6|11|720|3|||false");
        assert_eq!(row("weekday_hour", "Mon 13:00"), "|||||1||false");
        assert_eq!(row("weekday_hour", "Sun 23:00"), "|||||||true");
        assert_eq!(row("staying", "30 s"), "||||||0.75|");
        assert_eq!(
            all[1][10..],
            ["5", "console", "2026-03-01T00:00:00Z", "2026-03-02T12:00:00Z"]
        );
    }

    #[test]
    fn no_cell_is_a_formula() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            (
                "=HYPERLINK(\"http://a\",\"b\")",
                "\"'=HYPERLINK(\"\"http://a\"\",\"\"b\"\")\"",
            ),
            ("floor/2-a", "floor/2-a"),
            ("a,b", "\"a,b\""),
            ("a\nb", "\"a\nb\""),
            ("", ""),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
        let mut odd = stats(TimeZone::UTC);
        odd.by_path[0].key = "-cmd|' /C calc'!A0".to_owned();
        let all = parse(&stats_csv(&odd, Some(Breakdown::Path)));
        assert_eq!(all[1][1], "'-cmd|' /C calc'!A0");
    }

    proptest! {
        #[test]
        fn whatever_a_cell_holds_a_reader_gets_it_back(texts in prop::collection::vec("\\PC*|[\r\n\",=@-]*", 1..6)) {
            let mut table = String::new();
            line(&mut table, &texts.iter().map(String::as_str).collect::<Vec<_>>());
            let read = parse(&table);
            prop_assert_eq!(read.len(), 1);
            for (read, text) in read[0].iter().zip(&texts) {
                prop_assert!(!read.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']));
                prop_assert!(read == text || read.strip_prefix('\'') == Some(text.as_str()));
            }
        }
    }
}
