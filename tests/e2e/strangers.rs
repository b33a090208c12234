//! Strangers who take what they can: connections, descriptors, half requests, datagrams. Those who watch lose
//! nothing meanwhile, and what was refused is counted.

use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use crate::http;
use crate::peers::Transport;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A viewer who counts every packet.
struct Watchful {
    viewer: Viewer,
    next: Option<u16>,
    packets: u32,
}

impl Watchful {
    fn of(relay: &Relay) -> Self {
        let conn = Conn::open([127, 0, 0, 2].into(), relay.addr("rtsp"));
        Self {
            viewer: Viewer::watch(conn, "cam", Transport::Tcp),
            next: None,
            packets: 0,
        }
    }
    /// Watches for so long; not one packet may be missing.
    #[track_caller]
    fn watch(&mut self, time: Duration) {
        let (until, before) = (Instant::now() + time, self.packets);
        while Instant::now() < until || self.packets < before + 10 {
            assert!(self.viewer.receive(), "the viewer was cut off");
            for (channel, packet) in self.viewer.conn.taken.drain(..) {
                let sequence = u16::from_be_bytes([packet[2], packet[3]]);
                if channel == 0 {
                    assert_eq!(sequence, self.next.unwrap_or(sequence), "a packet is missing");
                    self.next = Some(sequence.wrapping_add(1));
                    self.packets += 1;
                }
            }
        }
    }
}

fn relay(rtsp: &str) -> Relay {
    Relay::start(Options::sources(&["cam=pattern:?size=160x120&fps=25"]).rtsp(rtsp))
}

fn lost(relay: &Relay, reason: &str) -> u64 {
    let text = http::get(relay.addr("http"), "/metrics").text();
    let name = format!("louver_lost_total{{reason=\"{reason}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |n| n.parse().unwrap())
}

#[test]
fn half_requests_and_silent_connections_cost_viewers_nothing_and_end() {
    let relay = relay("session_timeout = \"5s\"");
    let mut watchful = Watchful::of(&relay);
    let mut strangers: Vec<TcpStream> = (0..200)
        .map(|_| http::connect(HOST, relay.addr("rtsp")))
        .collect();
    for stranger in strangers.iter_mut().step_by(2) {
        stranger
            .write_all(b"DESCRIBE rtsp://localhost/cam RTSP/1.0\r\nCSeq: ")
            .unwrap();
    }
    // A byte now and then does not keep a connection: only whole requests do.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(11) {
        watchful.watch(Duration::from_millis(500));
        for stranger in strangers.iter_mut().step_by(2) {
            let _ = stranger.write_all(b"1"); // it may be over already
        }
    }
    eventually("all strangers are gone", || {
        let text = http::get(relay.addr("http"), "/metrics").text();
        let open = text.lines().find_map(|l| l.strip_prefix("louver_connections "));
        (open.unwrap().parse::<u32>().unwrap() < 10).then_some(())
    });
    watchful.watch(Duration::from_millis(500));
    relay.stop();
}

#[test]
fn a_flood_of_datagrams_from_strangers_costs_viewers_nothing_and_is_counted() {
    let relay = relay("");
    let mut watchful = Watchful::of(&relay);
    let rtp = relay.addr("rtp");
    let socket = UdpSocket::bind("127.0.0.3:0").unwrap();
    let mut packet = [0x80_u8; 1200];
    let begun = Instant::now();
    for round in 0_u32.. {
        packet[2..4].copy_from_slice(&(round as u16).to_be_bytes());
        for to in [rtp, (rtp.ip(), rtp.port() + 1).into()] {
            for _ in 0..50 {
                let _ = socket.send_to(&packet, to);
            }
        }
        watchful.watch(Duration::ZERO);
        if begun.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    watchful.watch(Duration::from_secs(1));
    assert!(lost(&relay, "BadInput") > 100);
    relay.stop();
}

#[test]
fn one_host_cannot_take_all_connections() {
    let relay = relay("max_connections_per_host = 5");
    let mut watchful = Watchful::of(&relay);
    let open = |from: [u8; 4]| {
        let mut conn = Conn::open(from.into(), relay.addr("rtsp"));
        let url = relay.rtsp("cam");
        conn.try_request("OPTIONS", &url, &[])
            .map(|reply| (reply.status, conn))
    };
    let all: Vec<_> = (0..8).filter_map(|_| open([127, 0, 0, 1])).collect();
    assert_eq!(all.len(), 5);
    assert!(open([127, 0, 0, 4]).is_some(), "another host");
    assert!(lost(&relay, "Limit") >= 3);
    drop(all);
    eventually("there is room again", || open([127, 0, 0, 1]));
    watchful.watch(Duration::from_millis(200));
    relay.stop();
}

#[test]
fn without_descriptors_nobody_comes_in_and_those_who_watch_go_on() {
    let relay = relay("");
    let mut watchful = Watchful::of(&relay);
    let open = std::fs::read_dir(format!("/proc/{}/fd", relay.pid()))
        .unwrap()
        .count();
    let mut cmd = Command::new("prlimit");
    cmd.arg(format!("--pid={}", relay.pid()))
        .arg(format!("--nofile={}", open + 10));
    assert!(cmd.status().unwrap().success());
    let strangers: Vec<TcpStream> = (0..60).map(|_| http::connect(HOST, relay.addr("rtsp"))).collect();
    watchful.watch(Duration::from_secs(2));
    drop(strangers);
    let url = relay.rtsp("cam");
    eventually("there is room again", || {
        let mut conn = Conn::open(HOST, relay.addr("rtsp"));
        conn.try_request("OPTIONS", &url, &[])
    });
    assert!(lost(&relay, "Limit") > 0);
    watchful.watch(Duration::from_millis(200));
    relay.stop();
}
