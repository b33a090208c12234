//! Targets for what publishers and cameras send as media.
//!
//! Not here: their bodies for RTP, which are in [`rtp::fuzz`]; these add what the program does with units.

use crate::base::time::MediaTime;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::proto::jpeg;
use crate::proto::mpegts;
use crate::proto::rtp;
use crate::proto::rtp::fuzz;

/// Packets of a codec into units, and those into packets and MPEG-TS again; or a unit there and back. The first
/// byte chooses.
pub(super) fn codec(codec: Codec, data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    if choice & 1 == 1 {
        return fuzz::round_trip(codec, data);
    }
    let track = fuzz::track_of(codec);
    let mut muxer = mpegts::Muxer::new(std::slice::from_ref(&track));
    fuzz::packets(codec, data, |unit| muxed(muxer.as_mut(), unit));
}

/// A transport stream is whole packets, whatever is in them.
fn muxed(muxer: Option<&mut mpegts::Muxer>, unit: &AccessUnit) {
    let Some(muxer) = muxer else { return };
    let mut out = Vec::new();
    muxer.mux(unit, &mut out);
    let mut packets = out.chunks(mpegts::PACKET_LEN);
    assert!(packets.all(|p| p.len() == mpegts::PACKET_LEN && p[0] == 0x47));
}

/// A JPEG that RTP can carry is the same picture when it is written anew, and comes through RTP.
pub(super) fn jpeg(data: &[u8]) {
    fuzz::jpeg(data);
    let Ok(image) = jpeg::Image::parse(data) else {
        return;
    };
    let track = fuzz::track_of(Codec::Jpeg);
    let unit = AccessUnit {
        track: track.id,
        pts: MediaTime::new(0, track.rate),
        keyframe: true,
        data: image.to_file().into(),
    };
    let mut packetizer = rtp::Packetizer::new(&track, 7, 0, 200).expect("there is one for JPEG");
    let mut packets = Vec::new();
    packetizer.packetize(&unit, &mut packets);
    assert!(packets.iter().all(|p| p.len() <= rtp::HEADER_LEN + 200));
}
