//! From rows to counts: one day's sessions become leaves, by arithmetic alone.
//!
//! The same functions make the leaves that are stored when a day is added up and those of the days that are
//! not yet, so an answer does not change when its days are. A leaf is about one fact (`protocol`, `client`,
//! `hour` ...) in one scope (a path, or all); two facts are never crossed. Not here: the store, what is
//! shown to whom.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A day is added up this long after it closed.
const KEPT_MS: i64 = 24 * 3_600_000;

const HOUR_MS: i64 = 3_600_000;

/// A session as it lies in the store. All times are milliseconds since 1970.
pub(super) struct Row {
    /// Its viewer's number or, once that is gone, its own.
    pub(super) viewer: [u8; 16],
    pub(super) path: Arc<str>,
    pub(super) protocol: Arc<str>,
    pub(super) transport: Arc<str>,
    pub(super) client: Arc<str>,
    pub(super) machine: bool,
    pub(super) started_ms: i64,
    /// Whether its beginning is in a leaf already.
    pub(super) counted: bool,
    /// When it played, as far as no leaf has it.
    pub(super) spans: Vec<Range<i64>>,
}

impl Row {
    fn began_in(&self, window: &Range<i64>) -> bool {
        !self.counted && window.contains(&self.started_ms)
    }
    fn played_in(&self, window: &Range<i64>) -> impl Iterator<Item = Range<i64>> {
        let window = window.clone();
        self.spans
            .iter()
            .map(move |span| span.start.max(window.start)..span.end.min(window.end))
            .filter(|span| !span.is_empty())
    }
    fn is_in(&self, window: &Range<i64>) -> bool {
        self.began_in(window) || self.played_in(window).next().is_some()
    }
}

/// What a leaf is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dimension {
    /// The whole audience of the scope.
    All,
    Protocol,
    Transport,
    Client,
    /// `value` is the hour's first second since 1970.
    Hour,
    /// What is no audience.
    Machines,
}

impl Dimension {
    pub(super) const ALL: [Self; 6] = [
        Self::All,
        Self::Protocol,
        Self::Transport,
        Self::Client,
        Self::Hour,
        Self::Machines,
    ];
    /// The name in the store.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Protocol => "protocol",
            Self::Transport => "transport",
            Self::Client => "client",
            Self::Hour => "hour",
            Self::Machines => "machines",
        }
    }
}

/// Scope (a path, or empty for all), fact, and which.
pub(super) type Key = (Arc<str>, Dimension, Arc<str>);

/// Counts of one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Sessions that began.
    pub(super) sessions: u64,
    /// Distinct viewers of those; for an hour, of those who watched in it.
    pub(super) viewers: u64,
    pub(super) watch_ms: u64,
    pub(super) peak: u64,
}

/// A calendar day of a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Day {
    /// Days since 1970-01-01.
    pub(super) number: i64,
    /// From its first moment to that of the next day; 23 to 25 hours.
    pub(super) window: Range<i64>,
    date: Date,
}

impl Day {
    /// The day that a moment is in.
    pub(super) fn of(ms: i64, zone: &TimeZone) -> Self {
        let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        Self::on(at.to_zoned(zone.clone()).date(), zone)
    }
    /// The day after.
    pub(super) fn next(&self, zone: &TimeZone) -> Self {
        Self::on(self.date.tomorrow().unwrap_or(Date::MAX), zone)
    }
    /// So many days before.
    pub(super) fn back(&self, days: i64, zone: &TimeZone) -> Self {
        Self::on(self.date.checked_sub(days.days()).unwrap_or(Date::MIN), zone)
    }
    fn on(date: Date, zone: &TimeZone) -> Self {
        let start = |date: Date| {
            date.to_zoned(zone.clone())
                .map(|z| z.timestamp().as_millisecond())
        };
        let first = start(date).unwrap_or(i64::MIN);
        let next = date.tomorrow().and_then(start).unwrap_or(i64::MAX);
        Self {
            number: date.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24,
            window: first..next,
            date,
        }
    }
    /// Its hours, counted from its first moment; the last may be shorter.
    pub(super) fn hours(&self) -> impl Iterator<Item = Range<i64>> {
        let end = self.window.end;
        (self.window.start..end)
            .step_by(HOUR_MS as usize)
            .map(move |start| start..(start + HOUR_MS).min(end))
    }
    /// The hour that a moment of this day is in.
    pub(super) fn hour_of(&self, ms: i64) -> Range<i64> {
        let start = ms - (ms - self.window.start).rem_euclid(HOUR_MS);
        start..(start + HOUR_MS).min(self.window.end)
    }
}

