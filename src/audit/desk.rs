//! Who writes the trail: one thread behind a bounded queue, so that nobody who acts waits for a disk.
//!
//! What can happen many times a minute is folded: the first is written, the same again within ten minutes is counted,
//! and the count is written when the ten minutes are over. What cannot be written (a full disk) waits here, bounded, and
//! is tried again; what does not fit is counted, and the next entry tells how many were lost.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use tokio_util::sync::CancellationToken;

use crate::audit::entry::Action;
use crate::audit::entry::Actor;
use crate::audit::entry::Event;
use crate::audit::entry::Outcome;
use crate::audit::entry::Purpose;
use crate::audit::keys::Keys;
use crate::audit::rules::Alert;
use crate::audit::rules::Watch;
use crate::audit::trail::Options;
use crate::audit::trail::Trail;
use crate::audit::trail::TrailError;
use crate::audit::verify;
use crate::base::clock::SharedClock;
use crate::base::master::Master;
use crate::base::tasks::Tasks;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

/// Events that may wait for the thread, and entries that may wait for the disk.
const QUEUE: usize = 1_024;
/// The same within so many seconds is counted instead of written.
const FOLD_SECONDS: i64 = 600;
/// How far back habits go.
const HABIT_SECONDS: i64 = 30 * 86_400;
/// Kinds of things that are being counted.
const MOST_FOLDED: usize = 1_024;
/// What rooms count that cannot tell the trail of it (the log, the store), and what it is there.
const NOTICED: [(Reason, Action); 2] = [
    (Reason::Redacted, Action::Redacted),
    (Reason::PurgeFailed, Action::Purged),
];
/// How often the thread looks at the clock.
const TICK: Duration = Duration::from_millis(200);

/// Of commands: how much is kept is the relay's to know.
const KEEP_ALL: Options = Options {
    keep: Duration::MAX,
    max_bytes: u64::MAX,
};

/// Where alerts go; false when there is no room.
pub type Sink = Box<dyn Fn(Alert) -> bool + Send>;

/// The trail, for rooms that tell what happened. Cheap to clone; telling never waits.
#[derive(Clone)]
pub struct Audit(Option<Arc<Desk>>);

struct Desk {
    queue: mpsc::SyncSender<Event>,
    lost: Arc<AtomicU64>,
    keys: Keys,
    metrics: Arc<Metrics>,
}

impl Audit {
    /// Starts the thread. It ends when `tasks` stop, after it has written all that was told.
    ///
    /// # Errors
    /// When the system has no thread.
    pub fn start(
        tasks: &Tasks,
        data_dir: &Path,
        master: &Master,
        options: Options,
        clock: SharedClock,
        metrics: Arc<Metrics>,
        sink: Sink,
    ) -> io::Result<Self> {
        let (queue, events) = mpsc::sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let mut scribe = Scribe {
            trail: Trail::new(data_dir, Keys::new(master), options),
            clock,
            folded: HashMap::new(),
            waiting: VecDeque::new(),
            watch: Watch::default(),
            data_dir: data_dir.to_path_buf(),
            sink,
            lost: Arc::clone(&lost),
            failing: false,
            seen: 0,
            metrics: Arc::clone(&metrics),
            noticed: NOTICED.map(|(reason, _)| metrics.lost_so_far(reason)),
        };
        tasks.spawn_thread("audit", move |stop| scribe.run(&events, &stop))?;
        Ok(Self(Some(Arc::new(Desk {
            queue,
            lost,
            keys: Keys::new(master),
            metrics,
        }))))
    }

    /// A trail that is not kept, for tests of other rooms.
    pub fn none() -> Self {
        Self(None)
    }

    /// Tells what happened.
    pub fn note(&self, event: Event) {
        let Some(desk) = &self.0 else { return };
        if desk.queue.try_send(event).is_err() {
            desk.lost.fetch_add(1, Ordering::Relaxed);
            desk.metrics.lose(Reason::EventQueueFull, 1);
        }
    }

    /// Who acts, for a configured user's name; the name itself is not kept.
    pub fn user(&self, name: &str) -> Actor {
        self.0.as_ref().map_or(Actor::Local, |desk| desk.keys.actor(name))
    }
}

/// Writes one event at once, for commands.
///
/// # Errors
/// When the trail cannot be written.
pub fn write_now(
    data_dir: &Path,
    master: &Master,
    clock: &SharedClock,
    event: &Event,
) -> Result<(), TrailError> {
    let mut trail = Trail::new(data_dir, Keys::new(master), KEEP_ALL);
    trail.append(event, 0, seconds(clock)).map(drop)
}

