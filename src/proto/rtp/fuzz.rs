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
use crate::proto::ac3;
use crate::proto::av1;
use crate::proto::bits::nal_units;
use crate::proto::h264;
use crate::proto::h265;
use crate::proto::jpeg;
use crate::proto::mpa;
use crate::proto::mpeg2;
use crate::proto::mpeg4;
use crate::proto::rtp::Depacketizer;
use crate::proto::rtp::HEADER_LEN;
use crate::proto::rtp::Header;
use crate::proto::rtp::MAX_UNIT;
use crate::proto::rtp::Packetizer;
use crate::proto::rtp::Repacketizer;
use crate::proto::rtp::carries_parameter_sets;
use crate::proto::rtp::learn_parameter_sets;
use crate::proto::rtp::parameter_set_payloads;
use crate::proto::rtp::starts_keyframe;

/// Codecs that can be put together and cut, with what their SDP must say.
pub const CODECS: [(Codec, &str, &str); 20] = [
    (
        Codec::Aac,
        "mpeg4-generic",
        "sizelength=13;indexlength=3;indexdeltalength=3;config=1208",
    ),
    (Codec::AacLatm, "MP4A-LATM", ""),
    (Codec::Ac3, "ac3", ""),
    (Codec::Av1, "AV1", ""),
    (Codec::G722, "G722", ""),
    (Codec::H264, "H264", ""),
    (Codec::H265, "H265", ""),
    (Codec::Jpeg, "JPEG", ""),
    (Codec::Klv, "smpte336m", ""),
    (Codec::Lpcm, "L16", ""),
    (Codec::Mpeg2Video, "MPV", ""),
    (Codec::Mpeg4Visual, "MP4V-ES", ""),
    (Codec::MpegAudio, "MPA", ""),
    (Codec::MpegTs, "MP2T", ""),
    (Codec::Opus, "opus", ""),
    (Codec::Pcma, "PCMA", ""),
    (Codec::Pcmu, "PCMU", ""),
    (Codec::Vorbis, "vorbis", ""),
    (Codec::Vp8, "VP8", ""),
    (Codec::Vp9, "VP9", ""),
];

/// A track of payload type 96 with the parameters of [`CODECS`].
pub fn track_of(codec: Codec) -> Track {
    let (_, encoding, fmtp) = CODECS.into_iter().find(|c| c.0 == codec).expect("all are listed");
    Track {
        id: TrackId(0),
        kind: MediaKind::Video,
        codec,
        payload_type: 96,
        rate: Rate::VIDEO,
        encoding: encoding.into(),
        channels: None,
        fmtp: (!fmtp.is_empty()).then(|| fmtp.into()),
    }
}

/// A header's payload lies within its packet, whatever the packet.
pub fn header(data: &[u8]) {
    if let Ok(header) = Header::parse(data) {
        assert!(header.payload.start <= header.payload.end && header.payload.end <= data.len());
    }
}

/// The largest payload of the packets that are made in [`packets`].
const MAX_PAYLOAD: usize = 200;

