//! The recent bursts of one stream: one copy, however many readers. Pure.
//!
//! A reader is a number, not a queue. Burst numbers never restart within a stream, so a reader that fell out
//! of the ring knows by comparing how much it lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::hub::burst::Burst;
use crate::hub::burst::BurstKind;

/// A video stream that has shown no keyframe in this many bursts may be joined anywhere: it refreshes
/// its picture bit by bit, or has a coding that nothing here looks into.
const NO_KEYFRAMES: u64 = 600;

/// How much a ring keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on the wire. The newest group of pictures is cut too when it alone is larger.
    pub bytes: usize,
    /// Age of the oldest burst against the newest; the newest group of pictures stays whole.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 16 << 20,
            age: Duration::from_secs(10),
        }
    }
}

/// Where a reader may begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Join {
    /// With this burst, which the ring holds.
    At(u64),
    /// With the first keyframe at or after this burst, which is still to come.
    KeyframeFrom(u64),
}

/// Recent bursts in order. Numbers of held bursts are `first()..end()`.
#[derive(Debug)]
pub struct Ring {
    first: u64,
    bursts: VecDeque<Arc<Burst>>,
    bytes: usize,
    newest_key: Option<u64>,
    keyless: u64,
    limits: Limits,
}

impl Ring {
    /// An empty ring.
    pub fn new(limits: Limits) -> Self {
        Self {
            first: 0,
            bursts: VecDeque::new(),
            bytes: 0,
            newest_key: None,
            keyless: 0,
            limits,
        }
    }
    /// Number of the oldest burst held.
    pub fn first(&self) -> u64 {
        self.first
    }
    /// Number that the next burst will get.
    pub fn end(&self) -> u64 {
        self.first + self.bursts.len() as u64
    }
    /// The burst of this number, if held.
    pub fn get(&self, number: u64) -> Option<&Arc<Burst>> {
        self.bursts
            .get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
    /// The bursts from this number on.
    pub fn since(&self, number: u64) -> impl Iterator<Item = &Arc<Burst>> {
        let skip = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.bursts.iter().skip(skip.min(self.bursts.len()))
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Bytes per second that came of late; 0 as long as there is less than a second of them.
    pub fn rate(&self) -> u64 {
        let (Some(oldest), Some(newest)) = (self.bursts.front(), self.bursts.back()) else {
            return 0;
        };
        let held = newest.arrived.saturating_duration_since(oldest.arrived);
        match u64::try_from(held.as_millis()) {
            Ok(ms @ 1000..) => self.bytes as u64 * 1000 / ms,
            _ => 0,
        }
    }
    /// Adds a burst and lets go of what is too old or too much.
    pub fn push(&mut self, burst: Arc<Burst>) {
        match burst.kind {
            BurstKind::Keyframe => (self.newest_key, self.keyless) = (Some(self.end()), 0),
            BurstKind::Media => self.keyless += 1,
            BurstKind::Report => {}
        }
        self.bytes += burst.wire().len();
        let newest = burst.arrived;
        self.bursts.push_back(burst);
        while self.bytes > self.limits.bytes && self.bursts.len() > 1 {
            self.drop_oldest_group();
        }
        while self.newest_key.is_none_or(|key| key > self.first)
            && self
                .bursts
                .front()
                .is_some_and(|old| newest.duration_since(old.arrived) > self.limits.age)
        {
            self.drop_oldest_group();
        }
    }
    /// Forgets everything: what comes next has no connection with what was.
    pub fn clear(&mut self) {
        self.first = self.end();
        self.bursts.clear();
        (self.bytes, self.newest_key, self.keyless) = (0, None, 0);
    }
    /// Where a reader joins: the newest keyframe held, else the next to come.
    pub fn live_at(&self) -> Join {
        match self.newest_key {
            Some(key) if key >= self.first => Join::At(key),
            _ if self.keyless > NO_KEYFRAMES => Join::At(self.end()),
            _ => Join::KeyframeFrom(self.end()),
        }
    }
    /// Drops the oldest burst and what hangs on it: all up to the next keyframe, if one is held. Without
    /// one, a single burst: readers that keep up go on.
    fn drop_oldest_group(&mut self) {
        while let Some(burst) = self.bursts.pop_front() {
            self.first += 1;
            self.bytes -= burst.wire().len();
            let at_a_start = self
                .bursts
                .front()
                .is_none_or(|next| next.kind == BurstKind::Keyframe);
            if at_a_start || self.newest_key.is_none_or(|key| key < self.first) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::hub::burst::Builder;
    use crate::media::TrackId;

    /// Draws a stream: `k` a keyframe, `.` another burst, 100 ms apart, 104 bytes each on the wire.
    fn ring(limits: Limits, drawing: &str) -> Ring {
        let start = Instant::now();
        let mut ring = Ring::new(limits);
        for (n, c) in drawing.chars().enumerate() {
            let kind = if c == 'k' {
                BurstKind::Keyframe
            } else {
                BurstKind::Media
            };
            let mut b = Builder::default();
            b.begin(kind, n as u16, 0, start + Duration::from_millis(100 * n as u64));
            b.push(0, &[0; 100]);
            ring.push(Arc::new(b.finish(TrackId(0)).unwrap()));
        }
        ring
    }

    #[test]
    fn a_reader_joins_at_the_newest_keyframe() {
        assert_eq!(ring(Limits::default(), "k...k..").live_at(), Join::At(4));
    }

    #[test]
    fn before_the_first_keyframe_a_reader_waits() {
        assert_eq!(ring(Limits::default(), "...").live_at(), Join::KeyframeFrom(3));
    }

    #[test]
    fn a_stream_without_keyframes_is_joined_anywhere() {
        let drawing = ".".repeat(700);
        let ring = ring(
            Limits {
                age: Duration::from_secs(3600),
                ..Limits::default()
            },
            &drawing,
        );
        assert_eq!(ring.live_at(), Join::At(700));
    }

    #[test]
    fn too_many_bytes_drop_whole_groups_from_the_old_end() {
        let limits = Limits {
            bytes: 104 * 6,
            age: Duration::from_secs(3600),
        };
        let ring = ring(limits, "k...k..");
        assert_eq!((ring.first(), ring.end(), ring.bytes()), (4, 7, 104 * 3));
    }

    #[test]
    fn the_rate_is_that_of_what_is_held_once_that_is_a_second() {
        let of = |drawing| ring(Limits::default(), drawing).rate();
        assert_eq!(
            (of(""), of("k"), of("k........."), of("k..........")),
            (0, 0, 0, 104 * 11)
        );
        assert_eq!(of("k...................."), 104 * 21 / 2);
    }

    #[test]
    fn a_small_delay_loses_nothing() {
        // A new keyframe does not throw the old group away: a reader one burst behind is not lagged.
        let ring = ring(Limits::default(), "k...k");
        assert_eq!(ring.first(), 0);
    }

    #[test]
    fn age_never_cuts_into_the_newest_group() {
        let limits = Limits {
            bytes: 1 << 20,
            age: Duration::from_millis(250),
        };
        assert_eq!(ring(limits, "k.......").first(), 0);
        assert_eq!(ring(limits, "k...k...").first(), 4);
    }

    #[test]
    fn a_group_larger_than_the_ring_is_cut_and_waited_out() {
        let limits = Limits {
            bytes: 104 * 4,
            age: Duration::from_secs(3600),
        };
        let ring = ring(limits, "k.........");
        assert!(ring.bytes() <= 104 * 4);
        assert_eq!(ring.live_at(), Join::KeyframeFrom(10));
    }

    #[test]
    fn clear_keeps_counting() {
        let mut ring = ring(Limits::default(), "k..");
        ring.clear();
        assert_eq!((ring.first(), ring.end(), ring.bytes()), (3, 3, 0));
        assert_eq!(ring.live_at(), Join::KeyframeFrom(3));
    }
}
