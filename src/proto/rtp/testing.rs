//! What the tests of this folder share: tracks, units, and the way there and back.

use bytes::Bytes;
use proptest::collection;
use proptest::prelude::*;

use crate::base::time::MediaTime;
use crate::base::time::Rate;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::rtp::Depacketizer;
use crate::proto::rtp::HEADER_LEN;
use crate::proto::rtp::Packetizer;
use crate::proto::rtp::starts_keyframe;

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

/// What must hold for every codec, with units that `make` makes for keyframes and others, about so many bytes long:
/// they come back at any packet size, a lost packet costs no more than `cost` units, and no packet that is cut off
/// breaks anything. Sound is made of keyframes only, whatever `make` is told.
pub(in crate::proto) fn holds(track: &Track, cost: usize, make: impl Fn(bool, usize) -> Vec<u8>) {
    let sound = track.kind == MediaKind::Audio;
    let sent = |sizes: &[usize]| -> Vec<AccessUnit> {
        (0i64..)
            .zip(sizes)
            .map(|(i, &size)| {
                let keyframe = sound || i % 3 == 0;
                unit(track, i * 3000, keyframe, make(keyframe, size))
            })
            .collect()
    };
    proptest!(|(max_payload in 64usize..3000, sizes in collection::vec(1usize..5000, 1..6))| {
        // The first is small: where no packet says that it is the first of its unit, one that is whole begins.
        let sizes: Vec<_> = [10].into_iter().chain(sizes).collect();
        let sent = sent(&sizes);
        let packets = packets(track, max_payload, &sent);
        prop_assert!(packets.iter().all(|p| p.len() <= max_payload + HEADER_LEN));
        prop_assert!(units(track, &packets) == sent, "units of {sizes:?} did not come back");
    });
    let sent = sent(&[10, 700, 20, 500, 20, 20, 600]);
    for max_payload in [64, 100, 1452, 65_000] {
        let all = packets(track, max_payload, &sent);
        for lost in 1..all.len() {
            let mut depacketizer = Depacketizer::new(track).unwrap();
            let mut got = Vec::new();
            for (_, packet) in all.iter().enumerate().filter(|&(i, _)| i != lost) {
                depacketizer.push(packet).unwrap();
                depacketizer.push(packet).unwrap(); // one that comes twice changes nothing
                got.extend(std::iter::from_fn(|| depacketizer.pull()));
            }
            assert!(got.iter().all(|u| sent.contains(u)), "a unit came out changed");
            assert!(got.is_sorted_by_key(|u| u.pts.ticks), "units came out of order");
            let missing = sent.len() - got.len();
            assert!(
                missing <= cost,
                "{missing} units are missing without packet {lost} of {max_payload}"
            );
        }
        no_prefix_panics(track, &all);
    }
}

/// Every beginning of every packet, alone and after the whole ones before it.
fn no_prefix_panics(track: &Track, packets: &[Vec<u8>]) {
    let mut before = Vec::new();
    for packet in packets.iter().take(12) {
        for length in (0..packet.len()).step_by(1 + packet.len() / 200) {
            Depacketizer::new(track).unwrap().push(&packet[..length]).ok();
            if length >= HEADER_LEN {
                // In the place of the whole one, behind those before it.
                let mut copy = Depacketizer::new(track).unwrap();
                before.iter().for_each(|p: &&Vec<u8>| copy.push(p).unwrap());
                copy.push(&packet[..length]).ok();
                starts_keyframe(track.codec, &packet[HEADER_LEN..length]);
            }
        }
        before.push(packet);
        if packet[1] & 0x80 != 0 {
            before.clear();
        }
    }
}
