//! What the tests of this folder share: tracks, units, and the way there and back.

use bytes::Bytes;

use crate::base::time::MediaTime;
use crate::base::time::Rate;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::rtp::Depacketizer;
use crate::proto::rtp::Packetizer;

/// A track of payload type 96 with this clock and these parameters.
pub(in crate::proto) fn track(codec: Codec, rate: u32, fmtp: Option<&str>) -> Track {
    Track {
        id: TrackId(0),
        kind: MediaKind::Video,
        codec,
        payload_type: 96,
        rate: Rate::new(rate).unwrap(),
        encoding: codec.to_string(),
        channels: None,
        fmtp: fmtp.map(str::to_owned),
    }
}

pub(in crate::proto) fn unit(
    track: &Track,
    ticks: i64,
    keyframe: bool,
    data: impl Into<Vec<u8>>,
) -> AccessUnit {
    let data = Bytes::from(data.into());
    AccessUnit {
        track: track.id,
        pts: MediaTime::new(ticks, track.rate),
        keyframe,
        data,
    }
}

/// The packets of `units`, with sequence numbers from 65530 so that they wrap.
pub(in crate::proto) fn packets(track: &Track, max_payload: usize, units: &[AccessUnit]) -> Vec<Vec<u8>> {
    let mut packetizer = Packetizer::new(track, 7, 65_530, max_payload).unwrap();
    let mut out = Vec::new();
    for unit in units {
        packetizer.packetize(unit, &mut out);
    }
    out
}

/// What comes out of these packets; errors fail the test.
pub(in crate::proto) fn units(track: &Track, packets: &[Vec<u8>]) -> Vec<AccessUnit> {
    let mut depacketizer = Depacketizer::new(track).unwrap();
    let mut out = Vec::new();
    for packet in packets {
        depacketizer.push(packet).unwrap();
        out.extend(std::iter::from_fn(|| depacketizer.pull()));
    }
    out
}

/// A packet of payload type 96 made by hand.
pub(in crate::proto) fn packet(sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, u8::from(marker) << 7 | 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 7]);
    packet.extend_from_slice(payload);
    packet
}

/// Cheap bytes that look random, never `00`, so that no start code arises.
pub(in crate::proto) fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 | 1
        })
        .collect()
}
