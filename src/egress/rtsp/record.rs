//! An RTSP publisher's media on its way into the hub, by TCP or UDP.

use std::sync::Arc;
use std::time::Instant;

use crate::base::clock::SharedClock;
use crate::hub::Publisher;
use crate::media::TrackId;
use crate::proto::mikey::Message;
use crate::proto::rtp::rtcp;
use crate::proto::rtp::rtcp::Rtcp;
use crate::proto::rtp::srtp::Receiver;
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
    /// Per track, what opens its packets, if they are SRTP.
    seals: Vec<Option<Receiver>>,
    opened: Vec<u8>,
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
            seals: Vec::new(),
            opened: Vec::new(),
        }
    }
    /// Packets of this track are SRTP.
    pub(super) fn unseal(&mut self, track: TrackId, message: &Message) {
        let n = usize::from(track.0);
        if self.seals.len() <= n {
            self.seals.resize_with(n + 1, || None);
        }
        self.seals[n] = Some(Receiver::new(&message.key, message.roll_over));
    }
    /// Whether there is a key for this track.
    pub(super) fn is_sealed(&self, track: TrackId) -> bool {
        matches!(self.seals.get(usize::from(track.0)), Some(Some(_)))
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
        let Some(Some(seal)) = self.seals.get_mut(usize::from(track.0)) else {
            return self.in_the_clear(track, is_rtcp, packet);
        };
        let mut opened = std::mem::take(&mut self.opened);
        opened.clear();
        opened.extend_from_slice(packet);
        let result = if is_rtcp {
            seal.rtcp(&mut opened)
        } else {
            seal.rtp(&mut opened)
        };
        match result {
            Ok(()) => self.in_the_clear(track, is_rtcp, &opened),
            Err(_) => self.metrics.lose(Reason::BadInput, 1),
        }
        self.opened = opened;
    }
    fn in_the_clear(&mut self, track: TrackId, is_rtcp: bool, packet: &[u8]) {
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
