//! (being built)
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::analytics::Store;
use crate::analytics::recorder::Event;
use crate::analytics::recorder::Timeline;
use crate::telemetry::Metrics;

pub(super) async fn run(
    _store: Store,
    mut queue: mpsc::Receiver<Event>,
    _timeline: Arc<Timeline>,
    _missed: Arc<AtomicBool>,
    _metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            event = queue.recv() => match event {
                Some(Event::Session(session)) => session.taken(),
                Some(Event::Flush(done)) => { done.send(()).ok(); }
                None => return,
            }
        }
    }
}
