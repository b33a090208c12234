//! A named slot: waits for a publisher, has readers, tells what is asked of it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::hub::Hub;
use crate::hub::name::PathName;
use crate::hub::picture::PictureReader;
use crate::hub::picture::Pictures;
use crate::hub::quality::Quality;
use crate::hub::stream::Stream;
use crate::media::Track;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// The source of a configured path that waits for a publisher.
const PUBLISH: &str = "publish:";

/// How a path is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathState {
    /// A stream flows.
    Ready,
    /// Its source is being started or waited for (unplugged, busy), or it waits for a publisher.
    Waiting,
    /// Nothing will come by itself.
    Offline,
}

/// Why there is such a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// The operator said so: it stays.
    Configured,
    /// A publisher came: it goes when nobody needs it.
    Published,
    /// A rendition of another path; no list shows it.
    Derived,
}

/// What readers ask of a path's source now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Demand {
    /// Readers of packets.
    pub readers: u32,
    /// Readers of still pictures.
    pub pictures: u32,
    /// Readers that wait for a stream to begin.
    pub waiting: u32,
}

/// A path as the API shows it: values only, no handles.
#[derive(Clone, Debug)]
pub struct PathSnapshot {
    pub name: PathName,
    pub state: PathState,
    /// What feeds it, without credentials.
    pub source: String,
    pub tracks: Vec<Track>,
    /// Readers of packets, and viewers of pictures.
    pub readers: u32,
    pub last_error: Option<String>,
    /// When its source is tried again, if that is known.
    pub next_attempt: Option<SystemTime>,
    /// Since when it is in this state.
    pub since: SystemTime,
    /// RTP bytes that came in since the program started.
    pub bytes_in: u64,
    /// How its stream reaches those readers that report it, if enough do; `None` if none does.
    pub quality: Option<Quality>,
}

/// A named slot.
pub struct Path {
    name: PathName,
    role: RwLock<Role>,
    /// Its name is another path's, or nobody's: who publishes here shall end.
    removed: AtomicBool,
    hub: Weak<Hub>,
    inner: Mutex<Inner>,
    stream: watch::Sender<Option<Arc<Stream>>>,
    demand: watch::Sender<Demand>,
    pictures: Pictures,
    keyframe_wish: AtomicBool,
    bytes_in: AtomicU64,
}

/// What feeds it, and why it is there. A reload of the configuration may change both.
struct Role {
    source: String,
    origin: Origin,
}

struct Inner {
    state: PathState,
    since: SystemTime,
    last_error: Option<String>,
    next_attempt: Option<SystemTime>,
}

impl Path {
    pub(super) fn new(hub: &Arc<Hub>, name: PathName, source: String, origin: Origin) -> Arc<Self> {
        let inner = Inner {
            state: PathState::Waiting,
            since: hub.clock().wall(),
            last_error: None,
            next_attempt: None,
        };
        Arc::new(Self {
            name,
            role: RwLock::new(Role { source, origin }),
            removed: AtomicBool::new(false),
            hub: Arc::downgrade(hub),
            inner: Mutex::new(inner),
            stream: watch::Sender::new(None),
            demand: watch::Sender::new(Demand::default()),
            pictures: Pictures::new(),
            keyframe_wish: AtomicBool::new(false),
            bytes_in: AtomicU64::new(0),
        })
    }
    /// Its name.
    pub fn name(&self) -> &PathName {
        &self.name
    }
    /// The stream that flows now.
    pub fn stream(&self) -> Option<Arc<Stream>> {
        self.stream.borrow().clone()
    }
    /// Follows which stream flows; `None` while there is none.
    pub fn watch_stream(&self) -> watch::Receiver<Option<Arc<Stream>>> {
        self.stream.subscribe()
    }
    /// Waits for a stream, but not longer than `patience`.
    pub async fn ready(&self, patience: Duration) -> Option<Arc<Stream>> {
        let mut stream = self.stream.subscribe();
        if let Some(flowing) = stream.borrow().clone() {
            return Some(flowing);
        }
        self.change_demand(|d| d.waiting += 1); // what wakes a source that is pulled on demand
        let _waiting = Waiting(self);
        let found = tokio::time::timeout(patience, stream.wait_for(Option::is_some)).await;
        found.ok()?.ok()?.clone()
    }
    /// How it is.
    pub fn state(&self) -> PathState {
        self.inner().state
    }
    /// A source tells how it is. The error is one for the operator: what, and what to do next.
    pub fn report(&self, state: PathState, last_error: Option<String>) {
        let Some(hub) = self.hub.upgrade() else { return };
        let mut inner = self.inner();
        if inner.state != state {
            (inner.state, inner.since) = (state, hub.clock().wall());
        }
        inner.last_error = last_error;
        inner.next_attempt = None;
    }
    /// A source is waited for, and will be tried again at `next`.
    pub fn report_attempt(&self, error: String, next: SystemTime) {
        self.report(PathState::Waiting, Some(error));
        self.inner().next_attempt = Some(next);
    }
    /// Follows what readers ask for.
    pub fn demand(&self) -> watch::Receiver<Demand> {
        self.demand.subscribe()
    }
    /// Counts a reader of packets for as long as the result lives, and wishes for a keyframe.
    pub fn attach(self: &Arc<Self>) -> Attached {
        self.change_demand(|d| d.readers += 1);
        self.wish_keyframe();
        Attached(Arc::clone(self))
    }
    /// The newest still picture.
    pub fn pictures(&self) -> &Pictures {
        &self.pictures
    }
    /// Asks for still pictures for as long as the result lives.
    pub fn subscribe_pictures(self: &Arc<Self>) -> PictureReader {
        PictureReader::new(Arc::clone(self))
    }
    /// A reader would like to begin: sources that can make a keyframe do so soon.
    pub fn wish_keyframe(&self) {
        self.keyframe_wish.store(true, Ordering::Relaxed);
    }
    /// Its present state as plain values.
    pub fn snapshot(&self) -> PathSnapshot {
        let demand = *self.demand.borrow();
        let stream = self.stream();
        let tracks = stream.as_ref().map(|s| s.description().tracks.clone());
        let tracks = tracks.unwrap_or_default();
        let quality = stream.zip(self.hub.upgrade());
        let quality = quality.and_then(|(stream, hub)| stream.quality(hub.clock().now()));
        let inner = self.inner();
        PathSnapshot {
            name: self.name.clone(),
            state: inner.state,
            source: self.role().source.clone(),
            tracks,
            readers: demand.readers + self.pictures.viewers(),
            last_error: inner.last_error.clone(),
            next_attempt: inner.next_attempt,
            since: inner.since,
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            quality,
        }
    }

