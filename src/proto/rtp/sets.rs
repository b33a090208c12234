//! The parameter sets a depacketizer has seen, so that every keyframe can carry them.
//!
//! Not here: what they say; see [`h264`](crate::proto::h264) and its neighbours.

use crate::proto::bits::push_nal;

/// The most sets that are kept; streams have two or three.
const MAX_SETS: usize = 32;
/// Larger sets are not kept.
const MAX_SET_BYTES: usize = 8 * 1024;

/// The newest parameter set of each kind and number, in the order VPS, SPS, PPS.
#[derive(Clone, Debug, Default)]
pub(super) struct ParameterSets {
    sets: Vec<(u8, u32, Vec<u8>)>,
}

impl ParameterSets {
    /// Keeps `nal`, in place of the one of the same type and number. The types must rise from VPS to PPS, and
    /// they do in both standards.
    pub(super) fn keep(&mut self, nal_type: u8, id: u32, nal: &[u8]) {
        if nal.len() > MAX_SET_BYTES {
            return;
        }
        match self
            .sets
            .binary_search_by_key(&(nal_type, id), |&(t, i, _)| (t, i))
        {
            Ok(at) if self.sets[at].2 == nal => {}
            Ok(at) => self.sets[at].2 = nal.to_vec(),
            Err(at) if self.sets.len() < MAX_SETS => self.sets.insert(at, (nal_type, id, nal.to_vec())),
            Err(_) => {}
        }
    }

    /// Puts all sets in front of `unit`, in Annex B form, unless it has every type of them: `present`.
    pub(super) fn complete(&self, unit: &mut Vec<u8>, present: &[u8]) {
        // All or none: a PPS in front of the SPS that it names would be lost on a decoder.
        if self
            .sets
            .iter()
            .all(|(nal_type, _, _)| present.contains(nal_type))
        {
            return;
        }
        let mut head = Vec::new();
        for (_, _, nal) in &self.sets {
            push_nal(&mut head, nal);
        }
        unit.splice(..0, head);
    }
}
