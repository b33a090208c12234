//! One of the connections that may be there at a time.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::telemetry::Metrics;

/// A connection counts for as long as this lives, whoever holds it.
pub(super) struct Seat {
    _permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

impl Seat {
    pub(super) fn new(permit: OwnedSemaphorePermit, metrics: Arc<Metrics>) -> Self {
        metrics.connections.inc();
        Self {
            _permit: permit,
            metrics,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}
