//! One reader: a place in a stream's ring and a way out.
//!
//! `pump` moves the reader as far as its way out takes. Normally a fan-out shard calls it for all its readers
//! after each burst; while a TCP socket is full, the reader's own connection calls it when there is room.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;

use crate::analytics::SessionHandle;
use crate::egress::rtsp::play::TrackWay;
use crate::egress::rtsp::tcp::TcpOut;
use crate::egress::rtsp::tcp::Wrote;
use crate::egress::rtsp::udp::UdpPair;
use crate::hub::Stream;
use crate::hub::burst::Burst;
use crate::hub::burst::BurstKind;
use crate::hub::ring::Join;
use crate::media::TrackId;
use crate::proto::rtp::rtcp;

/// A reader may be this far behind before it jumps to the newest keyframe.
const MAX_LAG: Duration = Duration::from_secs(3);
/// Bytes handed to a socket in one go.
const MAX_QUEUED: usize = 256 << 10;
/// Bursts looked at in one go.
const BATCH: usize = 16;

/// How a reader gets its packets.
pub(super) enum Way {
    Tcp {
        out: Arc<TcpOut>,
        channels: Vec<Option<(u8, u8)>>,
    },
    Udp {
        sockets: Arc<UdpPair>,
        ports: Vec<Option<(SocketAddr, SocketAddr)>>,
    },
}

impl Way {
    pub(super) fn tcp(out: Arc<TcpOut>, tracks: &[Option<TrackWay>]) -> Self {
        let channel = |way: &Option<TrackWay>| match *way {
            Some(TrackWay::Tcp(rtp, rtcp)) => Some((rtp, rtcp)),
            _ => None,
        };
        Self::Tcp {
            out,
            channels: tracks.iter().map(channel).collect(),
        }
    }
    pub(super) fn udp(sockets: Arc<UdpPair>, tracks: &[Option<TrackWay>]) -> Self {
        let ports = |way: &Option<TrackWay>| match *way {
            Some(TrackWay::Udp(rtp, rtcp)) => Some((rtp, rtcp)),
            _ => None,
        };
        Self::Udp {
            sockets,
            ports: tracks.iter().map(ports).collect(),
        }
    }
}

/// What a call of [`Delivery::pump`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pumped {
    /// Everything there is has been sent.
    CaughtUp,
    /// The socket is full; pump again when it has room.
    Full,
}

/// What was delivered since the last time somebody asked.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) bursts: u64,
    pub(super) bytes: u64,
    /// Bursts that a slow reader lost.
    pub(super) skipped: u64,
    /// Datagrams that the kernel had no room for.
    pub(super) unsent: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.bursts += other.bursts;
        self.bytes += other.bytes;
        self.skipped += other.skipped;
        self.unsent += other.unsent;
    }
}

/// One reader of one stream.
pub(super) struct Delivery {
    stream: Arc<Stream>,
    way: Way,
    /// Number of the next burst.
    at: u64,
    /// Per track: whether its first sender report went out.
    reported: Vec<bool>,
    session: Option<SessionHandle>,
    begin: Option<Box<dyn FnOnce() -> SessionHandle + Send>>,
    tally: Tally,
    queue: VecDeque<Bytes>,
    /// When the way out last took something.
    progress: Instant,
}

