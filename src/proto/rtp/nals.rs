//! NAL units into packets and access units: what H.264 and H.265 share.
//!
//! Not here: how packets carry NAL units; see [`h264`](super::h264) and [`h265`](super::h265).

use crate::proto::bits::START_CODE;
use crate::proto::bits::push_nal;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::fits;
use crate::proto::rtp::header::Writer;
use crate::proto::rtp::pictures::Assemble;

/// Sends NAL units, large ones in equal fragments; the last packet has the marker.
///
/// `N` is the size of the codec's NAL header, which fragments leave out. `fu` makes what stands before a
/// fragment of this NAL unit, `M` bytes, from whether it is the first and the last.
pub(super) fn packetize<'a, const N: usize, const M: usize>(
    writer: &mut Writer,
    nals: impl Iterator<Item = &'a [u8]>,
    timestamp: u32,
    out: &mut Vec<Vec<u8>>,
    fu: fn(&[u8; N], bool, bool) -> [u8; M],
) {
    let mut nals = nals.peekable();
    while let Some(nal) = nals.next() {
        let last = nals.peek().is_none();
        let (header, body) = match nal.split_first_chunk() {
            Some(parts) if nal.len() > writer.max_payload => parts,
            _ => {
                writer.packet(out, last, timestamp, &[nal]);
                continue;
            }
        };
        let share = Writer::equal_share(body.len(), writer.max_payload.saturating_sub(M));
        let count = body.len().div_ceil(share);
        for (i, fragment) in body.chunks(share).enumerate() {
            let (start, end) = (i == 0, i + 1 == count);
            let marker = last && end;
            writer.packet(out, marker, timestamp, &[&fu(header, start, end), fragment]);
        }
    }
}

/// What a NAL unit is to the access unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// VPS, SPS or PPS: its type, which rises in this order, and the number by which others name it.
    ParameterSet { kind: u8, id: u32 },
    /// Part of the picture. `first`: it begins it.
    Slice { first: bool, keyframe: bool },
    /// Something else that goes along; `keyframe` if it says that decoding can start here.
    Other { keyframe: bool },
    /// Left out.
    Padding,
}

/// An access unit in the making, in Annex B form with four-byte start codes.
///
/// A keyframe without parameter sets gets the newest that were seen, at first those of SDP. A unit of
/// nothing but parameter sets and the like waits for the picture.
#[derive(Debug)]
pub(super) struct NalAssembly {
    role: fn(&[u8]) -> Role,
    /// Takes the NAL units, or the part of one, out of a payload of the codec.
    take: fn(&mut Self, &[u8]) -> Result<(), Fault>,
    sets: ParameterSets,
    unit: Vec<u8>,
    /// Where in `unit` the NAL unit begins whose fragments are coming in.
    fragment: Option<usize>,
    keyframe: bool,
    has_picture: bool,
    /// Types of parameter sets that are in `unit`.
    present: Vec<u8>,
    /// The packet before was lost: the unit is whole only if it begins with the first slice of its picture.
    after_gap: bool,
}

impl NalAssembly {
    /// `role` tells the codec's NAL units apart, `take` reads its payloads; `sets` are those of SDP.
    pub(super) fn new(
        role: fn(&[u8]) -> Role,
        take: fn(&mut Self, &[u8]) -> Result<(), Fault>,
        sets: &[Vec<u8>],
    ) -> Self {
        let mut known = ParameterSets::default();
        for nal in sets {
            if let Role::ParameterSet { kind, id } = role(nal) {
                known.keep(kind, id, nal);
            }
        }
        Self {
            role,
            take,
            sets: known,
            unit: Vec::new(),
            fragment: None,
            keyframe: false,
            has_picture: false,
            present: Vec::new(),
            after_gap: false,
        }
    }

    /// Appends a NAL unit.
    pub(super) fn whole(&mut self, nal: &[u8]) -> Result<(), Fault> {
        if self.fragment.is_some() {
            return Err("a NAL unit ends without its last fragment");
        }
        let start = self.unit.len();
        fits(start, nal.len() + START_CODE.len())?;
        push_nal(&mut self.unit, nal);
        self.complete(start)
    }

    /// Appends NAL units that each have their size in 16 bits before them, as aggregation packets do.
    pub(super) fn aggregated(&mut self, data: &[u8]) -> Result<(), Fault> {
        let mut rest = data;
        while let Some((nal, after)) = next_aggregated(rest) {
            self.whole(nal)?;
            rest = after;
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err("a NAL unit reaches beyond its aggregation packet")
        }
    }

