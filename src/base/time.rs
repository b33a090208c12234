//! Units of time as types: media clocks, RTP's 32 bits, NTP's 32.32 fixed point.

use std::num::NonZeroU32;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Units per second of a media clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate(NonZeroU32);

impl Rate {
    /// The clock of nearly all video in RTP (RFC 3551 section 5).
    pub const VIDEO: Self = Self(NonZeroU32::new(90_000).expect("not zero"));

    /// Microseconds, as FFmpeg's libraries count.
    pub const MICROS: Self = Self(NonZeroU32::new(1_000_000).expect("not zero"));

    /// `None` for zero: a clock that stands still is a bad input, not a rate.
    pub fn new(hz: u32) -> Option<Self> {
        NonZeroU32::new(hz).map(Self)
    }
    /// Units per second.
    pub fn hz(self) -> u32 {
        self.0.get()
    }
}

/// A time on a track's own clock. `ticks` never wraps; RTP's 32 bits are extended on the way in.
///
/// There is no order on purpose: times of different rates do not compare by ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaTime {
    /// Units of `rate` since the track's origin.
    pub ticks: i64,
    /// Units per second.
    pub rate: Rate,
}

impl MediaTime {
    /// A time of `ticks` units of `rate`.
    pub fn new(ticks: i64, rate: Rate) -> Self {
        Self { ticks, rate }
    }
    /// The same time on another clock. Rounds down; no pair of rates can overflow.
    pub fn rescale(self, to: Rate) -> Self {
        let n = i128::from(self.ticks) * i128::from(to.hz());
        let d = i128::from(self.rate.hz());
        let ticks = i64::try_from(n.div_euclid(d)).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX });
        Self { ticks, rate: to }
    }
    /// The low 32 bits, which is what RTP carries.
    pub fn rtp(self) -> u32 {
        self.ticks as u32
    }
}

/// Extends 32-bit RTP timestamps; a step of less than half the range may go either way.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    last: Option<i64>,
    rate: Rate,
}

impl Timeline {
    /// A time line of a track whose clock runs at `rate`.
    pub fn new(rate: Rate) -> Self {
        Self { last: None, rate }
    }
    /// The full time of an RTP timestamp, given those before it.
    pub fn extend(&mut self, rtp: u32) -> MediaTime {
        let ticks = match self.last {
            None => i64::from(rtp),
            Some(last) => last + i64::from(rtp.wrapping_sub(last as u32) as i32),
        };
        self.last = Some(ticks);
        MediaTime::new(ticks, self.rate)
    }
}

/// Seconds since 1900 in 32.32 fixed point, as RTCP sender reports carry it (RFC 3550 section 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NtpTime(pub u64);

/// Seconds from 1900 to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

impl NtpTime {
    /// Wall time as NTP. Times before 1970 become 1970.
    pub fn from_system_time(t: SystemTime) -> Self {
        let d = t.duration_since(UNIX_EPOCH).unwrap_or_default();
        let fraction = (u64::from(d.subsec_nanos()) << 32) / 1_000_000_000;
        Self((d.as_secs().wrapping_add(NTP_TO_UNIX) << 32) | fraction)
    }
    /// The time `d` later.
    pub fn plus(self, d: Duration) -> Self {
        let fraction = (u64::from(d.subsec_nanos()) << 32) / 1_000_000_000;
        Self(self.0.wrapping_add((d.as_secs() << 32) | fraction))
    }
    /// Seconds from `earlier` to here, negative if it is later.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.wrapping_sub(earlier.0).cast_signed() as f64 / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescaling_from_the_origin_does_not_drift() {
        let audio = Rate::new(44_100).unwrap();
        let t = MediaTime::new(44_100 * 86_400 * 365, audio);
        assert_eq!(t.rescale(Rate::VIDEO).ticks, 90_000 * 86_400 * 365);
        assert_eq!(MediaTime::new(-1, Rate::VIDEO).rescale(audio).ticks, -1);
    }

    #[test]
    fn a_timeline_passes_the_32_bit_wrap_both_ways() {
        let mut line = Timeline::new(Rate::VIDEO);
        assert_eq!(line.extend(u32::MAX - 10).ticks, i64::from(u32::MAX) - 10);
        assert_eq!(line.extend(5).ticks, i64::from(u32::MAX) + 6);
        assert_eq!(line.extend(u32::MAX).ticks, i64::from(u32::MAX));
    }

    #[test]
    fn ntp_counts_from_1900() {
        assert_eq!(NtpTime::from_system_time(UNIX_EPOCH).0 >> 32, NTP_TO_UNIX);
        let later = NtpTime::from_system_time(UNIX_EPOCH).plus(Duration::from_millis(1500));
        assert!((later.seconds_since(NtpTime::from_system_time(UNIX_EPOCH)) - 1.5).abs() < 1e-6);
    }
}
