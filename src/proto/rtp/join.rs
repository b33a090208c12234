//! Where in a stream of packets a reader may begin, and which packets it needs before.
//!
//! Looks at payloads one by one and keeps nothing: the hub asks this for every packet that comes in.

use crate::media::Codec;
use crate::media::Track;
use crate::proto::h264;
use crate::proto::h264::nal;
use crate::proto::rtp::h264::next_aggregated;

/// Whether decoding can start with this RTP payload. It is asked of the first packet of such a place: for
/// later fragments of the same keyframe the answer is no.
///
/// Parameter sets count, because a keyframe follows them. For codecs in which we cannot tell, every payload
/// will do: a reader that starts anywhere sees something sooner or later, one that waits for a sign that
/// never comes sees nothing.
pub fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264_starts(payload),
        Codec::H265 | Codec::Mpeg4Visual | Codec::Jpeg | Codec::Vp8 | Codec::Vp9 => true,
        Codec::Aac | Codec::AacLatm | Codec::Opus | Codec::Pcma | Codec::Pcmu => true,
        Codec::MpegTs | Codec::Other => true,
    }
}

/// Whether this RTP payload has the headers without which a keyframe cannot be decoded: the SPS of H.264 and
/// H.265, the VOL header of MPEG-4 part 2. False for codecs that have none.
pub fn carries_parameter_sets(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => match h264::nal_type(payload) {
            nal::SPS => true,
            nal::STAP_A => aggregated(&payload[1..]).any(|n| h264::nal_type(n) == nal::SPS),
            _ => false,
        },
        _ => false,
    }
}

/// RTP payloads with the parameter sets of the track's `a=fmtp`, to send before a keyframe that lacks them.
/// Empty if there are none.
pub fn parameter_set_payloads(track: &Track) -> Vec<Vec<u8>> {
    match track.codec {
        Codec::H264 => h264::parameter_sets(track),
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

/// The NAL units of an aggregation packet, without its own header.
fn aggregated(data: &[u8]) -> impl Iterator<Item = &[u8]> {
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
}
