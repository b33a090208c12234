//! What the RTSP server promises about sockets, time and packets, in dialogues by hand. What it promises about
//! words alone is in `src/proto/rtsp/server/tests`.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::time::Duration;
use std::time::Instant;

use crate::relay::DEADLINE;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::udp_pair;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A test picture; `rtsp` is put into that table of the configuration.
fn pattern(rtsp: &str) -> Relay {
    Relay::start(Options::sources(&["cam=pattern:?size=160x120&fps=25"]).rtsp(rtsp))
}

/// A reader of the first track by UDP.
struct UdpReader {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    url: String,
    /// Where its RTCP goes.
    server_rtcp: SocketAddr,
    ssrc: u32,
}

fn udp_reader(relay: &Relay, conn: &mut Conn) -> UdpReader {
    let (rtp, rtcp) = udp_pair(HOST);
    let url = relay.rtsp("cam");
    let port = rtp.local_addr().unwrap().port();
    let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
    conn.ok("DESCRIBE", &url, &[]);
    let reply = conn.ok("SETUP", &format!("{url}/trackID=0"), &[("Transport", &transport)]);
    let transport = reply.header("transport").unwrap();
    let value = |key: &str| {
        let found = transport.split(';').find_map(|p| p.strip_prefix(key));
        found.unwrap_or_else(|| panic!("{key} in {transport}")).to_owned()
    };
    let ports = value("server_port=");
    let (_, server_rtcp) = ports.split_once('-').unwrap();
    UdpReader {
        rtp,
        rtcp,
        url,
        server_rtcp: SocketAddr::new(HOST, server_rtcp.parse().unwrap()),
        ssrc: u32::from_str_radix(&value("ssrc="), 16).unwrap(),
    }
}

