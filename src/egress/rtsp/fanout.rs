//! Drives all readers of a stream, in shards: a task each, one write per burst and reader.
//!
//! A shard wakes once per burst, takes the new bursts from the ring once, and pumps its readers directly; no
//! reader has a wake-up of its own as long as its socket has room. A stream begins with one shard, and gets
//! another when the readers are many enough to keep another core busy.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::base::clock::SharedClock;
use crate::base::clock::sleep_until;
use crate::base::tasks::Tasks;
use crate::egress::rtsp::delivery::Delivery;
use crate::egress::rtsp::delivery::Pumped;
use crate::egress::rtsp::delivery::Tally;
use crate::hub::Stream;
use crate::hub::burst::Burst;
use crate::telemetry::AttachedReader;
use crate::telemetry::ByOutput;
use crate::telemetry::Metrics;
use crate::telemetry::Output;
use crate::telemetry::Reason;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// Bytes per second that one shard sends before another begins: a third of a core. One shard does the same work with a
/// tenth less time by TCP and a fifth by UDP than two that run beside each other, with each other's sockets in the way.
const SHARE_BYTES: u64 = 512_000_000;
/// And readers, whatever little they get: the last of them waits for all others, 10 ms.
const SHARE: usize = if cfg!(test) { 256 } else { 2048 };
/// Readers that have gone and are still in a round while nothing is published.
const GONE: usize = 512;
/// How often what readers got is added to the program's counters.
const COLLECT: Duration = Duration::from_secs(1);

/// A reader as its shard and its connection share it.
pub(super) struct Slot {
    pub(super) delivery: Mutex<Delivery>,
    pub(super) output: Output,
    /// The shard passes it over: paused, or its socket is full and the connection pumps it.
    idle: AtomicBool,
    /// The reader has gone; the shard lets go of it.
    gone: AtomicBool,
    /// Tells the connection that the stream ended or the socket failed.
    over: Mutex<Arc<Notify>>,
}

impl Slot {
    pub(super) fn new(delivery: Delivery, output: Output, over: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            delivery: Mutex::new(delivery),
            output,
            idle: AtomicBool::new(true),
            gone: AtomicBool::new(false),
            over: Mutex::new(over),
        })
    }
    pub(super) fn delivery(&self) -> MutexGuard<'_, Delivery> {
        self.delivery.lock().expect(NOT_POISONED)
    }
    /// Takes the reader out of (or puts it back into) the shard's round.
    pub(super) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::Release);
    }
    /// Whom to tell from now on; also at once, for what may have happened meanwhile.
    pub(super) fn tell(&self, over: &Arc<Notify>) {
        *self.over.lock().expect(NOT_POISONED) = Arc::clone(over);
        over.notify_one();
    }
    fn is_over(&self) {
        self.over.lock().expect(NOT_POISONED).notify_one();
    }
    /// The reader has gone for good.
    pub(super) fn leave(&self) {
        self.gone.store(true, Ordering::Release);
    }
}

/// The shards of one stream.
struct Fanout {
    shards: Vec<Arc<Shard>>,
}

impl Fanout {
    fn new(shards: usize) -> Arc<Self> {
        let shards = (0..shards).map(|_| Arc::new(Shard::default())).collect();
        Arc::new(Self { shards })
    }
    /// The shard for one more reader of a stream of so many bytes per second: the first that is not full, else the one
    /// with the fewest readers.
    fn choose(&self, rate: u64) -> Option<&Arc<Shard>> {
        let share = usize::try_from(SHARE_BYTES / rate.max(1)).map_or(SHARE, |n| n.clamp(1, SHARE));
        let readers = |s: &&Arc<Shard>| s.readers.load(Ordering::Relaxed);
        let free = self.shards.iter().find(|s| readers(s) < share);
        free.or_else(|| self.shards.iter().min_by_key(readers))
    }
}

/// What a shard's task shares with those who bring readers.
#[derive(Default)]
struct Shard {
    coming: Mutex<Coming>,
    /// Somebody came.
    wake: Notify,
    readers: AtomicUsize,
}

#[derive(Default)]
struct Coming {
    slots: Vec<Arc<Slot>>,
    /// The shard's task is there to take them.
    running: bool,
}

/// The fan-outs of all streams that have readers.
pub(super) struct Fanouts {
    by_stream: Mutex<HashMap<u64, Arc<Fanout>>>,
    tasks: Tasks,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    shards: usize,
}

