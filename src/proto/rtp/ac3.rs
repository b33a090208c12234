//! AC-3 in RTP, both directions (RFC 4184).
//!
//! Not here: the frames themselves; see [`proto::ac3`](crate::proto::ac3).

use crate::base::time::MediaTime;
use crate::proto::ac3;
use crate::proto::rtp::depacketizer::Came;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::Output;
use crate::proto::rtp::depacketizer::TakeFrames;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::partial::Partial;

/// Bytes of the header: the frame type, and how many frames or fragments.
const HEADER: usize = 2;
/// Frame types (section 4.1.1): whole frames.
const WHOLE: u8 = 0;
/// The first fragment, with at least five eighths of the frame, which are enough to check it.
const FIRST_LARGE: u8 = 1;
/// The first fragment, with less.
const FIRST_SMALL: u8 = 2;
/// Any other fragment.
const LATER: u8 = 3;

/// Sends a frame, in fragments if it must be; the last has the marker.
pub(super) fn packetize(writer: &mut Writer, unit: &[u8], timestamp: u32, out: &mut Vec<Vec<u8>>) {
    if unit.len() + HEADER <= writer.max_payload {
        return writer.packet(out, true, timestamp, &[&[WHOLE, 1], unit]);
    }
    let share = Writer::equal_share(unit.len(), writer.max_payload - HEADER);
    let count = unit.len().div_ceil(share);
    let first = if share * 8 >= unit.len() * 5 {
        FIRST_LARGE
    } else {
        FIRST_SMALL
    };
    for (i, part) in unit.chunks(share).enumerate() {
        let kind = if i == 0 { first } else { LATER };
        writer.packet(
            out,
            i + 1 == count,
            timestamp,
            &[&[kind, count.min(255) as u8], part],
        );
    }
}

/// Takes frames out of packets: one, several, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Depacketizer {
    partial: Partial,
}

impl TakeFrames for Depacketizer {
    fn packet(&mut self, came: &Came<'_>, out: &mut Output) -> Result<(), Fault> {
        let &[kind, count, ref data @ ..] = came.payload else {
            return Err("a payload is shorter than its header");
        };
        match kind & 0x03 {
            WHOLE => {
                self.partial.give_up(out);
                return whole_frames(data, count, came.pts, out);
            }
            FIRST_LARGE | FIRST_SMALL => self.partial.begin(came.header.timestamp, came.pts, data, out),
            _ => self.partial.go_on(came.header.timestamp, data, came.gap, out)?,
        }
        let ends = ac3::frame_length(self.partial.data()).is_some_and(|l| self.partial.length() >= l);
        if came.header.marker || ends {
            self.partial.finish(out);
        }
        Ok(())
    }
}

/// Hands out the frames of a packet, each a frame's time behind the one before.
fn whole_frames(data: &[u8], count: u8, pts: MediaTime, out: &mut Output) -> Result<(), Fault> {
    if count <= 1 {
        // Whatever it is, it is one.
        if !data.is_empty() {
            out.emit(pts, true, data.to_vec());
        }
        return Ok(());
    }
    let mut rest = data;
    for i in 0..count {
        let length = ac3::frame_length(rest).ok_or("a frame does not begin with its sync word")?;
        let (frame, after) = rest
            .split_at_checked(length)
            .ok_or("a frame reaches beyond its packet")?;
        let ticks = pts.ticks.saturating_add(i64::from(i) * i64::from(ac3::SAMPLES));
        out.emit(MediaTime::new(ticks, pts.rate), true, frame.to_vec());
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;
    use crate::media::MediaKind;
    use crate::media::Track;
    use crate::proto::rtp::HEADER_LEN;
    use crate::proto::rtp::testing;
    use crate::proto::rtp::testing::noise;
    use crate::proto::rtp::testing::packet;
    use crate::proto::rtp::testing::packets;
    use crate::proto::rtp::testing::track;
    use crate::proto::rtp::testing::unit;
    use crate::proto::rtp::testing::units;

    fn of_ac3() -> Track {
        Track {
            kind: MediaKind::Audio,
            ..track(Codec::Ac3, 48_000, None)
        }
    }

    /// A frame of one of the bit rates, 48 kHz.
    fn frame(_: bool, size: usize) -> Vec<u8> {
        let code = (size % 38) as u8;
        let mut frame = vec![0x0b, 0x77, 1, 2, code, 0x40];
        let length = ac3::frame_length(&frame).unwrap();
        frame.extend(noise(size as u32, length - 6));
        frame
    }

    #[test]
    fn the_header_tells_whole_frames_from_fragments() {
        let ac3 = of_ac3();
        let sent = [unit(&ac3, 0, true, frame(true, 20))]; // 768 bytes
        let kinds = |max_payload| -> Vec<_> {
            packets(&ac3, max_payload, &sent)
                .iter()
                .map(|p| (p[HEADER_LEN], p[HEADER_LEN + 1], p[1] >> 7))
                .collect()
        };
        assert_eq!(kinds(1400), [(0, 1, 1)]);
        assert_eq!(kinds(400), [(2, 2, 0), (3, 2, 1)]);
        assert_eq!(kinds(300), [(2, 3, 0), (3, 3, 0), (3, 3, 1)]);
    }

    #[test]
    fn several_frames_of_a_packet_have_their_own_times() {
        let ac3 = of_ac3();
        let frames = [frame(true, 2), frame(true, 4)];
        let payload = [&[0, 2][..], &frames.concat()].concat();
        let got = units(&ac3, &[packet(1, 100, true, &payload)]);
        assert_eq!(
            got,
            [
                unit(&ac3, 100, true, &frames[0][..]),
                unit(&ac3, 100 + 1536, true, &frames[1][..])
            ]
        );
    }

    #[test]
    fn frames_come_back_at_every_size_and_losses_cost_only_themselves() {
        testing::holds(&of_ac3(), 1, frame);
    }
}
