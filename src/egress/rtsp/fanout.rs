//! Drives all readers of a stream, in shards: one task per core, one write per burst and reader.
//!
//! A shard wakes once per burst, takes the new bursts from the ring once, and pumps its readers directly; no
//! reader has a wake-up of its own as long as its socket has room.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;
use crate::egress::rtsp::delivery::Delivery;
use crate::egress::rtsp::delivery::Pumped;
use crate::egress::rtsp::delivery::Tally;
use crate::hub::Stream;
use crate::hub::burst::Burst;
use crate::telemetry::ByOutput;
use crate::telemetry::Metrics;
use crate::telemetry::Output;
use crate::telemetry::Reason;

const NOT_POISONED: &str = "no panic happens while the lock is held";

/// A reader as its shard and its connection share it.
pub(super) struct Slot {
    pub(super) delivery: Mutex<Delivery>,
    pub(super) output: Output,
    /// The shard passes it over: paused, or its socket is full and the connection pumps it.
    idle: AtomicBool,
    /// The reader has gone; the shard lets go of it.
    gone: AtomicBool,
    /// Tells the connection that the stream ended or the socket failed.
    over: Arc<Notify>,
}

impl Slot {
    pub(super) fn new(delivery: Delivery, output: Output, over: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            delivery: Mutex::new(delivery),
            output,
            idle: AtomicBool::new(true),
            gone: AtomicBool::new(false),
            over,
        })
    }
    pub(super) fn delivery(&self) -> MutexGuard<'_, Delivery> {
        self.delivery.lock().expect(NOT_POISONED)
    }
    /// Takes the reader out of (or puts it back into) the shard's round.
    pub(super) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::Release);
    }
    /// The reader has gone for good.
    pub(super) fn leave(&self) {
        self.gone.store(true, Ordering::Release);
    }
}

/// The shards of one stream.
struct Fanout {
    shards: Vec<Arc<Shard>>,
    next: AtomicUsize,
}

/// Readers that came since the shard last looked.
struct Shard {
    coming: Mutex<Vec<Arc<Slot>>>,
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
        let fanout = {
            let mut all = self.by_stream.lock().expect(NOT_POISONED);
            Arc::clone(all.entry(stream.id()).or_insert_with(|| self.start(stream)))
        };
        let n = fanout.next.fetch_add(1, Ordering::Relaxed) % fanout.shards.len();
        fanout.shards[n].coming.lock().expect(NOT_POISONED).push(slot);
    }
    /// Adds what readers got to the program's counters.
    pub(super) fn count(&self, output: Output, tally: Tally) {
        if tally.bursts > 0 {
            self.metrics
                .units_out
                .get_or_create(&ByOutput { output })
                .inc_by(tally.bursts);
            self.metrics
                .bytes_out
                .get_or_create(&ByOutput { output })
                .inc_by(tally.bytes);
        }
        if tally.skipped > 0 {
            self.metrics.lose(Reason::ReaderLagged, tally.skipped);
        }
        if tally.unsent > 0 {
            self.metrics.lose(Reason::SocketFull, tally.unsent);
        }
    }

    fn start(self: &Arc<Self>, stream: &Arc<Stream>) -> Arc<Fanout> {
        let shards: Vec<_> = (0..self.shards)
            .map(|_| {
                Arc::new(Shard {
                    coming: Mutex::default(),
                })
            })
            .collect();
        for shard in &shards {
            let (all, shard, stream) = (Arc::clone(self), Arc::clone(shard), Arc::clone(stream));
            self.tasks.spawn("fan-out", move |stop| async move {
                all.run(&shard, &stream, stop).await
            });
        }
        Arc::new(Fanout {
            shards,
            next: AtomicUsize::new(0),
        })
    }
    async fn run(&self, shard: &Shard, stream: &Arc<Stream>, stop: CancellationToken) {
        let mut head = stream.watch();
        let mut readers: Vec<Arc<Slot>> = Vec::new();
        let mut window: Vec<Arc<Burst>> = Vec::new();
        let mut at = head.borrow_and_update().end;
        loop {
            tokio::select! {
                changed = head.changed() => if changed.is_err() { break },
                () = stop.cancelled() => break,
            }
            let now_at = *head.borrow_and_update();
            window.clear();
            let first = {
                let ring = stream.ring();
                window.extend(ring.since(at).map(Arc::clone));
                at.max(ring.first())
            };
            at = first + window.len() as u64;
            readers.append(&mut shard.coming.lock().expect(NOT_POISONED));
            self.round(&mut readers, first, &window);
            if now_at.ended {
                break;
            }
        }
        self.by_stream.lock().expect(NOT_POISONED).remove(&stream.id());
        readers.append(&mut shard.coming.lock().expect(NOT_POISONED));
        readers.iter().for_each(|r| r.over.notify_one());
    }
    /// One pass over the readers that keep up.
    fn round(&self, readers: &mut Vec<Arc<Slot>>, first: u64, window: &[Arc<Burst>]) {
        let now = self.clock.now();
        let mut tallies = [
            (Output::RtspTcp, Tally::default()),
            (Output::RtspUdp, Tally::default()),
        ];
        readers.retain(|slot| {
            if slot.gone.load(Ordering::Acquire) {
                return false;
            }
            if slot.idle.load(Ordering::Acquire) {
                return true;
            }
            let mut delivery = slot.delivery();
            match delivery.pump(now, first, window) {
                Ok(Pumped::CaughtUp) => {}
                Ok(Pumped::Full) => slot.set_idle(true), // its connection goes on with it
                Err(_) => {
                    slot.over.notify_one();
                    return false;
                }
            }
            let sum = &mut tallies[usize::from(slot.output == Output::RtspUdp)].1;
            sum.add(delivery.take_tally());
            true
        });
        tallies
            .into_iter()
            .for_each(|(output, tally)| self.count(output, tally));
    }
}
