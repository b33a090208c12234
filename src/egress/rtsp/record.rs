//! An RTSP publisher's media on its way into the hub, by TCP or UDP.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

use crate::base::clock::SharedClock;
use crate::egress::rtsp::publishers::Line;
use crate::egress::rtsp::publishers::Publishers;
use crate::egress::rtsp::reorder::Reorder;
use crate::egress::rtsp::reports::Reports;
use crate::hub::PathName;
use crate::hub::Publisher;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::mikey::Message;
use crate::proto::rtp;
use crate::proto::rtp::rtcp;
use crate::proto::rtp::rtcp::Rtcp;
use crate::proto::rtp::srtp::Receiver;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

/// A publishing session's stream.
pub(super) struct Recording {
    /// `None` after another publisher took over.
    line: Option<Line>,
    publishers: Arc<Publishers>,
    /// Told when the path is another's.
    attention: Arc<Notify>,
    /// Per track, the payload type that was announced.
    types: Vec<u8>,
    /// Per track, what overtook other datagrams; by TCP nothing does.
    reorder: Vec<Reorder>,
    /// What the publisher is told of its packets.
    reports: Reports,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    /// RECORD was answered, and PAUSE has not come since.
    running: bool,
    /// When anything last came, RTCP too.
    heard: Instant,
    /// When RTP last came, or since when it could.
    media: Instant,
    /// Data comes now and then: who announced nothing else may be silent.
    sparse: bool,
    /// Per track, what opens its packets, if they are SRTP.
    seals: Vec<Option<Receiver>>,
    /// Tracks that were announced as SRTP and have no key yet, a bit each.
    keyless: u16,
    opened: Vec<u8>,
}

