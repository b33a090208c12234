//! RTP: headers, and the way of access units into packets and back, one file per codec.
//!
//! Packets of published streams are passed on as they come and meet only [`Header`] and [`starts_keyframe`];
//! [`Packetizer`] is for what we make ourselves, [`Depacketizer`] for what we look into, [`Repacketizer`] for packets
//! that no datagram can take. All of it is pure: no sockets, no clock; no input makes it panic, and every buffer has
//! a bound.
//!
//! Not here: RTCP's rules of when to report, SDP, and sending.

mod aac;
mod ac3;
mod av1;
mod depacketizer;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
mod h264;
mod h265;
mod header;
mod join;
mod jpeg;
mod learned;
mod mpa;
mod mpeg2;
mod mpeg4;
mod nals;
mod order;
mod packetizer;
mod partial;
mod pictures;
mod pieces;
#[cfg(test)]
mod real;
mod repacketizer;
pub mod rtcp;
mod simple;
pub mod srtp;
#[cfg(test)]
pub(super) mod testing;
mod vorbis;
mod vp8;
mod vp9;

pub use depacketizer::DepacketizeError;
pub use depacketizer::Depacketizer;
pub use depacketizer::MAX_UNIT;
pub use header::HEADER_LEN;
pub use header::Header;
pub use header::RtpError;
pub use join::carries_parameter_sets;
pub use join::parameter_set_payloads;
pub use join::starts_keyframe;
pub use learned::learn_parameter_sets;
pub use packetizer::Packetizer;
pub use repacketizer::Repacketizer;

use crate::base::time::Rate;
use crate::media::Codec;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::h264 as h264_stream;

/// The first of the payload types that have no fixed meaning (RFC 3551 section 6).
const FIRST_DYNAMIC: u8 = 96;

/// A track of H.264 that we make ourselves, with these parameter sets (NAL units without start codes).
pub fn h264_track(id: TrackId, sps: &[u8], pps: &[u8]) -> Track {
    Track {
        id,
        kind: MediaKind::Video,
        codec: Codec::H264,
        payload_type: (FIRST_DYNAMIC + id.0 % 32).min(127),
        rate: Rate::VIDEO,
        encoding: "H264".into(),
        channels: None,
        fmtp: Some(h264_stream::fmtp(sps, pps)),
    }
}

/// A track of Motion JPEG that we make ourselves: the fixed payload type 26 (RFC 3551).
pub fn jpeg_track(id: TrackId) -> Track {
    Track {
        id,
        kind: MediaKind::Video,
        codec: Codec::Jpeg,
        payload_type: 26,
        rate: Rate::VIDEO,
        encoding: "JPEG".into(),
        channels: None,
        fmtp: None,
    }
}
