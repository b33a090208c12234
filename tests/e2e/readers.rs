//! What the RTSP server promises readers when they err, pause, or are lost; in dialogues by hand.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Instant;

use crate::peers::Transport;
use crate::relay::DEADLINE;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;
use crate::rtsp::udp_pair;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TCP: [(&str, &str); 1] = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];

fn pattern() -> Relay {
    Relay::start(Options::sources(&["cam=pattern:?size=160x120&fps=25"]))
}

fn by_tcp(relay: &Relay) -> Conn {
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    let url = relay.rtsp("cam");
    conn.ok("SETUP", &format!("{url}/trackID=0"), &TCP);
    conn.ok("PLAY", &url, &[]);
    conn
}

fn viewers(relay: &Relay) -> u64 {
    relay.api("/api/v1/paths")["items"][0]["viewers"]
        .as_u64()
        .unwrap()
}

/// Waits for another packet of the picture by TCP.
fn flows(conn: &mut Conn, url: &str) {
    let (before, until) = (conn.packets[0], Instant::now() + DEADLINE);
    while conn.packets[0] == before {
        conn.ok("GET_PARAMETER", url, &[]);
        assert!(Instant::now() < until, "no packet came");
    }
}

/// Waits until a viewer has got so many packets more.
fn sees_more(viewer: &mut Viewer, packets: u64) {
    let (before, until) = (viewer.packets(), Instant::now() + DEADLINE);
    while viewer.packets() < before + packets {
        assert!(viewer.receive() && Instant::now() < until, "no pictures");
    }
}

#[test]
fn what_is_no_rtcp_costs_a_reader_nothing() {
    let relay = pattern();
    let url = relay.rtsp("cam");
    let garbage: [&[u8]; 3] = [&[1, 2], &[1, 2].repeat(1000), &[0x81, 201, 0, 7, 0]];
    let mut tcp = by_tcp(&relay);
    for packet in garbage {
        tcp.send_packet(1, packet);
        flows(&mut tcp, &url);
    }
    let (rtp, rtcp) = udp_pair(HOST);
    let port = rtp.local_addr().unwrap().port();
    let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    let reply = conn.ok("SETUP", &format!("{url}/trackID=0"), &[("Transport", &transport)]);
    let transport = reply.header("transport").unwrap();
    let server = transport
        .split(';')
        .find_map(|p| p.strip_prefix("server_port="))
        .unwrap();
    let (_, server) = server.split_once('-').unwrap();
    let server = SocketAddr::new(HOST, server.parse().unwrap());
    conn.ok("PLAY", &url, &[]);
    let before = relay.lost("BadInput");
    for packet in garbage {
        rtcp.send_to(packet, server).unwrap();
    }
    eventually("all are counted", || {
        (relay.lost("BadInput") >= before + 3).then_some(())
    });
    let mut datagram = [0; 2048];
    while rtp.recv(&mut datagram).is_ok() {}
    eventually("pictures go on", || rtp.recv(&mut datagram).ok());
    assert_eq!(viewers(&relay), 2);
    relay.stop();
}

#[test]
fn a_reader_that_pauses_by_tcp_gets_nothing_until_it_plays_again() {
    let relay = pattern();
    let url = relay.rtsp("cam");
    let mut conn = by_tcp(&relay);
    flows(&mut conn, &url);
    conn.ok("PAUSE", &url, &[]);
    // Another reader counts the time: half a second of pictures.
    let packets = conn.packets;
    let mut other = Viewer::watch(Conn::open(HOST, relay.addr("rtsp")), "cam", Transport::Tcp);
    sees_more(&mut other, 13);
    conn.ok("GET_PARAMETER", &url, &[]);
    assert_eq!(conn.packets, packets, "packets in a pause");
    conn.ok("PLAY", &url, &[]);
    flows(&mut conn, &url);
    relay.stop();
}

#[test]
fn a_reader_by_tcp_that_is_lost_without_good_bye_is_gone_and_the_others_go_on() {
    let relay = pattern();
    let mut other = Viewer::watch(Conn::open(HOST, relay.addr("rtsp")), "cam", Transport::Tcp);
    let mut conn = by_tcp(&relay);
    flows(&mut conn, &relay.rtsp("cam"));
    assert_eq!(viewers(&relay), 2);
    drop(conn);
    eventually("it is gone", || (viewers(&relay) == 1).then_some(()));
    sees_more(&mut other, 10);
    relay.stop();
}

#[test]
fn readers_are_told_good_bye_when_their_publisher_leaves() {
    let relay = Relay::start(Options::publish());
    let url = relay.rtsp("live");
    let mut publisher = Conn::open(HOST, relay.addr("rtsp"));
    let sdp = "v=0\r\nm=audio 0 RTP/AVP 8\r\na=control:a\r\n";
    assert_eq!(publisher.request_with("ANNOUNCE", &url, &[], sdp).status, 200);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")];
    publisher.ok("SETUP", &format!("{url}/a"), &transport);
    publisher.ok("RECORD", &url, &[]);
    let sound = |n: u8| [&[0x80, 8, 0, n, 0, 0, 0, n, 0, 0, 0, 9][..], &[0xd5; 160]].concat();
    publisher.send_packet(0, &sound(1));
    relay.wait_for_state("live", "ready");
    let mut viewer = Viewer::watch(Conn::open(HOST, relay.addr("rtsp")), "live", Transport::Tcp);
    // No TEARDOWN: its connection is all that tells.
    drop(publisher);
    eventually("the connection ends", || (!viewer.receive()).then_some(()));
    let control = viewer.conn.taken.iter().filter(|(channel, _)| *channel == 1);
    let byes = control.filter(|(_, p)| p.windows(2).any(|w| w == [0x81, 203]));
    assert_eq!(byes.count(), 1);
    relay.stop();
}

