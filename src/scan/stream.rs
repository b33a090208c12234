//! Bytes that come in pieces of any size, searched with bounded memory. What lies across a cut is found once.

use std::collections::HashSet;

use crate::scan::Form;
use crate::scan::Found;
use crate::scan::encoded;
use crate::scan::text;
use crate::scan::text::AHEAD;
use crate::scan::text::BEHIND;

/// Bytes that are searched at a time.
const REGION: usize = 64 * 1024;
/// Bytes kept behind and ahead of those, for what lies across; more than any kind needs, twice for UTF-16.
const BEFORE: usize = 2 * BEHIND;
const AFTER: usize = 2 * AHEAD;

/// A search of one file.
#[derive(Default)]
pub struct Stream {
    bytes: Vec<u8>,
    /// Offset in the file of the first of `bytes`.
    base: u64,
    /// The first of `bytes` that was not searched.
    next: usize,
    /// Offset in the file behind the last find in plain text: what is inside of it is not another.
    told_to: u64,
}

impl Stream {
    /// Takes the next piece.
    pub fn feed(&mut self, mut piece: &[u8], found: &mut impl FnMut(Found)) {
        while !piece.is_empty() {
            let room = self.next + REGION + AFTER - self.bytes.len();
            let (now, later) = piece.split_at(room.min(piece.len()));
            self.bytes.extend_from_slice(now);
            piece = later;
            if self.bytes.len() == self.next + REGION + AFTER {
                self.search(self.next + REGION, found);
            }
        }
    }

    /// Searches what is left. After this the stream is as new.
    pub fn finish(&mut self, found: &mut impl FnMut(Found)) {
        self.search(self.bytes.len(), found);
        *self = Self::default();
    }

    fn search(&mut self, end: usize, found: &mut impl FnMut(Found)) {
        let region = self.next..end;
        let base = self.base;
        let bytes = &self.bytes;
        // The telling place of a find lies in one region alone; its beginning may lie in the one before.
        let known = usize::try_from(self.told_to.saturating_sub(base)).unwrap_or(usize::MAX);
        let places = region.start.max(known).min(end)..end;
        let stopped = text::find(bytes, places, |at, kind, harmless| {
            found(Found {
                offset: base + at as u64,
                kind,
                form: Form::Text,
                harmless,
            });
        });
        self.told_to = base + stopped as u64;
        let mut told = HashSet::new();
        let mut hit = |(at, kind, form, harmless): encoded::Hit| {
            if region.contains(&at) && told.insert((at, kind, form)) {
                found(Found {
                    offset: base + at as u64,
                    kind,
                    form,
                    harmless,
                });
            }
        };
        encoded::utf16(bytes, &mut hit);
        encoded::base64(bytes, &mut hit);
        encoded::mapped(bytes, &mut hit);
        let keep_from = end.saturating_sub(BEFORE);
        self.bytes.drain(..keep_from);
        self.base += keep_from as u64;
        self.next = end - keep_from;
    }
}
