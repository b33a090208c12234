//! What the RTSP server promises publishers about sockets, keys and time, in dialogues by hand.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use louver::proto::rtp::rtcp;
use louver::proto::rtp::rtcp::ReportBlock;
use louver::proto::rtp::rtcp::Rtcp;

use crate::peers::Transport;
use crate::relay::DEADLINE;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;
use crate::rtsp::udp_pair;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// MIKEY with one key in the clear: 16 bytes of 1, 14 of 2.
fn mikey() -> String {
    let mut bytes = vec![1, 0, 1, 0, 0, 0, 0, 1, 0, 0];
    bytes.extend([0, 0, 0, 4 + 16 + 2 + 14, 0, 3 << 4, 0, 16]);
    bytes.extend([1; 16]);
    bytes.extend([0, 14]);
    bytes.extend([2; 14]);
    bytes.push(0);
    STANDARD.encode(bytes)
}

#[test]
fn srtp_with_a_key_that_is_missing_or_not_understood_is_refused_and_never_taken_in_the_clear() {
    let relay = Relay::start(Options::publish());
    let url = relay.rtsp("live");
    let sdp = |line: &str| format!("v=0\r\nm=audio 0 RTP/SAVP 8\r\n{line}a=control:a\r\n");
    let announce = |line: &str| {
        let mut conn = Conn::open(HOST, relay.addr("rtsp"));
        let status = conn.request_with("ANNOUNCE", &url, &[], &sdp(line)).status;
        (conn, status)
    };
    let inline = STANDARD.encode([7; 46]);
    for unreadable in [
        "a=key-mgmt:mikey AAAA\r\n".to_owned(),
        format!("a=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:{inline}\r\n"),
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\n".to_owned(),
    ] {
        assert_eq!(announce(&unreadable).1, 463, "{unreadable}");
        assert!(!relay.api("/api/v1/paths").to_string().contains("\"live\""));
    }
    // No key yet: it has to come with SETUP, whatever the transport is called.
    let (mut conn, status) = announce("");
    assert_eq!(status, 200);
    let mut setup = |profile: &str, key: &str| {
        let transport = format!("{profile}/TCP;unicast;interleaved=0-1;mode=record");
        let mut headers = vec![("Transport", transport.as_str())];
        let key = format!("prot=mikey;uri=\"\";data=\"{key}\"");
        if !key.ends_with("data=\"\"") {
            headers.push(("KeyMgmt", &key));
        }
        conn.request("SETUP", &format!("{url}/a"), &headers).status
    };
    assert_eq!(setup("RTP/AVP", ""), 463);
    assert_eq!(setup("RTP/SAVP", ""), 463);
    assert_eq!(setup("RTP/SAVP", "AAAA"), 463);
    assert_eq!(setup("RTP/SAVP", &mikey()), 200);
    relay.stop();
}

/// A packet of sound: 20 ms of silence.
fn sound(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend([0, 0, 0, 9]);
    packet.extend([0xd5; 160]);
    packet
}

/// One track of sound by UDP.
struct UdpPublisher {
    conn: Conn,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// Where its RTP and RTCP go.
    to: [SocketAddr; 2],
}

const SOUND: &str = "v=0\r\nm=audio 0 RTP/AVP 8\r\na=control:a\r\n";

fn udp_publisher(relay: &Relay, path: &str) -> UdpPublisher {
    let (rtp, rtcp) = udp_pair(HOST);
    let port = rtp.local_addr().unwrap().port();
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    let url = relay.rtsp(path);
    assert_eq!(conn.request_with("ANNOUNCE", &url, &[], SOUND).status, 200);
    let transport = format!("RTP/AVP;unicast;client_port={port}-{};mode=record", port + 1);
    let reply = conn.ok("SETUP", &format!("{url}/a"), &[("Transport", &transport)]);
    let transport = reply.header("transport").unwrap();
    let ports = transport.split(';').find_map(|p| p.strip_prefix("server_port="));
    let (a, b) = ports.unwrap().split_once('-').unwrap();
    let to = [a, b].map(|port| SocketAddr::new(HOST, port.parse().unwrap()));
    conn.ok("RECORD", &url, &[]);
    UdpPublisher { conn, rtp, rtcp, to }
}

impl UdpPublisher {
    fn send(&self, sequence: u16) {
        self.rtp.send_to(&sound(sequence), self.to[0]).unwrap();
    }
}

/// Waits for the viewer's packet with this payload's number, counted from the first one's.
fn wait_for_packets(viewer: &mut Viewer, count: u64) {
    let until = Instant::now() + DEADLINE;
    while viewer.packets() < count {
        assert!(
            viewer.receive() && Instant::now() < until,
            "{} packets",
            viewer.packets()
        );
    }
}

