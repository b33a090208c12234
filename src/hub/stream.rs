//! What flows on a ready path: its tracks and its ring.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Instant;

use tokio::sync::watch;

use crate::base::time::NtpTime;
use crate::base::time::Rate;
use crate::hub::burst::Burst;
use crate::hub::burst::BurstKind;
use crate::hub::quality::Quality;
use crate::hub::quality::Reports;
use crate::hub::ring::Join;
use crate::hub::ring::Limits;
use crate::hub::ring::Ring;
use crate::media::Description;
use crate::media::TrackId;
use crate::proto::rtp::rtcp;
use crate::proto::rtp::srtp::MasterKey;
use crate::proto::rtp::srtp::OVERHEAD;
use crate::proto::rtp::srtp::Sender;

const NOT_POISONED: &str = "no panic happens while the lock is held";

/// How far a stream has come, as its readers await it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Number that the next burst will get.
    pub end: u64,
    /// Nothing more will come.
    pub ended: bool,
}

/// Where a track stands: what `RTP-Info` and a first sender report say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    pub track: TrackId,
    /// Sequence number of the next packet.
    pub sequence: u16,
    /// RTP timestamp of the next packet (or an estimate, if it is still to come).
    pub rtp_time: u32,
}

/// One publication: from a publisher's coming to its going.
pub struct Stream {
    /// Tells streams apart; a path's next stream has another number.
    id: u64,
    description: Mutex<Arc<Description>>,
    ring: Mutex<Ring>,
    clocks: Mutex<Vec<TrackClock>>,
    head: watch::Sender<Head>,
    cname: String,
    reports: Reports,
    /// Packets leave sealed with this.
    seal: Option<Mutex<Sender>>,
}

/// What a track's sender reports are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrackClock {
    pub(super) ssrc: u32,
    pub(super) rate: Rate,
    /// A moment on both clocks: the publisher's own report if it sent one, else the first arrival.
    pub(super) anchor: Option<(NtpTime, u32)>,
    /// The newest packet: when it arrived and what it said.
    pub(super) newest: Option<(Instant, u32)>,
    pub(super) next_sequence: u16,
    pub(super) packets: u32,
    pub(super) octets: u32,
}

impl TrackClock {
    pub(super) fn new(ssrc: u32, rate: Rate, first_sequence: u16) -> Self {
        Self {
            ssrc,
            rate,
            anchor: None,
            newest: None,
            next_sequence: first_sequence,
            packets: 0,
            octets: 0,
        }
    }
    /// The wall time of an RTP timestamp near the anchor.
    fn ntp_of(&self, rtp_time: u32) -> Option<NtpTime> {
        let (ntp, at) = self.anchor?;
        let ticks = i64::from(rtp_time.wrapping_sub(at).cast_signed());
        let fraction = (i128::from(ticks) << 32) / i128::from(self.rate.hz());
        Some(NtpTime(ntp.0.wrapping_add_signed(i64::try_from(fraction).ok()?)))
    }
    /// A compound RTCP packet: the report that belongs to `rtp_time`.
    pub(super) fn report(&self, rtp_time: u32, cname: &str) -> Option<Vec<u8>> {
        let ntp = self.ntp_of(rtp_time)?;
        Some(rtcp::sender_report(
            self.ssrc,
            ntp,
            rtp_time,
            self.packets,
            self.octets,
            cname,
        ))
    }
    /// The timestamp that the track has reached at `now`.
    pub(super) fn estimate(&self, now: Instant) -> u32 {
        self.newest.map_or(0, |(at, rtp)| {
            let elapsed =
                now.saturating_duration_since(at).as_micros() * u128::from(self.rate.hz()) / 1_000_000;
            rtp.wrapping_add(elapsed as u32) // the low 32 bits are what RTP carries
        })
    }
}

