//! H.265 in RTP, both directions (RFC 7798): single NAL units, aggregation packets (in only), fragments.
//!
//! Not here: PACI and decoding order numbers (`sprop-max-don-diff` above 0); nobody sends them. The bitstream
//! itself is in [`proto::h265`](crate::proto::h265).

use crate::media::Track;
use crate::proto::bits::nal_units;
use crate::proto::h265;
use crate::proto::h265::nal;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::nals;
use crate::proto::rtp::nals::NalAssembly;
use crate::proto::rtp::nals::Role;

/// Sends the NAL units of an Annex B access unit, large ones in equal fragments; without delimiters and filler.
pub(super) fn packetize(writer: &mut Writer, unit: &[u8], timestamp: u32, out: &mut Vec<Vec<u8>>) {
    let nals = nal_units(unit).filter(|nal| h265::nal_type(nal).is_some_and(travels));
    nals::packetize(writer, nals, timestamp, out, fu);
}

/// The three bytes before a fragment (section 4.4.3).
fn fu(&[first, second]: &[u8; 2], start: bool, end: bool) -> [u8; 3] {
    let flags = u8::from(start) << 7 | u8::from(end) << 6;
    [first & 0x81 | nal::FU << 1, second, flags | first >> 1 & 0x3f]
}

/// NAL units that are sent and kept: neither padding nor what would be taken for a structure of RTP.
fn travels(nal_type: u8) -> bool {
    nal_type <= nal::LAST_SINGLE && nal_type != nal::AUD && nal_type != nal::FILLER
}

/// What a NAL unit is to its access unit.
fn role(nal: &[u8]) -> Role {
    let Some(kind) = h265::nal_type(nal) else {
        return Role::Padding;
    };
    if let Some(id) = h265::parameter_set_id(nal) {
        Role::ParameterSet { kind, id }
    } else if h265::is_vcl(kind) {
        Role::Slice {
            first: h265::begins_picture(nal),
            keyframe: h265::is_irap(kind),
        }
    } else if travels(kind) {
        Role::Other { keyframe: false }
    } else {
        Role::Padding
    }
}

/// Puts access units together. Keyframes have a slice of an IRAP picture. `None` if packets carry decoding
/// order numbers.
pub(super) fn depacketizer(track: &Track) -> Option<NalAssembly> {
    if track.fmtp_param("sprop-max-don-diff").is_some_and(|v| v != "0") {
        return None;
    }
    Some(NalAssembly::new(role, take, &h265::parameter_sets(track)))
}

