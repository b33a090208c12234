//! Access units into an MPEG transport stream (ISO/IEC 13818-1), for players that take nothing else.
//!
//! One program: H.264, H.265 or MPEG-4 part 2, and AAC. Units come in decode order with presentation times
//! only; decode times and the program clock are made up here. Not here: reading transport streams, and RTP.

mod clock;
mod framing;
mod packet;
mod tables;

use crate::base::time::Rate;
use crate::media::AccessUnit;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;

use clock::DecodeClock;
use clock::ProgramClock;
use framing::Framing;
use packet::Adaptation;

/// Every transport stream packet has this many bytes.
pub const PACKET_LEN: usize = 188;

/// PID of the first track; the others follow.
const FIRST_PID: u16 = 0x100;
/// The 90 kHz time of the first unit: there must be room before it for decode times and the clock.
const START: i64 = 90_000;
/// Tables are repeated at the first unit after this, so that two are never 100 ms apart at 20 units a second.
const TABLES_EVERY: i64 = 4_500;

/// Makes one transport stream of the units of several tracks.
///
/// Times of all tracks must be on one clock: what the units' `pts` say is compared after rescaling.
#[derive(Debug)]
pub struct Muxer {
    streams: Vec<Elementary>,
    left_out: Vec<TrackId>,
    tables: tables::Tables,
    /// When the tables were last written, in 90 kHz units of the output.
    tables_at: Option<i64>,
    /// Index of the stream whose PID carries the clock: the first video, else the first.
    leader: usize,
    clock: ProgramClock,
    /// From 90 kHz time of the input to that of the output.
    offset: Option<i64>,
    start: i64,
    /// The PES packet in the making, kept for its memory.
    pes: Vec<u8>,
}

/// One track in the stream.
#[derive(Debug)]
struct Elementary {
    track: TrackId,
    kind: MediaKind,
    pid: u16,
    stream_id: u8,
    /// The continuity counter of the next packet with a payload.
    counter: u8,
    framing: Framing,
    decode: DecodeClock,
}

impl Muxer {
    /// `None` if a transport stream can carry none of the tracks. Give only tracks whose units will come:
    /// players wait for each that is announced.
    pub fn new(tracks: &[Track]) -> Option<Self> {
        Self::starting_at(tracks, START)
    }

    fn starting_at(tracks: &[Track], start: i64) -> Option<Self> {
        let mut streams = Vec::new();
        let mut left_out = Vec::new();
        for track in tracks {
            match Elementary::new(track, &streams) {
                Some(stream) => streams.push(stream),
                None => left_out.push(track.id),
            }
        }
        let leader = streams
            .iter()
            .position(|s| s.kind == MediaKind::Video)
            .unwrap_or(0);
        let programs: Vec<_> = streams.iter().map(|s| (s.framing.stream_type(), s.pid)).collect();
        let tables = tables::Tables::new(streams.get(leader)?.pid, &programs);
        let clock = ProgramClock::new();
        Some(Self {
            streams,
            left_out,
            tables,
            tables_at: None,
            leader,
            clock,
            offset: None,
            start,
            pes: vec![],
        })
    }

    /// The tracks that are not in the stream; their units are passed over.
    pub fn left_out(&self) -> &[TrackId] {
        &self.left_out
    }

    /// Appends the packets of one unit, a multiple of 188 bytes; nothing for a unit that cannot be carried.
    ///
    /// Tables come before keyframes and at least every 100 ms, the clock at least every 40 ms, as far as
    /// units come that often: a clock made up between two units would reach the player late.
    pub fn mux(&mut self, unit: &AccessUnit, out: &mut Vec<u8>) {
        let Some(index) = self.streams.iter().position(|s| s.track == unit.track) else {
            return;
        };
        let leads = index == self.leader;
        let stream = &mut self.streams[index];
        let input = unit.pts.rescale(Rate::VIDEO).ticks;
        let pts = input.saturating_add(*self.offset.get_or_insert(self.start.saturating_sub(input)));
        let dts = stream.decode.stamp(pts);
        self.pes.clear();
        packet::push_pes_header(&mut self.pes, stream.stream_id, dts.map(|dts| (pts, dts)));
        if !stream.framing.push(unit, &mut self.pes) {
            return;
        }
        if stream.kind == MediaKind::Audio {
            packet::set_pes_length(&mut self.pes);
        }
        let now = self.clock.advance(dts.unwrap_or(pts), leads);
        let joins = unit.keyframe && stream.kind == MediaKind::Video;
        if joins
            || self
                .tables_at
                .is_none_or(|at| !(at..at.saturating_add(TABLES_EVERY)).contains(&now))
        {
            self.tables.push(out);
            self.tables_at = Some(now);
        }
        let mut adaptation = Adaptation {
            random_access: unit.keyframe && leads,
            ..Adaptation::default()
        };
        if leads {
            (adaptation.pcr, adaptation.discontinuity) = self.clock.pcr();
        } else if self.clock.is_due()
            && let (Some(pcr), discontinuity) = self.clock.pcr()
        {
            let alone = Adaptation {
                pcr: Some(pcr),
                discontinuity,
                random_access: false,
            };
            let leader = &self.streams[self.leader];
            packet::push_clock(out, leader.pid, leader.counter, &alone);
        }
        let stream = &mut self.streams[index];
        packet::push_pes(out, stream.pid, &mut stream.counter, &adaptation, &self.pes);
    }
}

impl Elementary {
    fn new(track: &Track, before: &[Self]) -> Option<Self> {
        let framing = Framing::new(track)?;
        // A transport stream has room for 32 audio and 16 video streams; SDP lets no more than 16 in.
        let same = u8::try_from(before.iter().filter(|s| s.kind == track.kind).count())
            .ok()
            .filter(|n| *n < 16)?;
        Some(Self {
            track: track.id,
            kind: track.kind,
            pid: FIRST_PID + u16::try_from(before.len()).ok()?,
            stream_id: same
                + if track.kind == MediaKind::Video {
                    0xe0
                } else {
                    0xc0
                },
            counter: 0,
            decode: DecodeClock::new(framing.reorder_depth()),
            framing,
        })
    }
}

#[cfg(test)]
mod tests;
