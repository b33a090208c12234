//! One time line for a path, whatever its cameras' clocks do. Pure.

use std::time::Instant;

use crate::base::time::MediaTime;
use crate::base::time::Rate;

/// A picture that seems to be later than this was not: the device's clock was set, or is another's.
const LATEST: i64 = 2_000_000;
/// How fast the line gives in to a device whose clock is slow, parts per million of the time that passes.
const CREEP_PPM: i64 = 500;
/// Two pictures are never closer than this (1 ms at 90 kHz): players divide by the difference.
const LEAST_STEP: i64 = 90;

/// Maps the times of devices to one line that starts at zero and always goes forward.
///
/// A picture can arrive late (a busy machine, a queue in the driver) but never early, so the smallest delay
/// seen is the true relation of the two clocks; it may grow slowly, since clocks drift.
pub(crate) struct TimeLine {
    origin: Instant,
    anchor: Option<Anchor>,
    last: Option<i64>,
}

#[derive(Clone, Copy)]
struct Anchor {
    /// What to add to the device's microseconds.
    offset: i64,
    /// The device's newest time.
    newest: i64,
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
        let offset = arrived.saturating_sub(device);
        let anchor = self.anchor.get_or_insert(Anchor {
            offset,
            newest: device,
        });
        let passed = device.saturating_sub(anchor.newest);
        let late = offset.saturating_sub(anchor.offset);
        if !(0..=LATEST).contains(&late) || passed < 0 {
            anchor.offset = offset;
        } else {
            anchor.offset += late.min(passed.saturating_mul(CREEP_PPM) / 1_000_000);
        }
        anchor.newest = device;
        let taken = device.saturating_add(anchor.offset);
        self.forward(taken)
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
    use std::time::Duration;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_devices_steps_are_kept_though_arrival_jitters() {
        let start = Instant::now();
        let mut line = TimeLine::new(start);
        let mut at = |n: i64, arrived| {
            line.of_device(Some(5_000_000 + n * 33_333), start + ms(arrived))
                .ticks
        };
        let (first, second, third) = (at(0, 100), at(1, 160), at(2, 167));
        assert_eq!(first, 9000);
        assert!((second - first - 3000).abs() < 5, "{first} {second}");
        assert!((third - second - 3000).abs() < 5, "{second} {third}");
        // Three that waited in a queue for a second are not pressed together.
        let queued = [at(3, 1200), at(4, 1200), at(5, 1200)];
        assert!(
            queued.windows(2).all(|w| (w[1] - w[0] - 3000).abs() < 5),
            "{queued:?}"
        );
    }

    #[test]
    fn the_smallest_delay_counts_though_the_first_picture_was_slow() {
        let start = Instant::now();
        let mut line = TimeLine::new(start);
        line.of_device(Some(0), start + ms(900));
        let second = line.of_device(Some(33_333), start + ms(920)).ticks;
        assert_eq!(second, 82_800, "the moment of arrival");
        let third = line.of_device(Some(1_033_333), start + ms(1925)).ticks;
        assert!((third - second - 90_000).abs() < 100);
    }

    #[test]
    fn a_clock_that_jumps_or_drifts_is_followed() {
        let start = Instant::now();
        let mut line = TimeLine::new(start);
        line.of_device(Some(0), start);
        // Set by a day, either way: the line goes on with the arrival time, then with the device's steps.
        let day = 86_400_000_000;
        assert_eq!(line.of_device(Some(-day), start + ms(40)).ticks, 3600);
        assert_eq!(line.of_device(Some(day), start + ms(80)).ticks, 7200);
        // A device that is 200 ppm slow or fast for an hour stays within a tenth of a second of us.
        for slower in [-200, 200] {
            let mut line = TimeLine::new(start);
            for n in 0..3600_u64 {
                let device = n as i64 * (1_000_000 - slower);
                let now = start + Duration::from_secs(n);
                let at = line.of_device(Some(device), now).ticks;
                let off = at - n as i64 * 90_000;
                assert!(off.abs() <= 9000, "{off} ticks off after {n} s");
            }
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
