//! From rows to counts: sessions become leaves, by arithmetic alone.
//!
//! The same functions make the leaves that are stored when an hour is added up and those of the hours that are
//! not yet, so an answer does not change when its hours are. A leaf is about one fact (`protocol`, `client`,
//! `hour` ...) in one scope (a path, or all); two facts are never crossed. Leaves of a day grow hour by hour:
//! sessions, watch time and views add up, a peak is the greatest, and distinct viewers add up because each row says
//! for whom it is the first of the day ([`First`]). Not here: the store, what is shown to whom, where days begin (`calendar`).

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::analytics::calendar::Day;

/// A session as it lies in the store. All times are milliseconds since 1970.
pub(super) struct Row {
    pub(super) id: [u8; 16],
    /// Its viewer's number or, once that is gone, its own.
    pub(super) viewer: [u8; 16],
    pub(super) path: Arc<str>,
    pub(super) protocol: Arc<str>,
    pub(super) transport: Arc<str>,
    pub(super) client: Arc<str>,
    /// Empty where none is known.
    pub(super) country: Arc<str>,
    pub(super) machine: bool,
    pub(super) started_ms: i64,
    /// Whether its beginning is in a leaf already.
    pub(super) counted: bool,
    /// [`First`]s of its viewer.
    pub(super) firsts: i64,
    /// When it began a view, unless a leaf has it already.
    pub(super) viewed_ms: Option<i64>,
    pub(super) ended: Option<Ended>,
    /// How long it played, as far as leaves have it.
    pub(super) watched_ms: i64,
    /// When it played, as far as no leaf has it.
    pub(super) spans: Vec<Range<i64>>,
}

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) at_ms: i64,
    /// How long it played.
    pub(super) watched_ms: i64,
    /// Whether it was the stream that ended, and not the interest in it.
    pub(super) cut: bool,
}

/// Bits of [`Row::firsts`]: for what its viewer came for the first time that day. Client and country have none of
/// their own, since they belong to the viewer.
pub(super) struct First;

impl First {
    pub(super) const HERE: i64 = 1;
    pub(super) const PROTOCOL: i64 = 4;
    pub(super) const TRANSPORT: i64 = 16;
    pub(super) const LENGTH: i64 = 64;
    /// The first session on one of the first three paths that its viewer watched: for `private`, as the next.
    pub(super) const AMONG_PATHS: i64 = 256;
    /// One of the first ten sessions of its viewer.
    pub(super) const AMONG_SESSIONS: i64 = 512;
    /// The same for a path: the next bit.
    pub(super) const fn of_path(bit: i64) -> i64 {
        bit << 1
    }
}

/// Classes of session lengths: each goes to this many seconds, the last one on.
pub(super) const LENGTHS: [i64; 9] = [10, 30, 60, 300, 900, 1800, 3600, 7200, 14_400];

/// The class of a length.
pub(super) fn length_class(watched_ms: i64) -> usize {
    LENGTHS.partition_point(|seconds| seconds * 1000 <= watched_ms)
}

impl Row {
    /// Whether its viewer has no number: at level `anonymous`, or because it is forgotten.
    pub(super) fn is_nameless(&self) -> bool {
        self.viewer == self.id
    }
    /// Whether its viewer came for the first time that day, at all or (of a path) there.
    pub(super) fn is_first(&self, bit: i64) -> bool {
        self.firsts & bit != 0
    }
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
    fn viewed_in(&self, window: &Range<i64>) -> bool {
        self.viewed_ms.is_some_and(|at| window.contains(&at))
    }
    fn ended_in(&self, window: &Range<i64>) -> Option<Ended> {
        self.ended.filter(|ended| window.contains(&ended.at_ms))
    }
    /// Whether something of it is in the window.
    fn is_in(&self, window: &Range<i64>) -> bool {
        self.began_in(window)
            || self.viewed_in(window)
            || self.ended_in(window).is_some()
            || self.played_in(window).next().is_some()
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
    Country,
    /// `value` is the hour's first second since 1970.
    Hour,
    /// Sessions that ended; `value` is the class of their length.
    Length,
    /// Those of them that the stream ended.
    Cut,
    /// What is no audience.
    Machines,
    /// Sessions and viewers of whom none counts for more than some (`private`).
    Bounded,
    /// [`Self::All`] of single days, which answers tell apart; `value` is the day's number. Never stored.
    Day,
}

impl Dimension {
    pub(super) const ALL: [Self; 11] = [
        Self::All,
        Self::Protocol,
        Self::Transport,
        Self::Client,
        Self::Country,
        Self::Hour,
        Self::Length,
        Self::Cut,
        Self::Machines,
        Self::Bounded,
        Self::Day,
    ];
    /// The name in the store.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Protocol => "protocol",
            Self::Transport => "transport",
            Self::Client => "client",
            Self::Country => "country",
            Self::Hour => "hour",
            Self::Length => "length",
            Self::Cut => "cut",
            Self::Machines => "machines",
            Self::Bounded => "bounded",
            Self::Day => "day",
        }
    }
    /// The dimension of a name in the store; `None` for one of a later version.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }
}

