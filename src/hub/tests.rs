//! The hub as its users see it: publishers write, readers read.

use std::sync::Arc;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use super::*;
use crate::base::clock::ManualClock;
use crate::base::time::Rate;
use crate::hub::burst::BurstKind;
use crate::media::Codec;
use crate::media::MediaKind;
use crate::media::Track;
use crate::media::TrackId;
use crate::proto::rtp;

fn hub() -> (Arc<Hub>, Arc<ManualClock>) {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    (Hub::new(Options::default(), clock.clone(), Metrics::new()), clock)
}

/// A real encoder's SPS and PPS.
fn h264() -> Track {
    Track {
        id: TrackId(0),
        kind: MediaKind::Video,
        codec: Codec::H264,
        payload_type: 96,
        rate: Rate::VIDEO,
        encoding: "H264".into(),
        channels: None,
        fmtp: Some("packetization-mode=1;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==".into()),
    }
}

fn description() -> Description {
    Description { tracks: vec![h264()] }
}

fn name() -> PathName {
    PathName::parse("cam").unwrap()
}

fn packet(sequence: u16, time: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x80, 96 | u8::from(marker) << 7];
    p.extend_from_slice(&sequence.to_be_bytes());
    p.extend_from_slice(&time.to_be_bytes());
    p.extend_from_slice(&[9, 9, 9, 9]);
    p.extend_from_slice(payload);
    p
}

const IDR: &[u8] = &[0x65, 0x88, 1];
const SLICE: &[u8] = &[0x41, 0x9a, 2];

fn headers(stream: &Stream) -> Vec<(BurstKind, Vec<(u16, u8)>)> {
    let ring = stream.ring();
    let media = ring.since(0).filter(|b| b.kind != BurstKind::Report);
    media
        .map(|b| {
            let of = |p: &[u8]| {
                let h = rtp::Header::parse(p).unwrap();
                (h.sequence, p[h.payload.start])
            };
            (b.kind, b.iter().map(of).collect())
        })
        .collect()
}

#[test]
fn parameter_sets_that_change_are_told_and_repeated() {
    let (hub, _) = hub();
    let mut p = hub.publish(&name(), description()).unwrap();
    let (sps, pps) = (&[0x67, 0x4d, 0x40, 0x1e, 0xda][..], &[0x68, 0xce, 0x3c, 0x80][..]);
    for (n, payload) in (0u16..).zip([sps, pps, IDR, SLICE, IDR]) {
        let time = u32::from(n.saturating_sub(2)) * 3000;
        p.write_packet(TrackId(0), &packet(n, time, n >= 2, payload))
            .unwrap();
    }
    let told = p.stream().description();
    let sets = rtp::parameter_set_payloads(&told.tracks[0]);
    assert_eq!(sets, [sps, pps]);
    assert_eq!(told.tracks[0].fmtp_param("profile-level-id"), Some("4D401E"));
    let last = headers(p.stream()).pop().unwrap().1;
    let kinds: Vec<u8> = last.iter().map(|p| p.1).collect();
    assert_eq!(kinds, [0x67, 0x68, 0x65], "sets before the keyframe without any");
    let ring = p.stream().ring();
    let repeated = ring.since(0).last().unwrap().iter().next().unwrap().to_vec();
    assert_eq!(repeated[12..], *sps);
}

