//! MPEG-1 and MPEG-2 video in RTP, both directions (RFC 2250 sections 3.1, 3.2 and 3.4).
//!
//! Not here: the header extension for MPEG-2 (T) is passed over and not written; it helps only decoders that
//! show pictures with holes in them. The bitstream itself is in [`proto::mpeg2`](crate::proto::mpeg2).

use std::ops::Range;

use crate::proto::bits::find_start_code;
use crate::proto::mpeg2;
use crate::proto::mpeg2::code;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::fits;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::pictures::Assemble;

/// The bytes of the header that stands in each packet, and of the extension that may follow.
const HEADER: usize = 4;

/// Sends a picture: whole slices, as many as fit; a slice that does not fit alone is cut. The last packet has
/// the marker.
pub(super) fn packetize(writer: &mut Writer, unit: &[u8], timestamp: u32, out: &mut Vec<Vec<u8>>) {
    let found = mpeg2::outline(unit);
    let picture = found.picture.unwrap_or_default();
    let parts = cut(unit, found.slices, writer.max_payload - HEADER);
    let count = parts.len();
    for (i, part) in parts.into_iter().enumerate() {
        let sequence = found.has_sequence && i == 0;
        let [high, low] = picture.temporal_reference.to_be_bytes();
        let flags = u8::from(sequence) << 5 | u8::from(part.begins) << 4 | u8::from(part.ends) << 3;
        let header = [
            high & 0x03,
            low,
            flags | picture.coding_type & 0x07,
            picture.vectors,
        ];
        writer.packet(out, i + 1 == count, timestamp, &[&header, &unit[part.range]]);
    }
}

/// What goes into one packet.
struct Part {
    range: Range<usize>,
    /// A slice begins here, behind headers or at once.
    begins: bool,
    /// A slice ends here.
    ends: bool,
}

/// Cuts a unit so that no packet has more than `room` bytes, at slices where possible.
fn cut(unit: &[u8], first_slice: Option<usize>, room: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut ends = slice_ends(unit, first_slice).into_iter().peekable();
    let (mut at, mut begins) = (0, true);
    while at < unit.len() {
        let mut end = None;
        // Behind the rest of a slice no other may follow in the same packet.
        while let Some(fits) = ends.next_if(|e| *e <= at + room && (begins || end.is_none())) {
            end = Some(fits);
        }
        let range = at..end.unwrap_or((at + room).min(unit.len()));
        at = range.end;
        parts.push(Part {
            range,
            begins,
            ends: end.is_some(),
        });
        begins = end.is_some();
    }
    parts
}

/// Where slices end; the first has all headers before it.
fn slice_ends(unit: &[u8], first_slice: Option<usize>) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut from = first_slice.map_or(unit.len(), |at| at + 3);
    while let Some(at) = find_start_code(unit, from) {
        if matches!(unit.get(at + 3), Some(code::FIRST_SLICE..=code::LAST_SLICE)) {
            ends.push(at);
        }
        from = at + 3;
    }
    ends.push(unit.len());
    ends
}

/// What of a payload is video, behind the header and its extension.
fn video(payload: &[u8]) -> Option<&[u8]> {
    let extension = if payload.first()? & 0x04 != 0 { 4 } else { 0 };
    payload.get(HEADER + extension..)
}

/// Whether a picture begins with this payload that decoding can start at: a sequence header, or at least a picture
/// that refers to no other, since there are senders that give the header only once.
pub(super) fn starts(payload: &[u8]) -> bool {
    let coding_type = payload.get(2).map(|b| b & 0x07);
    match video(payload) {
        Some([0, 0, 1, code::SEQUENCE, ..]) => true,
        Some([0, 0, 1, code::GROUP | code::PICTURE, ..]) => coding_type == Some(mpeg2::INTRA),
        _ => false,
    }
}

/// Puts pictures together.
#[derive(Debug, Default)]
pub(super) struct Depacketizer {
    unit: Vec<u8>,
    after_gap: bool,
}

