//! Readers by UDP: long bursts leave in slices, and shards serve them all.

use std::net::SocketAddr;
use std::net::UdpSocket;

use super::*;
use crate::base::tasks::Tasks;
use crate::egress::rtsp::fanout::Fanouts;
use crate::egress::rtsp::fanout::Slot;
use crate::egress::rtsp::routes::Heard;
use crate::egress::rtsp::udp::UdpPair;
use crate::egress::rtsp::way::Ports;
use crate::hub::burst::BurstKind;
use crate::telemetry::Output;

/// More than a slice, less than a receiver's buffer with its overhead.
const LONG: usize = 100_000;

/// A receiver, and how one track goes to it.
fn receiver() -> (UdpSocket, TrackWay) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let rtp = socket.local_addr().unwrap();
    let rtcp = SocketAddr::from(([127, 0, 0, 1], 9)); // discard
    (socket, TrackWay::Udp(Ports::new(rtp, rtcp)))
}

/// How far the sequence numbers of so many datagrams are from the first that was published.
fn numbers(bench: &Bench, socket: &UdpSocket, count: usize) -> Vec<u16> {
    numbers_from(first(bench), socket, count)
}

/// The number of the first packet that was published.
fn first(bench: &Bench) -> u16 {
    let stream = bench.publisher.stream();
    let ring = stream.ring();
    let media = ring.since(0).find(|b| b.kind != BurstKind::Report);
    media.unwrap().sequence
}

fn numbers_from(first: u16, socket: &UdpSocket, count: usize) -> Vec<u16> {
    let mut buffer = [0; 2048];
    let mut next = || {
        let n = socket.recv(&mut buffer).unwrap();
        assert_eq!(n, 1012);
        u16::from_be_bytes([buffer[2], buffer[3]]).wrapping_sub(first)
    };
    (0..count).map(|_| next()).collect()
}

async fn delivery(bench: &Bench, way: TrackWay) -> Delivery {
    let sockets = Arc::new(UdpPair::bind([127, 0, 0, 1].into(), (0, 0)).unwrap());
    sockets.has_room().await;
    let stream = Arc::clone(bench.publisher.stream());
    let at = stream.joinable().await.unwrap();
    let way = Way::udp(sockets, Heard::new(bench.clock.now(), None), &[Some(way), None]);
    Delivery::new(
        stream,
        way,
        at,
        bench.clock.now(),
        Some(Box::new(SessionHandle::none)),
    )
}

#[tokio::test]
async fn a_long_burst_leaves_in_slices_with_a_pause_between() {
    let mut bench = Bench::new();
    bench.picture(true, LONG);
    let (socket, way) = receiver();
    let mut reader = delivery(&bench, way).await;

    let start = bench.clock.now();
    let Pumped::Paced(due) = reader.pump(start, u64::MAX, &[]).unwrap() else {
        panic!("all at once");
    };
    let first = numbers(&bench, &socket, 65);
    assert!(due > start);
    assert_eq!(reader.pump(start, u64::MAX, &[]).unwrap(), Pumped::Paced(due));
    socket.set_nonblocking(true).unwrap();
    let early = (0..100).take_while(|_| socket.recv(&mut [0; 2048]).is_ok());
    let early = early.count();
    assert!(65 + early < 100, "nothing was left for later");
    socket.set_nonblocking(false).unwrap();

    assert_eq!(reader.pump(due, u64::MAX, &[]).unwrap(), Pumped::CaughtUp);
    let rest = numbers(&bench, &socket, 100 - 65 - early);
    assert_eq!(first[0], 0);
    assert_eq!(rest.last(), Some(&99));
    let tally = reader.take_tally();
    assert_eq!((tally.bursts, tally.unsent, tally.skipped), (1, 0, 0));
}

#[tokio::test]
async fn an_ordinary_picture_leaves_at_once() {
    let mut bench = Bench::new();
    bench.picture(true, 10_000);
    bench.picture(false, 9_000);
    let (socket, way) = receiver();
    let mut reader = delivery(&bench, way).await;
    let now = bench.clock.now();
    assert_eq!(reader.pump(now, u64::MAX, &[]).unwrap(), Pumped::CaughtUp);
    assert_eq!(numbers(&bench, &socket, 19), (0..19).collect::<Vec<u16>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_are_served_by_several_shards_and_none_is_passed_over() {
    const READERS: usize = 600;
    let mut bench = Bench::new();
    bench.picture(true, 1000);
    let tasks = Tasks::new();
    let fanouts = Fanouts::new(tasks.child(), bench.clock.clone(), Metrics::new());
    let stream = Arc::clone(bench.publisher.stream());
    let mut sockets = Vec::new();
    let mut slots = Vec::new();
    for _ in 0..READERS {
        let (socket, way) = receiver();
        let slot = Slot::new(delivery(&bench, way).await, Output::RtspUdp, Arc::default());
        slot.set_idle(false);
        fanouts.add(&stream, Arc::clone(&slot));
        sockets.push(socket);
        slots.push(slot);
    }
    bench.picture(false, 1000);
    bench.picture(false, 1000);
    let first = first(&bench);
    let sockets = tokio::task::spawn_blocking(move || {
        for socket in &sockets {
            assert_eq!(numbers_from(first, socket, 3), [0, 1, 2]);
        }
        sockets
    });
    let sockets = sockets.await.unwrap();

    // Half of them leave: the others go on.
    slots.iter().step_by(2).for_each(|slot| slot.leave());
    slots.iter().step_by(2).for_each(|slot| slot.delivery().end());
    bench.picture(false, 1000);
    let stay = move || {
        let stay = sockets.iter().skip(1).step_by(2);
        stay.for_each(|socket| assert_eq!(numbers_from(first, socket, 1), [3]));
    };
    tokio::task::spawn_blocking(stay).await.unwrap();
    assert!(tasks.shutdown(Duration::from_secs(5)).await);
}
