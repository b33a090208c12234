//! VP8 in RTP, both directions (RFC 7741).
//!
//! Not here: telling layers and partitions apart; a frame is all that has its time stamp.

use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::fits;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::pictures::Assemble;

/// What stands before each part of a frame (section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Descriptor {
    /// The frame begins here: the start of its first partition.
    pub(super) begins: bool,
    /// Bytes that the descriptor takes.
    pub(super) length: usize,
}

impl Descriptor {
    /// `None` if the payload is shorter than what it announces.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let mut length = 1;
        if first & 0x80 != 0 {
            let extension = *payload.get(length)?;
            length += 1;
            if extension & 0x80 != 0 {
                // A picture number of 15 or 7 bits.
                length += if payload.get(length)? & 0x80 != 0 { 2 } else { 1 };
            }
            length += usize::from(extension & 0x40 != 0); // TL0PICIDX
            length += usize::from(extension & 0x30 != 0); // TID and KEYIDX share a byte
        }
        (length <= payload.len()).then_some(Self {
            begins: first & 0x10 != 0 && first & 0x07 == 0,
            length,
        })
    }
}

/// Whether this frame is coded by itself (RFC 6386 section 9.1).
pub(super) fn is_keyframe(frame: &[u8]) -> bool {
    frame.first().is_some_and(|b| b & 0x01 == 0)
}

/// Sends a frame in equal parts behind the shortest descriptor; the last has the marker.
pub(super) fn packetize(writer: &mut Writer, unit: &[u8], timestamp: u32, out: &mut Vec<Vec<u8>>) {
    let share = Writer::equal_share(unit.len(), writer.max_payload - 1);
    let count = unit.len().div_ceil(share);
    for (i, part) in unit.chunks(share).enumerate() {
        let start = u8::from(i == 0) << 4;
        writer.packet(out, i + 1 == count, timestamp, &[&[start], part]);
    }
}

/// Puts frames together.
#[derive(Debug, Default)]
pub(super) struct Depacketizer {
    frame: Vec<u8>,
}

impl Assemble for Depacketizer {
    fn begin(&mut self, _after_gap: bool) {
        self.frame.clear();
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let descriptor = Descriptor::parse(payload).ok_or("the descriptor reaches beyond its packet")?;
        if self.frame.is_empty() && !descriptor.begins {
            return Err("a frame lacks its beginning");
        }
        let part = &payload[descriptor.length..];
        fits(self.frame.len(), part.len())?;
        self.frame.extend_from_slice(part);
        Ok(())
    }

    fn has_picture(&self) -> bool {
        !self.frame.is_empty()
    }

    fn finish(&mut self) -> Option<(Vec<u8>, bool)> {
        let frame = std::mem::take(&mut self.frame);
        let keyframe = is_keyframe(&frame);
        (!frame.is_empty()).then_some((frame, keyframe))
    }
}

#[cfg(test)]
mod tests {
    use crate::media::Codec;
    use crate::proto::rtp::HEADER_LEN;
    use crate::proto::rtp::testing;
    use crate::proto::rtp::testing::noise;
    use crate::proto::rtp::testing::packet;
    use crate::proto::rtp::testing::packets;
    use crate::proto::rtp::testing::track;
    use crate::proto::rtp::testing::unit;
    use crate::proto::rtp::testing::units;

    fn frame(keyframe: bool, length: usize) -> Vec<u8> {
        let tag = [u8::from(!keyframe) | 0x10, 2, 0];
        [&tag[..], &noise(length as u32, length)].concat()
    }

    #[test]
    fn a_frame_goes_in_equal_parts_and_only_the_first_says_start() {
        let vp8 = track(Codec::Vp8, 90_000, None);
        let out = packets(&vp8, 100, &[unit(&vp8, 0, true, frame(true, 197))]);
        let parts: Vec<_> = out.iter().map(|p| (p[HEADER_LEN], p.len(), p[1] >> 7)).collect();
        assert_eq!(parts, [(0x10, 80, 0), (0, 80, 0), (0, 79, 1)]);
    }

    #[test]
    fn the_descriptors_of_browsers_are_passed_over() {
        let vp8 = track(Codec::Vp8, 90_000, None);
        // Picture numbers of 15 bits, TL0PICIDX, TID and KEYIDX; the second partition has S, but is number 1.
        let stream = [
            packet(1, 0, false, &[0x90, 0xe0, 0x85, 0x01, 9, 0x20, 0x10, 2, 0]),
            packet(2, 0, true, &[0x91, 0xe0, 0x85, 0x01, 9, 0x20, 7]),
            packet(3, 3000, true, &[0x90, 0x80, 0x05, 0x11, 3]),
        ];
        assert_eq!(
            units(&vp8, &stream),
            [
                unit(&vp8, 0, true, [0x10, 2, 0, 7]),
                unit(&vp8, 3000, false, [0x11, 3])
            ]
        );
    }

    #[test]
    fn frames_come_back_at_every_size_and_losses_cost_only_themselves() {
        testing::holds(&track(Codec::Vp8, 90_000, None), 1, frame);
    }
}
