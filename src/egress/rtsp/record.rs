//! An RTSP publisher's media on its way into the hub, by TCP or UDP.

use std::sync::Arc;
use std::time::Instant;

use crate::base::clock::SharedClock;
use crate::hub::Publisher;
use crate::media::TrackId;
use crate::proto::rtp::rtcp;
use crate::proto::rtp::rtcp::Rtcp;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

/// A publishing session's stream.
pub(super) struct Recording {
    publisher: Publisher,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    /// RECORD was answered, and PAUSE has not come since.
    running: bool,
    /// When media last came.
    heard: Instant,
}

impl Recording {
    pub(super) fn new(publisher: Publisher, clock: SharedClock, metrics: Arc<Metrics>) -> Self {
        let heard = clock.now();
        Self {
            publisher,
            clock,
            metrics,
            running: false,
            heard,
        }
    }
    /// Media counts from now on, or no more.
    pub(super) fn set_running(&mut self, running: bool) {
        self.running = running;
    }
    /// When media last came.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }
    /// Takes one packet of a track. Bad ones are counted and cost nothing else.
    pub(super) fn packet(&mut self, track: TrackId, is_rtcp: bool, packet: &[u8]) {
        self.heard = self.clock.now();
        if !self.running {
            return;
        }
        if is_rtcp {
            return self.report(track, packet);
        }
        if self.publisher.write_packet(track, packet).is_err() {
            self.metrics.lose(Reason::BadInput, 1);
        }
    }
    /// Publishes what has come together.
    pub(super) fn flush(&mut self) {
        self.publisher.flush();
    }

    fn report(&self, track: TrackId, packet: &[u8]) {
        let Ok(reports) = rtcp::parse(packet) else {
            return self.metrics.lose(Reason::BadInput, 1);
        };
        for report in reports {
            if let Rtcp::SenderReport { ntp, rtp_time, .. } = report {
                self.publisher.anchor(track, ntp, rtp_time);
            }
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        tracing::info!(path = %self.publisher.path().name(), "The publisher left.");
    }
}
