//! Who publishes what by RTSP: a second publisher may take a path over, and the readers of one that was lost may
//! wait for the next. Either way they see one stream go on: same numbers, same clock, a pause at most.
//!
//! Both are off unless configured. What joins the streams is `hub::splice`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::base::clock::SharedClock;
use crate::base::clock::sleep_until;
use crate::base::live::Live;
use crate::egress::rtsp::Options;
use crate::egress::rtsp::record::Recording;
use crate::hub::Hub;
use crate::hub::PathName;
use crate::hub::PathState;
use crate::hub::PublishError;
use crate::hub::Publisher;
use crate::hub::splice::Splice;
use crate::media::Description;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// What the operator reads while readers wait.
const WAITING: &str = "the publisher has left; its readers wait for the next one";

/// A stream and what joins its publishers.
pub(super) struct Line {
    pub(super) publisher: Publisher,
    /// `None` where no other publisher can follow: packets then pass as they are.
    pub(super) splice: Option<Splice>,
}

/// A stream without publisher.
struct Kept {
    line: Line,
    until: Instant,
}

/// All publishers of the RTSP server.
pub(super) struct Publishers {
    options: Live<Options>,
    hub: Arc<Hub>,
    clock: SharedClock,
    live: Mutex<HashMap<PathName, Weak<Mutex<Recording>>>>,
    kept: Mutex<HashMap<PathName, Kept>>,
    /// Something was kept.
    wake: Notify,
}

impl Publishers {
    pub(super) fn new(options: Live<Options>, hub: Arc<Hub>, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            options,
            hub,
            clock,
            live: Mutex::default(),
            kept: Mutex::default(),
            wake: Notify::new(),
        })
    }
    /// Begins a stream, or goes on with the one of the publisher before.
    ///
    /// # Errors
    /// As [`Hub::publish`].
    pub(super) fn publish(&self, name: &PathName, description: Description) -> Result<Line, PublishError> {
        if let Some(kept) = self.take_kept(name)
            && let Some(line) = resume(kept.line, &description)
        {
            return Ok(line);
        }
        let published = self.hub.publish(name, description.clone());
        if !self.options.get().takeover || !matches!(published, Err(PublishError::AlreadyPublished)) {
            return published.map(|publisher| self.line(publisher));
        }
        let former = self.live.lock().expect(NOT_POISONED).remove(name);
        let former = former.and_then(|f| f.upgrade());
        let line = former.and_then(|f| f.lock().expect(NOT_POISONED).give_up());
        match line.map(|line| resume(line, &description)) {
            Some(Some(line)) => Ok(line),
            // Another kind of stream, whose readers have to begin anew; or nobody's that we could ask.
            _ => self
                .hub
                .publish(name, description)
                .map(|publisher| self.line(publisher)),
        }
    }
    /// This recording is the path's from now on.
    pub(super) fn register(&self, name: &PathName, recording: &Arc<Mutex<Recording>>) {
        let mut live = self.live.lock().expect(NOT_POISONED);
        live.retain(|_, r| r.strong_count() > 0);
        live.insert(name.clone(), Arc::downgrade(recording));
    }
    /// A publisher has gone. Its readers wait, if there are any and they may.
    pub(super) fn left(&self, line: Line) {
        let path = Arc::clone(line.publisher.path());
        let keep = self.options.get().keep_readers;
        if keep.is_zero() || path.demand().borrow().readers == 0 {
            return;
        }
        path.report(PathState::Waiting, Some(WAITING.to_owned()));
        let until = self.clock.now() + keep;
        let kept = Kept { line, until };
        let before = {
            let mut all = self.kept.lock().expect(NOT_POISONED);
            all.insert(path.name().clone(), kept)
        };
        drop(before);
        self.wake.notify_one();
    }
    /// Ends streams that nobody came back for, as long as the server runs.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let next = self.sweep(self.clock.now());
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.wake.notified() => {}
                () = stop.cancelled() => break,
            }
        }
        let all = std::mem::take(&mut *self.kept.lock().expect(NOT_POISONED));
        drop(all); // not under the lock
    }
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let over: Vec<_> = {
            let mut kept = self.kept.lock().expect(NOT_POISONED);
            kept.extract_if(|_, k| k.until <= now).collect()
        };
        drop(over); // their readers are told good-bye
        let kept = self.kept.lock().expect(NOT_POISONED);
        kept.values().map(|k| k.until).min()
    }
    fn take_kept(&self, name: &PathName) -> Option<Kept> {
        self.kept.lock().expect(NOT_POISONED).remove(name)
    }
    fn line(&self, publisher: Publisher) -> Line {
        let options = self.options.get();
        let joins = options.takeover || !options.keep_readers.is_zero();
        let splice = joins.then(|| Splice::new(&publisher.stream().description()));
        Line { publisher, splice }
    }
}

/// The same stream for another publisher, if what it announces can go on where the last one stopped.
fn resume(mut line: Line, announced: &Description) -> Option<Line> {
    let before = line.publisher.stream().description();
    let (old, new) = (&before.tracks, &announced.tracks);
    let alike = old.len() == new.len()
        && old.iter().zip(new).all(|(a, b)| {
            let clock = (a.kind, a.codec, a.rate, a.channels);
            clock == (b.kind, b.codec, b.rate, b.channels)
        });
    let splice = line.splice.as_mut().filter(|_| alike)?;
    splice.restart();
    let mut description = announced.clone();
    // Readers were told these types: the splice puts them into the packets.
    for (track, told) in description.tracks.iter_mut().zip(old) {
        track.payload_type = told.payload_type;
    }
    line.publisher.describe(description);
    line.publisher.path().report(PathState::Ready, None);
    Some(line)
}