/// The first moment of the days that are not added up yet: yesterday's and today's.
pub(super) fn kept_from(now_ms: i64, zone: &TimeZone) -> i64 {
    Day::of(now_ms - KEPT_MS, zone).window.start
}

/// The leaves of one day, of as much of it as lies in `window`. Leaves in which nothing happened are left
/// out.
pub(super) fn of_day(rows: &[Row], day: &Day, window: &Range<i64>) -> BTreeMap<Key, Leaf> {
    let window = day.window.start.max(window.start)..day.window.end.min(window.end);
    let mut scopes: BTreeMap<Arc<str>, Vec<&Row>> = BTreeMap::new();
    let everywhere: Arc<str> = "".into();
    for row in rows.iter().filter(|row| row.is_in(&window)) {
        scopes.entry(row.path.clone()).or_default().push(row);
        scopes.entry(everywhere.clone()).or_default().push(row);
    }
    let mut leaves = BTreeMap::new();
    for (scope, rows) in scopes {
        let mut put = |dimension, value: &Arc<str>, leaf: Leaf| {
            if leaf != Leaf::default() {
                leaves.insert((scope.clone(), dimension, value.clone()), leaf);
            }
        };
        let (machines, audience): (Vec<&Row>, Vec<&Row>) = rows.into_iter().partition(|row| row.machine);
        put(Dimension::Machines, &everywhere, measure(&machines, &window));
        put(Dimension::All, &everywhere, measure(&audience, &window));
        for (dimension, fact) in FACTS {
            for (value, rows) in group(&audience, fact) {
                put(dimension, &value, measure(&rows, &window));
            }
        }
        for hour in day.hours() {
            let part = hour.start.max(window.start)..hour.end.min(window.end);
            let value = (hour.start / 1000).to_string().into();
            put(Dimension::Hour, &value, measure_hour(&audience, &part));
        }
    }
    leaves
}

/// A fact of a session that has a breakdown.
type Fact = fn(&Row) -> &Arc<str>;

const FACTS: [(Dimension, Fact); 3] = [
    (Dimension::Protocol, |row| &row.protocol),
    (Dimension::Transport, |row| &row.transport),
    (Dimension::Client, |row| &row.client),
];

fn group<'r>(rows: &[&'r Row], fact: Fact) -> BTreeMap<Arc<str>, Vec<&'r Row>> {
    let mut groups: BTreeMap<Arc<str>, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        groups.entry(fact(row).clone()).or_default().push(row);
    }
    groups
}

fn measure(rows: &[&Row], window: &Range<i64>) -> Leaf {
    let began = rows.iter().filter(|row| row.began_in(window));
    let viewers: HashSet<_> = began.clone().map(|row| row.viewer).collect();
    Leaf {
        sessions: began.count() as u64,
        viewers: viewers.len() as u64,
        watch_ms: watched(rows, window),
        peak: peak(rows, window),
    }
}

/// As [`measure`], but a viewer is in every hour in which they watch, since their watch time is.
fn measure_hour(rows: &[&Row], hour: &Range<i64>) -> Leaf {
    let there: Vec<&Row> = rows.iter().copied().filter(|row| row.is_in(hour)).collect();
    let viewers: HashSet<_> = there.iter().map(|row| row.viewer).collect();
    Leaf {
        viewers: viewers.len() as u64,
        ..measure(&there, hour)
    }
}

fn watched(rows: &[&Row], window: &Range<i64>) -> u64 {
    let spans = rows.iter().flat_map(|row| row.played_in(window));
    spans.map(|span| (span.end - span.start).unsigned_abs()).sum()
}

