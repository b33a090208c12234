//! AC-3: how long a frame is (ATSC A/52 section 5.4.1).
//!
//! Not here: E-AC-3, whose packets differ too (RFC 4598) and are passed on; packets, which are in [`rtp`](super::rtp).

/// Samples of each channel in a frame.
pub const SAMPLES: u32 = 1536;

/// Bit rates by `frmsizecod`, in kbit/s (table 5.18).
const BIT_RATES: [usize; 19] = [
    32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640,
];

/// Bytes of the frame that begins with these; `None` if it is no frame of AC-3.
pub fn frame_length(data: &[u8]) -> Option<usize> {
    let &[0x0b, 0x77, _, _, size, bsid, ..] = data else {
        return None;
    };
    if bsid >> 3 > 10 {
        return None; // E-AC-3
    }
    let code = usize::from(size & 0x3f);
    let bit_rate = BIT_RATES.get(code / 2)?;
    let words = match size >> 6 {
        0 => bit_rate * 2,                          // 48 kHz
        1 => bit_rate * 96_000 / 44_100 + code % 2, // 44.1 kHz, rounded either way
        2 => bit_rate * 3,                          // 32 kHz
        _ => return None,
    };
    Some(words * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_table() {
        let length = |size: u8| frame_length(&[0x0b, 0x77, 0, 0, size, 0x40]);
        assert_eq!(length(0x14), Some(768), "192 kbit/s at 48 kHz");
        assert_eq!(length(0x40), Some(138), "32 kbit/s at 44.1 kHz");
        assert_eq!(length(0x41), Some(140));
        assert_eq!(length(0x40 | 37), Some(2788), "640 kbit/s at 44.1 kHz");
        assert_eq!(length(0x80 | 36), Some(3840), "640 kbit/s at 32 kHz");
        assert_eq!((length(0xc0), length(0x26)), (None, None));
        assert_eq!(frame_length(&[0x0b, 0x77, 0, 0, 0x14, 0x80]), None, "E-AC-3");
        assert_eq!(frame_length(&[0x0b, 0x77, 0, 0, 0x14]), None);
    }
}
