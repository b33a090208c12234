//! AV1's open bitstream units (OBUs) and what tells a keyframe (AV1 Bitstream & Decoding Process Specification,
//! sections 4.10.5, 5.3 and 5.9).
//!
//! Not here: packets; see [`rtp`](super::rtp).

use crate::proto::bits::BitReader;

/// Types of OBUs (table 6.2.2).
pub mod obu {
    pub const SEQUENCE_HEADER: u8 = 1;
    pub const TEMPORAL_DELIMITER: u8 = 2;
    pub const FRAME_HEADER: u8 = 3;
    pub const TILE_GROUP: u8 = 4;
    pub const FRAME: u8 = 6;
    pub const TILE_LIST: u8 = 8;
    pub const PADDING: u8 = 15;
}

/// One OBU: its header without the size, and what it carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Obu<'a> {
    /// 0 to 15, see [`obu`].
    pub kind: u8,
    /// The first byte, with the bit for "has a size" cleared.
    pub first: u8,
    /// The second byte, with the layers, if there is one.
    pub extension: Option<u8>,
    pub payload: &'a [u8],
}

impl<'a> Obu<'a> {
    /// The OBU at the start of `data`, and what follows it: one without a size reaches to the end. `None` if it
    /// is cut off or no OBU.
    pub fn parse(data: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&first, mut rest) = data.split_first()?;
        if first & 0x80 != 0 {
            return None; // the forbidden bit
        }
        let mut extension = None;
        if first & 0x04 != 0 {
            let (&byte, after) = rest.split_first()?;
            (extension, rest) = (Some(byte), after);
        }
        let (payload, rest) = if first & 0x02 != 0 {
            let (size, after) = leb128(rest)?;
            after.split_at_checked(size)?
        } else {
            (rest, &[][..])
        };
        let obu = Self {
            kind: first >> 3 & 0x0f,
            first: first & !0x02,
            extension,
            payload,
        };
        Some((obu, rest))
    }

    /// Whether it may travel in RTP, and is worth it: RTP marks temporal units itself.
    pub fn travels(&self) -> bool {
        !matches!(self.kind, obu::TEMPORAL_DELIMITER | obu::TILE_LIST | obu::PADDING)
    }

    /// Whether it has a picture, or a part of one.
    pub fn is_picture(&self) -> bool {
        matches!(self.kind, obu::FRAME_HEADER | obu::TILE_GROUP | obu::FRAME)
    }

    /// Appends it with its size, as files have it.
    pub fn push(&self, out: &mut Vec<u8>) {
        out.push(self.first | 0x02);
        out.extend(self.extension);
        push_leb128(out, self.payload.len());
        out.extend_from_slice(self.payload);
    }
}

/// The OBUs of a temporal unit, up to the first that is broken.
pub fn obus(data: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (obu, after) = Obu::parse(rest)?;
        rest = after;
        Some(obu)
    })
}

/// Whether decoding can start at this temporal unit: it has a sequence header, and its first frame stands alone.
pub fn is_keyframe(unit: &[u8]) -> bool {
    let mut sequence = None;
    for obu in obus(unit) {
        match obu.kind {
            obu::SEQUENCE_HEADER => sequence = Some(obu.payload),
            obu::FRAME_HEADER | obu::FRAME => {
                return sequence.is_some_and(|s| is_still(s) || starts_anew(obu.payload));
            }
            _ => {}
        }
    }
    false
}

/// `reduced_still_picture_header`: every frame is a keyframe, and frame headers do not say so (section 5.5.1).
fn is_still(sequence: &[u8]) -> bool {
    sequence.first().is_some_and(|b| b & 0x08 != 0)
}

/// The first bits of a frame header: not a frame that was shown before, and a key frame (section 5.9.2).
fn starts_anew(frame: &[u8]) -> bool {
    BitReader::new(frame).bits(3) == Some(0)
}

/// A number in groups of seven bits, the lowest first (section 4.10.5), and what follows it. `None` if it is cut
/// off or has more than 32 bits.
pub fn leb128(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (i, &byte) in data.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((value as usize, &data[i + 1..]));
        }
    }
    None
}

/// Appends a number in as few bytes as it needs.
pub fn push_leb128(out: &mut Vec<u8>, value: usize) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// How many bytes [`push_leb128`] takes.
pub fn leb128_length(value: usize) -> usize {
    let bits = (usize::BITS - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A sequence header, and key and inter frames with sizes.
    const SEQUENCE: [u8; 4] = [0x0a, 2, 0, 0];
    const KEY: [u8; 4] = [0x32, 2, 0x10, 9];
    const INTER: [u8; 4] = [0x32, 2, 0x30, 9];

    #[test]
    fn obus_are_read_with_and_without_size_and_layers() {
        let unit = [&[0x12, 0][..], &[0x0e, 0x20, 1, 7], &[0x30, 5, 6]].concat();
        let found: Vec<_> = obus(&unit)
            .map(|o| (o.kind, o.first, o.extension, o.payload))
            .collect();
        assert_eq!(
            found,
            [
                (2, 0x10, None, &[][..]),
                (1, 0x0c, Some(0x20), &[7][..]),
                (6, 0x30, None, &[5, 6][..])
            ]
        );
        for broken in [&[][..], &[0x80], &[0x0c], &[0x0a], &[0x0a, 2, 1], &[0x0a, 0x80]] {
            assert_eq!(Obu::parse(broken), None, "{broken:02x?}");
        }
    }

    #[test]
    fn a_keyframe_has_a_sequence_header_and_a_frame_that_stands_alone() {
        assert!(is_keyframe(&[SEQUENCE, KEY].concat()));
        assert!(!is_keyframe(&KEY));
        assert!(
            !is_keyframe(&[SEQUENCE, INTER].concat()),
            "a repeated sequence header"
        );
        assert!(!is_keyframe(&SEQUENCE));
        let still = [0x0a, 1, 0x08];
        assert!(is_keyframe(&[&still[..], &INTER].concat()));
    }

    #[test]
    fn numbers_that_are_too_large_or_cut_off_are_none() {
        assert_eq!(leb128(&[0xe5, 0x8e, 0x26, 1]), Some((624_485, &[1][..])));
        assert_eq!(leb128(&[0x80, 0x80]), None);
        assert_eq!(leb128(&[0xff; 9]), None);
        assert_eq!(leb128(&[0xff, 0xff, 0xff, 0xff, 0x7f]), None, "35 bits");
    }

    proptest! {
        #[test]
        fn numbers_come_back(value in 0usize..=u32::MAX as usize) {
            let mut out = Vec::new();
            push_leb128(&mut out, value);
            prop_assert_eq!(out.len(), leb128_length(value));
            prop_assert_eq!(leb128(&out), Some((value, &[][..])));
        }
    }
}
