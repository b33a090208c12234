//! How a stream reaches its readers, as they report it by RTCP (RFC 3550 section 6.4.1).
//!
//! With one viewer that would be their own measurement, with however many readers. So figures exist only for whole
//! windows of time in which readers of at least k viewers reported; each of them counts the same, however often it
//! speaks. Who is behind a reader is a number that the privacy door made, and means nothing. Nobody sees a window
//! that is not over, or two lookers would learn what the newest report said. A reader's own figures live in its
//! session, for one window.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use crate::base::time::Rate;
use crate::hub::stream::Stream;
use crate::proto::rtp::rtcp::ReportBlock;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// Twice what readers usually leave between two reports.
const WINDOW: Duration = Duration::from_secs(10);
/// Jitter beyond this is a broken report and not a network, in seconds.
const MAX_JITTER: f64 = 60.0;

/// What readers reported of a stream in the last whole window of ten seconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Quality {
    /// Readers of fewer than k viewers reported: their figures would be somebody's.
    BelowK,
    /// Those of at least k did.
    Of(Figures),
}

/// Means over readers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figures {
    /// Reports that came.
    pub reports: u64,
    /// Lost packets, per cent.
    pub loss_percent: f64,
    /// Variation of the packets' travel time, milliseconds.
    pub jitter_ms: f64,
}

/// Reports of one window.
#[derive(Default)]
struct Window {
    readers: u32,
    /// Different ones, as far as k.
    viewers: Vec<u64>,
    reports: u64,
    /// Sums of the means of readers.
    loss: f64,
    jitter: f64,
}

/// What a reader reported in one window.
#[derive(Clone, Copy, Default)]
struct Own {
    /// The same number for all readers of one viewer.
    viewer: u64,
    window: u64,
    reports: u32,
    /// Sums.
    loss: f64,
    jitter: f64,
}

impl Own {
    fn of(viewer: u64) -> Self {
        Self {
            viewer,
            ..Self::default()
        }
    }
    fn means(&self) -> (f64, f64) {
        let n = f64::from(self.reports.max(1));
        (self.loss / n, self.jitter / n)
    }
}

/// What a reader said of loss since it began, by source.
#[derive(Default)]
struct Losses {
    /// Per source, of which a stream has few: its last totals.
    last: Vec<Totals>,
    lost: u64,
    expected: u64,
    /// Of those of which there was one report so far, in 256ths.
    first: Vec<u8>,
}

/// Lost packets and the highest sequence number with its wraps, as the newest report of a source has them.
struct Totals {
    ssrc: u32,
    lost: i32,
    highest: u32,
}

impl Losses {
    fn add(&mut self, block: &ReportBlock) {
        let Some(last) = self.last.iter_mut().find(|totals| totals.ssrc == block.ssrc) else {
            self.first.push(block.fraction_lost);
            self.last.push(Totals {
                ssrc: block.ssrc,
                lost: block.cumulative_lost,
                highest: block.highest_sequence,
            });
            return;
        };
        let expected = block.highest_sequence.wrapping_sub(last.highest);
        // Beyond that it went backwards: the reader began anew.
        if expected < 1 << 24 {
            let lost = i64::from(block.cumulative_lost) - i64::from(last.lost);
            self.lost += u64::try_from(lost).unwrap_or(0).min(expected.into()); // duplicates count negative
            self.expected += u64::from(expected);
        }
        (last.lost, last.highest) = (block.cumulative_lost, block.highest_sequence);
    }
    fn per_million(&self) -> Option<u64> {
        // Wide enough for whatever is reported, however often.
        let lost = u128::from(self.lost) * 1_000_000;
        if let Some(per_million) = lost.checked_div(self.expected.into()) {
            return u64::try_from(per_million).ok();
        }
        let reports = u64::try_from(self.first.len()).ok().filter(|n| *n > 0)?;
        let lost: u64 = self.first.iter().map(|lost| u64::from(*lost)).sum();
        Some(lost * 1_000_000 / 256 / reports)
    }
}

