//! Bodies of the fuzz targets for RTP and the bitstreams in it. Each asserts a property, not only that nothing
//! panics; `cargo test` runs them on random bytes as well.

use bytes::Bytes;

use crate::base::time::MediaTime;
use crate::base::time::Rate;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::aac::AudioSpecificConfig;
use crate::proto::bits::nal_units;
use crate::proto::h264;
use crate::proto::h265;
use crate::proto::jpeg;
use crate::proto::mpeg4;
use crate::proto::rtp::Depacketizer;
use crate::proto::rtp::Header;
use crate::proto::rtp::MAX_UNIT;
use crate::proto::rtp::Packetizer;
use crate::proto::rtp::carries_parameter_sets;
use crate::proto::rtp::parameter_set_payloads;
use crate::proto::rtp::starts_keyframe;

const CODECS: [Codec; 21] = [
    Codec::H264,
    Codec::H265,
    Codec::Mpeg4Visual,
    Codec::Jpeg,
    Codec::Aac,
    Codec::AacLatm,
    Codec::MpegTs,
    Codec::Opus,
    Codec::Pcma,
    Codec::Pcmu,
    Codec::Vp8,
    Codec::Vp9,
    Codec::Other,
    Codec::Av1,
    Codec::Mpeg2Video,
    Codec::MpegAudio,
    Codec::Ac3,
    Codec::Vorbis,
    Codec::G722,
    Codec::Lpcm,
    Codec::Klv,
];

fn track(selector: u8, fmtp: Option<String>) -> Track {
    Track {
        id: TrackId(0),
        kind: MediaKind::Video,
        codec: CODECS[usize::from(selector) % CODECS.len()],
        payload_type: 96,
        rate: Rate::VIDEO,
        encoding: "L16".into(),
        channels: None,
        fmtp,
    }
}

/// A header's payload lies within its packet, whatever the packet.
pub fn header(data: &[u8]) {
    if let Ok(header) = Header::parse(data) {
        assert!(header.payload.start <= header.payload.end && header.payload.end <= data.len());
    }
}

/// Nothing that is asked of single payloads panics. The first byte chooses the codec.
pub fn payload(data: &[u8]) {
    let Some((&selector, data)) = data.split_first() else {
        return;
    };
    let codec = track(selector, None).codec;
    starts_keyframe(codec, data);
    carries_parameter_sets(codec, data);
}

