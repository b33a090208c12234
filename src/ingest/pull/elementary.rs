//! Elementary streams of containers as tracks: what SDP says of them, and how their units become ours. Pure.

use bytes::Bytes;

use crate::av::demux::Elementary;
use crate::av::demux::Form;
use crate::base::time::Rate;
use crate::media::Codec;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::aac;
use crate::proto::aac::AudioSpecificConfig;
use crate::proto::bits;
use crate::proto::h264;
use crate::proto::h265;
use crate::proto::latm;
use crate::proto::mpeg4;
use crate::proto::rtp::Packetizer;
use crate::proto::vorbis;

/// Payload types of our choice begin here (RFC 3551 section 6).
const FIRST_DYNAMIC: u8 = 96;

/// How a unit of a container becomes an access unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    AsIs,
    /// NAL units with their length in so many bytes before them.
    Lengths(usize),
    /// AAC with an ADTS header.
    Adts,
    /// AAC in LOAS frames.
    Loas,
    /// Samples of so many bytes, the least significant first.
    Swapped(usize),
    /// KLV, perhaps behind the header of a metadata access unit.
    Klv,
}

impl Shape {
    /// The access unit's bytes; `None` if there are none.
    pub(super) fn unit(self, data: &[u8]) -> Option<Bytes> {
        let unit = match self {
            Self::AsIs => data.to_vec(),
            Self::Lengths(size) => annex_b(data, size),
            Self::Adts => data.get(adts_header(data)?..)?.to_vec(),
            Self::Loas => latm::unit(data)?,
            Self::Swapped(size) => swapped(data, size),
            Self::Klv => klv(data).to_vec(),
        };
        (!unit.is_empty()).then(|| unit.into())
    }
}

/// Whether the stream cannot be described without one of its units.
pub(super) fn needs_a_unit(stream: &Elementary) -> bool {
    stream.codec == Codec::Aac && (stream.extradata.is_empty() || stream.form == Form::Loas)
}

/// The track of a stream; `None` for what cannot be sent by RTP here. `first` is one of its units, if one was
/// read.
pub(super) fn track(stream: &Elementary, id: TrackId, first: Option<&[u8]>) -> Option<(Track, Shape)> {
    let mut shape = Shape::AsIs;
    let mut track = Track {
        id,
        kind: stream.kind,
        codec: stream.codec,
        payload_type: FIRST_DYNAMIC + id.0,
        rate: Rate::VIDEO,
        encoding: String::new(),
        channels: None,
        fmtp: None,
    };
    match stream.codec {
        Codec::H264 | Codec::H265 => {
            let (sets, lengths) = parameter_sets(stream.codec, &stream.extradata);
            shape = lengths.map_or(Shape::AsIs, Shape::Lengths);
            track.encoding = if stream.codec == Codec::H264 {
                "H264"
            } else {
                "H265"
            }
            .into();
            track.fmtp = sets_fmtp(stream.codec, &sets);
        }
        Codec::Mpeg4Visual => {
            track.encoding = "MP4V-ES".into();
            track.fmtp = (!stream.extradata.is_empty()).then(|| mpeg4::fmtp(&stream.extradata));
        }
        Codec::Jpeg => {
            track.encoding = "JPEG".into();
            track.payload_type = 26;
        }
        Codec::Mpeg2Video => {
            track.encoding = "MPV".into();
            track.payload_type = 32;
        }
        Codec::Av1 => track.encoding = "AV1".into(),
        Codec::Vp8 => track.encoding = "VP8".into(),
        Codec::Vp9 => track.encoding = "VP9".into(),
        Codec::Aac => {
            let mut config = stream.extradata.clone();
            if stream.form == Form::Loas {
                config = latm::config(first?)?;
                shape = Shape::Loas;
            } else if config.is_empty() {
                config = adts_config(first?)?;
                shape = Shape::Adts;
            }
            let said = AudioSpecificConfig::parse(&config)?;
            track.rate = Rate::new(said.rate)?;
            track.channels = said.channels();
            track.encoding = "mpeg4-generic".into();
            track.fmtp = Some(aac::fmtp(&config));
        }
        Codec::MpegAudio => {
            track.encoding = "MPA".into();
            track.payload_type = 14;
        }
        Codec::Ac3 => {
            track.encoding = "AC3".into();
            track.rate = Rate::new(stream.sample_rate)?;
        }
        // Its clock counts every second sample, by an old mistake that everyone keeps (RFC 3551 section
        // 4.5.2).
        Codec::G722 => {
            track.encoding = "G722".into();
            track.payload_type = 9;
            track.rate = Rate::new(8_000)?;
        }
        Codec::Opus => {
            (track.encoding, track.channels) = ("opus".into(), Some(2));
            track.rate = Rate::new(48_000)?;
        }
        Codec::Pcma | Codec::Pcmu => {
            let (name, fixed) = if stream.codec == Codec::Pcma {
                ("PCMA", 8)
            } else {
                ("PCMU", 0)
            };
            track.encoding = name.into();
            track.rate = Rate::new(stream.sample_rate)?;
            if stream.sample_rate == 8_000 {
                track.payload_type = fixed;
            }
        }
        Codec::Vorbis => {
            track.encoding = "vorbis".into();
            track.rate = Rate::new(stream.sample_rate)?;
            track.channels = vorbis::channels(&stream.extradata);
            track.fmtp = Some(vorbis::fmtp(&stream.extradata)?);
        }
        Codec::Lpcm => {
            let Form::Samples {
                bytes,
                little_endian,
                channels,
            } = stream.form
            else {
                return None;
            };
            track.encoding = format!("L{}", 8 * bytes);
            track.rate = Rate::new(stream.sample_rate)?;
            track.channels = Some(channels).filter(|n| *n > 0);
            if little_endian {
                shape = Shape::Swapped(bytes);
            }
        }
        Codec::Klv => {
            track.encoding = "smpte336m".into();
            shape = Shape::Klv;
        }
        _ => return None,
    }
    let sent = Packetizer::new(&track, 0, 0, 1_400).is_some();
    (sent && (track.kind != MediaKind::Application || track.codec == Codec::Klv)).then_some((track, shape))
}

