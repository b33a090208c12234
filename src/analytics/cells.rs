//! Which cells of a breakdown are shown.
//!
//! Whatever is asked, the answer is counts, never rows. In a breakdown a cell with fewer than `k` distinct
//! viewers is empty, together with as many of its smallest neighbours as it takes that the hidden ones
//! cannot be had by subtraction: at least two, with `k` viewers among them. Over several days a cell is
//! shown when `k` distinct viewers were in it on one of them, since viewers of different days may be the
//! same people. Totals are exact: this is the operator's own view. (What is given to others will be made of
//! published cells alone.)
//!
//! Not here: where the counts come from (`query`, `leaves`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::analytics::calendar::Day;
use crate::analytics::leaves;
use crate::analytics::leaves::Dimension;
use crate::analytics::leaves::Leaf;
use crate::analytics::query;
use crate::analytics::query::Cell;
use crate::analytics::query::Counts;
use crate::analytics::query::Tier;
use crate::analytics::retention::Length;

/// A longer range has no breakdown by hour.
pub(super) const MOST_DAYS_BY_HOUR: i64 = 31;

/// A longer range begins, by day, with the first day of which something is known: more are never kept.
const MOST_DAYS_BY_DAY: i64 = 800;

/// A longer range looks at no hours at all.
pub(super) const MOST_DAYS_OF_HOURS: i64 = 92;

/// A shorter range has no breakdown by weekday and hour.
const LEAST_DAYS_BY_WEEKDAY: i64 = 28;

/// Counts of several days.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    leaf: Leaf,
    /// Distinct viewers of the day that had the most.
    most_viewers: u64,
}

impl Sum {
    pub(super) fn add(&mut self, day: Leaf) {
        self.add_sum(day, day.viewers);
    }
    /// Adds several days, of which the one with the most had so many viewers.
    pub(super) fn add_sum(&mut self, days: Leaf, most_viewers: u64) {
        self.leaf.grow(days);
        self.most_viewers = self.most_viewers.max(most_viewers);
    }
    /// The mean of so many.
    fn over(mut self, count: u64) -> Self {
        let count = count.max(1);
        self.leaf.sessions /= count;
        self.leaf.viewers /= count;
        self.leaf.watch_ms /= count;
        self.leaf.views /= count;
        self
    }
    /// Distinct viewers that were certainly in it: of different days, they may be the same people. Somebody
    /// who came the day before and stayed is in no count of viewers, but is there.
    fn viewers_to_protect(&self) -> u64 {
        self.most_viewers.max(u64::from(self.leaf != Leaf::default()))
    }
    fn counts(&self) -> Counts {
        Counts {
            sessions: self.leaf.sessions,
            viewer_days: self.leaf.viewers,
            watch_seconds: (self.leaf.watch_ms + 500) / 1000,
            peak_concurrent: self.leaf.peak,
            views: self.leaf.views,
        }
    }
}

pub(super) type Sums = BTreeMap<leaves::Key, Sum>;

/// Sums, and how to look at them.
pub(super) struct Answer<'a> {
    pub(super) sums: Sums,
    /// The path that was asked for, or empty: the scope of everything but `by_path`.
    pub(super) path: &'a str,
    /// Distinct viewers that a cell needs.
    pub(super) k: u64,
    pub(super) tier: Tier,
}

