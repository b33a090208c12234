//! RTP packets into access units: order, loss, time and bounds. How payloads join is each codec's own file.
//!
//! Not here: waiting for packets that are late. Whoever reads UDP may sort before; here they are lost.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::time::MediaTime;
use crate::base::time::Timeline;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::rtp::h264;
use crate::proto::rtp::header::Header;
use crate::proto::rtp::header::RtpError;
use crate::proto::rtp::order::Arrival;
use crate::proto::rtp::order::Order;

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
    /// The unit that is coming in, for codecs with units of several packets.
    open: Option<Open>,
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
    Malformed { codec: Codec, what: Fault },
}

/// What is wrong with a payload.
pub(super) type Fault = &'static str;

/// How payloads join.
#[derive(Debug)]
enum Join {
    H264(h264::Depacketizer),
}

/// Units of several packets: how one codec puts them together.
pub(super) trait Assemble {
    /// Forgets what came in. `after_gap`: the packet before the next one was lost, or never seen.
    fn begin(&mut self, after_gap: bool);
    /// Appends a payload, which is not empty. After an error the rest of the unit is not shown.
    fn add(&mut self, payload: &[u8]) -> Result<(), Fault>;
    /// There is more than headers, so that a marker ends the unit.
    fn has_picture(&self) -> bool;
    /// The unit and whether it is a keyframe; `None` if its end is missing.
    fn finish(&mut self) -> Option<(Vec<u8>, bool)>;
}

#[derive(Clone, Copy, Debug)]
struct Open {
    timestamp: u32,
    time: MediaTime,
    after_gap: bool,
    /// Something is missing or wrong: the unit will be dropped.
    broken: bool,
}

/// Units on their way to the caller.
#[derive(Debug)]
struct Output {
    track: TrackId,
    timeline: Timeline,
    ready: VecDeque<AccessUnit>,
    dropped: u64,
}

impl Output {
    fn emit(&mut self, pts: MediaTime, keyframe: bool, data: Vec<u8>) {
        if self.ready.len() >= MAX_READY {
            self.ready.pop_front();
            self.dropped += 1;
        }
        self.ready.push_back(AccessUnit {
            track: self.track,
            pts,
            keyframe,
            data: Bytes::from(data),
        });
    }
}

impl Depacketizer {
    /// A depacketizer for `track`, or `None` if there is none for its codec or its mode.
    pub fn new(track: &Track) -> Option<Self> {
        let join = match track.codec {
            Codec::H264 => Join::H264(h264::Depacketizer::new(track)?),
            _ => return None,
        };
        Some(Self {
            codec: track.codec,
            payload_type: track.payload_type,
            order: Order::default(),
            join,
            open: None,
            gap: false,
            lost: 0,
            out: Output {
                track: track.id,
                timeline: Timeline::new(track.rate),
                ready: VecDeque::new(),
                dropped: 0,
            },
        })
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
        let payload = &packet[header.payload.clone()];
        let fault = self.picture_packet(&header, payload);
        fault.map_err(|what| DepacketizeError::Malformed {
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

    /// A packet of a codec whose units span packets.
    fn picture_packet(&mut self, header: &Header, payload: &[u8]) -> Result<(), Fault> {
        self.settle(header.timestamp);
        if payload.is_empty() && self.open.is_none() {
            return Ok(());
        }
        let after_gap = std::mem::take(&mut self.gap);
        let assembly = self.join.assembly();
        let open = self.open.get_or_insert_with(|| {
            assembly.begin(after_gap);
            let time = self.out.timeline.extend(header.timestamp);
            Open {
                timestamp: header.timestamp,
                time,
                after_gap,
                broken: false,
            }
        });
        let mut result = Ok(());
        if !open.broken && !payload.is_empty() {
            result = assembly.add(payload);
            open.broken = result.is_err();
        }
        if open.after_gap {
            result = Ok(()); // the loss was counted; what follows from it is nobody's fault
        }
        if header.marker && (open.broken || assembly.has_picture()) {
            self.close();
        }
        result
    }

    /// Decides what becomes of the open unit now that a packet with this time stamp comes.
    fn settle(&mut self, timestamp: u32) {
        let Some(open) = &mut self.open else { return };
        open.broken |= self.gap;
        if open.timestamp == timestamp {
            return;
        }
        if open.broken || self.join.assembly().has_picture() {
            self.close();
        } else {
            // Only headers so far: they belong to the picture that now comes.
            open.timestamp = timestamp;
            open.time = self.out.timeline.extend(timestamp);
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let unit = if open.broken {
            None
        } else {
            self.join.assembly().finish()
        };
        match unit {
            Some((data, keyframe)) => self.out.emit(open.time, keyframe, data),
            None => self.out.dropped += 1,
        }
    }
}

impl Join {
    fn assembly(&mut self) -> &mut dyn Assemble {
        match self {
            Self::H264(h264) => h264,
        }
    }
}
