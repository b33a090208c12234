//! Sessions with cameras that are files: each read gives a picture as a device would.

use std::io::Write;
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::*;
use crate::av::device::Coding;
use crate::av::device::FrameRate;
use crate::av::device::Identity;
use crate::av::device::Mode;
use crate::av::encode::Encoder;
use crate::av::encode::Options;
use crate::av::frame::Frame;
use crate::av::input::Input;
use crate::av::jpeg::JpegEncoder;
use crate::av::options::Opening;
use crate::base::clock::SystemClock;
use crate::base::tasks::Tasks;
use crate::base::time::MediaTime;
use crate::base::time::Rate;
use crate::hub;
use crate::hub::Hub;
use crate::hub::PathName;
use crate::ingest::draw;
use crate::ingest::modes::Plan;
use crate::ingest::source::Size;
use crate::telemetry::Metrics;

const WIDTH: u32 = 320;
const HEIGHT: u32 = 240;

fn context() -> Context {
    let (clock, metrics) = (SystemClock::shared(), Metrics::new());
    let hub = Hub::new(hub::Options::default(), clock.clone(), Arc::clone(&metrics));
    let name = PathName::parse("cam").unwrap();
    Context {
        tasks: Tasks::new(),
        path: hub.configure(&name, "webcam:"),
        hub,
        clock,
        metrics,
        name,
    }
}

/// A file as a camera; libav's demuxer of this name cuts it into pictures.
fn camera(file: &NamedTempFile, demuxer: &'static str, coding: Coding) -> Opened {
    let opening = Opening {
        input: demuxer,
        address: file.path().to_str().unwrap().to_owned(),
        options: Vec::new(),
        coding: None,
    };
    Opened {
        input: Input::open(&opening, CancellationToken::new()).unwrap(),
        identity: Identity::default(),
        name: "A Camera".into(),
        plan: Plan {
            mode: Mode {
                coding,
                fourcc: demuxer.into(),
                width: WIDTH,
                height: HEIGHT,
                rate: FrameRate::whole(30),
            },
            size: Size {
                width: WIDTH,
                height: HEIGHT,
            },
            fps: 30.0,
        },
    }
}

fn file_of(pictures: &[Vec<u8>]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    for picture in pictures {
        file.write_all(picture).unwrap();
    }
    file
}

fn picture(n: u32) -> Frame {
    let mut frame = Frame::black(WIDTH, HEIGHT).unwrap();
    draw::number(&mut frame, n);
    frame
}

/// Reads the whole camera through a session.
fn run(session: &mut Session<'_>, feed: &mut Option<Feed>) {
    while let Ok(chunk) = session.opened.input.read() {
        let now = session.last_picture;
        session.take(feed, &mut chunk.into_iter().collect(), now).unwrap();
    }
}

fn h264(count: u32, keyframe_every: u32) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::open(&Options {
        width: WIDTH,
        height: HEIGHT,
        fps: 30.0,
        bitrate: Some(300_000),
        full_range: false,
        encoder: None,
    })
    .unwrap();
    let coded = |n: u32| {
        let at = MediaTime::new(i64::from(n) * 3000, Rate::VIDEO);
        let units = encoder
            .encode(&picture(n), at, n.is_multiple_of(keyframe_every))
            .unwrap();
        units[0].data.to_vec()
    };
    (0..count).map(coded).collect()
}

fn number_of(jpeg: &[u8]) -> Option<u32> {
    let unit = crate::media::AccessUnit {
        track: crate::media::TrackId(0),
        pts: MediaTime::new(0, Rate::VIDEO),
        keyframe: true,
        data: bytes::Bytes::copy_from_slice(jpeg),
    };
    let mut decoder = crate::av::decode::Decoder::new(crate::media::Codec::Jpeg, None).unwrap();
    let frame = decoder.push(&unit).unwrap().pop()?;
    let (luma, stride) = frame.luma();
    draw::read_number(luma, stride, frame.width())
}

/// A JPEG as bad cameras make them: an APP field that is too short for what it says, and no Huffman tables.
fn bad_jpeg(n: u32) -> Vec<u8> {
    let mut jpeg = JpegEncoder::new(90)
        .encode(&picture(n), None)
        .unwrap()
        .jpeg
        .to_vec();
    while let Some(at) = jpeg.windows(2).position(|w| w == [0xff, 0xc4]) {
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        jpeg.drain(at..at + 2 + length);
    }
    let app = [0xff, 0xe1, 0, 6, b'E', b'x', b'i', b'f'];
    [&jpeg[..2], &app, &jpeg[2..]].concat()
}

