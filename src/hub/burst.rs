//! A burst: packets that leave together, stored once for all readers.
//!
//! The layout is what a TCP reader gets: each packet behind its 4-byte interleaved prefix (RFC 2326 section
//! 10.12: `$`, channel, length), one after the other, so that a burst is one write. UDP readers take the
//! same bytes and leave the prefixes out.

use std::time::Instant;

use bytes::Bytes;

use crate::media::TrackId;
use crate::proto::rtp::srtp::OVERHEAD;

/// Bytes before each packet in [`Burst::wire`].
pub const PREFIX: usize = 4;

/// What a burst's packets are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BurstKind {
    /// RTP, as it came; not the start of a keyframe.
    Media,
    /// RTP, and a reader may begin with it.
    Keyframe,
    /// A compound RTCP packet with the track's sender report.
    Report,
}

/// All RTP packets of one access unit, or of the part of it that arrived together.
#[derive(Debug)]
pub struct Burst {
    pub track: TrackId,
    pub kind: BurstKind,
    /// Sequence number of the first packet.
    pub sequence: u16,
    /// RTP timestamp of the first packet.
    pub rtp_time: u32,
    /// When its first packet arrived.
    pub arrived: Instant,
    wire: Bytes,
    ends: Box<[u32]>,
}

impl Burst {
    /// The whole burst with interleaved prefixes: channel `2 * track` for RTP, one more for RTCP.
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }
    /// How many packets there are.
    pub fn packets(&self) -> usize {
        self.ends.len()
    }
    /// Each packet without its prefix.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.from_packet(0)
    }
    /// Each packet without its prefix, from number `first` on.
    pub fn from_packet(&self, first: usize) -> impl Iterator<Item = &[u8]> + Clone {
        let before = first.checked_sub(1).and_then(|n| self.ends.get(n));
        let mut start = before.map_or(0, |end| *end as usize);
        self.ends.iter().skip(first).map(move |&end| {
            let packet = &self.wire[start + PREFIX..end as usize];
            start = end as usize;
            packet
        })
    }
    /// The same burst with each packet as `seal` writes it. A packet that it does not write is left out.
    pub(super) fn sealed(&self, mut seal: impl FnMut(&[u8], &mut Vec<u8>)) -> Self {
        let mut wire = Vec::with_capacity(self.wire.len() + self.ends.len() * OVERHEAD);
        let mut ends = Vec::with_capacity(self.ends.len());
        let mut start = 0;
        for &end in &self.ends {
            let head = wire.len();
            wire.extend_from_slice(&self.wire[start..start + PREFIX]);
            seal(&self.wire[start + PREFIX..end as usize], &mut wire);
            start = end as usize;
            match u16::try_from(wire.len() - head - PREFIX) {
                Ok(length @ 1..) => {
                    wire[head + 2..head + PREFIX].copy_from_slice(&length.to_be_bytes());
                    ends.push(wire.len() as u32); // a burst is bounded far below 4 GiB
                }
                _ => wire.truncate(head),
            }
        }
        Self {
            wire: wire.into(),
            ends: ends.into(),
            ..*self
        }
    }
    /// Whether [`Self::wire`] is right as it is for a reader that chose these channels.
    pub fn is_on(&self, rtp_channel: u8, rtcp_channel: u8) -> bool {
        (rtp_channel, rtcp_channel) == (2 * self.track.0, 2 * self.track.0 + 1)
    }
    /// The wire form for a reader that chose other channels.
    pub fn wire_on(&self, rtp_channel: u8, rtcp_channel: u8) -> Bytes {
        let mut copy = self.wire.to_vec();
        let channel = if self.kind == BurstKind::Report {
            rtcp_channel
        } else {
            rtp_channel
        };
        let mut start = 0;
        for &end in &self.ends {
            copy[start + 1] = channel;
            start = end as usize;
        }
        copy.into()
    }
}

/// A burst while its packets come in.
#[derive(Debug, Default)]
pub(super) struct Builder {
    wire: Vec<u8>,
    ends: Vec<u32>,
    head: Option<(BurstKind, u16, u32, Instant)>,
}

impl Builder {
    pub(super) fn bytes(&self) -> usize {
        self.wire.len()
    }
    pub(super) fn packets(&self) -> usize {
        self.ends.len()
    }
    /// RTP timestamp of the burst so far.
    pub(super) fn rtp_time(&self) -> Option<u32> {
        self.head.map(|(_, _, rtp_time, _)| rtp_time)
    }
    /// Makes the burst begin as `kind`; only the first call of a burst counts.
    pub(super) fn begin(&mut self, kind: BurstKind, sequence: u16, rtp_time: u32, now: Instant) {
        self.head.get_or_insert((kind, sequence, rtp_time, now));
    }
    /// Adds a packet and returns it for changes in place. `packet` is at most 65,535 bytes.
    pub(super) fn push(&mut self, channel: u8, packet: &[u8]) -> &mut [u8] {
        let length = u16::try_from(packet.len()).expect("the caller has checked the packet's length");
        self.wire.extend_from_slice(&[b'$', channel]);
        self.wire.extend_from_slice(&length.to_be_bytes());
        let start = self.wire.len();
        self.wire.extend_from_slice(packet);
        self.ends
            .push(u32::try_from(self.wire.len()).expect("a burst is bounded far below 4 GiB"));
        &mut self.wire[start..]
    }
    /// The finished burst; the builder is empty again. `None` if nothing was added.
    pub(super) fn finish(&mut self, track: TrackId) -> Option<Burst> {
        let (kind, sequence, rtp_time, arrived) = self.head.take()?;
        // Copied: the ring holds what is needed and no spare room, and the builder grows but once.
        let wire = Bytes::copy_from_slice(&self.wire);
        let ends = self.ends.as_slice().into();
        self.wire.clear();
        self.ends.clear();
        Some(Burst {
            track,
            kind,
            sequence,
            rtp_time,
            arrived,
            wire,
            ends,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_image_serves_tcp_with_prefixes_and_udp_without() {
        let mut b = Builder::default();
        b.begin(BurstKind::Media, 7, 90, Instant::now());
        b.push(2, b"first");
        b.push(2, b"second")[0] = b'S';
        let burst = b.finish(TrackId(1)).unwrap();
        assert_eq!(&burst.wire()[..], b"$\x02\x00\x05first$\x02\x00\x06Second");
        assert_eq!(burst.iter().collect::<Vec<_>>(), [&b"first"[..], b"Second"]);
        assert_eq!(burst.from_packet(1).collect::<Vec<_>>(), [b"Second"]);
        assert_eq!(burst.from_packet(2).count(), 0);
        assert_eq!(
            &burst.wire_on(9, 10)[..],
            b"$\x09\x00\x05first$\x09\x00\x06Second"
        );
        assert!(b.finish(TrackId(1)).is_none());
    }
}
