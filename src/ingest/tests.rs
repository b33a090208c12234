//! Sources as their readers see them: through the hub, packets and all.

use std::time::Duration;

use super::*;
use crate::av::decode::Decoder;
use crate::av::frame::Frame;
use crate::base::clock::SystemClock;
use crate::hub;
use crate::hub::Next;
use crate::hub::PathState;
use crate::hub::Reader;
use crate::media::Codec;
use crate::media::Track;
use crate::proto::rtp::Depacketizer;

const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    tasks: Tasks,
    hub: Arc<Hub>,
    path: Arc<Path>,
    metrics: Arc<Metrics>,
}

fn run(source: &str) -> Running {
    let tasks = Tasks::new();
    let metrics = Metrics::new();
    let clock = SystemClock::shared();
    let hub = Hub::new(hub::Options::default(), clock.clone(), Arc::clone(&metrics));
    let name = PathName::parse("cam").unwrap();
    let source = Source::parse(source).unwrap();
    start(&tasks, &hub, clock, Arc::clone(&metrics), name, source).unwrap();
    let path = hub.find("cam").unwrap();
    Running {
        tasks,
        hub,
        path,
        metrics,
    }
}

/// A reader that sees pictures.
struct Eyes {
    reader: Reader,
    depacketizer: Depacketizer,
    decoder: Decoder,
    _attached: hub::Attached,
}

impl Eyes {
    async fn open(path: &Arc<Path>) -> Self {
        let stream = path.ready(PATIENCE).await.expect("a stream");
        let track: Track = stream.description().tracks[0].clone();
        Self {
            _attached: path.attach(),
            depacketizer: Depacketizer::new(&track).unwrap(),
            decoder: Decoder::new(Codec::H264, None).unwrap(),
            reader: Reader::new(stream),
        }
    }
    async fn picture(&mut self) -> Frame {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.reader.next()).await;
            let Next::Burst(burst) = next.expect("a burst in time") else {
                continue;
            };
            if burst.kind == hub::burst::BurstKind::Report {
                continue;
            }
            for packet in burst.iter() {
                self.depacketizer.push(packet).unwrap();
            }
            while let Some(unit) = self.depacketizer.pull() {
                if let Some(frame) = self.decoder.push(&unit).unwrap().pop() {
                    return frame;
                }
            }
        }
    }
}

fn number(frame: &Frame) -> u32 {
    let (luma, stride) = frame.luma();
    pattern::read_number(luma, stride, frame.width()).expect("a readable number")
}

#[tokio::test]
async fn a_pattern_is_seen_with_rising_numbers_at_its_size_and_rate() {
    let running = run("pattern:?size=320x240&fps=20");
    let mut eyes = Eyes::open(&running.path).await;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let frame = eyes.picture().await;
        assert_eq!((frame.width(), frame.height()), (320, 240));
        seen.push((number(&frame), frame.pts.unwrap().ticks));
    }
    for pair in seen.windows(2) {
        let (steps, ticks) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        assert!(steps >= 1);
        assert!((ticks - i64::from(steps) * 4500).abs() <= 90, "{seen:?}");
    }
    assert_eq!(running.path.state(), PathState::Ready);
    assert!(running.tasks.shutdown(PATIENCE).await);
}

#[tokio::test]
async fn nothing_is_encoded_that_nobody_asked_for() {
    let running = run("pattern:?size=160x120&fps=30");
    let stream = running.path.ready(PATIENCE).await.unwrap();
    let bytes = || running.hub.snapshot()[0].bytes_in;
    while running.metrics.frames_captured.get() < 10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bytes(), 0);
    let mut eyes = Eyes::open(&running.path).await;
    let first = number(&eyes.picture().await);
    drop(eyes);
    let captured = running.metrics.frames_captured.get();
    while running.metrics.frames_captured.get() < captured + 10 {
        tokio::task::yield_now().await;
    }
    let after = bytes();
    assert!(after > 0);
    while running.metrics.frames_captured.get() < captured + 20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bytes(), after, "encoding went on without readers");
    assert_eq!(
        stream.ring().since(0).count(),
        0,
        "a next reader would begin in the past"
    );
    let mut again = Eyes::open(&running.path).await;
    assert!(number(&again.picture().await) >= first + 20);
    running.tasks.stop();
}

#[tokio::test]
async fn a_reader_that_joins_later_sees_a_picture_soon() {
    let running = run("pattern:?size=320x240&fps=30");
    let mut early = Eyes::open(&running.path).await;
    for _ in 0..40 {
        early.picture().await;
    }
    let begun = std::time::Instant::now();
    let mut late = Eyes::open(&running.path).await;
    late.picture().await;
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
    running.tasks.stop();
}

#[tokio::test]
async fn stills_are_made_while_somebody_looks() {
    let running = run("pattern:?size=320x240&fps=30");
    running.path.ready(PATIENCE).await.unwrap();
    assert!(running.path.pictures().made_by_source());
    let mut pictures = running.path.subscribe_pictures();
    for _ in 0..3 {
        let picture = tokio::time::timeout(PATIENCE, pictures.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((picture.width, picture.height), (320, 240));
        assert!(picture.jpeg.starts_with(&[0xff, 0xd8]));
    }
    assert_eq!(running.hub.snapshot()[0].bytes_in, 0, "no H.264 for stills");
    running.tasks.stop();
}

#[tokio::test]
async fn a_camera_that_is_not_there_is_waited_for_and_says_so() {
    let running = run("webcam:/dev/no-such-camera");
    let said = async {
        loop {
            if let Some(error) = running.hub.snapshot()[0].last_error.clone() {
                return error;
            }
            tokio::task::yield_now().await;
        }
    };
    let error = tokio::time::timeout(PATIENCE, said).await.unwrap();
    assert!(
        error.starts_with("there is no camera /dev/no-such-camera;"),
        "{error}"
    );
    assert_eq!(running.path.state(), PathState::Waiting);
    assert!(running.path.stream().is_none());
    assert!(
        running.tasks.shutdown(PATIENCE).await,
        "the end is noticed while waiting"
    );
}
