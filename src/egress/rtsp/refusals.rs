//! How often refusals are logged: who guesses passwords shall not fill the disk with it.

use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// One line in so much time.
const EVERY: Duration = Duration::from_secs(1);

/// Refusals of a server.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Said>);

#[derive(Default)]
struct Said {
    last: Option<Instant>,
    /// Not logged since.
    untold: u64,
}

impl Refusals {
    /// Another one. `Some` if it is to be logged, with the number of those before it that were not.
    pub(super) fn tell(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().expect(NOT_POISONED);
        let due = said
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= EVERY);
        if !due {
            said.untold += 1;
            return None;
        }
        said.last = Some(now);
        Some(std::mem::take(&mut said.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_are_one_line_a_second_and_none_is_forgotten() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.tell(start), Some(0));
        for _ in 0..200 {
            assert_eq!(refusals.tell(start + EVERY / 2), None);
        }
        assert_eq!(refusals.tell(start + EVERY), Some(200));
        assert_eq!(refusals.tell(start + EVERY * 3), Some(0));
    }
}
