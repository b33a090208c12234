//! H.264 in RTP, both directions (RFC 6184): single NAL units, STAP-A (in only) and FU-A.
//!
//! Not here: interleaved mode (STAP-B, MTAP, FU-B); nobody sends it. The bitstream itself is in
//! [`proto::h264`](crate::proto::h264).

use crate::media::Track;
use crate::proto::bits::nal_units;
use crate::proto::h264;
use crate::proto::h264::nal;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::nals;
use crate::proto::rtp::nals::NalAssembly;
use crate::proto::rtp::nals::Role;

/// Sends the NAL units of an Annex B access unit, large ones in equal fragments.
///
/// Access unit delimiters and filler stay behind: RTP marks the end of a unit itself, and filler is what a
/// stream of constant rate pads with.
pub(super) fn packetize(writer: &mut Writer, unit: &[u8], timestamp: u32, out: &mut Vec<Vec<u8>>) {
    let nals = nal_units(unit).filter(|nal| travels(h264::nal_type(nal)));
    nals::packetize(writer, nals, timestamp, out, fu_a);
}

/// The two bytes before a fragment (section 5.8).
fn fu_a(&[header]: &[u8; 1], start: bool, end: bool) -> [u8; 2] {
    [
        header & 0xe0 | nal::FU_A,
        u8::from(start) << 7 | u8::from(end) << 6 | header & 0x1f,
    ]
}

/// NAL units that are sent and kept: neither padding nor what would be taken for a structure of RTP.
fn travels(nal_type: u8) -> bool {
    (1..=nal::LAST_SINGLE).contains(&nal_type) && nal_type != nal::AUD && nal_type != nal::FILLER
}

/// What a NAL unit is to its access unit.
fn role(nal: &[u8]) -> Role {
    let kind = h264::nal_type(nal);
    if let Some(id) = h264::parameter_set_id(nal) {
        Role::ParameterSet { kind, id }
    } else if h264::is_vcl(kind) {
        Role::Slice {
            first: h264::begins_picture(nal),
            keyframe: kind == nal::IDR,
        }
    } else if travels(kind) {
        Role::Other {
            keyframe: h264::is_recovery_point(nal),
        }
    } else {
        Role::Padding
    }
}

/// Puts access units together. Keyframes have an IDR slice or a recovery point. `None` for interleaved mode.
pub(super) fn depacketizer(track: &Track) -> Option<NalAssembly> {
    if track.fmtp_param("packetization-mode") == Some("2") {
        return None;
    }
    Some(NalAssembly::new(role, take, &h264::parameter_sets(track)))
}