/// Collects what the readers of a stream report.
pub(super) struct Reports(Mutex<Windows>);

struct Windows {
    k: u32,
    since: Instant,
    /// The number of the window that is open; the first is 1.
    number: u64,
    open: Window,
    /// The one before.
    closed: Window,
}

impl Windows {
    fn roll(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_secs() / WINDOW.as_secs();
        let number = self.number.max(passed + 1);
        if number > self.number {
            let just_over = number == self.number + 1;
            let open = std::mem::take(&mut self.open);
            self.closed = if just_over { open } else { Window::default() };
            self.number = number;
        }
    }
}

impl Reports {
    /// `k`: as in [`crate::hub::Options`].
    pub(super) fn new(k: u32, now: Instant) -> Self {
        Self(Mutex::new(Windows {
            k,
            since: now,
            number: 1,
            open: Window::default(),
            closed: Window::default(),
        }))
    }
    /// Adds a report: `lost` in 256ths of the packets since the reader's last one, `jitter` in the track's clock.
    fn add(&self, own: &mut Own, lost: u8, jitter: u32, rate: Rate, now: Instant) {
        let jitter = f64::from(jitter) / f64::from(rate.hz());
        if jitter > MAX_JITTER {
            return;
        }
        let mut all = self.0.lock().expect(NOT_POISONED);
        all.roll(now);
        if own.window != all.number {
            *own = Own {
                viewer: own.viewer,
                window: all.number,
                ..Own::default()
            };
            all.open.readers += 1;
            let enough = all.open.viewers.len() >= all.k as usize;
            if !enough && !all.open.viewers.contains(&own.viewer) {
                all.open.viewers.push(own.viewer);
            }
        }
        let before = own.means();
        own.reports += 1;
        own.loss += f64::from(lost) / 2.56;
        own.jitter += jitter * 1000.0;
        let after = own.means();
        all.open.reports += 1;
        all.open.loss += after.0 - before.0;
        all.open.jitter += after.1 - before.1;
    }
    /// Of the last window that is over; `None` if nobody reported in it.
    pub(super) fn get(&self, now: Instant) -> Option<Quality> {
        let mut all = self.0.lock().expect(NOT_POISONED);
        all.roll(now);
        let window = &all.closed;
        match window.readers {
            0 => None,
            _ if window.viewers.len() < all.k as usize => Some(Quality::BelowK),
            readers => Some(Quality::Of(Figures {
                reports: window.reports,
                loss_percent: window.loss / f64::from(readers),
                jitter_ms: window.jitter / f64::from(readers),
            })),
        }
    }
}

/// One reader of a stream, as it reports.
pub struct Reporter {
    stream: Arc<Stream>,
    own: Mutex<Own>,
    losses: Mutex<Losses>,
}

impl Reporter {
    /// A reader that has not reported yet, of a viewer whose readers all have this number.
    pub fn new(stream: Arc<Stream>, viewer: u64) -> Self {
        Self {
            stream,
            own: Mutex::new(Own::of(viewer)),
            losses: Mutex::default(),
        }
    }
    /// It tells how it receives: blocks about our own sources count, others are passed over.
    pub fn report(&self, blocks: &[ReportBlock], now: Instant) {
        let mut own = self.own.lock().expect(NOT_POISONED);
        let mut losses = self.losses.lock().expect(NOT_POISONED);
        for block in blocks {
            if let Some(rate) = self.stream.rate_of(block.ssrc) {
                let (lost, jitter) = (block.fraction_lost, block.jitter);
                self.stream.reports().add(&mut own, lost, jitter, rate, now);
                losses.add(block);
            }
        }
    }
    /// Packets lost of a million, over the whole time; `None` if it never reported. For a histogram of sessions.
    pub fn lost_per_million(&self) -> Option<u64> {
        self.losses.lock().expect(NOT_POISONED).per_million()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reports: u64, loss_percent: f64, jitter_ms: f64) -> Option<Quality> {
        Some(Quality::Of(Figures {
            reports,
            loss_percent,
            jitter_ms,
        }))
    }

