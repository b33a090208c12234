//! AAC in RTP, both directions (RFC 3640, mode AAC-hbr and its like).
//!
//! Not here: interleaving, streams without AU headers (CELP), auxiliary sections; nobody sends them with AAC.
//! The configuration is read in [`proto::aac`](crate::proto::aac).

use crate::base::time::MediaTime;
use crate::media::Track;
use crate::proto::aac::AudioSpecificConfig;
use crate::proto::bits::BitReader;
use crate::proto::rtp::depacketizer::Came;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::Output;
use crate::proto::rtp::depacketizer::TakeFrames;
use crate::proto::rtp::header::Writer;

/// The most bytes that the 13 bits of an AU header can tell.
const MAX_AU: usize = 8191;
/// The length of the AU headers in bits, and the one header (section 3.2.1).
const HEADERS: usize = 4;

/// Sends one AU, in several packets if it must be; the last has the marker. Each says the size of the whole.
pub(super) fn packetize(writer: &mut Writer, unit: &[u8], timestamp: u32, out: &mut Vec<Vec<u8>>) {
    if unit.is_empty() || unit.len() > MAX_AU {
        return;
    }
    let [high, low] = ((unit.len() as u16) << 3).to_be_bytes();
    let share = Writer::equal_share(unit.len(), writer.max_payload.saturating_sub(HEADERS));
    let count = unit.len().div_ceil(share);
    for (i, part) in unit.chunks(share).enumerate() {
        writer.packet(out, i + 1 == count, timestamp, &[&[0, 16, high, low], part]);
    }
}

/// Takes AUs out of packets: one, several, or a part of one.
#[derive(Debug)]
pub(super) struct Depacketizer {
    size_bits: u32,
    index_bits: u32,
    index_delta_bits: u32,
    /// Units of the track's clock that an AU lasts.
    duration: i64,
    /// The AU whose parts are coming in.
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    timestamp: u32,
    /// Bytes that the whole AU has.
    size: usize,
    data: Vec<u8>,
    /// A part is missing.
    broken: bool,
}

impl Depacketizer {
    /// `None` if the AU headers have fields that AAC has no use for.
    pub(super) fn new(track: &Track) -> Option<Self> {
        let number = |key: &str, default: u32| match track.fmtp_param(key) {
            Some(text) => text.parse().ok(),
            None => Some(default),
        };
        let unused = [
            "CTSDeltaLength",
            "DTSDeltaLength",
            "randomAccessIndication",
            "streamStateIndication",
        ];
        let auxiliary = number("auxiliaryDataSizeLength", 0)?;
        if auxiliary != 0 || unused.iter().any(|key| number(key, 0) != Some(0)) {
            return None;
        }
        let size_bits = number("sizeLength", 13).filter(|n| (1..=32).contains(n))?;
        let index_bits = number("indexLength", 3).filter(|n| *n <= 32)?;
        let index_delta_bits = number("indexDeltaLength", 3).filter(|n| *n <= 32)?;
        Some(Self {
            size_bits,
            index_bits,
            index_delta_bits,
            duration: au_duration(track),
            partial: None,
        })
    }

    /// The sizes of the AUs, and what follows the AU headers (section 3.2.1).
    fn au_headers<'a>(&self, payload: &'a [u8]) -> Result<(Vec<usize>, &'a [u8]), Fault> {
        const SHORT: Fault = "the AU headers reach beyond their packet";
        let (length, rest) = payload.split_first_chunk().ok_or(SHORT)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (headers, data) = rest.split_at_checked(length.div_ceil(8)).ok_or(SHORT)?;
        let mut bits = BitReader::new(headers);
        let spare = headers.len() * 8 - length;
        let mut sizes = Vec::new();
        let mut index_bits = self.index_bits;
        while bits.left() >= spare + (self.size_bits + index_bits) as usize {
            let size = bits.bits(self.size_bits).ok_or(SHORT)?;
            if bits.bits(index_bits).ok_or(SHORT)? != 0 {
                return Err("AUs that are interleaved are not read");
            }
            index_bits = self.index_delta_bits;
            sizes.push(size as usize);
        }
        Ok((sizes, data))
    }

    /// Takes a part of an AU. The first cannot be told from the others, so behind a gap it takes the next AU.
    fn part(
        &mut self,
        size: usize,
        data: &[u8],
        timestamp: u32,
        pts: MediaTime,
        gap: bool,
        out: &mut Output,
    ) -> Result<(), Fault> {
        if size > MAX_PARTS {
            return Err("an AU is larger than 64 kB");
        }
        let same = |p: &Partial| p.timestamp == timestamp && p.size == size;
        if self.partial.take_if(|p| !same(p)).is_some() {
            out.dropped();
        }
        let partial = self.partial.get_or_insert_with(|| Partial {
            timestamp,
            size,
            data: Vec::new(),
            broken: false,
        });
        partial.broken |= gap;
        if partial.data.len() + data.len() > size {
            partial.broken = true;
        }
        if partial.broken {
            return Ok(()); // counted when it ends, with the next time stamp
        }
        partial.data.extend_from_slice(data);
        if partial.data.len() == size {
            let data = std::mem::take(&mut partial.data);
            self.partial = None;
            out.emit(pts, true, data);
        }
        Ok(())
    }
}

