//! Motion JPEG in RTP, both directions (RFC 2435): headers are taken off, told in a few bytes, and built again.
//!
//! Not here: the JPEG file itself; see [`proto::jpeg`](crate::proto::jpeg). Pictures larger than 2040 pixels,
//! for which makers have extensions of their own, are not taken.

use std::collections::BTreeMap;

use crate::proto::jpeg::Image;
use crate::proto::jpeg::JpegError;
use crate::proto::jpeg::Quantizers;
use crate::proto::jpeg::Sampling;
use crate::proto::jpeg::quantizers;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::fits;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::pictures::Assemble;

/// The smallest payload: the headers of the first packet take 144 bytes.
pub(super) const MIN_PAYLOAD: usize = 192;
/// `Q`: the quantisers come with every picture (section 3.1.8).
const TABLES_IN_BAND: u8 = 255;
/// The type for pictures with restart markers is higher by this (section 3.1.3).
const RESTART: u8 = 64;
/// Bytes of the main header.
const MAIN: usize = 8;

/// Sends a JPEG file, always with its quantisers.
///
/// # Errors
/// If RTP cannot carry it; nothing is sent then.
pub(super) fn packetize(
    writer: &mut Writer,
    file: &[u8],
    timestamp: u32,
    out: &mut Vec<Vec<u8>>,
) -> Result<(), JpegError> {
    let image = Image::parse(file)?;
    let kind = match image.sampling {
        Sampling::Half => 0,
        Sampling::Quarter => 1,
    };
    let side = |pixels: u16| {
        u8::try_from(pixels.div_ceil(8)).map_err(|_| JpegError::TooLarge(image.width, image.height))
    };
    let (width, height) = (side(image.width)?, side(image.height)?);
    // Fragments do not heed restart intervals: then first and last bit are set and the count is all ones.
    let [i0, i1] = image.restart_interval.to_be_bytes();
    let restart = [i0, i1, 0xff, 0xff];
    let (kind, restart) = if image.restart_interval > 0 {
        (kind | RESTART, &restart[..])
    } else {
        (kind, &[][..])
    };
    let tables = [&[0, 0, 0, 128][..], &image.quantizers[0], &image.quantizers[1]].concat();

    let mut rest = image.scan;
    let mut offset = 0u32;
    while !rest.is_empty() {
        let tables = if offset == 0 { &tables[..] } else { &[] };
        let room = writer
            .max_payload
            .saturating_sub(MAIN + restart.len() + tables.len())
            .max(1);
        let (part, after) = rest.split_at(room.min(rest.len()));
        let [_, o0, o1, o2] = offset.to_be_bytes();
        let main = [0, o0, o1, o2, kind, TABLES_IN_BAND, width, height];
        writer.packet(out, after.is_empty(), timestamp, &[&main, restart, tables, part]);
        offset += part.len() as u32;
        rest = after;
    }
    Ok(())
}

/// Puts pictures together, as JPEG files with all tables. Their sides are multiples of 8, as RTP tells no more.
#[derive(Debug, Default)]
pub(super) struct Depacketizer {
    picture: Option<Picture>,
    scan: Vec<u8>,
    /// Quantisers that came once for all pictures of the same `Q`, 128 to 254.
    kept: BTreeMap<u8, Quantizers>,
}

/// What the first packet of a picture says.
#[derive(Debug)]
struct Picture {
    main: Main,
    restart_interval: u16,
    quantizers: Quantizers,
}

/// The fields of the main header that are the same in all packets of a picture (section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Main {
    kind: u8,
    q: u8,
    width: u8,
    height: u8,
}

impl Depacketizer {
    /// The quantisers of a picture, and what follows them (section 3.1.8).
    fn quantizers<'a>(&mut self, q: u8, rest: &'a [u8]) -> Result<(Quantizers, &'a [u8]), Fault> {
        if q < 128 {
            return Ok((quantizers(q).ok_or("the value of Q is reserved")?, rest));
        }
        let &[_, precision, l0, l1, ref rest @ ..] = rest else {
            return Err("the packet is shorter than its headers");
        };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let (tables, rest) = rest
            .split_at_checked(length)
            .ok_or("the packet is shorter than its quantisers")?;
        if tables.is_empty() {
            let kept = self.kept.get(&q).ok_or("the quantisers have not been sent")?;
            return Ok((*kept, rest));
        }
        let tables = read_tables(precision, tables)?;
        if q != TABLES_IN_BAND {
            self.kept.insert(q, tables);
        }
        Ok((tables, rest))
    }
}

/// One table for all components, or one for brightness and one for colour.
fn read_tables(precision: u8, tables: &[u8]) -> Result<Quantizers, Fault> {
    const BROKEN: Fault = "the quantisers have a wrong length";
    if precision & 3 != 0 {
        return Err("quantisers of 16 bits are not read");
    }
    let (luma, rest) = tables.split_first_chunk().ok_or(BROKEN)?;
    match rest.first_chunk() {
        Some(chroma) => Ok([*luma, *chroma]),
        None if rest.is_empty() => Ok([*luma, *luma]),
        None => Err(BROKEN),
    }
}

