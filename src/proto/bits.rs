//! Bits, start codes and emulation prevention: what the bitstreams of H.264, H.265 and MPEG-4 share.
//!
//! Not here: what the bits mean; see [`h264`](super::h264) and its neighbours.

/// Reads bits from the most significant end. Every read past the end is `None`, for good.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    data: &'a [u8],
    /// Bits read so far.
    pos: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at the first bit of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, pos: 0 }
    }

    /// One bit.
    pub fn flag(&mut self) -> Option<bool> {
        let byte = *self.data.get(self.pos / 8)?;
        let bit = byte >> (7 - self.pos % 8) & 1;
        self.pos += 1;
        Some(bit == 1)
    }

    /// `count` bits as a number. `None` beyond the end and for more than 32 bits.
    pub fn bits(&mut self, count: u32) -> Option<u32> {
        if count > 32 || self.left() < count as usize {
            return None;
        }
        let mut value = 0u64;
        for _ in 0..count {
            value = value << 1 | u64::from(self.flag()?);
        }
        u32::try_from(value).ok()
    }

    /// Passes over `count` bits.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        if self.left() < count {
            return None;
        }
        self.pos += count;
        Some(())
    }

    /// An unsigned Exp-Golomb number, `ue(v)` (H.264 section 9.1).
    pub fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.bits(zeros)?;
        Some((1u32 << zeros) - 1 + rest)
    }

    /// Bits that are left.
    pub fn left(&self) -> usize {
        self.data.len() * 8 - self.pos
    }
}

/// Where the next start code `00 00 01` begins, at `from` or later.
pub fn find_start_code(data: &[u8], from: usize) -> Option<usize> {
    let mut i = from;
    while let Some(&third) = data.get(i + 2) {
        match third {
            // A byte above 1 can be in no place of the code: three positions are ruled out at once.
            2.. => i += 3,
            1 if data[i] == 0 && data[i + 1] == 0 => return Some(i),
            1 => i += 3,
            0 => i += 1,
        }
    }
    None
}

/// The NAL units of an Annex B stream, without start codes and without the zeros between them.
///
/// Bytes before the first start code belong to no NAL unit and are passed over.
pub fn nal_units(data: &[u8]) -> NalUnits<'_> {
    NalUnits {
        data,
        at: find_start_code(data, 0),
    }
}

/// The iterator of [`nal_units`].
#[derive(Clone, Debug)]
pub struct NalUnits<'a> {
    data: &'a [u8],
    /// Where the next start code is.
    at: Option<usize>,
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let start = self.at? + 3;
            self.at = find_start_code(self.data, start);
            let nal = &self.data[start..self.at.unwrap_or(self.data.len())];
            // A NAL unit never ends in zero: those belong to the next start code or are padding.
            let end = nal.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
            if end > 0 {
                return Some(&nal[..end]);
            }
        }
    }
}

/// Appends one NAL unit with a four-byte start code, which is the only form this program writes.
pub fn push_nal(out: &mut Vec<u8>, nal: &[u8]) {
    out.extend_from_slice(&START_CODE);
    out.extend_from_slice(nal);
}

/// The start code that [`push_nal`] writes.
pub const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Takes emulation prevention bytes out (`00 00 03` becomes `00 00`), reading no more than `limit` bytes.
pub fn unescape(nal: &[u8], limit: usize) -> Vec<u8> {
    let nal = &nal[..nal.len().min(limit)];
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// Bytes of hexadecimal digits, as `config=` in SDP has them. `None` for anything else and an odd count.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|&[high, low]| u8::try_from(digit(high)? << 4 | digit(low)?).ok())
        .collect()
}

/// Hexadecimal digits of `bytes`, in upper case.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exp_golomb_numbers_read_as_the_standard_lists_them() {
        // 1, 010, 011, 00100, 00101 -> 0, 1, 2, 3, 4 (H.264 table 9-2).
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!(
            [bits.ue(), bits.ue(), bits.ue(), bits.ue(), bits.ue()],
            [0, 1, 2, 3, 4].map(Some)
        );
        let mut long = BitReader::new(&[0, 0, 0, 0, 0xff]);
        assert_eq!(long.ue(), None);
    }

    #[test]
    fn reading_past_the_end_is_none_and_not_a_panic() {
        let mut bits = BitReader::new(&[0xa5]);
        assert_eq!(bits.bits(9), None);
        assert_eq!(bits.bits(8), Some(0xa5));
        assert_eq!(bits.flag(), None);
        assert_eq!(bits.bits(0), Some(0));
        assert_eq!(BitReader::new(&[0; 9]).bits(33), None);
        assert_eq!(BitReader::new(&[0xff; 4]).bits(32), Some(u32::MAX));
    }

    #[test]
    fn nal_units_are_found_behind_short_and_long_start_codes() {
        let stream = [
            9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 1, 0, 0, 1, 0x65, 0, 3, 0, 0,
        ];
        let units: Vec<&[u8]> = nal_units(&stream).collect();
        assert_eq!(units, [&[0x67, 1][..], &[0x68, 2], &[0x65, 0, 3]]);
        assert_eq!(nal_units(&[0, 0]).count(), 0);
        assert_eq!(nal_units(&[0, 0, 1]).count(), 0);
    }

    #[test]
    fn emulation_prevention_is_taken_out_only_after_two_zeros() {
        assert_eq!(
            unescape(&[1, 0, 0, 3, 1, 0, 3, 0, 0, 3], 99),
            [1, 0, 0, 1, 0, 3, 0, 0]
        );
        assert_eq!(unescape(&[0, 0, 3, 0, 0, 3, 0], 99), [0, 0, 0, 0, 0]);
        assert_eq!(unescape(&[1, 2, 3], 2), [1, 2]);
    }

    #[test]
    fn hexadecimal_digits_are_read_in_either_case() {
        assert_eq!(from_hex("00aFB6"), Some(vec![0, 0xaf, 0xb6]));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0x"), None);
        assert_eq!(to_hex(&[0, 0xaf]), "00AF");
    }

    proptest! {
        #[test]
        fn start_codes_are_found_where_a_plain_search_finds_them(
            data in proptest::collection::vec(0u8..4, 0..64),
            from in 0usize..70,
        ) {
            let plain = (from..data.len().saturating_sub(2)).find(|&i| data[i..i + 3] == [0, 0, 1]);
            prop_assert_eq!(find_start_code(&data, from), plain);
        }

        #[test]
        fn what_is_joined_splits_into_the_same(
            units in proptest::collection::vec(proptest::collection::vec(4u8..=255, 1..20), 0..6),
        ) {
            let mut stream = Vec::new();
            for nal in &units {
                push_nal(&mut stream, nal);
            }
            prop_assert_eq!(nal_units(&stream).collect::<Vec<_>>(), units);
        }
    }
}
