//! RTP packets into access units: order, loss, time and bounds. How payloads join is each codec's own file.
//!
//! Not here: waiting for packets that are late. Whoever reads UDP may sort before; here they are lost.

use std::collections::VecDeque;
use std::fmt::Debug;

use bytes::Bytes;

use crate::base::time::MediaTime;
use crate::base::time::Timeline;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::rtp::aac;
use crate::proto::rtp::ac3;
use crate::proto::rtp::av1;
use crate::proto::rtp::h264;
use crate::proto::rtp::h265;
use crate::proto::rtp::header::Header;
use crate::proto::rtp::header::RtpError;
use crate::proto::rtp::jpeg;
use crate::proto::rtp::mpa;
use crate::proto::rtp::mpeg2;
use crate::proto::rtp::mpeg4;
use crate::proto::rtp::order::Arrival;
use crate::proto::rtp::order::Order;
use crate::proto::rtp::pictures::Assemble;
use crate::proto::rtp::pictures::Pictures;
use crate::proto::rtp::pieces;
use crate::proto::rtp::simple;
use crate::proto::rtp::vorbis;
use crate::proto::rtp::vp8;
use crate::proto::rtp::vp9;

/// The most bytes of an access unit; a larger one is dropped.
pub const MAX_UNIT: usize = 8 * 1024 * 1024;
/// The most units that wait for [`Depacketizer::pull`]; beyond, the oldest is dropped and counted.
const MAX_READY: usize = 256;

/// Puts the packets of one track together again.
///
/// A unit ends with the marker bit, or where the time stamp changes (there are cameras that forget the
/// marker). A unit that lost a packet is dropped and counted, never given out in part; the next whole one
/// comes as it is, keyframe or not, because decoders conceal what is missing.
#[derive(Debug)]
pub struct Depacketizer {
    codec: Codec,
    payload_type: u8,
    order: Order,
    join: Join,
    /// A packet was lost since the last one with a payload.
    gap: bool,
    lost: u64,
    out: Output,
}

