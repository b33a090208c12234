//! Times that units do not bring along: decode times where pictures are reordered, and the program's clock.
//!
//! All in 90 kHz units that never wrap; the wire takes the low 33 bits.

use std::collections::VecDeque;

/// How far decode times lie apart before the first picture: enough for 20 pictures a second.
const FIRST_STEPS: i64 = 4_500;
/// No codec reorders more pictures than this.
const MAX_DEPTH: usize = 16;
/// A step of more than ten seconds is a new time line, not a late unit.
const JUMP: i64 = 900_000;

/// Decode times from presentation times that come in decode order.
///
/// With a reorder depth of n, the decode time of a picture is the smallest of the newest n + 1 presentation
/// times: it only grows, and is never after the picture is shown. A depth of 0 gives them as they are.
#[derive(Debug)]
pub(super) struct DecodeClock {
    depth: usize,
    /// The newest presentation times, in the order in which they came.
    newest: VecDeque<i64>,
    /// Those that were not used up, sorted.
    waiting: Vec<i64>,
    last: Option<i64>,
}

impl DecodeClock {
    /// `depth` is a guess that grows when it proves too small.
    pub(super) fn new(depth: usize) -> Self {
        Self {
            depth,
            newest: VecDeque::new(),
            waiting: Vec::new(),
            last: None,
        }
    }

    /// The decode time of the next unit. `None` where our guess has let earlier ones be decoded too late for
    /// it: a unit without times is better than impossible ones, and there are few until the depth is known.
    pub(super) fn stamp(&mut self, pts: i64) -> Option<i64> {
        if self
            .last
            .is_none_or(|last| last.abs_diff(pts) > JUMP.unsigned_abs())
        {
            let steps = (1..=self.depth as i64).rev();
            self.waiting = steps.map(|n| pts.saturating_sub(n * FIRST_STEPS)).collect();
            self.newest.clear();
            self.last = None;
        }
        let overtakes = self.newest.iter().filter(|t| **t > pts).count();
        if self.newest.len() == MAX_DEPTH {
            self.newest.pop_front();
        }
        self.newest.push_back(pts);
        let at = self.waiting.partition_point(|t| *t <= pts);
        self.waiting.insert(at, pts);
        if overtakes > self.depth {
            self.depth += 1;
            return None;
        }
        let dts = self
            .waiting
            .remove(0)
            .max(self.last.map_or(i64::MIN, |last| last.saturating_add(1)));
        if dts > pts {
            return None;
        }
        self.last = Some(dts);
        Some(dts)
    }
}

/// The clock starts this long before the first unit is due, so that players do not call it late.
const LEAD: i64 = 9_000;
/// And stays so long before the decode time of any unit, if one track lags behind another.
const MARGIN: i64 = 4_500;
/// The clock follows no track that lags by more than two seconds.
const MAX_LEAD: i64 = 180_000;
/// A track without the clock's PID brings it when it was last told this long ago.
const DUE: i64 = 1_350;

/// The program clock reference: the newest decode time of all tracks, less the lead.
#[derive(Debug)]
pub(super) struct ProgramClock {
    newest: Option<i64>,
    lead: i64,
    /// What was told last.
    told: Option<i64>,
    jumped: bool,
}

impl ProgramClock {
    pub(super) fn new() -> Self {
        Self {
            newest: None,
            lead: LEAD,
            told: None,
            jumped: false,
        }
    }

    /// Moves on to a unit that is decoded at `time`, and gives the newest time of all. `leads`: it is of the
    /// track that the clock follows, also over jumps.
    pub(super) fn advance(&mut self, time: i64, leads: bool) -> i64 {
        let newest = self.newest.unwrap_or(time);
        if newest.abs_diff(time) > JUMP.unsigned_abs() {
            if leads {
                *self = Self {
                    newest: Some(time),
                    jumped: true,
                    ..Self::new()
                };
                return time;
            }
            return newest;
        }
        let newest = newest.max(time);
        self.newest = Some(newest);
        self.lead = self.lead.max(newest - time + MARGIN).min(MAX_LEAD);
        newest
    }

    /// It is time to tell the clock even if that takes a packet of its own.
    pub(super) fn is_due(&self) -> bool {
        self.now()
            .is_some_and(|now| self.told.is_none_or(|told| now - told >= DUE))
    }

    /// What to tell, and whether it jumped. `None` while a lead that grew holds the clock up: it never goes
    /// back.
    pub(super) fn pcr(&mut self) -> (Option<i64>, bool) {
        let now = self.now().filter(|now| self.told.is_none_or(|told| *now > told));
        if now.is_none() {
            return (None, false);
        }
        self.told = now;
        (now, std::mem::take(&mut self.jumped))
    }

    fn now(&self) -> Option<i64> {
        Some(self.newest?.saturating_sub(self.lead))
    }
}