/// The parameter sets of a container's extradata, and how many bytes the lengths of its NAL units have; no
/// length means Annex B (ISO/IEC 14496-15 sections 5.3.3 and 8.3.3).
fn parameter_sets(codec: Codec, extradata: &[u8]) -> (Vec<Vec<u8>>, Option<usize>) {
    let boxed = extradata.first() == Some(&1);
    if !boxed {
        let sets = bits::nal_units(extradata).map(<[u8]>::to_vec).collect();
        return (sets, None);
    }
    let at = if codec == Codec::H264 { 4 } else { 21 };
    let lengths = extradata.get(at).map(|b| usize::from(b & 3) + 1);
    let sets = match codec {
        Codec::H264 => avcc_sets(extradata),
        _ => hvcc_sets(extradata),
    };
    (sets.unwrap_or_default(), lengths)
}

fn avcc_sets(data: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = data.get(5..)?;
    let mut sets = Vec::new();
    for mask in [0x1f, 0xff] {
        let (count, behind) = rest.split_first()?;
        rest = behind;
        for _ in 0..count & mask {
            sets.push(sized(&mut rest, 2)?.to_vec());
        }
    }
    Some(sets)
}

fn hvcc_sets(data: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (arrays, mut rest) = data.get(22..)?.split_first()?;
    let mut sets = Vec::new();
    for _ in 0..*arrays {
        let [_kind, high, low, behind @ ..] = rest else {
            return None;
        };
        rest = behind;
        for _ in 0..u16::from_be_bytes([*high, *low]) {
            sets.push(sized(&mut rest, 2)?.to_vec());
        }
    }
    Some(sets)
}

/// Cuts off a piece that has its length in `size` bytes before it.
fn sized<'a>(rest: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_at_checked(size)?;
    let length = length.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b));
    let (piece, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(piece)
}

fn sets_fmtp(codec: Codec, sets: &[Vec<u8>]) -> Option<String> {
    let h264 = |kind| sets.iter().find(|s| h264::nal_type(s) == kind);
    let h265 = |kind| sets.iter().find(|s| h265::nal_type(s) == Some(kind));
    match codec {
        Codec::H264 => match (h264(h264::nal::SPS), h264(h264::nal::PPS)) {
            (Some(sps), Some(pps)) => Some(h264::fmtp(sps, pps)),
            _ => Some("packetization-mode=1".to_owned()),
        },
        _ => Some(h265::fmtp(
            h265(h265::nal::VPS)?,
            h265(h265::nal::SPS)?,
            h265(h265::nal::PPS)?,
        )),
    }
}