impl TakeFrames for Depacketizer {
    fn packet(&mut self, came: &Came<'_>, out: &mut Output) -> Result<(), Fault> {
        let (sizes, data) = self.au_headers(came.payload)?;
        if let [size] = sizes[..]
            && size > data.len()
        {
            return self.part(size, data, came.header.timestamp, came.pts, came.gap, out);
        }
        if self.partial.take().is_some() {
            out.dropped();
        }
        let mut rest = data;
        for (i, size) in sizes.into_iter().enumerate() {
            let (au, after) = rest
                .split_at_checked(size)
                .ok_or("an AU reaches beyond its packet")?;
            if !au.is_empty() {
                let ticks = came
                    .pts
                    .ticks
                    .saturating_add(self.duration.saturating_mul(i as i64));
                out.emit(MediaTime::new(ticks, came.pts.rate), true, au.to_vec());
            }
            rest = after;
        }
        Ok(())
    }
}

/// The most bytes of an AU that comes in parts, where the sender's `sizeLength` allows more than ours.
const MAX_PARTS: usize = 64 * 1024;

/// How long an AU lasts on the track's clock, which with SBR may run at twice the rate of the coding.
fn au_duration(track: &Track) -> i64 {
    match AudioSpecificConfig::of_track(track) {
        Some(config) => i64::from(config.frame_length) * i64::from(track.rate.hz()) / i64::from(config.rate),
        None => 1024,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::Codec;
    use crate::proto::aac::fmtp;
    use crate::proto::rtp::Depacketizer as Whole;
    use crate::proto::rtp::HEADER_LEN;
    use crate::proto::rtp::testing::noise;
    use crate::proto::rtp::testing::packet;
    use crate::proto::rtp::testing::packets;
    use crate::proto::rtp::testing::track;
    use crate::proto::rtp::testing::unit;
    use crate::proto::rtp::testing::units;

    fn aac() -> Track {
        track(Codec::Aac, 48_000, Some(&fmtp(&[0x11, 0x90])))
    }

    #[test]
    fn an_au_has_its_size_before_it_and_the_marker() {
        let out = packets(&aac(), 1400, &[unit(&aac(), 1024, true, [1, 2, 3])]);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0][HEADER_LEN..], [0, 16, 0, 24, 1, 2, 3]);
        assert_eq!(out[0][1], 0x80 | 96);
    }

    #[test]
    fn several_aus_in_a_packet_follow_each_other_in_time() {
        let payload = [0, 48, 0, 16, 0, 0, 0, 8, 7, 7, 9]; // sizes 2, 0 and 1
        assert_eq!(
            units(&aac(), &[packet(1, 0, true, &payload)]),
            [unit(&aac(), 0, true, [7, 7]), unit(&aac(), 2048, true, [9])]
        );
        // HE-AAC: 24 kHz below a clock of 48 kHz.
        let he = track(Codec::Aac, 48_000, Some(&fmtp(&[0x2b, 0x11, 0x88, 0x00])));
        assert_eq!(units(&he, &[packet(1, 0, true, &payload)])[1].pts.ticks, 4096);
    }

    #[test]
    fn headers_of_other_widths_are_read() {
        let lbr = track(
            Codec::Aac,
            8000,
            Some("mode=AAC-lbr;sizelength=6;indexlength=2;indexdeltalength=2"),
        );
        assert_eq!(
            units(
                &lbr,
                &[packet(1, 0, true, &[0, 16, 0b0000_1000, 0b0000_0100, 5, 5, 6])]
            ),
            [unit(&lbr, 0, true, [5, 5]), unit(&lbr, 1024, true, [6])]
        );
        assert!(Whole::new(&track(Codec::Aac, 8000, Some("sizelength=0"))).is_none());
        assert!(Whole::new(&track(Codec::Aac, 8000, Some("sizelength=13;ctsdeltalength=9"))).is_none());
    }

    #[test]
    fn payloads_that_make_no_sense_are_refused() {
        let mut depacketizer = Whole::new(&aac()).unwrap();
        let bad: [&[u8]; 5] = [
            &[0],
            &[0, 17, 0, 8],
            &[0, 16, 0, 9, 5],
            &[0, 32, 0, 8, 0, 16, 1],
            &[0, 32, 0, 8, 0, 9, 1, 1],
        ];
        for (i, payload) in bad.into_iter().enumerate() {
            assert!(
                depacketizer.push(&packet(i as u16, 0, true, payload)).is_err(),
                "{payload:02x?}"
            );
        }
    }

    #[test]
    fn an_au_that_lost_a_part_is_dropped() {
        let sent: Vec<_> = (0..3)
            .map(|i| unit(&aac(), i * 1024, true, noise(i as u32, 250)))
            .collect();
        let all = packets(&aac(), 100, &sent);
        assert_eq!(all.len(), 9);
        for lost in 3..6 {
            let mut depacketizer = Whole::new(&aac()).unwrap();
            // What was there before the first packet is unknown, so one goes ahead.
            depacketizer
                .push(&packet(65_529, 0, true, &[0, 16, 0, 8, 1]))
                .unwrap();
            for (_, p) in all.iter().enumerate().filter(|&(i, _)| i != lost) {
                depacketizer.push(p).unwrap();
            }
            let got: Vec<_> = std::iter::from_fn(|| depacketizer.pull()).skip(1).collect();
            // When the last part is lost, the next AU may have lost its first as well.
            let want = if lost == 5 {
                vec![sent[0].clone()]
            } else {
                vec![sent[0].clone(), sent[2].clone()]
            };
            assert_eq!(got, want, "without packet {lost}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packetized_comes_back(
            max_payload in 100usize..2000,
            sizes in proptest::collection::vec(1usize..MAX_AU, 1..6),
        ) {
            let sizes = std::iter::once(10).chain(sizes); // the first must not be cut: nothing says it is the first
            let sent: Vec<_> = sizes
                .enumerate()
                .map(|(i, size)| unit(&aac(), i as i64 * 1024, true, noise(size as u32, size)))
                .collect();
            prop_assert_eq!(units(&aac(), &packets(&aac(), max_payload, &sent)), sent);
        }
    }
}
