//! How long to wait before a source is tried again. Pure.

use std::time::Duration;

/// Waits that double up to a limit, with jitter, so that many sources that went together do not come
/// together.
pub(super) struct BackOff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl BackOff {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            next: first,
        }
    }
    /// The source has worked: its next failure is a new one.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
    /// The next wait: three quarters of it to the whole. `random` is any number.
    pub(super) fn next(&mut self, random: u8) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.max);
        wait.mul_f64(0.75 + f64::from(random) / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_begin_anew_after_success() {
        let mut back_off = BackOff::new(Duration::from_millis(500), Duration::from_secs(3));
        let waits: Vec<_> = (0..5).map(|_| back_off.next(255).as_millis()).collect();
        assert_eq!(waits, [499, 999, 1_998, 2_997, 2_997]);
        back_off.reset();
        assert_eq!(back_off.next(0), Duration::from_millis(375));
    }
}
