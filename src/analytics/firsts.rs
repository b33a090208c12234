//! Who comes for the first time today, and what is a view: what the writer keeps in mind about viewers, so that the
//! store need not.
//!
//! Both are forgotten with the process, as the pseudonyms are: after a restart nobody is known again. Not here: the
//! store.

use std::collections::HashMap;
use std::collections::HashSet;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;

use jiff::civil::Date;

use crate::analytics::leaves::First;
use crate::analytics::private::BOUNDED_PATHS;
use crate::analytics::private::BOUNDED_SESSIONS;
use crate::analytics::recorder::Session;
use crate::analytics::recorder::Span;

/// Facts about viewers of a day that are kept in mind, some eight per viewer and path, of 9 to 18 bytes each. Beyond it
/// nobody is the first any more: numbers of viewers may then be low, never wrong about someone.
const MOST: usize = 8_000_000;

/// Sessions of one viewer on one path with at most this between them are one view.
const GAP_MS: i64 = 60_000;

/// A view is watched at least this long.
pub(super) const VIEW_MS: i64 = 10_000;

/// What was seen of the viewers of a day.
pub(super) struct Firsts {
    day: Option<Date>,
    /// Hashes, under a key of this process, of a viewer and a fact.
    seen: HashSet<u64>,
    hash: RandomState,
}

impl Firsts {
    pub(super) fn new() -> Self {
        Self {
            day: None,
            seen: HashSet::new(),
            hash: RandomState::new(),
        }
    }

    /// Nobody was seen yet: the store is another.
    pub(super) fn forget(&mut self) {
        self.seen = HashSet::new();
    }

    /// For what the viewer of a session that begins comes first: bits of [`First`].
    pub(super) fn of_beginning(&mut self, session: &Session) -> i64 {
        let day = session.viewer.day();
        if self.day.is_none_or(|known| known < day) {
            self.day = Some(day);
            self.forget();
        }
        let here = self.bits(session, First::HERE, "");
        let is_new_path = here & First::of_path(First::HERE) != 0;
        let paths = if is_new_path {
            self.among(session, First::AMONG_PATHS, BOUNDED_PATHS)
        } else {
            0
        };
        here | paths
            | self.among(session, First::AMONG_SESSIONS, BOUNDED_SESSIONS)
            | self.bits(session, First::PROTOCOL, session.protocol.name())
            | self.bits(session, First::TRANSPORT, session.transport.name())
    }

    /// As [`Self::of_beginning`], for a session that ends with a length of this class.
    pub(super) fn of_end(&mut self, session: &Session, class: usize) -> i64 {
        self.bits(session, First::LENGTH, &class.to_string())
    }

    /// The bit, when it is one of the first so many of its viewer.
    fn among(&mut self, session: &Session, bit: i64, most: u32) -> i64 {
        for n in 0..most {
            let fact = self.hash.hash_one((session.viewer.day_id(), bit, n));
            if self.seen.contains(&fact) {
                continue;
            }
            return if self.seen.len() < MOST && self.seen.insert(fact) {
                bit
            } else {
                0
            };
        }
        0
    }

    /// The bit for all paths, and the one for this path.
    fn bits(&mut self, session: &Session, bit: i64, value: &str) -> i64 {
        let mut first = |scope: &str| {
            let fact = self.hash.hash_one((session.viewer.day_id(), scope, bit, value));
            self.seen.len() < MOST && self.seen.insert(fact)
        };
        let everywhere = if first("") { bit } else { 0 };
        let here = if first(&session.path) {
            First::of_path(bit)
        } else {
            0
        };
        everywhere | here
    }
}

/// The views that go on, or ended less than a minute ago.
#[derive(Default)]
pub(super) struct Views(HashMap<([u8; 16], Box<str>), View>);

/// Sessions of one viewer on one path, with at most a minute between them.
#[derive(Default)]
struct View {
    open: HashMap<[u8; 16], Arc<Session>>,
    /// What ended sessions watched; time watched twice counts once.
    watched: Watched,
    /// Whether it was counted.
    counted: bool,
}

/// Time watched, by spans that come in the order of their beginnings.
#[derive(Clone, Copy, Default)]
struct Watched {
    ms: i64,
    until_ms: i64,
}

impl Watched {
    /// Adds a span. The moment when the sum reached [`VIEW_MS`], if it did by this span.
    fn add(&mut self, from_ms: i64, to_ms: i64) -> Option<i64> {
        let before = self.ms;
        self.ms += (to_ms - from_ms.max(self.until_ms)).max(0);
        self.until_ms = self.until_ms.max(to_ms);
        (before < VIEW_MS && self.ms >= VIEW_MS).then(|| to_ms - (self.ms - VIEW_MS))
    }
}

impl Views {
    /// A session begins.
    pub(super) fn begin(&mut self, session: &Arc<Session>) {
        let view = self.0.entry(key(session)).or_default();
        if view.open.is_empty() && session.started_ms - view.watched.until_ms > GAP_MS {
            *view = View::default();
        }
        view.open.insert(session.id, Arc::clone(session));
    }

    /// A session ended. The moment when its view reached ten seconds, if it was this session that brought it there.
    pub(super) fn end(&mut self, session: &Arc<Session>) -> Option<i64> {
        let view = self.0.get_mut(&key(session))?;
        view.open.remove(&session.id);
        let mut reached = None;
        for Span { from_ms, to_ms } in &session.course().spans {
            reached = view.watched.add(*from_ms, to_ms.unwrap_or(*from_ms)).or(reached);
        }
        reached.filter(|_| !std::mem::replace(&mut view.counted, true))
    }

    /// Looks at what plays now: the sessions whose view reached ten seconds, with the moment when it did. Views that
    /// ended more than a minute ago are forgotten.
    pub(super) fn look(&mut self, now_ms: i64) -> Vec<([u8; 16], i64)> {
        let mut reached = Vec::new();
        self.0.retain(|_, view| {
            if !view.counted
                && let Some(found) = view.reached(now_ms)
            {
                view.counted = true;
                reached.push(found);
            }
            !view.open.is_empty() || now_ms - view.watched.until_ms <= GAP_MS
        });
        reached
    }
}

impl View {
    fn reached(&self, now_ms: i64) -> Option<([u8; 16], i64)> {
        let mut spans: Vec<(i64, i64, [u8; 16])> = Vec::new();
        for session in self.open.values() {
            let course = session.course();
            let of_session = course.spans.iter();
            spans.extend(of_session.map(|s| (s.from_ms, s.to_ms.unwrap_or(now_ms), session.id)));
        }
        spans.sort_unstable();
        let mut watched = self.watched;
        spans
            .into_iter()
            .find_map(|(from, to, id)| Some((id, watched.add(from, to)?)))
    }
}

fn key(session: &Session) -> ([u8; 16], Box<str>) {
    (session.viewer.day_id(), session.path.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_watched_twice_counts_once() {
        let mut watched = Watched::default();
        assert_eq!(watched.add(1000, 7000), None);
        assert_eq!(watched.add(2000, 8000), None);
        assert_eq!(watched.add(20_000, 25_000), Some(23_000));
        assert_eq!(watched.add(30_000, 99_000), None, "it reached it before");
    }
}
