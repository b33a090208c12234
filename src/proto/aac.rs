//! AAC: the AudioSpecificConfig (ISO/IEC 14496-3 section 1.6) and the ADTS header for streams without one.
//!
//! Not here: packets; see [`rtp`](super::rtp). LATM is passed on and not looked into.

use crate::media::Track;
use crate::proto::bits::BitReader;
use crate::proto::bits::from_hex;
use crate::proto::bits::to_hex;

/// What an AudioSpecificConfig says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AudioSpecificConfig {
    /// The coding itself, 2 for AAC-LC; where SBR or PS lie on top, that below them.
    pub object_type: u8,
    /// Samples per second of the coding itself; SBR plays at twice that.
    pub rate: u32,
    /// `channelConfiguration`: 1 to 6 as they are, 7 for eight channels, 0 if the stream says it elsewhere.
    pub channel_config: u8,
    /// Samples per access unit at `rate`: 1024, or 960 in broadcasting.
    pub frame_length: u32,
}

/// Rates by `samplingFrequencyIndex` (table 1.18).
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
];

impl AudioSpecificConfig {
    /// Reads the configuration; `None` if it is broken or its rate is zero.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let mut bits = BitReader::new(data);
        let mut object_type = read_object_type(&mut bits)?;
        let rate = read_rate(&mut bits)?;
        let channel_config = u8::try_from(bits.bits(4)?).ok()?;
        // SBR (5) and PS (29) name the rate they play at, then the coding below.
        if matches!(object_type, 5 | 29) {
            read_rate(&mut bits)?;
            object_type = read_object_type(&mut bits)?;
        }
        let short = matches!(object_type, 1..=4 | 6 | 7) && bits.flag()?;
        Some(Self {
            object_type,
            rate,
            channel_config,
            frame_length: if short { 960 } else { 1024 },
        })
    }

    /// The configuration in the `config=` of a track's `a=fmtp` (RFC 3640 section 4.1).
    pub fn of_track(track: &Track) -> Option<Self> {
        Self::parse(&from_hex(track.fmtp_param("config")?)?)
    }

    /// How many channels play, if the configuration says so.
    pub fn channels(&self) -> Option<u8> {
        match self.channel_config {
            n @ 1..=6 => Some(n),
            7 => Some(8),
            _ => None,
        }
    }

    /// The ADTS header (section 1.A.2) of an access unit of `length` bytes, without checksum.
    ///
    /// `None` if ADTS cannot say it: other codings than the first four, unusual rates, more than 8184 bytes.
    pub fn adts_header(&self, length: usize) -> Option<[u8; 7]> {
        let profile = self.object_type.checked_sub(1).filter(|p| *p < 4)?;
        let rate = u8::try_from(RATES.iter().position(|r| *r == self.rate)?).ok()?;
        let size = u16::try_from(length + 7)
            .ok()
            .filter(|s| *s < 1 << 13)?
            .to_be_bytes();
        let channels = self.channel_config & 7;
        Some([
            0xff,
            0xf1, // MPEG-4, no checksum
            profile << 6 | rate << 2 | channels >> 2,
            channels << 6 | size[0] >> 3,
            size[0] << 5 | size[1] >> 3,
            size[1] << 5 | 0x1f, // buffer fullness: all ones, variable rate
            0xfc,
        ])
    }
}

/// An `a=fmtp` for this AudioSpecificConfig in the mode AAC-hbr (RFC 3640 section 3.3.6), without payload type.
pub fn fmtp(config: &[u8]) -> String {
    format!(
        "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={}",
        to_hex(config)
    )
}

fn read_object_type(bits: &mut BitReader<'_>) -> Option<u8> {
    let value = match bits.bits(5)? {
        31 => 32 + bits.bits(6)?,
        value => value,
    };
    u8::try_from(value).ok()
}

fn read_rate(bits: &mut BitReader<'_>) -> Option<u32> {
    let rate = match bits.bits(4)? {
        15 => bits.bits(24)?,
        index => *RATES.get(index as usize)?,
    };
    (rate > 0).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;
    use crate::proto::rtp::testing::track;

    #[test]
    fn plain_aac_is_read() {
        let stereo = AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap();
        assert_eq!(
            (stereo.object_type, stereo.rate, stereo.channels()),
            (2, 48_000, Some(2))
        );
        let mono = AudioSpecificConfig::parse(&[0x12, 0x0c]).unwrap();
        assert_eq!(
            (mono.rate, mono.channels(), mono.frame_length),
            (44_100, Some(1), 960)
        );
        let text = fmtp(&[0x11, 0x90]);
        assert!(text.ends_with(";config=1190"));
        assert_eq!(
            AudioSpecificConfig::of_track(&track(Codec::Aac, 48_000, Some(&text))),
            Some(stereo)
        );
    }

    #[test]
    fn sbr_names_the_coding_below_and_its_rate() {
        // HE-AAC, 24 kHz below, 48 kHz above, stereo.
        let he = AudioSpecificConfig::parse(&[0x2b, 0x11, 0x88, 0x00]).unwrap();
        assert_eq!((he.object_type, he.rate, he.channels()), (2, 24_000, Some(2)));
    }

    #[test]
    fn broken_configurations_are_none() {
        for data in [
            &[][..],
            &[0x11],
            &[0x16, 0x80, 0],
            &[0x17, 0x80, 0, 0, 0, 0],
            &[0xff, 0xff],
        ] {
            assert_eq!(AudioSpecificConfig::parse(data), None, "{data:02x?}");
        }
    }

    #[test]
    fn the_adts_header_is_the_one_that_encoders_write() {
        // From ffmpeg -f adts: AAC-LC, 44.1 kHz, stereo, 371 bytes with the header.
        let config = AudioSpecificConfig::parse(&[0x12, 0x10]).unwrap();
        assert_eq!(
            config.adts_header(364),
            Some([0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfc])
        );
        assert_eq!(config.adts_header(8184).map(|h| h[3] & 3), Some(3));
        assert_eq!(config.adts_header(8185), None);
        assert_eq!(
            AudioSpecificConfig {
                rate: 44_101,
                ..config
            }
            .adts_header(1),
            None
        );
        assert_eq!(
            AudioSpecificConfig {
                object_type: 42,
                ..config
            }
            .adts_header(1),
            None
        );
    }
}