#[test]
fn packets_that_no_datagram_can_take_are_cut_anew_from_the_first_on() {
    let clock = ManualClock::new(UNIX_EPOCH);
    let metrics = Metrics::new();
    let hub = Hub::new(Options::default(), clock, metrics.clone());
    let mut p = hub.publish(&name(), description()).unwrap();
    let large = [IDR, &[7; 4000]].concat();
    for (n, payload) in (0u16..).zip([IDR, SLICE, &large, SLICE, SLICE]) {
        let packet = packet(500 + n, u32::from(n) * 3000, true, payload);
        p.write_packet(TrackId(0), &packet).unwrap();
    }
    let got = headers(p.stream());
    let sequences: Vec<u16> = got.iter().flat_map(|(_, packets)| packets).map(|p| p.0).collect();
    assert!(sequences.windows(2).all(|w| w[1] == w[0] + 1), "{sequences:?}");
    let kinds: Vec<_> = got.iter().map(|(kind, packets)| (*kind, packets.len())).collect();
    let (key, media) = (BurstKind::Keyframe, BurstKind::Media);
    // Two parameter sets before each keyframe; the large one goes in three fragments.
    assert_eq!(kinds, [(key, 3), (media, 1), (key, 5), (media, 1), (media, 1)]);
    let ring = p.stream().ring();
    let largest = ring.since(0).flat_map(|b| b.iter().map(<[u8]>::len).max()).max();
    assert!(largest.is_some_and(|l| l <= 1472), "{largest:?}");
    assert_eq!(metrics.packets_oversize.get(), 1);
}

#[test]
fn large_packets_of_a_codec_that_nobody_can_cut_are_passed_on() {
    let (hub, _) = hub();
    let mut track = h264();
    (track.codec, track.fmtp) = (Codec::Other, None);
    let mut p = hub.publish(&name(), Description { tracks: vec![track] }).unwrap();
    p.write_packet(TrackId(0), &packet(1, 0, true, &[7; 4000]))
        .unwrap();
    let ring = p.stream().ring();
    let sizes: Vec<_> = ring
        .since(0)
        .filter(|b| b.kind != BurstKind::Report)
        .flat_map(|b| b.iter().map(<[u8]>::len).collect::<Vec<_>>())
        .collect();
    assert_eq!(sizes, [4012]);
}

#[test]
fn a_keyframe_without_parameter_sets_gets_them_and_numbers_stay_dense() {
    let (hub, _) = hub();
    let mut p = hub.publish(&name(), description()).unwrap();
    let track = TrackId(0);
    p.write_packet(track, &packet(40_000, 0, true, IDR)).unwrap();
    p.write_packet(track, &packet(40_001, 3000, true, SLICE)).unwrap();
    p.write_packet(track, &packet(40_003, 6000, true, SLICE)).unwrap();
    let got = headers(p.stream());
    let first = got[0].1[0].0;
    assert!((1..=256).contains(&first), "sequence numbers start low");
    assert_eq!(
        got,
        [
            (
                BurstKind::Keyframe,
                vec![(first, 0x67), (first + 1, 0x68), (first + 2, 0x65)]
            ),
            (BurstKind::Media, vec![(first + 3, 0x41)]),
            (BurstKind::Media, vec![(first + 5, 0x41)]), // what the publisher lost stays visible
        ]
    );
}

#[test]
fn slices_of_one_keyframe_start_it_once() {
    let (hub, _) = hub();
    let mut p = hub.publish(&name(), description()).unwrap();
    for (n, marker) in [(0, false), (1, false), (2, true)] {
        p.write_packet(TrackId(0), &packet(n, 0, marker, IDR)).unwrap();
    }
    let got = headers(p.stream());
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].1.len(), 5); // two parameter sets, three slices
}

#[test]
fn what_arrived_together_leaves_together_and_waits_for_no_marker() {
    let (hub, _) = hub();
    let mut p = hub.publish(&name(), description()).unwrap();
    p.write_packet(TrackId(0), &packet(0, 0, false, SLICE)).unwrap();
    assert!(headers(p.stream()).is_empty());
    p.flush();
    assert_eq!(headers(p.stream()).len(), 1);
}

#[test]
fn a_publisher_that_starts_its_numbers_again_goes_on_seamlessly() {
    let (hub, _) = hub();
    let mut p = hub.publish(&name(), description()).unwrap();
    p.write_packet(TrackId(0), &packet(7, 0, true, SLICE)).unwrap();
    p.write_packet(TrackId(0), &packet(30_000, 9, true, SLICE))
        .unwrap();
    let got = headers(p.stream());
    assert_eq!(got[1].1[0].0, got[0].1[0].0 + 1);
}

