//! NAL units in Annex B streams, as far as encoders need it. What is inside of them is `proto::h264`'s.

/// NAL unit types of H.264 (ITU-T H.264 table 7-1).
pub(crate) const IDR: u8 = 5;
pub(crate) const SPS: u8 = 7;
pub(crate) const PPS: u8 = 8;

/// The NAL units of an Annex B stream, without start codes and trailing zeros.
pub(crate) fn nal_units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(data);
    std::iter::from_fn(move || {
        let current = rest?;
        let end = find_start_code(current);
        rest = end.and_then(|at| after_start_code(&current[at..]));
        let unit = &current[..end.unwrap_or(current.len())];
        let len = unit.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        Some(&unit[..len])
    })
    .filter(|unit| !unit.is_empty())
}

/// The type of an H.264 NAL unit.
pub(crate) fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |b| b & 0x1f)
}

fn find_start_code(data: &[u8]) -> Option<usize> {
    data.windows(3).position(|w| w == [0, 0, 1])
}

fn after_start_code(data: &[u8]) -> Option<&[u8]> {
    find_start_code(data).map(|at| &data[at + 3..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lengths_of_start_codes_separate_units_and_zeros_do_not_count() {
        let data = [
            0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x65, 0, 0, 3, 0, 0,
        ];
        let units: Vec<_> = nal_units(&data).collect();
        assert_eq!(units, [&[0x67, 1, 2][..], &[0x68, 3], &[0x65, 0, 0, 3]]);
        assert_eq!(units.iter().map(|u| kind(u)).collect::<Vec<_>>(), [SPS, PPS, IDR]);
        assert_eq!(nal_units(b"no start code").count(), 0);
        assert_eq!(nal_units(&[0, 0, 1]).count(), 0);
    }
}
