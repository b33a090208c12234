//! The order in which packets of one track arrive: what is next, what was lost, what comes too late.
//!
//! Not here: waiting. A packet that comes late is passed over; whoever reads UDP may sort packets before.

use crate::proto::rtp::header::Header;

/// What a packet's sequence number says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// It follows the one before.
    Next,
    /// The first packet at all, of another source, or behind this many lost ones.
    AfterGap(u16),
    /// Seen already, or given up.
    Late,
}

/// Follows sequence numbers (RFC 3550 appendix A.1).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    /// Source and number that are due.
    due: Option<(u32, u16)>,
    /// If this number comes after one that seemed far too late, the sender began anew.
    restart: Option<u16>,
}

/// A packet that is later than this is no longer taken for a straggler.
const MAX_MISORDER: u16 = 100;

impl Order {
    /// The packet with this header is due.
    pub(super) fn at(header: &Header) -> Self {
        Self {
            due: Some((header.ssrc, header.sequence)),
            restart: None,
        }
    }

    /// Takes note of a packet.
    pub(super) fn arrive(&mut self, header: &Header) -> Arrival {
        let arrival = self.judge(header);
        if arrival != Arrival::Late {
            self.due = Some((header.ssrc, header.sequence.wrapping_add(1)));
            self.restart = None;
        }
        arrival
    }

    fn judge(&mut self, header: &Header) -> Arrival {
        let Some((ssrc, due)) = self.due else {
            return Arrival::AfterGap(0);
        };
        if ssrc != header.ssrc {
            return Arrival::AfterGap(0);
        }
        let ahead = header.sequence.wrapping_sub(due);
        let behind = due.wrapping_sub(header.sequence);
        match ahead {
            0 => Arrival::Next,
            1..0x8000 => Arrival::AfterGap(ahead),
            _ if behind <= MAX_MISORDER => Arrival::Late,
            _ if self.restart == Some(header.sequence) => Arrival::AfterGap(0),
            _ => {
                self.restart = Some(header.sequence.wrapping_add(1));
                Arrival::Late
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(order: &mut Order, ssrc: u32, sequence: u16) -> Arrival {
        order.arrive(&Header {
            marker: false,
            payload_type: 96,
            sequence,
            timestamp: 0,
            ssrc,
            payload: 12..12,
        })
    }

    #[test]
    fn numbers_wrap_and_gaps_are_counted() {
        let mut order = Order::default();
        assert_eq!(feed(&mut order, 1, 65_534), Arrival::AfterGap(0));
        assert_eq!(feed(&mut order, 1, 65_535), Arrival::Next);
        assert_eq!(feed(&mut order, 1, 0), Arrival::Next);
        assert_eq!(feed(&mut order, 1, 4), Arrival::AfterGap(3));
        assert_eq!(feed(&mut order, 2, 4), Arrival::AfterGap(0));
    }

    #[test]
    fn duplicates_and_stragglers_are_late() {
        let mut order = Order::default();
        feed(&mut order, 1, 10);
        assert_eq!(feed(&mut order, 1, 10), Arrival::Late);
        assert_eq!(feed(&mut order, 1, 65_500), Arrival::Late);
        assert_eq!(feed(&mut order, 1, 11), Arrival::Next);
    }

    #[test]
    fn a_sender_that_begins_anew_is_followed_at_its_second_packet() {
        let mut order = Order::default();
        feed(&mut order, 1, 30_000);
        assert_eq!(feed(&mut order, 1, 7), Arrival::Late);
        assert_eq!(feed(&mut order, 1, 8), Arrival::AfterGap(0));
        assert_eq!(feed(&mut order, 1, 9), Arrival::Next);
    }
}
