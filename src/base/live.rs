//! Settings that may change while the program runs.

use std::fmt;
use std::sync::Arc;
use std::sync::RwLock;

const NOT_POISONED: &str = "no panic happens while the lock is held";

/// A value that its readers look up each time they need it. Clones are the same value.
///
/// Not for what is done per packet: a look takes a lock.
pub struct Live<T>(Arc<RwLock<Arc<T>>>);

impl<T> Live<T> {
    /// As it is from now on, until it is set.
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }
    /// As it is now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().expect(NOT_POISONED))
    }
    /// Changes it for whoever looks from now on.
    pub fn set(&self, value: T) {
        *self.0.write().expect(NOT_POISONED) = Arc::new(value);
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> Default for Live<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// Without the value: it may be a secret.
impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_seen_by_all_clones_and_not_by_those_who_looked_before() {
        let live = Live::new(1);
        let (clone, before) = (live.clone(), live.get());
        live.set(2);
        assert_eq!((*before, *clone.get()), (1, 2));
        assert_eq!(format!("{live:?}"), "Live");
    }
}
