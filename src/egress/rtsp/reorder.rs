//! Puts a publisher's datagrams back into their order: what overtook others waits for them a moment.
//!
//! Packets in order pass untouched and uncopied. Nothing waits longer than [`HOLD`], for which the sockets' task has
//! a timer (`udp`), and no more than [`MAX_HELD`] of them do.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

/// So long is waited for a packet that others have overtaken.
const HOLD: Duration = Duration::from_millis(60);
/// So many packets wait at most.
const MAX_HELD: usize = 64;
/// A packet that is further than this behind belongs to a publisher that counts anew.
const MAX_LATE: u16 = 3000;
/// And so does the last of as many that are behind, each by its own number, with none among them that is not.
const MANY_LATE: u16 = 64;

/// One track's packets.
#[derive(Default)]
pub(super) struct Reorder {
    /// The sequence number that is to come.
    next: Option<u16>,
    /// By distance from `next`.
    held: VecDeque<Held>,
    /// The newest that came too late, and how many have done so one behind the other.
    late: Option<(u16, u16)>,
    /// Packets that came out of their order, and in time.
    pub(super) reordered: u64,
}

struct Held {
    sequence: u16,
    came: Instant,
    packet: Vec<u8>,
}

impl Reorder {
    /// Takes a packet, and gives those that are next. Doubles and what is too late are dropped.
    pub(super) fn push(&mut self, packet: &[u8], now: Instant, out: &mut impl FnMut(&[u8])) {
        let Some(&[_, _, high, low]) = packet.first_chunk() else {
            return out(packet); // not RTP: told by who reads it
        };
        let sequence = u16::from_be_bytes([high, low]);
        let next = *self.next.get_or_insert(sequence);
        let distance = sequence.wrapping_sub(next);
        let is_late = distance > u16::MAX - MAX_LATE;
        let anew = is_late && self.counts_anew(sequence);
        if !is_late {
            self.late = None;
        }
        match distance {
            0 => {
                out(packet);
                self.next = Some(next.wrapping_add(1));
                self.give_whats_next(out);
            }
            ahead if usize::from(ahead) < MAX_HELD => self.hold(ahead, sequence, packet, now),
            _ if is_late && !anew => {} // given up for lost, or twice
            _ => {
                self.late = None;
                self.give_all(out);
                out(packet);
                self.next = Some(sequence.wrapping_add(1));
            }
        }
        self.give_old(now, out);
    }
    /// Whether so many packets have come too late, in their own order, that they are no stragglers.
    fn counts_anew(&mut self, sequence: u16) -> bool {
        let count = match self.late {
            Some((last, count)) if last.wrapping_add(1) == sequence => count + 1,
            _ => 1,
        };
        self.late = Some((sequence, count));
        count >= MANY_LATE
    }
    /// Gives what has waited long enough.
    pub(super) fn give_old(&mut self, now: Instant, out: &mut impl FnMut(&[u8])) {
        let old = |h: &Held| now.saturating_duration_since(h.came) >= HOLD;
        while self.held.iter().any(old) || self.held.len() >= MAX_HELD {
            self.next = self.held.front().map(|h| h.sequence);
            self.give_whats_next(out);
        }
    }
    /// When something has waited long enough, if nothing more comes.
    pub(super) fn held_until(&self) -> Option<Instant> {
        let oldest = self.held.iter().map(|h| h.came).min()?;
        Some(oldest + HOLD)
    }
    /// Gives all, since nothing more will come.
    pub(super) fn give_all(&mut self, out: &mut impl FnMut(&[u8])) {
        while let Some(held) = self.held.pop_front() {
            out(&held.packet);
        }
    }
    fn hold(&mut self, ahead: u16, sequence: u16, packet: &[u8], now: Instant) {
        let base = sequence.wrapping_sub(ahead);
        let at = self
            .held
            .partition_point(|h| h.sequence.wrapping_sub(base) < ahead);
        if self.held.get(at).is_some_and(|h| h.sequence == sequence) {
            return;
        }
        let packet = packet.to_vec();
        self.held.insert(
            at,
            Held {
                sequence,
                came: now,
                packet,
            },
        );
    }
    fn give_whats_next(&mut self, out: &mut impl FnMut(&[u8])) {
        while let Some(next) = self.next
            && let Some(held) = self.held.pop_front_if(|h| h.sequence == next)
        {
            out(&held.packet);
            self.reordered += 1;
            self.next = Some(next.wrapping_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out when these come in, one in each millisecond.
    fn pass(reorder: &mut Reorder, sequences: &[u16], step: Duration) -> Vec<u16> {
        let (mut now, mut out) = (Instant::now(), Vec::new());
        for sequence in sequences {
            let [high, low] = sequence.to_be_bytes();
            reorder.push(&[0x80, 96, high, low], now, &mut |packet| {
                out.push(u16::from_be_bytes([packet[2], packet[3]]));
            });
            now += step;
        }
        out
    }
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn packets_that_overtook_others_wait_for_them() {
        let mut r = Reorder::default();
        assert_eq!(
            pass(&mut r, &[65534, 0, 65535, 2, 3, 1], MS),
            [65534, 65535, 0, 1, 2, 3]
        );
        assert_eq!(r.reordered, 3);
        assert_eq!(
            pass(&mut r, &[5, 4, 5, 4, 6], MS),
            [4, 5, 6],
            "no packet comes twice"
        );
    }

    #[test]
    fn a_lost_packet_holds_the_others_for_a_moment_only() {
        let mut r = Reorder::default();
        let out = pass(&mut r, &[1, 3, 4, 5, 6], Duration::from_millis(20));
        assert_eq!(out, [1, 3, 4, 5, 6]);
        assert_eq!(pass(&mut r, &[2, 7], MS), [7], "too late");
        let many: Vec<u16> = (9..120).collect();
        assert_eq!(
            pass(&mut r, &many, Duration::ZERO),
            many,
            "and not more than so many"
        );
    }

    #[test]
    fn what_waits_is_given_in_time_without_another_packet() {
        let mut r = Reorder::default();
        let start = Instant::now();
        assert_eq!(r.held_until(), None);
        // 5 comes 10 ms before 3: its time counts, though it is behind.
        assert_eq!(pass(&mut r, &[1, 5, 3], 10 * MS), [1]);
        let due = r.held_until().unwrap();
        assert!(due >= start + 10 * MS + HOLD && due < start + Duration::from_secs(1) + HOLD);
        let mut given = Vec::new();
        r.give_old(due - MS, &mut |packet| given.push(packet[3]));
        assert!(given.is_empty(), "too early");
        r.give_old(due, &mut |packet| given.push(packet[3]));
        assert_eq!(given, [3, 5]);
        assert_eq!(r.held_until(), None);
    }

    #[test]
    fn a_publisher_that_counts_anew_is_followed() {
        let mut r = Reorder::default();
        assert_eq!(
            pass(&mut r, &[100, 102, 30_000, 30_001], MS),
            [100, 102, 30_000, 30_001]
        );
        let mut out = Vec::new();
        assert_eq!(pass(&mut r, &[30_003], MS), [0; 0]);
        r.give_all(&mut |packet| out.push(packet[3]));
        assert_eq!(out, [51]);
    }

    #[test]
    fn a_publisher_that_counts_anew_from_a_little_before_is_followed_soon() {
        let mut r = Reorder::default();
        let before: Vec<u16> = (1000..2000).collect();
        assert_eq!(pass(&mut r, &before, MS), before);
        let anew: Vec<u16> = (500..1500).collect();
        let out = pass(&mut r, &anew, MS);
        assert_eq!(out.last(), Some(&1499));
        assert!(out.len() > 900, "{} of 1000", out.len());
        // A few late ones among others are none of these, nor are doubles.
        let late = [1500, 1501, 1400, 1401, 1402, 1502, 1503, 1503];
        assert_eq!(pass(&mut r, &late, MS), [1500, 1501, 1502, 1503]);
    }
}
