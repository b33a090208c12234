//! One of the connections that may be there at a time.

use std::sync::Arc;

use crate::base::seats::Taken;
use crate::egress::rtsp::guests::Guest;
use crate::telemetry::Metrics;

/// A connection counts for as long as this lives, whoever holds it.
pub(super) struct Seat {
    _taken: Taken,
    /// Its place among those of its host.
    _guest: Option<Guest>,
    metrics: Arc<Metrics>,
}

impl Seat {
    pub(super) fn new(taken: Taken, metrics: Arc<Metrics>) -> Self {
        metrics.connections.inc();
        Self {
            _taken: taken,
            _guest: None,
            metrics,
        }
    }
    /// It counts for its host as well.
    pub(super) fn of(mut self, guest: Option<Guest>) -> Self {
        self._guest = guest;
        self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}
