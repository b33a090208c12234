//! How a stream reaches its readers, as they report it by RTCP (RFC 3550 section 6.4.1): one figure for all of
//! them together. Nothing of a single reader is kept.

use std::sync::Mutex;

use crate::base::time::Rate;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// A new report counts for so much of the figure: about the last thirty reports show in it.
const WEIGHT: f64 = 1.0 / 16.0;
/// Jitter beyond this is a broken report and not a network, in seconds.
const MAX_JITTER: f64 = 60.0;

/// What readers report of a stream, all together.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Quality {
    /// Reports that came.
    pub reports: u64,
    /// Lost packets of all, per cent; a mean in which newer reports weigh more.
    pub loss_percent: f64,
    /// Variation of the packets' travel time, milliseconds; such a mean too.
    pub jitter_ms: f64,
}

/// Collects reports.
#[derive(Default)]
pub(super) struct Reports(Mutex<Quality>);

impl Reports {
    /// Adds a reader's report: `lost` in 256ths of the packets since its last one, `jitter` in the track's clock.
    pub(super) fn add(&self, lost: u8, jitter: u32, rate: Rate) {
        let jitter = f64::from(jitter) / f64::from(rate.hz());
        if jitter > MAX_JITTER {
            return;
        }
        let mut q = self.0.lock().expect(NOT_POISONED);
        let weight = if q.reports == 0 { 1.0 } else { WEIGHT };
        q.reports += 1;
        q.loss_percent += weight * (f64::from(lost) / 2.56 - q.loss_percent);
        q.jitter_ms += weight * (jitter * 1000.0 - q.jitter_ms);
    }
    pub(super) fn get(&self) -> Quality {
        *self.0.lock().expect(NOT_POISONED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_many_readers_become_one_figure_that_follows_the_newest() {
        let reports = Reports::default();
        reports.add(64, 900, Rate::VIDEO);
        assert_eq!(
            reports.get(),
            Quality {
                reports: 1,
                loss_percent: 25.0,
                jitter_ms: 10.0
            }
        );
        for _ in 0..200 {
            reports.add(0, 0, Rate::VIDEO);
        }
        let q = reports.get();
        assert!(
            q.reports == 201 && q.loss_percent < 0.01 && q.jitter_ms < 0.01,
            "{q:?}"
        );
        reports.add(255, u32::MAX, Rate::VIDEO);
        assert_eq!(reports.get(), q, "nonsense is not counted");
    }
}
