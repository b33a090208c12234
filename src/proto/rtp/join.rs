//! Where in a stream of packets a reader may begin, and which packets it needs before.
//!
//! Looks at payloads one by one and keeps nothing: the hub asks this for every packet that comes in.

use crate::media::Codec;
use crate::media::Track;
use crate::proto::h264;
use crate::proto::h264::nal;
use crate::proto::h265;
use crate::proto::mpeg4;
use crate::proto::mpeg4::VopType;
use crate::proto::rtp::av1;
use crate::proto::rtp::mpeg2;
use crate::proto::rtp::nals::next_aggregated;
use crate::proto::rtp::vp8;
use crate::proto::rtp::vp9;

/// Whether decoding can start with this RTP payload. It is asked of the first packet of such a place: for
/// later fragments of the same keyframe the answer is no.
///
/// - H.264 and H.265: parameter sets (a keyframe follows them) or the first slice of a keyframe, alone,
///   aggregated or as first fragment.
/// - MPEG-4 part 2: headers or the beginning of a picture coded by itself; later fragments have no start code.
/// - VP8, VP9: the first packet of a keyframe, of its base layer.
/// - AV1: the first packet of a coded video sequence.
/// - MPEG-1/2: a sequence header, or the first packet of a picture coded by itself.
/// - JPEG: the first fragment of a picture.
/// - Sound: always.
/// - Everything else: always. We cannot tell, and a reader that starts anywhere sees something sooner or later,
///   while one that waits for a sign that never comes sees nothing.
pub fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264_starts(payload),
        Codec::H265 => h265_starts(payload),
        Codec::Mpeg4Visual => mpeg4_starts(payload),
        Codec::Jpeg => matches!(payload, [_, 0, 0, 0, _, _, _, _, ..]),
        Codec::Vp8 => vp8_starts(payload),
        Codec::Vp9 => vp9_starts(payload),
        Codec::Av1 => av1::starts(payload),
        Codec::Mpeg2Video => mpeg2::starts(payload),
        Codec::Aac | Codec::AacLatm | Codec::Ac3 | Codec::MpegAudio | Codec::Vorbis | Codec::Opus => true,
        Codec::G722 | Codec::Lpcm | Codec::Pcma | Codec::Pcmu => true,
        Codec::Klv | Codec::MpegTs | Codec::Other => true,
    }
}

/// Whether this RTP payload has the headers without which a keyframe cannot be decoded: the SPS of H.264 and
/// H.265, the VOL header of MPEG-4 part 2. False for codecs that have none.
pub fn carries_parameter_sets(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => match payload {
            [b, rest @ ..] if b & 0x1f == nal::STAP_A => {
                aggregated(rest).any(|n| h264::nal_type(n) == nal::SPS)
            }
            _ => h264::nal_type(payload) == nal::SPS,
        },
        Codec::H265 => {
            let is_sps = |n: &[u8]| h265::nal_type(n) == Some(h265::nal::SPS);
            match (h265::nal_type(payload), payload) {
                (Some(h265::nal::AP), [_, _, rest @ ..]) => aggregated(rest).any(is_sps),
                _ => is_sps(payload),
            }
        }
        Codec::Mpeg4Visual => payload.starts_with(&[0, 0, 1]) && mpeg4::outline(payload).has_vol,
        _ => false,
    }
}