#[test]
fn a_datagram_that_overtook_a_lost_one_is_given_in_time_though_no_other_comes() {
    let relay = Relay::start(Options::publish());
    let publisher = udp_publisher(&relay, "live");
    publisher.send(1);
    relay.wait_for_state("live", "ready");
    let mut viewer = Viewer::begin(Conn::open(HOST, relay.addr("rtsp")), "live", Transport::Tcp);
    wait_for_packets(&mut viewer, 1);
    publisher.send(2);
    wait_for_packets(&mut viewer, 2);
    // 3 is lost, and the publisher falls silent after 4 and 5.
    publisher.send(4);
    publisher.send(5);
    wait_for_packets(&mut viewer, 4);
    let sent = |n: u16| {
        viewer
            .conn
            .taken
            .iter()
            .filter(|p| p.0 == 0)
            .nth(n.into())
            .unwrap()
            .1
            .clone()
    };
    let number = |n| u16::from_be_bytes(sent(n)[2..4].try_into().unwrap());
    assert_eq!(
        [1, 2, 3].map(|n| number(n).wrapping_sub(number(0))),
        [1, 3, 4],
        "the loss shows"
    );
    relay.stop();
}

/// The middle of the time in the sender reports below.
const LAST_SR: u32 = 0x1234_8000;

/// A sender report of the source that `sound` is from.
fn sender_report() -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6, 0, 0, 0, 9];
    packet.extend([0xe8, 0xf0, 0x12, 0x34, 0x80, 0, 0, 0]);
    packet.extend([0; 12]);
    packet
}

/// The block of a compound RTCP packet that has one.
fn block(packet: &[u8]) -> Option<ReportBlock> {
    rtcp::parse(packet).unwrap().into_iter().find_map(|p| match p {
        Rtcp::ReceiverReport { reports, .. } => reports.first().copied(),
        _ => None,
    })
}

/// What has to be told of 10 to 19, of which 13 and 17 are missing; in one or more reports.
fn assert_told(block: ReportBlock, sent: Instant) {
    assert_eq!(
        (block.ssrc, block.cumulative_lost, block.highest_sequence),
        (9, 2, 19)
    );
    assert_eq!(block.last_sr, LAST_SR);
    let delay = Duration::from_secs_f64(f64::from(block.delay_since_last_sr) / 65_536.0);
    assert!(delay > Duration::ZERO && delay <= sent.elapsed(), "{delay:?}");
}

const SENT: [u16; 8] = [10, 11, 12, 14, 15, 16, 18, 19];

#[test]
fn a_publisher_by_tcp_is_told_how_its_packets_arrive() {
    let relay = Relay::start(Options::publish());
    let url = relay.rtsp("live");
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    assert_eq!(conn.request_with("ANNOUNCE", &url, &[], SOUND).status, 200);
    let transport = "RTP/AVP/TCP;unicast;mode=record;interleaved=2-3";
    conn.ok("SETUP", &format!("{url}/a"), &[("Transport", transport)]);
    conn.ok("RECORD", &url, &[]);
    let sent = Instant::now();
    SENT.iter().for_each(|n| conn.send_packet(2, &sound(*n)));
    conn.send_packet(3, &sender_report());
    let told = eventually("a report about all of them", || {
        conn.ok("GET_PARAMETER", &url, &[]);
        let mut reports = conn.taken.iter().filter(|(channel, _)| *channel == 3);
        reports.find_map(|(_, p)| block(p).filter(|b| b.highest_sequence == 19 && b.last_sr != 0))
    });
    assert_told(told, sent);
    // And again and again.
    eventually("another one", || {
        conn.ok("GET_PARAMETER", &url, &[]);
        (conn.taken.len() > 1).then_some(())
    });
    relay.stop();
}

#[test]
fn a_publisher_by_udp_is_told_how_its_packets_arrive() {
    let relay = Relay::start(Options::publish());
    let publisher = udp_publisher(&relay, "live");
    let sent = Instant::now();
    SENT.iter().for_each(|n| publisher.send(*n));
    publisher.rtcp.send_to(&sender_report(), publisher.to[1]).unwrap();
    let mut datagram = [0; 1500];
    let told = eventually("a report about all of them", || {
        let length = publisher.rtcp.recv(&mut datagram).ok()?;
        block(&datagram[..length]).filter(|b| b.highest_sequence == 19 && b.last_sr != 0)
    });
    assert_told(told, sent);
    relay.stop();
}

