//! Access units into RTP packets, for the codecs we read or make ourselves.
//!
//! Not here: packets that arrive as packets; those are passed on untouched.

use crate::base::time::Rate;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::Track;
use crate::proto::jpeg::JpegError;
use crate::proto::rtp::aac;
use crate::proto::rtp::ac3;
use crate::proto::rtp::av1;
use crate::proto::rtp::h264;
use crate::proto::rtp::h265;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::jpeg;
use crate::proto::rtp::mpa;
use crate::proto::rtp::mpeg2;
use crate::proto::rtp::pieces;
use crate::proto::rtp::simple;
use crate::proto::rtp::vorbis;
use crate::proto::rtp::vp8;
use crate::proto::rtp::vp9;

/// Cuts the access units of one track into RTP packets with rising sequence numbers.
#[derive(Clone, Debug)]
pub struct Packetizer {
    writer: Writer,
    rate: Rate,
    cut: Cut,
    refused: Option<JpegError>,
}

/// How units are cut.
#[derive(Clone, Debug)]
enum Cut {
    Whole,
    /// In full packets, the last with the marker.
    Pieces,
    /// Whole samples of so many bytes.
    Samples(usize),
    Vorbis([u8; 3]),
    Jpeg,
    /// By a function of the codec.
    By(fn(&mut Writer, &[u8], u32, &mut Vec<Vec<u8>>)),
}

/// The smallest payload size that is honoured: every payload header fits with a few bytes of data.
const MIN_PAYLOAD: usize = 64;
/// The largest: with its header the packet still fits the 16-bit length of RTSP's interleaved frames.
pub(super) const MAX_PAYLOAD: usize = 65_000;

impl Packetizer {
    /// A packetizer for `track`, or `None` if there is none for its codec.
    ///
    /// `max_payload` is the most bytes behind the 12-byte RTP header; it is moved into 64..=65000,
    /// for JPEG into 192..=65000.
    pub fn new(track: &Track, ssrc: u32, first_sequence: u16, max_payload: usize) -> Option<Self> {
        let max_payload = max_payload.clamp(MIN_PAYLOAD, MAX_PAYLOAD);
        let cut = match track.codec {
            Codec::Aac => Cut::By(aac::packetize),
            Codec::Ac3 => Cut::By(ac3::packetize),
            Codec::Av1 => Cut::By(av1::packetize),
            Codec::H264 => Cut::By(h264::packetize),
            Codec::H265 => Cut::By(h265::packetize),
            Codec::Mpeg2Video => Cut::By(mpeg2::packetize),
            Codec::MpegAudio => Cut::By(mpa::packetize),
            Codec::MpegTs => Cut::By(simple::packetize_ts),
            Codec::Vp8 => Cut::By(vp8::packetize),
            Codec::Vp9 => Cut::By(vp9::packetize),
            Codec::AacLatm | Codec::Klv | Codec::Mpeg4Visual => Cut::Pieces,
            Codec::G722 | Codec::Lpcm | Codec::Pcma | Codec::Pcmu => Cut::Samples(simple::tick_bytes(track)?),
            Codec::Jpeg => Cut::Jpeg,
            Codec::Opus => Cut::Whole,
            Codec::Vorbis => Cut::Vorbis(vorbis::ident(track)),
            Codec::Other => return None,
        };
        let max_payload = if track.codec == Codec::Jpeg {
            max_payload.max(jpeg::MIN_PAYLOAD)
        } else {
            max_payload
        };
        let writer = Writer {
            payload_type: track.payload_type,
            ssrc,
            sequence: first_sequence,
            max_payload,
        };
        Some(Self {
            writer,
            rate: track.rate,
            cut,
            refused: None,
        })
    }

    /// Appends the packets of one access unit to `out`: whole RTP packets, all with the unit's time stamp.
    ///
    /// The last packet of a picture, a unit of KLV, or a frame of AAC or AC-3 has the marker; with other sound and
    /// transport streams the marker means something else and stays off.
    pub fn packetize(&mut self, unit: &AccessUnit, out: &mut Vec<Vec<u8>>) {
        let timestamp = unit.pts.rescale(self.rate).rtp();
        let (writer, data) = (&mut self.writer, &unit.data);
        match self.cut {
            Cut::Whole => simple::packetize_whole(writer, data, timestamp, out),
            Cut::Pieces => pieces::packetize(writer, data, timestamp, out),
            Cut::Samples(bytes) => simple::packetize_samples(writer, data, timestamp, bytes, out),
            Cut::Vorbis(ident) => vorbis::packetize(writer, data, timestamp, ident, out),
            Cut::Jpeg => self.refused = jpeg::packetize(writer, data, timestamp, out).err(),
            Cut::By(packetize) => packetize(writer, data, timestamp, out),
        }
    }

    /// Why the unit before was not sent, which only happens to JPEG.
    pub fn refused(&self) -> Option<JpegError> {
        self.refused
    }

    /// Leaves out so many sequence numbers, as if that many packets were lost.
    pub(super) fn skip(&mut self, packets: u16) {
        self.writer.sequence = self.writer.sequence.wrapping_add(packets);
    }

    /// The sequence number of the next packet.
    pub fn next_sequence(&self) -> u16 {
        self.writer.sequence
    }
}
