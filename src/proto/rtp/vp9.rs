//! VP9 in RTP, both directions (RFC 9628).
//!
//! Not here: choosing among layers. What has one time stamp is one unit; where it has frames of several spatial
//! layers, they become a superframe (VP9 bitstream specification, annex B), which decoders take whole.

use crate::proto::bits::BitReader;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::fits;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::pictures::Assemble;

/// What stands before each part of a frame (section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Descriptor {
    /// A frame of a layer begins here.
    pub(super) begins: bool,
    /// It refers to earlier pictures.
    pub(super) predicted: bool,
    /// The spatial layer; 0 is the lowest, and the only one where none is named.
    pub(super) layer: u8,
    /// Bytes that the descriptor takes.
    pub(super) length: usize,
}

/// The bits of the first byte.
const PICTURE_ID: u8 = 0x80;
const PREDICTED: u8 = 0x40;
const LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGINS: u8 = 0x08;
const ENDS: u8 = 0x04;
const STRUCTURE: u8 = 0x02;

impl Descriptor {
    /// `None` if the payload is shorter than what it announces.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let has = |bit: u8| first & bit != 0;
        let mut length = 1;
        if has(PICTURE_ID) {
            // A picture number of 15 or 7 bits.
            length += if payload.get(length)? & 0x80 != 0 { 2 } else { 1 };
        }
        let mut layer = 0;
        if has(LAYERS) {
            layer = payload.get(length)? >> 1 & 0x07;
            length += 1 + usize::from(!has(FLEXIBLE)); // TL0PICIDX
        }
        if has(FLEXIBLE) && has(PREDICTED) {
            // Up to three references, each of which says whether another follows.
            for _ in 0..3 {
                length += 1;
                if payload.get(length - 1)? & 1 == 0 {
                    break;
                }
            }
        }
        if has(STRUCTURE) {
            length += structure_length(payload.get(length..)?)?;
        }
        (length <= payload.len()).then_some(Self {
            begins: has(BEGINS),
            predicted: has(PREDICTED),
            layer,
            length,
        })
    }
}

/// Bytes of a scalability structure (section 4.2.1).
fn structure_length(data: &[u8]) -> Option<usize> {
    let first = *data.first()?;
    let mut length = 1;
    if first & 0x10 != 0 {
        length += 4 * (usize::from(first >> 5) + 1); // width and height of each layer
    }
    if first & 0x08 != 0 {
        let pictures = *data.get(length)?;
        length += 1;
        for _ in 0..pictures {
            let references = data.get(length)? >> 2 & 0x03;
            length += 1 + usize::from(references);
        }
    }
    Some(length)
}

/// Whether this frame is coded by itself: the first bits of its header (section 6.2 of the bitstream).
pub(super) fn is_keyframe(frame: &[u8]) -> bool {
    let read = || {
        let mut bits = BitReader::new(frame);
        let marker = bits.bits(2)?;
        if bits.bits(2)? == 3 {
            bits.skip(1)?; // profiles of more than 8 bits have a bit more
        }
        let shows_another = bits.flag()?;
        let predicted = bits.flag()?;
        Some(marker == 2 && !shows_another && !predicted)
    };
    read().unwrap_or(false)
}

/// Sends a frame in equal parts behind the shortest descriptor; the last has the marker.
pub(super) fn packetize(writer: &mut Writer, unit: &[u8], timestamp: u32, out: &mut Vec<Vec<u8>>) {
    let share = Writer::equal_share(unit.len(), writer.max_payload - 1);
    let count = unit.len().div_ceil(share);
    let predicted = if is_keyframe(unit) { 0 } else { PREDICTED };
    for (i, part) in unit.chunks(share).enumerate() {
        let begins = if i == 0 { BEGINS } else { 0 };
        let ends = if i + 1 == count { ENDS } else { 0 };
        writer.packet(
            out,
            i + 1 == count,
            timestamp,
            &[&[predicted | begins | ends], part],
        );
    }
}

/// The most frames of a superframe.
const MAX_LAYERS: usize = 8;

/// Puts frames together, and those of several layers into superframes.
#[derive(Debug, Default)]
pub(super) struct Depacketizer {
    unit: Vec<u8>,
    /// Where in `unit` the frame of each layer begins.
    starts: Vec<usize>,
}

impl Assemble for Depacketizer {
    fn begin(&mut self, _after_gap: bool) {
        self.unit.clear();
        self.starts.clear();
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let descriptor = Descriptor::parse(payload).ok_or("the descriptor reaches beyond its packet")?;
        if self.unit.is_empty() && !(descriptor.begins && descriptor.layer == 0) {
            return Err("a frame lacks its beginning");
        }
        let part = &payload[descriptor.length..];
        fits(self.unit.len(), part.len())?;
        if descriptor.begins && !part.is_empty() {
            if self.starts.len() == MAX_LAYERS {
                return Err("a picture has more than eight layers");
            }
            self.starts.push(self.unit.len());
        }
        self.unit.extend_from_slice(part);
        Ok(())
    }