/// RTP payloads with the parameter sets (H.264, H.265) or headers (MPEG-4 part 2) of the track's `a=fmtp`, to
/// send before a keyframe that lacks them, with its time stamp and without the marker. Empty if there are none.
pub fn parameter_set_payloads(track: &Track) -> Vec<Vec<u8>> {
    match track.codec {
        Codec::H264 => h264::parameter_sets(track),
        Codec::H265 => h265::parameter_sets(track),
        Codec::Mpeg4Visual => mpeg4::config(track).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// RFC 6184: SPS, the first slice of an IDR picture, or a recovery point; alone, in STAP-A or as first FU-A.
fn h264_starts(payload: &[u8]) -> bool {
    let starts = |n: &[u8]| match h264::nal_type(n) {
        nal::SPS => true,
        nal::IDR => h264::begins_picture(n),
        nal::SEI => h264::is_recovery_point(n),
        _ => false,
    };
    match payload {
        [b, rest @ ..] if b & 0x1f == nal::STAP_A => aggregated(rest).any(starts),
        [b, fu, slice, ..] if b & 0x1f == nal::FU_A => {
            fu & 0x80 != 0 && matches!(fu & 0x1f, nal::IDR | nal::SPS) && starts(&[fu & 0x1f, *slice])
        }
        _ => starts(payload),
    }
}

/// RFC 7798: VPS, SPS, or the first slice of an IRAP picture; alone, aggregated or as first fragment.
fn h265_starts(payload: &[u8]) -> bool {
    let starts = |n: &[u8]| match h265::nal_type(n) {
        Some(h265::nal::VPS | h265::nal::SPS) => true,
        Some(kind) => h265::is_irap(kind) && h265::begins_picture(n),
        None => false,
    };
    match (h265::nal_type(payload), payload) {
        (Some(h265::nal::AP), [_, _, rest @ ..]) => aggregated(rest).any(starts),
        (Some(h265::nal::FU), [_, second, fu, slice, ..]) => {
            fu & 0x80 != 0 && starts(&[(fu & 0x3f) << 1, *second, *slice])
        }
        _ => starts(payload),
    }
}

/// RFC 6416: a payload that begins with a start code and reaches headers or an intra picture first.
fn mpeg4_starts(payload: &[u8]) -> bool {
    if !payload.starts_with(&[0, 0, 1]) {
        return false;
    }
    let found = mpeg4::outline(payload);
    found.headers.is_some() || found.vop == Some(VopType::Intra)
}

/// RFC 7741 section 4.2: the first partition begins (S and PID 0), and its frame header says keyframe.
fn vp8_starts(payload: &[u8]) -> bool {
    vp8::Descriptor::parse(payload).is_some_and(|d| d.begins && vp8::is_keyframe(&payload[d.length..]))
}

/// RFC 9628 section 4.2: a frame begins (B) in the lowest layer that refers to no other. FFmpeg leaves the bit for
/// that (P) at 0 in all frames, so the frame is asked too.
fn vp9_starts(payload: &[u8]) -> bool {
    let starts = |d: vp9::Descriptor| d.begins && !d.predicted && d.layer == 0;
    vp9::Descriptor::parse(payload).is_some_and(|d| starts(d) && vp9::is_keyframe(&payload[d.length..]))
}

/// The NAL units of an aggregation packet, without its own header.
pub(super) fn aggregated(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (nal, after) = next_aggregated(rest)?;
        rest = after;
        Some(nal)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::rtp::testing::track;

    #[test]
    fn h264_begins_at_an_sps_an_idr_or_a_recovery_point() {
        let yes: [&[u8]; 7] = [
            &[0x67, 0x42, 0xc0, 0x0d],
            &[0x65, 0x88],
            &[0x7c, 0x85, 0x88],
            &[0x78, 0, 4, 0x67, 1, 2, 3, 0, 2, 0x68, 1],
            &[0x78, 0, 2, 0x06, 1, 0, 2, 0x65, 0x88],
            &[0x06, 6, 1, 0x80, 0x80],
            &[0x7c, 0x87, 0x42],
        ];
        let no: [&[u8]; 10] = [
            &[],
            &[0x68, 1],
            &[0x41, 0x9a],
            &[0x65, 0x42],       // not the first slice
            &[0x7c, 0x05, 0x88], // not the first fragment
            &[0x7c, 0x85, 0x42], // the first fragment of a later slice
            &[0x7c, 0x85],
            &[0x7c, 0x81, 0x88],
            &[0x78, 0, 2, 0x41, 0x9a],
            &[0x78, 0, 9, 0x67],
        ];
        assert!(yes.iter().all(|p| starts_keyframe(Codec::H264, p)));
        for payload in no {
            assert!(!starts_keyframe(Codec::H264, payload), "{payload:02x?}");
        }
    }

    #[test]
    fn h264_parameter_sets_are_seen_alone_and_aggregated() {
        assert!(carries_parameter_sets(Codec::H264, &[0x67, 1]));
        assert!(carries_parameter_sets(
            Codec::H264,
            &[0x78, 0, 2, 0x06, 1, 0, 2, 0x67, 1]
        ));
        assert!(!carries_parameter_sets(Codec::H264, &[0x68, 1]));
        assert!(!carries_parameter_sets(Codec::H264, &[]));
    }

    #[track_caller]
    fn check(codec: Codec, yes: &[&[u8]], no: &[&[u8]]) {
        for payload in yes {
            assert!(
                starts_keyframe(codec, payload),
                "{codec} should start at {payload:02x?}"
            );
        }
        for payload in no {
            assert!(
                !starts_keyframe(codec, payload),
                "{codec} should not start at {payload:02x?}"
            );
        }
    }

    #[test]
    fn h265_begins_at_a_vps_an_sps_or_an_irap_picture() {
        let yes: [&[u8]; 6] = [
            &[0x40, 1],
            &[0x42, 1, 1],
            &[0x26, 1, 0xaf],       // IDR_W_RADL
            &[0x2a, 1, 0x80],       // CRA
            &[0x62, 1, 0x93, 0xaf], // the first fragment of an IDR picture
            &[0x60, 1, 0, 3, 0x4e, 1, 5, 0, 3, 0x26, 1, 0xaf],
        ];
        let no: [&[u8]; 7] = [
            &[],
            &[0x26],
            &[0x44, 1, 0xc1],
            &[0x02, 1, 0xd0],
            &[0x26, 1, 0x2f], // not the first slice
            &[0x62, 1, 0x13, 0xaf],
            &[0x60, 1, 0, 3, 0x02, 1, 0xd0],
        ];
        check(Codec::H265, &yes, &no);
        assert!(carries_parameter_sets(
            Codec::H265,
            &[0x60, 1, 0, 2, 0x40, 1, 0, 2, 0x42, 1]
        ));
        assert!(!carries_parameter_sets(Codec::H265, &[0x40, 1]));
    }

    #[test]
    fn mpeg4_begins_at_headers_or_an_intra_picture() {
        let yes: [&[u8]; 4] = [
            &[0, 0, 1, 0xb0, 1],
            &[0, 0, 1, 0x20, 0xc4],
            &[0, 0, 1, 0xb6, 0x10],
            &[0, 0, 1, 0xb3, 0, 0, 0, 1, 0xb6, 0x3f],
        ];
        let no: [&[u8]; 5] = [
            &[],
            &[0, 0, 1, 0xb6],
            &[0, 0, 1, 0xb6, 0x50],
            &[7, 0, 0, 1, 0xb6, 0x10], // a fragment from the middle
            &[0, 0, 1, 0xb2, 7, 0, 0, 1, 0xb6, 0x50],
        ];
        check(Codec::Mpeg4Visual, &yes, &no);
        assert!(carries_parameter_sets(
            Codec::Mpeg4Visual,
            &[0, 0, 1, 0xb0, 1, 0, 0, 1, 0x20]
        ));
        assert!(!carries_parameter_sets(
            Codec::Mpeg4Visual,
            &[0, 0, 1, 0xb6, 0x10]
        ));
    }

    #[test]
    fn vp8_and_vp9_begin_at_the_first_packet_of_a_keyframe() {
        let yes: [&[u8]; 4] = [
            &[0x10, 0x00],
            &[0x90, 0x80, 0x05, 0x00],
            &[0x90, 0x80, 0x85, 0x01, 0x00],
            &[0x90, 0xf0, 0x85, 0x01, 9, 0x20, 0x00],
        ];
        let no: [&[u8]; 6] = [
            &[],
            &[0x10],
            &[0x10, 0x01],
            &[0x00, 0x00],
            &[0x11, 0x00],
            &[0x90, 0xf0, 0x85, 0x01, 9, 0x20],
        ];
        check(Codec::Vp8, &yes, &no);
        let yes: [&[u8]; 3] = [
            &[0x08, 0x82],
            &[0x88, 0x85, 0x01, 0x82],
            &[0xa8, 0x05, 0x20, 9, 0x82],
        ];
        let no: [&[u8]; 6] = [
            &[],
            &[0x48, 0x82],
            &[0x04, 0x82],
            &[0xa8, 0x05, 0x22, 9, 0x82],
            &[0x88],
            &[0x08, 0x86], // as FFmpeg sends a frame that refers to others
        ];
        check(Codec::Vp9, &yes, &no);
    }

    #[test]
    fn jpeg_begins_at_offset_zero_and_what_we_do_not_know_anywhere() {
        check(
            Codec::Jpeg,
            &[&[0, 0, 0, 0, 1, 255, 40, 30]],
            &[&[], &[0; 7], &[0, 0, 5, 0, 1, 255, 40, 30]],
        );
        for codec in [Codec::Aac, Codec::Opus, Codec::MpegTs, Codec::Other] {
            assert!(starts_keyframe(codec, &[]));
            assert!(!carries_parameter_sets(codec, &[]));
        }
    }

    #[test]
    fn parameter_set_payloads_are_what_the_fmtp_has() {
        let sets = |codec, fmtp: String| parameter_set_payloads(&track(codec, 90_000, Some(&fmtp)));
        assert_eq!(
            sets(Codec::H264, h264::fmtp(&[0x67, 1, 2, 3, 0x80], &[0x68, 0x80])),
            [vec![0x67, 1, 2, 3, 0x80], vec![0x68, 0x80]]
        );
        assert_eq!(
            sets(
                Codec::H265,
                h265::fmtp(&[0x40, 1, 9], &[0x42, 1, 9], &[0x44, 1, 0x80])
            )
            .len(),
            3
        );
        assert_eq!(
            sets(Codec::Mpeg4Visual, mpeg4::fmtp(&[0, 0, 1, 0x20, 7])),
            [[0, 0, 1, 0x20, 7]]
        );
        assert!(sets(Codec::Opus, "sprop-stereo=1".into()).is_empty());
    }
}
