//! MPEG audio (MP1, MP2, MP3): the header of a frame (ISO/IEC 11172-3 section 2.4.1.3, 13818-3 section 2.4.2.3).
//!
//! Not here: packets; see [`rtp`](super::rtp).

/// What a frame's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// Bytes of the frame, header included.
    pub length: usize,
    /// Samples of each channel in it.
    pub samples: u32,
    /// Samples per second.
    pub rate: u32,
}

/// Bit rates in kbit/s by index, for MPEG-1 layers 1, 2 and 3, and for MPEG-2 layer 1 and layers 2 and 3.
const BIT_RATES: [[usize; 14]; 5] = [
    [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

impl FrameHeader {
    /// Reads a header; `None` if it is none, or of a bit rate that is not listed ("free").
    pub fn parse(data: &[u8]) -> Option<Self> {
        let &[0xff, second, third, ..] = data else {
            return None;
        };
        if second & 0xe0 != 0xe0 {
            return None;
        }
        // 0 is MPEG-2.5, with half the rates of MPEG-2 (2), which has half of those of MPEG-1 (3).
        let version = second >> 3 & 0x03;
        let layer = match second >> 1 & 0x03 {
            3 => 1,
            2 => 2,
            1 => 3,
            _ => return None,
        };
        let table = match (version, layer) {
            (1, _) => return None,
            (3, layer) => layer - 1,
            (_, 1) => 3,
            _ => 4,
        };
        let bits = BIT_RATES[table].get(usize::from(third >> 4).checked_sub(1)?)? * 1000;
        let full = [44_100, 48_000, 32_000].get(usize::from(third >> 2 & 0x03))?;
        let rate: u32 = full >> [2, 0, 1, 0][usize::from(version)];
        let padding = usize::from(third >> 1 & 0x01);
        let (samples, length) = match layer {
            1 => (384, (12 * bits / rate as usize + padding) * 4),
            3 if version != 3 => (576, 72 * bits / rate as usize + padding),
            _ => (1152, 144 * bits / rate as usize + padding),
        };
        Some(Self {
            length,
            samples,
            rate,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_layers_are_read() {
        let read = |header: [u8; 3]| FrameHeader::parse(&header).map(|h| (h.length, h.samples, h.rate));
        assert_eq!(
            read([0xff, 0xfb, 0x90]),
            Some((417, 1152, 44_100)),
            "MP3 of 128 kbit/s"
        );
        assert_eq!(
            read([0xff, 0xfb, 0x92]),
            Some((418, 1152, 44_100)),
            "with padding"
        );
        assert_eq!(
            read([0xff, 0xfd, 0xc4]),
            Some((768, 1152, 48_000)),
            "MP2 of 256 kbit/s"
        );
        assert_eq!(
            read([0xff, 0xff, 0xc8]),
            Some((576, 384, 32_000)),
            "MP1 of 384 kbit/s"
        );
        assert_eq!(
            read([0xff, 0xf3, 0x80]),
            Some((208, 576, 22_050)),
            "MP3 of MPEG-2"
        );
        assert_eq!(
            read([0xff, 0xe3, 0x10]),
            Some((52, 576, 11_025)),
            "MP3 of MPEG-2.5"
        );
    }

    #[test]
    fn what_is_no_header_or_free_is_none() {
        for wrong in [
            &[][..],
            &[0xff, 0xfb],
            &[0xfe, 0xfb, 0x90],
            &[0xff, 0xdb, 0x90],
            &[0xff, 0xf9, 0x90],
        ] {
            assert_eq!(FrameHeader::parse(wrong), None, "{wrong:02x?}");
        }
        for third in [0x00, 0xf0, 0x9c] {
            assert_eq!(FrameHeader::parse(&[0xff, 0xfb, third]), None, "{third:02x}");
        }
        assert_eq!(
            FrameHeader::parse(&[0xff, 0xeb, 0x90]),
            None,
            "a version that is reserved"
        );
    }
}