impl Fanouts {
    pub(super) fn new(tasks: Tasks, clock: SharedClock, metrics: Arc<Metrics>) -> Arc<Self> {
        let shards = std::thread::available_parallelism().map_or(2, usize::from);
        Arc::new(Self {
            by_stream: Mutex::default(),
            tasks,
            clock,
            metrics,
            shards,
        })
    }
    /// Adds a reader to a stream's round.
    pub(super) fn add(self: &Arc<Self>, stream: &Arc<Stream>, slot: Arc<Slot>) {
        let rate = stream.ring().rate();
        // Held until the reader is handed over, so that the fan-out does not go meanwhile.
        let mut all = self.by_stream.lock().expect(NOT_POISONED);
        let fanout = all.entry(stream.id()).or_insert_with(|| Fanout::new(self.shards));
        let Some(shard) = fanout.choose(rate) else { return };
        shard.readers.fetch_add(1, Ordering::Relaxed);
        let mut coming = shard.coming.lock().expect(NOT_POISONED);
        coming.slots.push(slot);
        if !std::mem::replace(&mut coming.running, true) {
            let (all, shard, stream) = (Arc::clone(self), Arc::clone(shard), Arc::clone(stream));
            self.tasks.spawn("fan-out", move |stop| async move {
                let round = Round::new(&all, &shard, &stream);
                round.run(stop).await;
            });
        }
        shard.wake.notify_one();
    }
    /// Counts one more reader.
    pub(super) fn attach(&self, output: Output) -> AttachedReader {
        self.metrics.attach(output)
    }
    /// Adds what readers got to the program's counters.
    pub(super) fn count(&self, output: Output, tally: Tally) {
        if tally.bursts > 0 {
            let label = ByOutput { output };
            self.metrics.units_out.get_or_create(&label).inc_by(tally.bursts);
            self.metrics.bytes_out.get_or_create(&label).inc_by(tally.bytes);
        }
        if tally.skipped > 0 {
            self.metrics.lose(Reason::ReaderLagged, tally.skipped);
        }
        if tally.unsent > 0 {
            self.metrics.lose(Reason::SocketFull, tally.unsent);
        }
    }
    /// Ends a shard's task, unless somebody has just come.
    fn leave(&self, stream: u64, shard: &Shard) -> bool {
        let mut all = self.by_stream.lock().expect(NOT_POISONED);
        {
            let mut coming = shard.coming.lock().expect(NOT_POISONED);
            if !coming.slots.is_empty() {
                return false;
            }
            coming.running = false;
        }
        let rests = |s: &Arc<Shard>| !s.coming.lock().expect(NOT_POISONED).running;
        if all.get(&stream).is_some_and(|f| f.shards.iter().all(rests)) {
            all.remove(&stream);
        }
        true
    }
}

/// A shard at work.
struct Round<'a> {
    all: &'a Fanouts,
    shard: &'a Shard,
    stream: &'a Arc<Stream>,
    readers: Vec<Arc<Slot>>,
    /// Those of them that get a long burst slice by slice, and when the next slice is due.
    paced: Vec<Arc<Slot>>,
    due: Option<Instant>,
    /// How many readers there were when those who had gone were last forgotten.
    swept: usize,
    /// What readers got since it was last collected, by TCP and by UDP.
    tallies: [Tally; 2],
    collected: Instant,
}

