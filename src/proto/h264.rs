//! H.264 as a bitstream (ITU-T H.264): NAL unit types, parameter sets, and what SDP says of them (RFC 6184).
//!
//! Not here: packets; see [`rtp::h264`](super::rtp). Splitting Annex B is in [`bits`](super::bits).

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;

use crate::media::Track;
use crate::proto::bits::BitReader;
use crate::proto::bits::unescape;

/// NAL unit types (H.264 table 7-1) and the payload structures of RTP (RFC 6184 table 1).
pub mod nal {
    pub const SLICE: u8 = 1;
    pub const PARTITION_A: u8 = 2;
    pub const PARTITION_C: u8 = 4;
    pub const IDR: u8 = 5;
    pub const SEI: u8 = 6;
    pub const SPS: u8 = 7;
    pub const PPS: u8 = 8;
    pub const AUD: u8 = 9;
    pub const FILLER: u8 = 12;
    /// The last type that may stand alone in a packet.
    pub const LAST_SINGLE: u8 = 23;
    pub const STAP_A: u8 = 24;
    pub const STAP_B: u8 = 25;
    pub const MTAP16: u8 = 26;
    pub const MTAP24: u8 = 27;
    pub const FU_A: u8 = 28;
    pub const FU_B: u8 = 29;
}

/// Base64 of SDP. Cameras leave the padding out or add too much of it, so any amount is taken.
pub(crate) const SDP_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The type of a NAL unit; 0 (unspecified) for an empty one.
pub fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |b| b & 0x1f)
}

/// A coded slice of a picture, or one of its partitions.
pub fn is_vcl(nal_type: u8) -> bool {
    (nal::SLICE..=nal::IDR).contains(&nal_type)
}

/// The slice with which a picture begins: `first_mb_in_slice` is 0, which is one set bit (section 7.3.3).
///
/// Streams with arbitrary slice order break this rule; only the extinct profiles of video conferences had it.
pub fn begins_picture(nal: &[u8]) -> bool {
    matches!(nal_type(nal), nal::SLICE | nal::PARTITION_A | nal::IDR)
        && nal.get(1).is_some_and(|b| b & 0x80 != 0)
}

/// A SEI NAL unit with a recovery point: decoding can start here though there is no IDR (section D.1.8).
///
/// Encoders with open GOPs or intra refresh mark their joining points so.
pub fn is_recovery_point(nal: &[u8]) -> bool {
    /// `payloadType` of `recovery_point`.
    const RECOVERY_POINT: u32 = 6;
    if nal_type(nal) != nal::SEI {
        return false;
    }
    let sei = unescape(&nal[1..], 4096);
    let mut rest = &sei[..];
    // The last byte is the trailing bits, so a message takes at least two more.
    while rest.len() > 2 {
        let Some((kind, after_kind)) = sei_number(rest) else {
            return false;
        };
        let Some((size, body)) = sei_number(after_kind) else {
            return false;
        };
        if kind == RECOVERY_POINT {
            return true;
        }
        let Some(next) = body.get(size as usize..) else {
            return false;
        };
        rest = next;
    }
    false
}

/// A number of the SEI syntax: as many 255 as fit, then the rest.
fn sei_number(data: &[u8]) -> Option<(u32, &[u8])> {
    let full = data.iter().take_while(|&&b| b == 0xff).count();
    let last = *data.get(full)?;
    Some((
        u32::try_from(full).ok()? * 255 + u32::from(last),
        &data[full + 1..],
    ))
}

/// The number by which slices name a parameter set. `None` for other NAL units and broken ones.
pub fn parameter_set_id(nal: &[u8]) -> Option<u32> {
    let skip = match nal_type(nal) {
        nal::SPS => 32, // the NAL header, profile, constraints, level
        nal::PPS => 8,
        _ => return None,
    };
    let head = unescape(nal, 16);
    let mut bits = BitReader::new(&head);
    bits.skip(skip)?;
    bits.ue()
}

/// `profile-level-id`: profile, constraints and level as six hexadecimal digits (RFC 6184 section 8.1).
pub fn profile_level_id(sps: &[u8]) -> Option<String> {
    match sps {
        [_, profile, constraints, level, ..] if nal_type(sps) == nal::SPS => {
            Some(format!("{profile:02X}{constraints:02X}{level:02X}"))
        }
        _ => None,
    }
}