/// Units come out within their bound, and no more bytes than went in but for headers. The first byte chooses the
/// codec; then, for each packet: its length, a step of the sequence number, a step of time with the marker.
pub fn depacketize(data: &[u8]) {
    let Some((&selector, mut rest)) = data.split_first() else {
        return;
    };
    let track = track(selector, None);
    let Some(mut depacketizer) = Depacketizer::new(&track) else {
        return;
    };
    let (mut sequence, mut timestamp) = (0u16, 0u32);
    while let [length, step, time, after @ ..] = rest {
        let (payload, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        // Mostly in order, sometimes not; mostly the same time, sometimes another.
        sequence = sequence.wrapping_add(if *step < 224 { 1 } else { u16::from(*step) * 257 });
        timestamp = timestamp.wrapping_add(u32::from(time & 0x7f) / 32 * 3000);
        let mut packet = vec![0x80, time & 0x80 | 96];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(payload);
        let _ = depacketizer.push(&packet);
        while let Some(unit) = depacketizer.pull() {
            assert!(!unit.data.is_empty() && unit.data.len() <= 2 * MAX_UNIT);
            assert_eq!(unit.track, track.id);
        }
    }
}

/// What went there and back once goes there and back unchanged, at any packet size. The first byte chooses the
/// codec, the next two the size.
pub fn round_trip(data: &[u8]) {
    let &[selector, s0, s1, ref data @ ..] = data else {
        return;
    };
    let track = track(selector, None);
    let max_payload = usize::from(u16::from_be_bytes([s0, s1]));
    for once in there_and_back(&track, data, max_payload).unwrap_or_default() {
        let twice = there_and_back(&track, &once, max_payload);
        assert!(
            twice.is_some_and(|units| units == [once]),
            "{}: a unit that came back once changed or was lost the second time",
            track.codec
        );
    }
}

/// The units that come out for one, which need not be one before it was cut for the first time.
fn there_and_back(track: &Track, data: &[u8], max_payload: usize) -> Option<Vec<Bytes>> {
    let mut packetizer = Packetizer::new(track, 1, 0, max_payload)?;
    let mut depacketizer = Depacketizer::new(track)?;
    let unit = AccessUnit {
        track: track.id,
        pts: MediaTime::new(3000, track.rate),
        keyframe: true,
        data: Bytes::copy_from_slice(data),
    };
    let mut packets = Vec::new();
    packetizer.packetize(&unit, &mut packets);
    for (i, packet) in packets.iter().enumerate() {
        assert!(packet.len() <= max_payload.max(192) + 12 || track.codec == Codec::Opus);
        if i == 0 {
            depacketizer.go_on_at(&Header::parse(packet).expect("what was written can be read"));
        }
        // What we send ourselves may still make no sense: the unit is not checked.
        depacketizer.push(packet).ok()?;
    }
    Some(
        std::iter::from_fn(|| depacketizer.pull())
            .map(|u| u.data)
            .collect(),
    )
}

/// Bitstreams and SDP parameters: what is written of what was read reads the same.
pub fn bitstreams(data: &[u8]) {
    for nal in nal_units(data) {
        assert!(nal.last().is_some_and(|b| *b != 0));
        h264::parameter_set_id(nal);
        h264::is_recovery_point(nal);
        h264::profile_level_id(nal);
        h265::parameter_set_id(nal);
    }
    if let Some(headers) = mpeg4::headers(data) {
        let track = track(2, Some(mpeg4::fmtp(headers)));
        assert_eq!(parameter_set_payloads(&track), [headers]);
    }
    let text = String::from_utf8_lossy(data).into_owned();
    for key in ["sprop-parameter-sets", "sprop-sps", "config"] {
        for selector in 0..5 {
            let track = track(selector, Some(format!("{key}={text}")));
            for set in parameter_set_payloads(&track) {
                assert!(!set.is_empty());
            }
        }
    }
    if let Some(config) = AudioSpecificConfig::parse(data) {
        assert!(config.rate > 0);
        config.adts_header(data.len());
    }
}

/// A picture that was understood is understood the same way when it is written anew.
pub fn jpeg(data: &[u8]) {
    jpeg::insert_huffman_tables(data);
    if let Ok(image) = jpeg::Image::parse(data) {
        let file = image.to_file();
        assert_eq!(jpeg::Image::parse(&file), Ok(image));
        assert_eq!(jpeg::insert_huffman_tables(&file), file);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Random bytes in which start codes and small numbers are frequent.
    fn bytes(length: usize) -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<u8>().prop_map(|b| vec![b]),
            (0u8..4).prop_map(|b| vec![b]),
            prop_oneof![
                Just(0x67),
                Just(0x68),
                Just(0x65),
                Just(0x41),
                Just(0x7c),
                Just(0x78),
                Just(0x06)
            ]
            .prop_map(|b| vec![0, 0, 1, b]),
            prop_oneof![
                Just(0x26),
                Just(0x42),
                Just(0x62),
                Just(0x60),
                Just(0xb6),
                Just(0x20),
                Just(0xb0)
            ]
            .prop_map(|b| vec![0, 0, 1, b, 1]),
            Just(vec![0xff, 0xd8, 0xff]),
            proptest::collection::vec(any::<u8>(), 0..300),
        ];
        proptest::collection::vec(piece, 0..length).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn random_bytes_break_nothing(data in bytes(40)) {
            header(&data);
            payload(&data);
            bitstreams(&data);
            jpeg(&data);
        }

        #[test]
        fn random_packets_break_no_depacketizer(selector in 0u8..21, data in bytes(60)) {
            depacketize(&[&[selector][..], &data].concat());
        }

        #[test]
        fn random_units_go_there_and_back(selector in 0u8..21, size in any::<[u8; 2]>(), data in bytes(40)) {
            round_trip(&[&[selector][..], &size, &data].concat());
        }
    }
}
