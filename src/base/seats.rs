//! How many there are of something, so that there are not too many.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

/// A count with a bound that is given with each asking, since it may change.
#[derive(Default)]
pub struct Seats(AtomicUsize);

/// One of them; given back when dropped.
pub struct Taken(Arc<Seats>);

impl Seats {
    /// One more, if there are fewer than `most`.
    pub fn take(self: &Arc<Self>, most: usize) -> Option<Taken> {
        let one_more = |n: usize| (n < most).then_some(n + 1);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.ok().map(|_| Taken(Arc::clone(self)))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_allowed_now_and_those_who_are_there_stay() {
        let seats = Arc::new(Seats::default());
        let (first, second) = (seats.take(2).unwrap(), seats.take(2).unwrap());
        assert!(seats.take(2).is_none());
        let third = seats.take(3).unwrap();
        drop(first);
        assert!(seats.take(2).is_none(), "fewer are allowed now");
        drop((second, third));
        assert!(seats.take(1).is_some());
    }
}
