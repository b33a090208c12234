//! What the senders of media hold: a recorder, and a handle per session.
//!
//! Nothing here waits: beginning a session is a `try_send`, pausing and ending one is a lock of its own
//! that only the writer shares. Not here: the store (`writer`, `store`).

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::Instant;
use std::time::UNIX_EPOCH;

use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::analytics::Protocol;
use crate::analytics::Store;
use crate::analytics::Transport;
use crate::analytics::writer;
use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;
use crate::privacy::Pseudonym;
use crate::privacy::Viewer;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

/// Sessions that may wait for the writer. One more is not recorded, and counted as such.
pub(super) const QUEUE: usize = 4096;

/// Times that a session may be paused and resumed. What it plays after that is not counted.
const MOST_SPANS: usize = 1000;

/// A wall clock that steps by more than this gets a new time line.
const STEP_MS: i64 = 1000;

/// Records sessions. Cheap to clone.
#[derive(Clone)]
pub struct Recorder(Arc<Desk>);

/// What recorder and handles share.
struct Desk {
    events: mpsc::Sender<Event>,
    timeline: Arc<Timeline>,
    missed: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

/// What the writer is told.
pub(super) enum Event {
    /// Began or changed; its state says which.
    Session(Arc<Session>),
    /// Answer when everything before is stored.
    Flush(oneshot::Sender<()>),
}

impl Recorder {
    /// Starts the writer of `store`. It ends when `tasks` stop: it then takes what is still queued, ends
    /// all sessions, and closes the store. So this group must be stopped after those that send media, and
    /// awaited.
    pub fn start(tasks: &Tasks, store: Store, clock: SharedClock, metrics: Arc<Metrics>) -> Self {
        let (events, queue) = mpsc::channel(QUEUE);
        let timeline = Arc::new(Timeline::new(clock));
        let missed = Arc::new(AtomicBool::new(false));
        let desk = Desk {
            events,
            timeline: timeline.clone(),
            missed: missed.clone(),
            metrics: metrics.clone(),
        };
        tasks.spawn("session store", |stop| {
            writer::run(store, queue, timeline, missed, metrics, stop)
        });
        Self(Arc::new(desk))
    }

    /// A session begins: call this when the first access unit was sent. `path` is the configured name.
    ///
    /// A viewer who opted out (`None`) gets a handle that records nothing.
    pub fn begin(
        &self,
        viewer: Option<Viewer>,
        path: &str,
        protocol: Protocol,
        transport: Transport,
    ) -> SessionHandle {
        let Some(viewer) = viewer else {
            return SessionHandle::none();
        };
        let now = self.0.timeline.now_ms();
        let session = Arc::new(Session {
            id: random_id(),
            viewer: viewer.begin(),
            path: path.into(),
            protocol,
            transport,
            started_ms: now,
            queued: AtomicBool::new(true),
            course: Mutex::new(Course::playing(now)),
        });
        match self.0.events.try_send(Event::Session(session.clone())) {
            Ok(()) => SessionHandle(Some((session, self.0.clone()))),
            Err(full_or_stopped) => {
                if matches!(full_or_stopped, mpsc::error::TrySendError::Full(_)) {
                    self.0.metrics.lose(Reason::EventQueueFull, 1);
                }
                SessionHandle::none()
            }
        }
    }

    /// Waits until everything recorded so far is in the store, or the writer has ended.
    pub async fn flushed(&self) {
        let (done, flushed) = oneshot::channel();
        if self.0.events.send(Event::Flush(done)).await.is_ok() {
            flushed.await.ok();
        }
    }
}

/// One session, for as long as this lives. `Send`, `Sync`, and never waits.
#[must_use = "a session ends when its handle goes"]
pub struct SessionHandle(Option<(Arc<Session>, Arc<Desk>)>);

impl SessionHandle {
    /// A handle that records nothing.
    pub fn none() -> Self {
        Self(None)
    }
    /// The clock of the session stands until [`Self::resume`].
    pub fn pause(&self) {
        self.change(|course, now| course.pause(now));
    }
    /// The clock of the session goes on.
    pub fn resume(&self) {
        self.change(|course, now| course.resume(now));
    }
    /// Ends the session at the last moment that its viewer was known to be there, for transports that
    /// notice only by a time-out that somebody left.
    pub fn end_at(self, last_seen: Instant) {
        if let Some((session, desk)) = &self.0 {
            session.course().end(desk.timeline.at_ms(last_seen));
        }
    }