fn annex_b(data: &[u8], size: usize) -> Vec<u8> {
    let mut rest = data;
    let mut out = Vec::with_capacity(data.len() + 16);
    while let Some(nal) = sized(&mut rest, size) {
        bits::push_nal(&mut out, nal);
    }
    out
}

/// Whole samples with their bytes the other way round.
fn swapped(data: &[u8], size: usize) -> Vec<u8> {
    let samples = data.chunks_exact(size);
    samples.flat_map(|s| s.iter().rev().copied()).collect()
}

/// How each key of SMPTE 336 begins.
const KLV_KEY: [u8; 4] = [0x06, 0x0e, 0x2b, 0x34];
/// Bytes of a metadata access unit's header (ISO/IEC 13818-1 section 2.12.4).
const METADATA_HEADER: usize = 5;

/// The keys, lengths and values; synchronous metadata has a header before them.
fn klv(data: &[u8]) -> &[u8] {
    match data.get(METADATA_HEADER..) {
        Some(behind) if behind.starts_with(&KLV_KEY) && !data.starts_with(&KLV_KEY) => behind,
        _ => data,
    }
}

/// Bytes of the ADTS header (ISO/IEC 14496-3 section 1.A.2).
fn adts_header(data: &[u8]) -> Option<usize> {
    match data {
        [0xff, b, ..] if b & 0xf6 == 0xf0 => Some(if b & 1 == 1 { 7 } else { 9 }),
        _ => None,
    }
}

