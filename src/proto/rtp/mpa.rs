//! MPEG audio in RTP, both directions (RFC 2250 section 3.5): frames of MP1, MP2 and MP3.
//!
//! Not here: `mpa-robust` (RFC 5219), which orders the data of MP3 frames anew and is passed on; the frames
//! themselves, which are in [`proto::mpa`](crate::proto::mpa).

use crate::base::time::MediaTime;
use crate::proto::mpa::FrameHeader;
use crate::proto::rtp::depacketizer::Came;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::Output;
use crate::proto::rtp::depacketizer::TakeFrames;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::partial::Partial;

/// Bytes of the header: nothing, and where in its frame the payload begins.
const HEADER: usize = 4;

/// Sends a frame, in fragments if it must be. The marker stays off: it would mean that sound comes back after
/// silence.
pub(super) fn packetize(writer: &mut Writer, unit: &[u8], timestamp: u32, out: &mut Vec<Vec<u8>>) {
    if unit.len() > usize::from(u16::MAX) {
        return;
    }
    let share = Writer::equal_share(unit.len(), writer.max_payload - HEADER);
    let mut offset = 0;
    for part in unit.chunks(share) {
        let [high, low] = (offset as u16).to_be_bytes();
        writer.packet(out, false, timestamp, &[&[0, 0, high, low], part]);
        offset += part.len();
    }
}

/// Takes frames out of packets: one, several, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Depacketizer {
    partial: Partial,
}

impl TakeFrames for Depacketizer {
    fn packet(&mut self, came: &Came<'_>, out: &mut Output) -> Result<(), Fault> {
        let &[_, _, high, low, ref data @ ..] = came.payload else {
            return Err("a payload is shorter than its header");
        };
        let offset = usize::from(u16::from_be_bytes([high, low]));
        if offset == 0 {
            self.partial.give_up(out);
            return self.frames(data, came.header.timestamp, came.pts, out);
        }
        // A part whose place is not where the last one ended belongs behind one that is missing.
        let misplaced = offset != self.partial.length();
        self.partial
            .go_on(came.header.timestamp, data, came.gap || misplaced, out)?;
        if FrameHeader::parse(self.partial.data()).is_some_and(|f| self.partial.length() >= f.length) {
            self.partial.finish(out);
        }
        Ok(())
    }
}

impl Depacketizer {
    /// Frames one after the other; of the last there may be only a part. What has no length that we know is one.
    fn frames(&mut self, data: &[u8], timestamp: u32, pts: MediaTime, out: &mut Output) -> Result<(), Fault> {
        let mut rest = data;
        let mut ticks = pts.ticks;
        while !rest.is_empty() {
            let Some(frame) = FrameHeader::parse(rest) else {
                if rest.len() == data.len() {
                    out.emit(pts, true, rest.to_vec());
                    return Ok(());
                }
                return Err("a frame does not begin with its sync word");
            };
            let at = MediaTime::new(ticks, pts.rate);
            let Some((whole, after)) = rest.split_at_checked(frame.length) else {
                self.partial.begin(timestamp, at, rest, out);
                return Ok(());
            };
            out.emit(at, true, whole.to_vec());
            let duration = i64::from(frame.samples) * i64::from(pts.rate.hz()) / i64::from(frame.rate);
            ticks = ticks.saturating_add(duration);
            rest = after;
        }
        Ok(())
    }
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

    fn of_mpa() -> Track {
        Track {
            kind: MediaKind::Audio,
            ..track(Codec::MpegAudio, 90_000, None)
        }
    }

    /// MP3 of one of the bit rates, 44.1 kHz.
    fn frame(_: bool, size: usize) -> Vec<u8> {
        let mut frame = vec![0xff, 0xfb, ((1 + size % 14) << 4) as u8];
        let length = FrameHeader::parse(&frame).unwrap().length;
        frame.extend(noise(size as u32, length - 3));
        frame
    }

    #[test]
    fn a_large_frame_goes_in_parts_that_say_where_they_belong() {
        let mpa = of_mpa();
        let out = packets(&mpa, 200, &[unit(&mpa, 0, true, frame(true, 8))]); // 417 bytes
        let heads: Vec<_> = out
            .iter()
            .map(|p| (p[1], p[HEADER_LEN..][..4].to_vec(), p.len()))
            .collect();
        let want = [
            (96, vec![0, 0, 0, 0], 155),
            (96, vec![0, 0, 0, 139], 155),
            (96, vec![0, 0, 1, 22], 155),
        ];
        assert_eq!(heads, want);
    }

    #[test]
    fn several_frames_of_a_packet_have_their_own_times() {
        let mpa = of_mpa();
        let (a, b, c) = (frame(true, 0), frame(true, 1), frame(true, 2));
        let (head, tail) = c.split_at(50);
        let stream = [
            packet(1, 0, true, &[&[0; 4][..], &a, &b].concat()),
            packet(2, 9, false, &[&[0; 4][..], head].concat()),
            packet(3, 9, false, &[&[0, 0, 0, 50][..], tail].concat()),
        ];
        let got = units(&mpa, &stream);
        // 1152 samples of 44.1 kHz are 2351 units of 90 kHz.
        assert_eq!(
            got,
            [
                unit(&mpa, 0, true, a),
                unit(&mpa, 2351, true, b),
                unit(&mpa, 9, true, c)
            ]
        );
    }

    #[test]
    fn what_has_no_length_that_we_know_is_one_frame() {
        let mpa = of_mpa();
        let free = [0xff, 0xfb, 0x00, 7, 7];
        let got = units(&mpa, &[packet(1, 0, true, &[&[0; 4][..], &free].concat())]);
        assert_eq!(got, [unit(&mpa, 0, true, free)]);
    }

    #[test]
    fn frames_come_back_at_every_size_and_losses_cost_only_themselves() {
        testing::holds(&of_mpa(), 1, frame);
    }
}
