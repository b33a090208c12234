//! Times counted in buckets, so that a million of them take no more memory than ten.

/// Buckets per doubling: a reading is at most 1/64 (1.6 %) too small.
const STEPS: u32 = 64;

/// Counts of times in microseconds, up to an hour and more.
#[derive(Default)]
pub(crate) struct Histogram {
    /// Grows to the largest bucket in use, at most some 1700.
    buckets: Vec<u64>,
    count: u64,
    max: u32,
}

impl Histogram {
    pub(crate) fn record(&mut self, micros: u64) {
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        let bucket = bucket(micros);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.max = self.max.max(micros);
    }
    /// The time in milliseconds below which so many percent lie; NaN when nothing was recorded.
    pub(crate) fn percentile(&self, percent: u64) -> f64 {
        let rank = (self.count * percent / 100).min(self.count.saturating_sub(1));
        let mut below = 0;
        for (bucket, n) in self.buckets.iter().enumerate() {
            below += n;
            if below > rank {
                return f64::from(lower_end(bucket).min(self.max)) / 1000.0;
            }
        }
        f64::NAN
    }
    /// In milliseconds.
    pub(crate) fn max(&self) -> f64 {
        f64::from(self.max) / 1000.0
    }
}

/// Below 128 each microsecond has its own, above each doubling has 64.
fn bucket(micros: u32) -> usize {
    let doublings = (micros | 1).ilog2().saturating_sub(STEPS.ilog2());
    (doublings * STEPS + (micros >> doublings)) as usize
}

fn lower_end(bucket: usize) -> u32 {
    let bucket = u32::try_from(bucket).expect("there are some 1700");
    let doublings = (bucket / STEPS).saturating_sub(1);
    (bucket - doublings * STEPS) << doublings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_at_most_one_step_too_small() {
        for micros in [0, 1, 63, 64, 127, 128, 129, 1000, 33_333, 1_000_000, u32::MAX] {
            let read = lower_end(bucket(micros));
            assert!(
                read <= micros && micros - read <= micros / STEPS,
                "{micros} reads {read}"
            );
        }
    }

    #[test]
    fn nothing_recorded_is_not_no_delay() {
        assert!(Histogram::default().percentile(50).is_nan());
    }

    #[test]
    fn the_slowest_of_a_hundred_is_not_in_the_middle() {
        let mut times = Histogram::default();
        (0..99).for_each(|_| times.record(100));
        times.record(5000);
        assert_eq!((times.percentile(50), times.max()), (0.1, 5.0));
        assert!(times.percentile(99) > 4.9);
    }
}
