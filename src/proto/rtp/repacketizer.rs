//! Packets that no datagram can take, cut anew: units are put together and cut to size, with the publisher's
//! source and times.
//!
//! Publishers over TCP may send packets of up to 64 KB, which readers over UDP would never get. Not here: when this
//! is needed, which the hub sees; codecs that nothing here can cut, which stay as they are.

use crate::media::Track;
use crate::proto::rtp::DepacketizeError;
use crate::proto::rtp::Depacketizer;
use crate::proto::rtp::Header;
use crate::proto::rtp::Packetizer;

/// Cuts the packets of one track anew.
///
/// Sequence numbers go on from those of the first packet, without gaps but for a loss or a unit that was dropped,
/// which stay visible. Header extensions, delimiters and filler stay behind.
#[derive(Debug)]
pub struct Repacketizer {
    track: Track,
    max_payload: usize,
    way: Option<Way>,
}

/// The way through, for one source.
#[derive(Debug)]
struct Way {
    ssrc: u32,
    depacketizer: Depacketizer,
    packetizer: Packetizer,
    /// Packets and units that were missing so far.
    missing: (u64, u64),
}

impl Repacketizer {
    /// A way for `track`, or `None` if there is none for its codec. `max_payload` is the most bytes behind the
    /// RTP header, as for [`Packetizer::new`].
    pub fn new(track: &Track, max_payload: usize) -> Option<Self> {
        Way::new(track, 0, 0, max_payload)?;
        Some(Self {
            track: track.clone(),
            max_payload,
            way: None,
        })
    }

    /// Takes a whole packet of any size, and appends those that are ready: none until a unit is complete.
    ///
    /// The first packet may be anywhere in a unit, whose beginning then went another way.
    ///
    /// # Errors
    /// As [`Depacketizer::push`]. Later packets may be pushed all the same.
    pub fn push(&mut self, packet: &[u8], out: &mut Vec<Vec<u8>>) -> Result<(), DepacketizeError> {
        let header = Header::parse(packet)?;
        let way = match &mut self.way {
            Some(way) if way.ssrc == header.ssrc => way,
            way => {
                let next = match way {
                    Some(way) => way.packetizer.next_sequence(),
                    None => header.sequence,
                };
                let Some(mut new) = Way::new(&self.track, header.ssrc, next, self.max_payload) else {
                    return Ok(());
                };
                new.depacketizer.go_on_at(&header);
                way.insert(new)
            }
        };
        let result = way.depacketizer.push(packet);
        way.note_missing();
        while let Some(unit) = way.depacketizer.pull() {
            way.packetizer.packetize(&unit, out);
        }
        result
    }
}

impl Way {
    fn new(track: &Track, ssrc: u32, first_sequence: u16, max_payload: usize) -> Option<Self> {
        Some(Self {
            ssrc,
            depacketizer: Depacketizer::new(track)?,
            packetizer: Packetizer::new(track, ssrc, first_sequence, max_payload)?,
            missing: (0, 0),
        })
    }