fn take(nals: &mut NalAssembly, payload: &[u8]) -> Result<(), Fault> {
    match (h264::nal_type(payload), payload) {
        (1..=nal::LAST_SINGLE, _) => nals.whole(payload),
        (nal::STAP_A, [_, rest @ ..]) => nals.aggregated(rest),
        // Section 5.8: the type of the NAL unit is split over the two bytes.
        (nal::FU_A, &[indicator, fu, ref body @ ..]) => {
            let header = [indicator & 0xe0 | fu & 0x1f];
            nals.fragment((fu & 0x80 != 0).then_some(&header), body, fu & 0x40 != 0)
        }
        (nal::FU_A, _) => Err("a fragment is shorter than its header"),
        (nal::STAP_B | nal::MTAP16 | nal::MTAP24 | nal::FU_B, _) => {
            Err("packets of interleaved mode are not read")
        }
        _ => Ok(()), // types 0, 30 and 31 are unspecified and have to be ignored (section 5.2)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::Codec;
    use crate::proto::bits::push_nal;
    use crate::proto::rtp::DepacketizeError;
    use crate::proto::rtp::Depacketizer as Whole;
    use crate::proto::rtp::HEADER_LEN;
    use crate::proto::rtp::testing::noise;
    use crate::proto::rtp::testing::packet;
    use crate::proto::rtp::testing::packets;
    use crate::proto::rtp::testing::track;
    use crate::proto::rtp::testing::unit;
    use crate::proto::rtp::testing::units;

    const SPS: [u8; 10] = [0x67, 0x42, 0xc0, 0x0d, 0xda, 0x05, 0x07, 0xec, 0x04, 0x40];
    const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];
    const IDR: [u8; 4] = [0x65, 0x88, 0x84, 0x21];
    const SLICE: [u8; 3] = [0x41, 0x9a, 0x22];
    /// A slice that is not the first of its picture.
    const LATER_SLICE: [u8; 3] = [0x41, 0x42, 0x22];

    fn h264() -> Track {
        track(Codec::H264, 90_000, Some("packetization-mode=1"))
    }

    fn annexb(nals: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        nals.iter().for_each(|nal| push_nal(&mut out, nal));
        out
    }

    fn payloads(packets: &[Vec<u8>]) -> Vec<&[u8]> {
        packets.iter().map(|p| &p[HEADER_LEN..]).collect()
    }

    #[test]
    fn small_nal_units_travel_alone_and_only_the_last_has_the_marker() {
        let aud_and_filler: [&[u8]; 6] = [&[9, 0xf0], &SPS, &PPS, &[12, 0xff, 0x80], &IDR, &[12, 0xff, 0x80]];
        let out = packets(
            &h264(),
            1400,
            &[unit(&h264(), 3000, true, annexb(&aud_and_filler))],
        );
        assert_eq!(payloads(&out), [&SPS[..], &PPS, &IDR]);
        assert_eq!(out.iter().map(|p| p[1]).collect::<Vec<_>>(), [96, 96, 0x80 | 96]);
        assert!(out.iter().all(|p| p[4..8] == 3000u32.to_be_bytes()));
    }

    #[test]
    fn a_large_nal_unit_travels_in_equal_fragments() {
        let mut idr = IDR.to_vec();
        idr.extend(noise(1, 197)); // 200 behind the NAL header
        let out = packets(&h264(), 100, &[unit(&h264(), 0, true, annexb(&[&idr]))]);
        // 200 bytes in fragments of at most 98: three, of 67, 67 and 66.
        assert_eq!(
            payloads(&out).iter().map(|p| p.len()).collect::<Vec<_>>(),
            [69, 69, 68]
        );
        assert_eq!(
            payloads(&out).iter().map(|p| [p[0], p[1]]).collect::<Vec<_>>(),
            [[0x7c, 0x85], [0x7c, 0x05], [0x7c, 0x45]]
        );
        assert_eq!(out.iter().map(|p| p[1] >> 7).collect::<Vec<_>>(), [0, 0, 1]);
        let joined: Vec<u8> = payloads(&out).iter().flat_map(|p| p[2..].to_vec()).collect();
        assert_eq!(joined, idr[1..]);
    }

    #[test]
    fn an_aggregation_packet_is_taken_apart() {
        let mut stap = vec![0x78];
        for nal in [&SPS[..], &PPS, &IDR] {
            stap.extend_from_slice(&[0, nal.len() as u8]);
            stap.extend_from_slice(nal);
        }
        let got = units(&h264(), &[packet(1, 9, true, &stap)]);
        assert_eq!(got, [unit(&h264(), 9, true, annexb(&[&SPS, &PPS, &IDR]))]);
        stap.pop();
        let error = Whole::new(&h264()).unwrap().push(&packet(1, 9, true, &stap));
        assert_eq!(
            error,
            Ok(()),
            "the first packet stands behind a gap, so nobody is blamed"
        );
        let mut second = Whole::new(&h264()).unwrap();
        second.push(&packet(0, 0, true, &SLICE)).unwrap();
        assert!(matches!(
            second.push(&packet(1, 9, true, &stap)),
            Err(DepacketizeError::Malformed { .. })
        ));
        assert_eq!(second.pull().map(|u| u.pts.ticks), Some(0));
        assert_eq!((second.pull(), second.dropped()), (None, 1));
    }

    #[test]
    fn a_unit_without_marker_ends_where_the_time_stamp_changes() {
        let stream = [
            packet(1, 0, false, &SLICE),
            packet(2, 3000, false, &SLICE),
            packet(3, 3000, false, &LATER_SLICE),
            packet(4, 6000, false, &SLICE),
        ];
        let got = units(&h264(), &stream);
        assert_eq!(
            got,
            [
                unit(&h264(), 0, false, annexb(&[&SLICE])),
                unit(&h264(), 3000, false, annexb(&[&SLICE, &LATER_SLICE])),
            ]
        );
    }

    #[test]
    fn parameter_sets_with_a_marker_of_their_own_join_the_next_picture() {
        let stream = [
            packet(1, 0, true, &SPS),
            packet(2, 0, true, &PPS),
            packet(3, 3000, true, &IDR),
        ];
        assert_eq!(
            units(&h264(), &stream),
            [unit(&h264(), 3000, true, annexb(&[&SPS, &PPS, &IDR]))]
        );
    }

    #[test]
    fn a_keyframe_without_parameter_sets_gets_those_of_sdp_and_later_the_newest() {
        let track = track(Codec::H264, 90_000, Some(&h264::fmtp(&SPS, &PPS)));
        let newer = [0x67, 0x42, 0xc0, 0x1e, 0xda, 0x05];
        let stream = [
            packet(1, 0, true, &IDR),
            packet(2, 1, true, &SLICE),
            packet(3, 2, false, &newer),
            packet(4, 2, false, &PPS),
            packet(5, 2, true, &IDR),
            packet(6, 3, true, &IDR),
            packet(7, 4, false, &newer),
            packet(8, 4, true, &IDR),
        ];
        let got = units(&track, &stream);
        assert_eq!(got[0].data, annexb(&[&SPS, &PPS, &IDR]));
        assert_eq!(
            (got[1].keyframe, &got[1].data[..]),
            (false, &annexb(&[&SLICE])[..])
        );
        assert_eq!(got[2].data, annexb(&[&newer, &PPS, &IDR]));
        assert_eq!(got[3].data, annexb(&[&newer, &PPS, &IDR]));
        assert_eq!(
            got[4].data,
            annexb(&[&newer, &PPS, &newer, &IDR]),
            "the PPS must follow an SPS"
        );
    }

    #[test]
    fn quirk_gstreamer_repeats_parameter_sets_before_each_slice() {
        let later = [0x65, 0x42, 0x21];
        let nals: [&[u8]; 6] = [&SPS, &PPS, &IDR, &SPS, &PPS, &later];
        let stream: Vec<_> = (0u16..)
            .zip(nals)
            .map(|(i, nal)| packet(i, 0, i == 5, nal))
            .collect();
        assert_eq!(
            units(&h264(), &stream),
            [unit(&h264(), 0, true, annexb(&[&SPS, &PPS, &IDR, &later]))]
        );
    }

    #[test]
    fn a_recovery_point_is_a_keyframe_too() {
        let sei = [6, 6, 1, 0x80, 0x80];
        let got = units(&h264(), &[packet(1, 0, false, &sei), packet(2, 0, true, &SLICE)]);
        assert_eq!(got, [unit(&h264(), 0, true, annexb(&[&sei, &SLICE]))]);
    }

    #[test]
    fn a_lost_fragment_drops_its_unit_and_no_other() {
        let mut idr = IDR.to_vec();
        idr.extend(noise(2, 500));
        let slices = [annexb(&[&IDR]), annexb(&[&idr]), annexb(&[&SLICE])];
        let sent: Vec<_> = slices
            .iter()
            .enumerate()
            .map(|(i, s)| unit(&h264(), i as i64 * 3000, i < 2, s.clone()))
            .collect();
        let all = packets(&h264(), 100, &sent);
        for lost in 1..all.len() - 1 {
            let mut depacketizer = Whole::new(&h264()).unwrap();
            let mut got = Vec::new();
            for (i, p) in all.iter().enumerate().filter(|&(i, _)| i != lost) {
                depacketizer.push(p).unwrap();
                // Duplicates and stragglers change nothing.
                depacketizer.push(p).unwrap();
                depacketizer.push(&all[i.saturating_sub(3)]).unwrap();
                got.extend(std::iter::from_fn(|| depacketizer.pull()));
            }
            assert_eq!(got, [sent[0].clone(), sent[2].clone()], "without packet {lost}");
            assert_eq!((depacketizer.lost(), depacketizer.dropped()), (1, 1));
        }
    }

    #[test]
    fn behind_a_loss_a_unit_needs_its_first_slice() {
        let mut depacketizer = Whole::new(&h264()).unwrap();
        for p in [
            packet(1, 0, true, &LATER_SLICE), // joined in the middle
            packet(2, 1, true, &SLICE),
            packet(4, 2, true, &LATER_SLICE), // its beginning was number 3
            packet(6, 3, true, &SLICE),       // number 5 was a unit of its own
        ] {
            depacketizer.push(&p).unwrap();
        }
        let got: Vec<_> = std::iter::from_fn(|| depacketizer.pull())
            .map(|u| u.pts.ticks)
            .collect();
        assert_eq!(got, [1, 3]);
        assert_eq!((depacketizer.lost(), depacketizer.dropped()), (2, 2));
    }

    #[test]
    fn a_unit_beyond_every_bound_is_dropped() {
        let mut depacketizer = Whole::new(&h264()).unwrap();
        depacketizer.push(&packet(0, 0, true, &SLICE)).unwrap();
        let body = vec![0xff; 60_000];
        let mut sequence = 1;
        let mut refused = 0;
        for i in 0..200 {
            let mut fu = vec![0x7c, if i == 0 { 0x85 } else { 0x05 }];
            fu.extend_from_slice(&body);
            refused += u32::from(depacketizer.push(&packet(sequence, 1, false, &fu)).is_err());
            sequence += 1;
        }
        depacketizer
            .push(&packet(sequence, 1, true, &[0x7c, 0x45]))
            .unwrap();
        depacketizer.push(&packet(sequence + 1, 2, true, &SLICE)).unwrap();
        assert_eq!(refused, 1);
        let got: Vec<_> = std::iter::from_fn(|| depacketizer.pull())
            .map(|u| u.pts.ticks)
            .collect();
        assert_eq!((got, depacketizer.dropped()), (vec![0, 2], 1));
    }

    #[test]
    fn interleaved_mode_is_not_taken() {
        assert!(Whole::new(&track(Codec::H264, 90_000, Some("packetization-mode=2"))).is_none());
    }

    proptest! {
        #[test]
        fn what_is_packetized_comes_back(
            max_payload in 100usize..2000,
            sizes in proptest::collection::vec(2usize..6000, 1..6),
        ) {
            let mut nals: Vec<Vec<u8>> = vec![SPS.to_vec(), PPS.to_vec()];
            for (i, size) in sizes.iter().enumerate() {
                let mut nal = vec![0x65, if i == 0 { 0x88 } else { 0x42 }];
                nal.extend(noise(*size as u32, size - 2));
                nals.push(nal);
            }
            let data = annexb(&nals.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let sent = [unit(&h264(), 0, true, data.clone()), unit(&h264(), 3000, true, data)];
            let packets = packets(&h264(), max_payload, &sent);
            prop_assert!(packets.iter().all(|p| p.len() <= max_payload + HEADER_LEN));
            prop_assert_eq!(units(&h264(), &packets), sent);
        }
    }
}
