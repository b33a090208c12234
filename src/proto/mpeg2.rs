//! MPEG-1 and MPEG-2 video: the headers of a picture (ISO/IEC 11172-2 section 2.4, 13818-2 section 6.2).
//!
//! Not here: packets; see [`rtp`](super::rtp).

use crate::proto::bits::BitReader;
use crate::proto::bits::find_start_code;

/// The byte behind `00 00 01` (13818-2 table 6-1).
pub mod code {
    pub const PICTURE: u8 = 0x00;
    pub const FIRST_SLICE: u8 = 0x01;
    pub const LAST_SLICE: u8 = 0xaf;
    pub const SEQUENCE: u8 = 0xb3;
    pub const GROUP: u8 = 0xb8;
}

/// `picture_coding_type` of a picture that refers to no other.
pub const INTRA: u8 = 1;

/// What a picture header says, and what RTP repeats of it in each packet (RFC 2250 section 3.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Picture {
    /// Where the picture is shown within its group, 10 bits.
    pub temporal_reference: u16,
    /// 1 to 4: I, P, B, D.
    pub coding_type: u8,
    /// The vector flags and codes of MPEG-1, backward in the high half; MPEG-2 keeps them elsewhere.
    pub vectors: u8,
}

/// What stands in front of the slices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outline {
    /// A sequence header, without which nothing can be decoded.
    pub has_sequence: bool,
    /// The first picture header.
    pub picture: Option<Picture>,
    /// Where the first slice begins.
    pub slices: Option<usize>,
}

/// Looks through `data` up to the first slice. Headers that are cut off do not count.
pub fn outline(data: &[u8]) -> Outline {
    let mut found = Outline::default();
    let mut from = 0;
    while let Some(at) = find_start_code(data, from) {
        match data.get(at + 3) {
            Some(&code::SEQUENCE) => found.has_sequence = true,
            Some(&code::PICTURE) if found.picture.is_none() => found.picture = picture(&data[at + 4..]),
            Some(&(code::FIRST_SLICE..=code::LAST_SLICE)) => {
                found.slices = Some(at);
                break;
            }
            _ => {}
        }
        from = at + 3;
    }
    found
}

/// Whether decoding can start at this picture: it refers to no other, and has a sequence header.
pub fn is_keyframe(unit: &[u8]) -> bool {
    let found = outline(unit);
    found.has_sequence && found.picture.is_some_and(|p| p.coding_type == INTRA)
}

/// A picture header behind its start code.
fn picture(data: &[u8]) -> Option<Picture> {
    let mut bits = BitReader::new(data);
    let temporal_reference = bits.bits(10)? as u16;
    let coding_type = bits.bits(3)? as u8;
    bits.skip(16)?; // how full the buffer is
    let mut vectors = 0;
    if matches!(coding_type, 2 | 3) {
        vectors = bits.bits(4)? as u8;
    }
    if coding_type == 3 {
        vectors |= (bits.bits(4)? as u8) << 4;
    }
    Some(Picture {
        temporal_reference,
        coding_type,
        vectors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_a_picture_are_read_up_to_its_slices() {
        // Sequence, group, a B picture with number 5, flags and codes 0111 and 1011, and a slice.
        let data = [
            0, 0, 1, 0xb3, 0x14, 0, 0, 1, 0xb8, 8, 0, 0, 1, 0x00, 0x01, 0x5f, 0xff, 0xfb, 0xdd, 0x80, 0, 0,
            1, 1,
        ];
        let found = outline(&data);
        let want = Picture {
            temporal_reference: 5,
            coding_type: 3,
            vectors: 0xb7,
        };
        assert_eq!((found.has_sequence, found.slices), (true, Some(20)));
        assert_eq!(found.picture, Some(want));
        assert!(!is_keyframe(&data));
    }

    #[test]
    fn a_keyframe_is_intra_and_has_a_sequence_header() {
        let picture = [0, 0, 1, 0x00, 0x00, 0x0f, 0xff, 0xf8, 0, 0, 1, 1];
        assert!(is_keyframe(&[&[0, 0, 1, 0xb3, 9][..], &picture].concat()));
        assert!(!is_keyframe(&picture));
        assert_eq!(outline(&picture[..6]).picture, None);
        assert_eq!(outline(&[0, 0, 1]), Outline::default());
    }
}
