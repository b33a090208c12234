//! AAC in LOAS, as broadcasts send it (ISO/IEC 14496-3 section 1.7): the AudioSpecificConfig and the access unit in
//! an AudioSyncStream of one program with one layer. Anything richer is refused.
//!
//! Not here: LATM in RTP, which passes as it is (see [`rtp`](super::rtp)).

use crate::proto::bits::BitReader;

/// The sync word, 11 bits.
const SYNC: u32 = 0x2b7;

/// The AudioSpecificConfig in a frame, if the frame has one: some repeat that of the frame before.
pub fn config(frame: &[u8]) -> Option<Vec<u8>> {
    let mut bits = element(frame)?;
    match bits.flag()? {
        true => None,
        false => stream_mux_config(&mut bits),
    }
}

/// The access unit in a frame.
pub fn unit(frame: &[u8]) -> Option<Vec<u8>> {
    let mut bits = element(frame)?;
    if !bits.flag()? {
        stream_mux_config(&mut bits)?;
    }
    let mut length = 0;
    loop {
        let part = bits.bits(8)?;
        length += part as usize;
        if part < 255 {
            break;
        }
    }
    take(&mut bits, length * 8)
}

/// The AudioMuxElement behind the sync word and its length.
fn element(frame: &[u8]) -> Option<BitReader<'_>> {
    let mut head = BitReader::new(frame);
    if head.bits(11)? != SYNC {
        return None;
    }
    let length = head.bits(13)? as usize;
    Some(BitReader::new(frame.get(3..3 + length)?))
}

/// Section 1.7.3.1, as far as it says one stream; the configuration is what comes back.
fn stream_mux_config(bits: &mut BitReader<'_>) -> Option<Vec<u8>> {
    let second = bits.flag()?;
    if second {
        let other_syntax = bits.flag()?;
        if other_syntax {
            return None;
        }
        value(bits)?; // taraBufferFullness
    }
    let same_framing = bits.flag()?;
    let (subframes, programs, layers) = (bits.bits(6)?, bits.bits(4)?, bits.bits(3)?);
    if !same_framing || (subframes, programs, layers) != (0, 0, 0) {
        return None;
    }
    let config = if second {
        let length = value(bits)? as usize;
        take(bits, length)?
    } else {
        let before = bits.clone();
        audio_specific_config(bits)?;
        let length = before.left() - bits.left();
        take(&mut before.clone(), length)?
    };
    let length_type = bits.bits(3)?;
    if length_type != 0 {
        return None;
    }
    bits.skip(8)?; // latmBufferFullness
    if bits.flag()? {
        other_data(bits, second)?;
    }
    if bits.flag()? {
        bits.skip(8)?; // its checksum
    }
    Some(config)
}

/// Passes over an AudioSpecificConfig of AAC (section 1.6.2.1), which does not say how long it is.
fn audio_specific_config(bits: &mut BitReader<'_>) -> Option<()> {
    let mut object_type = bits.bits(5)?;
    rate(bits)?;
    let channels = bits.bits(4)?;
    if matches!(object_type, 5 | 29) {
        rate(bits)?;
        object_type = bits.bits(5)?;
    }
    if !matches!(object_type, 1..=4) || channels == 0 {
        return None;
    }
    bits.skip(1)?; // short frames
    if bits.flag()? {
        bits.skip(14)?; // coreCoderDelay
    }
    bits.skip(1) // extensionFlag, which says nothing here
}

fn rate(bits: &mut BitReader<'_>) -> Option<()> {
    match bits.bits(4)? {
        15 => bits.skip(24),
        _ => Some(()),
    }
}

fn other_data(bits: &mut BitReader<'_>, second: bool) -> Option<()> {
    if second {
        value(bits)?;
        return Some(());
    }
    while bits.flag()? {
        bits.skip(8)?;
    }
    bits.skip(8)
}

/// LatmGetValue().
fn value(bits: &mut BitReader<'_>) -> Option<u32> {
    let bytes = bits.bits(2)? + 1;
    bits.bits(8 * bytes)
}

/// So many bits as bytes, filled up with zeros at the end.
fn take(bits: &mut BitReader<'_>, count: usize) -> Option<Vec<u8>> {
    if bits.left() < count {
        return None;
    }
    let mut out = Vec::with_capacity(count.div_ceil(8));
    for at in (0..count).step_by(8) {
        let part = (count - at).min(8) as u32; // at most 8
        out.push((bits.bits(part)? << (8 - part)) as u8); // a byte
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bits as text, spaces between them, into a LOAS frame.
    fn frame(bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
        let byte = |part: &[u8]| {
            let value = part.iter().fold(0, |n, b| n << 1 | b);
            value << (8 - part.len())
        };
        let element: Vec<u8> = bits.chunks(8).map(byte).collect();
        let head = SYNC << 13 | element.len() as u32;
        [&head.to_be_bytes()[1..], &element].concat()
    }

    /// Stereo at 48 kHz, as ffmpeg writes it.
    const CONFIG: &str = "0 1 000000 0000 000 00010 0011 0010 0 0 0 000 11111111 0 0";

    #[test]
    fn a_frame_gives_its_configuration_and_its_unit() {
        let frame = frame(&format!("0 {CONFIG} 00000010 10101010 11110000"));
        assert_eq!(config(&frame).unwrap(), [0x11, 0x90]);
        assert_eq!(unit(&frame).unwrap(), [0xaa, 0xf0]);
    }

    #[test]
    fn a_frame_may_say_that_nothing_has_changed() {
        let frame = frame("1 00000001 01010101");
        assert_eq!(config(&frame), None);
        assert_eq!(unit(&frame).unwrap(), [0x55]);
    }

    #[test]
    fn what_is_richer_or_cut_off_is_refused() {
        for (what, bits) in [
            ("two programs", "0 0 1 000000 0001 000 00010"),
            (
                "no AAC",
                "0 0 1 000000 0000 000 10001 0011 0010 0 0 0 000 11111111 0 0 0",
            ),
            ("nothing", ""),
        ] {
            assert_eq!(unit(&frame(bits)), None, "{what}");
        }
        let mut short = frame(&format!("0 {CONFIG} 00000010 10101010 11110000"));
        short.pop();
        assert_eq!(unit(&short), None);
        assert_eq!(unit(&[0xff, 0xf1, 0x4c]), None, "ADTS");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            config(&bytes);
            unit(&bytes);
            if bytes.len() > 3 {
                let head = SYNC << 13 | (bytes.len() - 3) as u32;
                bytes[..3].copy_from_slice(&head.to_be_bytes()[1..]);
                config(&bytes);
                unit(&bytes);
            }
        }
    }
}