/// The AudioSpecificConfig that an ADTS header stands for.
fn adts_config(data: &[u8]) -> Option<Vec<u8>> {
    adts_header(data)?;
    let (object_type, rate) = ((data.get(2)? >> 6) + 1, data[2] >> 2 & 0xf);
    let channels = (data[2] & 1) << 2 | data.get(3)? >> 6;
    Some(vec![object_type << 3 | rate >> 1, rate << 7 | channels << 3])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(kind: MediaKind, codec: Codec, sample_rate: u32, extradata: &[u8]) -> Elementary {
        Elementary {
            kind,
            codec,
            sample_rate,
            form: Form::Usual,
            extradata: extradata.to_vec(),
        }
    }

    #[test]
    fn h264_of_mp4_files_becomes_annex_b_with_its_sets_in_the_description() {
        let avcc = [
            1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0xc0, 0x1e, 1, 0, 2, 0x68, 0xce,
        ];
        let (track, shape) =
            track(&stream(MediaKind::Video, Codec::H264, 0, &avcc), TrackId(0), None).unwrap();
        assert_eq!(shape, Shape::Lengths(4));
        assert_eq!(
            track.fmtp.as_deref(),
            Some("packetization-mode=1;profile-level-id=42C01E;sprop-parameter-sets=Z0LAHg==,aM4=")
        );
        let unit = shape.unit(&[0, 0, 0, 2, 0x65, 1, 0, 0, 0, 1, 0x41]).unwrap();
        assert_eq!(
            bits::nal_units(&unit).collect::<Vec<_>>(),
            [&[0x65, 1][..], &[0x41]]
        );
        assert_eq!(shape.unit(&[0, 0, 0, 9, 0x65]), None, "cut off");
    }

    #[test]
    fn h264_of_streams_is_annex_b_already() {
        let sets = [0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0, 0, 1, 0x68, 0xce];
        let (track, shape) =
            track(&stream(MediaKind::Video, Codec::H264, 0, &sets), TrackId(0), None).unwrap();
        assert_eq!(shape, Shape::AsIs);
        assert!(track.fmtp.unwrap().contains("sprop-parameter-sets=Z0LAHg==,aM4="));
    }

    #[test]
    fn h265_of_mp4_files_has_all_three_sets() {
        let mut hvcc = vec![1; 22];
        hvcc[21] = 0xff;
        hvcc.push(3);
        for kind in [32_u8, 33, 34] {
            hvcc.extend([kind, 0, 1, 0, 3, kind << 1, 1, 7]);
        }
        let (track, shape) =
            track(&stream(MediaKind::Video, Codec::H265, 0, &hvcc), TrackId(0), None).unwrap();
        assert_eq!(shape, Shape::Lengths(4));
        let fmtp = track.fmtp.unwrap();
        assert!(
            fmtp.starts_with("sprop-vps=QAEH;sprop-sps=QgEH;sprop-pps=RAEH"),
            "{fmtp}"
        );
    }

    #[test]
    fn aac_of_transport_streams_loses_its_headers() {
        let adts = [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 1, 2, 3];
        let aac = stream(MediaKind::Audio, Codec::Aac, 48_000, &[]);
        assert!(needs_a_unit(&aac));
        let (made, shape) = track(&aac, TrackId(1), Some(&adts)).unwrap();
        assert_eq!((made.rate.hz(), made.channels), (48_000, Some(2)));
        assert!(made.fmtp.unwrap().ends_with("config=1190"));
        assert_eq!(shape.unit(&adts).unwrap()[..], [1, 2, 3]);
        assert_eq!(track(&aac, TrackId(1), None), None);
        let config = stream(MediaKind::Audio, Codec::Aac, 48_000, &[0x11, 0x90]);
        assert_eq!(track(&config, TrackId(1), None).unwrap().1, Shape::AsIs);
    }

    #[test]
    fn sound_of_telephones_has_its_fixed_types_at_8000_only() {
        let of = |rate| {
            track(
                &stream(MediaKind::Audio, Codec::Pcma, rate, &[]),
                TrackId(0),
                None,
            )
            .unwrap()
            .0
        };
        assert_eq!(of(8_000).payload_type, 8);
        assert_eq!(of(16_000).payload_type, 96);
        let mp3 = track(
            &stream(MediaKind::Audio, Codec::MpegAudio, 44_100, &[]),
            TrackId(1),
            None,
        )
        .unwrap()
        .0;
        assert_eq!((mp3.payload_type, mp3.rate), (14, Rate::VIDEO));
        let subtitles = stream(MediaKind::Application, Codec::Other, 0, &[]);
        assert_eq!(track(&subtitles, TrackId(0), None), None);
    }

    #[test]
    fn samples_are_sent_with_the_most_significant_byte_first() {
        let mut wav = stream(MediaKind::Audio, Codec::Lpcm, 44_100, &[]);
        let form = |bytes, little_endian| Form::Samples {
            bytes,
            little_endian,
            channels: 2,
        };
        wav.form = form(2, true);
        let (made, shape) = track(&wav, TrackId(0), None).unwrap();
        assert_eq!((made.encoding.as_str(), made.channels), ("L16", Some(2)));
        assert_eq!(shape.unit(&[1, 2, 3, 4, 5]).unwrap()[..], [2, 1, 4, 3]);
        wav.form = form(3, false);
        let (made, shape) = track(&wav, TrackId(0), None).unwrap();
        assert_eq!((made.encoding.as_str(), shape), ("L24", Shape::AsIs));
        wav.form = Form::Usual;
        assert_eq!(track(&wav, TrackId(0), None), None);
    }

    #[test]
    fn metadata_loses_the_header_of_transport_streams() {
        let klv = stream(MediaKind::Application, Codec::Klv, 0, &[]);
        let (made, shape) = track(&klv, TrackId(1), None).unwrap();
        assert_eq!(made.encoding, "smpte336m");
        let plain = [0x06, 0x0e, 0x2b, 0x34, 1, 2];
        let behind = [&[0, 1, 0xdf, 0, 6][..], &plain].concat();
        for unit in [&plain[..], &behind] {
            assert_eq!(shape.unit(unit).unwrap()[..], plain);
        }
    }

    proptest! {
        #[test]
        fn no_container_is_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..80), unit in prop::collection::vec(any::<u8>(), 0..40)) {
            for codec in [Codec::H264, Codec::H265, Codec::Aac, Codec::Mpeg4Visual, Codec::Pcmu, Codec::Vorbis, Codec::Klv] {
                for extradata in [&bytes[..], &[]] {
                    let odd = stream(MediaKind::Video, codec, 8_000, extradata);
                    if let Some((_, shape)) = track(&odd, TrackId(0), Some(&unit)) {
                        shape.unit(&unit);
                    }
                }
            }
        }
    }
}
