//! Units that are cut anywhere, with the marker at their end: AAC in LATM (RFC 6416 section 6) and KLV (RFC 6597).
//!
//! Not here: what is in them. An AudioMuxElement stays as it is, so that its configuration, in band or in SDP, is
//! the far end's business.

use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::fits;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::pictures::Assemble;

/// Sends a unit in full packets; the last has the marker.
pub(super) fn packetize(writer: &mut Writer, unit: &[u8], timestamp: u32, out: &mut Vec<Vec<u8>>) {
    let count = unit.len().div_ceil(writer.max_payload);
    for (i, part) in unit.chunks(writer.max_payload).enumerate() {
        writer.packet(out, i + 1 == count, timestamp, &[part]);
    }
}

/// Puts units together.
#[derive(Debug)]
pub(super) struct Depacketizer {
    /// Whether a unit begins with this payload for certain; behind a loss only such a one is taken.
    begins: fn(&[u8]) -> bool,
    unit: Vec<u8>,
    after_gap: bool,
}

impl Depacketizer {
    /// For AudioMuxElements.
    pub(super) fn latm() -> Self {
        Self::new(is_whole_element)
    }

    /// For keys, lengths and values.
    pub(super) fn klv() -> Self {
        Self::new(|payload| payload.starts_with(&UNIVERSAL_LABEL))
    }

    fn new(begins: fn(&[u8]) -> bool) -> Self {
        Self {
            begins,
            unit: Vec::new(),
            after_gap: false,
        }
    }
}

/// How the keys of SMPTE ST 336 begin.
const UNIVERSAL_LABEL: [u8; 4] = [0x06, 0x0e, 0x2b, 0x34];

/// Whether a payload is a whole AudioMuxElement without configuration: its length, in bytes of 255 and a last one,
/// is that of what follows (ISO/IEC 14496-3 section 1.7.3, PayloadLengthInfo).
fn is_whole_element(payload: &[u8]) -> bool {
    let Some(last) = payload.iter().position(|b| *b != 255) else {
        return false;
    };
    last * 255 + usize::from(payload[last]) == payload.len() - last - 1
}

impl Assemble for Depacketizer {
    fn begin(&mut self, after_gap: bool) {
        self.unit.clear();
        self.after_gap = after_gap;
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Fault> {
        if self.after_gap && self.unit.is_empty() && !(self.begins)(payload) {
            return Err("the beginning of the unit was lost");
        }
        fits(self.unit.len(), payload.len())?;
        self.unit.extend_from_slice(payload);
        Ok(())
    }

    fn has_picture(&self) -> bool {
        !self.unit.is_empty()
    }

    fn finish(&mut self) -> Option<(Vec<u8>, bool)> {
        let unit = std::mem::take(&mut self.unit);
        (!unit.is_empty()).then_some((unit, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;
    use crate::media::MediaKind;
    use crate::media::Track;
    use crate::proto::rtp::Depacketizer as Whole;
    use crate::proto::rtp::testing;
    use crate::proto::rtp::testing::noise;
    use crate::proto::rtp::testing::packet;
    use crate::proto::rtp::testing::track;

    /// Of sound and data every unit can be begun with.
    fn of(codec: Codec) -> Track {
        Track {
            kind: MediaKind::Audio,
            ..track(codec, 90_000, None)
        }
    }

    fn element(_: bool, length: usize) -> Vec<u8> {
        let mut out = vec![255; length / 255];
        out.push((length % 255) as u8);
        out.extend(noise(length as u32, length));
        out
    }

    fn klv(_: bool, length: usize) -> Vec<u8> {
        let mut out = UNIVERSAL_LABEL.to_vec();
        out.extend([1; 12]);
        out.extend([0x82, (length >> 8) as u8, length as u8]);
        out.extend(noise(length as u32, length));
        out
    }

    #[test]
    fn a_whole_element_is_told_by_its_length() {
        assert!(is_whole_element(&element(true, 254)) && is_whole_element(&element(true, 255)));
        assert!(!is_whole_element(&element(true, 300)[..200]));
        assert!(!is_whole_element(&[]) && !is_whole_element(&[255, 255]));
    }

    #[test]
    fn behind_a_loss_a_unit_needs_its_beginning() {
        let of_data = of(Codec::Klv);
        let mut depacketizer = Whole::new(&of_data).unwrap();
        for (sequence, time, marker, payload) in [
            (1, 0, true, &[9, 9][..]), // the end of something
            (2, 1, true, &UNIVERSAL_LABEL),
            (4, 2, true, &[9]), // its beginning was number 3
            (5, 3, true, &UNIVERSAL_LABEL),
        ] {
            depacketizer
                .push(&packet(sequence, time, marker, payload))
                .unwrap();
        }
        let got: Vec<_> = std::iter::from_fn(|| depacketizer.pull())
            .map(|u| u.pts.ticks)
            .collect();
        assert_eq!((got, depacketizer.dropped()), (vec![1, 3], 2));
    }

    #[test]
    fn units_come_back_at_every_size_and_losses_cost_little() {
        // Behind the lost end of an element, the next one may have lost its beginning for all we know.
        testing::holds(&of(Codec::AacLatm), 2, element);
        testing::holds(&of(Codec::Klv), 1, klv);
    }
}
