//! One time line for a path, whatever its cameras' clocks do. Pure.

use std::time::Duration;
use std::time::Instant;

use crate::base::time::MediaTime;
use crate::base::time::Rate;

/// A device's clock is trusted within this of ours; beyond, it was set, or is another's.
const TRUST: Duration = Duration::from_millis(200);
/// Two pictures are never closer than this (1 ms at 90 kHz): players divide by the difference.
const LEAST_STEP: i64 = 90;

/// Maps the times of devices to one line that starts at zero and always goes forward.
pub(crate) struct TimeLine {
    origin: Instant,
    /// Device microseconds and the line's microseconds that were the same moment.
    anchor: Option<(i64, i64)>,
    last: Option<i64>,
}

impl TimeLine {
    /// A line that begins now.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            anchor: None,
            last: None,
        }
    }
    /// The time of a picture that has just arrived. `device` is when its device says that it was taken, in
    /// microseconds of the device's clock: its steps are steadier than arrival times.
    pub(crate) fn of_device(&mut self, device: Option<i64>, now: Instant) -> MediaTime {
        let arrived = self.elapsed(now);
        let Some(device) = device else {
            return self.forward(arrived);
        };
        let (at_device, at_line) = *self.anchor.get_or_insert((device, arrived));
        let taken = at_line.saturating_add(device.saturating_sub(at_device));
        if taken.abs_diff(arrived) <= TRUST.as_micros() as u64 {
            return self.forward(taken);
        }
        self.anchor = Some((device, arrived));
        self.forward(arrived)
    }
    /// The time of a picture of our own.
    pub(crate) fn now(&mut self, now: Instant) -> MediaTime {
        let micros = self.elapsed(now);
        self.forward(micros)
    }
    /// The device is another one now, or was opened again.
    pub(crate) fn forget_device(&mut self) {
        self.anchor = None;
    }
    fn elapsed(&self, now: Instant) -> i64 {
        i64::try_from(now.saturating_duration_since(self.origin).as_micros()).unwrap_or(i64::MAX)
    }
    fn forward(&mut self, micros: i64) -> MediaTime {
        let ticks = micros.saturating_mul(9) / 100; // 1 000 000 to 90 000 per second
        let ticks = self.last.map_or(ticks, |last| ticks.max(last + LEAST_STEP));
        self.last = Some(ticks);
        MediaTime::new(ticks, Rate::VIDEO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_devices_steps_are_kept_though_arrival_jitters() {
        let start = Instant::now();
        let mut line = TimeLine::new(start);
        let device = |n: i64| Some(5_000_000 + n * 33_333);
        let first = line.of_device(device(0), start + ms(100)).ticks;
        let second = line.of_device(device(1), start + ms(100 + 60)).ticks;
        let third = line.of_device(device(2), start + ms(100 + 67)).ticks;
        assert_eq!(first, 9000);
        assert_eq!((second - first, third - second), (2999, 3000));
    }

    #[test]
    fn a_clock_that_jumps_or_drifts_is_anchored_again() {
        let start = Instant::now();
        let mut line = TimeLine::new(start);
        line.of_device(Some(0), start);
        // Set by a day: the line goes on with the arrival time, then with the device's steps again.
        let day = 86_400_000_000;
        assert_eq!(line.of_device(Some(day), start + ms(40)).ticks, 3600);
        assert_eq!(
            line.of_device(Some(day + 33_000), start + ms(90)).ticks,
            3600 + 2970
        );
        // A device that is 1 % slow for a minute stays within what is trusted of us.
        for n in 1..=1800_i64 {
            let now = start + ms(90) + Duration::from_micros(n as u64 * 33_333);
            let at = line.of_device(Some(day + 33_000 + n * 33_000), now).ticks;
            let off = at * 100 / 9 - i64::try_from(now.duration_since(start).as_micros()).unwrap();
            assert!(off.abs() <= 250_000, "{off} us off at picture {n}");
        }
    }

    #[test]
    fn the_line_goes_on_without_the_device_and_never_back() {
        let start = Instant::now();
        let mut line = TimeLine::new(start);
        line.of_device(Some(0), start + ms(1000));
        let waiting = line.now(start + ms(1500)).ticks;
        assert_eq!(waiting, 135_000);
        line.forget_device();
        let again = line.of_device(Some(77), start + ms(1500)).ticks;
        assert_eq!(again, waiting + LEAST_STEP);
        assert_eq!(line.of_device(None, start + ms(1533)).ticks, 137_970);
    }
}
