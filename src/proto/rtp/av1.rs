//! AV1 in RTP, both directions (RTP Payload Format For AV1, version 1.0, of the Alliance for Open Media).
//!
//! Not here: the dependency descriptor, a header extension with which a forwarder chooses among layers. OBUs
//! themselves are in [`proto::av1`](crate::proto::av1).

use crate::proto::av1;
use crate::proto::av1::Obu;
use crate::proto::av1::obu;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::fits;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::pictures::Assemble;

/// The aggregation header (section 4.4): the first element goes on from the packet before.
const CONTINUES: u8 = 0x80;
/// The last element goes on in the next packet.
const CONTINUED: u8 = 0x40;
/// A coded video sequence begins here.
const NEW_SEQUENCE: u8 = 0x08;
/// The most elements of which the header can say how many there are, which saves the size of the last.
const MAX_COUNTED: usize = 3;

/// Sends the OBUs of a temporal unit without their sizes, as many as fit in a packet; the last has the marker.
pub(super) fn packetize(writer: &mut Writer, unit: &[u8], timestamp: u32, out: &mut Vec<Vec<u8>>) {
    let room = writer.max_payload - 1;
    let mut packet = Elements::default();
    let mut packets = Vec::new();
    for obu in av1::obus(unit).filter(Obu::travels) {
        let mut element = vec![obu.first];
        element.extend(obu.extension);
        element.extend_from_slice(obu.payload);
        let mut rest = &element[..];
        while !rest.is_empty() {
            let free = room.saturating_sub(packet.length_with_sizes());
            if packet.parts.len() == MAX_COUNTED || free < rest.len().min(MIN_FRAGMENT) {
                packets.push(packet.take(false));
                continue;
            }
            let (part, after) = rest.split_at(rest.len().min(free));
            packet.parts.push(part.to_vec());
            rest = after;
            if !rest.is_empty() {
                packets.push(packet.take(true));
            }
        }
    }
    if !packet.parts.is_empty() {
        packets.push(packet.take(false));
    }
    let begins = av1::is_keyframe(unit);
    let count = packets.len();
    for (i, (mut header, body)) in packets.into_iter().enumerate() {
        if begins && i == 0 {
            header |= NEW_SEQUENCE;
        }
        writer.packet(out, i + 1 == count, timestamp, &[&[header], &body]);
    }
}

/// A part of an OBU smaller than this is not worth its own size field.
const MIN_FRAGMENT: usize = 16;

/// The elements of the packet that is being filled.
#[derive(Default)]
struct Elements {
    parts: Vec<Vec<u8>>,
    /// The first element goes on from the packet before.
    continues: bool,
}

impl Elements {
    /// What they take if another follows, so that all have sizes.
    fn length_with_sizes(&self) -> usize {
        let length = |p: &Vec<u8>| av1::leb128_length(p.len()) + p.len();
        self.parts.iter().map(length).sum()
    }

    /// The header and the elements; what comes next goes on with the last of them, or not.
    fn take(&mut self, continued: bool) -> (u8, Vec<u8>) {
        let mut header = (self.parts.len() as u8) << 4;
        header |= if self.continues { CONTINUES } else { 0 };
        header |= if continued { CONTINUED } else { 0 };
        self.continues = continued;
        let mut body = Vec::new();
        let last = self.parts.len().saturating_sub(1);
        for (i, part) in self.parts.drain(..).enumerate() {
            if i < last {
                av1::push_leb128(&mut body, part.len());
            }
            body.extend_from_slice(&part);
        }
        (header, body)
    }
}

/// The elements of a payload, behind its header; `None` if a size does not fit.
fn elements(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let (&header, mut rest) = payload.split_first()?;
    let count = usize::from(header >> 4 & 0x03);
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let (element, after) = if elements.len() + 1 == count {
            (rest, &[][..])
        } else {
            let (size, after) = av1::leb128(rest)?;
            after.split_at_checked(size)?
        };
        elements.push(element);
        rest = after;
    }
    Some(elements)
}

/// Whether a coded video sequence begins with this payload. Senders that forget to say so have its header first.
pub(super) fn starts(payload: &[u8]) -> bool {
    let Some(&header) = payload.first() else {
        return false;
    };
    let is_sequence = |e: &[u8]| e.first().is_some_and(|b| b >> 3 & 0x0f == obu::SEQUENCE_HEADER);
    header & CONTINUES == 0
        && payload.len() > 1
        && (header & NEW_SEQUENCE != 0
            || elements(payload).is_some_and(|all| all.into_iter().any(is_sequence)))
}

/// Puts temporal units together, with the size of each OBU, without temporal delimiters.
#[derive(Debug, Default)]
pub(super) struct Depacketizer {
    unit: Vec<u8>,
    /// The OBU whose parts are coming in.
    partial: Option<Vec<u8>>,
    has_picture: bool,
}

impl Depacketizer {
    fn complete(&mut self, element: &[u8]) -> Result<(), Fault> {
        if element.is_empty() {
            return Ok(());
        }
        let (obu, _) = Obu::parse(element).ok_or("an element is no OBU")?;
        if obu.travels() {
            fits(self.unit.len(), element.len() + 8)?;
            self.has_picture |= obu.is_picture();
            obu.push(&mut self.unit);
        }
        Ok(())
    }
}

