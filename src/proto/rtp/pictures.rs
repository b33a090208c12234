//! Pictures that come in several packets: when one begins, when it ends, and whether all of it came.
//!
//! Not here: how a codec's payloads join; see [`h264`](super::h264) and its neighbours.

use std::fmt::Debug;

use crate::base::time::MediaTime;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::Output;
use crate::proto::rtp::header::Header;

/// Units of several packets: how one codec puts them together.
pub(super) trait Assemble: Debug + Send + Sync {
    /// Forgets what came in. `after_gap`: the packet before the next one was lost, or never seen.
    fn begin(&mut self, after_gap: bool);
    /// Appends a payload, which is not empty. After an error the rest of the unit is not shown.
    fn add(&mut self, payload: &[u8]) -> Result<(), Fault>;
    /// There is more than headers, so that a marker ends the unit.
    fn has_picture(&self) -> bool;
    /// The unit and whether it is a keyframe; `None` if its end is missing.
    fn finish(&mut self) -> Option<(Vec<u8>, bool)>;
}

/// Follows the units of a track.
#[derive(Debug)]
pub(super) struct Pictures {
    assembly: Box<dyn Assemble>,
    open: Option<Open>,
}

/// The unit that is coming in.
#[derive(Clone, Copy, Debug)]
struct Open {
    timestamp: u32,
    time: MediaTime,
    after_gap: bool,
    /// Something is missing or wrong: the unit will be dropped.
    broken: bool,
}

impl Pictures {
    /// Begins with the next packet.
    pub(super) fn new(assembly: impl Assemble + 'static) -> Self {
        Self {
            assembly: Box::new(assembly),
            open: None,
        }
    }

    /// Takes a packet. `gap` says that one before it was lost; it is cleared when that has been heeded.
    pub(super) fn packet(
        &mut self,
        header: &Header,
        payload: &[u8],
        gap: &mut bool,
        out: &mut Output,
    ) -> Result<(), Fault> {
        self.settle(header.timestamp, *gap, out);
        if payload.is_empty() && self.open.is_none() {
            return Ok(());
        }
        let after_gap = std::mem::take(gap);
        let assembly = &mut self.assembly;
        let open = self.open.get_or_insert_with(|| {
            assembly.begin(after_gap);
            let time = out.extend(header.timestamp);
            Open {
                timestamp: header.timestamp,
                time,
                after_gap,
                broken: false,
            }
        });
        let mut result = Ok(());
        if !open.broken && !payload.is_empty() {
            result = assembly.add(payload);
            open.broken = result.is_err();
        }
        if open.after_gap {
            result = Ok(()); // the loss was counted; what follows from it is nobody's fault
        }
        if header.marker && (open.broken || assembly.has_picture()) {
            self.close(out);
        }
        result
    }

    /// Decides what becomes of the open unit now that a packet with this time stamp comes.
    fn settle(&mut self, timestamp: u32, gap: bool, out: &mut Output) {
        let Some(open) = &mut self.open else { return };
        open.broken |= gap;
        if open.timestamp == timestamp {
            return;
        }
        if open.broken || self.assembly.has_picture() {
            self.close(out);
        } else {
            // Only headers so far: they belong to the picture that now comes.
            open.timestamp = timestamp;
            open.time = out.extend(timestamp);
        }
    }

    fn close(&mut self, out: &mut Output) {
        let Some(open) = self.open.take() else { return };
        let unit = if open.broken { None } else { self.assembly.finish() };
        match unit {
            Some((data, keyframe)) => out.emit(open.time, keyframe, data),
            None => out.dropped(),
        }
    }
}