    /// Appends a fragment. `header`: the NAL unit's own header if this is its first; `last`: it ends here.
    pub(super) fn fragment(&mut self, header: Option<&[u8]>, body: &[u8], last: bool) -> Result<(), Fault> {
        fits(self.unit.len(), body.len() + START_CODE.len() + 2)?;
        if let Some(header) = header {
            if self.fragment.is_some() {
                return Err("a NAL unit ends without its last fragment");
            }
            self.fragment = Some(self.unit.len());
            push_nal(&mut self.unit, header);
        }
        let Some(start) = self.fragment else {
            return Err("a NAL unit lacks its first fragment");
        };
        self.unit.extend_from_slice(body);
        if last {
            self.fragment = None;
            return self.complete(start);
        }
        Ok(())
    }

    /// Takes note of the NAL unit that `unit` has from `start` (where its start code is) to the end.
    fn complete(&mut self, start: usize) -> Result<(), Fault> {
        let nal = &self.unit[start + START_CODE.len()..];
        match (self.role)(nal) {
            Role::ParameterSet { kind, id } => {
                let known = self.sets.keep(kind, id, nal) == Kept::Already;
                if known && self.has_picture {
                    // GStreamer repeats them before each slice, but between slices they would end the picture
                    // (H.264 section 7.4.1.2.3).
                    self.unit.truncate(start);
                } else if !self.present.contains(&kind) {
                    self.present.push(kind);
                }
            }
            Role::Slice { first: false, .. } if self.after_gap && !self.has_picture => {
                return Err("the first slices of the picture were lost");
            }
            Role::Slice { keyframe, .. } => {
                self.has_picture = true;
                self.keyframe |= keyframe;
            }
            Role::Other { keyframe } => self.keyframe |= keyframe,
            Role::Padding => self.unit.truncate(start),
        }
        Ok(())
    }
}

impl Assemble for NalAssembly {
    fn begin(&mut self, after_gap: bool) {
        self.unit.clear();
        self.present.clear();
        self.fragment = None;
        self.keyframe = false;
        self.has_picture = false;
        self.after_gap = after_gap;
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Fault> {
        (self.take)(self, payload)
    }

    fn has_picture(&self) -> bool {
        self.has_picture || self.fragment.is_some()
    }

    fn finish(&mut self) -> Option<(Vec<u8>, bool)> {
        if self.fragment.is_some() || !self.has_picture {
            return None;
        }
        let mut unit = std::mem::take(&mut self.unit);
        if self.keyframe {
            self.sets.complete(&mut unit, &self.present);
        }
        Some((unit, self.keyframe))
    }
}

/// The first NAL unit behind its 16-bit size, and what follows; `None` at the end or if it does not fit.
pub(super) fn next_aggregated(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&size, rest) = data.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(size)))
}

/// The most sets that are kept; streams have two or three.
const MAX_SETS: usize = 32;
/// Larger sets are not kept.
const MAX_SET_BYTES: usize = 8 * 1024;

/// Whether a parameter set was known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kept {
    Already,
    New,
}

/// The newest parameter set of each kind and number, in the order VPS, SPS, PPS.
#[derive(Clone, Debug, Default)]
struct ParameterSets {
    sets: Vec<(u8, u32, Vec<u8>)>,
}

impl ParameterSets {
    /// Keeps `nal`, in place of the one of the same type and number. The types must rise from VPS to PPS, and
    /// they do in both standards.
    fn keep(&mut self, nal_type: u8, id: u32, nal: &[u8]) -> Kept {
        match self
            .sets
            .binary_search_by_key(&(nal_type, id), |&(t, i, _)| (t, i))
        {
            Ok(at) if self.sets[at].2 == nal => return Kept::Already,
            _ if nal.len() > MAX_SET_BYTES => {}
            Ok(at) => self.sets[at].2 = nal.to_vec(),
            Err(at) if self.sets.len() < MAX_SETS => self.sets.insert(at, (nal_type, id, nal.to_vec())),
            Err(_) => {}
        }
        Kept::New
    }

    /// Puts all sets in front of `unit`, in Annex B form, unless it has every type of them: `present`.
    fn complete(&self, unit: &mut Vec<u8>, present: &[u8]) {
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
