//! RTCP: sender and receiver reports, BYE, and what a receiver counts for them (RFC 3550 section 6).
//!
//! When reports are due is not decided here. Source descriptions (SDES) of others are dropped unread: their
//! CNAME is usually `user@host`. Ours carries a random token of the stream.

use std::time::Duration;
use std::time::Instant;

use rtcp_types::Bye;
use rtcp_types::Compound;
use rtcp_types::RtcpPacket;
use rtcp_types::Sdes;
use rtcp_types::SdesChunk;
use rtcp_types::SdesItem;
use rtcp_types::prelude::RtcpPacketParser;
use rtcp_types::prelude::RtcpPacketWriterExt;

use crate::base::time::NtpTime;
use crate::base::time::Rate;

/// The largest RTCP datagram that is looked at, in bytes: a UDP payload cannot be larger.
const MAX_BYTES: usize = 65_507;

/// Longest CNAME that fits its length byte.
const MAX_CNAME_BYTES: usize = 255;

/// One packet of a compound, as far as somebody here needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rtcp {
    /// Ties the sender's RTP clock to its wall clock (RFC 3550 section 6.4.1).
    SenderReport { ssrc: u32, ntp: NtpTime, rtp_time: u32 },
    /// What a receiver has seen of each sender (RFC 3550 section 6.4.2).
    ReceiverReport { ssrc: u32, reports: Vec<ReportBlock> },
    /// The sender ends its stream (RFC 3550 section 6.6).
    Bye,
    /// Understood as RTCP, and not needed: feedback, APP, XR, and SDES, which is never read.
    Other,
}

/// What a receiver says of one sender (RFC 3550 section 6.4.1, lower half).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportBlock {
    /// The sender that is reported on.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost since the beginning; duplicates count negative. 24 bits on the wire.
    pub cumulative_lost: i32,
    /// Highest sequence number, with the count of wraps in the upper 16 bits.
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last sender report; 0: none came.
    pub last_sr: u32,
    /// Since that report arrived, in 65536ths of a second.
    pub delay_since_last_sr: u32,
}

/// Why bytes are not RTCP.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RtcpError {
    /// Nothing in it could be read; `at` counts bytes from the start of the datagram.
    #[error("rtcp: no packet at byte {at} of {bytes}: {what}; the datagram is skipped")]
    Malformed {
        at: usize,
        bytes: usize,
        what: &'static str,
    },
}

/// A compound of sender report and CNAME. `cname` is a random token, never a host or user name.
///
/// Take `ntp` and `rtp_time` at the same moment. `packets` and `octets` (payload only) are the counts since
/// the SSRC began, modulo 2^32.
pub fn sender_report(
    ssrc: u32,
    ntp: NtpTime,
    rtp_time: u32,
    packets: u32,
    octets: u32,
    cname: &str,
) -> Vec<u8> {
    let report = rtcp_types::SenderReport::builder(ssrc)
        .ntp_timestamp(ntp.0)
        .rtp_timestamp(rtp_time)
        .packet_count(packets)
        .octet_count(octets);
    written(
        &Compound::builder()
            .add_packet(report)
            .add_packet(source_description(ssrc, cname)),
    )
}

/// A compound of receiver report and CNAME. Without `reports` it only says that somebody is there.
///
/// Only the first 31 `reports` are sent: that is what one packet holds.
pub fn receiver_report(ssrc: u32, reports: &[ReportBlock], cname: &str) -> Vec<u8> {
    let mut report = rtcp_types::ReceiverReport::builder(ssrc);
    for block in reports
        .iter()
        .take(usize::from(rtcp_types::ReceiverReport::MAX_COUNT))
    {
        report = report.add_report_block(block.builder());
    }
    written(
        &Compound::builder()
            .add_packet(report)
            .add_packet(source_description(ssrc, cname)),
    )
}

/// The end of a stream: an empty receiver report, which every compound must begin with, and BYE. 16 bytes.
pub fn bye(ssrc: u32) -> Vec<u8> {
    let report = rtcp_types::ReceiverReport::builder(ssrc);
    written(
        &Compound::builder()
            .add_packet(report)
            .add_packet(Bye::builder().add_source(ssrc)),
    )
}

