//! Codecs whose payload is the unit itself: G.711, G.722 and plain samples (RFC 3551, RFC 3190), Opus (RFC 7587),
//! transport streams (RFC 2250).
//!
//! Not here: what is in them.

use crate::media::Codec;
use crate::media::Track;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::header::Writer;

/// Bytes of a transport stream packet.
const TS_PACKET: usize = 188;
/// The first byte of each.
const TS_SYNC: u8 = 0x47;

/// Bytes that all channels take for one tick of the track's clock; `None` for samples of other sizes.
///
/// G.722 takes 16,000 samples of half a byte in a second, but its clock runs at 8000, by an old mistake that
/// everyone keeps (RFC 3551 section 4.5.2): a byte for each tick, as with G.711.
pub(super) fn tick_bytes(track: &Track) -> Option<usize> {
    let bytes = match (track.codec, track.encoding.to_ascii_uppercase().as_str()) {
        (Codec::Lpcm, "L16") => 2,
        (Codec::Lpcm, "L24") => 3,
        (Codec::Lpcm, "L8") | (Codec::G722 | Codec::Pcma | Codec::Pcmu, _) => 1,
        _ => return None,
    };
    Some(bytes * usize::from(track.channels.unwrap_or(1).max(1)))
}

/// Sends samples of so many bytes; what is too long goes in several packets, each with its own time. The marker
/// stays off: it would mean that sound comes back after silence (RFC 3551 section 4.1).
pub(super) fn packetize_samples(
    writer: &mut Writer,
    unit: &[u8],
    timestamp: u32,
    bytes: usize,
    out: &mut Vec<Vec<u8>>,
) {
    let samples = (writer.max_payload / bytes).max(1);
    let mut timestamp = timestamp;
    for part in unit.chunks(samples * bytes) {
        writer.packet(out, false, timestamp, &[part]);
        timestamp = timestamp.wrapping_add((part.len() / bytes) as u32);
    }
}

/// Sends a unit that must stay whole, whatever its size; one that no datagram could take is left out.
pub(super) fn packetize_whole(writer: &mut Writer, unit: &[u8], timestamp: u32, out: &mut Vec<Vec<u8>>) {
    if !unit.is_empty() && unit.len() <= super::packetizer::MAX_PAYLOAD {
        writer.packet(out, false, timestamp, &[unit]);
    }
}

/// Sends whole packets of a transport stream, as many as fit (seven, usually). The marker stays off: it would
/// mean that the time line jumps (RFC 2250 section 2).
pub(super) fn packetize_ts(writer: &mut Writer, unit: &[u8], timestamp: u32, out: &mut Vec<Vec<u8>>) {
    let fitting = (writer.max_payload / TS_PACKET).max(1);
    for part in unit.chunks(fitting * TS_PACKET) {
        writer.packet(out, false, timestamp, &[part]);
    }
}

