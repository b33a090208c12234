//! An encoder, a hub, and pictures that tell by their brightness which they are.

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