/// A complete `a=fmtp` for a stream with these parameter sets (RFC 6184 section 8.2.1), without the payload type.
pub fn fmtp(sps: &[u8], pps: &[u8]) -> String {
    let mut text = "packetization-mode=1".to_owned();
    if let Some(id) = profile_level_id(sps) {
        text.push_str(&format!(";profile-level-id={id}"));
    }
    text.push_str(&format!(
        ";sprop-parameter-sets={}",
        sprop_parameter_sets(&[sps, pps])
    ));
    text
}

/// The value of `sprop-parameter-sets` for these NAL units.
pub fn sprop_parameter_sets(nals: &[&[u8]]) -> String {
    nals.iter()
        .map(|nal| SDP_BASE64.encode(nal))
        .collect::<Vec<_>>()
        .join(",")
}

/// The parameter sets of a track's `sprop-parameter-sets`, SPS first; what cannot be read is left out.
pub fn parameter_sets(track: &Track) -> Vec<Vec<u8>> {
    let mut sets: Vec<Vec<u8>> = track
        .fmtp_param("sprop-parameter-sets")
        .map(sprop_nals)
        .unwrap_or_default();
    sets.retain(|nal| parameter_set_id(nal).is_some());
    sets.sort_by_key(|nal| nal_type(nal));
    sets
}

/// The NAL units of a comma-separated base64 list, as `sprop-...` parameters of H.264 and H.265 carry them.
pub(crate) fn sprop_nals(list: &str) -> Vec<Vec<u8>> {
    list.split(',')
        .filter_map(|one| SDP_BASE64.decode(one.trim()).ok())
        .map(|nal| {
            // Some cameras leave the start code on.
            let zeros = nal.iter().take_while(|&&b| b == 0).count();
            if zeros >= 2 && nal.get(zeros) == Some(&1) {
                nal[zeros + 1..].to_vec()
            } else {
                nal
            }
        })
        .filter(|nal| !nal.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::rtp::h264_track;

    /// From x264, 320x240 constrained baseline.
    const SPS: [u8; 10] = [0x67, 0x42, 0xc0, 0x0d, 0xda, 0x05, 0x07, 0xec, 0x04, 0x40];
    const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];

    #[test]
    fn the_fmtp_names_mode_profile_and_both_sets() {
        assert_eq!(
            fmtp(&SPS, &PPS),
            "packetization-mode=1;profile-level-id=42C00D;sprop-parameter-sets=Z0LADdoFB+wEQA==,aM48gA=="
        );
        assert_eq!(profile_level_id(&PPS), None);
    }

    #[test]
    fn parameter_sets_come_back_from_the_fmtp_sps_first() {
        let mut track = h264_track(crate::media::TrackId(0), &SPS, &PPS);
        assert_eq!(parameter_sets(&track), [SPS.to_vec(), PPS.to_vec()]);
        // No padding, PPS first, a start code left on, rubbish between.
        track.fmtp = Some("sprop-parameter-sets=aM48gA,!!,AAAAAWdCwA3aBQfsBEA,".into());
        assert_eq!(parameter_sets(&track), [SPS.to_vec(), PPS.to_vec()]);
        track.fmtp = None;
        assert!(parameter_sets(&track).is_empty());
    }

    #[test]
    fn parameter_sets_have_their_numbers() {
        assert_eq!(parameter_set_id(&SPS), Some(0));
        assert_eq!(parameter_set_id(&PPS), Some(0));
        assert_eq!(parameter_set_id(&[0x68, 0b0100_0000]), Some(1));
        assert_eq!(parameter_set_id(&[0x65, 0x80]), None);
        assert_eq!(parameter_set_id(&[0x67]), None);
    }

    #[test]
    fn a_recovery_point_is_found_behind_other_messages() {
        assert!(is_recovery_point(&[6, 6, 1, 0x80, 0x80]));
        assert!(is_recovery_point(&[6, 1, 2, 9, 9, 6, 1, 0x80, 0x80]));
        assert!(!is_recovery_point(&[6, 5, 2, 6, 6, 0x80]));
        assert!(!is_recovery_point(&[6, 255, 255, 255, 1, 255]));
        assert!(!is_recovery_point(&[6]));
        assert!(!is_recovery_point(&[0x65, 6, 1, 0x80, 0x80]));
    }
}