    #[test]
    fn no_report_is_too_much_for_the_sum() {
        let mut losses = Losses::default();
        let block = |highest_sequence, cumulative_lost| ReportBlock {
            highest_sequence,
            cumulative_lost,
            ..ReportBlock::default()
        };
        losses.add(&block(0, 0));
        (losses.lost, losses.expected) = (1 << 45, 1 << 45);
        losses.add(&block(1000, 1000));
        assert_eq!(losses.per_million(), Some(1_000_000));
    }

    #[test]
    fn figures_of_fewer_than_k_viewers_are_held_back_however_often_they_report_and_by_how_many_readers() {
        let start = Instant::now();
        let reports = Reports::new(3, start);
        let mut readers = [1, 2, 2, 2, 1].map(Own::of);
        for _ in 0..20 {
            for own in &mut readers {
                reports.add(own, 64, 900, Rate::VIDEO, start);
            }
        }
        assert_eq!(reports.get(start), None, "the window is not over");
        assert_eq!(reports.get(start + WINDOW), Some(Quality::BelowK));
        assert_eq!(
            reports.get(start + 2 * WINDOW),
            None,
            "nobody reported in the next"
        );
    }

    #[test]
    fn k_readers_become_one_figure_in_which_each_counts_the_same() {
        let start = Instant::now();
        let reports = Reports::new(3, start);
        let mut readers = [1, 2, 3].map(Own::of);
        reports.add(&mut readers[0], 192, 1800, Rate::VIDEO, start);
        reports.add(&mut readers[1], 0, 0, Rate::VIDEO, start);
        for _ in 0..50 {
            reports.add(&mut readers[2], 0, 900, Rate::VIDEO, start);
        }
        reports.add(&mut readers[2], 255, u32::MAX, Rate::VIDEO, start);
        assert_eq!(
            reports.get(start + WINDOW),
            of(52, 25.0, 10.0),
            "nonsense is not counted"
        );
        assert_eq!(reports.get(start + WINDOW * 3 / 2), of(52, 25.0, 10.0));
    }

    #[test]
    fn loss_of_a_session_is_the_growth_of_what_its_reports_add_up() {
        let block = |ssrc, cumulative_lost, highest_sequence, fraction_lost| ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost,
            highest_sequence,
            jitter: 0,
            last_sr: 0,
            delay_since_last_sr: 0,
        };
        let mut losses = Losses::default();
        assert_eq!(losses.per_million(), None);
        losses.add(&block(1, 7, 1000, 64));
        assert_eq!(losses.per_million(), Some(250_000), "the only report there is");
        losses.add(&block(1, 17, 66_000, 0));
        assert_eq!(losses.per_million(), Some(10 * 1_000_000 / 65_000));
        losses.add(&block(1, 12, 76_000, 0)); // doubles
        losses.add(&block(1, 0, 5, 0)); // began anew
        losses.add(&block(2, 900, 100, 0)); // another source: not a difference to the first
        losses.add(&block(2, 900, 25_100, 0));
        assert_eq!(losses.per_million(), Some(10 * 1_000_000 / 100_000));
    }

    #[test]
    fn readers_that_leave_do_not_leave_the_last_one_its_figures() {
        let start = Instant::now();
        let reports = Reports::new(2, start);
        let mut readers = [1, 2].map(Own::of);
        for own in &mut readers {
            reports.add(own, 0, 0, Rate::VIDEO, start);
        }
        let later = start + WINDOW;
        assert_eq!(reports.get(later), of(2, 0.0, 0.0));
        reports.add(&mut readers[0], 128, 0, Rate::VIDEO, later);
        assert_eq!(reports.get(later), of(2, 0.0, 0.0), "what came since is not seen");
        assert_eq!(reports.get(later + WINDOW), Some(Quality::BelowK));
    }
}
