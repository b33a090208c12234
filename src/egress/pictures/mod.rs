//! Still pictures of published streams: made while somebody asks for them, and not otherwise.
//!
//! A path whose source makes pictures itself (capture) is left alone. One task per path waits until pictures
//! are wanted and a stream flows, and has a thread of its own decode from the newest keyframe; only the
//! newest decoded picture is encoded, and not more often than anybody looks. JPEG streams are passed on as
//! they are. Damaged input costs pictures, never the thread.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::av::decode::Decoder;
use crate::av::frame::Frame;
use crate::av::jpeg::JpegEncoder;
use crate::av::jpeg::QUALITY;
use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;
use crate::hub::Demand;
use crate::hub::Next;
use crate::hub::Path;
use crate::hub::Picture;
use crate::hub::Reader;
use crate::hub::Stream;
use crate::hub::burst::Burst;
use crate::hub::burst::BurstKind;
use crate::media::AccessUnit;
use crate::media::Codec;
use crate::media::Track;
use crate::proto::mpeg4;
use crate::proto::rtp::Depacketizer;

/// Pictures follow one another after this time at the earliest: 15 a second, with room for jitter.
const INTERVAL: Duration = Duration::from_millis(60);

/// After so many units in a row that could not be decoded, the decoder begins anew.
const HOPELESS: u32 = 50;

/// Makes pictures of `path` while they are wanted. Call it after each [`Path::subscribe_pictures`]; it does
/// nothing when they are made already.
pub fn make_while_wanted(tasks: &Tasks, path: &Arc<Path>, clock: &SharedClock) {
    if !path.pictures().take_making() {
        return;
    }
    let (path, clock) = (Arc::clone(path), Arc::clone(clock));
    let threads = tasks.clone();
    tasks.spawn("pictures", |stop| async move {
        loop {
            tokio::select! {
                () = serve(&threads, &path, &clock) => {}
                () = stop.cancelled() => return,
            }
            path.pictures().leave_making();
            // Whoever came between the last look and the line above found us still at it.
            if path.demand().borrow().pictures == 0 || !path.pictures().take_making() {
                return;
            }
        }
    });
}

/// Makes pictures of one stream after the other until nobody wants any.
async fn serve(tasks: &Tasks, path: &Arc<Path>, clock: &SharedClock) {
    let mut demand = path.demand();
    let mut streams = path.watch_stream();
    loop {
        let stream = streams.borrow_and_update().clone();
        if let Some(stream) = stream
            && !path.pictures().made_by_source()
        {
            watch_stream(tasks, path, stream, clock).await;
        }
        let unwanted = |d: &Demand| d.pictures == 0;
        tokio::select! {
            biased;
            _ = demand.wait_for(unwanted) => return,
            changed = streams.changed() => if changed.is_err() { return },
        }
    }
}

/// Runs a thread on one stream, and waits for its end.
async fn watch_stream(tasks: &Tasks, path: &Arc<Path>, stream: Arc<Stream>, clock: &SharedClock) {
    let description = stream.description();
    let Some(track) = description.video() else { return };
    let Some(maker) = Maker::new(track.clone(), Arc::clone(path), Arc::clone(clock)) else {
        tracing::info!(path = %path.name(), codec = %track.codec, "No pictures can be made of this codec.");
        return;
    };
    path.wish_keyframe();
    let (done, ended) = oneshot::channel::<()>();
    let runtime = Handle::current();
    let demand = path.demand();
    let spawned = tasks.spawn_thread("pictures", move |stop| {
        let _done = done;
        maker.run(&runtime, Reader::new(stream), demand, &stop);
    });
    match spawned {
        Ok(()) => _ = ended.await,
        Err(_) => tracing::warn!(path = %path.name(), "No thread could be started to make pictures."),
    }
}

/// What happened next, for the thread.
enum Event {
    Burst(Arc<Burst>),
    /// Everything that has come is decoded.
    CaughtUp,
    Ended,
}

/// Makes the pictures of one stream.
struct Maker {
    track: Track,
    path: Arc<Path>,
    clock: SharedClock,
    depacketizer: Depacketizer,
    /// `None` for JPEG streams, whose pictures are passed on.
    decoder: Option<Decoder>,
    encoder: JpegEncoder,
    /// Units in a row that could not be decoded.
    failures: u32,
    newest: Option<Made>,
    shown: Option<Instant>,
}

/// A picture before it is one.
enum Made {
    Decoded(Frame),
    Jpeg(AccessUnit),
}

impl Maker {
    /// `None` when there is no way from the track's packets to pictures.
    fn new(track: Track, path: Arc<Path>, clock: SharedClock) -> Option<Self> {
        let depacketizer = Depacketizer::new(&track)?;
        let decoder = match track.codec {
            Codec::Jpeg => None,
            _ => Some(decoder(&track)?),
        };
        let encoder = JpegEncoder::new(QUALITY);
        Some(Self {
            track,
            path,
            clock,
            depacketizer,
            decoder,
            encoder,
            failures: 0,
            newest: None,
            shown: None,
        })
    }