impl UdpReader {
    /// The next RTP packet, if one comes within this time.
    fn packet(&self, within: Duration) -> Option<Vec<u8>> {
        let mut datagram = [0; 65_536];
        let until = Instant::now() + within;
        while Instant::now() < until {
            if let Ok(length) = self.rtp.recv(&mut datagram) {
                return Some(datagram[..length].to_vec());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
    fn flows(&self) {
        while self.packet(Duration::ZERO).is_some() {}
        assert!(self.packet(DEADLINE).is_some(), "no packet came");
    }
    fn falls_silent(&self) {
        eventually("silence", || {
            self.packet(Duration::from_millis(300)).is_none().then_some(())
        });
    }
}

/// A receiver report about one source: a quarter lost, 900 units of jitter.
fn report(about: u32) -> Vec<u8> {
    let mut packet = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
    packet.extend(about.to_be_bytes());
    packet.extend([64, 0, 0, 5, 0, 0, 1, 0]);
    packet.extend(900_u32.to_be_bytes());
    packet.extend([0; 8]);
    packet
}

/// The URL of the first track of a presentation.
fn with_track(url: &str) -> String {
    match url.split_once('?') {
        None => format!("{url}/trackID=0"),
        Some((path, query)) => format!("{path}/trackID=0?{query}"),
    }
}

fn number(header: &str, key: &str) -> u32 {
    let found = header.split(';').find_map(|p| p.strip_prefix(key));
    found
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("{key} in {header}"))
}

/// Sequence number and time stamp.
fn numbers(packet: &[u8]) -> (u32, u32) {
    let sequence = u16::from_be_bytes([packet[2], packet[3]]);
    let time = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
    (u32::from(sequence), time)
}

/// gortsplib: TestServerPlayTCPResponseBeforeFrames, TestServerPlayAdditionalInfos.
#[test]
fn the_answer_to_play_comes_before_the_first_packet_and_tells_its_numbers_by_tcp() {
    let relay = pattern("");
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    let url = relay.rtsp("cam");
    conn.ok("DESCRIBE", &url, &[]);
    let setup = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    let reply = conn.ok("SETUP", &format!("{url}/trackID=0"), &setup);
    let ssrc = reply
        .header("transport")
        .unwrap()
        .rsplit_once("ssrc=")
        .unwrap()
        .1
        .to_owned();
    let reply = conn.ok("PLAY", &url, &[("Range", "npt=0.000-")]);
    assert!(conn.taken.is_empty(), "packets before the answer");
    assert_eq!(reply.header("range"), Some("npt=0.000-"));
    let info = reply.header("rtp-info").unwrap().to_owned();
    assert!(info.starts_with(&format!("url={url}/trackID=0;")), "{info}");
    while !conn.taken.iter().any(|(channel, _)| *channel == 0) {
        conn.request("GET_PARAMETER", &url, &[]);
    }
    // The report comes with the first packet, and speaks of the same source and time.
    let (channel, first_report) = &conn.taken[0];
    assert_eq!((*channel, first_report[1]), (1, 200), "a sender report is first");
    let (_, first) = conn.taken.iter().find(|(channel, _)| *channel == 0).unwrap();
    assert_eq!(numbers(first), (number(&info, "seq="), number(&info, "rtptime=")));
    assert_eq!(
        format!("{:08X}", u32::from_be_bytes(first[8..12].try_into().unwrap())),
        ssrc
    );
    assert_eq!(first_report[4..8], first[8..12]);
    assert_eq!(first_report[16..20], first[4..8]);
    assert!(
        conn.taken.iter().all(|(_, packet)| packet.len() >= 8),
        "FFmpeg trips over short frames"
    );
    relay.stop();
}

#[test]
fn the_answer_to_play_tells_the_numbers_of_the_first_packet_by_udp() {
    let relay = pattern("");
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    let reader = udp_reader(&relay, &mut conn);
    let reply = conn.ok("PLAY", &reader.url, &[]);
    let info = reply.header("rtp-info").unwrap();
    let first = reader.packet(DEADLINE).unwrap();
    assert_eq!(numbers(&first), (number(info, "seq="), number(info, "rtptime=")));
    assert_eq!(u32::from_be_bytes(first[8..12].try_into().unwrap()), reader.ssrc);
    relay.stop();
}

/// gortsplib: TestServerPlayUDPChangeConn.
#[test]
fn a_reader_by_udp_goes_on_when_its_connection_is_lost() {
    let relay = pattern("");
    let mut first = Conn::open(HOST, relay.addr("rtsp"));
    let reader = udp_reader(&relay, &mut first);
    first.ok("PLAY", &reader.url, &[]);
    reader.flows();
    let session = first.session.clone();
    drop(first);
    let other = |from: [u8; 4]| {
        let mut conn = Conn::open(from.into(), relay.addr("rtsp"));
        conn.session.clone_from(&session);
        conn
    };
    // While its old connection is still thought to live, the session is not found: once more, then.
    let mut second = other([127, 0, 0, 1]);
    eventually("the session is found", || {
        (second.request("GET_PARAMETER", &reader.url, &[]).status == 200).then_some(())
    });
    reader.flows();
    drop(second);
    // Nobody from another host gets it, neither before the relay has noticed nor after.
    let mut third = other([127, 0, 0, 1]);
    eventually("the session is found", || {
        let mut foreign = other([127, 0, 0, 2]);
        assert_eq!(
            foreign.request("PAUSE", &reader.url, &[]).status,
            454,
            "another host"
        );
        (third.request("PAUSE", &reader.url, &[]).status == 200).then_some(())
    });
    reader.falls_silent();
    third.ok("PLAY", &reader.url, &[]);
    reader.flows();
    third.ok("TEARDOWN", &reader.url, &[]);
    reader.falls_silent();
    assert_eq!(
        other([127, 0, 0, 1]).request("PLAY", &reader.url, &[]).status,
        454
    );
    relay.stop();
}

#[test]
fn a_session_that_lost_its_connection_ends_by_good_bye_or_by_silence() {
    let relay = pattern("session_timeout = \"5s\"");
    let viewers = || {
        relay.api("/api/v1/paths")["items"][0]["viewers"]
            .as_u64()
            .unwrap()
    };
    for says_goodbye in [true, false] {
        let mut conn = Conn::open(HOST, relay.addr("rtsp"));
        let reader = udp_reader(&relay, &mut conn);
        conn.ok("PLAY", &reader.url, &[]);
        reader.flows();
        drop(conn);
        reader.flows();
        assert_eq!(viewers(), 1);
        if says_goodbye {
            reader
                .rtcp
                .send_to(&[0x81, 203, 0, 1, 0, 0, 0, 9], reader.server_rtcp)
                .unwrap();
        }
        reader.falls_silent();
        eventually("nobody is counted any more", || (viewers() == 0).then_some(()));
    }
    relay.stop();
}

/// gortsplib: TestServerPlaySetupErrorSameUDPPortsAndIP.
#[test]
fn two_readers_of_one_host_cannot_have_the_same_ports() {
    let relay = pattern("");
    let mut first = Conn::open(HOST, relay.addr("rtsp"));
    let reader = udp_reader(&relay, &mut first);
    let port = reader.rtp.local_addr().unwrap().port();
    let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
    let setup = |from: [u8; 4]| {
        let mut conn = Conn::open(from.into(), relay.addr("rtsp"));
        let url = format!("{}/trackID=0", reader.url);
        conn.request("SETUP", &url, &[("Transport", &transport)]).status
    };
    assert_eq!(setup([127, 0, 0, 1]), 400);
    assert_eq!(setup([127, 0, 0, 2]), 200, "another host may");
    first.ok("TEARDOWN", &reader.url, &[]);
    assert_eq!(setup([127, 0, 0, 1]), 200, "and so may one who comes later");
    relay.stop();
}

#[test]
fn a_refused_change_of_ports_leaves_a_reader_where_it_was() {
    let relay = pattern("");
    let mut connections: [Conn; 3] = std::array::from_fn(|_| Conn::open(HOST, relay.addr("rtsp")));
    let [first, second, third] = &mut connections;
    let (reader, other) = (udp_reader(&relay, first), udp_reader(&relay, second));
    let track = with_track(&reader.url);
    let status = |conn: &mut Conn, ports: &UdpReader| {
        let port = ports.rtp.local_addr().unwrap().port();
        let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
        conn.request("SETUP", &track, &[("Transport", &transport)]).status
    };
    assert_eq!(status(first, &other), 400);
    assert_eq!(status(third, &reader), 400, "its ports are still its own");
    assert_eq!(status(first, &reader), 200, "it may have them again");
    first.ok("PLAY", &reader.url, &[]);
    reader.flows();
    relay.stop();
}

#[test]
fn who_has_played_by_one_transport_does_not_get_another_one_and_goes_on() {
    let relay = pattern("");
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    let reader = udp_reader(&relay, &mut conn);
    let track = with_track(&reader.url);
    let by_tcp = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    conn.ok("PLAY", &reader.url, &[]);
    reader.flows();
    conn.ok("PAUSE", &reader.url, &[]);
    assert_eq!(conn.request("SETUP", &track, &by_tcp).status, 461);
    conn.ok("PLAY", &reader.url, &[]);
    reader.flows();
    // Before it plays it may.
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    let _before = udp_reader(&relay, &mut conn);
    conn.ok("SETUP", &track, &by_tcp);
    conn.ok("PLAY", &reader.url, &[]);
    eventually("pictures by TCP", || {
        conn.request("GET_PARAMETER", &reader.url, &[]);
        (conn.packets[0] > 0).then_some(())
    });
    relay.stop();
}

#[test]
fn a_refused_group_leaves_a_reader_where_it_was() {
    let relay = pattern("multicast = \"239.255.42.0/24\"");
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    let url = relay.rtsp("cam");
    let (rtp, _rtcp) = udp_pair(HOST);
    let port = rtp.local_addr().unwrap().port();
    // Without DESCRIBE it is MPEG-TS, which no group has.
    let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
    conn.ok("SETUP", &url, &[("Transport", &transport)]);
    let refused = conn.request("SETUP", &url, &[("Transport", "RTP/AVP;multicast")]);
    assert_eq!(refused.status, 461);
    conn.ok("PLAY", &url, &[]);
    eventually("pictures by UDP", || rtp.recv(&mut [0; 2048]).ok());
    relay.stop();
}

#[test]
fn a_stream_that_ends_takes_no_other_session_of_its_connection_along() {
    let picture = |path: &str| format!("[paths.{path}]\nsource = \"pattern:?size=160x120&fps=25\"\n");
    let stays = picture("stays");
    let relay = Relay::start(Options::default().config(&format!("{stays}{}", picture("goes"))));
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    for (path, channels) in [("stays", "0-1"), ("goes", "2-3")] {
        let url = relay.rtsp(path);
        conn.session = None;
        conn.ok("DESCRIBE", &url, &[]);
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={channels}");
        conn.ok("SETUP", &with_track(&url), &[("Transport", &transport)]);
        conn.ok("PLAY", &url, &[]);
    }
    let gone = conn.session.take().unwrap();
    let more = |conn: &mut Conn, channel: usize| {
        let before = conn.packets[channel];
        eventually("packets", || {
            assert!(!conn.has_ended(), "the relay closed the connection");
            conn.skip_packets();
            (conn.packets[channel] > before + 25).then_some(())
        });
    };
    more(&mut conn, 0);
    more(&mut conn, 2);
    relay.reconfigure(&stays);
    more(&mut conn, 0);
    // The other one is over, and was told good-bye.
    conn.session = Some(gone);
    assert_eq!(conn.request("PLAY", &relay.rtsp("goes"), &[]).status, 454);
    conn.session = None;
    more(&mut conn, 0);
    drop(conn);
    relay.stop();
}

#[test]
fn what_readers_report_shows_when_k_of_them_do_and_one_viewers_figures_never() {
    let k3 = Options::sources(&["cam=pattern:?size=160x120&fps=25"]).config("[privacy]\nk = 3");
    let relay = Relay::start(k3);
    let quality = || relay.api("/api/v1/paths")["items"][0]["quality"].clone();
    assert!(quality().is_null());
    let open = |agent: &str| Conn::open(HOST, relay.addr("rtsp")).header("User-Agent", agent);
    let mut conns = ["VLC/3.0.21", "VLC/4.0.0", "VLC/5.0.0"].map(open);
    let mut by_udp = |n: usize| {
        let reader = udp_reader(&relay, &mut conns[n]);
        conns[n].ok("PLAY", &reader.url, &[]);
        reader.flows();
        reader
    };
    let readers = [by_udp(0), by_udp(1)];
    let report_by_udp = |reader: &UdpReader| {
        // About somebody else, and about us.
        for ssrc in [reader.ssrc ^ 1, reader.ssrc] {
            reader.rtcp.send_to(&report(ssrc), reader.server_rtcp).unwrap();
        }
    };
    let held_back = serde_json::json!(
        {"reports": null, "loss_percent": null, "jitter_ms": null, "below_k": true}
    );
    eventually("the figures of one are held back", || {
        report_by_udp(&readers[0]);
        let quality = quality();
        assert!(quality.is_null() || quality == held_back, "{quality}");
        (!quality.is_null()).then_some(())
    });
    // One who opted out is no third, nor is one more reader of a viewer who is there.
    let tcp = &mut conns[2];
    let setup = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    let url = format!("{}?stats=off", relay.rtsp("cam"));
    let mut out = open("VLC/6.0.0");
    let mut same = open("VLC/3.0.21");
    let shown = &*readers[0].url;
    for (conn, url) in [(&mut out, &*url), (&mut same, shown), (tcp, shown)] {
        conn.ok("SETUP", &with_track(url), &setup);
        conn.ok("PLAY", url, &[]);
    }
    let until = Instant::now() + Duration::from_secs(21);
    while Instant::now() < until {
        readers.iter().for_each(report_by_udp);
        assert!(
            !out.has_ended() && !same.has_ended() && !conns[2].has_ended(),
            "all are readers that read"
        );
        out.send_packet(1, &report(readers[0].ssrc));
        same.send_packet(1, &report(readers[0].ssrc));
        assert_eq!(quality()["below_k"], true, "{}", quality());
    }
    eventually("three count, by TCP too", || {
        readers.iter().for_each(report_by_udp);
        assert!(!same.has_ended() && !conns[2].has_ended());
        conns[2].send_packet(1, &report(readers[0].ssrc));
        (quality()["loss_percent"] == 25.0).then_some(())
    });
    assert_eq!(quality()["jitter_ms"], 10.0);
    assert_eq!(quality()["below_k"], serde_json::Value::Null);
    relay.stop();
}

#[test]
fn a_publisher_by_udp_gets_a_packet_that_opens_its_firewall() {
    let relay = Relay::start(Options::publish());
    let (rtp, rtcp) = udp_pair(HOST);
    let port = rtp.local_addr().unwrap().port();
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    let url = relay.rtsp("live");
    let sdp = "v=0\r\nm=audio 0 RTP/AVP 8\r\na=control:a\r\n";
    assert_eq!(conn.request_with("ANNOUNCE", &url, &[], sdp).status, 200);
    let transport = format!("RTP/AVP;unicast;client_port={port}-{};mode=record", port + 1);
    conn.ok("SETUP", &format!("{url}/a"), &[("Transport", &transport)]);
    conn.ok("RECORD", &url, &[]);
    let mut datagram = [0; 100];
    let mut first = |socket: &UdpSocket| {
        eventually("a packet", || {
            socket.recv(&mut datagram).ok().map(|n| datagram[..n].to_vec())
        })
    };
    assert_eq!(
        first(&rtp),
        [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        "RTP without content"
    );
    assert_eq!(
        first(&rtcp),
        [0x80, 201, 0, 1, 0, 0, 0, 0],
        "a report about nothing"
    );
    relay.stop();
}
