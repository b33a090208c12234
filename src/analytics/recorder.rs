//! What the senders of media hold: a recorder, and a handle per session.
//!
//! Nothing here waits: beginning a session is a `try_send`, pausing and ending one is a lock of its own
//! that only the writer shares. Not here: the store (`writer`, `store`).

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;
use std::time::UNIX_EPOCH;

use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::analytics::Protocol;
use crate::analytics::Store;
use crate::analytics::Transport;
use crate::analytics::purge::PurgeSink;
use crate::analytics::single::Chosen;
use crate::analytics::single::NotNow;
use crate::analytics::single::Record;
use crate::analytics::tallies::JUMPS;
use crate::analytics::tallies::Kind;
use crate::analytics::tallies::LOSS_PER_MILLION;
use crate::analytics::tallies::STARTUP_MS;
use crate::analytics::tallies::Tallies;
use crate::analytics::writer;
use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;
use crate::privacy::Pseudonym;
use crate::privacy::Viewer;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

/// Sessions that may wait for the writer: a burst of a hundred thousand fits. One more is not recorded, and counted
/// as such.
pub(super) const QUEUE: usize = if cfg!(test) { 8_192 } else { 131_072 };

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
    tallies: Arc<Tallies>,
    metrics: Arc<Metrics>,
}

/// What the writer is told.
pub(super) enum Event {
    /// Began or changed; its state says which.
    Session(Arc<Session>),
    /// Answer when everything before is stored.
    Flush(oneshot::Sender<()>),
    /// Delete what is chosen, and answer which sessions that were.
    Erase(Chosen, oneshot::Sender<Vec<[u8; 16]>>),
    /// Tell what is kept of a session.
    Look([u8; 16], oneshot::Sender<Option<Record>>),
}

/// What the writer reads, beside the queue.
pub(super) struct Sources {
    pub(super) timeline: Arc<Timeline>,
    /// A change found the queue full: look at all sessions.
    pub(super) missed: Arc<AtomicBool>,
    pub(super) tallies: Arc<Tallies>,
    pub(super) purged: PurgeSink,
}

impl Recorder {
    /// Starts the writer of `store`. It ends when `tasks` stop: it then takes what is still queued, ends
    /// all sessions, and closes the store. So this group must be stopped after those that send media, and
    /// awaited.
    pub fn start(tasks: &Tasks, store: Store, clock: SharedClock, metrics: Arc<Metrics>) -> Self {
        Self::start_telling(tasks, store, clock, metrics, Box::new(drop))
    }

    /// As [`Self::start`]; `purged` is told what each purge did that deleted something. It must not wait.
    pub fn start_telling(
        tasks: &Tasks,
        store: Store,
        clock: SharedClock,
        metrics: Arc<Metrics>,
        purged: PurgeSink,
    ) -> Self {
        let (events, queue) = mpsc::channel(QUEUE);
        let timeline = Arc::new(Timeline::new(clock));
        let missed = Arc::new(AtomicBool::new(false));
        let tallies = Arc::new(Tallies::default());
        let desk = Desk {
            events,
            timeline: timeline.clone(),
            missed: missed.clone(),
            tallies: tallies.clone(),
            metrics: metrics.clone(),
        };
        let sources = Sources {
            timeline,
            missed,
            tallies,
            purged,
        };
        tasks.spawn("session store", |stop| {
            writer::run(store, queue, sources, metrics, stop)
        });
        Self(Arc::new(desk))
    }

