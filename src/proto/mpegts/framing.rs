//! What a transport stream wants around a unit: delimiters, parameter sets, ADTS headers.

use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::MediaKind;
use crate::media::Track;
use crate::proto::aac::AudioSpecificConfig;
use crate::proto::bits::find_start_code;
use crate::proto::bits::nal_units;
use crate::proto::bits::push_nal;
use crate::proto::h264;
use crate::proto::h265;
use crate::proto::mpeg4;

/// Access unit delimiters that say nothing of the pictures to come (H.264 7.3.2.4, H.265 7.3.2.5).
const H264_AUD: [u8; 2] = [0x09, 0xf0];
const H265_AUD: [u8; 3] = [0x46, 0x01, 0x50];

/// How the units of a track are wrapped. Parameter sets are those of the track's `a=fmtp`, for keyframes that
/// come without.
#[derive(Debug)]
pub(super) enum Framing {
    H264 { sets: Vec<Vec<u8>> },
    H265 { sets: Vec<Vec<u8>> },
    Mpeg4 { headers: Option<Vec<u8>> },
    Adts(AudioSpecificConfig),
}

impl Framing {
    /// `None` for what a transport stream cannot carry, or no player would know.
    pub(super) fn new(track: &Track) -> Option<Self> {
        match (track.codec, track.kind) {
            (Codec::H264, MediaKind::Video) => Some(Self::H264 {
                sets: h264::parameter_sets(track),
            }),
            (Codec::H265, MediaKind::Video) => Some(Self::H265 {
                sets: h265::parameter_sets(track),
            }),
            (Codec::Mpeg4Visual, MediaKind::Video) => Some(Self::Mpeg4 {
                headers: mpeg4::config(track),
            }),
            (Codec::Aac, MediaKind::Audio) => {
                let config = AudioSpecificConfig::of_track(track)?;
                config.adts_header(0)?;
                Some(Self::Adts(config))
            }
            _ => None,
        }
    }

    /// ISO/IEC 13818-1 table 2-34.
    pub(super) fn stream_type(&self) -> u8 {
        match self {
            Self::H264 { .. } => 0x1b,
            Self::H265 { .. } => 0x24,
            Self::Mpeg4 { .. } => 0x10,
            Self::Adts(_) => 0x0f,
        }
    }

    /// How many pictures may come before one that is shown earlier. More than most streams use: a decode time
    /// that is too early does no harm.
    pub(super) fn reorder_depth(&self) -> usize {
        /// `profile_idc` of baseline, which has no B pictures.
        const BASELINE: u8 = 66;
        match self {
            Self::H264 { sets } if sets.first().and_then(|sps| sps.get(1)) == Some(&BASELINE) => 0,
            Self::H264 { .. } | Self::H265 { .. } => 2,
            Self::Mpeg4 { .. } => 1,
            Self::Adts(_) => 0,
        }
    }

    /// Appends the unit in its frame; `false` if it cannot be carried.
    pub(super) fn push(&self, unit: &AccessUnit, out: &mut Vec<u8>) -> bool {
        let data = &unit.data[..];
        match self {
            Self::H264 { sets } => {
                let mut head = nal_units(data)
                    .map(h264::nal_type)
                    .take_while(|t| !h264::is_vcl(*t));
                let lacks = unit.keyframe && !head.any(|t| t == h264::nal::SPS);
                let rest = without_first(data, |nal| h264::nal_type(nal) == h264::nal::AUD);
                push_nals(out, &H264_AUD, if lacks { sets } else { &[] }, rest);
            }
            Self::H265 { sets } => {
                let mut head = nal_units(data)
                    .filter_map(h265::nal_type)
                    .take_while(|t| !h265::is_vcl(*t));
                let lacks = unit.keyframe && !head.any(|t| t == h265::nal::SPS);
                let rest = without_first(data, |nal| h265::nal_type(nal) == Some(h265::nal::AUD));
                push_nals(out, &H265_AUD, if lacks { sets } else { &[] }, rest);
            }
            Self::Mpeg4 { headers } => {
                if let Some(headers) = headers
                    .as_ref()
                    .filter(|_| unit.keyframe && !mpeg4::outline(data).has_vol)
                {
                    out.extend_from_slice(headers);
                }
                out.extend_from_slice(data);
            }
            Self::Adts(config) => {
                let Some(header) = config.adts_header(data.len()) else {
                    return false;
                };
                out.extend(header);
                out.extend_from_slice(data);
            }
        }
        !data.is_empty()
    }
}

/// Delimiter, parameter sets, and the unit as it is.
fn push_nals(out: &mut Vec<u8>, delimiter: &[u8], sets: &[Vec<u8>], rest: &[u8]) {
    push_nal(out, delimiter);
    for set in sets {
        push_nal(out, set);
    }
    out.extend_from_slice(rest);
}

/// An Annex B unit without its first NAL unit, if that is one of those.
fn without_first(data: &[u8], is: impl Fn(&[u8]) -> bool) -> &[u8] {
    let Some(first) = find_start_code(data, 0).filter(|at| is(&data[at + 3..])) else {
        return data;
    };
    match find_start_code(data, first + 3) {
        // The zero before belongs to the start code of parameter sets (H.264 annex B.1.2).
        Some(at) => &data[if data[at - 1] == 0 { at - 1 } else { at }..],
        None => &[],
    }
}