/// The smallest valid report, 8 bytes: FFmpeg stumbles over interleaved frames below that. Opens firewalls
/// and NATs towards a publisher.
pub fn empty_receiver_report(ssrc: u32) -> Vec<u8> {
    written(&rtcp_types::ReceiverReport::builder(ssrc))
}

/// Reads a datagram or an interleaved frame. Whatever follows the last good packet is ignored, as are
/// violations of the order of packets: cameras send both.
pub fn parse(data: &[u8]) -> Result<Vec<Rtcp>, RtcpError> {
    let malformed = |at, what| RtcpError::Malformed {
        at,
        bytes: data.len(),
        what,
    };
    if data.len() > MAX_BYTES {
        return Err(malformed(0, "longer than a datagram can be"));
    }
    let mut found = Vec::new();
    let mut at = 0;
    while at < data.len() {
        match next_packet(&data[at..]) {
            Ok((packet, bytes)) => {
                found.push(packet);
                at += bytes;
            }
            Err(what) if found.is_empty() => return Err(malformed(at, what)),
            Err(_) => break,
        }
    }
    if found.is_empty() {
        Err(malformed(0, "it is empty"))
    } else {
        Ok(found)
    }
}

impl ReportBlock {
    fn builder(&self) -> rtcp_types::ReportBlockBuilder {
        rtcp_types::ReportBlock::builder(self.ssrc)
            .fraction_lost(self.fraction_lost)
            .cumulative_lost(self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned() & 0xff_ffff)
            .extended_sequence_number(self.highest_sequence)
            .interarrival_jitter(self.jitter)
            .last_sender_report_timestamp(self.last_sr)
            .delay_since_last_sender_report_timestamp(self.delay_since_last_sr)
    }

    fn read(block: &rtcp_types::ReportBlock) -> Self {
        Self {
            ssrc: block.ssrc(),
            fraction_lost: block.fraction_lost(),
            // Sign-extends 24 bits.
            cumulative_lost: (block.cumulative_lost() << 8).cast_signed() >> 8,
            highest_sequence: block.extended_sequence_number(),
            jitter: block.interarrival_jitter(),
            last_sr: block.last_sender_report_timestamp(),
            delay_since_last_sr: block.delay_since_last_sender_report_timestamp(),
        }
    }
}

fn source_description(ssrc: u32, cname: &str) -> rtcp_types::SdesBuilder<'_> {
    let mut end = cname.len().min(MAX_CNAME_BYTES);
    while !cname.is_char_boundary(end) {
        end -= 1;
    }
    let item = SdesItem::builder(SdesItem::CNAME, &cname[..end]);
    Sdes::builder().add_chunk(SdesChunk::builder(ssrc).add_item(item))
}

fn written(packet: &impl RtcpPacketWriterExt) -> Vec<u8> {
    let size = packet
        .calculate_size()
        .expect("counts and lengths were bounded by the callers");
    let mut out = vec![0; size];
    packet
        .write_into(&mut out)
        .expect("the buffer has the calculated size");
    out
}

/// The packet at the start of `data`, and its length in bytes.
fn next_packet(data: &[u8]) -> Result<(Rtcp, usize), &'static str> {
    let &[first, kind, hi, lo, ..] = data else {
        return Err("shorter than a header");
    };
    if first >> 6 != rtcp_types::SenderReport::VERSION {
        return Err("the version is not 2");
    }
    let bytes = (usize::from(u16::from_be_bytes([hi, lo])) + 1) * 4;
    let body = data.get(..bytes).ok_or("it ends before its length says")?;
    let packet = match kind {
        rtcp_types::SenderReport::PACKET_TYPE => {
            let sr = rtcp_types::SenderReport::parse(body).map_err(|_| "a broken sender report")?;
            let ntp = NtpTime(sr.ntp_timestamp());
            Rtcp::SenderReport {
                ssrc: sr.ssrc(),
                ntp,
                rtp_time: sr.rtp_timestamp(),
            }
        }
        rtcp_types::ReceiverReport::PACKET_TYPE => {
            let rr = rtcp_types::ReceiverReport::parse(body).map_err(|_| "a broken receiver report")?;
            let reports = rr.report_blocks().map(|b| ReportBlock::read(&b)).collect();
            Rtcp::ReceiverReport {
                ssrc: rr.ssrc(),
                reports,
            }
        }
        // Its reason is text of a stranger, so it is not even parsed.
        Bye::PACKET_TYPE => Rtcp::Bye,
        192..=223 => Rtcp::Other,
        _ => return Err("the packet type is none of RTCP"),
    };
    Ok((packet, bytes))
}

