//! MPEG-4 part 2 video out of RTP (RFC 6416 section 5): the elementary stream, cut anywhere.
//!
//! Not here: the way into packets, which is that of everything that is cut anywhere, in [`pieces`](super::pieces);
//! the bitstream itself, which is in [`proto::mpeg4`](crate::proto::mpeg4).

use crate::media::Track;
use crate::proto::mpeg4;
use crate::proto::mpeg4::VopType;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::fits;
use crate::proto::rtp::pictures::Assemble;

/// Puts pictures together. One coded by itself is a keyframe, and gets the newest headers that were seen, at
/// first those of SDP, if it has no VOL header. Headers that come as a unit of their own join the next picture.
#[derive(Debug)]
pub(super) struct Depacketizer {
    headers: Option<Vec<u8>>,
    unit: Vec<u8>,
    after_gap: bool,
}

impl Depacketizer {
    pub(super) fn new(track: &Track) -> Self {
        Self {
            headers: mpeg4::config(track),
            unit: Vec::new(),
            after_gap: false,
        }
    }
}

impl Assemble for Depacketizer {
    fn begin(&mut self, after_gap: bool) {
        self.unit.clear();
        self.after_gap = after_gap;
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Fault> {
        if self.unit.is_empty() && self.after_gap && !payload.starts_with(&[0, 0, 1]) {
            return Err("the beginning of the picture was lost");
        }
        fits(self.unit.len(), payload.len())?;
        self.unit.extend_from_slice(payload);
        Ok(())
    }

    fn has_picture(&self) -> bool {
        mpeg4::outline(&self.unit).vop.is_some()
    }

    fn finish(&mut self) -> Option<(Vec<u8>, bool)> {
        let mut unit = std::mem::take(&mut self.unit);
        let found = mpeg4::outline(&unit);
        let keyframe = found.vop? == VopType::Intra;
        if let Some(seen) = mpeg4::headers(&unit) {
            if self.headers.as_deref() != Some(seen) {
                self.headers = Some(seen.to_vec());
            }
        } else if let (true, Some(headers)) = (keyframe, &self.headers) {
            unit.splice(..0, headers.iter().copied());
        }
        Some((unit, keyframe))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::Codec;
    use crate::proto::rtp::Depacketizer as Whole;
    use crate::proto::rtp::HEADER_LEN;
    use crate::proto::rtp::testing::noise;
    use crate::proto::rtp::testing::packet;
    use crate::proto::rtp::testing::packets;
    use crate::proto::rtp::testing::track;
    use crate::proto::rtp::testing::unit;
    use crate::proto::rtp::testing::units;

    const HEADERS: [u8; 10] = [0, 0, 1, 0xb0, 1, 0, 0, 1, 0x20, 0xc4];
    const INTRA: [u8; 6] = [0, 0, 1, 0xb6, 0x10, 0x61];
    const PREDICTED: [u8; 6] = [0, 0, 1, 0xb6, 0x50, 0x61];

    fn plain() -> Track {
        track(Codec::Mpeg4Visual, 90_000, None)
    }

    #[test]
    fn a_picture_is_cut_into_full_packets() {
        let mut data = INTRA.to_vec();
        data.extend(noise(1, 200));
        let out = packets(&plain(), 100, &[unit(&plain(), 0, true, data)]);
        assert_eq!(
            out.iter().map(|p| p.len() - HEADER_LEN).collect::<Vec<_>>(),
            [100, 100, 6]
        );
        assert_eq!(out.iter().map(|p| p[1]).collect::<Vec<_>>(), [96, 96, 0x80 | 96]);
    }

    #[test]
    fn a_keyframe_without_headers_gets_those_of_sdp_and_later_the_newest() {
        let track = track(Codec::Mpeg4Visual, 90_000, Some(&mpeg4::fmtp(&HEADERS)));
        let newer = [0, 0, 1, 0x20, 0xc8];
        let stream = [
            packet(1, 0, true, &INTRA),
            packet(2, 1, true, &PREDICTED),
            packet(3, 2, true, &newer), // headers alone wait for their picture
            packet(4, 3, true, &INTRA),
            packet(5, 4, true, &INTRA),
        ];
        let got = units(&track, &stream);
        assert_eq!(got[0], unit(&track, 0, true, [&HEADERS[..], &INTRA].concat()));
        assert_eq!(got[1], unit(&track, 1, false, PREDICTED));
        assert_eq!(got[2], unit(&track, 3, true, [&newer[..], &INTRA].concat()));
        assert_eq!(got[3], unit(&track, 4, true, [&newer[..], &INTRA].concat()));
    }

    #[test]
    fn a_lost_packet_drops_its_picture_and_no_other() {
        let mut large = PREDICTED.to_vec();
        large.extend(noise(3, 400));
        let sent: Vec<_> = [INTRA.to_vec(), large, INTRA.to_vec()]
            .into_iter()
            .enumerate()
            .map(|(i, data)| unit(&plain(), i as i64, i != 1, data))
            .collect();
        let all = packets(&plain(), 100, &sent);
        for lost in 1..all.len() - 1 {
            let mut depacketizer = Whole::new(&plain()).unwrap();
            for (_, p) in all.iter().enumerate().filter(|&(i, _)| i != lost) {
                depacketizer.push(p).unwrap();
            }
            let got: Vec<_> = std::iter::from_fn(|| depacketizer.pull()).collect();
            assert_eq!(got, [sent[0].clone(), sent[2].clone()], "without packet {lost}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packetized_comes_back(max_payload in 100usize..2000, sizes in proptest::collection::vec(0usize..6000, 1..6)) {
            let sent: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(i, size)| {
                    let data = [&HEADERS[..], &INTRA, &noise(*size as u32, *size)].concat();
                    unit(&plain(), i as i64 * 3000, true, data)
                })
                .collect();
            prop_assert_eq!(units(&plain(), &packets(&plain(), max_payload, &sent)), sent);
        }
    }
}
