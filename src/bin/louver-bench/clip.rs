//! The stream that is published: an H.264 file as ready RTP packets, each access unit with a stamp of when it left.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Fault;

/// Pictures per second of the clip.
pub(crate) const FPS: u32 = 30;
/// Ticks of RTP's video clock per picture.
const TICKS: u32 = 90_000 / FPS;
/// Room for a packet in an Ethernet frame, with RTP's header.
const MAX_PACKET: usize = 1452;
const RTP_HEADER: usize = 12;
/// Marks the stamp in a user data SEI (H.264 section D.2.7); chosen at random.
const STAMP_UUID: [u8; 16] = *b"\x9a\x0f\x63\xd2\x1e\x48\x4c\x57\xb1\xe0\x7f\x35\xc8\x22\x94\x6d";
/// NAL header, SEI type, SEI size, UUID, stamp, stop bit.
const STAMP_NAL: usize = 3 + 16 + 16 + 1;

/// All access units of a file, to be sent again and again.
pub(crate) struct Clip {
    units: Vec<Unit>,
    /// The SPS and PPS, as SDP carries them.
    pub(crate) sprop: String,
}

/// One access unit: its RTP packets, each with RTSP's 4-byte interleaved prefix, back to back.
struct Unit {
    bytes: Vec<u8>,
    packets: Vec<Range<usize>>,
}

/// An access unit that is ready to leave.
pub(crate) struct Burst<'a> {
    /// Packets with their interleaved prefixes (channel 0).
    pub(crate) interleaved: &'a [u8],
    /// Where each packet lies, without its prefix.
    pub(crate) packets: &'a [Range<usize>],
}

impl Clip {
    /// Reads a file of access units that begin with delimiters (`-bsf:v h264_metadata=aud=insert`).
    pub(crate) fn read(path: &Path) -> Result<Self, Fault> {
        let bytes =
            std::fs::read(path).map_err(|e| format!("{}: {e}; scripts/bench makes it", path.display()))?;
        let mut clip = Self {
            units: vec![],
            sprop: String::new(),
        };
        let mut nals: Vec<&[u8]> = vec![];
        for nal in split(&bytes) {
            match nal[0] & 0x1f {
                9 if nals.is_empty() => {}
                9 => clip.units.push(Unit::new(&std::mem::take(&mut nals))),
                7 if clip.sprop.is_empty() => clip.sprop = STANDARD.encode(nal),
                8 if !clip.sprop.contains(',') => {
                    clip.sprop = format!("{},{}", clip.sprop, STANDARD.encode(nal))
                }
                // The encoder's own remarks.
                6 => continue,
                _ => {}
            }
            if nal[0] & 0x1f != 9 {
                nals.push(nal);
            }
        }
        clip.units.push(Unit::new(&nals));
        if clip.units.len() < 2 {
            return Err(format!("{}: no access unit delimiters in it", path.display()).into());
        }
        Ok(clip)
    }
}

/// The endless stream made of a clip.
pub(crate) struct Stream<'a> {
    clip: &'a Clip,
    bytes: Vec<u8>,
    count: u32,
    sequence: u16,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(clip: &'a Clip) -> Self {
        Self {
            clip,
            bytes: vec![],
            count: 0,
            sequence: 1,
        }
    }
    /// The next access unit, stamped with the current time. Copies it once, however many take it.
    pub(crate) fn next(&mut self) -> Burst<'_> {
        let unit = &self.clip.units[self.count as usize % self.clip.units.len()];
        self.bytes.clear();
        self.bytes.extend_from_slice(&unit.bytes);
        let time = self.count.wrapping_mul(TICKS);
        for packet in &unit.packets {
            let header = &mut self.bytes[packet.clone()];
            header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
            header[4..8].copy_from_slice(&time.to_be_bytes());
            self.sequence = self.sequence.wrapping_add(1);
        }
        let stamp = unit.packets[0].start + RTP_HEADER + 19;
        self.bytes[stamp..stamp + 16].copy_from_slice(format!("{:016x}", micros_now()).as_bytes());
        self.count += 1;
        Burst {
            interleaved: &self.bytes,
            packets: &unit.packets,
        }
    }
    /// When the next access unit is due, since the stream's start.
    pub(crate) fn due(&self) -> Duration {
        Duration::from_secs(1) * self.count / FPS
    }
}

impl Unit {
    fn new(nals: &[&[u8]]) -> Self {
        let mut unit = Self {
            bytes: vec![],
            packets: vec![],
        };
        unit.push(&[&stamp_nal()]);
        for nal in nals {
            if nal.len() <= MAX_PACKET - RTP_HEADER {
                unit.push(&[nal]);
                continue;
            }
            // RFC 6184 section 5.8: fragments of equal size, so that segmentation offload can take them.
            let mut fragments = nal[1..].chunks(MAX_PACKET - RTP_HEADER - 2).peekable();
            let mut start = 0x80;
            while let Some(fragment) = fragments.next() {
                let end = if fragments.peek().is_none() { 0x40 } else { 0 };
                unit.push(&[&[nal[0] & 0xe0 | 28, nal[0] & 0x1f | start | end], fragment]);
                start = 0;
            }
        }
        let last = unit.packets.last().expect("the stamp is there").start;
        unit.bytes[last + 1] |= 0x80; // marker
        unit
    }
    fn push(&mut self, payload: &[&[u8]]) {
        let length = RTP_HEADER + payload.iter().map(|p| p.len()).sum::<usize>();
        let [high, low] = u16::try_from(length).expect("packets are small").to_be_bytes();
        self.bytes.extend([b'$', 0, high, low]);
        let start = self.bytes.len();
        self.bytes
            .extend([0x80, 96, 0, 0, 0, 0, 0, 0, 0x10, 0x75, 0x7e, 0x12]);
        for part in payload {
            self.bytes.extend_from_slice(part);
        }
        self.packets.push(start..self.bytes.len());
    }
}

/// A user data SEI with room for a stamp in hex digits, which cannot look like a start code.
fn stamp_nal() -> [u8; STAMP_NAL] {
    let mut nal = [b'0'; STAMP_NAL];
    nal[..3].copy_from_slice(&[6, 5, 32]);
    nal[3..19].copy_from_slice(&STAMP_UUID);
    nal[STAMP_NAL - 1] = 0x80;
    nal
}

/// When the access unit that this RTP payload begins was sent, if it is a stamp.
pub(crate) fn read_stamp(payload: &[u8]) -> Option<u64> {
    // A server that packetizes anew may aggregate (RFC 6184 section 5.7.1): the first NAL unit after 3 bytes.
    let aggregated = payload.first()? & 0x1f == 24;
    let nal: &[u8; STAMP_NAL] = payload.get(if aggregated { 3 } else { 0 }..)?.first_chunk()?;
    if nal[0] & 0x1f != 6 || nal[3..19] != STAMP_UUID {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(&nal[19..35]).ok()?, 16).ok()
}

/// Wall time in microseconds, which is the same for all processes here.
pub(crate) fn micros_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// NAL units of an Annex B stream (H.264 section B.1).
fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts = vec![];
    let mut at = 0;
    while at + 3 <= bytes.len() {
        if bytes[at..at + 3] == [0, 0, 1] {
            starts.push(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    let ends = starts
        .clone()
        .into_iter()
        .skip(1)
        .map(|s| s - 3)
        .chain([bytes.len()]);
    starts.into_iter().zip(ends).map(|(start, end)| {
        let nal = &bytes[start..end];
        &nal[..nal.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1)]
    })
}