    fn change(&self, how: impl FnOnce(&mut Course, i64)) {
        let Some((session, desk)) = &self.0 else { return };
        how(&mut session.course(), desk.timeline.now_ms());
        // One place in the queue per session, however often it changes before the writer looks.
        if !session.queued.swap(true, Ordering::AcqRel)
            && desk.events.try_send(Event::Session(session.clone())).is_err()
        {
            desk.missed.store(true, Ordering::Release);
        }
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        self.change(Course::end);
    }
}

/// The facts of a session and its course so far. All times are milliseconds since 1970.
pub(super) struct Session {
    /// Random, so that neither order nor time can be read from it.
    pub(super) id: [u8; 16],
    pub(super) viewer: Pseudonym,
    pub(super) path: Box<str>,
    pub(super) protocol: Protocol,
    pub(super) transport: Transport,
    pub(super) started_ms: i64,
    /// Whether the writer has still to look at it.
    queued: AtomicBool,
    course: Mutex<Course>,
}

impl Session {
    pub(super) fn course(&self) -> MutexGuard<'_, Course> {
        self.course
            .lock()
            .expect("no panic happens while the lock is held")
    }
    /// Changes after this are told to the writer again.
    pub(super) fn taken(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

/// When a session played.
pub(super) struct Course {
    /// In the order of time; only the last one can be open.
    pub(super) spans: Vec<Span>,
    pub(super) ended: bool,
}

/// A time without pause. Open while it has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_ms: i64,
    pub(super) to_ms: Option<i64>,
}

impl Course {
    fn playing(now: i64) -> Self {
        Self {
            spans: vec![Span {
                from_ms: now,
                to_ms: None,
            }],
            ended: false,
        }
    }
    pub(super) fn is_playing(&self) -> bool {
        self.spans.last().is_some_and(|span| span.to_ms.is_none())
    }
    fn pause(&mut self, now: i64) {
        if let Some(span) = self.spans.last_mut().filter(|span| span.to_ms.is_none()) {
            span.to_ms = Some(now.max(span.from_ms));
        }
    }
    fn resume(&mut self, now: i64) {
        if !self.ended && !self.is_playing() && self.spans.len() < MOST_SPANS {
            self.spans.push(Span {
                from_ms: now,
                to_ms: None,
            });
        }
    }
    pub(super) fn end(&mut self, now: i64) {
        if !self.ended {
            self.pause(now);
            self.ended = true;
        }
    }
    /// The wall clock stepped: what plays goes on in a span on the new time line.
    pub(super) fn step(&mut self, step: Step) {
        if self.is_playing() {
            self.pause(step.old_now_ms);
            self.resume(step.new_now_ms);
        }
    }
}

/// Wall time that neither stands nor jumps within a session: the monotonic clock, moved to where the wall
/// clock is. When the wall clock steps (a board without a battery gets the time from the network, a laptop
/// slept), the writer moves it again and splits what plays.
pub(super) struct Timeline {
    clock: SharedClock,
    origin: Instant,
    /// Wall time at `origin`, milliseconds since 1970.
    origin_ms: AtomicI64,
}

/// The same moment before and after the wall clock stepped.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) old_now_ms: i64,
    pub(super) new_now_ms: i64,
}

impl Timeline {
    pub(super) fn new(clock: SharedClock) -> Self {
        let (origin, wall_ms) = (clock.now(), wall_ms(&clock));
        Self {
            clock,
            origin,
            origin_ms: AtomicI64::new(wall_ms),
        }
    }
    pub(super) fn now_ms(&self) -> i64 {
        self.at_ms(self.clock.now())
    }
    fn at_ms(&self, at: Instant) -> i64 {
        let since = |later: Instant, earlier: Instant| {
            i64::try_from(later.saturating_duration_since(earlier).as_millis()).unwrap_or(i64::MAX)
        };
        let offset = since(at, self.origin) - since(self.origin, at);
        self.origin_ms.load(Ordering::Acquire).saturating_add(offset)
    }
    /// Follows the wall clock if it stepped.
    pub(super) fn follow(&self) -> Option<Step> {
        let step = Step {
            old_now_ms: self.now_ms(),
            new_now_ms: wall_ms(&self.clock),
        };
        let by = step.new_now_ms - step.old_now_ms;
        (by.abs() > STEP_MS).then(|| {
            self.origin_ms.fetch_add(by, Ordering::AcqRel);
            step
        })
    }
}

fn wall_ms(clock: &SharedClock) -> i64 {
    let since_1970 = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("the operating system has random numbers");
    id
}
