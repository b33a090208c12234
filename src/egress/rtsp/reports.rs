//! What a publisher is told of how its packets arrive: receiver reports, as often as RFC 3550 section 6.2 wants
//! them of so small a session.
//!
//! Not here: counting (`proto::rtp::rtcp`), and the way back to the publisher (`conn`).

use std::time::Duration;
use std::time::Instant;

use crate::base::time::NtpTime;
use crate::base::time::Rate;
use crate::media::TrackId;
use crate::proto::rtp;
use crate::proto::rtp::rtcp;
use crate::proto::rtp::rtcp::ReceiverStats;
use crate::proto::rtp::srtp::MasterKey;
use crate::proto::rtp::srtp::OVERHEAD;
use crate::proto::rtp::srtp::Sender;

/// The shortest interval that the standard allows. It is drawn from half to one and a half of it, and divided by
/// what makes up for reconsideration (RFC 3550 section 6.3.1).
const INTERVAL: Duration = Duration::from_secs(5);
/// e - 3/2.
const COMPENSATION: f64 = 1.218_28;

/// One publishing session's reports.
pub(super) struct Reports {
    tracks: Vec<Counted>,
    /// Ours, the same on all tracks.
    ssrc: u32,
    cname: String,
    due: Instant,
}

struct Counted {
    stats: ReceiverStats,
    /// Where packets are SRTP, reports are SRTCP with the same key.
    seal: Option<Sender>,
}

impl Reports {
    /// For tracks with these clocks. Without randomness our number is 0, and the intervals are all the same.
    pub(super) fn new(rates: impl Iterator<Item = Rate>, now: Instant) -> Self {
        let mut random = [0; 12];
        let _ = getrandom::fill(&mut random);
        let tracks = rates.map(|rate| Counted {
            stats: ReceiverStats::new(rate),
            seal: None,
        });
        Self {
            tracks: tracks.collect(),
            ssrc: u32::from_be_bytes([random[0], random[1], random[2], random[3]]),
            cname: random[4..].iter().map(|b| format!("{b:02x}")).collect(),
            due: now + INTERVAL,
        }
    }
    /// Reports on this track are sealed with this key.
    pub(super) fn seal(&mut self, track: TrackId, key: &MasterKey) {
        if let Some(counted) = self.tracks.get_mut(usize::from(track.0)) {
            counted.seal = Some(Sender::new(key));
        }
    }
    /// Media is about to come: the first reports follow after half an interval.
    pub(super) fn begin(&mut self, now: Instant) {
        self.due = now + interval(draw()) / 2;
    }
    /// Counts a packet of a track, as it arrived.
    pub(super) fn packet(&mut self, track: TrackId, packet: &[u8], now: Instant) {
        if let (Some(counted), Ok(header)) = (
            self.tracks.get_mut(usize::from(track.0)),
            rtp::Header::parse(packet),
        ) {
            let (ssrc, sequence, time) = (header.ssrc, header.sequence, header.timestamp);
            counted.stats.packet(ssrc, sequence, time, now);
        }
    }
    /// Notes the publisher's own report.
    pub(super) fn sender_report(&mut self, track: TrackId, ssrc: u32, ntp: NtpTime, now: Instant) {
        if let Some(counted) = self.tracks.get_mut(usize::from(track.0)) {
            counted.stats.sender_report(ssrc, ntp, now);
        }
    }
    /// When the next reports are due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }
    /// The reports of all tracks, if they are due. A track that nothing came of has an empty one, which keeps a
    /// firewall open.
    pub(super) fn take(&mut self, now: Instant) -> Vec<(TrackId, Vec<u8>)> {
        if now < self.due {
            return Vec::new();
        }
        self.due = now + interval(draw());
        let (ssrc, cname) = (self.ssrc, &self.cname);
        let report = |(n, counted): (u8, &mut Counted)| {
            let blocks: Vec<_> = counted.stats.report(now).into_iter().collect();
            let packet = rtcp::receiver_report(ssrc, &blocks, cname);
            (TrackId(n), counted.sealed(packet))
        };
        (0..).zip(&mut self.tracks).map(report).collect()
    }
}

impl Counted {
    fn sealed(&mut self, packet: Vec<u8>) -> Vec<u8> {
        let Some(seal) = &mut self.seal else { return packet };
        let mut sealed = Vec::with_capacity(packet.len() + OVERHEAD);
        // It is RTCP: made here.
        let _ = seal.rtcp(&packet, &mut sealed);
        sealed
    }
}

