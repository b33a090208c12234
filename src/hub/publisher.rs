//! The one writer of a path.
//!
//! Packets come as the far end made them, or are made here from access units. Either way they leave with our
//! SSRC, sequence numbers that start low and keep the publisher's gaps (a loss upstream stays visible), and
//! parameter sets before each keyframe that lacks them: the newest that came, which the description has too. A burst is closed at the marker bit, or when what
//! arrived together has been written ([`Publisher::flush`]); nothing ever waits for more.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::base::clock::SharedClock;
use crate::base::time::NtpTime;
use crate::hub::burst::Builder;
use crate::hub::burst::BurstKind;
use crate::hub::oversize::Cut;
use crate::hub::oversize::MAX_PACKET;
use crate::hub::path::Path;
use crate::hub::stream::Stream;
use crate::media::AccessUnit;
use crate::media::Description;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::rtp;
use crate::proto::rtp::Packetizer;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

/// Sender reports follow at least this often (RFC 3550 section 6.2 suggests 5 s).
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// A burst is closed beyond this size, so that no reader is held up by one write.
const MAX_BURST: usize = 256 << 10;
/// A gap of more than this many sequence numbers is a restart, not a loss.
const MAX_GAP: u16 = 3000;

/// Why something was not published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    #[error("the packet is not RTP")]
    NotRtp,
    #[error("the packet belongs to no announced track")]
    NoTrack,
    #[error("there is no packetizer for the track's codec")]
    NoPacketizer,
}

/// Writes one path's stream. Dropping it ends the stream.
pub struct Publisher {
    path: Arc<Path>,
    stream: Arc<Stream>,
    tracks: Vec<TrackWriter>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    max_payload: usize,
    packets: Vec<Vec<u8>>,
}

struct TrackWriter {
    track: Track,
    ssrc: u32,
    packetizer: Option<Packetizer>,
    cut: Cut,
    /// Added to the publisher's sequence numbers.
    offset: u16,
    last_in: Option<u16>,
    /// Timestamp of the newest keyframe: its other packets do not start one.
    last_key: Option<u32>,
    open: Builder,
    report_due: Option<Instant>,
    /// Whether a reader may begin with this track: video, or anything where there is no video.
    leads: bool,
}