impl Assemble for Depacketizer {
    fn begin(&mut self, after_gap: bool) {
        self.unit.clear();
        self.after_gap = after_gap;
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let video = video(payload).ok_or("a payload is shorter than its header")?;
        let headers = [code::SEQUENCE, code::GROUP, code::PICTURE];
        let begins = matches!(video, [0, 0, 1, code, ..] if headers.contains(code));
        if self.after_gap && self.unit.is_empty() && !begins {
            return Err("the beginning of the picture was lost");
        }
        fits(self.unit.len(), video.len())?;
        self.unit.extend_from_slice(video);
        Ok(())
    }

    fn has_picture(&self) -> bool {
        // Headers may come by themselves; the picture they belong to has the same time stamp.
        mpeg2::outline(&self.unit).slices.is_some()
    }

    fn finish(&mut self) -> Option<(Vec<u8>, bool)> {
        let unit = std::mem::take(&mut self.unit);
        let keyframe = mpeg2::is_keyframe(&unit);
        (!unit.is_empty()).then_some((unit, keyframe))
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

    /// Sequence header (for keyframes), picture header with number 5, and three slices of these many bytes together.
    fn picture(keyframe: bool, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        if keyframe {
            out.extend([0, 0, 1, 0xb3, 0x14, 0x10]);
        }
        let coding = if keyframe { 0x48 } else { 0x50 };
        out.extend([0, 0, 1, 0x00, 0x01, coding | 7, 0xff, 0xf9]);
        for (n, share) in (1u8..).zip([length / 2, length / 4, length - length / 2 - length / 4]) {
            out.extend([0, 0, 1, n]);
            out.extend(noise(length as u32, share));
        }
        out
    }

    #[test]
    fn slices_stay_whole_where_they_fit_and_the_header_tells() {
        let mpv = track(Codec::Mpeg2Video, 90_000, None);
        let out = packets(&mpv, 100, &[unit(&mpv, 0, true, picture(true, 240))]);
        let seen: Vec<_> = out
            .iter()
            .map(|p| (p[HEADER_LEN..][..4].to_vec(), p.len() - HEADER_LEN - 4, p[1] >> 7))
            .collect();
        // 14 bytes of headers and slices of 124, 64 and 64 bytes in packets of 96.
        let want = [
            (vec![0, 5, 0x31, 0], 96, 0),
            (vec![0, 5, 0x09, 0], 42, 0),
            (vec![0, 5, 0x19, 0], 64, 0),
            (vec![0, 5, 0x19, 0], 64, 1),
        ];
        assert_eq!(seen, want);
        let out = packets(&mpv, 1000, &[unit(&mpv, 0, true, picture(true, 240))]);
        assert_eq!((out.len(), out[0][HEADER_LEN + 2]), (1, 0x39));
        assert!(starts(&out[0][HEADER_LEN..]));
    }

    #[test]
    fn headers_of_their_own_join_their_picture_and_extensions_are_passed_over() {
        let mpv = track(Codec::Mpeg2Video, 90_000, None);
        let whole = picture(true, 20);
        let (headers, slices) = whole.split_at(14);
        let stream = [
            packet(1, 0, false, &[&[0, 5, 0x21, 0][..], headers].concat()),
            packet(2, 0, true, &[&[4, 5, 0x19, 0, 9, 9, 9, 9][..], slices].concat()),
        ];
        assert_eq!(units(&mpv, &stream), [unit(&mpv, 0, true, whole)]);
    }

    #[test]
    fn decoding_starts_at_a_sequence_header_or_an_intra_picture() {
        for yes in [
            &[0, 0, 0x32, 0, 0, 0, 1, 0xb3][..],
            &[0, 0, 0x11, 0, 0, 0, 1, 0x00, 9],
        ] {
            assert!(starts(yes), "{yes:02x?}");
        }
        for no in [
            &[][..],
            &[0, 0, 0x12, 0, 0, 0, 1, 0x00],
            &[0, 0, 0x11, 0, 0, 0, 1, 0x01],
            &[4, 0, 1, 0, 0],
        ] {
            assert!(!starts(no), "{no:02x?}");
        }
    }

    #[test]
    fn pictures_come_back_at_every_size_and_losses_cost_only_themselves() {
        testing::holds(&track(Codec::Mpeg2Video, 90_000, None), 1, picture);
    }
}