/// A number from 0 to 1, any.
fn draw() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

/// How long until the next report, for a number from 0 to 1.
fn interval(drawn: f64) -> Duration {
    INTERVAL.mul_f64((0.5 + drawn) / COMPENSATION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;
    use crate::proto::rtp::rtcp::Rtcp;

    fn packet(sequence: u16, time: u32) -> Vec<u8> {
        let mut packet = vec![0x80, 8];
        packet.extend(sequence.to_be_bytes());
        packet.extend(time.to_be_bytes());
        packet.extend([0, 0, 0, 9, 1, 2, 3, 4]);
        packet
    }

    #[test]
    fn reports_tell_what_was_lost_and_when_the_last_sender_report_came() {
        let start = SystemClock::shared().now();
        let mut reports = Reports::new([Rate::VIDEO, Rate::VIDEO].into_iter(), start);
        reports.begin(start);
        for n in [65_530, 65_531, 65_533, 65_535, 1] {
            reports.packet(TrackId(0), &packet(n, 0), start);
        }
        reports.sender_report(TrackId(0), 9, NtpTime(0x0001_0203_0405_0607), start);
        assert_eq!(reports.take(start), [], "not yet");
        let taken = reports.take(start + INTERVAL);
        let [(TrackId(0), first), (TrackId(1), second)] = &taken[..] else {
            panic!("{} reports", taken.len())
        };
        let Rtcp::ReceiverReport {
            ssrc,
            reports: blocks,
        } = &rtcp::parse(first).unwrap()[0]
        else {
            panic!("no receiver report")
        };
        assert_eq!((*ssrc, blocks.len()), (reports.ssrc, 1));
        let block = blocks[0];
        // Three of eight are missing, and the counter has gone round once.
        assert_eq!(
            (block.ssrc, block.fraction_lost, block.cumulative_lost),
            (9, 96, 3)
        );
        assert_eq!(block.highest_sequence, 0x1_0001);
        assert_eq!(block.last_sr, 0x0203_0405);
        assert_eq!(block.delay_since_last_sr, 5 << 16);
        let empty = Rtcp::ReceiverReport {
            ssrc: *ssrc,
            reports: Vec::new(),
        };
        assert_eq!(rtcp::parse(second).unwrap()[0], empty);
        // The next one counts from here.
        reports.packet(TrackId(0), &packet(2, 0), start + INTERVAL);
        let again = reports.take(start + 3 * INTERVAL);
        let Rtcp::ReceiverReport { reports: blocks, .. } = &rtcp::parse(&again[0].1).unwrap()[0] else {
            panic!("no receiver report")
        };
        assert_eq!((blocks[0].fraction_lost, blocks[0].cumulative_lost), (0, 3));
    }

    #[test]
    fn a_sender_report_that_overtook_the_first_packet_counts() {
        let start = SystemClock::shared().now();
        let mut reports = Reports::new([Rate::VIDEO].into_iter(), start);
        reports.sender_report(TrackId(0), 9, NtpTime(7 << 16), start);
        reports.packet(TrackId(0), &packet(1, 0), start);
        let taken = reports.take(start + INTERVAL);
        let Rtcp::ReceiverReport { reports: blocks, .. } = &rtcp::parse(&taken[0].1).unwrap()[0] else {
            panic!("no receiver report")
        };
        assert_eq!(blocks[0].last_sr, 7);
    }

    #[test]
    fn reports_come_as_often_as_the_standard_wants_and_the_first_in_half_the_time() {
        let near =
            |got: Duration, ms: u64| got.abs_diff(Duration::from_millis(ms)) < Duration::from_millis(1);
        assert!(near(interval(0.0), 2052) && near(interval(0.5), 4104) && near(interval(1.0), 6156));
        let start = SystemClock::shared().now();
        let mut reports = Reports::new([Rate::VIDEO].into_iter(), start);
        for _ in 0..100 {
            reports.begin(start);
            let first = reports.due() - start;
            assert!(
                first >= interval(0.0) / 2 && first <= interval(1.0) / 2,
                "{first:?}"
            );
            let at = reports.due();
            assert_eq!(reports.take(at).len(), 1);
            let next = reports.due() - at;
            assert!(next >= interval(0.0) && next <= interval(1.0), "{next:?}");
        }
    }
}