impl Assemble for Depacketizer {
    fn begin(&mut self, _after_gap: bool) {
        self.unit.clear();
        self.partial = None;
        self.has_picture = false;
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let header = payload.first().copied().unwrap_or_default();
        let elements = elements(payload).ok_or("an element reaches beyond its packet")?;
        match (header & CONTINUES != 0, self.partial.is_some()) {
            (true, false) => return Err("an OBU lacks its beginning"),
            (false, true) => return Err("an OBU ends without its last part"),
            _ => {}
        }
        let count = elements.len();
        for (i, element) in elements.into_iter().enumerate() {
            let goes_on = i + 1 == count && header & CONTINUED != 0;
            match self.partial.take() {
                Some(mut partial) => {
                    fits(partial.len() + self.unit.len(), element.len())?;
                    partial.extend_from_slice(element);
                    if goes_on {
                        self.partial = Some(partial);
                    } else {
                        self.complete(&partial)?;
                    }
                }
                None if goes_on => self.partial = Some(element.to_vec()),
                None => self.complete(element)?,
            }
        }
        Ok(())
    }

    fn has_picture(&self) -> bool {
        self.has_picture || self.partial.is_some()
    }

    fn finish(&mut self) -> Option<(Vec<u8>, bool)> {
        if self.partial.is_some() || !self.has_picture {
            return None;
        }
        let unit = std::mem::take(&mut self.unit);
        let keyframe = av1::is_keyframe(&unit);
        Some((unit, keyframe))
    }
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

    /// A temporal unit of a sequence header (for keyframes), a small OBU of metadata and a frame.
    fn temporal_unit(keyframe: bool, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut push = |first: u8, payload: &[u8]| {
            let obu = Obu {
                kind: first >> 3,
                first,
                extension: None,
                payload,
            };
            obu.push(&mut out);
        };
        if keyframe {
            push(0x08, &[0, 0, 0, 0x24, 0xcf]);
        }
        push(0x28, &[1, 2, 3]);
        let first = if keyframe { 0x10 } else { 0x30 };
        push(0x30, &[&[first][..], &noise(length as u32, length)].concat());
        out
    }

    #[test]
    fn small_obus_share_a_packet_and_large_ones_go_in_parts() {
        let av1 = track(Codec::Av1, 90_000, None);
        let delimited = [&[0x12, 0][..], &temporal_unit(true, 200)].concat();
        let out = packets(&av1, 100, &[unit(&av1, 0, true, delimited)]);
        let headers: Vec<_> = out.iter().map(|p| (p[HEADER_LEN], p[1] >> 7)).collect();
        // Sequence header, metadata and the beginning of the frame; then what is left of it.
        assert_eq!(headers, [(0x78, 0), (0xd0, 0), (0x90, 1)]);
        assert_eq!(out[0][HEADER_LEN + 1..][..7], [6, 0x08, 0, 0, 0, 0x24, 0xcf]);
        assert_eq!(out[0].len(), HEADER_LEN + 100);
        let no_delimiter = temporal_unit(true, 200);
        assert_eq!(units(&av1, &out), [unit(&av1, 0, true, no_delimiter)]);
    }

    #[test]
    fn elements_that_all_have_sizes_and_obus_that_kept_theirs_are_read() {
        let av1 = track(Codec::Av1, 90_000, None);
        let payload = [0x08, 3, 0x0a, 1, 0, 2, 0x12, 0, 3, 0x30, 0x10, 7];
        let want = [0x0a, 1, 0, 0x32, 2, 0x10, 7];
        assert_eq!(
            units(&av1, &[packet(1, 0, true, &payload)]),
            [unit(&av1, 0, true, want)]
        );
    }

    #[test]
    fn a_sequence_begins_where_the_header_says_so_or_has_one() {
        for yes in [&[0x18, 0x30][..], &[0x10, 0x0a, 1, 0], &[0x00, 1, 0x08, 1, 0x30]] {
            assert!(starts(yes), "{yes:02x?}");
        }
        for no in [&[][..], &[0x08], &[0x10, 0x30], &[0x98, 0x30], &[0x00, 9, 0x08]] {
            assert!(!starts(no), "{no:02x?}");
        }
    }

    #[test]
    fn what_cannot_be_is_an_error_and_the_next_unit_is_whole() {
        let av1 = track(Codec::Av1, 90_000, None);
        let good = temporal_unit(true, 10);
        for bad in [&[0x90, 0x30, 1][..], &[0x20, 9, 0x30], &[0x10, 0xb0, 1]] {
            let mut depacketizer = crate::proto::rtp::Depacketizer::new(&av1).unwrap();
            let whole = packets(&av1, 100, &[unit(&av1, 0, true, good.clone())]);
            let payload = &whole[0][HEADER_LEN..];
            depacketizer.push(&packet(0, 0, true, payload)).unwrap();
            assert!(depacketizer.push(&packet(1, 1, true, bad)).is_err(), "{bad:02x?}");
            depacketizer.push(&packet(2, 2, true, payload)).unwrap();
            let got: Vec<_> = std::iter::from_fn(|| depacketizer.pull())
                .map(|u| u.pts.ticks)
                .collect();
            assert_eq!((got, depacketizer.dropped()), (vec![0, 2], 1), "{bad:02x?}");
        }
    }

    #[test]
    fn units_come_back_at_every_size_and_losses_cost_only_themselves() {
        testing::holds(&track(Codec::Av1, 90_000, None), 1, temporal_unit);
    }
}