impl Delivery {
    /// A reader that starts with burst `at`. `begin` opens its statistics session when the first access
    /// unit has left.
    pub(super) fn new(
        stream: Arc<Stream>,
        way: Way,
        at: u64,
        now: Instant,
        begin: Box<dyn FnOnce() -> SessionHandle + Send>,
    ) -> Self {
        let reported = vec![false; stream.description().tracks.len()];
        Self {
            stream,
            way,
            at,
            reported,
            session: None,
            begin: Some(begin),
            tally: Tally::default(),
            queue: VecDeque::new(),
            progress: now,
        }
    }
    /// Sends what the ring has for this reader. `window` are the newest bursts, numbered from `first`, for
    /// readers that keep up: they need not look into the ring.
    ///
    /// # Errors
    /// When the connection failed.
    pub(super) fn pump(&mut self, now: Instant, first: u64, window: &[Arc<Burst>]) -> io::Result<Pumped> {
        if let Way::Tcp { out, .. } = &self.way
            && out.is_full()
        {
            return Ok(Pumped::Full);
        }
        loop {
            let held: Vec<Arc<Burst>>;
            let bursts = if self.at >= first && self.at <= first + window.len() as u64 {
                &window[(self.at - first) as usize..]
            } else {
                self.skip_if_lagged(now);
                held = self
                    .stream
                    .ring()
                    .since(self.at)
                    .take(BATCH)
                    .map(Arc::clone)
                    .collect();
                &held[..]
            };
            if bursts.is_empty() {
                return Ok(Pumped::CaughtUp);
            }
            if self.send(now, bursts)? == Pumped::Full {
                return Ok(Pumped::Full);
            }
        }
    }
    /// Where the reader is: the number of its next burst.
    pub(super) fn at(&self) -> u64 {
        self.at
    }
    /// Goes on from the newest keyframe after a pause.
    pub(super) fn resume_at(&mut self, at: u64) {
        self.at = at;
        self.reported.fill(false);
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
    pub(super) fn bye(&mut self) {
        for n in 0..self.reported.len() as u8 {
            let Some(ssrc) = self.stream.ssrc(TrackId(n)) else {
                continue;
            };
            self.control(TrackId(n), &rtcp::bye(ssrc));
        }
        if let Way::Tcp { out, .. } = &self.way {
            let _ = out.write(&mut self.queue); // the connection ends anyway
        }
    }
    /// Begins with one more track, by the same transport as the others.
    pub(super) fn add_track(&mut self, track: TrackId, way: TrackWay) {
        let n = usize::from(track.0);
        match (&mut self.way, way) {
            (Way::Tcp { channels, .. }, TrackWay::Tcp(rtp, rtcp)) => {
                channels
                    .get_mut(n)
                    .into_iter()
                    .for_each(|c| *c = Some((rtp, rtcp)));
            }
            (Way::Udp { ports, .. }, TrackWay::Udp(rtp, rtcp)) => {
                ports.get_mut(n).into_iter().for_each(|p| *p = Some((rtp, rtcp)));
            }
            _ => return, // the protocol refuses a second transport within a session
        }
        self.reported.get_mut(n).into_iter().for_each(|r| *r = false);
    }
    /// Ends the statistics session now, whoever still holds this value.
    pub(super) fn end(&mut self) {
        self.session = None;
        self.begin = None;
    }
    /// Ends the statistics session as of an earlier moment.
    pub(super) fn end_at(&mut self, last_seen: Instant) {
        if let Some(session) = self.session.take() {
            session.end_at(last_seen);
        }
    }
    /// Stops one track.
    pub(super) fn drop_track(&mut self, track: TrackId) {
        let n = usize::from(track.0);
        match &mut self.way {
            Way::Tcp { channels, .. } => channels.get_mut(n).into_iter().for_each(|c| *c = None),
            Way::Udp { ports, .. } => ports.get_mut(n).into_iter().for_each(|p| *p = None),
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

    fn send(&mut self, now: Instant, bursts: &[Arc<Burst>]) -> io::Result<Pumped> {
        let mut queued = 0;
        for burst in bursts {
            self.at += 1;
            let media = burst.kind != BurstKind::Report;
            let n = usize::from(burst.track.0);
            if media && !self.reported.get(n).copied().unwrap_or(true) {
                self.reported[n] = true;
                if let Some(report) = self.stream.sender_report(burst.track, burst.rtp_time) {
                    self.control(burst.track, &report);
                }
            }
            if self.enqueue(burst) && media {
                self.tally.bursts += 1;
                self.tally.bytes += burst.wire().len() as u64;
                queued += burst.wire().len();
            }
            // Not more than this at once: what a full socket leaves over is held for this reader alone.
            if queued >= MAX_QUEUED {
                queued = 0;
                if self.write(now)? == Pumped::Full {
                    return Ok(Pumped::Full);
                }
            }
        }
        self.write(now)
    }
    /// Hands what is queued to the socket, and opens the statistics session when the first of it has left.
    fn write(&mut self, now: Instant) -> io::Result<Pumped> {
        let wrote = match &self.way {
            Way::Tcp { out, .. } => out.write(&mut self.queue)?,
            Way::Udp { .. } => Wrote::All,
        };
        if self.tally.bursts > 0
            && let Some(begin) = self.begin.take()
        {
            self.session = Some(begin());
        }
        if wrote == Wrote::Full {
            return Ok(Pumped::Full);
        }
        self.progress = now;
        Ok(Pumped::CaughtUp)
    }
    /// Queues (TCP) or sends (UDP) a burst; false if the reader has not asked for its track.
    fn enqueue(&mut self, burst: &Burst) -> bool {
        let n = usize::from(burst.track.0);
        match &self.way {
            Way::Tcp { channels, .. } => {
                let Some(Some((rtp, rtcp))) = channels.get(n).copied() else {
                    return false;
                };
                let usual = (rtp, rtcp) == (2 * burst.track.0, 2 * burst.track.0 + 1);
                self.queue.push_back(if usual {
                    burst.wire().clone()
                } else {
                    burst.wire_on(rtp, rtcp)
                });
                true
            }
            Way::Udp { sockets, ports } => {
                let Some(Some((rtp, rtcp))) = ports.get(n) else {
                    return false;
                };
                let unsent = match burst.kind {
                    BurstKind::Report => burst.iter().map(|p| sockets.send_rtcp(p, *rtcp)).sum(),
                    _ => sockets.send_rtp(burst, *rtp),
                };
                self.tally.unsent += unsent;
                true
            }
        }
    }
    /// Queues or sends one RTCP packet of ours.
    fn control(&mut self, track: TrackId, packet: &[u8]) {
        let n = usize::from(track.0);
        match &self.way {
            Way::Tcp { channels, .. } => {
                let Some(Some((_, channel))) = channels.get(n) else {
                    return;
                };
                let mut framed = vec![b'$', *channel];
                framed.extend_from_slice(&(packet.len() as u16).to_be_bytes());
                framed.extend_from_slice(packet);
                self.queue.push_back(framed.into());
            }
            Way::Udp { sockets, ports } => {
                let Some(Some((_, to))) = ports.get(n) else { return };
                self.tally.unsent += sockets.send_rtcp(packet, *to);
            }
        }
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
            self.at = to;
        }
    }
}
