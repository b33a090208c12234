//! A cursor in a stream's ring, for outputs that take bursts one by one (renditions, pictures).
//!
//! RTSP readers are driven many at a time by `egress::rtsp` and keep only a number.

use std::sync::Arc;

use tokio::sync::watch;

use crate::hub::burst::Burst;
use crate::hub::ring::Join;
use crate::hub::stream::Head;
use crate::hub::stream::Stream;

/// What a reader gets next. `Lagged` is a value, not a log line: each output must say what it does.
pub enum Next {
    Burst(Arc<Burst>),
    /// This many bursts were lost; the next one is a keyframe.
    Lagged {
        skipped: u64,
    },
    Ended,
}

/// One reader's place in a stream. It begins at the newest keyframe.
pub struct Reader {
    stream: Arc<Stream>,
    head: watch::Receiver<Head>,
    at: Option<u64>,
}

impl Reader {
    /// A reader that begins where decoding can.
    pub fn new(stream: Arc<Stream>) -> Self {
        let head = stream.watch();
        Self {
            stream,
            head,
            at: None,
        }
    }
    /// The stream that is read.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }
    /// Waits for the next burst.
    pub async fn next(&mut self) -> Next {
        loop {
            let ended = self.head.borrow_and_update().ended; // before looking, or a push could be missed
            if let Some(next) = self.try_next() {
                return next;
            }
            if ended || self.head.changed().await.is_err() {
                return Next::Ended;
            }
        }
    }
    fn try_next(&mut self) -> Option<Next> {
        let ring = self.stream.ring();
        let at = match self.at {
            Some(at) if at < ring.first() => {
                let live = match ring.live_at() {
                    Join::At(key) => key,
                    Join::KeyframeFrom(end) => end,
                };
                self.at = None;
                return Some(Next::Lagged { skipped: live - at });
            }
            Some(at) => at,
            None => match ring.live_at() {
                Join::At(key) => key,
                Join::KeyframeFrom(_) => return None,
            },
        };
        let burst = Arc::clone(ring.get(at)?);
        self.at = Some(at + 1);
        Some(Next::Burst(burst))
    }
}
