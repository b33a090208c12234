//! How often something may be tried, by everybody together: a limit per viewer would have to know viewers.

use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

/// A bucket of tries that fills with time.
pub(super) struct Budget {
    most: u32,
    every: Duration,
    /// Tries left, and until when that is reckoned.
    inner: Mutex<Option<(u32, Instant)>>,
}

impl Budget {
    /// `most` at once, and one more `every` so long.
    pub(super) fn new(most: u32, every: Duration) -> Self {
        Self {
            most,
            every,
            inner: Mutex::new(None),
        }
    }

    /// Takes one; false when there is none left.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut inner = self
            .inner
            .lock()
            .expect("no panic happens while the lock is held");
        let (left, since) = inner.get_or_insert((self.most, now));
        let passed = now.saturating_duration_since(*since).as_nanos() / self.every.as_nanos().max(1);
        let more = u32::try_from(passed).unwrap_or(u32::MAX);
        *left = left.saturating_add(more).min(self.most);
        *since = match *left == self.most {
            true => now,
            false => *since + self.every * more,
        };
        let some = *left > 0;
        *left = left.saturating_sub(1);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::base::clock::ManualClock;

    #[test]
    fn so_many_at_once_and_then_one_in_a_while() {
        let clock = ManualClock::new(std::time::UNIX_EPOCH);
        let budget = Budget::new(3, Duration::from_secs(10));
        let take = || budget.take(clock.now());
        assert!(take() && take() && take() && !take());
        clock.advance(Duration::from_secs(9));
        assert!(!take());
        clock.advance(Duration::from_secs(1));
        assert!(take() && !take());
        clock.advance(Duration::from_secs(1_000_000));
        assert!(take() && take() && take() && !take());
    }
}
