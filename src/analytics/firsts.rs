//! Who comes for the first time today, and what is a view: what the writer keeps in mind about viewers, so that the
//! store need not.
//!
//! Both are forgotten with the process, as the pseudonyms are: after a restart nobody is known again. Not here: the
//! store.

use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::hash::RandomState;
use std::sync::Arc;

use jiff::civil::Date;

use crate::analytics::leaves::First;
use crate::analytics::private::BOUNDED_PATHS;
use crate::analytics::private::BOUNDED_SESSIONS;
use crate::analytics::recorder::Session;
use crate::analytics::recorder::Span;

/// Viewers of a day, and viewers of paths, of whom marks are kept in mind: 20 to 39 bytes each. Beyond it nobody is the
/// first any more: numbers of viewers may then be low, never wrong about someone.
const MOST: usize = 2_000_000;

/// Sessions of one viewer on one path with at most this between them are one view.
const GAP_MS: i64 = 60_000;

/// A view is watched at least this long.
const VIEW_MS: i64 = 10_000;

/// What was seen of the viewers of a day.
pub(super) struct Firsts {
    day: Option<Date>,
    /// By a hash, under a key of this process, of a viewer and a path (or none: all paths). Two of two million share
    /// one with a probability of one in nine million; one of them then counts as seen.
    seen: HashMap<u64, Marks>,
    hash: RandomState,
}

/// What was seen of one viewer, everywhere or on one path.
#[derive(Default)]
struct Marks {
    /// Bits of [`mark`].
    seen: u16,
    /// New paths and sessions that were among the first so many.
    paths: u8,
    sessions: u8,
    /// Bits of [`Kind::mark`](crate::analytics::tallies::Kind::mark).
    served: u8,
}

/// The bits of [`Marks::seen`].
mod mark {
    use crate::analytics::Protocol;
    use crate::analytics::Transport;
    use crate::analytics::leaves::LENGTHS;

    pub(super) const HERE: u16 = 1;

    pub(super) fn protocol(protocol: Protocol) -> u16 {
        match protocol {
            Protocol::Rtsp => 2,
            Protocol::Mjpeg => 4,
        }
    }
    pub(super) fn transport(transport: Transport) -> u16 {
        match transport {
            Transport::Tcp => 8,
            Transport::Udp => 16,
        }
    }
    /// Of a class of session lengths, of which there is one more than limits.
    pub(super) fn length(class: usize) -> u16 {
        const { assert!(LENGTHS.len() <= 10, "classes of lengths fit the bits") };
        32 << class.min(LENGTHS.len())
    }
}

impl Firsts {
    pub(super) fn new() -> Self {
        Self {
            day: None,
            seen: HashMap::new(),
            hash: RandomState::new(),
        }
    }

    /// Nobody was seen yet: the store is another.
    pub(super) fn forget(&mut self) {
        self.seen = HashMap::new();
    }

    /// For what the viewer of a session that begins comes first: bits of [`First`].
    pub(super) fn of_beginning(&mut self, session: &Session) -> i64 {
        let day = session.viewer.day();
        if self.day.is_none_or(|known| known < day) {
            self.day = Some(day);
            self.forget();
        }
        let here = self.bits(session, First::HERE, mark::HERE);
        let is_new_path = here & First::of_path(First::HERE) != 0;
        here | self.among(session, is_new_path)
            | self.bits(session, First::PROTOCOL, mark::protocol(session.protocol))
            | self.bits(session, First::TRANSPORT, mark::transport(session.transport))
    }

    /// As [`Self::of_beginning`], for a session that ends with a length of this class.
    pub(super) fn of_end(&mut self, session: &Session, class: usize) -> i64 {
        self.bits(session, First::LENGTH, mark::length(class))
    }

    /// Whether its viewer is the first time today among those of whom this (a bit of
    /// [`Kind::mark`](crate::analytics::tallies::Kind::mark)) is known: everywhere, and on this path. Who began yesterday
    /// is nobody today: whoever is behind it may have another number by now.
    pub(super) fn of_service(&mut self, session: &Session, mark: u8) -> [bool; 2] {
        if self.day != Some(session.viewer.day()) {
            return [false; 2];
        }
        ["", &*session.path].map(|scope| {
            self.marks(session, scope).is_some_and(|marks| {
                let is_first = marks.served & mark == 0;
                marks.served |= mark;
                is_first
            })
        })
    }

    /// Whether it is one of the first sessions of its viewer, and whether its path is one of the first new ones.
    fn among(&mut self, session: &Session, is_new_path: bool) -> i64 {
        let Some(marks) = self.marks(session, "") else {
            return 0;
        };
        let mut bits = 0;
        if is_new_path && u32::from(marks.paths) < BOUNDED_PATHS {
            marks.paths += 1;
            bits |= First::AMONG_PATHS;
        }
        if u32::from(marks.sessions) < BOUNDED_SESSIONS {
            marks.sessions += 1;
            bits |= First::AMONG_SESSIONS;
        }
        bits
    }