impl Answer<'_> {
    pub(super) fn total(&self, dimension: Dimension) -> Counts {
        let found = self.sums.get(&(self.path.into(), dimension, "".into()));
        found.copied().unwrap_or_default().counts()
    }
    pub(super) fn by(&self, dimension: Dimension) -> Vec<Cell<String>> {
        let cells = self.of(dimension);
        self.show(cells.map(|(value, sum)| (value.to_string(), *sum)))
    }
    fn of(&self, dimension: Dimension) -> impl Iterator<Item = (&Arc<str>, &Sum)> {
        self.sums
            .iter()
            .filter(move |((scope, of, _), _)| **scope == *self.path && *of == dimension)
            .map(|((_, _, value), sum)| (value, sum))
    }
    pub(super) fn by_path(&self) -> Vec<Cell<String>> {
        let paths = self
            .sums
            .iter()
            .filter(|((scope, of, _), _)| !scope.is_empty() && *of == Dimension::All);
        self.show(paths.map(|((scope, _, _), sum)| (scope.to_string(), *sum)))
    }
    pub(super) fn by_length(&self) -> Vec<Cell<usize>> {
        let classes = self.of(Dimension::Length);
        self.show(classes.filter_map(|(class, sum)| Some((class.parse().ok()?, *sum))))
    }
    /// Sessions by class of length: those that ended and those of which nobody knows how long they would have lasted,
    /// because the stream ended first or because they still play.
    pub(super) fn lengths(&self, playing: &[i64]) -> Vec<Length> {
        let mut lengths = vec![Length::default(); leaves::LENGTHS.len() + 1];
        let mut with = |dimension, add: fn(&mut Length, &Sum)| {
            for (class, sum) in self.of(dimension) {
                let class = class.parse::<usize>().ok();
                if let Some(length) = class.and_then(|class| lengths.get_mut(class)) {
                    add(length, sum);
                }
            }
        };
        with(Dimension::Length, |length, sum| {
            length.ended += sum.leaf.sessions;
            length.viewers += sum.viewers_to_protect();
        });
        with(Dimension::Cut, |length, sum| {
            length.ended = length.ended.saturating_sub(sum.leaf.sessions);
            length.cut += sum.leaf.sessions;
        });
        for watched_ms in playing {
            lengths[leaves::length_class(*watched_ms)].cut += 1;
        }
        lengths
    }
    /// Every day of the range, of a very long one those since the first of which something is known.
    pub(super) fn by_day(&self, asked: &Range<i64>, zone: &TimeZone) -> Vec<Cell<Date>> {
        let days: BTreeMap<i64, Sum> = self
            .of(Dimension::Day)
            .filter_map(|(number, sum)| Some((number.parse().ok()?, *sum)))
            .collect();
        let mut day = Day::of(asked.start, zone);
        let last = Day::of((asked.end - 1).max(asked.start), zone).number;
        if last - day.number >= MOST_DAYS_BY_DAY {
            let Some((first, _)) = days.first_key_value() else {
                return Vec::new();
            };
            day = Day::numbered((*first).max(day.number), zone);
        }
        let mut cells = Vec::new();
        while day.window.start < asked.end {
            let sum = days.get(&day.number).copied().unwrap_or_default();
            cells.push((day.date(), sum));
            day = day.next(zone);
        }
        self.show(cells.into_iter())
    }
    pub(super) fn by_hour(&self, asked: &Range<i64>, zone: &TimeZone) -> Vec<Cell<Timestamp>> {
        let hours = hours(asked, zone, MOST_DAYS_BY_HOUR).unwrap_or_default();
        self.show(
            hours
                .iter()
                .map(|hour| (query::timestamp(hour.start), self.hour(hour))),
        )
    }
    fn hour(&self, hour: &Range<i64>) -> Sum {
        let value = (hour.start / 1000).to_string().into();
        let key = (Arc::from(self.path), Dimension::Hour, value);
        self.sums.get(&key).copied().unwrap_or_default()
    }
    /// What weeks are like: the mean of each weekday's hours. Watch time over 3600 s is the mean of who watched at the
    /// same time.
    pub(super) fn by_weekday_hour(&self, asked: &Range<i64>, zone: &TimeZone) -> Vec<Cell<(i8, i8)>> {
        let long_enough = asked.end - asked.start >= LEAST_DAYS_BY_WEEKDAY * 86_400_000 - 3_600_000;
        let Some(hours) = hours(asked, zone, MOST_DAYS_OF_HOURS).filter(|_| long_enough) else {
            return Vec::new();
        };
        let mut week: BTreeMap<(i8, i8), (Sum, u64)> = BTreeMap::new();
        for hour in &hours {
            let local = query::timestamp(hour.start).to_zoned(zone.clone());
            let key = (local.weekday().to_monday_zero_offset(), local.hour());
            let (sum, count) = week.entry(key).or_default();
            let of_hour = self.hour(hour);
            sum.add_sum(of_hour.leaf, of_hour.most_viewers);
            *count += 1;
        }
        self.show(week.into_iter().map(|(key, (sum, count))| (key, sum.over(count))))
    }
    /// The cells of a table that may be seen.
    fn show<K>(&self, cells: impl Iterator<Item = (K, Sum)>) -> Vec<Cell<K>> {
        match self.tier {
            Tier::Console => protect(cells, self.k),
            Tier::Published => cells
                .map(|(key, sum)| Cell {
                    key,
                    counts: Some(sum.counts()),
                })
                .collect(),
        }
    }
}

