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
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::av::encode;
    use crate::av::encode::Encoder;
    use crate::base::clock::SystemClock;
    use crate::base::time::MediaTime;
    use crate::base::time::Rate;
    use crate::hub;
    use crate::hub::Hub;
    use crate::hub::PathName;
    use crate::hub::PictureReader;
    use crate::hub::Publisher;
    use crate::media::Description;
    use crate::media::TrackId;
    use crate::proto::rtp;
    use crate::telemetry::Metrics;

    /// A hub, a publisher of H.264 in plain greys, and the tasks that make pictures.
    struct Studio {
        hub: Arc<Hub>,
        clock: SharedClock,
        tasks: Tasks,
        encoder: Encoder,
        units: i64,
    }

    impl Studio {
        fn new() -> Self {
            let clock = SystemClock::shared();
            let options = encode::Options {
                width: 160,
                height: 90,
                fps: 30.0,
                bitrate: None,
                full_range: false,
                encoder: None,
            };
            Self {
                hub: Hub::new(hub::Options::default(), Arc::clone(&clock), Metrics::new()),
                clock,
                tasks: Tasks::new(),
                encoder: Encoder::open(&options).unwrap(),
                units: 0,
            }
        }
        fn publish(&self) -> Publisher {
            let [sps, pps] = self.encoder.parameter_sets() else {
                panic!("two parameter sets")
            };
            let track = rtp::h264_track(TrackId(0), sps, pps);
            let name = PathName::parse("cam").unwrap();
            self.hub
                .publish(&name, Description { tracks: vec![track] })
                .unwrap()
        }
        fn subscribe(&self, path: &Arc<Path>) -> PictureReader {
            let reader = path.subscribe_pictures();
            make_while_wanted(&self.tasks, path, &self.clock);
            reader
        }
        /// The next access unit: a picture of this brightness.
        fn unit(&mut self, luma: u8, keyframe: bool) -> AccessUnit {
            let mut frame = Frame::black(160, 90).unwrap();
            frame.luma_mut().0.fill(luma);
            self.units += 1;
            let pts = MediaTime::new(self.units * 3000, Rate::VIDEO);
            self.encoder.encode(&frame, pts, keyframe).unwrap().pop().unwrap()
        }
    }

    async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), what)
            .await
            .expect("in time")
    }

    /// Size and brightness; JPEG's luma is of full range.
    fn look(picture: &Picture) -> (u32, u32, u8) {
        let unit = AccessUnit {
            track: TrackId(0),
            pts: MediaTime::new(0, Rate::VIDEO),
            keyframe: true,
            data: picture.jpeg.clone(),
        };
        let frames = Decoder::new(Codec::Jpeg, None).unwrap().push(&unit).unwrap();
        let luma = u32::from(frames[0].luma_at(80, 45).unwrap());
        (picture.width, picture.height, (luma * 219 / 255 + 16) as u8)
    }

    fn is_about(picture: &Picture, luma: u8) -> bool {
        let (width, height, seen) = look(picture);
        (width, height) == (160, 90) && seen.abs_diff(luma) < 6
    }

    #[tokio::test]
    async fn who_comes_in_the_middle_sees_the_newest_picture_at_once() {
        let mut studio = Studio::new();
        let mut publisher = studio.publish();
        for (n, luma) in [40, 80, 120, 160, 200].into_iter().enumerate() {
            publisher.write_unit(&studio.unit(luma, n == 0)).unwrap();
        }
        let mut reader = studio.subscribe(publisher.path());
        let first = soon(reader.next()).await.unwrap();
        assert!(is_about(&first, 200), "{:?}", look(&first));
    }

    #[tokio::test]
    async fn pictures_are_made_by_one_thread_while_wanted_and_begin_again_with_the_next_publisher() {
        let mut studio = Studio::new();
        let mut publisher = studio.publish();
        let path = Arc::clone(publisher.path());
        let mut reader = studio.subscribe(&path);
        let _second = studio.subscribe(&path);
        assert!(!path.pictures().take_making(), "somebody makes them");
        publisher.write_unit(&studio.unit(60, true)).unwrap();
        assert!(is_about(&soon(reader.next()).await.unwrap(), 60));
        drop(publisher);

        let mut publisher = studio.publish();
        assert!(Arc::ptr_eq(publisher.path(), &path));
        publisher.write_unit(&studio.unit(180, true)).unwrap();
        assert!(is_about(&soon(reader.next()).await.unwrap(), 180));

        drop((reader, _second));
        soon(async {
            while !path.pictures().take_making() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        path.pictures().leave_making();
        publisher.write_unit(&studio.unit(100, true)).unwrap();
        let mut late = studio.subscribe(&path);
        assert!(is_about(&soon(late.next()).await.unwrap(), 100));
        drop(late);
        assert!(
            studio.tasks.shutdown(Duration::from_secs(5)).await,
            "a thread is left"
        );
    }

    #[tokio::test]
    async fn damage_costs_pictures_and_nothing_more() {
        let mut studio = Studio::new();
        let mut publisher = studio.publish();
        let mut reader = studio.subscribe(&Arc::clone(publisher.path()));
        let mut sequence = 0_u16;
        for n in 0..40_u8 {
            let mut unit = studio.unit(40, n == 0);
            let mut noise: Vec<u8> = unit.data.to_vec();
            let half = noise.len() / 2;
            noise[half..]
                .iter_mut()
                .enumerate()
                .for_each(|(i, b)| *b ^= (i as u8).wrapping_mul(n | 1));
            unit.data = Bytes::from(noise);
            publisher.write_unit(&unit).unwrap();
            sequence = sequence.wrapping_add(7);
            let junk = [
                &[0x80, 96],
                &sequence.to_be_bytes()[..],
                &[n; 8],
                &[0x7c, 0x45, n, n, n],
            ]
            .concat();
            let _ = publisher.write_packet(TrackId(0), &junk);
            publisher.flush();
        }
        publisher.write_unit(&studio.unit(210, true)).unwrap();
        soon(async { while !is_about(&reader.next().await.unwrap(), 210) {} }).await;
    }

    #[tokio::test]
    async fn a_jpeg_stream_is_passed_on_sample_for_sample() {
        let studio = Studio::new();
        let name = PathName::parse("jpeg").unwrap();
        let tracks = vec![rtp::jpeg_track(TrackId(0))];
        let mut publisher = studio.hub.publish(&name, Description { tracks }).unwrap();
        let mut reader = studio.subscribe(&Arc::clone(publisher.path()));
        let mut frame = Frame::black(160, 96).unwrap();
        (frame.luma_mut().0.iter_mut().enumerate()).for_each(|(n, b)| *b = (n * n / 7 % 200 + 20) as u8);
        let sent = JpegEncoder::new(71).encode(&frame, None).unwrap();
        let unit = AccessUnit {
            track: TrackId(0),
            pts: MediaTime::new(0, Rate::VIDEO),
            keyframe: true,
            data: sent.jpeg,
        };
        publisher.write_unit(&unit).unwrap();
        let got = soon(reader.next()).await.unwrap();
        assert_eq!((got.width, got.height), (160, 96));
        let samples = |data: &Bytes| {
            let unit = AccessUnit {
                data: data.clone(),
                ..unit.clone()
            };
            let frames = Decoder::new(Codec::Jpeg, None).unwrap().push(&unit).unwrap();
            frames[0].luma().0.to_vec()
        };
        assert!(
            samples(&unit.data) == samples(&got.jpeg),
            "the picture was coded again"
        );
    }

    #[tokio::test]
    async fn nothing_is_decoded_where_the_source_makes_its_own_pictures() {
        let mut studio = Studio::new();
        let mut publisher = studio.publish();
        let path = Arc::clone(publisher.path());
        path.pictures().set_made_by_source(true);
        let mut reader = studio.subscribe(&path);
        publisher.write_unit(&studio.unit(60, true)).unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(200), reader.next()).await;
        assert!(waited.is_err(), "a picture was made from the stream");
    }

    #[tokio::test]
    async fn pictures_follow_one_another_no_faster_than_anybody_looks() {
        let mut studio = Studio::new();
        let mut publisher = studio.publish();
        let mut reader = studio.subscribe(&Arc::clone(publisher.path()));
        publisher.write_unit(&studio.unit(20, true)).unwrap();
        soon(reader.next()).await.unwrap();
        let begun = Instant::now();
        let mut last = 20;
        for luma in (24..=232).step_by(4) {
            publisher.write_unit(&studio.unit(luma, false)).unwrap();
            last = luma;
        }
        let mut shown = 0_u32;
        soon(async {
            loop {
                shown += 1;
                if is_about(&reader.next().await.unwrap(), last) {
                    return;
                }
            }
        })
        .await;
        shown += u32::try_from(reader.take_skipped()).unwrap();
        let most = begun.elapsed().as_millis() / INTERVAL.as_millis() + 1;
        assert!(
            u128::from(shown) <= most,
            "{shown} pictures of 53 in {:?}",
            begun.elapsed()
        );
    }

    #[test]
    fn the_size_of_a_jpeg_is_in_its_frame_header() {
        let frame = Frame::black(322, 46).unwrap();
        let made = JpegEncoder::new(80).encode(&frame, None).unwrap();
        assert_eq!(jpeg_size(&made.jpeg), Some((322, 46)));
        for end in 0..made.jpeg.len().min(700) {
            let _ = jpeg_size(&made.jpeg[..end]); // must not panic
        }
        assert_eq!(jpeg_size(b""), None);
        assert_eq!(jpeg_size(b"\xff\xd8\xff\xd9"), None);
        assert_eq!(
            jpeg_size(&[0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 0, 0, 0, 1]),
            None,
            "no pixels"
        );
    }
}