/// Scope (a path, or empty for all), fact, and which.
pub(super) type Key = (Arc<str>, Dimension, Arc<str>);

/// Counts of one day, or of a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Sessions that began (lengths: that ended).
    pub(super) sessions: u64,
    /// Distinct viewers of those, each in the part in which they came first; for an hour, of those who watched in it.
    pub(super) viewers: u64,
    pub(super) watch_ms: u64,
    pub(super) peak: u64,
    /// Views that reached ten seconds.
    pub(super) views: u64,
}

impl Leaf {
    /// Adds another part of the same day.
    pub(super) fn grow(&mut self, part: Self) {
        self.sessions += part.sessions;
        self.viewers += part.viewers;
        self.watch_ms += part.watch_ms;
        self.peak = self.peak.max(part.peak);
        self.views += part.views;
    }
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
        let bit = |bit| {
            if scope.is_empty() {
                bit
            } else {
                First::of_path(bit)
            }
        };
        let (machines, audience): (Vec<&Row>, Vec<&Row>) = rows.into_iter().partition(|row| row.machine);
        let here = bit(First::HERE);
        put(
            Dimension::Machines,
            &everywhere,
            measure(&machines, &window, here),
        );
        put(Dimension::All, &everywhere, measure(&audience, &window, here));
        for (dimension, first, fact) in FACTS {
            for (value, rows) in group(&audience, fact) {
                put(dimension, &value, measure(&rows, &window, bit(first)));
            }
        }
        let viewer = if scope.is_empty() {
            here
        } else {
            First::AMONG_PATHS
        };
        put(
            Dimension::Bounded,
            &everywhere,
            bounded(&audience, &window, viewer),
        );
        for ((dimension, class), leaf) in lengths(&audience, &window, bit(First::LENGTH)) {
            put(dimension, &class.to_string().into(), leaf);
        }
        for hour in day.hours() {
            let part = hour.start.max(window.start)..hour.end.min(window.end);
            if !part.is_empty() {
                let value = (hour.start / 1000).to_string().into();
                put(Dimension::Hour, &value, measure_hour(&audience, &part, here));
            }
        }
    }
    leaves
}

/// A fact of a session that has a breakdown.
type Fact = fn(&Row) -> &Arc<str>;

const FACTS: [(Dimension, i64, Fact); 4] = [
    (Dimension::Protocol, First::PROTOCOL, |row| &row.protocol),
    (Dimension::Transport, First::TRANSPORT, |row| &row.transport),
    (Dimension::Client, First::HERE, |row| &row.client),
    (Dimension::Country, First::HERE, |row| &row.country),
];

fn group<'r>(rows: &[&'r Row], fact: Fact) -> BTreeMap<Arc<str>, Vec<&'r Row>> {
    let mut groups: BTreeMap<Arc<str>, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| !fact(row).is_empty()) {
        groups.entry(fact(row).clone()).or_default().push(row);
    }
    groups
}

fn measure(rows: &[&Row], window: &Range<i64>, first: i64) -> Leaf {
    let mut leaf = Leaf {
        watch_ms: watched(rows, window),
        peak: peak(rows, window),
        ..Leaf::default()
    };
    for row in rows {
        if row.began_in(window) {
            leaf.sessions += 1;
            leaf.viewers += u64::from(row.is_first(first));
        }
        leaf.views += u64::from(row.viewed_in(window));
    }
    leaf
}

/// Sessions that begin, of each viewer no more than some, and viewers, on no more than some paths each.
fn bounded(rows: &[&Row], window: &Range<i64>, viewer: i64) -> Leaf {
    let mut leaf = Leaf::default();
    for row in rows.iter().filter(|row| row.began_in(window)) {
        leaf.sessions += u64::from(row.firsts & First::AMONG_SESSIONS != 0);
        leaf.viewers += u64::from(row.firsts & viewer != 0);
    }
    leaf
}

/// How many viewers at least. Of those without numbers, only sessions that were the first of the day are certainly of
/// different ones: else somebody who comes five times would be five.
pub(super) fn distinct<'r>(rows: impl Iterator<Item = &'r Row>, first: i64) -> usize {
    let (nameless, numbered): (Vec<&Row>, Vec<&Row>) = rows.partition(|row| row.is_nameless());
    let viewers: HashSet<_> = numbered.iter().map(|row| row.viewer).collect();
    viewers.len() + nameless.iter().filter(|row| row.is_first(first)).count()
}