impl Assemble for Depacketizer {
    fn begin(&mut self, _after_gap: bool) {
        self.picture = None;
        self.scan.clear();
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Fault> {
        const SHORT: Fault = "the packet is shorter than its headers";
        let &[_, o0, o1, o2, kind, q, width, height, ref rest @ ..] = payload else {
            return Err(SHORT);
        };
        let main = Main {
            kind,
            q,
            width,
            height,
        };
        let offset = u32::from_be_bytes([0, o0, o1, o2]) as usize;
        let (restart_interval, mut rest) = match kind {
            0 | 1 => (0, rest),
            64 | 65 => match *rest {
                [i0, i1, _, _, ref rest @ ..] => (u16::from_be_bytes([i0, i1]), rest),
                _ => return Err(SHORT),
            },
            _ => return Err("the type of picture is not known"),
        };
        if offset == 0 && self.scan.is_empty() {
            if width == 0 || height == 0 {
                return Err("the picture is larger than 2040 pixels, which is not read");
            }
            let (quantizers, after) = self.quantizers(q, rest)?;
            rest = after;
            self.picture = Some(Picture {
                main,
                restart_interval,
                quantizers,
            });
        }
        match &self.picture {
            None => return Err("the beginning of the picture was lost"),
            Some(picture) if picture.main != main => {
                return Err("packets of different pictures have one time stamp");
            }
            Some(_) if offset != self.scan.len() => return Err("a part of the picture was lost"),
            Some(_) => {}
        }
        fits(self.scan.len(), rest.len())?;
        self.scan.extend_from_slice(rest);
        Ok(())
    }

    fn has_picture(&self) -> bool {
        self.picture.is_some()
    }

    fn finish(&mut self) -> Option<(Vec<u8>, bool)> {
        let picture = self.picture.take()?;
        if self.scan.is_empty() {
            return None;
        }
        let image = Image {
            width: u16::from(picture.main.width) * 8,
            height: u16::from(picture.main.height) * 8,
            sampling: if picture.main.kind & 1 == 0 {
                Sampling::Half
            } else {
                Sampling::Quarter
            },
            quantizers: picture.quantizers,
            restart_interval: picture.restart_interval,
            scan: &self.scan,
        };
        Some((image.to_file(), true))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::Codec;
    use crate::media::Track;
    use crate::proto::rtp::Depacketizer as Whole;
    use crate::proto::rtp::HEADER_LEN;
    use crate::proto::rtp::Packetizer;
    use crate::proto::rtp::testing::noise;
    use crate::proto::rtp::testing::packet;
    use crate::proto::rtp::testing::packets;
    use crate::proto::rtp::testing::track;
    use crate::proto::rtp::testing::unit;
    use crate::proto::rtp::testing::units;

    fn mjpeg() -> Track {
        track(Codec::Jpeg, 90_000, None)
    }

    fn image(sampling: Sampling, restart_interval: u16, scan: &[u8]) -> Vec<u8> {
        let quantizers = quantizers(77).unwrap();
        Image {
            width: 320,
            height: 240,
            sampling,
            quantizers,
            restart_interval,
            scan,
        }
        .to_file()
    }

    /// Noise without markers.
    fn scan(length: usize) -> Vec<u8> {
        noise(length as u32, length)
            .into_iter()
            .map(|b| b & 0x7f)
            .collect()
    }

    #[test]
    fn the_first_packet_has_the_quantisers_and_all_are_full_but_the_last() {
        let file = image(Sampling::Quarter, 0, &scan(500));
        let out = packets(&mjpeg(), 300, &[unit(&mjpeg(), 0, true, file)]);
        let payloads: Vec<_> = out.iter().map(|p| &p[HEADER_LEN..]).collect();
        assert_eq!(
            payloads.iter().map(|p| p.len()).collect::<Vec<_>>(),
            [300, 300, 500 - 160 - 292 + 8]
        );
        assert_eq!(payloads[0][..12], [0, 0, 0, 0, 1, 255, 40, 30, 0, 0, 0, 128]);
        assert_eq!(payloads[0][12..140], quantizers(77).unwrap().concat());
        assert_eq!(payloads[1][..8], [0, 0, 0, 160, 1, 255, 40, 30]);
        assert_eq!(payloads[2][..8], [0, 0, 1, 196, 1, 255, 40, 30]);
        assert_eq!(out.iter().map(|p| p[1] >> 7).collect::<Vec<_>>(), [0, 0, 1]);
    }

    #[test]
    fn restart_intervals_have_a_header_of_their_own() {
        let file = image(Sampling::Half, 20, &scan(300));
        let sent = [unit(&mjpeg(), 0, true, file)];
        let out = packets(&mjpeg(), 300, &sent);
        assert_eq!(
            out[1][HEADER_LEN..HEADER_LEN + 12],
            [0, 0, 0, 156, 64, 255, 40, 30, 0, 20, 0xff, 0xff]
        );
        assert_eq!(units(&mjpeg(), &out), sent);
    }

    #[test]
    fn a_picture_that_rtp_cannot_carry_is_left_out_with_the_reason() {
        let mut packetizer = Packetizer::new(&mjpeg(), 1, 1, 1400).unwrap();
        let mut out = Vec::new();
        packetizer.packetize(&unit(&mjpeg(), 0, true, [1, 2, 3]), &mut out);
        assert!(out.is_empty());
        assert_eq!(packetizer.refused(), Some(JpegError::NotJpeg));
        packetizer.packetize(
            &unit(&mjpeg(), 0, true, image(Sampling::Half, 0, &scan(9))),
            &mut out,
        );
        assert_eq!((out.len(), packetizer.refused()), (1, None));
    }

    #[test]
    fn quantisers_come_computed_kept_or_single() {
        let picture = |q: u8, tables: &[u8]| [&[0, 0, 0, 0, 1, q, 40, 30][..], tables, &[1, 2, 3]].concat();
        let mut single = vec![0, 0, 0, 64];
        single.extend_from_slice(&[9; 64]);
        let stream = [
            packet(1, 0, true, &picture(50, &[])),
            packet(2, 1, true, &picture(130, &single)),
            packet(3, 2, true, &picture(130, &[0, 0, 0, 0])),
        ];
        let got: Vec<_> = units(&mjpeg(), &stream)
            .iter()
            .map(|u| Image::parse(&u.data).unwrap().quantizers)
            .collect();
        assert_eq!(got, [quantizers(50).unwrap(), [[9; 64]; 2], [[9; 64]; 2]]);
    }

    #[test]
    fn payloads_that_make_no_sense_are_refused() {
        let mut depacketizer = Whole::new(&mjpeg()).unwrap();
        depacketizer
            .push(&packet(0, 0, true, &[0, 0, 0, 0, 1, 50, 4, 3, 9]))
            .unwrap();
        let bad: [&[u8]; 10] = [
            &[0; 7],
            &[0, 0, 0, 0, 1, 0, 4, 3, 9],               // Q is reserved
            &[0, 0, 0, 0, 1, 100, 4, 3, 9],             // and this
            &[0, 0, 0, 0, 1, 50, 0, 3, 9],              // too wide
            &[0, 0, 0, 0, 2, 50, 4, 3, 9],              // an unknown type
            &[0, 0, 0, 0, 64, 50, 4, 3, 9],             // no restart header
            &[0, 0, 0, 0, 1, 255, 4, 3, 0, 0, 0],       // no room for the tables' header
            &[0, 0, 0, 0, 1, 255, 4, 3, 0, 0, 0, 0, 9], // no tables
            &[0, 0, 0, 0, 1, 255, 4, 3, 0, 0, 0, 9, 9], // tables cut off
            &[0, 0, 0, 1, 1, 50, 4, 3, 9],              // not the beginning
        ];
        for (i, payload) in bad.into_iter().enumerate() {
            let i = i as u16 + 1;
            assert!(
                depacketizer.push(&packet(i, i.into(), true, payload)).is_err(),
                "{payload:02x?}"
            );
        }
        assert_eq!(depacketizer.dropped(), 10);
        assert!(depacketizer.pull().is_some() && depacketizer.pull().is_none());
    }

    #[test]
    fn a_lost_packet_drops_its_picture_and_no_other() {
        let sent: Vec<_> = (0..3)
            .map(|i| unit(&mjpeg(), i, true, image(Sampling::Half, 0, &scan(700))))
            .collect();
        let all = packets(&mjpeg(), 300, &sent);
        assert_eq!(all.len(), 9);
        for lost in 3..6 {
            let mut depacketizer = Whole::new(&mjpeg()).unwrap();
            for (_, p) in all.iter().enumerate().filter(|&(i, _)| i != lost) {
                depacketizer.push(p).unwrap();
            }
            let got: Vec<_> = std::iter::from_fn(|| depacketizer.pull()).collect();
            assert_eq!(got, [sent[0].clone(), sent[2].clone()], "without packet {lost}");
            assert_eq!((depacketizer.lost(), depacketizer.dropped()), (1, 1));
        }
    }

    proptest! {
        #[test]
        fn what_is_packetized_comes_back(
            max_payload in 100usize..2000,
            sizes in proptest::collection::vec(1usize..20_000, 1..5),
            restart_interval in 0u16..3,
            half in any::<bool>(),
        ) {
            let sampling = if half { Sampling::Half } else { Sampling::Quarter };
            let sent: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(i, size)| unit(&mjpeg(), i as i64 * 3000, true, image(sampling, restart_interval, &scan(*size))))
                .collect();
            let packets = packets(&mjpeg(), max_payload, &sent);
            prop_assert!(packets.iter().all(|p| p.len() <= max_payload.max(MIN_PAYLOAD) + HEADER_LEN));
            prop_assert_eq!(units(&mjpeg(), &packets), sent);
        }
    }
}
