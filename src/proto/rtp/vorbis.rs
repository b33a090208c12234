//! Vorbis in RTP, both directions (RFC 5215).
//!
//! Not here: the headers that decoders need; they are in the `configuration` of SDP and pass with it, and packets
//! that repeat them are passed over. Packets do not say how long they last, so those that share an RTP packet
//! share its time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::media::Track;
use crate::proto::rtp::depacketizer::Came;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::Output;
use crate::proto::rtp::depacketizer::TakeFrames;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::partial::Partial;

/// Bytes before the data: which configuration, what kind of fragment and data, how many; and a length.
const HEADER: usize = 6;
/// Fragment types (section 2.2).
const FIRST: u8 = 0x40;
const MIDDLE: u8 = 0x80;
const LAST: u8 = 0xc0;
/// The bits of the data type; 0 is sound.
const DATA_TYPE: u8 = 0x30;

/// The number of the configuration that SDP has (section 3.2.1); 0 if there is none.
pub(super) fn ident(track: &Track) -> [u8; 3] {
    let packed = track
        .fmtp_param("configuration")
        .and_then(|c| STANDARD.decode(c).ok());
    match packed.as_deref() {
        Some(&[_, _, _, _, a, b, c, ..]) => [a, b, c],
        _ => [0; 3],
    }
}

/// Sends one packet of Vorbis, in fragments if it must be. The marker stays off.
pub(super) fn packetize(
    writer: &mut Writer,
    unit: &[u8],
    timestamp: u32,
    [a, b, c]: [u8; 3],
    out: &mut Vec<Vec<u8>>,
) {
    let share = Writer::equal_share(unit.len(), writer.max_payload - HEADER);
    let count = unit.len().div_ceil(share);
    for (i, part) in unit.chunks(share).enumerate() {
        let kind = match (i, i + 1 == count) {
            (0, true) => 1, // one whole packet
            (0, false) => FIRST,
            (_, false) => MIDDLE,
            (_, true) => LAST,
        };
        let [high, low] = (part.len() as u16).to_be_bytes();
        writer.packet(out, false, timestamp, &[&[a, b, c, kind, high, low], part]);
    }
}

/// Takes packets of Vorbis out of those of RTP: one, several, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Depacketizer {
    partial: Partial,
}

impl TakeFrames for Depacketizer {
    fn packet(&mut self, came: &Came<'_>, out: &mut Output) -> Result<(), Fault> {
        let &[_, _, _, kind, ref rest @ ..] = came.payload else {
            return Err("a payload is shorter than its header");
        };
        if kind & DATA_TYPE != 0 {
            return Ok(());
        }
        let mut packets = lengthened(rest);
        match kind & 0xc0 {
            FIRST => {
                let part = packets.next().ok_or(BEYOND)?;
                self.partial.begin(came.header.timestamp, came.pts, part, out);
            }
            kind @ (MIDDLE | LAST) => {
                let part = packets.next().ok_or(BEYOND)?;
                self.partial.go_on(came.header.timestamp, part, came.gap, out)?;
                if kind == LAST {
                    self.partial.finish(out);
                }
            }
            _ => {
                self.partial.give_up(out);
                for _ in 0..kind & 0x0f {
                    let packet = packets.next().ok_or(BEYOND)?;
                    if !packet.is_empty() {
                        out.emit(came.pts, true, packet.to_vec());
                    }
                }
            }
        }
        Ok(())
    }
}

const BEYOND: Fault = "a packet of Vorbis reaches beyond the one it came in";

/// Data that have their length in 16 bits before them.
fn lengthened(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (&length, after) = rest.split_first_chunk()?;
        let (found, after) = after.split_at_checked(usize::from(u16::from_be_bytes(length)))?;
        rest = after;
        Some(found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;
    use crate::media::MediaKind;
    use crate::proto::rtp::HEADER_LEN;
    use crate::proto::rtp::testing;
    use crate::proto::rtp::testing::noise;
    use crate::proto::rtp::testing::packet;
    use crate::proto::rtp::testing::packets;
    use crate::proto::rtp::testing::track;
    use crate::proto::rtp::testing::unit;
    use crate::proto::rtp::testing::units;

    fn of_vorbis() -> Track {
        // One set of headers, of the number 0xa1b2c3.
        Track {
            kind: MediaKind::Audio,
            ..track(Codec::Vorbis, 48_000, Some("configuration=AAAAAaGywwAB"))
        }
    }

    #[test]
    fn packets_name_their_configuration_and_what_part_they_are() {
        let vorbis = of_vorbis();
        let sent = [unit(&vorbis, 0, true, [7; 20]), unit(&vorbis, 1, true, [8; 150])];
        let out = packets(&vorbis, 66, &sent);
        let heads: Vec<_> = out
            .iter()
            .map(|p| (p[1], p[HEADER_LEN..][..6].to_vec()))
            .collect();
        let head = |kind, length| (96, vec![0xa1, 0xb2, 0xc3, kind, 0, length]);
        assert_eq!(
            heads,
            [head(1, 20), head(0x40, 50), head(0x80, 50), head(0xc0, 50)]
        );
    }

    #[test]
    fn several_packets_share_a_time_and_headers_are_passed_over() {
        let vorbis = of_vorbis();
        let stream = [
            packet(1, 0, false, &[1, 2, 3, 0x11, 0, 1, 9]),
            packet(2, 5, false, &[1, 2, 3, 2, 0, 1, 7, 0, 2, 8, 9]),
        ];
        let want = [unit(&vorbis, 5, true, [7]), unit(&vorbis, 5, true, [8, 9])];
        assert_eq!(units(&vorbis, &stream), want);
    }

    #[test]
    fn packets_come_back_at_every_size_and_losses_cost_only_themselves() {
        testing::holds(&of_vorbis(), 1, |_, length| noise(length as u32, length));
    }
}
