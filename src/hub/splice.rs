//! Many openings of a source as one stream: sequence numbers, time stamps and payload types go on where they
//! were, whatever the source begins with each time. Pure.
//!
//! The hub gives packets our SSRC and keeps gaps in the numbers (RFC 3550 section 5.1); here the numbers of
//! one opening are joined to those of the one before, so that its readers notice a pause and nothing else.

use std::time::Duration;
use std::time::Instant;

use crate::base::time::NtpTime;
use crate::base::time::Rate;
use crate::media::Description;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::rtp::Header;

/// A time stamp that is further than this from what the arrival says belongs to another time line.
const JUMP: Duration = Duration::from_secs(10);
/// A gap of more than this many sequence numbers is a restart, not a loss.
const MAX_GAP: u16 = 3000;
/// So many packets that seem to be late are not late: the source counts anew.
const MAX_LATE: u8 = 32;
/// The source's wall clock was set when its reports are off by more than this, in units of [`NtpTime`].
const CLOCK_SET: i64 = 2 << 32;
/// Packet types that are never the track's own: comfort noise, and one that a maker of cameras slips in.
const FOREIGN_TYPES: [u8; 2] = [13, 50];

/// Joins the openings of one source.
pub struct Splice {
    lines: Vec<Line>,
    /// What to add to the source's wall clock to have ours.
    wall: Option<i64>,
}

/// One track.
struct Line {
    payload_type: u8,
    rate: Rate,
    /// This opening has had a packet.
    joined: bool,
    /// The payload type that the source uses, where that is not what it said.
    actual_type: Option<u8>,
    /// What to add to the source's sequence numbers, and to its time stamps.
    offset: u16,
    shift: u32,
    last_in: Option<u16>,
    last_out: Option<u16>,
    late: u8,
    /// The newest packet ended an access unit.
    ended: bool,
    newest: Option<(u32, Instant)>,
}

impl Splice {
    /// For the tracks that readers were told of.
    pub fn new(description: &Description) -> Self {
        Self {
            lines: description.tracks.iter().map(Line::new).collect(),
            wall: None,
        }
    }
    /// The source was opened again: what comes next is joined to what was.
    pub fn restart(&mut self) {
        self.wall = None;
        for line in &mut self.lines {
            line.joined = false;
            line.actual_type = None;
        }
    }
    /// Rewrites one packet in place. False: it belongs to nothing that was announced.
    pub fn packet(&mut self, track: TrackId, packet: &mut [u8], now: Instant) -> bool {
        let Ok(header) = Header::parse(packet) else {
            return false;
        };
        let Some(line) = self.lines.get_mut(usize::from(track.0)) else {
            return false;
        };
        if !line.takes(header.payload_type) {
            return false;
        }
        let time = line.time(header.timestamp, now); // first: the sequence number makes it joined
        let sequence = line.sequence(header.sequence);
        line.ended = header.marker;
        packet[1] = packet[1] & 0x80 | line.payload_type;
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&time.to_be_bytes());
        true
    }
    /// The time stamp of an access unit on the track's clock, given that of the source.
    pub fn unit_time(&mut self, track: TrackId, rtp_time: u32, now: Instant) -> Option<u32> {
        let line = self.lines.get_mut(usize::from(track.0))?;
        let time = line.time(rtp_time, now);
        line.joined = true;
        Some(time)
    }
    /// A sender report on our clocks. Cameras' wall clocks are often wrong, so only their steps count: all tracks
    /// of an opening are moved alike.
    pub fn report(
        &mut self,
        track: TrackId,
        ntp: NtpTime,
        rtp_time: u32,
        wall: NtpTime,
    ) -> Option<(NtpTime, u32)> {
        let line = self.lines.get(usize::from(track.0)).filter(|l| l.joined)?;
        let (newest, _) = line.newest?;
        let rtp_time = rtp_time.wrapping_add(line.shift);
        // A report about a time that this track is nowhere near would tear the tracks apart.
        if ticks(JUMP, line.rate) < i64::from(rtp_time.wrapping_sub(newest).cast_signed()).abs() {
            return None;
        }
        let off = wall.0.wrapping_sub(ntp.0).cast_signed();
        let moved = match self.wall {
            Some(known) if off.wrapping_sub(known).saturating_abs() <= CLOCK_SET => known,
            _ => *self.wall.insert(off),
        };
        Some((NtpTime(ntp.0.wrapping_add_signed(moved)), rtp_time))
    }
}