/// What a receiver counts about one sender (RFC 3550 appendices A.1, A.3, A.8). Starts over when the SSRC
/// changes.
#[derive(Clone, Debug)]
pub struct ReceiverStats {
    rate: Rate,
    source: Option<Source>,
    /// A report that came before the first packet of its sender: by UDP each goes its own way.
    early: Option<(u32, NtpTime, Instant)>,
}

/// A jump ahead of more than this many packets is a restart, not loss.
const MAX_DROPOUT: u16 = 3000;
/// A packet this late is still of the old sequence.
const MAX_MISORDER: u16 = 100;

#[derive(Clone, Debug)]
struct Source {
    ssrc: u32,
    /// Arrival of the first packet: the origin of the arrival times below.
    origin: Instant,
    first_sequence: u32,
    /// With the count of wraps in the bits above 16.
    highest: u32,
    received: u32,
    expected_at_report: u32,
    received_at_report: u32,
    /// The sequence number that would prove a restart.
    restart: Option<u16>,
    transit: Option<i32>,
    /// In 16ths of a clock unit.
    jitter: u32,
    last_sr: Option<(NtpTime, Instant)>,
}

impl ReceiverStats {
    /// Nothing received yet, on a track whose RTP clock runs at `rate`.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            source: None,
            early: None,
        }
    }

    /// Counts an RTP packet that arrived at `now`.
    pub fn packet(&mut self, ssrc: u32, sequence: u16, rtp_time: u32, now: Instant) {
        match &mut self.source {
            Some(source) if source.ssrc == ssrc => source.packet(sequence, rtp_time, now, self.rate),
            source => {
                let mut new = Source::new(ssrc, sequence, rtp_time, now);
                let early = self.early.take_if(|(from, ..)| *from == ssrc);
                new.last_sr = early.map(|(_, ntp, at)| (ntp, at));
                *source = Some(new);
            }
        }
    }

    /// Notes a sender report that arrived at `now`, so that the sender can measure the round trip.
    pub fn sender_report(&mut self, ssrc: u32, ntp: NtpTime, now: Instant) {
        match self.source.as_mut().filter(|s| s.ssrc == ssrc) {
            Some(source) => source.last_sr = Some((ntp, now)),
            None => self.early = Some((ssrc, ntp, now)),
        }
    }

    /// The block for a receiver report sent at `now`; `None` before the first packet. Loss counts from the
    /// last call.
    pub fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        Some(self.source.as_mut()?.report(now))
    }
}

impl Source {
    fn new(ssrc: u32, sequence: u16, rtp_time: u32, now: Instant) -> Self {
        Self {
            ssrc,
            origin: now,
            first_sequence: u32::from(sequence),
            highest: u32::from(sequence),
            received: 1,
            expected_at_report: 0,
            received_at_report: 0,
            restart: None,
            transit: Some(0u32.wrapping_sub(rtp_time).cast_signed()),
            jitter: 0,
            last_sr: None,
        }
    }

    fn packet(&mut self, sequence: u16, rtp_time: u32, now: Instant, rate: Rate) {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < MAX_DROPOUT {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
        } else if ahead <= u16::MAX - MAX_MISORDER {
            // A jump: loss of an hour or a sender that began anew. The next packet decides.
            if self.restart != Some(sequence) {
                self.restart = Some(sequence.wrapping_add(1));
                return;
            }
            self.first_sequence = u32::from(sequence);
            self.highest = self.first_sequence;
            (self.received, self.received_at_report, self.expected_at_report) = (0, 0, 0);
            self.transit = None;
        }
        self.restart = None;
        self.received = self.received.wrapping_add(1);
        self.measure_jitter(rtp_time, now, rate);
    }

    fn measure_jitter(&mut self, rtp_time: u32, now: Instant, rate: Rate) {
        let ticks =
            now.saturating_duration_since(self.origin).as_nanos() * u128::from(rate.hz()) / 1_000_000_000;
        let transit = (ticks as u32).wrapping_sub(rtp_time).cast_signed();
        if let Some(before) = self.transit.replace(transit) {
            let d = transit.wrapping_sub(before).unsigned_abs();
            // J += (|D| - J) / 16, kept in 16ths (RFC 3550 appendix A.8).
            self.jitter = self
                .jitter
                .saturating_add(d)
                .saturating_sub((self.jitter + 8) >> 4);
        }
    }