impl Stream {
    pub(super) fn new(
        id: u64,
        description: Description,
        limits: Limits,
        clocks: Vec<TrackClock>,
        cname: String,
        reports: Reports,
        seal: Option<&MasterKey>,
    ) -> Self {
        Self {
            id,
            description: Mutex::new(Arc::new(description)),
            ring: Mutex::new(Ring::new(limits)),
            clocks: Mutex::new(clocks),
            head: watch::Sender::new(Head { end: 0, ended: false }),
            cname,
            reports,
            seal: seal.map(|key| Mutex::new(Sender::new(key))),
        }
    }
    /// A number that no other stream of this run has.
    pub fn id(&self) -> u64 {
        self.id
    }
    /// The tracks as they are now.
    pub fn description(&self) -> Arc<Description> {
        Arc::clone(&self.description.lock().expect(NOT_POISONED))
    }
    /// The synchronization source that all packets of a track carry.
    pub fn ssrc(&self, track: TrackId) -> Option<u32> {
        self.clocks().get(usize::from(track.0)).map(|c| c.ssrc)
    }
    /// Follows the stream's head; wakes on every burst and at the end.
    pub fn watch(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }
    /// The ring, to look at. Never held across a wait or a system call.
    pub fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().expect(NOT_POISONED)
    }
    /// Where each track will stand for a reader that begins at `start`.
    pub fn positions(&self, start: u64, now: Instant) -> Vec<Position> {
        let ring = self.ring();
        let clocks = self.clocks();
        let at = |n: usize, clock: &TrackClock| {
            let track = TrackId(n as u8);
            let next = ring
                .since(start)
                .find(|b| b.track == track && b.kind != BurstKind::Report);
            match next {
                Some(b) => Position {
                    track,
                    sequence: b.sequence,
                    rtp_time: b.rtp_time,
                },
                None => Position {
                    track,
                    sequence: clock.next_sequence,
                    rtp_time: clock.estimate(now),
                },
            }
        };
        clocks.iter().enumerate().map(|(n, clock)| at(n, clock)).collect()
    }
    /// The sender report that belongs before a packet with this timestamp.
    pub fn sender_report(&self, track: TrackId, rtp_time: u32) -> Option<Vec<u8>> {
        let report = self
            .clocks()
            .get(usize::from(track.0))?
            .report(rtp_time, &self.cname)?;
        Some(self.control(report))
    }
    /// An RTCP packet of ours as it leaves: SRTCP, where the stream is sealed.
    pub fn control(&self, packet: Vec<u8>) -> Vec<u8> {
        let Some(seal) = &self.seal else { return packet };
        let mut sealed = Vec::with_capacity(packet.len() + OVERHEAD);
        // It is RTCP: made here.
        let _ = seal.lock().expect(NOT_POISONED).rtcp(&packet, &mut sealed);
        sealed
    }
    /// Whether its packets are SRTP.
    pub fn is_sealed(&self) -> bool {
        self.seal.is_some()
    }
    /// Whether a newcomer's SRTP would have to be told the roll-over counter.
    pub fn has_rolled_over(&self) -> bool {
        let seal = self.seal.as_ref();
        seal.is_some_and(|seal| seal.lock().expect(NOT_POISONED).has_rolled_over())
    }
    /// How the stream reaches its readers, all together; `None` while none reports.
    pub fn quality(&self, now: Instant) -> Option<Quality> {
        self.reports.get(now)
    }
    /// The wall time of a track's timestamp: what puts tracks with clocks of their own side by side.
    pub fn ntp(&self, track: TrackId, rtp_time: u32) -> Option<NtpTime> {
        self.clocks().get(usize::from(track.0))?.ntp_of(rtp_time)
    }
    /// Whether nothing has come since then, so that readers had no reason to speak.
    pub fn is_silent_since(&self, since: Instant) -> bool {
        let old = |clock: &TrackClock| clock.newest.is_none_or(|(at, _)| at < since);
        self.clocks().iter().all(old)
    }
    /// Whether nothing will come any more.
    pub fn has_ended(&self) -> bool {
        self.head.borrow().ended
    }
    /// Waits until a reader can begin, and says where: at once if a keyframe is held.
    /// `None` when the stream ended first.
    pub async fn joinable(&self) -> Option<u64> {
        let mut head = self.watch();
        loop {
            if head.borrow_and_update().ended {
                return None;
            }
            if let Join::At(number) = self.ring().live_at() {
                return Some(number);
            }
            head.changed().await.ok()?;
        }
    }

    /// The clock of the track with this synchronization source.
    pub(super) fn rate_of(&self, ssrc: u32) -> Option<Rate> {
        self.clocks().iter().find(|c| c.ssrc == ssrc).map(|c| c.rate)
    }
    pub(super) fn reports(&self) -> &Reports {
        &self.reports
    }
    pub(super) fn clocks(&self) -> MutexGuard<'_, Vec<TrackClock>> {
        self.clocks.lock().expect(NOT_POISONED)
    }
    pub(super) fn cname(&self) -> &str {
        &self.cname
    }
    pub(super) fn describe(&self, description: Description) {
        *self.description.lock().expect(NOT_POISONED) = Arc::new(description);
    }
    pub(super) fn push(&self, burst: Burst) {
        let burst = match &self.seal {
            None => burst,
            Some(seal) => {
                let mut seal = seal.lock().expect(NOT_POISONED);
                let report = burst.kind == BurstKind::Report;
                burst.sealed(|packet, out| {
                    // What is no RTP has not come as far as here.
                    let _ = if report {
                        seal.rtcp(packet, out)
                    } else {
                        seal.rtp(packet, out)
                    };
                })
            }
        };
        let end = {
            let mut ring = self.ring();
            ring.push(Arc::new(burst));
            ring.end()
        };
        self.head.send_replace(Head { end, ended: false });
    }
    pub(super) fn clear(&self) {
        self.ring().clear();
    }
    pub(super) fn end(&self) {
        self.head.send_modify(|h| h.ended = true);
    }
}
