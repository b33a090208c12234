//! MPEG-4 part 2 video as a bitstream (ISO/IEC 14496-2): start codes, headers, the type of a picture.
//!
//! It is what `ffmpeg -f rtsp` sends when no codec is named. Not here: packets; see [`rtp`](super::rtp).

use crate::media::Track;
use crate::proto::bits::find_start_code;
use crate::proto::bits::from_hex;
use crate::proto::bits::to_hex;

/// The fourth byte of a start code (table 6-3).
pub mod code {
    pub const FIRST_VIDEO_OBJECT: u8 = 0x00;
    pub const FIRST_VOL: u8 = 0x20;
    pub const LAST_VOL: u8 = 0x2f;
    /// Visual object sequence: where a stream begins.
    pub const SEQUENCE: u8 = 0xb0;
    pub const USER_DATA: u8 = 0xb2;
    pub const GROUP_OF_VOP: u8 = 0xb3;
    pub const VISUAL_OBJECT: u8 = 0xb5;
    pub const VOP: u8 = 0xb6;
}

/// How a picture is coded: `vop_coding_type` (table 6-20).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VopType {
    /// By itself: the only kind at which decoding can start.
    Intra,
    Predicted,
    Bidirectional,
    Sprite,
}

/// What stands before and at the first picture of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outline {
    /// Where the VOL header begins, or the first of the headers before it (sequence, object).
    pub headers: Option<usize>,
    /// There is a VOL header, without which no picture can be decoded.
    pub has_vol: bool,
    /// Where the headers end: the first group of pictures or picture.
    pub body: Option<usize>,
    /// The type of the first picture.
    pub vop: Option<VopType>,
}

/// Looks through `data` up to the first picture. Start codes that are cut off at the end do not count.
pub fn outline(data: &[u8]) -> Outline {
    let mut found = Outline::default();
    let mut from = 0;
    while let Some(at) = find_start_code(data, from) {
        match data.get(at + 3) {
            // Behind the first group of pictures, headers are no longer those of this picture.
            Some(&(code::FIRST_VIDEO_OBJECT..=code::LAST_VOL | code::SEQUENCE | code::VISUAL_OBJECT))
                if found.body.is_none() =>
            {
                found.headers.get_or_insert(at);
                found.has_vol |= (code::FIRST_VOL..=code::LAST_VOL).contains(&data[at + 3]);
            }
            Some(&code::GROUP_OF_VOP) => {
                found.body.get_or_insert(at);
            }
            Some(&code::VOP) => {
                found.body.get_or_insert(at);
                found.vop = data.get(at + 4).map(|b| VopType::from_bits(b >> 6));
                break;
            }
            _ => {}
        }
        from = at + 3;
    }
    found
}

impl VopType {
    fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Intra,
            1 => Self::Predicted,
            2 => Self::Bidirectional,
            _ => Self::Sprite,
        }
    }
}

/// The headers (sequence, object, VOL) at the start of `data`, as `config=` has them; `None` without a VOL.
pub fn headers(data: &[u8]) -> Option<&[u8]> {
    let found = outline(data);
    let end = found.body.unwrap_or(data.len());
    if found.has_vol {
        data.get(found.headers?..end)
    } else {
        None
    }
}

/// The headers in the `config=` of a track's `a=fmtp` (RFC 6416 section 7.1), if they have a VOL.
pub fn config(track: &Track) -> Option<Vec<u8>> {
    let bytes = from_hex(track.fmtp_param("config")?)?;
    headers(&bytes).map(<[u8]>::to_vec)
}

/// An `a=fmtp` with these headers, without the payload type. The level is the byte of the sequence header.
pub fn fmtp(headers: &[u8]) -> String {
    let level = match headers {
        [0, 0, 1, code::SEQUENCE, level, ..] => *level,
        _ => 1, // simple profile, level 1: what RFC 6416 assumes when nothing is said
    };
    format!("profile-level-id={level};config={}", to_hex(headers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;
    use crate::proto::rtp::testing::track;

    const HEADERS: [u8; 18] = [
        0, 0, 1, 0xb0, 1, 0, 0, 1, 0xb5, 0x89, 0, 0, 1, 0x00, 0, 0, 1, 0x20,
    ];

    #[test]
    fn the_first_picture_and_the_headers_are_found() {
        let mut data = HEADERS.to_vec();
        data.extend_from_slice(&[0xc4, 0, 0, 1, 0xb2, 0x4c, 0, 0, 1, 0xb3, 0, 0, 0, 1, 0xb6, 0x10]);
        let found = outline(&data);
        assert_eq!(
            (found.headers, found.has_vol, found.body),
            (Some(0), true, Some(24))
        );
        assert_eq!(found.vop, Some(VopType::Intra));
        assert_eq!(headers(&data), Some(&data[..24]));
        assert_eq!(outline(&[0, 0, 1, 0xb6, 0x50]).vop, Some(VopType::Predicted));
        assert_eq!(outline(&[0, 0, 1, 0xb6]).vop, None);
        assert_eq!(outline(&[0, 0, 1]), Outline::default());
        assert_eq!(headers(&[0, 0, 1, 0xb0, 1]), None);
        let late = [0, 0, 1, 0x00, 9, 0, 0, 1, 0xb3, 0, 0, 1, 0x20, 9];
        assert_eq!(headers(&late), None, "the VOL is not among the headers");
    }

    #[test]
    fn the_config_comes_back_from_the_fmtp() {
        let text = fmtp(&HEADERS);
        assert_eq!(
            text,
            "profile-level-id=1;config=000001B001000001B58900000100000001".to_owned() + "20"
        );
        assert_eq!(
            config(&track(Codec::Mpeg4Visual, 90_000, Some(&text))),
            Some(HEADERS.to_vec())
        );
        assert_eq!(
            config(&track(Codec::Mpeg4Visual, 90_000, Some("config=zz"))),
            None
        );
    }
}