/// Why a packet could not be used. Later packets may be pushed all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DepacketizeError {
    #[error(transparent)]
    Header(#[from] RtpError),
    #[error("rtp: payload type {got} in a track of type {want}; the packet is passed over")]
    PayloadType { got: u8, want: u8 },
    #[error("rtp: {codec}: {what}; the access unit is dropped")]
    Malformed { codec: Codec, what: &'static str },
}

/// What is wrong with a payload.
pub(super) type Fault = &'static str;

/// How payloads join.
#[derive(Debug)]
enum Join {
    Pictures(Pictures),
    Frames(Box<dyn TakeFrames>),
    /// Every payload is a unit.
    Whole,
    /// The same; it has whole samples of all channels, of so many bytes together.
    Samples(usize),
    /// Every payload is some packets of a transport stream.
    Ts,
}

impl Join {
    fn pictures(assembly: impl Assemble + 'static) -> Self {
        Self::Pictures(Pictures::new(assembly))
    }

    fn frames(frames: impl TakeFrames + 'static) -> Self {
        Self::Frames(Box::new(frames))
    }
}

/// Codecs whose packets have one frame, several, or a part of one.
pub(super) trait TakeFrames: Debug + Send + Sync {
    /// Takes what a packet brought.
    fn packet(&mut self, came: &Came<'_>, out: &mut Output) -> Result<(), Fault>;
}

/// A packet that came.
pub(super) struct Came<'a> {
    /// Not empty.
    pub(super) payload: &'a [u8],
    pub(super) header: &'a Header,
    /// When it was sent, by its timestamp.
    pub(super) pts: MediaTime,
    /// The packet before it was lost.
    pub(super) gap: bool,
}

impl Depacketizer {
    /// A depacketizer for `track`, or `None` if there is none for its codec or its mode.
    pub fn new(track: &Track) -> Option<Self> {
        let join = match track.codec {
            Codec::Av1 => Join::pictures(av1::Depacketizer::default()),
            Codec::H264 => Join::pictures(h264::depacketizer(track)?),
            Codec::H265 => Join::pictures(h265::depacketizer(track)?),
            Codec::Jpeg => Join::pictures(jpeg::Depacketizer::default()),
            Codec::Mpeg2Video => Join::pictures(mpeg2::Depacketizer::default()),
            Codec::Mpeg4Visual => Join::pictures(mpeg4::Depacketizer::new(track)),
            Codec::Vp8 => Join::pictures(vp8::Depacketizer::default()),
            Codec::Vp9 => Join::pictures(vp9::Depacketizer::default()),
            Codec::AacLatm => Join::pictures(pieces::Depacketizer::latm()),
            Codec::Klv => Join::pictures(pieces::Depacketizer::klv()),
            Codec::Aac => Join::frames(aac::Depacketizer::new(track)?),
            Codec::Ac3 => Join::frames(ac3::Depacketizer::default()),
            Codec::MpegAudio => Join::frames(mpa::Depacketizer::default()),
            Codec::Vorbis => Join::frames(vorbis::Depacketizer::default()),
            Codec::Opus => Join::Whole,
            Codec::G722 | Codec::Lpcm | Codec::Pcma | Codec::Pcmu => {
                Join::Samples(simple::tick_bytes(track)?)
            }
            Codec::MpegTs => Join::Ts,
            Codec::Other => return None,
        };
        Some(Self {
            codec: track.codec,
            payload_type: track.payload_type,
            order: Order::default(),
            join,
            gap: false,
            lost: 0,
            out: Output::new(track),
        })
    }

    /// The packet with this header comes next, and nothing before it was lost. Otherwise the first packet stands
    /// behind a gap.
    pub(super) fn go_on_at(&mut self, header: &Header) {
        self.order = Order::at(header);
    }

    /// Takes a whole RTP packet. Packets that come twice or too late are passed over.
    ///
    /// # Errors
    /// If the packet is not RTP, of another payload type, or its payload makes no sense.
    pub fn push(&mut self, packet: &[u8]) -> Result<(), DepacketizeError> {
        let header = Header::parse(packet)?;
        if header.payload_type != self.payload_type {
            return Err(DepacketizeError::PayloadType {
                got: header.payload_type,
                want: self.payload_type,
            });
        }
        match self.order.arrive(&header) {
            Arrival::Late => return Ok(()),
            Arrival::Next => {}
            Arrival::AfterGap(lost) => {
                self.lost += u64::from(lost);
                self.gap = true;
            }
        }
        let payload = packet.get(header.payload.clone()).unwrap_or_default();
        self.payload(&header, payload)
            .map_err(|what| DepacketizeError::Malformed {
                codec: self.codec,
                what,
            })
    }

    /// The next whole unit, in the order in which they were sent.
    pub fn pull(&mut self) -> Option<AccessUnit> {
        self.out.ready.pop_front()
    }

    /// Packets that never came, so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Units that were begun and dropped because something was missing or wrong, so far.
    pub fn dropped(&self) -> u64 {
        self.out.dropped
    }

    fn payload(&mut self, header: &Header, payload: &[u8]) -> Result<(), Fault> {
        if let Join::Pictures(pictures) = &mut self.join {
            return pictures.packet(header, payload, &mut self.gap, &mut self.out);
        }
        if payload.is_empty() {
            return Ok(()); // keeps a firewall open, or is all padding
        }
        let gap = std::mem::take(&mut self.gap);
        let pts = self.out.extend(header.timestamp);
        match &mut self.join {
            Join::Frames(frames) => {
                let came = Came {
                    payload,
                    header,
                    pts,
                    gap,
                };
                return frames.packet(&came, &mut self.out);
            }
            Join::Ts => simple::check_ts(payload)?,
            Join::Samples(bytes) if !payload.len().is_multiple_of(*bytes) => {
                return Err("a sample is cut off");
            }
            Join::Whole | Join::Samples(_) | Join::Pictures(_) => {}
        }
        self.out.emit(pts, true, payload.to_vec());
        Ok(())
    }
}

/// Units on their way to the caller.
#[derive(Debug)]
pub(super) struct Output {
    track: TrackId,
    timeline: Timeline,
    ready: VecDeque<AccessUnit>,
    dropped: u64,
}

impl Output {
    fn new(track: &Track) -> Self {
        Self {
            track: track.id,
            timeline: Timeline::new(track.rate),
            ready: VecDeque::new(),
            dropped: 0,
        }
    }

    /// The full time of an RTP time stamp.
    pub(super) fn extend(&mut self, timestamp: u32) -> MediaTime {
        self.timeline.extend(timestamp)
    }

    /// Counts a unit that was begun and will not come.
    pub(super) fn dropped(&mut self) {
        self.dropped += 1;
    }

    /// Hands a unit to the caller.
    pub(super) fn emit(&mut self, pts: MediaTime, keyframe: bool, data: Vec<u8>) {
        if self.ready.len() >= MAX_READY {
            self.ready.pop_front();
            self.dropped();
        }
        self.ready.push_back(AccessUnit {
            track: self.track,
            pts,
            keyframe,
            data: Bytes::from(data),
        });
    }
}

/// Checks that a unit of `length` bytes may grow by `more`.
pub(super) fn fits(length: usize, more: usize) -> Result<(), Fault> {
    if length + more > MAX_UNIT {
        Err("the access unit is larger than 8 MB")
    } else {
        Ok(())
    }
}