impl Publisher {
    pub(super) fn new(
        path: Arc<Path>,
        stream: Arc<Stream>,
        clock: SharedClock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let description = stream.description();
        let leader = description.video().or(description.tracks.first()).map(|t| t.id);
        let tracks = (description.tracks.iter())
            .map(|track| TrackWriter {
                track: track.clone(),
                ssrc: stream.ssrc(track.id).unwrap_or_default(),
                packetizer: None,
                cut: Cut::NotNeeded,
                offset: 0,
                last_in: None,
                last_key: None,
                open: Builder::default(),
                report_due: None,
                leads: Some(track.id) == leader,
            })
            .collect();
        let max_payload = path.max_payload();
        Self {
            path,
            stream,
            tracks,
            clock,
            metrics,
            max_payload,
            packets: Vec::new(),
        }
    }
    /// The path that this publisher writes.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }
    /// The stream that its readers read.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }
    /// Publishes one access unit as one burst. A reader may begin with it if it says `keyframe`.
    ///
    /// # Errors
    /// When there is no such track, or no packetizer for its codec.
    pub fn write_unit(&mut self, unit: &AccessUnit) -> Result<(), WriteError> {
        let writer = self
            .tracks
            .get_mut(usize::from(unit.track.0))
            .ok_or(WriteError::NoTrack)?;
        if writer.packetizer.is_none() {
            let first = self.stream.clocks()[usize::from(unit.track.0)].next_sequence;
            writer.packetizer = Packetizer::new(&writer.track, writer.ssrc, first, self.max_payload);
        }
        let packetizer = writer.packetizer.as_mut().ok_or(WriteError::NoPacketizer)?;
        let mut packets = std::mem::take(&mut self.packets);
        packets.clear();
        packetizer.packetize(unit, &mut packets);
        let mut starts = unit.keyframe && self.tracks[usize::from(unit.track.0)].leads;
        for packet in &packets {
            let header = rtp::Header::parse(packet).map_err(|_| WriteError::NotRtp)?;
            self.write(unit.track, packet, &header, starts);
            starts = false;
        }
        self.packets = packets;
        self.flush();
        Ok(())
    }
    /// Publishes one RTP packet of a track, with whatever it carries. From the first on that no datagram can take,
    /// the track's packets are cut anew.
    ///
    /// # Errors
    /// When the bytes are not RTP, or there is no such track. Nothing else is lost.
    pub fn write_packet(&mut self, track: TrackId, packet: &[u8]) -> Result<(), WriteError> {
        let writer = (self.tracks.get_mut(usize::from(track.0))).ok_or(WriteError::NoTrack)?;
        if packet.len() > MAX_PACKET {
            self.metrics.packets_oversize.inc();
            if matches!(writer.cut, Cut::NotNeeded) {
                writer.cut = Cut::new(&writer.track, self.max_payload, self.path.name());
            }
        }
        let Cut::Anew(repacketizer) = &mut writer.cut else {
            return self.write_as_it_is(track, packet);
        };
        let mut packets = std::mem::take(&mut self.packets);
        packets.clear();
        let result = repacketizer.push(packet, &mut packets);
        for packet in &packets {
            self.write_as_it_is(track, packet)?;
        }
        self.packets = packets;
        result.map_err(|_| WriteError::NotRtp)
    }
    fn write_as_it_is(&mut self, track: TrackId, packet: &[u8]) -> Result<(), WriteError> {
        let header = rtp::Header::parse(packet).map_err(|_| WriteError::NotRtp)?;
        if packet.len() > usize::from(u16::MAX) {
            return Err(WriteError::NotRtp);
        }
        let writer = self.tracks.get(usize::from(track.0)).ok_or(WriteError::NoTrack)?;
        let starts = writer.leads
            && writer.last_key != Some(header.timestamp)
            && rtp::starts_keyframe(writer.track.codec, &packet[header.payload.clone()]);
        self.write(track, packet, &header, starts);
        Ok(())
    }
    /// Lets go what arrived together: call it when a read brought no more.
    pub fn flush(&mut self) {
        for n in 0..self.tracks.len() {
            self.close(TrackId(n as u8));
        }
    }
    /// Takes over the publisher's own relation of wall time and RTP time (from its sender report).
    pub fn anchor(&self, track: TrackId, ntp: NtpTime, rtp_time: u32) {
        if let Some(clock) = self.stream.clocks().get_mut(usize::from(track.0)) {
            clock.anchor = Some((ntp, rtp_time));
        }
    }
    /// Replaces the description after parameter sets changed. Tracks keep their number and order.
    pub fn describe(&mut self, description: Description) {
        for (writer, track) in self.tracks.iter_mut().zip(&description.tracks) {
            writer.track = track.clone();
        }
        self.stream.describe(description);
    }
    /// Nothing will come until somebody asks: forget what is held, so that no reader starts in the past.
    pub fn pause(&mut self) {
        self.flush();
        self.stream.clear();
    }
    /// Whether a reader has joined that would like a keyframe now; asking takes the wish away.
    pub fn take_keyframe_wish(&self) -> bool {
        self.path.take_keyframe_wish()
    }

