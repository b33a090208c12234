//! The header of an RTP packet, read and written (RFC 3550 section 5.1).
//!
//! Not here: what the payload means, and the order of packets; see [`order`](super::order).

use std::ops::Range;

/// Bytes of a header without contributing sources and extension; the only form this program writes.
pub const HEADER_LEN: usize = 12;

/// What an RTP header says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Set on the last packet of a picture; on audio its meaning depends on the codec.
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    pub sequence: u16,
    /// Units of the track's clock, wrapping.
    pub timestamp: u32,
    pub ssrc: u32,
    /// Where the payload lies in the packet, without extension and padding.
    pub payload: Range<usize>,
}

/// Why a packet is not RTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RtpError {
    #[error("rtp: {0} bytes are too few for a header of 12; the packet is passed over")]
    TooShort(usize),
    #[error("rtp: version {0} instead of 2; the bytes are not RTP")]
    Version(u8),
    #[error("rtp: the {0} reaches beyond the end of the packet; the packet is passed over")]
    Overrun(&'static str),
}

impl Header {
    /// Reads the header of `packet`. Extensions are passed over unread, padding is taken off.
    ///
    /// # Errors
    /// If the bytes are not RTP version 2 or one of the header's lengths does not fit.
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        let &[b0, b1, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3, ..] = packet else {
            return Err(RtpError::TooShort(packet.len()));
        };
        if b0 >> 6 != 2 {
            return Err(RtpError::Version(b0 >> 6));
        }
        let mut start = HEADER_LEN + 4 * usize::from(b0 & 0x0f);
        if start > packet.len() {
            return Err(RtpError::Overrun("list of contributing sources"));
        }
        if b0 & 0x10 != 0 {
            let Some(&[_, _, l0, l1]) = packet.get(start..start + 4) else {
                return Err(RtpError::Overrun("header extension"));
            };
            start += 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]));
            if start > packet.len() {
                return Err(RtpError::Overrun("header extension"));
            }
        }
        let mut end = packet.len();
        if b0 & 0x20 != 0 {
            // The last byte counts itself, so 0 is wrong; FFmpeg and others let it pass, and so do we.
            let padding = packet[start..].last().map_or(usize::MAX, |n| usize::from(*n));
            end = end
                .checked_sub(padding)
                .filter(|e| *e >= start)
                .ok_or(RtpError::Overrun("padding"))?;
        }
        Ok(Self {
            marker: b1 & 0x80 != 0,
            payload_type: b1 & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            payload: start..end,
        })
    }
}

/// Writes packets of one track with rising sequence numbers.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) payload_type: u8,
    pub(super) ssrc: u32,
    /// The number of the next packet.
    pub(super) sequence: u16,
    /// The most bytes a payload may have.
    pub(super) max_payload: usize,
}

impl Writer {
    /// Appends a packet whose payload is `parts`, one after the other.
    pub(super) fn packet(&mut self, out: &mut Vec<Vec<u8>>, marker: bool, timestamp: u32, parts: &[&[u8]]) {
        let length = HEADER_LEN + parts.iter().map(|p| p.len()).sum::<usize>();
        let mut packet = Vec::with_capacity(length);
        packet.push(0x80);
        packet.push(u8::from(marker) << 7 | self.payload_type & 0x7f);
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        for part in parts {
            packet.extend_from_slice(part);
        }
        self.sequence = self.sequence.wrapping_add(1);
        out.push(packet);
    }

    /// The size of equal fragments of `length` bytes when none may be larger than `max`; the last is what is left.
    pub(super) fn equal_share(length: usize, max: usize) -> usize {
        length.div_ceil(length.div_ceil(max.max(1)).max(1)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_writer_writes_the_header_reads() {
        let mut writer = Writer {
            payload_type: 96,
            ssrc: 0x0102_0304,
            sequence: 0xffff,
            max_payload: 1400,
        };
        let mut out = Vec::new();
        writer.packet(&mut out, true, 0xaabb_ccdd, &[&[1, 2], &[3]]);
        writer.packet(&mut out, false, 0, &[]);
        assert_eq!(
            out[0],
            [
                0x80, 0xe0, 0xff, 0xff, 0xaa, 0xbb, 0xcc, 0xdd, 1, 2, 3, 4, 1, 2, 3
            ]
        );
        let header = Header::parse(&out[0]).unwrap();
        assert_eq!(
            (header.marker, header.payload_type, header.sequence),
            (true, 96, 0xffff)
        );
        assert_eq!(
            (header.timestamp, header.ssrc, header.payload),
            (0xaabb_ccdd, 0x0102_0304, 12..15)
        );
        let header = Header::parse(&out[1]).unwrap();
        assert_eq!(
            (header.marker, header.sequence, header.payload),
            (false, 0, 12..12)
        );
    }

    #[test]
    fn extension_sources_and_padding_are_not_payload() {
        let mut packet = vec![0xb1, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        packet.extend_from_slice(&[9; 4]); // one contributing source
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 7, 7, 7, 7]); // extension of one word
        packet.extend_from_slice(&[5, 6, 0, 2]); // payload 5 6, padding of two
        assert_eq!(Header::parse(&packet).unwrap().payload, 24..26);
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        assert_eq!(Header::parse(&[0x80; 11]), Err(RtpError::TooShort(11)));
        assert_eq!(Header::parse(&[0x40; 12]), Err(RtpError::Version(1)));
        let mut packet = [0u8; 12];
        packet[0] = 0x81;
        assert_eq!(
            Header::parse(&packet),
            Err(RtpError::Overrun("list of contributing sources"))
        );
        packet[0] = 0x90;
        assert_eq!(Header::parse(&packet), Err(RtpError::Overrun("header extension")));
        packet[0] = 0xa0;
        assert_eq!(
            Header::parse(&packet),
            Err(RtpError::Overrun("padding")),
            "there is no byte to count it"
        );
        for (padding, fits) in [(1, true), (2, false), (255, false)] {
            let padded = [&packet[..], &[padding]].concat();
            assert_eq!(Header::parse(&padded).is_ok(), fits, "{padding}");
        }
    }

    #[test]
    fn fragments_are_equal_but_for_the_last() {
        assert_eq!(Writer::equal_share(1000, 400), 334);
        assert_eq!(Writer::equal_share(1200, 400), 400);
        assert_eq!(Writer::equal_share(1, 400), 1);
        assert_eq!(Writer::equal_share(0, 0), 1);
    }
}