/// The hours of a range; `None` when they are too many.
fn hours(asked: &Range<i64>, zone: &TimeZone, most_days: i64) -> Option<Vec<Range<i64>>> {
    let mut hours = Vec::new();
    let mut day = Day::of(asked.start, zone);
    let mut days = 0;
    while day.window.start < asked.end {
        days += 1;
        if days > most_days {
            return None;
        }
        hours.extend(
            day.hours()
                .filter(|hour| hour.start < asked.end && hour.end > asked.start),
        );
        day = day.next(zone);
    }
    Some(hours)
}

/// Empties the cells that show fewer than `k` viewers, and the smallest others until what is hidden cannot
/// be had by subtracting what is shown from the total: two cells at least, `k` viewers among them. Cells in
/// which nobody was are empty too; when there are no others, that nobody was there is no secret about
/// anybody.
fn protect<K>(cells: impl Iterator<Item = (K, Sum)>, k: u64) -> Vec<Cell<K>> {
    let cells: Vec<(K, Sum)> = cells.collect();
    let viewers = |n: &usize| cells[*n].1.viewers_to_protect();
    let mut by_size: Vec<usize> = (0..cells.len()).collect();
    by_size.sort_by_key(viewers);
    let mut hidden = by_size.iter().take_while(|n| viewers(n) < k).count();
    let among = |hidden: usize| by_size[..hidden].iter().map(viewers).sum::<u64>();
    while hidden < cells.len() && among(hidden) > 0 && (hidden < 2 || among(hidden) < k) {
        hidden += 1;
    }
    let mut shown = vec![true; cells.len()];
    by_size[..hidden].iter().for_each(|n| shown[*n] = false);
    let pairs = cells.into_iter().zip(shown);
    pairs
        .map(|((key, sum), shown)| Cell {
            key,
            counts: shown.then(|| sum.counts()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(viewers: u64) -> Sum {
        let mut sum = Sum::default();
        sum.add(Leaf {
            sessions: viewers,
            viewers,
            watch_ms: viewers * 1000,
            peak: viewers.min(1),
            views: 0,
        });
        sum
    }

    fn hidden(viewers: &[u64]) -> Vec<u64> {
        let cells = protect(viewers.iter().map(|n| (*n, sum(*n))), 5);
        cells
            .into_iter()
            .filter(|cell| cell.counts.is_none())
            .map(|cell| cell.key)
            .collect()
    }

    #[test]
    fn a_small_cell_takes_its_smallest_neighbours_with_it() {
        assert_eq!(hidden(&[9, 8, 7]), [0; 0]);
        assert_eq!(hidden(&[9, 3, 7]), [3, 7]);
        assert_eq!(hidden(&[9, 1, 1, 7]), [1, 1, 7]);
        assert_eq!(hidden(&[9, 4, 3, 7]), [4, 3]);
        assert_eq!(hidden(&[3]), [3]);
        assert_eq!(hidden(&[0, 9, 0]), [0, 0], "nobody is no secret");
        assert_eq!(hidden(&[0, 9, 1, 8]), [0, 1, 8]);
    }

    #[test]
    fn few_viewers_on_many_days_stay_few() {
        let mut week = Sum::default();
        (0..7).for_each(|_| week.add(sum(4).leaf));
        assert_eq!(protect([((), week)].into_iter(), 5)[0].counts, None);
        week.add(sum(5).leaf);
        assert_eq!(
            protect([((), week)].into_iter(), 5)[0]
                .counts
                .unwrap()
                .viewer_days,
            33
        );
    }

    #[test]
    fn who_stayed_from_the_day_before_is_protected_too() {
        let stayed = Sum {
            leaf: Leaf {
                watch_ms: 1000,
                peak: 1,
                ..Leaf::default()
            },
            most_viewers: 0,
        };
        let cells = protect([("a", stayed), ("b", sum(6)), ("c", sum(7))].into_iter(), 5);
        let hidden: Vec<_> = cells.iter().map(|cell| cell.counts.is_none()).collect();
        assert_eq!(hidden, [true, true, false]);
    }

    proptest! {
        #[test]
        fn what_is_hidden_cannot_be_had_by_subtraction(viewers in prop::collection::vec(0_u64..12, 1..9)) {
            let hidden = hidden(&viewers);
            let among: u64 = hidden.iter().sum();
            prop_assert!(viewers.iter().filter(|n| **n < 5).count() <= hidden.len());
            prop_assert!(among == 0 || hidden.len() == viewers.len() || (hidden.len() > 1 && among >= 5));
        }
    }
}
