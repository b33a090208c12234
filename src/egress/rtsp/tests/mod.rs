//! Readers on real sockets: what they get, and what a slow one costs.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;
use std::time::UNIX_EPOCH;

use crate::analytics::SessionHandle;
use crate::base::clock::Clock;
use crate::base::clock::ManualClock;
use crate::base::time::Rate;
use crate::egress::rtsp::delivery::Begin;
use crate::egress::rtsp::delivery::Delivery;
use crate::egress::rtsp::delivery::Pumped;
use crate::egress::rtsp::link::Link;
use crate::egress::rtsp::play::TrackWay;
use crate::egress::rtsp::tcp::TcpOut;
use crate::egress::rtsp::tcp::Wrote;
use crate::egress::rtsp::way::Way;
use crate::hub;
use crate::hub::Hub;
use crate::hub::PathName;
use crate::hub::Publisher;
use crate::media::Codec;
use crate::media::Description;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::rtp;
use crate::proto::rtp::rtcp;
use crate::telemetry::Metrics;

mod keeper;
mod udp;

struct Bench {
    clock: Arc<ManualClock>,
    publisher: Publisher,
    sequence: u16,
}

fn track(id: u8, kind: MediaKind, codec: Codec, payload_type: u8) -> Track {
    let rate = Rate::VIDEO;
    Track {
        id: TrackId(id),
        kind,
        codec,
        payload_type,
        rate,
        encoding: "x".into(),
        channels: None,
        fmtp: None,
    }
}

impl Bench {
    fn new() -> Self {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let hub = Hub::new(hub::Options::default(), clock.clone(), Metrics::new());
        let tracks = vec![
            track(0, MediaKind::Video, Codec::H264, 96),
            track(1, MediaKind::Audio, Codec::Pcmu, 0),
        ];
        let name = PathName::parse("cam").unwrap();
        let publisher = hub.publish(&name, Description { tracks }).unwrap();
        Self {
            clock,
            publisher,
            sequence: 0,
        }
    }
    /// Publishes one picture of about `bytes`, in packets of 1,000.
    fn picture(&mut self, keyframe: bool, bytes: usize) {
        let time = u32::from(self.sequence) * 100;
        let parts = bytes.div_ceil(1000);
        for part in 0..parts {
            let last = part + 1 == parts;
            let mut packet = vec![0x80, 96 | u8::from(last) << 7];
            packet.extend_from_slice(&self.sequence.to_be_bytes());
            packet.extend_from_slice(&time.to_be_bytes());
            packet.extend_from_slice(&[0; 4]);
            packet.push(if keyframe { 0x65 } else { 0x41 });
            packet.resize(1012, 0xff);
            self.sequence = self.sequence.wrapping_add(1);
            self.publisher.write_packet(TrackId(0), &packet).unwrap();
        }
        self.clock.advance(Duration::from_millis(33));
    }
    fn sound(&mut self) {
        let packet = [&[0x80, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0][..], &[7; 160]].concat();
        self.publisher.write_packet(TrackId(1), &packet).unwrap();
        self.publisher.flush();
    }
    /// A reader with a real socket whose far end nobody has read from yet.
    async fn reader(&self, ways: &[Option<TrackWay>], begun: &Arc<AtomicUsize>) -> Reader {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (far, _) = listener.accept().unwrap();
        let out = Arc::new(TcpOut::new(Link::Plain(near).split().1, Arc::default()));
        let begun = Arc::clone(begun);
        let begin: Begin = Box::new(move || {
            begun.fetch_add(1, Ordering::Relaxed);
            SessionHandle::none()
        });
        let stream = Arc::clone(self.publisher.stream());
        let at = stream.joinable().await.unwrap();
        let delivery = Delivery::new(
            stream,
            Way::tcp(Arc::clone(&out), ways),
            at,
            self.clock.now(),
            Some(begin),
        );
        Reader { out, far, delivery }
    }
}

struct Reader {
    out: Arc<TcpOut>,
    far: std::net::TcpStream,
    delivery: Delivery,
}

impl Reader {
    fn pump(&mut self, now: Instant) -> Pumped {
        self.delivery.pump(now, u64::MAX, &[]).unwrap()
    }
    /// Everything that was sent so far and what is held, as frames: channel and packet. The far end reads on
    /// a thread of its own, so that the near end finds room.
    async fn frames(mut self) -> Vec<(u8, Vec<u8>)> {
        let mut far = self.far.try_clone().unwrap();
        let all = std::thread::spawn(move || {
            let mut all = Vec::new();
            far.read_to_end(&mut all).unwrap();
            all
        });
        while self.out.is_full() {
            self.out.writable().await.unwrap();
            if self.out.drain().unwrap().0 == Wrote::All {
                break;
            }
        }
        self.delivery.end();
        drop(self.delivery);
        drop(self.out);
        let bytes = tokio::task::spawn_blocking(move || all.join().unwrap())
            .await
            .unwrap();
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while let [b'$', channel, a, b, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*a, *b]));
            frames.push((*channel, tail[..length].to_vec()));
            rest = &tail[length..];
        }
        assert!(rest.is_empty(), "the frames end where the bytes end");
        frames
    }
}