    fn has_picture(&self) -> bool {
        !self.unit.is_empty()
    }

    fn finish(&mut self) -> Option<(Vec<u8>, bool)> {
        let mut unit = std::mem::take(&mut self.unit);
        let keyframe = is_keyframe(&unit);
        if self.starts.len() > 1 {
            push_index(&mut unit, &self.starts);
        }
        (!unit.is_empty()).then_some((unit, keyframe))
    }
}

/// Appends the index that makes frames a superframe: how many, and how long each is, in four bytes.
fn push_index(unit: &mut Vec<u8>, starts: &[usize]) {
    let marker = 0xc0 | 3 << 3 | (starts.len() - 1) as u8;
    let ends: Vec<usize> = starts[1..].iter().copied().chain([unit.len()]).collect();
    unit.push(marker);
    for (start, end) in starts.iter().zip(ends) {
        unit.extend_from_slice(&((end - start) as u32).to_le_bytes());
    }
    unit.push(marker);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;
    use crate::proto::rtp::HEADER_LEN;
    use crate::proto::rtp::testing;
    use crate::proto::rtp::testing::noise;
    use crate::proto::rtp::testing::packet;
    use crate::proto::rtp::testing::packets;
    use crate::proto::rtp::testing::track;
    use crate::proto::rtp::testing::unit;
    use crate::proto::rtp::testing::units;

    const KEY: u8 = 0x82;
    const INTER: u8 = 0x86;

    fn frame(keyframe: bool, length: usize) -> Vec<u8> {
        let first = if keyframe { KEY } else { INTER };
        [&[first][..], &noise(length as u32, length)].concat()
    }

    #[test]
    fn a_keyframe_is_told_by_its_header() {
        assert!(is_keyframe(&[KEY]) && !is_keyframe(&[INTER]));
        assert!(is_keyframe(&[0xb0, 0]), "profile 3 has a bit more");
        assert!(!is_keyframe(&[0x8a]), "one that shows an earlier frame");
        assert!(!is_keyframe(&[0x42]) && !is_keyframe(&[]));
    }

    #[test]
    fn the_flags_say_where_a_frame_begins_and_ends_and_whether_it_stands_alone() {
        let vp9 = track(Codec::Vp9, 90_000, None);
        let sent = [
            unit(&vp9, 0, true, frame(true, 199)),
            unit(&vp9, 1, false, frame(false, 9)),
        ];
        let out = packets(&vp9, 100, &sent);
        let flags: Vec<_> = out.iter().map(|p| p[HEADER_LEN]).collect();
        assert_eq!(flags, [0x08, 0x00, 0x04, 0x4c]);
    }

    #[test]
    fn descriptors_with_everything_in_them_are_passed_over() {
        // A picture number, a layer, and a structure of two sizes and two pictures with one and two references.
        let structure = [0x38, 1, 64, 0, 240, 2, 128, 1, 224, 2, 0x04, 1, 0x08, 1, 2];
        let full = [&[0xaa, 0x85, 0x01, 0x00, 7][..], &structure, &[KEY, 5]].concat();
        let read = Descriptor::parse(&full).unwrap();
        assert_eq!(
            (read.begins, read.predicted, read.layer, read.length),
            (true, false, 0, 20)
        );
        // Flexible mode: three references, the last of which needs no bit to say so.
        let flexible = [0x7c, 0x00, 3, 5, 7, INTER];
        assert_eq!(Descriptor::parse(&flexible).map(|d| d.length), Some(5));
        for n in 0..20 {
            assert_eq!(Descriptor::parse(&full[..n]), None, "{n} bytes");
        }
    }

    #[test]
    fn frames_of_several_layers_become_a_superframe() {
        let vp9 = track(Codec::Vp9, 90_000, None);
        let stream = [
            packet(1, 0, false, &[0xac, 5, 0x00, 7, KEY, 1]),
            packet(2, 0, false, &[0xa8, 5, 0x02, 7, INTER, 2]),
            packet(3, 0, true, &[0xa4, 5, 0x02, 7, 3]),
        ];
        let index = [0xd9, 2, 0, 0, 0, 3, 0, 0, 0, 0xd9];
        let want = [&[KEY, 1, INTER, 2, 3][..], &index].concat();
        assert_eq!(units(&vp9, &stream), [unit(&vp9, 0, true, want)]);
    }

    #[test]
    fn frames_come_back_at_every_size_and_losses_cost_only_themselves() {
        testing::holds(&track(Codec::Vp9, 90_000, None), 1, frame);
    }
}