/// As [`measure`], but a viewer is in every hour in which they watch, since their watch time is.
fn measure_hour(rows: &[&Row], hour: &Range<i64>, first: i64) -> Leaf {
    let there: Vec<&Row> = rows.iter().copied().filter(|row| row.is_in(hour)).collect();
    let watched_there = there
        .iter()
        .filter(|row| row.began_in(hour) || row.played_in(hour).next().is_some());
    let viewers = distinct(watched_there.copied(), first);
    Leaf {
        viewers: viewers as u64,
        ..measure(&there, hour, first)
    }
}

/// Sessions that ended in the window, by the class of their length.
fn lengths(rows: &[&Row], window: &Range<i64>, first: i64) -> BTreeMap<(Dimension, usize), Leaf> {
    let mut classes: BTreeMap<(Dimension, usize), Leaf> = BTreeMap::new();
    for row in rows {
        let Some(ended) = row.ended_in(window) else {
            continue;
        };
        let class = length_class(ended.watched_ms);
        let kinds = [Dimension::Length, Dimension::Cut];
        for kind in &kinds[..1 + usize::from(ended.cut)] {
            let leaf = classes.entry((*kind, class)).or_default();
            leaf.sessions += 1;
            leaf.viewers += u64::from(row.is_first(first));
        }
    }
    classes
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
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;
    use crate::analytics::calendar::HOUR_MS;

    const DAY_MS: i64 = 24 * HOUR_MS;

    fn row(viewer: u8, path: &str, spans: &[(i64, i64)]) -> Row {
        Row {
            id: [viewer; 16],
            viewer: [viewer; 16],
            path: path.into(),
            protocol: "rtsp".into(),
            transport: "tcp".into(),
            client: "VLC".into(),
            country: "FR".into(),
            machine: false,
            started_ms: spans[0].0,
            counted: false,
            firsts: !0,
            viewed_ms: None,
            ended: None,
            watched_ms: 0,
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
            Row {
                firsts: First::of_path(First::HERE),
                ..row(1, "b", &[(0, 10)])
            },
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
    fn who_has_no_number_and_comes_five_times_is_one_viewer() {
        let often: Vec<Row> = (0..5)
            .map(|n| Row {
                id: [n; 16],
                viewer: [n; 16], // as read back where no number is stored
                firsts: if n == 0 { !0 } else { 0 },
                ..row(n, "a", &[(i64::from(n) * 1000, i64::from(n) * 1000 + 500)])
            })
            .collect();
        let leaves = whole(&often);
        let hour = leaf(&leaves, "a", Dimension::Hour, "0");
        assert_eq!((hour.sessions, hour.viewers), (5, 1));
    }

    #[test]
    fn lengths_count_where_sessions_end_and_those_that_the_stream_cut_twice() {
        let ended = |at_ms, watched_ms, cut| {
            Some(Ended {
                at_ms,
                watched_ms,
                cut,
            })
        };
        let rows = [
            Row {
                ended: ended(9_999, 9_999, false),
                ..row(1, "a", &[(0, 9_999)])
            },
            Row {
                ended: ended(10_000, 10_000, true),
                ..row(2, "a", &[(0, 10_000)])
            },
            Row {
                ended: ended(DAY_MS, 1, true),
                ..row(3, "a", &[(DAY_MS - 1, DAY_MS)])
            },
        ];
        let leaves = whole(&rows);
        let of = |dimension, class| leaf(&leaves, "a", dimension, class).sessions;
        assert_eq!([of(Dimension::Length, "0"), of(Dimension::Length, "1")], [1, 1]);
        assert_eq!([of(Dimension::Cut, "0"), of(Dimension::Cut, "1")], [0, 1]);
        assert_eq!(length_class(i64::MAX / 2), LENGTHS.len());
    }

    #[test]
    fn hours_added_up_one_by_one_are_the_day() {
        let spans = [
            [(HOUR_MS / 2, 3 * HOUR_MS)],
            [(0, HOUR_MS)],
            [(HOUR_MS, 5 * HOUR_MS)],
        ];
        let mut rows: Vec<Row> = (0..).zip(spans).map(|(n, s)| row(n, "a", &s)).collect();
        rows[0].viewed_ms = Some(HOUR_MS / 2 + 10_000);
        let day = Day::of(0, &TimeZone::UTC);
        let mut sum: BTreeMap<Key, Leaf> = BTreeMap::new();
        for hour in day.hours() {
            for (key, part) in of_day(&rows, &day, &hour) {
                sum.entry(key).or_default().grow(part);
            }
        }
        assert_eq!(sum, whole(&rows));
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