const BOTH: [Option<TrackWay>; 2] = [Some(TrackWay::Tcp(0, 1)), Some(TrackWay::Tcp(2, 3))];

#[tokio::test]
async fn each_track_begins_with_its_sender_report() {
    let mut bench = Bench::new();
    bench.picture(true, 3000);
    bench.sound();
    let begun = Arc::default();
    let mut reader = bench.reader(&BOTH, &begun).await;
    assert_eq!(reader.pump(bench.clock.now()), Pumped::CaughtUp);
    assert_eq!(
        begun.load(Ordering::Relaxed),
        1,
        "the session begins with the first access unit"
    );
    let frames = reader.frames().await;
    let channels: Vec<u8> = frames.iter().map(|(channel, _)| *channel).collect();
    assert_eq!(channels, [1, 0, 0, 0, 3, 3, 2]); // the stream's own report of the sound was due as well
    assert!(matches!(
        rtcp::parse(&frames[0].1).unwrap()[0],
        rtcp::Rtcp::SenderReport { .. }
    ));
}

#[tokio::test]
async fn a_reader_gets_the_tracks_it_asked_for_on_the_channels_it_asked_for() {
    let mut bench = Bench::new();
    bench.picture(true, 1000);
    bench.sound();
    let mut reader = bench
        .reader(&[None, Some(TrackWay::Tcp(8, 9))], &Arc::default())
        .await;
    reader.pump(bench.clock.now());
    let channels: Vec<u8> = reader
        .frames()
        .await
        .iter()
        .map(|(channel, _)| *channel)
        .collect();
    assert_eq!(channels, [9, 9, 8]);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_little_and_its_frames_stay_whole() {
    let mut bench = Bench::new();
    bench.picture(true, 4_000_000);
    bench.picture(false, 4_000_000);
    let mut reader = bench.reader(&BOTH, &Arc::default()).await;
    assert_eq!(reader.pump(bench.clock.now()), Pumped::Full);
    for _ in 0..3 {
        assert_eq!(
            reader.pump(bench.clock.now()),
            Pumped::Full,
            "a full socket is no error"
        );
    }
    assert!(
        reader.out.held() < 1 << 20,
        "{} bytes are held",
        reader.out.held()
    );
    let frames = reader.frames().await;
    assert!(frames.len() > 100 && frames[1..].iter().all(|(_, packet)| packet.len() == 1012));
}

#[tokio::test]
async fn a_reader_that_lags_goes_on_at_the_newest_keyframe_and_its_numbers_tell() {
    let mut bench = Bench::new();
    bench.picture(true, 4_000_000);
    let mut reader = bench.reader(&BOTH, &Arc::default()).await;
    assert_eq!(reader.pump(bench.clock.now()), Pumped::Full);
    bench.clock.advance(Duration::from_secs(4));
    bench.picture(false, 1000);
    bench.picture(true, 1000);
    let newest = bench.sequence.wrapping_sub(1);

    let mut far = reader.far.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut sink = vec![0; 1 << 16];
        let mut total = 0;
        while let Ok(n @ 1..) = far.read(&mut sink) {
            total += n;
        }
        total
    });
    while reader.out.is_full() {
        reader.out.writable().await.unwrap();
        let _ = reader.out.drain().unwrap();
    }
    assert_eq!(reader.pump(bench.clock.now()), Pumped::CaughtUp);
    let tally = reader.delivery.take_tally();
    assert!(tally.skipped > 0);
    let stream = Arc::clone(bench.publisher.stream());
    let last = Arc::clone(stream.ring().get(reader.delivery.at() - 1).unwrap());
    let header = rtp::Header::parse(last.iter().next().unwrap()).unwrap();
    assert_eq!(
        header.sequence.wrapping_sub(newest),
        stream.positions(0, bench.clock.now())[0].sequence
    );
    drop(reader);
    let read = tokio::task::spawn_blocking(move || reading.join().unwrap())
        .await
        .unwrap();
    assert!(read < 4_000_000, "what was skipped was not sent: {read}");
}

#[tokio::test]
async fn patience_with_a_full_socket_begins_when_it_is_full() {
    let mut bench = Bench::new();
    bench.picture(true, 1000);
    let mut reader = bench.reader(&BOTH, &Arc::default()).await;
    assert_eq!(reader.pump(bench.clock.now()), Pumped::CaughtUp);
    // For longer than anybody waits for a full socket the source is silent, or the reader pauses.
    bench.clock.advance(Duration::from_secs(60));
    bench.picture(true, 4_000_000);
    let full = bench.clock.now();
    assert_eq!(reader.pump(full), Pumped::Full);
    assert_eq!(reader.delivery.progress(), full);
    assert_eq!(reader.pump(full + Duration::from_secs(5)), Pumped::Full);
    assert_eq!(reader.delivery.progress(), full, "it takes nothing");
}

#[tokio::test]
async fn what_is_too_much_for_a_connection_is_still_known_to_wait() {
    let mut bench = Bench::new();
    bench.picture(true, 1000);
    let reader = bench.reader(&BOTH, &Arc::default()).await;
    let much = [bytes::Bytes::from(vec![0; 16 << 20])];
    assert!(reader.out.write(much.iter()).is_err());
    assert!(reader.out.is_full(), "or nobody would look after it any more");
}
