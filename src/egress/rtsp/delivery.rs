//! One reader: a place in a stream's ring and a way out.
//!
//! `pump` moves the reader as far as its way out takes. Normally a fan-out shard calls it for all its readers
//! after each burst; while a TCP socket is full, the reader's own connection calls it when there is room.

use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;

use crate::analytics::SessionHandle;
use crate::egress::rtsp::play::TrackWay;
use crate::egress::rtsp::tcp::Wrote;
use crate::egress::rtsp::way;
use crate::egress::rtsp::way::Way;
use crate::egress::rtsp::way::bit;
use crate::hub::Stream;
use crate::hub::burst::Burst;
use crate::hub::burst::BurstKind;
use crate::hub::ring::Join;
use crate::media::TrackId;
use crate::proto::rtp::rtcp;

/// A reader may be this far behind before it jumps to the newest keyframe.
const MAX_LAG: Duration = Duration::from_secs(3);
/// Bytes handed to a TCP socket in one go.
const MAX_QUEUED: usize = 256 << 10;
/// Bytes sent by UDP in one go: a receiver's default buffer (208 KiB on Linux, with overhead) holds them.
const UDP_SLICE: usize = 64 << 10;
/// The pause between such slices: 32 MB/s, which a reader's socket and a home network can take.
const UDP_PAUSE: Duration = Duration::from_millis(2);
/// Bursts looked at in one go.
const BATCH: usize = 16;

/// What a call of [`Delivery::pump`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pumped {
    /// Everything there is has been sent.
    CaughtUp,
    /// The socket is full; pump again when it has room.
    Full,
    /// There is more, to be sent at this instant.
    Paced(Instant),
}

/// What was delivered since the last time somebody asked.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) bursts: u64,
    pub(super) bytes: u64,
    /// Bursts that a slow reader lost.
    pub(super) skipped: u64,
    /// Datagrams that the kernel refused.
    pub(super) unsent: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.bursts += other.bursts;
        self.bytes += other.bytes;
        self.skipped += other.skipped;
        self.unsent += other.unsent;
    }
    fn count(&mut self, burst: &Burst) {
        if burst.kind != BurstKind::Report {
            self.bursts += 1;
            self.bytes += burst.wire().len() as u64;
        }
    }
}

/// Opens a statistics session.
pub(super) type Begin = Box<dyn FnOnce() -> SessionHandle + Send>;

/// One reader of one stream.
pub(super) struct Delivery {
    stream: Arc<Stream>,
    way: Way,
    /// Number of the next burst.
    at: u64,
    /// Packets of it that have left already, by UDP.
    packet: usize,
    /// Per track, a bit: its first sender report is still to go out.
    unreported: u64,
    session: Option<SessionHandle>,
    begin: Option<Begin>,
    /// Times that it was moved forward.
    jumps: u64,
    tally: Tally,
    /// When the way out last took something, or was found full.
    progress: Instant,
    /// Nothing more by UDP before this.
    not_before: Instant,
}