/// The most spans at one moment. Who ends when another begins was not there at the same time.
fn peak(rows: &[&Row], window: &Range<i64>) -> u64 {
    let spans = rows.iter().flat_map(|row| row.played_in(window));
    let mut steps: Vec<(i64, i64)> = spans.flat_map(|span| [(span.start, 1), (span.end, -1)]).collect();
    steps.sort_unstable(); // at the same moment, -1 comes first
    let (mut now, mut most) = (0_i64, 0_i64);
    for (_, step) in steps {
        now += step;
        most = most.max(now);
    }
    most.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_MS: i64 = 24 * HOUR_MS;

    fn row(viewer: u8, path: &str, spans: &[(i64, i64)]) -> Row {
        Row {
            viewer: [viewer; 16],
            path: path.into(),
            protocol: "rtsp".into(),
            transport: "tcp".into(),
            client: "VLC".into(),
            machine: false,
            started_ms: spans[0].0,
            counted: false,
            spans: spans.iter().map(|(from, to)| *from..*to).collect(),
        }
    }

    fn leaf(leaves: &BTreeMap<Key, Leaf>, scope: &str, dimension: Dimension, value: &str) -> Leaf {
        leaves
            .get(&(scope.into(), dimension, value.into()))
            .copied()
            .unwrap_or_default()
    }

    fn whole(rows: &[Row]) -> BTreeMap<Key, Leaf> {
        let day = Day::of(0, &TimeZone::UTC);
        of_day(rows, &day, &day.window)
    }

    #[test]
    fn who_ends_as_another_begins_makes_no_peak_of_two() {
        let rows = [row(1, "a", &[(0, 1000)]), row(2, "a", &[(1000, 2000)])];
        assert_eq!(leaf(&whole(&rows), "", Dimension::All, "").peak, 1);
        let rows = [row(1, "a", &[(0, 1001)]), row(2, "a", &[(1000, 2000)])];
        assert_eq!(leaf(&whole(&rows), "", Dimension::All, "").peak, 2);
    }

    #[test]
    fn pauses_are_neither_watched_nor_concurrent() {
        let rows = [
            row(1, "a", &[(0, 1000), (5000, 6000)]),
            row(2, "a", &[(2000, 4000)]),
        ];
        let all = leaf(&whole(&rows), "", Dimension::All, "");
        assert_eq!(
            (all.sessions, all.viewers, all.watch_ms, all.peak),
            (2, 2, 4000, 1)
        );
    }

    #[test]
    fn viewers_and_peaks_of_paths_do_not_add_up_but_sessions_do() {
        let rows = [
            row(1, "a", &[(0, 10)]),
            row(1, "b", &[(0, 10)]),
            row(2, "b", &[(20, 30)]),
        ];
        let leaves = whole(&rows);
        let all = leaf(&leaves, "", Dimension::All, "");
        assert_eq!((all.sessions, all.viewers, all.peak), (3, 2, 2));
        assert_eq!(leaf(&leaves, "a", Dimension::All, "").viewers, 1);
        let b = leaf(&leaves, "b", Dimension::All, "");
        assert_eq!((b.sessions, b.viewers, b.peak), (2, 2, 1));
    }

    #[test]
    fn machines_are_in_no_count_of_the_audience() {
        let mut robot = row(1, "a", &[(0, 10)]);
        robot.machine = true;
        robot.client = "Frigate".into();
        let leaves = whole(&[robot, row(2, "a", &[(0, 10)])]);
        assert_eq!(leaf(&leaves, "", Dimension::All, "").peak, 1);
        assert_eq!(leaf(&leaves, "", Dimension::Machines, "").sessions, 1);
        assert_eq!(leaf(&leaves, "", Dimension::Client, "Frigate"), Leaf::default());
    }

    #[test]
    fn a_session_past_midnight_counts_where_it_began_and_is_watched_in_both_days() {
        let rows = [row(1, "a", &[(DAY_MS - 1000, DAY_MS + 3000)])];
        let days = [Day::of(0, &TimeZone::UTC), Day::of(DAY_MS, &TimeZone::UTC)];
        let of = |day: &Day| leaf(&of_day(&rows, day, &day.window), "", Dimension::All, "");
        let (first, second) = (of(&days[0]), of(&days[1]));
        assert_eq!(
            (first.sessions, first.viewers, first.watch_ms, first.peak),
            (1, 1, 1000, 1)
        );
        assert_eq!(
            (second.sessions, second.viewers, second.watch_ms, second.peak),
            (0, 0, 3000, 1)
        );
    }

    #[test]
    fn watch_time_is_split_by_hours() {
        let leaves = whole(&[row(1, "a", &[(HOUR_MS - 1000, 2 * HOUR_MS + 500)])]);
        let hour = |n: i64| leaf(&leaves, "", Dimension::Hour, &(n * 3600).to_string());
        assert_eq!(
            [hour(0).watch_ms, hour(1).watch_ms, hour(2).watch_ms],
            [1000, 3_600_000, 500]
        );
        assert_eq!([hour(0).sessions, hour(1).sessions, hour(2).sessions], [1, 0, 0]);
        assert_eq!([hour(0).viewers, hour(1).viewers, hour(3).viewers], [1, 1, 0]);
    }

    #[test]
    fn days_are_of_the_zone_and_have_23_to_25_hours() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let spring = Day::of(at("2026-03-29T12:00:00Z"), &zone);
        assert_eq!(
            spring.window,
            at("2026-03-28T23:00:00Z")..at("2026-03-29T22:00:00Z")
        );
        assert_eq!(spring.hours().count(), 23);
        let autumn = Day::of(at("2026-10-25T12:00:00Z"), &zone);
        assert_eq!(autumn.hours().count(), 25);
        assert_eq!(autumn.next(&zone).number, autumn.number + 1);
        assert_eq!(autumn.back(7, &zone).number, autumn.number - 7);
        let india = TimeZone::get("Asia/Kolkata").unwrap();
        let day = Day::of(at("2026-11-21T12:00:00Z"), &india);
        let hour = at("2026-11-21T11:30:00Z")..at("2026-11-21T12:30:00Z");
        assert_eq!(day.hour_of(at("2026-11-21T12:00:00Z")), hour);
        assert!(day.hours().any(|h| h == hour));
    }

    #[test]
    fn yesterday_and_today_are_kept() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let from = |now| kept_from(at(now), &TimeZone::UTC);
        assert_eq!(from("2026-11-21T00:00:00Z"), at("2026-11-20T00:00:00Z"));
        assert_eq!(from("2026-11-21T23:59:59Z"), at("2026-11-20T00:00:00Z"));
    }

    proptest! {
        #[test]
        fn hours_add_up_to_the_day_and_the_peak_is_that_of_counting_each_moment(
            spans in prop::collection::vec((0_i64..200, 1_i64..100), 1..20),
        ) {
            let unit = HOUR_MS / 10;
            let rows: Vec<Row> = spans
                .iter()
                .enumerate()
                .map(|(n, (start, len))| {
                    let end = ((start + len) * unit).min(DAY_MS);
                    row(n as u8, "a", &[(start * unit, end)])
                })
                .collect();
            let leaves = whole(&rows);
            let all = leaf(&leaves, "", Dimension::All, "");
            let hours = leaves.iter().filter(|((scope, dimension, _), _)| {
                scope.is_empty() && *dimension == Dimension::Hour
            });
            let (sessions, watch): (Vec<u64>, Vec<u64>) =
                hours.map(|(_, l)| (l.sessions, l.watch_ms)).unzip();
            prop_assert_eq!(sessions.iter().sum::<u64>(), all.sessions);
            prop_assert_eq!(watch.iter().sum::<u64>(), all.watch_ms);
            let most = (0..240).map(|at| at * unit).map(|at| {
                rows.iter().filter(|r| r.spans[0].contains(&at)).count() as u64
            });
            prop_assert_eq!(most.max().unwrap(), all.peak);
        }
    }
}
