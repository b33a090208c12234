//! Sessions of readers by UDP whose TCP connection was lost: their media goes on, and another connection of
//! the same host may take them over by their unguessable id. RTCP keeps them; silence ends them.
//!
//! Publishers are not kept: their path is free at once for another try.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::base::clock::SharedClock;
use crate::base::clock::sleep_until;
use crate::base::live::Live;
use crate::base::peer::PeerAddr;
use crate::egress::rtsp::Options;
use crate::egress::rtsp::play::Play;
use crate::proto::rtsp::server::Kept;
use crate::proto::rtsp::server::SessionId;
use crate::telemetry::Limit;
use crate::telemetry::Metrics;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// How often it is looked whether a reader said good-bye, or has been silent for too long.
const LOOK: Duration = Duration::from_secs(1);

/// A session without a connection.
struct Entry {
    session: Kept,
    play: Box<Play>,
    /// Whose it is; forgotten with the session.
    peer: PeerAddr,
}

/// All kept sessions.
pub(super) struct Keeper {
    kept: Mutex<HashMap<SessionId, Entry>>,
    /// Something was brought, or a stream that is read here has ended.
    attention: Arc<Notify>,
    options: Live<Options>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
}

impl Keeper {
    pub(super) fn new(options: Live<Options>, clock: SharedClock, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::default(),
            attention: Arc::default(),
            options,
            clock,
            metrics,
        })
    }
    /// Takes care of a session whose connection is over.
    pub(super) fn keep(&self, session: Kept, play: Box<Play>, peer: PeerAddr) {
        play.answer_to(&self.attention);
        let entry = Entry { session, play, peer };
        let options = self.options.get();
        let limits = &options.limits;
        let limit = {
            let mut kept = self.kept.lock().expect(NOT_POISONED);
            let same_host = kept.values().filter(|e| e.peer.same_host_as(&entry.peer)).count();
            if kept.len() < limits.kept && same_host < limits.kept_per_host {
                kept.insert(entry.session.id(), entry);
                return self.attention.notify_one();
            }
            match same_host < limits.kept_per_host {
                true => Limit::KeptSessions,
                false => Limit::KeptSessionsPerHost,
            }
        };
        self.metrics.limit(limit);
    }
    /// Gives a session back, to the host that it was of, if its user may still have it: a connection looks again
    /// only after the next change of rights.
    pub(super) fn claim(&self, session: SessionId, peer: &PeerAddr) -> Option<(Kept, Box<Play>)> {
        let mut kept = self.kept.lock().expect(NOT_POISONED);
        let entry = kept.get(&session)?;
        if !entry.peer.same_host_as(peer) || !entry.session.may_go_on() {
            return None;
        }
        let mut entry = kept.remove(&session)?;
        if let Some(seen) = entry.play.last_seen() {
            entry.session.heard(seen);
        }
        Some((entry.session, entry.play))
    }
    /// Ends what is over, as long as the server runs.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let next = self.sweep(self.clock.now());
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.attention.notified() => {}
                () = stop.cancelled() => break,
            }
        }
        let all = std::mem::take(&mut *self.kept.lock().expect(NOT_POISONED));
        drop(all); // not under the lock: their routes have locks of their own
    }
    /// Ends sessions whose stream has ended or whose reader is silent; when to look again.
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let idle = self.options.get().idle;
        let over: Vec<Entry> = {
            let mut kept = self.kept.lock().expect(NOT_POISONED);
            kept.extract_if(|_, entry| {
                if let Some(seen) = entry.play.last_seen() {
                    entry.session.heard(seen);
                }
                let silent = entry.session.ends_at(idle) <= now;
                let dismissed = !entry.session.may_go_on();
                silent || dismissed || entry.play.has_left() || entry.play.bye_if_ended()
            })
            .map(|(_, entry)| entry)
            .collect()
        };
        over.iter().for_each(|entry| entry.play.end_as_last_seen());
        drop(over);
        let kept = self.kept.lock().expect(NOT_POISONED);
        (!kept.is_empty()).then(|| now + LOOK)
    }
}