    /// The bit for all paths, and the one for this path.
    fn bits(&mut self, session: &Session, bit: i64, mark: u16) -> i64 {
        let mut first = |scope: &str| {
            self.marks(session, scope).is_some_and(|marks| {
                let is_first = marks.seen & mark == 0;
                marks.seen |= mark;
                is_first
            })
        };
        let everywhere = if first("") { bit } else { 0 };
        let here = if first(&session.path) {
            First::of_path(bit)
        } else {
            0
        };
        everywhere | here
    }

    /// The marks of a viewer; `None` for a new one beyond [`MOST`].
    fn marks(&mut self, session: &Session, scope: &str) -> Option<&mut Marks> {
        let has_room = self.seen.len() < MOST;
        match self
            .seen
            .entry(self.hash.hash_one((session.viewer.day_id(), scope)))
        {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(new) if has_room => Some(new.insert(Marks::default())),
            Entry::Vacant(_) => None,
        }
    }
}

/// The views that go on, or ended less than a minute ago.
#[derive(Default)]
pub(super) struct Views {
    /// By a hash, under a key of this process, of a viewer and a path. Two of a hundred thousand share one with a
    /// probability of one in four thousand million; their views then count as one.
    views: HashMap<u64, View>,
    hash: RandomState,
}

/// Sessions of one viewer on one path, with at most a minute between them.
#[derive(Default)]
struct View {
    open: Open,
    /// What ended sessions watched; time watched twice counts once.
    watched: Watched,
    /// Whether it was counted.
    counted: bool,
}

/// The sessions of a view that last: mostly one, which then takes nothing more; of a house behind one address many,
/// which must still be found at once.
#[derive(Default)]
#[expect(
    clippy::box_collection,
    reason = "a view with one session, as most are, is to be small"
)]
enum Open {
    #[default]
    None,
    One(Arc<Session>),
    Many(Box<HashSet<Same>>),
}

/// A session, equal to none but itself.
struct Same(Arc<Session>);

impl PartialEq for Same {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Same {}

impl Hash for Same {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl Open {
    fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    fn insert(&mut self, session: Arc<Session>) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(session),
            Self::One(other) => Self::Many(Box::new(HashSet::from([Same(other), Same(session)]))),
            Self::Many(mut all) => {
                all.insert(Same(session));
                Self::Many(all)
            }
        };
    }

    fn remove(&mut self, session: &Arc<Session>) {
        let is_last = match self {
            Self::None => false,
            Self::One(one) => Arc::ptr_eq(one, session),
            Self::Many(all) => all.remove(&Same(Arc::clone(session))) && all.is_empty(),
        };
        if is_last {
            *self = Self::None;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<Session>> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(one) => (Some(one), None),
            Self::Many(all) => (None, Some(all.iter().map(|Same(session)| session))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// Time watched, by spans that come in the order of their beginnings.
#[derive(Clone, Copy, Default)]
pub(super) struct Watched {
    ms: i64,
    until_ms: i64,
}

impl Watched {
    /// Whether what begins then is another view.
    pub(super) fn is_over(&self, from_ms: i64) -> bool {
        from_ms - self.until_ms > GAP_MS
    }
    /// Adds a span. The moment when the sum reached [`VIEW_MS`], if it did by this span.
    pub(super) fn add(&mut self, from_ms: i64, to_ms: i64) -> Option<i64> {
        let before = self.ms;
        self.ms += (to_ms - from_ms.max(self.until_ms)).max(0);
        self.until_ms = self.until_ms.max(to_ms);
        (before < VIEW_MS && self.ms >= VIEW_MS).then(|| to_ms - (self.ms - VIEW_MS))
    }
}

impl Views {
    /// A session begins.
    pub(super) fn begin(&mut self, session: &Arc<Session>) {
        let key = self.key(session);
        let view = self.views.entry(key).or_default();
        if view.open.is_empty() && view.watched.is_over(session.started_ms) {
            *view = View::default();
        }
        view.open.insert(Arc::clone(session));
    }

    /// A session ended. The moment when its view reached ten seconds, if it was this session that brought it there.
    pub(super) fn end(&mut self, session: &Arc<Session>) -> Option<i64> {
        let key = self.key(session);
        let view = self.views.get_mut(&key)?;
        view.open.remove(session);
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
        self.views.retain(|_, view| {
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

    fn key(&self, session: &Session) -> u64 {
        self.hash.hash_one((session.viewer.day_id(), &*session.path))
    }
}

impl View {
    fn reached(&self, now_ms: i64) -> Option<([u8; 16], i64)> {
        let mut spans: Vec<(i64, i64, [u8; 16])> = Vec::new();
        for session in self.open.iter() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_with_one_session_takes_little() {
        assert_eq!(size_of::<(u64, View)>(), 48);
        assert_eq!(size_of::<(u64, Marks)>(), 16);
    }

    #[test]
    fn time_watched_twice_counts_once() {
        let mut watched = Watched::default();
        assert_eq!(watched.add(1000, 7000), None);
        assert_eq!(watched.add(2000, 8000), None);
        assert_eq!(watched.add(20_000, 25_000), Some(23_000));
        assert_eq!(watched.add(30_000, 99_000), None, "it reached it before");
    }
}