    pub(super) fn take_keyframe_wish(&self) -> bool {
        self.keyframe_wish.swap(false, Ordering::Relaxed)
    }
    pub(super) fn count_in(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }
    pub(super) fn max_payload(&self) -> usize {
        self.hub
            .upgrade()
            .map_or(crate::hub::Options::default().max_payload, |h| {
                h.options().max_payload
            })
    }
    pub(super) fn change_demand(&self, change: impl FnOnce(&mut Demand)) {
        self.demand.send_modify(change);
        if *self.demand.borrow() == Demand::default() {
            self.leave_if_idle();
        }
    }
    /// Makes a stream the path's stream. False if there is one already.
    pub(super) fn publisher_came(&self, stream: &Arc<Stream>) -> bool {
        let taken = self.stream.send_if_modified(|now| {
            let free = now.is_none();
            if free {
                *now = Some(Arc::clone(stream));
            }
            free
        });
        if taken {
            self.report(PathState::Ready, None);
        }
        taken
    }
    pub(super) fn publisher_left(&self, stream: &Arc<Stream>) {
        self.stream
            .send_if_modified(|now| now.take_if(|s| s.id() == stream.id()).is_some());
        self.pictures.clear();
        self.pictures.set_made_by_source(false);
        let configured = self.role().origin == Origin::Configured;
        let state = if configured {
            PathState::Waiting
        } else {
            PathState::Offline
        };
        let last_error = self.inner().last_error.clone();
        self.report(state, last_error);
        self.leave_if_idle();
    }
    /// Where its readers are sent instead, if it only says so.
    pub fn moved_to(&self) -> Option<String> {
        self.role().source.strip_prefix("redirect:").map(str::to_owned)
    }
    /// Whether it carries what readers of another path say.
    pub fn is_backchannel(&self) -> bool {
        self.role().source == "backchannel:"
    }
    /// Whether a publisher may come: not where a source of our own feeds the path.
    pub fn takes_publishers(&self) -> bool {
        let role = self.role();
        role.origin == Origin::Published || role.source == PUBLISH
    }
    /// Whether the configuration took it away from those who publish to it.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }
    /// Its publishers and readers stay when the configuration begins or ceases to name it. False if another
    /// source comes or goes with that.
    pub(super) fn change_role(&self, origin: Origin, source: &str) -> bool {
        let stays = self.takes_publishers() && (source == PUBLISH || origin == Origin::Published);
        if stays {
            let source = source.to_owned();
            *self.role.write().expect(NOT_POISONED) = Role { source, origin };
        }
        stays
    }
    /// Whether only a publisher made it.
    pub(super) fn is_published(&self) -> bool {
        self.role().origin == Origin::Published
    }
    pub(super) fn set_removed(&self) {
        self.removed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_derived(&self) -> bool {
        self.role().origin == Origin::Derived
    }
    /// A path that only a publisher made goes when nobody needs it.
    fn leave_if_idle(&self) {
        if self.is_published()
            && let Some(hub) = self.hub.upgrade()
        {
            hub.forget_idle(&self.name);
        }
    }
    pub(super) fn is_idle(&self) -> bool {
        self.is_published() && self.stream.borrow().is_none() && *self.demand.borrow() == Demand::default()
    }
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect(NOT_POISONED)
    }
    fn role(&self) -> RwLockReadGuard<'_, Role> {
        self.role.read().expect(NOT_POISONED)
    }
}

/// A reader that waits for a stream.
struct Waiting<'a>(&'a Path);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.change_demand(|d| d.waiting -= 1);
    }
}

/// A reader's share in a path's demand.
pub struct Attached(Arc<Path>);

impl Attached {
    /// The path that is read.
    pub fn path(&self) -> &Arc<Path> {
        &self.0
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.change_demand(|d| d.readers -= 1);
    }
}