    fn report(&mut self, now: Instant) -> ReportBlock {
        let expected = self.highest.wrapping_sub(self.first_sequence).wrapping_add(1);
        let expected_since = expected.wrapping_sub(self.expected_at_report);
        let received_since = self.received.wrapping_sub(self.received_at_report);
        self.expected_at_report = expected;
        self.received_at_report = self.received;
        let lost_since = u64::from(expected_since.saturating_sub(received_since));
        let fraction = (lost_since << 8)
            .checked_div(u64::from(expected_since))
            .unwrap_or(0);
        let (last_sr, delay) = self.last_sr.map_or((0, Duration::ZERO), |(ntp, at)| {
            ((ntp.0 >> 16) as u32, now.saturating_duration_since(at))
        });
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: expected
                .wrapping_sub(self.received)
                .cast_signed()
                .clamp(-0x80_0000, 0x7f_ffff),
            highest_sequence: self.highest,
            jitter: self.jitter >> 4,
            last_sr,
            delay_since_last_sr: u32::try_from((delay.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NTP: NtpTime = NtpTime(0xe8f0_1234_8000_0000);

    #[test]
    fn a_sender_report_has_the_bytes_of_rfc_3550_and_our_token_as_cname() {
        let bytes = sender_report(0x0102_0304, NTP, 9, 7, 700, "k3x9");
        let want = [
            0x80, 200, 0, 6, 1, 2, 3, 4, 0xe8, 0xf0, 0x12, 0x34, 0x80, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0,
            2, 0xbc, // the report
            0x81, 202, 0, 3, 1, 2, 3, 4, 1, 4, b'k', b'3', b'x', b'9', 0, 0, // the CNAME, padded
        ];
        assert_eq!(bytes, want);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let sr = parse(&sender_report(5, NTP, 6, 0, 0, "t")).unwrap();
        assert_eq!(
            sr,
            [
                Rtcp::SenderReport {
                    ssrc: 5,
                    ntp: NTP,
                    rtp_time: 6
                },
                Rtcp::Other
            ]
        );
        let lost = ReportBlock {
            ssrc: 1,
            cumulative_lost: -3,
            fraction_lost: 9,
            ..ReportBlock::default()
        };
        let rr = parse(&receiver_report(5, &[lost], "t")).unwrap();
        assert_eq!(
            rr,
            [
                Rtcp::ReceiverReport {
                    ssrc: 5,
                    reports: vec![lost]
                },
                Rtcp::Other
            ]
        );
        let end = parse(&bye(5)).unwrap();
        assert_eq!(
            end,
            [
                Rtcp::ReceiverReport {
                    ssrc: 5,
                    reports: vec![]
                },
                Rtcp::Bye
            ]
        );
    }

    #[test]
    fn nothing_we_send_is_shorter_than_eight_bytes() {
        assert_eq!(empty_receiver_report(1).len(), 8);
        assert!(bye(1).len() >= 8 && receiver_report(1, &[], "").len() >= 8);
    }

    #[test]
    fn more_reports_and_longer_names_than_fit_are_cut() {
        let bytes = receiver_report(1, &[ReportBlock::default(); 40], &"é".repeat(200));
        let Rtcp::ReceiverReport { reports, .. } = &parse(&bytes).unwrap()[0] else {
            panic!("no report")
        };
        assert_eq!(reports.len(), 31);
    }

    #[test]
    fn trailing_garbage_is_ignored_and_leading_garbage_is_an_error() {
        let mut bytes = sender_report(1, NTP, 2, 3, 4, "t");
        bytes.extend([0xff, 0, 0]);
        assert_eq!(parse(&bytes).unwrap().len(), 2);
        let error = parse(&[0, 200, 0, 1, 0, 0, 0, 0]).unwrap_err().to_string();
        assert_eq!(
            error,
            "rtcp: no packet at byte 0 of 8: the version is not 2; the datagram is skipped"
        );
        assert!(parse(&[]).is_err());
    }

    #[test]
    fn a_source_description_of_a_stranger_is_not_kept() {
        let found = parse(&written(&source_description(1, "someone@desk.example"))).unwrap();
        assert_eq!(format!("{found:?}"), "[Other]");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            drop(parse(&bytes));
        }
        #[test]
        fn no_bytes_after_a_header_panic(kind in 192u8..=223, first: u8, body: [u8; 61], len in 0usize..61) {
            let body = &body[..len];
            let words = (body.len() / 4) as u8;
            let mut bytes = vec![0x80 | first >> 2, kind, 0, words];
            bytes.extend(body);
            drop(parse(&bytes));
        }
    }

    /// A receiver fed with `(sequence, rtp time, milliseconds)` at 8 kHz.
    fn fed(packets: impl IntoIterator<Item = (u16, u32, u64)>) -> (ReceiverStats, Instant) {
        let start = Instant::now();
        let mut stats = ReceiverStats::new(Rate::new(8000).unwrap());
        for (sequence, rtp_time, ms) in packets {
            stats.packet(7, sequence, rtp_time, start + Duration::from_millis(ms));
        }
        (stats, start)
    }

    #[test]
    fn loss_counts_per_report_and_in_total() {
        let (mut stats, t) = fed([(10, 0, 0), (11, 160, 20), (13, 480, 60), (14, 640, 80)]);
        let first = stats.report(t).unwrap();
        assert_eq!(
            (first.ssrc, first.cumulative_lost, first.fraction_lost),
            (7, 1, 256u16.div_euclid(5) as u8)
        );
        stats.packet(7, 15, 800, t + Duration::from_millis(100));
        let second = stats.report(t).unwrap();
        assert_eq!(
            (
                second.cumulative_lost,
                second.fraction_lost,
                second.highest_sequence
            ),
            (1, 0, 15)
        );
    }

    #[test]
    fn the_sequence_wrap_is_no_loss_and_duplicates_count_negative() {
        let (mut stats, t) = fed([(65_534, 0, 0), (65_535, 0, 0), (0, 0, 0), (1, 0, 0), (1, 0, 0)]);
        let report = stats.report(t).unwrap();
        assert_eq!(
            (
                report.highest_sequence,
                report.cumulative_lost,
                report.fraction_lost
            ),
            (0x1_0001, -1, 0)
        );
    }

    #[test]
    fn a_late_packet_does_not_move_the_highest_sequence_back() {
        let (mut stats, t) = fed([(100, 0, 0), (102, 0, 0), (101, 0, 0)]);
        let report = stats.report(t).unwrap();
        assert_eq!((report.highest_sequence, report.cumulative_lost), (102, 0));
    }

    #[test]
    fn a_sender_that_begins_anew_is_believed_at_its_second_packet() {
        let (mut stats, t) = fed([(100, 0, 0), (40_000, 0, 0)]);
        assert_eq!(stats.report(t).unwrap().highest_sequence, 100);
        stats.packet(7, 40_001, 0, t);
        let report = stats.report(t).unwrap();
        assert_eq!((report.highest_sequence, report.cumulative_lost), (40_001, 0));
        stats.packet(8, 5, 0, t);
        assert_eq!(stats.report(t).unwrap().ssrc, 8);
    }

    #[test]
    fn even_arrival_has_no_jitter_and_uneven_arrival_converges_to_its_size() {
        let (mut even, t) = fed((0..200).map(|i| (i, u32::from(i) * 160, u64::from(i) * 20)));
        assert_eq!(even.report(t).unwrap().jitter, 0);
        let (mut uneven, t) =
            fed((0..200).map(|i| (i, u32::from(i) * 160, u64::from(i) * 20 + u64::from(i % 2) * 5)));
        assert!(
            (35..=40).contains(&uneven.report(t).unwrap().jitter),
            "5 ms are 40 units"
        );
    }

    #[test]
    fn the_last_sender_report_comes_back_with_its_age() {
        let (mut stats, t) = fed([(1, 0, 0)]);
        assert_eq!(stats.report(t).unwrap().last_sr, 0);
        stats.sender_report(7, NTP, t);
        let report = stats.report(t + Duration::from_millis(1500)).unwrap();
        assert_eq!(
            (report.last_sr, report.delay_since_last_sr),
            (0x1234_8000, 3 << 15)
        );
    }
}