impl Recording {
    /// `tracks` as this publisher announced them.
    pub(super) fn new(
        line: Line,
        tracks: &[Track],
        publishers: Arc<Publishers>,
        attention: Arc<Notify>,
        clock: SharedClock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let heard = clock.now();
        Self {
            line: Some(line),
            publishers,
            attention,
            reorder: tracks.iter().map(|_| Reorder::default()).collect(),
            types: tracks.iter().map(|t| t.payload_type).collect(),
            reports: Reports::new(tracks.iter().map(|t| t.rate), heard),
            clock,
            metrics,
            running: false,
            heard,
            media: heard,
            sparse: tracks.iter().all(|t| t.kind == MediaKind::Application),
            seals: Vec::new(),
            keyless: 0,
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
        self.reports.seal(track, &message.key);
    }
    /// Packets of this track will be SRTP, and its key is still to come. There are at most 16 tracks.
    pub(super) fn expect_sealed(&mut self, track: TrackId) {
        self.keyless |= 1 << (track.0 & 15);
    }
    /// Whether this track may not be taken in the clear.
    pub(super) fn expects_sealed(&self, track: TrackId) -> bool {
        self.keyless & (1 << (track.0 & 15)) != 0
    }
    /// Whether there is a key for this track.
    pub(super) fn is_sealed(&self, track: TrackId) -> bool {
        matches!(self.seals.get(usize::from(track.0)), Some(Some(_)))
    }
    /// Media counts from now on, or no more.
    pub(super) fn set_running(&mut self, running: bool) {
        let now = self.clock.now();
        if running && !self.running {
            self.reports.begin(now);
        }
        if running != self.running {
            self.media = now;
        }
        self.running = running;
    }
    /// When the publisher is next told how its packets arrive; `None` while none are expected.
    pub(super) fn reports_due(&self) -> Option<Instant> {
        self.running.then(|| self.reports.due())
    }
    /// What it is to be told now: RTCP packets, one per track, or nothing yet.
    pub(super) fn take_reports(&mut self, now: Instant) -> Vec<(TrackId, Vec<u8>)> {
        match self.running {
            true => self.reports.take(now),
            false => Vec::new(),
        }
    }
    /// Since when no media has come, while it has the path; who is paused or only announced sends none either.
    /// `None` for who may be silent.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        let expected = self.line.is_some() && !self.sparse;
        expected.then_some(self.media)
    }
    /// The path, while it has it.
    pub(super) fn path(&self) -> Option<&PathName> {
        self.publisher().map(|publisher| publisher.path().name())
    }
    /// When anything last came.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }
    /// Hands the stream to another publisher; this one's connection is told to end.
    pub(super) fn give_up(&mut self) -> Option<Line> {
        self.give_held();
        self.flush();
        self.attention.notify_one();
        self.line.take()
    }
    /// Whether another publisher has the path now.
    pub(super) fn is_taken_over(&self) -> bool {
        self.line.is_none()
    }
    /// Whether a datagram is, by its payload type, a packet of this track.
    pub(super) fn sends(&self, track: TrackId, datagram: &[u8]) -> bool {
        let own = self.types.get(usize::from(track.0)).copied();
        rtp::Header::parse(datagram).is_ok_and(|header| Some(header.payload_type) == own)
    }
    /// Takes one datagram of a track: put into its order, if it has overtaken others.
    pub(super) fn datagram(&mut self, track: TrackId, is_rtcp: bool, packet: &[u8]) {
        let now = self.clock.now();
        self.heard = now;
        if is_rtcp || !self.running {
            return self.packet(track, is_rtcp, packet);
        }
        // What is no RTP has no number that others could be waited for by.
        if rtp::Header::parse(packet).is_err() {
            return self.metrics.lose(Reason::BadInput, 1);
        }
        self.count(track, packet);
        let Some(mut reorder) = self.reorder.get_mut(usize::from(track.0)).map(std::mem::take) else {
            return self.metrics.lose(Reason::BadInput, 1);
        };
        reorder.push(packet, now, &mut |packet| self.take(track, false, packet));
        self.put_back(track, reorder);
    }
    fn put_back(&mut self, track: TrackId, mut reorder: Reorder) {
        let reordered = std::mem::take(&mut reorder.reordered);
        self.metrics.packets_reordered.inc_by(reordered);
        self.reorder[usize::from(track.0)] = reorder;
    }
    /// When datagrams that wait for others have waited long enough.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.reorder.iter().filter_map(Reorder::held_until).min()
    }
    /// Publishes datagrams that have waited long enough for others.
    pub(super) fn give_old(&mut self, now: Instant) {
        for n in 0..self.reorder.len() {
            let track = TrackId(n as u8); // there are at most 16
            let mut reorder = std::mem::take(&mut self.reorder[n]);
            reorder.give_old(now, &mut |packet| self.take(track, false, packet));
            self.put_back(track, reorder);
        }
        self.flush();
    }
    /// Takes one packet of a track. Bad ones are counted and cost nothing else.
    pub(super) fn packet(&mut self, track: TrackId, is_rtcp: bool, packet: &[u8]) {
        self.heard = self.clock.now();
        if !self.running {
            return;
        }
        if !is_rtcp {
            self.count(track, packet);
        }
        self.take(track, is_rtcp, packet);
    }
    /// For the reports: as it arrived, before it waits for others. What is sealed counts when it was opened.
    fn count(&mut self, track: TrackId, packet: &[u8]) {
        if !self.is_sealed(track) {
            self.reports.packet(track, packet, self.heard);
        }
    }
    fn take(&mut self, track: TrackId, is_rtcp: bool, packet: &[u8]) {
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
            Ok(()) => {
                if !is_rtcp {
                    self.reports.packet(track, &opened, self.heard);
                }
                self.in_the_clear(track, is_rtcp, &opened);
            }
            Err(_) => self.metrics.lose(Reason::BadInput, 1),
        }
        self.opened = opened;
    }
    fn in_the_clear(&mut self, track: TrackId, is_rtcp: bool, packet: &[u8]) {
        let Some(line) = &mut self.line else {
            return;
        };
        if is_rtcp {
            return self.report(track, packet);
        }
        self.media = self.heard;
        let written = match &mut line.splice {
            None => line.publisher.write_packet(track, packet).is_ok(),
            Some(splice) => {
                let mut packet = packet.to_vec();
                splice.packet(track, &mut packet, self.heard)
                    && line.publisher.write_packet(track, &packet).is_ok()
            }
        };
        if !written {
            self.metrics.lose(Reason::BadInput, 1);
        }
    }
    /// Publishes what has come together.
    pub(super) fn flush(&mut self) {
        self.line.iter_mut().for_each(|line| line.publisher.flush());
        if self.publisher().is_some_and(|p| p.path().is_removed()) {
            self.line = None; // the configuration has the path for something else
            self.attention.notify_one();
        }
    }

    fn report(&mut self, track: TrackId, packet: &[u8]) {
        let Ok(reports) = rtcp::parse(packet) else {
            return self.metrics.lose(Reason::BadInput, 1);
        };
        let Some(Line { publisher, splice }) = &mut self.line else {
            return;
        };
        for report in reports {
            let Rtcp::SenderReport { ssrc, ntp, rtp_time } = report else {
                continue;
            };
            self.reports.sender_report(track, ssrc, ntp, self.heard);
            match splice {
                None => publisher.anchor(track, ntp, rtp_time),
                Some(splice) => {
                    let moved = splice.report(track, ntp, rtp_time, self.clock.ntp());
                    moved
                        .into_iter()
                        .for_each(|(ntp, rtp_time)| publisher.anchor(track, ntp, rtp_time));
                }
            }
        }
    }
    /// Nothing more will come: what waited for others goes without them.
    fn give_held(&mut self) {
        for n in 0..self.reorder.len() {
            let mut reorder = std::mem::take(&mut self.reorder[n]);
            reorder.give_all(&mut |packet| self.take(TrackId(n as u8), false, packet));
        }
    }
    fn publisher(&self) -> Option<&Publisher> {
        self.line.as_ref().map(|line| &line.publisher)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.give_held();
        self.flush();
        if let Some(publisher) = self.publisher() {
            tracing::info!(path = %publisher.path().name(), "The publisher left.");
        }
        self.line
            .take()
            .into_iter()
            .for_each(|line| self.publishers.left(line));
    }
}