/// A publisher's packets: units come out within their bound and can be cut again; and cut anew they are no larger
/// than they should be, and numbered without gaps where nothing is missing. `each` gets each unit.
///
/// For each packet: a byte of flags, a byte of length, and its payload.
pub fn packets(codec: Codec, data: &[u8], mut each: impl FnMut(&AccessUnit)) {
    let track = track_of(codec);
    let mut depacketizer = Depacketizer::new(&track).expect("there is one for each of these");
    let mut packetizer =
        Packetizer::new(&track, 7, 65_530, MAX_PAYLOAD).expect("there is one for each of these");
    let mut repacketizer = Repacketizer::new(&track, MAX_PAYLOAD).expect("there is one for each of these");
    let mut learned = track.clone();
    let (mut sequence, mut timestamp) = (65_500u16, u32::MAX - 90_000);
    let mut rest = data;
    while let [flags, length, behind @ ..] = rest {
        // Longer than a byte can say, now and then.
        let length = usize::from(*length) << (flags >> 6 & 1);
        let (payload, behind) = behind.split_at(behind.len().min(length));
        rest = behind;
        // Mostly the next packet; sometimes one is missing, repeated, or far off.
        sequence = sequence.wrapping_add([1, 1, 1, 1, 2, 0, 1, 0x8000][usize::from(flags & 7)]);
        timestamp = timestamp.wrapping_add(u32::from(flags >> 3 & 7) * 1500);
        starts_keyframe(codec, payload);
        carries_parameter_sets(codec, payload);
        learn_parameter_sets(&mut learned, payload);
        assert!(
            !learn_parameter_sets(&mut learned, payload),
            "what was learned is known"
        );
        let packet = packet(flags >> 7 == 1, sequence, timestamp, payload);
        // What is wrong with a packet is the publisher's affair.
        let _ = depacketizer.push(&packet);
        while let Some(unit) = depacketizer.pull() {
            assert!(!unit.data.is_empty() && unit.data.len() <= MAX_UNIT + 65_536 && unit.track == track.id);
            let first = packetizer.next_sequence();
            let mut out = Vec::new();
            packetizer.packetize(&unit, &mut out);
            check_packets(codec, first, &out);
            each(&unit);
        }
        let mut out = Vec::new();
        let _ = repacketizer.push(&packet, &mut out);
        // A gap may stand between two units, which come out one at a time but for some sound.
        out.iter().for_each(|p| {
            check_packets(
                codec,
                Header::parse(p).map_or(0, |h| h.sequence),
                std::slice::from_ref(p),
            )
        });
    }
}

/// Whatever is made is RTP, numbered without gaps, and not larger than it was to be.
fn check_packets(codec: Codec, first: u16, packets: &[Vec<u8>]) {
    let mut next = first;
    for packet in packets {
        let header = Header::parse(packet).expect("what was written can be read");
        assert_eq!(header.sequence, next);
        // Opus cannot be cut.
        let fits = packet.len() <= HEADER_LEN + MAX_PAYLOAD || codec == Codec::Opus;
        assert!(fits, "{} bytes", packet.len());
        next = next.wrapping_add(1);
    }
}

/// A packet of payload type 96.
pub fn packet(marker: bool, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, u8::from(marker) << 7 | 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend([0, 0, 0, 7]);
    packet.extend_from_slice(payload);
    packet
}

/// What went there and back once goes there and back unchanged, at any packet size. The first two bytes are the
/// size.
pub fn round_trip(codec: Codec, data: &[u8]) {
    let &[s0, s1, ref data @ ..] = data else {
        return;
    };
    let track = track_of(codec);
    let max_payload = usize::from(u16::from_be_bytes([s0, s1]));
    for once in there_and_back(&track, data, max_payload).unwrap_or_default() {
        let twice = there_and_back(&track, &once, max_payload);
        assert!(
            twice.is_some_and(|units| units == [once]),
            "{codec}: a unit that came back once changed or was lost the second time"
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
    for obu in av1::obus(data) {
        assert!(obu.payload.len() < data.len());
    }
    av1::is_keyframe(data);
    mpeg2::outline(data);
    assert!(mpa::FrameHeader::parse(data).is_none_or(|f| f.length > 4 && f.rate > 0));
    assert!(ac3::frame_length(data).is_none_or(|l| l > 6));
    if let Some(headers) = mpeg4::headers(data) {
        let track = with_fmtp(Codec::Mpeg4Visual, mpeg4::fmtp(headers));
        assert_eq!(parameter_set_payloads(&track), [headers]);
    }
    let text = String::from_utf8_lossy(data).into_owned();
    for key in ["sprop-parameter-sets", "sprop-sps", "config"] {
        for (codec, _, _) in CODECS {
            let track = with_fmtp(codec, format!("{key}={text}"));
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

fn with_fmtp(codec: Codec, fmtp: String) -> Track {
    Track {
        fmtp: Some(fmtp),
        ..track_of(codec)
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
            bitstreams(&data);
            jpeg(&data);
        }

        #[test]
        fn random_packets_break_nothing(codec in prop::sample::select(&CODECS[..]), data in bytes(60)) {
            packets(codec.0, &data, |_| {});
        }

        #[test]
        fn random_units_go_there_and_back(
            codec in prop::sample::select(&CODECS[..]),
            size in any::<[u8; 2]>(),
            data in bytes(40),
        ) {
            round_trip(codec.0, &[&size, &data[..]].concat());
        }
    }
}