/// Seconds since 1970.
fn seconds(clock: &SharedClock) -> i64 {
    let since = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

struct Scribe {
    trail: Trail,
    clock: SharedClock,
    /// When the last one of a kind was written, and how often it came since.
    folded: HashMap<Event, (i64, u64)>,
    /// Entries that could not be written, with the time at which they happened.
    waiting: VecDeque<(Event, u64, i64)>,
    watch: Watch,
    data_dir: PathBuf,
    sink: Sink,
    lost: Arc<AtomicU64>,
    failing: bool,
    /// The newest entry that the rules know of.
    seen: u64,
    metrics: Arc<Metrics>,
    /// How far the counters of [`NOTICED`] were.
    noticed: [u64; NOTICED.len()],
}

impl Scribe {
    fn run(&mut self, events: &mpsc::Receiver<Event>, stop: &CancellationToken) {
        self.learn();
        let mut last_look = self.clock.now();
        loop {
            match events.recv_timeout(TICK) {
                Ok(event) => self.take(event),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) if stop.is_cancelled() => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if self.clock.now().duration_since(last_look) >= Duration::from_secs(1) {
                last_look = self.clock.now();
                self.unfold(FOLD_SECONDS);
                self.flush();
                self.look_at_others();
                self.look_at_counters();
            }
        }
        self.look_at_counters();
        self.unfold(0);
        self.flush();
        self.seal();
    }

    /// What is usual is learnt from the last thirty days of the trail.
    fn learn(&mut self) {
        let since = seconds(&self.clock) - HABIT_SECONDS;
        let (watch, seen) = (&mut self.watch, &mut self.seen);
        let shown = verify::show(&self.data_dir, i64::MIN, |entry| {
            *seen = entry.seq;
            if entry.ts >= since {
                watch.learn(entry);
            }
        });
        if let Err(error) = shown {
            tracing::warn!(%error, "What is usual could not be learnt from the audit trail.");
        }
    }

    /// Commands write their entries themselves: the rules are for those, too.
    fn look_at_others(&mut self) {
        if !self.trail.others_wrote() {
            return;
        }
        let mut events = Vec::new();
        let seen = &mut self.seen;
        let shown = verify::show(&self.data_dir, i64::MIN, |entry| {
            if entry.seq > *seen {
                *seen = entry.seq;
                if entry.actor == Actor::Shell && events.len() < QUEUE {
                    events.push((entry.event(), entry.ts));
                }
            }
        });
        if let Err(error) = shown {
            tracing::debug!(%error, "What commands wrote into the audit trail could not be read.");
        }
        for (event, ts) in events {
            self.judge(&event, ts);
        }
    }

    /// What only counters tell.
    fn look_at_counters(&mut self) {
        for (n, (reason, action)) in NOTICED.into_iter().enumerate() {
            let now = self.metrics.lost_so_far(reason);
            let more = now.saturating_sub(std::mem::replace(&mut self.noticed[n], now));
            if more > 0 {
                let event = Event::new(Actor::Relay, action, Purpose::Security);
                self.take(event.outcome(Outcome::Failed).amount(more));
            }
        }
    }

    fn judge(&mut self, event: &Event, ts: i64) {
        for alert in self.watch.see(event, ts) {
            self.alert(alert, ts);
        }
    }

    fn take(&mut self, event: Event) {
        let now = seconds(&self.clock);
        self.judge(&event, now);
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let told = Event::new(Actor::Relay, Action::AuditVerified, Purpose::Accountability)
                .outcome(Outcome::Failed)
                .detail("events lost, queue full")
                .amount(lost);
            self.judge(&told, now);
            self.write(told, 0, now);
        }
        if event.action.folds() {
            if let Some((since, again)) = self.folded.get_mut(&event)
                && (0..FOLD_SECONDS).contains(&(now - *since))
            {
                *again += 1;
                return;
            }
            let again = self.folded.remove(&event).map_or(0, |(_, again)| again);
            if self.folded.len() < MOST_FOLDED {
                self.folded.insert(event.clone(), (now, 0));
            }
            return self.write(event, again, now);
        }
        self.write(event, 0, now);
    }

    /// What was counted for long enough is written.
    fn unfold(&mut self, after: i64) {
        let now = seconds(&self.clock);
        let over: Vec<Event> = self
            .folded
            .iter()
            .filter(|(_, (since, _))| !(0..after).contains(&(now - since)))
            .map(|(event, _)| event.clone())
            .collect();
        for event in over {
            if let Some((_, again @ 1..)) = self.folded.remove(&event) {
                self.write(event, again, now);
            }
        }
    }

    fn alert(&mut self, alert: Alert, now: i64) {
        let told = Event::new(Actor::Relay, Action::AlertRaised, Purpose::Security).object(alert.rule.name());
        tracing::warn!(
            rule = alert.rule.name(),
            "A rule about behaviour holds: {}",
            alert.rule.text()
        );
        let outcome = match (self.sink)(alert) {
            true => Outcome::Done,
            false => Outcome::Failed,
        };
        self.write(told.outcome(outcome), 0, now);
    }

    fn write(&mut self, event: Event, repeats: u64, now: i64) {
        if self.waiting.len() >= QUEUE {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.waiting.push_back((event, repeats, now));
        self.flush();
    }

    fn flush(&mut self) {
        while let Some((event, repeats, ts)) = self.waiting.front() {
            match self.trail.append(event, *repeats, *ts) {
                Ok(done) => {
                    self.waiting.pop_front();
                    if std::mem::take(&mut self.failing) {
                        tracing::info!(entry = done.seq, "The audit trail can be written again.");
                    }
                    // Not of the first entry: it says that the relay was started, which the log's reader sees.
                    log_checkpoint(done.checkpoint.filter(|_| done.seq > 1));
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::error!(%error, "The audit trail cannot be written; entries wait.");
                    }
                    return;
                }
            }
        }
    }

    fn seal(&mut self) {
        match self.trail.seal(seconds(&self.clock)) {
            Ok(line) => log_checkpoint(line),
            Err(error) => tracing::error!(%error, "The audit trail cannot be sealed."),
        }
    }
}

fn log_checkpoint(line: Option<String>) {
    if let Some(line) = line {
        tracing::info!(line, "The audit trail has a new checkpoint.");
    }
}