#[tokio::test]
async fn h264_of_the_camera_passes_byte_by_byte_and_needs_no_encoder() {
    let context = context();
    let pictures = h264(20, 8);
    let file = file_of(&pictures);
    let _reader = context.path.attach();
    let mut session = Session::new(&context, camera(&file, "h264", Coding::H264), None);
    let mut feed = None;
    run(&mut session, &mut feed);
    let stream = context.path.stream().expect("the path is open");
    let track = &stream.description().tracks[0];
    let mut depacketizer = crate::proto::rtp::Depacketizer::new(track).unwrap();
    let mut units = Vec::new();
    for burst in stream
        .ring()
        .since(0)
        .filter(|b| b.kind != hub::burst::BurstKind::Report)
    {
        burst.iter().for_each(|p| depacketizer.push(p).unwrap());
        units.extend(std::iter::from_fn(|| depacketizer.pull()));
    }
    let nals = |data: &[u8]| {
        crate::av::annexb::nal_units(data)
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let got: Vec<_> = units.iter().map(|u| nals(&u.data)).collect();
    // The parser of the file holds the last picture back until the end.
    assert!(got.len() >= 19, "{} of 20", got.len());
    for (n, unit) in got.iter().enumerate() {
        assert_eq!(*unit, nals(&pictures[n]), "picture {n}");
    }
    let keys: Vec<_> = (0..units.len()).filter(|n| units[*n].keyframe).collect();
    assert_eq!(keys, [0, 8, 16]);
    assert_eq!(context.path.state(), PathState::Ready);
    drop(feed);
}

#[tokio::test]
async fn stills_of_a_camera_with_h264_are_decoded_while_somebody_looks() {
    let context = context();
    let file = file_of(&h264(12, 4));
    let mut looker = context.path.subscribe_pictures();
    let mut session = Session::new(&context, camera(&file, "h264", Coding::H264), None);
    let mut feed = None;
    run(&mut session, &mut feed);
    let still = looker.next().await.unwrap();
    assert!(number_of(&still.jpeg).unwrap() >= 9);
}

#[tokio::test]
async fn a_notice_between_two_sessions_with_h264_of_the_camera_keeps_the_stream() {
    let context = context();
    let file = file_of(&h264(4, 2));
    let _reader = context.path.attach();
    let mut feed = None;
    run(
        &mut Session::new(&context, camera(&file, "h264", Coding::H264), None),
        &mut feed,
    );
    let stream = context.path.stream().unwrap();
    let of_camera = stream.description().tracks[0].fmtp.clone();
    let notice = placeholder::draw(WIDTH, HEIGHT, Notice::Unplugged, "12:00:00").unwrap();
    let open = feed.as_mut().unwrap();
    let now = context.clock.now();
    let pts = open.line.now(now);
    open.show(&notice, pts, now).unwrap();
    assert!(context.path.stream().is_some_and(|s| s.id() == stream.id()));
    run(
        &mut Session::new(&context, camera(&file, "h264", Coding::H264), None),
        &mut feed,
    );
    assert_eq!(stream.description().tracks[0].fmtp, of_camera);
}

#[tokio::test]
async fn bad_jpegs_are_decoded_and_their_quirks_seen_once() {
    let context = context();
    let file = file_of(&(0..6).map(bad_jpeg).collect::<Vec<_>>());
    let mut looker = context.path.subscribe_pictures();
    let mut session = Session::new(&context, camera(&file, "mjpeg", Coding::Jpeg), None);
    let mut feed = None;
    run(&mut session, &mut feed);
    let still = looker.next().await.unwrap();
    assert!(number_of(&still.jpeg).unwrap() >= 4);
    assert!(session.quirks.broken_app && session.quirks.no_huffman);
    assert_eq!(session.quirks.sentences().len(), 2);
}

#[tokio::test]
async fn pictures_that_nobody_wants_are_not_decoded() {
    let whole = |n| {
        JpegEncoder::new(90)
            .encode(&picture(n), None)
            .unwrap()
            .jpeg
            .to_vec()
    };
    // Of nine colour components: only who decodes it finds out.
    let mut broken = whole(1);
    let frame_header = broken.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    broken[frame_header + 9] = 9;
    for (looking, found_out) in [(false, false), (true, true)] {
        let context = context();
        let _looker = looking.then(|| context.path.subscribe_pictures());
        let file = file_of(&[whole(0), broken.clone(), whole(2)]);
        let mut session = Session::new(&context, camera(&file, "mjpeg", Coding::Jpeg), None);
        let mut feed = None;
        run(&mut session, &mut feed);
        assert!(
            context.path.stream().is_some(),
            "the first picture opens the path"
        );
        assert_eq!(session.quirks.incomplete, found_out);
        assert_eq!(context.hub.snapshot()[0].bytes_in, 0, "no H.264 either");
    }
}
