//! One of the connections that may be there at a time.

use std::sync::Arc;

use crate::base::seats::Taken;
use crate::telemetry::Metrics;

/// A connection counts for as long as this lives, whoever holds it.
pub(super) struct Seat {
    _taken: Taken,
    metrics: Arc<Metrics>,
}

impl Seat {
    pub(super) fn new(taken: Taken, metrics: Arc<Metrics>) -> Self {
        metrics.connections.inc();
        Self {
            _taken: taken,
            metrics,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}