    fn write(&mut self, track: TrackId, packet: &[u8], header: &rtp::Header, starts: bool) {
        let now = self.clock.now();
        let writer = &mut self.tracks[usize::from(track.0)];
        let lost = writer.follow(header.sequence, &self.stream);
        if lost > 0 {
            self.metrics.lose(Reason::PublisherLoss, lost);
        }
        let new_time = writer.open.rtp_time().is_some_and(|t| t != header.timestamp);
        if starts || new_time || writer.open.bytes() > MAX_BURST {
            self.close(track);
        }
        let writer = &mut self.tracks[usize::from(track.0)];
        if rtp::learn_parameter_sets(&mut writer.track, &packet[header.payload.clone()]) {
            let tracks = self.tracks.iter().map(|w| w.track.clone()).collect();
            self.stream.describe(Description { tracks });
        }
        let writer = &mut self.tracks[usize::from(track.0)];
        let kind = if starts {
            BurstKind::Keyframe
        } else {
            BurstKind::Media
        };
        if starts {
            writer.last_key = Some(header.timestamp);
            let codec = writer.track.codec;
            if !rtp::carries_parameter_sets(codec, &packet[header.payload.clone()]) {
                for set in rtp::parameter_set_payloads(&writer.track) {
                    let extra = parameter_set_packet(&packet[..12], &set);
                    writer.add(&extra, header.sequence, header.timestamp, kind, now);
                    writer.offset = writer.offset.wrapping_add(1);
                }
            }
        }
        writer.add(packet, header.sequence, header.timestamp, kind, now);
        if header.marker {
            self.close(track);
        }
    }
    /// Nothing comes for a while: readers get their sender reports all the same. Some (GStreamer) take a sender that says
    /// nothing for half a minute for gone, however well the connection is.
    pub fn report_while_silent(&mut self) {
        let now = self.clock.now();
        for n in 0..self.tracks.len() {
            let track = TrackId(n as u8); // there are at most 16
            // Before its first packet there is nothing to report.
            if self.tracks[n].report_due.is_none_or(|due| now < due) {
                continue;
            }
            let (report, rtp_time) = {
                let clock = self.stream.clocks()[n];
                let rtp_time = clock.estimate(now);
                (clock.report(rtp_time, self.stream.cname()), rtp_time)
            };
            if let Some(packet) = report {
                self.push_report(track, rtp_time, now, &packet);
            }
        }
    }
    fn push_report(&mut self, track: TrackId, rtp_time: u32, at: Instant, packet: &[u8]) {
        self.tracks[usize::from(track.0)].report_due = Some(self.clock.now() + REPORT_EVERY);
        let mut b = Builder::default();
        b.begin(BurstKind::Report, 0, rtp_time, at);
        b.push(2 * track.0 + 1, packet);
        b.finish(track)
            .into_iter()
            .for_each(|report| self.stream.push(report));
    }
    fn close(&mut self, track: TrackId) {
        let now = self.clock.now();
        let writer = &mut self.tracks[usize::from(track.0)];
        let Some(burst) = writer.open.finish(track) else {
            return;
        };
        let bytes = burst.wire().len() as u64;
        let report = {
            let mut clocks = self.stream.clocks();
            let clock = &mut clocks[usize::from(track.0)];
            let rtp_time = burst.rtp_time;
            clock.anchor.get_or_insert_with(|| (self.clock.ntp(), rtp_time));
            clock.newest = Some((burst.arrived, rtp_time));
            clock.packets = clock.packets.wrapping_add(burst.packets() as u32);
            // Of the payload alone (RFC 3550 section 6.4.1): without the frame's and the packet's header.
            let headers = burst.packets() * (4 + rtp::HEADER_LEN);
            clock.octets = clock
                .octets
                .wrapping_add((bytes as usize).saturating_sub(headers) as u32);
            clock.next_sequence = burst.sequence.wrapping_add(burst.packets() as u16);
            let due = writer.report_due.is_none_or(|due| now >= due);
            due.then(|| clock.report(rtp_time, self.stream.cname())).flatten()
        };
        if let Some(packet) = report {
            self.push_report(track, burst.rtp_time, burst.arrived, &packet);
        }
        if !self.path.is_derived() {
            self.metrics.bursts_in.inc();
            self.metrics.bytes_in.inc_by(bytes);
            self.path.count_in(bytes);
        }
        self.stream.push(burst);
    }
}

impl TrackWriter {
    /// Follows the publisher's sequence numbers; returns how many packets are missing.
    fn follow(&mut self, sequence: u16, stream: &Stream) -> u64 {
        let step = self.last_in.map(|last| sequence.wrapping_sub(last));
        match step {
            Some(step @ 1..MAX_GAP) => {
                self.last_in = Some(sequence);
                u64::from(step - 1)
            }
            Some(step) if step == 0 || step > u16::MAX - MAX_GAP => 0, // late or double: passed on as it is
            // The first packet, or a publisher that started again: go on where our own numbers are.
            _ => {
                let next = stream.clocks()[usize::from(self.track.id.0)].next_sequence;
                let open = self.open.packets() as u16;
                self.offset = next.wrapping_add(open).wrapping_sub(sequence);
                self.last_in = Some(sequence);
                0
            }
        }
    }
    fn add(&mut self, packet: &[u8], sequence: u16, rtp_time: u32, kind: BurstKind, now: Instant) {
        let sequence = sequence.wrapping_add(self.offset);
        self.open.begin(kind, sequence, rtp_time, now);
        let out = self.open.push(2 * self.track.id.0, packet);
        out[2..4].copy_from_slice(&sequence.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }
}

/// A packet that carries one parameter set at the time of `like`'s packet.
fn parameter_set_packet(like: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = like.to_vec();
    packet[0] = 0x80; // version 2; no padding, extension or contributing sources
    packet[1] &= 0x7f; // no marker: the picture follows
    packet.extend_from_slice(payload);
    packet
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.flush();
        self.stream.end();
        self.path.publisher_left(&self.stream);
        if !self.path.is_derived() {
            self.metrics.paths_ready.dec();
        }
    }
}