#[test]
fn rtcp_reports_come_with_the_first_packet_and_then_every_five_seconds() {
    let (hub, clock) = hub();
    let mut p = hub.publish(&name(), description()).unwrap();
    for n in 0..60_u16 {
        p.write_packet(TrackId(0), &packet(n, u32::from(n) * 9000, true, SLICE))
            .unwrap();
        clock.advance(Duration::from_millis(100));
    }
    let reports = p
        .stream()
        .ring()
        .since(0)
        .filter(|b| b.kind == BurstKind::Report)
        .count();
    assert_eq!(reports, 2);
}

#[test]
fn reports_go_on_while_a_source_is_away_and_tell_the_time_that_passes() {
    let (hub, clock) = hub();
    let mut p = hub.publish(&name(), description()).unwrap();
    p.report_while_silent();
    assert_eq!(p.stream().ring().end(), 0, "there is nothing to report yet");
    p.write_packet(TrackId(0), &packet(0, 9000, true, IDR)).unwrap();
    for _ in 0..20 {
        clock.advance(Duration::from_secs(1));
        p.report_while_silent();
    }
    let ring = p.stream().ring();
    let reports = ring.since(0).filter(|b| b.kind == BurstKind::Report);
    let times: Vec<u32> = reports.map(|b| b.rtp_time).collect();
    let after = |seconds: u32| 9000 + 90_000 * seconds;
    // The one that came with the packet is older than the ring.
    assert_eq!(times, [after(5), after(10), after(15), after(20)]);
}

#[tokio::test]
async fn a_reader_begins_at_the_newest_keyframe_and_ends_with_the_publisher() {
    let (hub, _) = hub();
    let mut p = hub.publish(&name(), description()).unwrap();
    for (n, payload) in [IDR, SLICE, IDR, SLICE].into_iter().enumerate() {
        p.write_packet(TrackId(0), &packet(n as u16, n as u32 * 3000, true, payload))
            .unwrap();
    }
    let mut reader = Reader::new(Arc::clone(p.stream()));
    let Next::Burst(first) = reader.next().await else {
        panic!("a burst is there")
    };
    assert_eq!((first.kind, first.rtp_time), (BurstKind::Keyframe, 6000));
    let Next::Burst(second) = reader.next().await else {
        panic!("a burst is there")
    };
    assert_eq!(second.rtp_time, 9000);
    drop(p);
    assert!(matches!(reader.next().await, Next::Ended));
}

#[tokio::test]
async fn a_reader_that_lags_restarts_at_a_keyframe() {
    let clock = ManualClock::new(UNIX_EPOCH);
    let limits = Limits {
        bytes: 300,
        age: Duration::from_secs(60),
    };
    let hub = Hub::new(
        Options {
            ring: limits,
            ..Options::default()
        },
        clock,
        Metrics::new(),
    );
    let mut p = hub.publish(&name(), description()).unwrap();
    p.write_packet(TrackId(0), &packet(0, 0, true, IDR)).unwrap();
    let mut reader = Reader::new(Arc::clone(p.stream()));
    assert!(matches!(reader.next().await, Next::Burst(_)));
    for n in 1..40_u16 {
        let payload = if n % 5 == 0 { IDR } else { SLICE };
        p.write_packet(TrackId(0), &packet(n, u32::from(n) * 3000, true, payload))
            .unwrap();
    }
    assert!(matches!(reader.next().await, Next::Lagged { skipped } if skipped > 10));
    let Next::Burst(burst) = reader.next().await else {
        panic!("the newest keyframe is there")
    };
    assert_eq!((burst.kind, burst.rtp_time), (BurstKind::Keyframe, 35 * 3000));
}

