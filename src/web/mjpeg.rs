//! `stream.mjpeg`: pictures one after another in a `multipart/x-mixed-replace` body, the newest only.
//!
//! There is no queue: the next picture is fetched when the connection can take one, so a slow viewer gets
//! fewer pictures, never old ones. The write deadline is the connection's (`web::conn`).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Body;
use hyper::body::Frame;
use tokio_util::sync::CancellationToken;

use crate::analytics::Attempt;
use crate::analytics::SessionHandle;
use crate::base::clock::SharedClock;
use crate::hub::Picture;
use crate::hub::PictureReader;
use crate::proto::rtsp::auth::Action;
use crate::proto::rtsp::auth::Permit;
use crate::telemetry::AttachedReader;
use crate::telemetry::ByOutput;
use crate::telemetry::Metrics;
use crate::telemetry::Output;
use crate::telemetry::Reason;

/// The type of the body. The boundary is not quoted: some players take the quotes for part of it.
pub(super) const CONTENT_TYPE: &str = "multipart/x-mixed-replace; boundary=louver";

/// Ends each part, so that a browser shows a picture at once and not when the next one begins.
const BOUNDARY: &str = "\r\n--louver\r\n";

/// Without a picture for so long, nobody is watching: the session's watch time stands still.
const STILL: Duration = Duration::from_secs(5);

/// A viewer who takes pictures from a path.
struct Feed {
    pictures: PictureReader,
    /// From the first picture on.
    session: Option<Arc<SessionHandle>>,
    /// Looked at before each picture: users may go while they watch.
    permit: Option<Permit>,
    stop: CancellationToken,
}

impl Feed {
    /// The next picture; `None` when no more will come.
    async fn next(mut self) -> Option<(Self, Arc<Picture>)> {
        let stop = self.stop.clone();
        let picture = tokio::select! {
            picture = self.wait() => picture?,
            () = stop.cancelled() => return None,
        };
        self.may_go_on().then_some((self, picture))
    }

    fn may_go_on(&self) -> bool {
        let path = self.pictures.path().name().as_str();
        let holds = |p: &Permit| p.holds(Action::Read, path);
        self.permit.as_ref().is_none_or(holds)
    }

    async fn wait(&mut self) -> Option<Arc<Picture>> {
        if let Ok(picture) = tokio::time::timeout(STILL, self.pictures.next()).await {
            return picture;
        }
        if let Some(session) = &self.session {
            session.pause();
        }
        let picture = self.pictures.next().await;
        if let Some(session) = &self.session {
            session.resume();
        }
        picture
    }
}

type NextPicture = Pin<Box<dyn Future<Output = Option<(Feed, Arc<Picture>)>> + Send>>;

/// Who the session will be of; there is no session before the first picture.
pub(super) struct Newcomer {
    pub(super) attempt: Attempt,
    /// `None` where nobody is asked for credentials.
    pub(super) permit: Option<Permit>,
}

/// The body: asks for a picture when hyper asks for bytes.
pub(super) struct Stream {
    /// `None` when the stream is over.
    next: Option<NextPicture>,
    /// What is left of the picture being sent: at most itself and the boundary.
    parts: VecDeque<Bytes>,
    /// Who the session will be of; there is no session before the first picture.
    newcomer: Option<Attempt>,
    session: Option<Arc<SessionHandle>>,
    /// When the newest picture was given out.
    sent: Instant,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    _attached: AttachedReader,
}

const MJPEG: ByOutput = ByOutput {
    output: Output::Mjpeg,
};

impl Stream {
    /// Begins a stream. The session begins with the first picture and ends when this is dropped.
    pub(super) fn new(
        pictures: PictureReader,
        newcomer: Newcomer,
        clock: SharedClock,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        let feed = Feed {
            pictures,
            session: None,
            permit: newcomer.permit,
            stop,
        };
        Self {
            next: Some(Box::pin(feed.next())),
            parts: VecDeque::from([Bytes::from_static(&BOUNDARY.as_bytes()[2..])]),
            newcomer: Some(newcomer.attempt),
            session: None,
            sent: clock.now(),
            clock,
            _attached: metrics.attach(Output::Mjpeg),
            metrics,
        }
    }

    /// Counts a picture that is sent now; the first one begins the session.
    fn count(&mut self, feed: &mut Feed, picture: &Picture) {
        if let Some(newcomer) = self.newcomer.take() {
            if newcomer.counts() {
                feed.pictures.count_as_viewer();
            }
            let session = Arc::new(newcomer.begin());
            feed.session = Some(Arc::clone(&session));
            self.session = Some(session);
        }
        let skipped = feed.pictures.take_skipped();
        if skipped > 0 {
            self.metrics.lose(Reason::ReaderLagged, skipped);
        }
        self.metrics.units_out.get_or_create(&MJPEG).inc();
        let bytes = picture.jpeg.len() as u64;
        self.metrics.bytes_out.get_or_create(&MJPEG).inc_by(bytes);
        self.sent = self.clock.now();
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(part) = self.parts.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let Poll::Ready(next) = next.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        let Some((mut feed, picture)) = next else {
            self.next = None;
            return Poll::Ready(None);
        };
        self.count(&mut feed, &picture);
        self.next = Some(Box::pin(feed.next()));
        self.parts.push_back(picture.jpeg.clone());
        self.parts.push_back(Bytes::from_static(BOUNDARY.as_bytes()));
        Poll::Ready(Some(Ok(Frame::data(part_header(&picture)))))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.next = None; // and with it the other handle of the session
        let stuck = !self.parts.is_empty();
        if stuck && let Some(session) = self.session.take().and_then(Arc::into_inner) {
            session.end_at(self.sent); // nobody watched while the connection took nothing
        }
    }
}

fn part_header(picture: &Picture) -> Bytes {
    format!(
        "Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        picture.jpeg.len()
    )
    .into()
}
