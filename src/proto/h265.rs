//! H.265 as a bitstream (ITU-T H.265): NAL unit types and what SDP says of parameter sets (RFC 7798).
//!
//! Not here: packets; see [`rtp`](super::rtp). Splitting Annex B is in [`bits`](super::bits).

use crate::media::Track;
use crate::proto::bits::BitReader;
use crate::proto::bits::unescape;
use crate::proto::h264::sprop_nals;
use crate::proto::h264::sprop_parameter_sets;

/// NAL unit types (H.265 table 7-1) and the payload structures of RTP (RFC 7798 section 4.4).
pub mod nal {
    /// The first and last of the types of slices.
    pub const FIRST_VCL: u8 = 0;
    pub const LAST_VCL: u8 = 31;
    /// Pictures at which decoding can start: BLA, IDR, CRA and the two types kept free for more.
    pub const FIRST_IRAP: u8 = 16;
    pub const LAST_IRAP: u8 = 23;
    pub const VPS: u8 = 32;
    pub const SPS: u8 = 33;
    pub const PPS: u8 = 34;
    pub const AUD: u8 = 35;
    pub const FILLER: u8 = 38;
    /// The last type that may stand alone in a packet.
    pub const LAST_SINGLE: u8 = 47;
    pub const AP: u8 = 48;
    pub const FU: u8 = 49;
    pub const PACI: u8 = 50;
}

/// The type of a NAL unit; `None` if it is shorter than its header of two bytes.
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    let [first, _, ..] = nal else { return None };
    Some(first >> 1 & 0x3f)
}

/// A slice of a picture.
pub fn is_vcl(nal_type: u8) -> bool {
    nal_type <= nal::LAST_VCL
}

/// A slice of a picture at which decoding can start.
pub fn is_irap(nal_type: u8) -> bool {
    (nal::FIRST_IRAP..=nal::LAST_IRAP).contains(&nal_type)
}

/// The slice with which a picture begins: `first_slice_segment_in_pic_flag` (section 7.3.6.1).
pub fn begins_picture(nal: &[u8]) -> bool {
    nal_type(nal).is_some_and(is_vcl) && nal.get(2).is_some_and(|b| b & 0x80 != 0)
}

/// The number by which others name a parameter set. `None` for other NAL units and broken ones.
///
/// An SPS has it behind a long profile description; a stream of one layer has one SPS, so all count as 0.
pub fn parameter_set_id(nal: &[u8]) -> Option<u32> {
    match nal_type(nal)? {
        nal::VPS => nal.get(2).map(|b| u32::from(b >> 4)),
        nal::SPS => nal.get(2).map(|_| 0),
        nal::PPS => {
            let head = unescape(&nal[2..], 16);
            BitReader::new(&head).ue()
        }
        _ => None,
    }
}

/// The parameter sets of a track's `sprop-vps`, `sprop-sps` and `sprop-pps`, in this order.
pub fn parameter_sets(track: &Track) -> Vec<Vec<u8>> {
    ["sprop-vps", "sprop-sps", "sprop-pps"]
        .iter()
        .filter_map(|key| track.fmtp_param(key))
        .flat_map(sprop_nals)
        .filter(|nal| parameter_set_id(nal).is_some())
        .collect()
}

/// An `a=fmtp` with these parameter sets (RFC 7798 section 7.1), without the payload type.
pub fn fmtp(vps: &[u8], sps: &[u8], pps: &[u8]) -> String {
    let text = |nal| sprop_parameter_sets(&[nal]);
    format!(
        "sprop-vps={};sprop-sps={};sprop-pps={}",
        text(vps),
        text(sps),
        text(pps)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;
    use crate::proto::rtp::testing::track;

    const VPS: [u8; 5] = [0x40, 0x01, 0x0c, 0x01, 0xff];
    const SPS: [u8; 5] = [0x42, 0x01, 0x01, 0x01, 0x60];
    const PPS: [u8; 4] = [0x44, 0x01, 0xc1, 0x72];

    #[test]
    fn parameter_sets_come_back_from_the_fmtp() {
        let text = fmtp(&VPS, &SPS, &PPS);
        assert_eq!(text, "sprop-vps=QAEMAf8=;sprop-sps=QgEBAWA=;sprop-pps=RAHBcg==");
        let got = parameter_sets(&track(Codec::H265, 90_000, Some(&text)));
        assert_eq!(got, [VPS.to_vec(), SPS.to_vec(), PPS.to_vec()]);
        assert!(parameter_sets(&track(Codec::H265, 90_000, Some("sprop-pps=AAAA"))).is_empty());
    }

    #[test]
    fn types_are_read_from_two_bytes() {
        assert_eq!(nal_type(&VPS), Some(nal::VPS));
        assert_eq!(nal_type(&[0x40]), None);
        assert!(begins_picture(&[0x26, 0x01, 0xaf]));
        assert!(!begins_picture(&[0x26, 0x01, 0x2f]));
        assert!(!begins_picture(&VPS));
        assert_eq!(parameter_set_id(&[0x44, 0x01, 0b0110_0000]), Some(2));
    }
}