impl Line {
    fn new(track: &Track) -> Self {
        Self {
            payload_type: track.payload_type,
            rate: track.rate,
            joined: false,
            actual_type: None,
            offset: 0,
            shift: 0,
            last_in: None,
            last_out: None,
            late: 0,
            ended: true,
            newest: None,
        }
    }
    /// Whether packets of this type are the track's. A source that says one type and sends another is
    /// believed by what it sends.
    fn takes(&mut self, payload_type: u8) -> bool {
        if payload_type == self.payload_type {
            self.actual_type = Some(payload_type);
            return true;
        }
        if FOREIGN_TYPES.contains(&payload_type) {
            return false;
        }
        *self.actual_type.get_or_insert(payload_type) == payload_type
    }
    fn sequence(&mut self, sequence: u16) -> u16 {
        let step = self.last_in.map(|last| sequence.wrapping_sub(last));
        let continues = match step {
            _ if !self.joined => false,
            Some(1..MAX_GAP) => true,
            Some(0) => return sequence.wrapping_add(self.offset), // twice
            Some(step) if step > u16::MAX - MAX_GAP && self.late < MAX_LATE => {
                self.late += 1;
                return sequence.wrapping_add(self.offset);
            }
            _ => false,
        };
        if !continues && let Some(last) = self.last_out {
            // One number is left out where an access unit was cut off, so that nobody takes it for whole.
            let next = last.wrapping_add(if self.ended { 1 } else { 2 });
            self.offset = next.wrapping_sub(sequence);
        }
        self.joined = true;
        self.late = 0;
        self.last_in = Some(sequence);
        let out = sequence.wrapping_add(self.offset);
        self.last_out = Some(out);
        out
    }
    /// Follows the source's steps; where they cannot be, and at a join, the time that has passed here.
    fn time(&mut self, rtp_time: u32, now: Instant) -> u32 {
        if let Some((newest, at)) = self.newest {
            let passed = ticks(now.saturating_duration_since(at), self.rate);
            let expected = newest.wrapping_add(passed.max(1) as u32); // modulo 2^32, as RTP counts
            let off = i64::from(
                rtp_time
                    .wrapping_add(self.shift)
                    .wrapping_sub(expected)
                    .cast_signed(),
            );
            if !self.joined || off.abs() > ticks(JUMP, self.rate) {
                self.shift = expected.wrapping_sub(rtp_time);
            }
        }
        let time = rtp_time.wrapping_add(self.shift);
        self.newest = Some((time, now));
        time
    }
}