impl<'a> Round<'a> {
    fn new(all: &'a Fanouts, shard: &'a Shard, stream: &'a Arc<Stream>) -> Self {
        Self {
            all,
            shard,
            stream,
            readers: Vec::new(),
            paced: Vec::new(),
            due: None,
            swept: 0,
            tallies: [Tally::default(); 2],
            collected: all.clock.now(),
        }
    }
    /// Until the stream ends or the last reader has gone.
    async fn run(mut self, stop: CancellationToken) {
        let mut head = self.stream.watch();
        let mut window: Vec<Arc<Burst>> = Vec::new();
        let mut at = head.borrow().end;
        loop {
            let now_at = *head.borrow_and_update();
            window.clear();
            let first = {
                let ring = self.stream.ring();
                window.extend(ring.since(at).map(Arc::clone));
                at.max(ring.first())
            };
            at = first + window.len() as u64;
            self.pump_all(first, &window);
            if now_at.ended {
                self.end();
            }
            self.collect(self.readers.is_empty());
            if self.readers.is_empty() && self.all.leave(self.stream.id(), self.shard) {
                return;
            }
            tokio::select! {
                _ = head.changed() => {} // an error is the end, which `ended` has said
                () = self.shard.wake.notified() => {}
                () = sleep_until(self.wake_at()) => {}
                () = stop.cancelled() => return,
            }
        }
    }
    /// One pass: over all readers if there is something new, else over those that came or wait for their time.
    fn pump_all(&mut self, first: u64, window: &[Arc<Burst>]) {
        let now = self.all.clock.now();
        self.due = None;
        let come = std::mem::take(&mut self.shard.coming.lock().expect(NOT_POISONED).slots);
        let mut waited = std::mem::take(&mut self.paced);
        if window.is_empty() {
            waited.extend(come.iter().map(Arc::clone));
            waited.iter().for_each(|slot| self.pump(slot, now, first, window));
        }
        self.readers.extend(come);
        if !window.is_empty() {
            self.let_go();
            let readers = std::mem::take(&mut self.readers);
            readers
                .iter()
                .for_each(|slot| self.pump(slot, now, first, window));
            self.readers = readers;
        } else if self.readers.len() > 2 * self.swept + GONE {
            self.let_go(); // people come and go while nothing is published
        }
    }
    fn pump(&mut self, slot: &Arc<Slot>, now: Instant, first: u64, window: &[Arc<Burst>]) {
        if slot.idle.load(Ordering::Acquire) {
            return;
        }
        let mut delivery = slot.delivery();
        match delivery.pump(now, first, window) {
            Ok(Pumped::CaughtUp) => {}
            Ok(Pumped::Full) => slot.set_idle(true), // its connection goes on with it
            Ok(Pumped::Paced(at)) => {
                self.due = Some(self.due.map_or(at, |due| due.min(at)));
                self.paced.push(Arc::clone(slot));
            }
            Err(_) => {
                slot.set_idle(true); // its connection ends
                slot.is_over();
            }
        }
        self.tallies[usize::from(slot.output == Output::RtspUdp)].add(delivery.take_tally());
    }
    /// Forgets those who have gone.
    fn let_go(&mut self) {
        let before = self.readers.len();
        self.readers.retain(|slot| !slot.gone.load(Ordering::Acquire));
        self.swept = self.readers.len();
        self.shard
            .readers
            .fetch_sub(before - self.swept, Ordering::Relaxed);
    }
    /// The stream has ended: everybody is told, and nobody is served any more.
    fn end(&mut self) {
        for slot in self.readers.drain(..) {
            slot.is_over();
            self.shard.readers.fetch_sub(1, Ordering::Relaxed);
        }
        self.paced.clear();
        self.due = None;
    }
    /// Hands over what was counted, once in a while.
    fn collect(&mut self, at_once: bool) {
        let now = self.all.clock.now();
        if !at_once && now < self.collected + COLLECT {
            return;
        }
        self.collected = now;
        let [tcp, udp] = std::mem::take(&mut self.tallies);
        self.all.count(Output::RtspTcp, tcp);
        self.all.count(Output::RtspUdp, udp);
    }
    /// When something is to be done without a burst or a newcomer.
    fn wake_at(&self) -> Option<Instant> {
        let counted = self.tallies.iter().any(|t| t.bursts > 0);
        let collect = counted.then(|| self.collected + COLLECT);
        self.due.into_iter().chain(collect).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_full_by_readers_or_by_bytes_and_the_last_ones_share() {
        let sizes = |readers: usize, rate: u64| -> Vec<usize> {
            let fanout = Fanout::new(3);
            for _ in 0..readers {
                let shard = fanout.choose(rate).unwrap();
                shard.readers.fetch_add(1, Ordering::Relaxed);
            }
            let sizes = fanout.shards.iter();
            sizes.map(|s| s.readers.load(Ordering::Relaxed)).collect()
        };
        assert_eq!(sizes(SHARE, 0), [SHARE, 0, 0], "nothing is known of the stream");
        assert_eq!(sizes(SHARE + 1, 250_000), [SHARE, 1, 0]);
        assert_eq!(sizes(30, 25_600_000), [20, 10, 0]);
        assert_eq!(sizes(63, 25_600_000), [21, 21, 21]);
        assert_eq!(sizes(4, u64::MAX), [2, 1, 1]);
    }
}