    /// Until the stream ends, nobody wants pictures, or the source begins to make them itself.
    fn run(
        mut self,
        runtime: &Handle,
        mut reader: Reader,
        mut demand: watch::Receiver<Demand>,
        stop: &CancellationToken,
    ) {
        while !self.path.pictures().made_by_source() {
            // What is there is decoded first; only then is a picture encoded, and the next burst waited for.
            let event = match runtime.block_on(at_once(&mut reader)) {
                Event::CaughtUp => {
                    let wait = self.show_or_wait();
                    runtime.block_on(later(&mut reader, &mut demand, stop, wait))
                }
                event => event,
            };
            match event {
                Event::Burst(burst) => self.take(&burst),
                Event::CaughtUp => {}
                Event::Ended => return,
            }
            if demand.borrow().pictures == 0 || stop.is_cancelled() {
                return;
            }
        }
    }

    /// Decodes one burst.
    fn take(&mut self, burst: &Burst) {
        if burst.track != self.track.id || burst.kind == BurstKind::Report {
            return;
        }
        for packet in burst.iter() {
            let _ = self.depacketizer.push(packet); // damage: what is whole is pulled below
            while let Some(unit) = self.depacketizer.pull() {
                self.decode(unit);
            }
        }
    }

    fn decode(&mut self, unit: AccessUnit) {
        let Some(decoder) = &mut self.decoder else {
            self.newest = Some(Made::Jpeg(unit));
            return;
        };
        match decoder.push(&unit) {
            Ok(mut frames) => {
                self.failures = 0;
                self.newest = frames.pop().map(Made::Decoded).or(self.newest.take());
            }
            Err(_) => {
                self.failures += 1;
                if self.failures.is_multiple_of(HOPELESS)
                    && let Some(again) = self::decoder(&self.track)
                {
                    self.decoder = Some(again);
                }
            }
        }
    }

    /// Shows the newest picture, or says how long it is too early for that.
    fn show_or_wait(&mut self) -> Option<Duration> {
        let now = self.clock.now();
        let due = self.shown.map_or(now, |shown| shown + INTERVAL);
        if self.newest.is_some() && now < due {
            return Some(due - now);
        }
        if let Some(picture) = self.newest.take().and_then(|made| self.picture(made)) {
            self.path.pictures().publish(picture);
            self.shown = Some(now);
        }
        None
    }

    fn picture(&mut self, made: Made) -> Option<Picture> {
        match made {
            Made::Decoded(frame) => {
                let made = self.encoder.encode(&frame, None).ok()?;
                Some(Picture {
                    jpeg: made.jpeg,
                    width: made.width,
                    height: made.height,
                })
            }
            Made::Jpeg(unit) => {
                let (width, height) = jpeg_size(&unit.data)?;
                Some(Picture {
                    jpeg: unit.data,
                    width,
                    height,
                })
            }
        }
    }
}

/// The next burst if there is one now.
async fn at_once(reader: &mut Reader) -> Event {
    tokio::select! {
        biased;
        next = next(reader) => next,
        () = std::future::ready(()) => Event::CaughtUp,
    }
}

/// The next burst; or that `wait` is over, or that it is time to end.
async fn later(
    reader: &mut Reader,
    demand: &mut watch::Receiver<Demand>,
    stop: &CancellationToken,
    wait: Option<Duration>,
) -> Event {
    tokio::select! {
        biased;
        () = stop.cancelled() => Event::Ended,
        _ = demand.wait_for(|d| d.pictures == 0) => Event::Ended,
        next = next(reader) => next,
        () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => Event::CaughtUp,
    }
}

async fn next(reader: &mut Reader) -> Event {
    loop {
        match reader.next().await {
            Next::Burst(burst) => return Event::Burst(burst),
            Next::Lagged { .. } => {} // the depacketizer sees the gap; the next burst is a keyframe
            Next::Ended => return Event::Ended,
        }
    }
}

fn decoder(track: &Track) -> Option<Decoder> {
    // H.264 and H.265 need none: the hub puts parameter sets before each keyframe.
    let headers = mpeg4::config(track).filter(|_| track.codec == Codec::Mpeg4Visual);
    Decoder::new(track.codec, headers.as_deref()).ok()
}

/// Width and height out of a JPEG's frame header (ITU-T T.81 section B.2.2).
fn jpeg_size(jpeg: &[u8]) -> Option<(u32, u32)> {
    let mut rest = jpeg.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let &[0xff, marker, high, low, ..] = rest else {
            return None;
        };
        let frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if frame {
            let size = rest.get(5..9)?;
            let side = |n: usize| u32::from(u16::from_be_bytes([size[n], size[n + 1]]));
            return (side(0) > 0 && side(2) > 0).then(|| (side(2), side(0)));
        }
        rest = rest.get(2 + usize::from(u16::from_be_bytes([high, low]))..)?;
    }
}

#[cfg(test)]
mod tests;
