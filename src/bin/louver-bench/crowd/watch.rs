//! What one reader's packets tell: whether some are missing, when a keyframe was whole, how late they are.

use crate::clip::micros_now;
use crate::clip::read_stamp;
use crate::crowd::histogram::Histogram;

/// What all counted readers of a crowd saw while its window was open.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    /// Of RTP packets with their headers.
    pub(crate) bytes: u64,
    /// Sequence numbers that were skipped.
    pub(crate) lost: u64,
    /// Access units that ended.
    pub(crate) pictures: u64,
    /// From the publisher's write to our read of an access unit's first packet.
    pub(crate) delays: Histogram,
}

/// Follows one track's packets.
#[derive(Default)]
pub(crate) struct Watch {
    next: Option<u16>,
    keyframe: bool,
    /// A whole keyframe was there.
    pub(crate) has_picture: bool,
    /// Anything was there, ever.
    pub(crate) has_media: bool,
    /// In the window.
    pub(crate) packets: u64,
}

impl Watch {
    /// Takes an RTP packet; adds it to the tally of those who count.
    pub(crate) fn packet(&mut self, packet: &[u8], tally: Option<&mut Tally>) {
        let Some(header) = packet.first_chunk::<12>() else {
            return;
        };
        let payload = &packet[12..];
        let sequence = u16::from_be_bytes([header[2], header[3]]);
        let marker = header[1] & 0x80 != 0;
        let lost = self.next.map_or(0, |next| sequence.wrapping_sub(next));
        self.next = Some(sequence.wrapping_add(1));
        self.has_media = true;
        if !self.has_picture {
            let kind = payload.first().map_or(0, |b| b & 0x1f);
            self.keyframe |= kind == 5 || (kind == 28 && payload.get(1).is_some_and(|b| b & 0x9f == 0x85));
            self.has_picture = self.keyframe && marker;
        }
        let Some(tally) = tally else { return };
        self.packets += 1;
        tally.packets += 1;
        tally.bytes += packet.len() as u64;
        tally.pictures += u64::from(marker);
        // A step back is a late packet, not half the range lost.
        tally.lost += u64::from(if lost < 0x8000 { lost } else { 0 });
        if let Some(sent) = read_stamp(payload) {
            tally.delays.record(micros_now().saturating_sub(sent));
        }
    }
}