impl Delivery {
    /// A reader that starts with burst `at`. `begin` opens its statistics session when the first access
    /// unit has left; there is none for a multicast group, whose readers have their own.
    pub(super) fn new(stream: Arc<Stream>, way: Way, at: u64, now: Instant, begin: Option<Begin>) -> Self {
        Self {
            stream,
            way,
            at,
            packet: 0,
            unreported: u64::MAX,
            session: None,
            begin,
            jumps: 0,
            tally: Tally::default(),
            progress: now,
            not_before: now,
        }
    }
    /// Sends what the ring has for this reader. `window` are the newest bursts, numbered from `first`, for
    /// readers that keep up: they need not look into the ring.
    ///
    /// # Errors
    /// When the connection failed.
    pub(super) fn pump(&mut self, now: Instant, first: u64, window: &[Arc<Burst>]) -> io::Result<Pumped> {
        match &self.way {
            Way::Tcp { out, .. } if out.is_full() => return Ok(Pumped::Full),
            Way::Udp { .. } if now < self.not_before => return Ok(Pumped::Paced(self.not_before)),
            _ => {}
        }
        self.way.follow();
        let mut budget = UDP_SLICE;
        loop {
            let held: Vec<Arc<Burst>>;
            let bursts = if self.at >= first && self.at <= first + window.len() as u64 {
                &window[(self.at - first) as usize..]
            } else {
                self.skip_if_lagged(now);
                let ring = self.stream.ring();
                held = ring.since(self.at).take(BATCH).map(Arc::clone).collect();
                &held[..]
            };
            if bursts.is_empty() {
                return Ok(Pumped::CaughtUp);
            }
            let pumped = match self.way {
                Way::Tcp { .. } => self.write(now, bursts)?,
                Way::Udp { .. } => self.send(now, bursts, &mut budget),
                Way::Gone => return Ok(Pumped::CaughtUp),
            };
            if self.tally.bursts > 0
                && let Some(begin) = self.begin.take()
            {
                self.session = Some(begin());
            }
            if pumped != Pumped::CaughtUp {
                return Ok(pumped);
            }
        }
    }
    /// Where the reader is: the number of its next burst.
    pub(super) fn at(&self) -> u64 {
        self.at
    }
    /// Goes on from the newest keyframe after a pause.
    pub(super) fn resume_at(&mut self, at: u64) {
        (self.at, self.packet) = (at, 0);
        self.unreported = u64::MAX;
        if let Some(session) = &self.session {
            session.resume();
        }
    }
    /// The reader asked for silence.
    pub(super) fn pause(&self) {
        if let Some(session) = &self.session {
            session.pause();
        }
    }
    /// Says good-bye on every track: players end instead of waiting.
    pub(super) fn bye(&self) {
        let tracks = (0..u8::MAX).map_while(|n| Some((TrackId(n), self.stream.ssrc(TrackId(n))?)));
        let tracks: Vec<_> = tracks
            .map(|(track, ssrc)| (track, self.stream.control(rtcp::bye(ssrc))))
            .collect();
        match &self.way {
            Way::Tcp { out, channels, .. } => {
                let frames = tracks
                    .iter()
                    .filter_map(|(t, p)| way::control_frame(channels, *t, p));
                let frames: Vec<Bytes> = frames.collect();
                let _ = out.write(frames.iter()); // the connection ends anyway
            }
            Way::Udp { sockets, ports, .. } => tracks.iter().for_each(|(track, packet)| {
                let to = ports.get(usize::from(track.0)).copied().flatten();
                to.into_iter().for_each(|to| sockets.send_rtcp(packet, to.rtcp()));
            }),
            Way::Gone => {}
        }
    }
    /// Whether this is the transport that all goes by.
    pub(super) fn goes_like(&self, way: &TrackWay) -> bool {
        match self.way {
            Way::Tcp { .. } => matches!(way, TrackWay::Tcp(..)),
            Way::Udp { .. } => matches!(way, TrackWay::Udp(_)),
            Way::Gone => false,
        }
    }
    /// Begins with one more track, by the same transport as the others.
    pub(super) fn add_track(&mut self, track: TrackId, way: TrackWay) {
        if self.way.set(track, way) {
            self.unreported |= bit(track);
        }
    }
    /// Stops one track.
    pub(super) fn drop_track(&mut self, track: TrackId) {
        self.way.clear(track);
    }
    /// Ends the statistics session and lets go of the socket now, whoever still holds this value.
    pub(super) fn end(&mut self) {
        let lost = self.way.lost_per_million();
        self.way = Way::Gone;
        if let Some(session) = self.session.take() {
            session.arrived(lost, self.jumps);
            if self.stream.has_ended() {
                session.stream_ended();
            }
        }
        self.begin = None;
    }
    /// Ends the statistics session as of an earlier moment.
    pub(super) fn end_at(&mut self, last_seen: Instant) {
        if let Some(session) = self.session.take() {
            session.arrived(self.way.lost_per_million(), self.jumps);
            session.end_at(last_seen);
        }
    }
    /// What was delivered since the last call.
    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }
    /// The way out took something of what was held.
    pub(super) fn note_progress(&mut self, now: Instant) {
        self.progress = now;
    }
    /// When the way out last took something.
    pub(super) fn progress(&self) -> Instant {
        self.progress
    }

    /// By TCP: as much as the socket takes; what is begun and does not fit is held by the connection.
    fn write(&mut self, now: Instant, mut bursts: &[Arc<Burst>]) -> io::Result<Pumped> {
        let Way::Tcp { out, channels, plain } = &self.way else {
            return Ok(Pumped::CaughtUp);
        };
        while !bursts.is_empty() {
            // Not more than this at once: what a full socket leaves over is held for this reader alone.
            let mut bytes = 0;
            let fits = |b: &&Arc<Burst>| {
                let before = bytes;
                bytes += b.wire().len();
                before < MAX_QUEUED
            };
            let count = bursts.iter().take_while(fits).count();
            let (chunk, rest) = bursts.split_at(count);
            bursts = rest;
            let ready = plain.usual & !self.unreported;
            let as_it_is = |b: &Arc<Burst>| (plain.taken & !ready) & bit(b.track) == 0;
            let wrote = if chunk.iter().all(as_it_is) {
                let asked = chunk.iter().filter(|b| ready & bit(b.track) != 0);
                asked.clone().for_each(|b| self.tally.count(b));
                out.write(asked.map(|b| b.wire()))?
            } else {
                let mut frames = Vec::new();
                for burst in chunk {
                    let report = first_report(&self.stream, &mut self.unreported, burst);
                    frames.extend(report.and_then(|r| way::control_frame(channels, burst.track, &r)));
                    let frame = way::frame(channels, burst);
                    frame.iter().for_each(|_| self.tally.count(burst));
                    frames.extend(frame);
                }
                out.write(frames.iter())?
            };
            self.at += chunk.len() as u64;
            // It is full since now at the most: before there was silence, a pause, or room.
            self.progress = now;
            if wrote == Wrote::Full {
                return Ok(Pumped::Full);
            }
        }
        Ok(Pumped::CaughtUp)
    }
    /// By UDP: a slice; the rest after a pause, and at once when the kernel has room again.
    fn send(&mut self, now: Instant, bursts: &[Arc<Burst>], budget: &mut usize) -> Pumped {
        let Way::Udp { sockets, ports, .. } = &self.way else {
            return Pumped::CaughtUp;
        };
        for burst in bursts {
            if *budget == 0 && burst.kind != BurstKind::Report {
                self.not_before = now + UDP_PAUSE;
                return Pumped::Paced(self.not_before);
            }
            if let Some(report) = first_report(&self.stream, &mut self.unreported, burst)
                && let Some(Some(to)) = ports.get(usize::from(burst.track.0))
            {
                sockets.send_rtcp(&report, to.rtcp());
            }
            if let Some(sent) = way::send_datagrams(sockets, ports, burst, self.packet, *budget) {
                self.tally.unsent += sent.unsent;
                *budget = budget.saturating_sub(sent.bytes);
                if sent.next < burst.packets() {
                    self.packet = sent.next;
                    self.not_before = now + UDP_PAUSE;
                    return Pumped::Paced(self.not_before);
                }
                self.tally.count(burst);
            }
            (self.at, self.packet) = (self.at + 1, 0);
        }
        self.progress = now;
        Pumped::CaughtUp
    }
    /// A reader too far behind goes on with the newest keyframe.
    fn skip_if_lagged(&mut self, now: Instant) {
        let ring = self.stream.ring();
        let lost = self.at < ring.first();
        let old = ring
            .get(self.at)
            .is_some_and(|b| now.saturating_duration_since(b.arrived) > MAX_LAG);
        if !lost && !old {
            return;
        }
        let to = match ring.live_at() {
            Join::At(key) => key,
            Join::KeyframeFrom(end) => end,
        };
        if to > self.at {
            self.tally.skipped += to - self.at;
            self.jumps += 1;
            (self.at, self.packet) = (to, 0);
        }
    }
}

/// The sender report that goes before the first media of a track.
fn first_report(stream: &Stream, unreported: &mut u64, burst: &Burst) -> Option<Vec<u8>> {
    if burst.kind == BurstKind::Report || *unreported & bit(burst.track) == 0 {
        return None;
    }
    *unreported &= !bit(burst.track);
    stream.sender_report(burst.track, burst.rtp_time)
}