    /// Leaves numbers out for packets that were lost, or at least one for a unit that will not come.
    fn note_missing(&mut self) {
        let missing = (self.depacketizer.lost(), self.depacketizer.dropped());
        let more = (missing.0 - self.missing.0).max(missing.1 - self.missing.1);
        self.packetizer.skip(more as u16);
        self.missing = missing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::AccessUnit;
    use crate::media::Codec;
    use crate::proto::bits::push_nal;
    use crate::proto::rtp::HEADER_LEN;
    use crate::proto::rtp::testing::noise;
    use crate::proto::rtp::testing::packets;
    use crate::proto::rtp::testing::track;
    use crate::proto::rtp::testing::unit;
    use crate::proto::rtp::testing::units;

    fn h264() -> Track {
        track(Codec::H264, 90_000, Some("packetization-mode=1"))
    }

    /// Pictures of one slice of these sizes; the first is a keyframe with its parameter sets.
    fn pictures(sizes: &[usize]) -> Vec<AccessUnit> {
        (0i64..)
            .zip(sizes)
            .map(|(i, &size)| {
                let mut data = Vec::new();
                if i == 0 {
                    push_nal(&mut data, &[0x67, 0x42, 0xc0, 0x0d, 0xda]);
                    push_nal(&mut data, &[0x68, 0xce, 0x3c, 0x80]);
                }
                let slice = [
                    &[if i == 0 { 0x65 } else { 0x41 }, 0x88][..],
                    &noise(i as u32, size),
                ]
                .concat();
                push_nal(&mut data, &slice);
                unit(&h264(), i * 3000, i == 0, data)
            })
            .collect()
    }

    fn cut(repacketizer: &mut Repacketizer, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for packet in packets {
            repacketizer.push(packet, &mut out).unwrap();
        }
        out
    }

    fn sequences(packets: &[Vec<u8>]) -> Vec<u16> {
        packets
            .iter()
            .map(|p| Header::parse(p).unwrap().sequence)
            .collect()
    }

    #[test]
    fn large_packets_become_small_ones_of_the_same_source_times_and_pictures() {
        let sent = pictures(&[90_000, 20, 30_000, 4000]);
        let large = packets(&h264(), 60_000, &sent);
        assert!(large.iter().any(|p| p.len() > 40_000));
        let small = cut(&mut Repacketizer::new(&h264(), 1452).unwrap(), &large);
        assert!(small.iter().all(|p| p.len() <= 1452 + HEADER_LEN));
        assert_eq!(units(&h264(), &small), sent);
        assert!(small.iter().all(|p| p[8..12] == large[0][8..12]));
        let want: Vec<u16> = (0..small.len() as u16).map(|i| i.wrapping_add(65_530)).collect();
        assert_eq!(sequences(&small), want);
    }

    #[test]
    fn it_may_begin_in_the_middle_of_a_picture() {
        let sent = pictures(&[90_000, 30_000]);
        let large = packets(&h264(), 60_000, &sent);
        let small = cut(&mut Repacketizer::new(&h264(), 1452).unwrap(), &large[2..]);
        // The parameter sets went before; what is left is the rest of the picture and its end.
        assert_eq!(sequences(&small)[0], Header::parse(&large[2]).unwrap().sequence);
        let all: Vec<_> = large[..2].iter().chain(&small).cloned().collect();
        assert_eq!(units(&h264(), &all), sent);
    }

    #[test]
    fn a_loss_stays_visible_and_costs_one_picture() {
        let sent = pictures(&[90_000, 90_000, 300]);
        let mut large = packets(&h264(), 60_000, &sent);
        large.remove(4); // of the first two packets of the second picture, the first
        let small = cut(&mut Repacketizer::new(&h264(), 1452).unwrap(), &large);
        let got = units(&h264(), &small);
        assert_eq!(got, [sent[0].clone(), sent[2].clone()]);
        let numbers = sequences(&small);
        let jumps = numbers
            .windows(2)
            .filter(|w| w[1] != w[0].wrapping_add(1))
            .count();
        assert_eq!(jumps, 1);
    }

    #[test]
    fn a_new_source_is_followed_and_numbers_go_on() {
        let large = packets(&h264(), 60_000, &pictures(&[30_000]));
        let mut repacketizer = Repacketizer::new(&h264(), 1452).unwrap();
        let mut small = cut(&mut repacketizer, &large);
        let mut other = large;
        other.iter_mut().for_each(|p| p[8] = 99);
        small.extend(cut(&mut repacketizer, &other));
        assert_eq!(small.last().unwrap()[8], 99);
        assert!(sequences(&small).windows(2).all(|w| w[1] == w[0].wrapping_add(1)));
    }

    #[test]
    fn what_nobody_can_cut_has_no_repacketizer() {
        assert!(Repacketizer::new(&track(Codec::Other, 90_000, None), 1452).is_none());
        let interleaved = track(Codec::H264, 90_000, Some("packetization-mode=2"));
        assert!(Repacketizer::new(&interleaved, 1452).is_none());
    }
}