/// Announces one track of sound by TCP, on channels 0 and 1.
fn tcp_publisher(relay: &Relay) -> Conn {
    let url = relay.rtsp("live");
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    assert_eq!(conn.request_with("ANNOUNCE", &url, &[], SOUND).status, 200);
    let transport = "RTP/AVP/TCP;unicast;mode=record;interleaved=0-1";
    conn.ok("SETUP", &format!("{url}/a"), &[("Transport", transport)]);
    conn.ok("RECORD", &url, &[]);
    conn
}

#[test]
fn what_is_no_rtp_and_no_rtcp_costs_a_publisher_nothing_else() {
    let relay = Relay::start(Options::publish());
    let udp = udp_publisher(&relay, "udp");
    let mut tcp = tcp_publisher(&relay);
    let garbage: [&[u8]; 2] = [&[1, 2], &[1, 2].repeat(1000)];
    for packet in garbage {
        udp.rtp.send_to(packet, udp.to[0]).unwrap();
        udp.rtcp.send_to(packet, udp.to[1]).unwrap();
        tcp.send_packet(0, packet);
        tcp.send_packet(1, packet);
    }
    eventually("all are counted", || (relay.lost("BadInput") >= 8).then_some(()));
    udp.send(1);
    tcp.send_packet(0, &sound(1));
    for path in ["udp", "live"] {
        relay.wait_for_state(path, "ready");
        let mut viewer = Viewer::begin(Conn::open(HOST, relay.addr("rtsp")), path, Transport::Tcp);
        wait_for_packets(&mut viewer, 1);
        let first = viewer.conn.taken.iter().find(|p| p.0 == 0).unwrap();
        assert_eq!(first.1.len(), 172, "{path}");
    }
    relay.stop();
}

#[test]
fn a_publisher_whose_source_changes_is_followed() {
    let relay = Relay::start(Options::publish());
    let mut conn = tcp_publisher(&relay);
    conn.send_packet(0, &sound(1));
    relay.wait_for_state("live", "ready");
    let mut viewer = Viewer::begin(Conn::open(HOST, relay.addr("rtsp")), "live", Transport::Tcp);
    wait_for_packets(&mut viewer, 1);
    let mut other = sound(2);
    other[8..12].copy_from_slice(&[7; 4]);
    conn.send_packet(0, &other);
    conn.send_packet(0, &sound(3));
    wait_for_packets(&mut viewer, 3);
    let got: Vec<_> = viewer
        .conn
        .taken
        .iter()
        .filter(|p| p.0 == 0)
        .map(|p| &p.1)
        .collect();
    assert!(
        got.windows(2).all(|w| w[0][8..12] == w[1][8..12]),
        "readers see one source"
    );
    relay.stop();
}

#[test]
fn readers_are_told_the_publishers_own_time() {
    let relay = Relay::start(Options::publish());
    let mut conn = tcp_publisher(&relay);
    conn.send_packet(0, &sound(0));
    // The packet with time stamp 0 was at LAST_SR; the one with 8000 a second later.
    conn.send_packet(1, &sender_report());
    conn.send_packet(0, &sound(50));
    conn.ok("GET_PARAMETER", &relay.rtsp("live"), &[]); // all of it was taken
    relay.wait_for_state("live", "ready");
    let mut viewer = Viewer::begin(Conn::open(HOST, relay.addr("rtsp")), "live", Transport::Tcp);
    wait_for_packets(&mut viewer, 1);
    let reports = viewer.conn.taken.iter().filter(|p| p.0 == 1);
    let told = reports.map(|(_, p)| p).find_map(|p| {
        rtcp::parse(p).unwrap().into_iter().find_map(|r| match r {
            Rtcp::SenderReport { ntp, rtp_time, .. } => Some((ntp.0, rtp_time)),
            _ => None,
        })
    });
    let (ntp, rtp_time) = told.expect("a sender report is first");
    let at_zero = i128::from(ntp) - (i128::from(rtp_time) << 32) / 8000;
    let published = i128::from(0xe8f0_1234_8000_0000_u64);
    assert!(
        (at_zero - published).unsigned_abs() < 1 << 22,
        "a millisecond: {at_zero:x}"
    );
    relay.stop();
}

#[test]
fn a_publisher_by_udp_ends_with_its_connection_and_its_path_is_free() {
    let relay = Relay::start(Options::publish());
    let publisher = udp_publisher(&relay, "live");
    publisher.send(1);
    relay.wait_for_state("live", "ready");
    let UdpPublisher { conn, rtp, to, .. } = publisher;
    drop(conn);
    eventually("the path is gone", || {
        rtp.send_to(&sound(2), to[0]).unwrap(); // sending on does not keep it
        (!relay.api("/api/v1/paths").to_string().contains("\"live\"")).then_some(())
    });
    let _next = udp_publisher(&relay, "live");
    relay.stop();
}