/// Checks that a payload has whole transport stream packets.
pub(super) fn check_ts(payload: &[u8]) -> Result<(), Fault> {
    if !payload.len().is_multiple_of(TS_PACKET) {
        return Err("a transport stream packet is cut off");
    }
    if payload.chunks(TS_PACKET).any(|packet| packet[0] != TS_SYNC) {
        return Err("a transport stream packet does not begin with its sync byte");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::Codec;
    use crate::proto::rtp::Depacketizer;
    use crate::proto::rtp::HEADER_LEN;
    use crate::proto::rtp::testing::noise;
    use crate::proto::rtp::testing::packet;
    use crate::proto::rtp::testing::packets;
    use crate::proto::rtp::testing::track;
    use crate::proto::rtp::testing::unit;
    use crate::proto::rtp::testing::units;

    #[test]
    fn long_sound_goes_in_several_packets_that_each_have_their_time() {
        let mut stereo = track(Codec::Pcma, 8000, None);
        stereo.channels = Some(2);
        let out = packets(&stereo, 101, &[unit(&stereo, 800, true, noise(1, 250))]);
        assert_eq!(
            out.iter().map(|p| p.len() - HEADER_LEN).collect::<Vec<_>>(),
            [100, 100, 50]
        );
        let times: Vec<_> = units(&stereo, &out).iter().map(|u| u.pts.ticks).collect();
        assert_eq!(times, [800, 850, 900]);
        assert!(out.iter().all(|p| p[1] == 96));
    }

    #[test]
    fn opus_is_never_cut() {
        let opus = track(Codec::Opus, 48_000, None);
        let sent = [
            unit(&opus, 0, true, noise(1, 1275)),
            unit(&opus, 960, true, noise(2, 3)),
        ];
        assert_eq!(units(&opus, &packets(&opus, 100, &sent)), sent);
        assert!(packets(&opus, 100, &[unit(&opus, 0, true, [])]).is_empty());
    }

    #[test]
    fn plain_samples_are_cut_between_samples_of_all_channels() {
        let l24 = Track {
            encoding: "l24".into(),
            channels: Some(2),
            ..track(Codec::Lpcm, 48_000, None)
        };
        let sent = unit(&l24, 1000, true, noise(1, 40 * 6));
        let out = packets(&l24, 100, &[sent]);
        let sizes: Vec<_> = out.iter().map(|p| p.len() - HEADER_LEN).collect();
        let times: Vec<_> = units(&l24, &out).iter().map(|u| u.pts.ticks).collect();
        assert_eq!((sizes, times), (vec![96, 96, 48], vec![1000, 1016, 1032]));
        let mut depacketizer = Depacketizer::new(&l24).unwrap();
        assert!(depacketizer.push(&packet(0, 0, false, &[0; 7])).is_err());
        let l20 = Track {
            encoding: "L20".into(),
            ..l24
        };
        assert!(Depacketizer::new(&l20).is_none(), "samples that share bytes");
    }

    #[test]
    fn the_clock_of_g722_runs_at_8000() {
        let g722 = track(Codec::G722, 8000, None);
        let out = packets(&g722, 100, &[unit(&g722, 0, true, noise(1, 160))]);
        let times: Vec<_> = units(&g722, &out).iter().map(|u| u.pts.ticks).collect();
        assert_eq!(times, [0, 100]);
    }

    #[test]
    fn a_transport_stream_goes_in_whole_packets() {
        let ts = track(Codec::MpegTs, 90_000, None);
        let data: Vec<u8> = (0..9u8)
            .flat_map(|i| [&[TS_SYNC][..], &[i; 187]].concat())
            .collect();
        let out = packets(&ts, 1400, &[unit(&ts, 0, true, data.clone())]);
        assert_eq!(
            out.iter().map(|p| p.len() - HEADER_LEN).collect::<Vec<_>>(),
            [7 * 188, 2 * 188]
        );
        assert_eq!(
            units(&ts, &out)
                .iter()
                .flat_map(|u| u.data.to_vec())
                .collect::<Vec<_>>(),
            data
        );
        let mut depacketizer = Depacketizer::new(&ts).unwrap();
        assert!(depacketizer.push(&packet(0, 0, false, &data[..187])).is_err());
        assert!(depacketizer.push(&packet(1, 0, false, &data[1..189])).is_err());
    }

    #[test]
    fn sound_does_not_mind_losses_and_counts_them() {
        let g711 = track(Codec::Pcmu, 8000, None);
        let mut depacketizer = Depacketizer::new(&g711).unwrap();
        depacketizer.push(&packet(1, 0, false, &[1, 2])).unwrap();
        depacketizer.push(&packet(4, 480, false, &[3])).unwrap();
        depacketizer.push(&packet(2, 160, false, &[9])).unwrap();
        depacketizer.push(&packet(5, 640, false, &[])).unwrap();
        let got: Vec<_> = std::iter::from_fn(|| depacketizer.pull()).collect();
        assert_eq!(got, [unit(&g711, 0, true, [1, 2]), unit(&g711, 480, true, [3])]);
        assert_eq!((depacketizer.lost(), depacketizer.dropped()), (2, 0));
    }

    #[test]
    fn units_that_nobody_pulls_do_not_pile_up() {
        let g711 = track(Codec::Pcmu, 8000, None);
        let mut depacketizer = Depacketizer::new(&g711).unwrap();
        for i in 0..300u16 {
            depacketizer
                .push(&packet(i, u32::from(i) * 160, false, &[1]))
                .unwrap();
        }
        assert_eq!(depacketizer.dropped(), 44);
        assert_eq!(depacketizer.pull().map(|u| u.pts.ticks), Some(44 * 160));
    }

    proptest! {
        #[test]
        fn what_is_packetized_comes_back(max_payload in 100usize..2000, size in 1usize..6000) {
            let g711 = track(Codec::Pcmu, 8000, None);
            let sent = unit(&g711, 0, true, noise(size as u32, size));
            let got = units(&g711, &packets(&g711, max_payload, std::slice::from_ref(&sent)));
            prop_assert_eq!(got.iter().flat_map(|u| u.data.to_vec()).collect::<Vec<_>>(), sent.data.to_vec());
        }
    }
}
