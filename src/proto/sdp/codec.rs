//! What payload types and encoding names mean: RFC 3551's fixed types, and the names we look into.

use crate::media::Codec;
use crate::media::MediaKind;

/// Encoding name, clock rate and channels of a fixed payload type (RFC 3551 tables 4 and 5).
///
/// G.722's clock is 8000 by an old mistake that everyone keeps (RFC 3551 section 4.5.2).
pub(super) fn fixed(payload_type: u8) -> Option<(&'static str, u32, Option<u8>)> {
    Some(match payload_type {
        0 => ("PCMU", 8_000, None),
        3 => ("GSM", 8_000, None),
        4 => ("G723", 8_000, None),
        5 => ("DVI4", 8_000, None),
        6 => ("DVI4", 16_000, None),
        7 => ("LPC", 8_000, None),
        8 => ("PCMA", 8_000, None),
        9 => ("G722", 8_000, None),
        10 => ("L16", 44_100, Some(2)),
        11 => ("L16", 44_100, Some(1)),
        12 => ("QCELP", 8_000, None),
        13 => ("CN", 8_000, None),
        14 => ("MPA", 90_000, None),
        15 => ("G728", 8_000, None),
        16 => ("DVI4", 11_025, None),
        17 => ("DVI4", 22_050, None),
        18 => ("G729", 8_000, None),
        25 => ("CelB", 90_000, None),
        26 => ("JPEG", 90_000, None),
        28 => ("nv", 90_000, None),
        31 => ("H261", 90_000, None),
        32 => ("MPV", 90_000, None),
        33 => ("MP2T", 90_000, None),
        34 => ("H263", 90_000, None),
        _ => return None,
    })
}

/// The codec of an encoding name, which compares without case. `mode` is that of RFC 3640.
///
/// A name under the wrong `m=` is nothing we could look into.
pub(super) fn of(kind: MediaKind, encoding: &str, mode: Option<&str>) -> Codec {
    let name = encoding.to_ascii_lowercase();
    match (name.as_str(), kind) {
        ("h264", MediaKind::Video) => Codec::H264,
        ("h265" | "hevc", MediaKind::Video) => Codec::H265,
        ("av1", MediaKind::Video) => Codec::Av1,
        ("mp4v-es", MediaKind::Video) => Codec::Mpeg4Visual,
        ("mpv", MediaKind::Video) => Codec::Mpeg2Video,
        ("jpeg", MediaKind::Video) => Codec::Jpeg,
        ("vp8", MediaKind::Video) => Codec::Vp8,
        ("vp9", MediaKind::Video) => Codec::Vp9,
        ("mp2t", _) => Codec::MpegTs,
        ("mpeg4-generic", MediaKind::Audio) if is_aac(mode) => Codec::Aac,
        ("mp4a-latm", MediaKind::Audio) => Codec::AacLatm,
        ("opus", MediaKind::Audio) => Codec::Opus,
        ("pcmu", MediaKind::Audio) => Codec::Pcmu,
        ("pcma", MediaKind::Audio) => Codec::Pcma,
        ("g722", MediaKind::Audio) => Codec::G722,
        ("l8" | "l16" | "l24", MediaKind::Audio) => Codec::Lpcm,
        ("ac3", MediaKind::Audio) => Codec::Ac3,
        ("mpa", MediaKind::Audio) => Codec::MpegAudio,
        ("vorbis", MediaKind::Audio) => Codec::Vorbis,
        // FFmpeg and cameras announce it as application, some encoders as video.
        ("smpte336m", _) => Codec::Klv,
        _ => Codec::Other,
    }
}

/// Encoders that leave the mode out send AAC; the other modes are CELP and MPEG-4 video.
fn is_aac(mode: Option<&str>) -> bool {
    mode.is_none_or(|m| m.eq_ignore_ascii_case("AAC-hbr") || m.eq_ignore_ascii_case("AAC-lbr"))
}
