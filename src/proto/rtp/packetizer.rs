//! Access units into RTP packets, for the codecs we read or make ourselves.
//!
//! Not here: packets that arrive as packets; those are passed on untouched.

use crate::base::time::Rate;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::Track;
use crate::proto::jpeg::JpegError;
use crate::proto::rtp::aac;
use crate::proto::rtp::h264;
use crate::proto::rtp::h265;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::jpeg;
use crate::proto::rtp::mpeg4;
use crate::proto::rtp::simple;

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
    H264,
    H265,
    Mpeg4,
    Jpeg,
    Aac,
    Opus,
    /// G.711 with this many channels.
    Samples(usize),
    Ts,
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
            Codec::H264 => Cut::H264,
            Codec::H265 => Cut::H265,
            Codec::Mpeg4Visual => Cut::Mpeg4,
            Codec::Jpeg => Cut::Jpeg,
            Codec::Aac => Cut::Aac,
            Codec::Opus => Cut::Opus,
            Codec::Pcma | Codec::Pcmu => Cut::Samples(track.channels.unwrap_or(1).into()),
            Codec::MpegTs => Cut::Ts,
            Codec::AacLatm | Codec::Vp8 | Codec::Vp9 | Codec::Other => return None,
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
    /// The last packet of a picture or an AU of AAC has the marker; with G.711, Opus and transport streams the
    /// marker means something else and stays off.
    pub fn packetize(&mut self, unit: &AccessUnit, out: &mut Vec<Vec<u8>>) {
        let timestamp = unit.pts.rescale(self.rate).rtp();
        let (writer, data) = (&mut self.writer, &unit.data);
        match self.cut {
            Cut::H264 => h264::packetize(writer, data, timestamp, out),
            Cut::H265 => h265::packetize(writer, data, timestamp, out),
            Cut::Mpeg4 => mpeg4::packetize(writer, data, timestamp, out),
            Cut::Jpeg => self.refused = jpeg::packetize(writer, data, timestamp, out).err(),
            Cut::Aac => aac::packetize(writer, data, timestamp, out),
            Cut::Opus => simple::packetize_whole(writer, data, timestamp, out),
            Cut::Samples(channels) => simple::packetize_samples(writer, data, timestamp, channels, out),
            Cut::Ts => simple::packetize_ts(writer, data, timestamp, out),
        }
    }

    /// Why the unit before was not sent, which only happens to JPEG.
    pub fn refused(&self) -> Option<JpegError> {
        self.refused
    }

    /// The sequence number of the next packet.
    pub fn next_sequence(&self) -> u16 {
        self.writer.sequence
    }
}
