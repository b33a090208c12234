//! When to look for the next picture, and which pictures to keep.

use std::time::Duration;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

/// Shortest and longest time between two looks at a device.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// Devices are read without waiting (a read that waits cannot be ended when the device hangs). To look often
/// enough without spinning, most of the interval is slept through, then the looks come closer.
pub(crate) struct Pace {
    interval: Duration,
    last: Option<Instant>,
}

impl Pace {
    /// For a device of so many frames per second.
    pub(crate) fn new(fps: f64) -> Self {
        Self {
            interval: Duration::from_secs_f64(1.0 / fps.clamp(1.0, 240.0)),
            last: None,
        }
    }
    /// A picture has arrived.
    pub(crate) fn arrived(&mut self, now: Instant) {
        self.last = Some(now);
    }
    /// How long to sleep when there is none yet.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let Some(last) = self.last else {
            return Duration::from_millis(5);
        };
        let since = now.saturating_duration_since(last);
        let until_due = self.interval.saturating_sub(since);
        let late = since.saturating_sub(self.interval);
        // Before it is due: a little less than the rest. After: the later it is, the rarer.
        let early = until_due.saturating_sub(SHORTEST * 2);
        early.max(late / 4).clamp(SHORTEST, LONGEST)
    }
}

/// Sleeps in pieces, so that the end of the program is noticed.
pub(crate) fn nap(total: Duration, stop: &CancellationToken) {
    const PIECE: Duration = Duration::from_millis(50);
    let mut left = total;
    while !left.is_zero() && !stop.is_cancelled() {
        let piece = left.min(PIECE);
        std::thread::sleep(piece);
        left -= piece;
    }
}

/// Keeps fewer pictures than the device gives, evenly.
pub(crate) struct Decimator {
    /// Microseconds between two pictures that are kept; `None` keeps all.
    interval: Option<i64>,
    due: Option<i64>,
    origin: Option<Instant>,
}

impl Decimator {
    /// Keeps `wanted` of `given` pictures per second.
    pub(crate) fn new(wanted: f64, given: f64) -> Self {
        Self {
            interval: (wanted < given * 0.98).then(|| (1_000_000.0 / wanted.max(0.1)) as i64),
            due: None,
            origin: None,
        }
    }
    /// Whether to keep a picture that its device took at `device` microseconds, or that arrived `now`.
    pub(crate) fn keep(&mut self, device: Option<i64>, now: Instant) -> bool {
        let Some(interval) = self.interval else {
            return true;
        };
        let arrived = now.saturating_duration_since(*self.origin.get_or_insert(now));
        let at = device.unwrap_or_else(|| i64::try_from(arrived.as_micros()).unwrap_or(i64::MAX));
        let due = *self.due.get_or_insert(at);
        // A hair early is on time: rates are not exact.
        if at < due - interval / 20 {
            // A clock that was set back would stop the stream for as long.
            if due - at > 2 * interval {
                self.due = None;
            }
            return false;
        }
        let late = at - due > 2 * interval;
        self.due = Some(if late { at + interval } else { due + interval });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_interval_is_one_sleep_and_the_picture_is_seen_soon() {
        let start = Instant::now();
        let mut pace = Pace::new(30.0);
        pace.arrived(start);
        let mut now = start;
        let mut looks = 0;
        while now < start + Duration::from_micros(33_333) {
            now += pace.wait(now);
            looks += 1;
        }
        assert!(looks <= 4, "{looks} looks");
        assert!(now - start < Duration::from_micros(35_500));
        // A device that stopped is looked at ever more rarely.
        assert_eq!(pace.wait(start + Duration::from_secs(5)), LONGEST);
        assert_eq!(Pace::new(30.0).wait(start), Duration::from_millis(5));
    }

    #[test]
    fn thinning_is_even() {
        let now = Instant::now();
        let kept = |wanted, given: f64, seconds: i64| {
            let mut thin = Decimator::new(wanted, given);
            let step = 1_000_000.0 / given;
            let count = (seconds as f64 * given) as i64;
            (0..count)
                .filter(|n| thin.keep(Some((*n as f64 * step) as i64), now))
                .count()
        };
        assert_eq!(kept(30.0, 30.0, 10), 300);
        assert_eq!(kept(15.0, 30.0, 10), 150);
        assert_eq!(kept(12.0, 30.0, 10), 120);
        assert_eq!(kept(25.0, 30.0, 10), 250);
        assert_eq!(kept(1.0, 5.0, 10), 10);
    }

    #[test]
    fn thinning_goes_by_arrival_where_the_device_has_no_clock_and_survives_jumps() {
        let start = Instant::now();
        let mut thin = Decimator::new(10.0, 30.0);
        let kept = (0..30)
            .filter(|n| thin.keep(None, start + Duration::from_millis(33 * n)))
            .count();
        assert_eq!(kept, 10);
        let mut thin = Decimator::new(10.0, 30.0);
        assert!(thin.keep(Some(50_000_000), start));
        let back: Vec<bool> = (0..6).map(|n| thin.keep(Some(n * 33_333), start)).collect();
        assert_eq!(back.iter().filter(|k| **k).count(), 2, "{back:?}");
    }
}