#[test]
fn describe_waits_for_a_stream_that_begins_and_not_for_ever() {
    let relay = Relay::start(Options::sources(&["live=publish:", "empty=publish:"]));
    let url = relay.rtsp("live");
    let describe = |path: &str| {
        let mut conn = Conn::open(HOST, relay.addr("rtsp"));
        conn.request("DESCRIBE", &relay.rtsp(path), &[]).status
    };
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| describe("live"));
        let empty = scope.spawn(|| describe("empty"));
        let mut publisher = Conn::open(HOST, relay.addr("rtsp"));
        let sdp = "v=0\r\nm=audio 0 RTP/AVP 8\r\na=control:a\r\n";
        assert_eq!(publisher.request_with("ANNOUNCE", &url, &[], sdp).status, 200);
        assert_eq!(waits.join().unwrap(), 200);
        assert_eq!(empty.join().unwrap(), 503);
    });
    relay.stop();
}

/// Two tracks of sound and one of data; the second sound is what recorders know.
const TRACKS: &str = "v=0\r\nm=audio 0 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=control:a\r\n\
    m=audio 0 RTP/AVP 8\r\na=control:b\r\nm=application 0 RTP/AVP 100\r\na=rtpmap:100 smpte336m/90000\r\na=control:c\r\n";

#[test]
fn a_stream_is_shown_with_what_recorders_know_and_its_other_tracks_by_query() {
    let relay = Relay::start(Options::publish());
    let url = relay.rtsp("live");
    let mut publisher = Conn::open(HOST, relay.addr("rtsp"));
    assert_eq!(publisher.request_with("ANNOUNCE", &url, &[], TRACKS).status, 200);
    for (n, control) in ["a", "b", "c"].iter().enumerate() {
        let channels = format!("{}-{}", 2 * n, 2 * n + 1);
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={channels};mode=record");
        publisher.ok("SETUP", &format!("{url}/{control}"), &[("Transport", &transport)]);
    }
    publisher.ok("RECORD", &url, &[]);
    let shown = |query: &str| {
        let mut conn = Conn::open(HOST, relay.addr("rtsp"));
        let reply = conn.request("DESCRIBE", &format!("{url}{query}"), &[]);
        let controls = reply
            .body
            .lines()
            .filter_map(|l| l.strip_prefix("a=control:trackID="));
        (reply.status, controls.collect::<Vec<_>>().join(" "))
    };
    let ok = |tracks: &str| (200, tracks.to_owned());
    assert_eq!(shown(""), ok("1"));
    assert_eq!(shown("?tracks=all"), ok("0 1 2"));
    assert_eq!(shown("?audio=opus&data=1"), ok("0 2"));
    assert_eq!(shown("?audio=none"), (404, String::new()));
    assert_eq!(shown("?audio=none&data=all"), ok("2"));
    // What is shown is what comes: the track keeps its number, whatever it is shown with.
    let mut reader = Conn::open(HOST, relay.addr("rtsp"));
    let asked = format!("{url}?audio=none&data=all");
    let base = reader
        .ok("DESCRIBE", &asked, &[])
        .header("content-base")
        .unwrap()
        .to_owned();
    reader.ok("SETUP", &format!("{base}trackID=2"), &TCP);
    let packet =
        |payload_type: u8, n: u8| vec![0x80, payload_type, 0, n, 0, 0, 0, n, 0, 0, 0, 9, payload_type];
    for (channel, payload_type) in [(0, 96), (2, 8), (4, 100)] {
        publisher.send_packet(channel, &packet(payload_type, 1));
    }
    publisher.ok("GET_PARAMETER", &url, &[]); // all of it was taken
    reader.ok("PLAY", &base, &[]);
    let until = Instant::now() + DEADLINE;
    for n in 2..=u8::MAX {
        publisher.send_packet(4, &packet(100, n));
        publisher.send_packet(0, &packet(96, n));
        reader.ok("GET_PARAMETER", &base, &[]);
        if reader.packets[0] > 1 {
            break;
        }
        assert!(Instant::now() < until, "nothing came");
    }
    let mut media = reader.taken.iter().filter(|(channel, _)| *channel == 0);
    assert!(media.all(|(_, p)| p[1] & 0x7f == 100 && p[12] == 100));
    relay.stop();
}

#[test]
fn readers_are_counted_while_they_are_attached() {
    let relay = pattern();
    for (output, transport) in [("RtspTcp", Transport::Tcp), ("RtspUdp", Transport::Udp)] {
        let viewers = [(); 2].map(|()| Viewer::watch(Conn::open(HOST, relay.addr("rtsp")), "cam", transport));
        assert_eq!(relay.readers(output), 2);
        let [leaving, cut_off] = viewers;
        leaving.leave();
        eventually("one has left", || (relay.readers(output) == 1).then_some(()));
        drop(cut_off);
        // By UDP it is kept until it is silent for too long: its connection may come back.
        if transport == Transport::Tcp {
            eventually("nobody", || (relay.readers(output) == 0).then_some(()));
        }
    }
    relay.stop();
}