#[test]
fn the_first_packets_are_told_exactly() {
    let (hub, _) = hub();
    let mut p = hub.publish(&name(), description()).unwrap();
    p.write_packet(TrackId(0), &packet(0, 77, true, IDR)).unwrap();
    let stream = Arc::clone(p.stream());
    let ring::Join::At(at) = stream.ring().live_at() else {
        panic!("a keyframe is there")
    };
    let now = hub.clock().now();
    let position = stream.positions(at, now)[0];
    assert_eq!(position.rtp_time, 77);
    assert_eq!(position.sequence, headers(&stream)[0].1[0].0);
}

#[test]
fn a_path_has_one_publisher_at_a_time() {
    let (hub, _) = hub();
    let first = hub.publish(&name(), description()).unwrap();
    assert_eq!(
        hub.publish(&name(), description()).err(),
        Some(PublishError::AlreadyPublished)
    );
    drop(first);
    assert!(hub.publish(&name(), description()).is_ok());
}

#[test]
fn published_paths_go_with_their_last_reader_and_configured_ones_stay() {
    let (hub, _) = hub();
    let door = hub.configure(&PathName::parse("door").unwrap(), "webcam:");
    assert_eq!(door.state(), PathState::Waiting);
    assert!(!door.takes_publishers());
    let p = hub.publish(&name(), description()).unwrap();
    let reader = hub.find("cam").unwrap().attach();
    drop(p);
    assert_eq!(hub.find("cam").unwrap().state(), PathState::Offline);
    drop(reader);
    assert!(hub.find("cam").is_none());
    assert_eq!(hub.snapshot().len(), 1);
}

#[test]
fn names_that_differ_in_case_alone_are_found_when_there_is_one() {
    let (hub, _) = hub();
    hub.configure(&PathName::parse("Front/Door").unwrap(), "webcam:");
    assert!(hub.find("front/door").is_some());
    hub.configure(&PathName::parse("front/DOOR").unwrap(), "webcam:");
    assert!(hub.find("front/door").is_none());
    assert!(hub.find("Front/Door").is_some());
}

#[test]
fn a_waiting_path_does_not_hide_a_flowing_one_that_differs_in_case() {
    let (hub, _) = hub();
    hub.configure(&PathName::parse("cam").unwrap(), "publish:");
    let flowing = hub
        .publish(&PathName::parse("Cam").unwrap(), description())
        .unwrap();
    assert_eq!(hub.find("cam").unwrap().name().as_str(), "Cam");
    drop(flowing);
    assert_eq!(hub.find("cam").unwrap().name().as_str(), "cam");
}

#[tokio::test]
async fn pictures_are_wanted_only_while_somebody_asks() {
    let (hub, _) = hub();
    let path = hub.configure(&name(), "webcam:");
    let demand = path.demand();
    let mut reader = path.subscribe_pictures();
    assert_eq!(demand.borrow().pictures, 1);
    for n in 1..=3 {
        path.pictures().publish(Picture {
            jpeg: vec![n].into(),
            width: 1,
            height: 1,
        });
    }
    assert_eq!(reader.next().await.unwrap().jpeg[0], 3, "the newest only");
    drop(reader);
    assert_eq!(demand.borrow().pictures, 0);
    let late = path.subscribe_pictures();
    let mut late = late;
    let nothing = tokio::time::timeout(Duration::from_millis(20), late.next()).await;
    assert!(nothing.is_err(), "an old picture greets nobody");
}

#[test]
fn a_paused_stream_starts_nobody_in_the_past() {
    let (hub, _) = hub();
    let mut p = hub.publish(&name(), description()).unwrap();
    p.write_packet(TrackId(0), &packet(0, 0, true, IDR)).unwrap();
    p.pause();
    assert!(matches!(p.stream().ring().live_at(), ring::Join::KeyframeFrom(_)));
}
