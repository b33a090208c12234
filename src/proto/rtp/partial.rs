//! Frames of sound that come in several packets of one time stamp, where the first can be told from the others.
//!
//! Not here: what says so; see [`ac3`](super::ac3) and its neighbours.

use crate::base::time::MediaTime;
use crate::proto::rtp::depacketizer::Fault;
use crate::proto::rtp::depacketizer::Output;

/// The most bytes of a frame that comes in parts; none of these codecs has larger ones.
const MAX_FRAME: usize = 256 * 1024;

/// The frame whose parts are coming in, if there is one.
#[derive(Debug, Default)]
pub(super) struct Partial {
    open: Option<Open>,
    /// The time stamp of a frame that lacks a part: the others are passed over without a word.
    passed_over: Option<u32>,
}

#[derive(Debug)]
struct Open {
    timestamp: u32,
    pts: MediaTime,
    data: Vec<u8>,
}

impl Partial {
    /// A frame begins; one that was not finished is dropped.
    pub(super) fn begin(&mut self, timestamp: u32, pts: MediaTime, part: &[u8], out: &mut Output) {
        self.give_up(out);
        let data = part.to_vec();
        self.open = Some(Open { timestamp, pts, data });
    }

    /// The frame goes on. `gap`: the packet before was lost, which is nobody's fault; else a part that belongs to
    /// nothing is one.
    pub(super) fn go_on(
        &mut self,
        timestamp: u32,
        part: &[u8],
        gap: bool,
        out: &mut Output,
    ) -> Result<(), Fault> {
        match &mut self.open {
            Some(open) if !gap && open.timestamp == timestamp => {
                if open.data.len() + part.len() <= MAX_FRAME {
                    open.data.extend_from_slice(part);
                    return Ok(());
                }
                self.give_up(out);
                self.passed_over = Some(timestamp);
                Err("a frame is larger than 256 kB")
            }
            _ => {
                self.give_up(out);
                let known = gap || self.passed_over == Some(timestamp);
                self.passed_over = Some(timestamp);
                if known {
                    Ok(())
                } else {
                    Err("a frame lacks its beginning")
                }
            }
        }
    }

    /// Bytes that have come so far.
    pub(super) fn length(&self) -> usize {
        self.open.as_ref().map_or(0, |o| o.data.len())
    }

    /// The frame so far.
    pub(super) fn data(&self) -> &[u8] {
        self.open.as_ref().map_or(&[], |o| &o.data)
    }

    /// All parts have come.
    pub(super) fn finish(&mut self, out: &mut Output) {
        match self.open.take() {
            Some(open) if open.data.is_empty() => out.dropped(),
            Some(open) => out.emit(open.pts, true, open.data),
            None => {}
        }
    }

    /// The rest will not come.
    pub(super) fn give_up(&mut self, out: &mut Output) {
        if self.open.take().is_some() {
            out.dropped();
        }
    }
}