fn take(nals: &mut NalAssembly, payload: &[u8]) -> Result<(), Fault> {
    match (h265::nal_type(payload), payload) {
        (Some(0..=nal::LAST_SINGLE), _) => nals.whole(payload),
        (Some(nal::AP), [_, _, rest @ ..]) => nals.aggregated(rest),
        // Section 4.4.3: the type of the NAL unit stands in the third byte.
        (Some(nal::FU), &[first, second, fu, ref body @ ..]) => {
            let header = [first & 0x81 | (fu & 0x3f) << 1, second];
            nals.fragment((fu & 0x80 != 0).then_some(&header), body, fu & 0x40 != 0)
        }
        (Some(nal::FU), _) => Err("a fragment is shorter than its header"),
        (Some(nal::PACI), _) => Err("PACI packets are not read"),
        (Some(_), _) => Ok(()), // reserved and unspecified types have to be ignored (section 4.4)
        (None, _) => Err("a payload is shorter than its header"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::Codec;
    use crate::proto::bits::push_nal;
    use crate::proto::rtp::Depacketizer as Whole;
    use crate::proto::rtp::HEADER_LEN;
    use crate::proto::rtp::testing::noise;
    use crate::proto::rtp::testing::packet;
    use crate::proto::rtp::testing::packets;
    use crate::proto::rtp::testing::track;
    use crate::proto::rtp::testing::unit;
    use crate::proto::rtp::testing::units;

    const VPS: [u8; 5] = [0x40, 0x01, 0x0c, 0x01, 0xff];
    const SPS: [u8; 5] = [0x42, 0x01, 0x01, 0x01, 0x60];
    const PPS: [u8; 4] = [0x44, 0x01, 0xc1, 0x72];
    const AUD: [u8; 3] = [0x46, 0x01, 0x10];
    const IDR: [u8; 4] = [0x26, 0x01, 0xaf, 0x06];
    /// TRAIL_N, the type 0 that one client once refused as a single NAL unit.
    const TRAIL_N: [u8; 4] = [0x00, 0x01, 0xd0, 0x11];

    fn h265() -> Track {
        track(Codec::H265, 90_000, None)
    }

    fn annexb(nals: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        nals.iter().for_each(|nal| push_nal(&mut out, nal));
        out
    }

    #[test]
    fn small_nal_units_travel_alone_and_large_ones_in_equal_fragments() {
        let mut idr = IDR.to_vec();
        idr.extend(noise(1, 198)); // 200 behind the NAL header
        let out = packets(
            &h265(),
            100,
            &[unit(&h265(), 0, true, annexb(&[&AUD, &VPS, &idr]))],
        );
        assert_eq!(out[0][HEADER_LEN..], VPS);
        assert_eq!(
            out[1..].iter().map(|p| p.len() - HEADER_LEN).collect::<Vec<_>>(),
            [70, 70, 69]
        );
        let heads: Vec<_> = out[1..].iter().map(|p| &p[HEADER_LEN..HEADER_LEN + 3]).collect();
        assert_eq!(
            heads,
            [[0x62, 0x01, 0x93], [0x62, 0x01, 0x13], [0x62, 0x01, 0x53]]
        );
        assert_eq!(out.iter().map(|p| p[1] >> 7).collect::<Vec<_>>(), [0, 0, 0, 1]);
    }

    #[test]
    fn an_aggregation_packet_is_taken_apart() {
        let mut ap = vec![0x60, 0x01];
        for nal in [&VPS[..], &AUD, &IDR] {
            ap.extend_from_slice(&[0, nal.len() as u8]);
            ap.extend_from_slice(nal);
        }
        let stream = [packet(1, 0, true, &ap), packet(2, 1, true, &TRAIL_N)];
        assert_eq!(
            units(&h265(), &stream),
            [
                unit(&h265(), 0, true, annexb(&[&VPS, &IDR])),
                unit(&h265(), 1, false, annexb(&[&TRAIL_N])),
            ]
        );
    }

    #[test]
    fn a_keyframe_without_parameter_sets_gets_those_of_sdp() {
        let track = track(Codec::H265, 90_000, Some(&h265::fmtp(&VPS, &SPS, &PPS)));
        let got = units(&track, &[packet(1, 0, true, &IDR), packet(2, 1, true, &TRAIL_N)]);
        assert_eq!(got[0].data, annexb(&[&VPS, &SPS, &PPS, &IDR]));
        assert_eq!(got[1].data, annexb(&[&TRAIL_N]));
    }

    #[test]
    fn payloads_that_make_no_sense_are_refused() {
        let mut depacketizer = Whole::new(&h265()).unwrap();
        depacketizer.push(&packet(0, 0, true, &IDR)).unwrap();
        let bad: [&[u8]; 5] = [
            &[0x26],
            &[0x62, 1],
            &[0x62, 1, 0x13, 9],
            &[0x60, 1, 0, 9, 1],
            &[0x64, 1, 0, 0, 0],
        ];
        for (i, payload) in bad.into_iter().enumerate() {
            let i = i as u16 + 1;
            assert!(
                depacketizer.push(&packet(i, i.into(), true, payload)).is_err(),
                "{payload:02x?}"
            );
        }
        assert_eq!(depacketizer.dropped(), 5);
        assert!(Whole::new(&track(Codec::H265, 90_000, Some("sprop-max-don-diff=2"))).is_none());
    }

    proptest! {
        #[test]
        fn what_is_packetized_comes_back(
            max_payload in 100usize..2000,
            sizes in proptest::collection::vec(3usize..6000, 1..6),
        ) {
            let mut nals: Vec<Vec<u8>> = vec![VPS.to_vec(), SPS.to_vec(), PPS.to_vec()];
            for (i, size) in sizes.iter().enumerate() {
                let mut nal = vec![0x26, 0x01, if i == 0 { 0xaf } else { 0x2f }];
                nal.extend(noise(*size as u32, size - 3));
                nals.push(nal);
            }
            let data = annexb(&nals.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let sent = [unit(&h265(), 0, true, data.clone()), unit(&h265(), 3000, true, data)];
            let packets = packets(&h265(), max_payload, &sent);
            prop_assert!(packets.iter().all(|p| p.len() <= max_payload + HEADER_LEN));
            prop_assert_eq!(units(&h265(), &packets), sent);
        }
    }
}