/// A duration in units of a clock.
fn ticks(duration: Duration, rate: Rate) -> i64 {
    let ticks = duration.as_micros() * u128::from(rate.hz()) / 1_000_000;
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::sdp;

    const VIDEO: TrackId = TrackId(0);
    const AUDIO: TrackId = TrackId(1);

    fn splice() -> Splice {
        let text = "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\nm=audio 0 RTP/AVP 8\n";
        Splice::new(&sdp::parse(text.as_bytes()).unwrap().0)
    }

    /// A packet that ends an access unit.
    fn packet(payload_type: u8, sequence: u16, time: u32) -> Vec<u8> {
        let mut packet = vec![0x80, 0x80 | payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend(time.to_be_bytes());
        packet.extend([9, 9, 9, 9, 0x65]);
        packet
    }

    /// Sequence number and time that come out.
    fn pass(splice: &mut Splice, sequence: u16, time: u32, now: Instant) -> (u16, u32) {
        let mut bytes = packet(96, sequence, time);
        assert!(splice.packet(VIDEO, &mut bytes, now));
        let header = Header::parse(&bytes).unwrap();
        assert!(header.marker);
        (header.sequence, header.timestamp)
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_first_opening_passes_as_it_is() {
        let (mut s, t) = (splice(), Instant::now());
        assert_eq!(pass(&mut s, 700, 90_000, t), (700, 90_000));
        assert_eq!(pass(&mut s, 701, 93_600, t + ms(40)), (701, 93_600));
        assert_eq!(
            pass(&mut s, 704, 97_200, t + ms(80)),
            (704, 97_200),
            "a loss stays visible"
        );
        assert_eq!(
            pass(&mut s, 703, 97_200, t + ms(80)),
            (703, 97_200),
            "late is late"
        );
    }

    #[test]
    fn a_second_opening_goes_on_after_the_time_that_has_passed() {
        let (mut s, t) = (splice(), Instant::now());
        pass(&mut s, u16::MAX, u32::MAX, t);
        s.restart();
        assert_eq!(pass(&mut s, 12_000, 5, t + ms(2_000)), (0, 179_999));
        assert_eq!(
            pass(&mut s, 12_001, 3_605, t + ms(2_100)),
            (1, 183_599),
            "the source's own steps"
        );
        s.restart();
        // Even at once, no two pictures have one time.
        assert_eq!(pass(&mut s, 12_001, 3_605, t + ms(2_100)), (2, 183_600));
    }

    #[test]
    fn an_access_unit_that_was_cut_off_leaves_a_gap() {
        let (mut s, t) = (splice(), Instant::now());
        let mut open = packet(96, 10, 0);
        open[1] &= 0x7f;
        assert!(s.packet(VIDEO, &mut open, t));
        s.restart();
        assert_eq!(pass(&mut s, 500, 0, t).0, 12);
    }

    #[test]
    fn time_stamps_that_jump_are_put_back_on_the_line() {
        let (mut s, t) = (splice(), Instant::now());
        pass(&mut s, 1, 1_000_000, t);
        // A clock that was set, forth and back; then steps as before.
        assert_eq!(pass(&mut s, 2, 900_000_000, t + ms(40)).1, 1_003_600);
        assert_eq!(pass(&mut s, 3, 900_003_600, t + ms(80)).1, 1_007_200);
        assert_eq!(pass(&mut s, 4, 17, t + ms(120)).1, 1_010_800);
        // B-frames go back a little, slow sources far forward: both are true.
        assert_eq!(pass(&mut s, 5, 17 - 10, t + ms(160)).1, 1_010_790);
        assert_eq!(
            pass(&mut s, 6, 17 + 90_000 * 60, t + ms(60_160)).1,
            1_010_800 + 90_000 * 60
        );
    }

    #[test]
    fn a_source_that_counts_anew_is_followed() {
        let (mut s, t) = (splice(), Instant::now());
        pass(&mut s, 40_000, 0, t);
        assert_eq!(pass(&mut s, 3, 3_600, t + ms(40)).0, 40_001);
        // Back by less than what could be late: believed after a while.
        let mut last = 0;
        for n in 0..60 {
            last = pass(&mut s, 64_900_u16.wrapping_add(n), 7_200, t + ms(80)).0;
        }
        assert_eq!(last, 40_001 + 60 - u16::from(MAX_LATE));
    }

    #[test]
    fn payload_types_become_what_readers_were_told() {
        let (mut s, t) = (splice(), Instant::now());
        let mut other = packet(97, 1, 0);
        assert!(s.packet(VIDEO, &mut other, t));
        assert_eq!(other[1], 0x80 | 96);
        assert!(
            !s.packet(VIDEO, &mut packet(50, 2, 0), t),
            "slipped in by the maker"
        );
        assert!(!s.packet(VIDEO, &mut packet(98, 2, 0), t), "a third type");
        assert!(!s.packet(AUDIO, &mut packet(13, 2, 0), t), "comfort noise");
        assert!(!s.packet(TrackId(7), &mut packet(96, 2, 0), t));
        assert!(!s.packet(VIDEO, &mut [0x80], t));
    }

    #[test]
    fn reports_keep_tracks_together_whatever_the_cameras_clock_says() {
        let (mut s, t) = (splice(), Instant::now());
        let second = |n: u64| NtpTime(n << 32);
        assert_eq!(
            s.report(VIDEO, second(5), 0, second(1_000)),
            None,
            "nothing came yet"
        );
        pass(&mut s, 1, 90_000, t);
        assert!(s.packet(AUDIO, &mut packet(8, 1, 8_000), t));
        // The camera lives in its first minute; both tracks are moved alike though one report is late.
        assert_eq!(
            s.report(VIDEO, second(5), 90_000, second(1_000)),
            Some((second(1_000), 90_000))
        );
        assert_eq!(
            s.report(AUDIO, second(6), 16_000, second(1_002)),
            Some((second(1_001), 16_000))
        );
        // It finds out what time it is.
        assert_eq!(
            s.report(VIDEO, second(9_000), 180_000, second(1_010)),
            Some((second(1_010), 180_000))
        );
        assert_eq!(
            s.report(VIDEO, second(9_001), 90_000_000, second(1_011)),
            None,
            "nowhere near"
        );
        s.restart();
        assert_eq!(
            s.report(VIDEO, second(5), 0, second(1_020)),
            None,
            "not of this opening"
        );
    }

    #[test]
    fn access_units_are_joined_like_packets() {
        let (mut s, t) = (splice(), Instant::now());
        assert_eq!(s.unit_time(VIDEO, 500, t), Some(500));
        s.restart();
        assert_eq!(s.unit_time(VIDEO, 0, t + ms(1_000)), Some(90_500));
        assert_eq!(s.unit_time(VIDEO, 3_600, t + ms(1_000)), Some(94_100));
        assert_eq!(s.unit_time(TrackId(7), 0, t), None);
    }

    /// What a source does next.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A packet, so many numbers and ticks after the last, so many milliseconds later.
        Packet { sequence: u16, ticks: u32, ms: u64 },
        /// A new opening that begins anywhere.
        Restart { sequence: u16, ticks: u32, ms: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let packet = (1..3_u16, 0..9_000_u32, 0..100_u64);
        let restart = (any::<u16>(), any::<u32>(), 0..600_000_u64);
        prop_oneof![
            8 => packet.prop_map(|(sequence, ticks, ms)| Step::Packet { sequence, ticks, ms }),
            1 => restart.prop_map(|(sequence, ticks, ms)| Step::Restart { sequence, ticks, ms }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_a_source_begins_with_its_readers_see_small_steps(steps in prop::collection::vec(step(), 1..200)) {
            let (mut s, mut now) = (splice(), Instant::now());
            let (mut sequence, mut time) = (7_u16, 11_u32);
            let mut last = pass(&mut s, sequence, time, now);
            for step in steps {
                let (numbers, steps) = match step {
                    Step::Packet { sequence: n, ticks, ms } => {
                        (sequence, time) = (sequence.wrapping_add(n), time.wrapping_add(ticks));
                        now += Duration::from_millis(ms);
                        (n, ticks)
                    }
                    Step::Restart { sequence: n, ticks, ms } => {
                        s.restart();
                        (sequence, time) = (n, ticks);
                        now += Duration::from_millis(ms);
                        (1, u32::try_from(ms * 90).unwrap().max(1))
                    }
                };
                let out = pass(&mut s, sequence, time, now);
                prop_assert_eq!(out.0.wrapping_sub(last.0), numbers, "{:?}", step);
                prop_assert_eq!(out.1.wrapping_sub(last.1), steps, "{:?}", step);
                last = out;
            }
        }

        #[test]
        fn no_packet_and_no_report_is_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..40), ntp: u64, rtp: u32) {
            let (mut s, now) = (splice(), Instant::now());
            let mut packet = bytes.clone();
            s.packet(VIDEO, &mut packet, now);
            s.report(VIDEO, NtpTime(ntp), rtp, NtpTime(!ntp));
            s.restart();
            s.packet(AUDIO, &mut packet, now);
            prop_assert_eq!(packet.len(), bytes.len());
        }
    }
}
