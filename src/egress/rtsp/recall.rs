//! Tells all connections that users or rules have changed, or that the server stops.
//!
//! One thing to wait for instead of two: what a connection waits for is a part of the memory of each of thousands.

use std::sync::Arc;
use std::sync::Mutex;

use tokio_util::sync::CancellationToken;

const NOT_POISONED: &str = "no panic happens while the lock is held";

/// Calls all connections to look whether they may go on.
#[derive(Clone, Default)]
pub struct Recall(Arc<Mutex<CancellationToken>>);

impl Recall {
    /// Calls who is there, and nobody who comes later.
    pub fn call(&self) {
        let waited_for = std::mem::take(&mut *self.0.lock().expect(NOT_POISONED));
        waited_for.cancel();
    }
    /// The next call. Take it before looking at what it tells of: then none is missed.
    pub(super) fn next(&self) -> CancellationToken {
        self.0.lock().expect(NOT_POISONED).clone()
    }
}
