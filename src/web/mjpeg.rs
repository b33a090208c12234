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

use bytes::Bytes;
use hyper::body::Body;
use hyper::body::Frame;
use tokio_util::sync::CancellationToken;

use crate::analytics::Protocol;
use crate::analytics::Recorder;
use crate::analytics::SessionHandle;
use crate::analytics::Transport;
use crate::hub::Picture;
use crate::hub::PictureReader;
use crate::privacy::Viewer;
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

/// Everything of one viewer of pictures.
struct Feed {
    pictures: PictureReader,
    /// Until the first picture is sent.
    newcomer: Option<Newcomer>,
    session: Option<SessionHandle>,
    stop: CancellationToken,
    metrics: Arc<Metrics>,
}

/// Who the session will be of; there is no session before the first picture.
struct Newcomer {
    recorder: Recorder,
    viewer: Option<Viewer>,
}

impl Feed {
    /// The next picture; `None` when no more will come.
    async fn next(mut self) -> Option<(Self, Arc<Picture>)> {
        let stop = self.stop.clone();
        let picture = tokio::select! {
            picture = self.wait() => picture?,
            () = stop.cancelled() => return None,
        };
        Some((self, picture))
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

    /// Counts a picture that is sent now; the first one begins the session.
    fn count(&mut self, picture: &Picture) {
        if let Some(Newcomer { recorder, viewer }) = self.newcomer.take() {
            if viewer.is_some() {
                self.pictures.count_as_viewer();
            }
            let path = self.pictures.path().name().as_str();
            self.session = Some(recorder.begin(viewer, path, Protocol::Mjpeg, Transport::Tcp));
        }
        let skipped = self.pictures.take_skipped();
        if skipped > 0 {
            self.metrics.lose(Reason::ReaderLagged, skipped);
        }
        self.metrics.units_out.get_or_create(&MJPEG).inc();
        self.metrics
            .bytes_out
            .get_or_create(&MJPEG)
            .inc_by(picture.jpeg.len() as u64);
    }
}

const MJPEG: ByOutput = ByOutput {
    output: Output::Mjpeg,
};

impl Drop for Feed {
    fn drop(&mut self) {
        self.metrics.readers.get_or_create(&MJPEG).dec();
    }
}

type NextPicture = Pin<Box<dyn Future<Output = Option<(Feed, Arc<Picture>)>> + Send>>;

/// The body: asks for a picture when hyper asks for bytes.
pub(super) struct Stream {
    /// `None` when the stream is over.
    next: Option<NextPicture>,
    /// What is left of the picture being sent: at most its header, itself and the boundary.
    parts: VecDeque<Bytes>,
}

impl Stream {
    /// Begins a stream. The session begins with the first picture and ends when this is dropped.
    pub(super) fn new(
        pictures: PictureReader,
        recorder: Recorder,
        viewer: Option<Viewer>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        metrics.readers.get_or_create(&MJPEG).inc();
        let newcomer = Some(Newcomer { recorder, viewer });
        let feed = Feed {
            pictures,
            newcomer,
            session: None,
            stop,
            metrics,
        };
        Self {
            next: Some(Box::pin(feed.next())),
            parts: VecDeque::from([Bytes::from_static(&BOUNDARY.as_bytes()[2..])]),
        }
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
        feed.count(&picture);
        self.next = Some(Box::pin(feed.next()));
        self.parts.push_back(picture.jpeg.clone());
        self.parts.push_back(Bytes::from_static(BOUNDARY.as_bytes()));
        Poll::Ready(Some(Ok(Frame::data(part_header(&picture)))))
    }
}

fn part_header(picture: &Picture) -> Bytes {
    format!(
        "Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        picture.jpeg.len()
    )
    .into()
}