    /// A session begins: call this when the first access unit was sent. `path` is the configured name.
    ///
    /// A viewer who opted out (`None`) gets a handle that records nothing.
    pub fn begin(
        &self,
        viewer: Option<Viewer>,
        path: impl Into<Arc<str>>,
        protocol: Protocol,
        transport: Transport,
    ) -> SessionHandle {
        let Some(viewer) = viewer.filter(Viewer::may_begin) else {
            return SessionHandle::none();
        };
        let now = self.0.timeline.now_ms();
        let session = Arc::new(Session {
            id: viewer.take_session().unwrap_or_else(random_id),
            viewer: viewer.begin(),
            path: path.into(),
            protocol,
            transport,
            started_ms: now,
            queued: AtomicBool::new(true),
            done: AtomicBool::new(false),
            served: AtomicU8::new(0),
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

    /// Somebody was allowed to watch, and asked at `asked`. It becomes a session with `Attempt::begin`; if it goes
    /// before, it is counted as an attempt.
    pub fn attempt(
        &self,
        viewer: Option<Viewer>,
        path: Arc<str>,
        protocol: Protocol,
        transport: Transport,
        asked: Instant,
    ) -> Attempt {
        Attempt {
            recorder: self.clone(),
            viewer,
            path,
            protocol,
            transport,
            asked,
            begun: false,
        }
    }

    /// Counts something that is no session: see [`Kind`].
    pub fn tally(&self, path: &str, kind: Kind, n: u64) {
        self.0.tallies.add(path, kind, 0, n);
    }

    /// Deletes the row of one session, for whoever can name it. What was added up, or will be, stays as it is: it is of
    /// no one, and a difference between before and after would be of this one. False when there is nothing of it.
    ///
    /// # Errors
    /// As [`Self::erase_all`].
    pub async fn erase(&self, session: [u8; 16]) -> Result<bool, NotNow> {
        let gone = self.erase_all(Box::new(move |id| *id == session)).await?;
        Ok(!gone.is_empty())
    }

    /// As [`Self::erase`], of all sessions that are chosen by their own number or by their viewer's; which these were.
    /// Those of such viewers that play are over for the statistics: nothing more of them is counted.
    ///
    /// # Errors
    /// While the store fails: some may be left, so ask again.
    pub async fn erase_all(&self, chosen: Chosen) -> Result<Vec<[u8; 16]>, NotNow> {
        let (done, erased) = oneshot::channel();
        let event = Event::Erase(chosen, done);
        self.0.events.send(event).await.map_err(|_| NotNow)?;
        erased.await.map_err(|_| NotNow)
    }

    /// What is kept of one session, for whoever can name it.
    ///
    /// # Errors
    /// While the store fails.
    pub async fn record(&self, session: [u8; 16]) -> Result<Option<Record>, NotNow> {
        let (done, told) = oneshot::channel();
        let event = Event::Look(session, done);
        self.0.events.send(event).await.map_err(|_| NotNow)?;
        told.await.map_err(|_| NotNow)
    }

    /// Waits until everything recorded so far is in the store, or the writer has ended.
    pub async fn flushed(&self) {
        let (done, flushed) = oneshot::channel();
        if self.0.events.send(Event::Flush(done)).await.is_ok() {
            flushed.await.ok();
        }
    }
}

/// Somebody who may watch and got nothing yet.
#[must_use = "an attempt that goes is counted"]
pub struct Attempt {
    recorder: Recorder,
    viewer: Option<Viewer>,
    path: Arc<str>,
    protocol: Protocol,
    transport: Transport,
    asked: Instant,
    begun: bool,
}

impl Attempt {
    /// Whether a session of it is recorded: not of who opted out.
    pub fn counts(&self) -> bool {
        self.viewer.is_some()
    }
    /// The first access unit was sent.
    pub fn begin(mut self) -> SessionHandle {
        self.begun = true;
        let session = self.recorder.begin(
            self.viewer.take(),
            Arc::clone(&self.path),
            self.protocol,
            self.transport,
        );
        let now = self.recorder.0.timeline.clock.now();
        session.started_after(now.saturating_duration_since(self.asked));
        session
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Of who opted out, not even this.
        if !self.begun && self.viewer.as_ref().is_some_and(Viewer::may_begin) {
            self.recorder.tally(&self.path, Kind::Attempts, 1);
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
    /// The number under which its row can be deleted ([`Recorder::erase`]); `None` when nothing is recorded.
    pub fn id(&self) -> Option<[u8; 16]> {
        self.0.as_ref().map(|(session, _)| session.id)
    }
    /// How long the viewer waited, from the first request to the first keyframe.
    pub fn started_after(&self, waited: Duration) {
        let ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
        self.tally(Kind::Startup, STARTUP_MS.partition_point(|limit| *limit <= ms));
    }
    /// How well it arrived: packets lost per million as its reports say, if there are any, and how often it was moved
    /// forward because it was behind.
    pub fn arrived(&self, lost_per_million: Option<u64>, jumps: u64) {
        if let Some(lost) = lost_per_million {
            self.tally(
                Kind::Loss,
                LOSS_PER_MILLION.partition_point(|limit| *limit <= lost),
            );
        }
        self.tally(Kind::Jumps, JUMPS.partition_point(|limit| *limit <= jumps));
    }
    /// Ends the session because its stream ended: nobody knows how long they would have watched.
    pub fn stream_ended(self) {
        self.change(|course, now| course.end(now, true));
    }
    /// Ends the session at the last moment that its viewer was known to be there, for transports that
    /// notice only by a time-out that somebody left.
    pub fn end_at(self, last_seen: Instant) {
        if let Some((session, desk)) = &self.0 {
            session.course().end(desk.timeline.at_ms(last_seen), false);
        }
    }

    fn tally(&self, kind: Kind, bucket: usize) {
        if let Some((session, desk)) = &self.0 {
            desk.tallies.add(&session.path, kind, bucket, 1);
            session.served.fetch_or(kind.mark(), Ordering::AcqRel);
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
        self.change(|course, now| course.end(now, false));
    }
}

/// The facts of a session and its course so far. All times are milliseconds since 1970.
pub(super) struct Session {
    /// Random, so that neither order nor time can be read from it.
    pub(super) id: [u8; 16],
    pub(super) viewer: Pseudonym,
    pub(super) path: Arc<str>,
    pub(super) protocol: Protocol,
    pub(super) transport: Transport,
    pub(super) started_ms: i64,
    /// Whether the writer has still to look at it.
    queued: AtomicBool,
    /// Whether all of it is stored: what still lies in the queue tells nothing new.
    done: AtomicBool,
    /// What became known of how it is served and the writer has not looked at: bits of [`Kind::mark`].
    served: AtomicU8,
    course: Mutex<Course>,
}

impl Session {
    pub(super) fn course(&self) -> MutexGuard<'_, Course> {
        self.course
            .lock()
            .expect("no panic happens while the lock is held")
    }
    /// All of it is stored, its end too.
    pub(super) fn set_done(&self) {
        self.done.store(true, Ordering::Release);
    }
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
    /// What became known since this was last asked: bits of [`Kind::mark`].
    pub(super) fn take_served(&self) -> u8 {
        self.served.swap(0, Ordering::AcqRel)
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
    pub(super) ended: Option<End>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) at_ms: i64,
    /// By the stream or the relay, not by its viewer.
    pub(super) cut: bool,
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
            ended: None,
        }
    }
    /// How long it played, without what still plays.
    pub(super) fn watched_ms(&self) -> i64 {
        let ended = self
            .spans
            .iter()
            .filter_map(|span| Some(span.to_ms? - span.from_ms));
        ended.sum()
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
        if self.ended.is_none() && !self.is_playing() && self.spans.len() < MOST_SPANS {
            self.spans.push(Span {
                from_ms: now,
                to_ms: None,
            });
        }
    }
    pub(super) fn end(&mut self, now: i64, cut: bool) {
        if self.ended.is_none() {
            self.pause(now);
            let at_ms = self.spans.last().and_then(|span| span.to_ms).unwrap_or(now);
            self.ended = Some(End { at_ms, cut });
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

pub(super) fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("the operating system has random numbers");
    id
}
