//! Readers that speak, and those who listen to them.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::peers::output;
use crate::relay::DEADLINE;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;
use crate::rtsp::udp_pair;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const REQUIRE: (&str, &str) = ("Require", "www.onvif.org/ver20/backchannel");

fn relay() -> Relay {
    let paths = "[paths.cam]\nsource = \"pattern:?size=160x120&fps=25\"\nbackchannel = true";
    Relay::start(Options::sources(&["mute=pattern:?size=160x120&fps=25"]).config(paths))
}

/// 20 ms of sound that says who speaks.
fn sound(payload_type: u8, sequence: u16, who: u8) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend([0, 0, 0, who]);
    packet.extend([who; 160]);
    packet
}

/// A reader of the picture that may speak by TCP.
fn by_tcp(relay: &Relay) -> Conn {
    let url = relay.rtsp("cam");
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    conn.ok("DESCRIBE", &url, &[REQUIRE]);
    for (track, channels) in [(0, "0-1"), (200, "2-3")] {
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={channels}");
        conn.ok(
            "SETUP",
            &format!("{url}/trackID={track}"),
            &[("Transport", &transport), REQUIRE],
        );
    }
    conn.ok("PLAY", &url, &[REQUIRE]);
    conn
}

/// Ends a speaker when it goes: also when the test fails, which would wait for its threads for ever otherwise.
struct Speaker<'s>(&'s AtomicBool);

impl Drop for Speaker<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Says so in a thread, 50 times in a second, as long as the speaker lives.
fn speak<'s>(
    scope: &'s thread::Scope<'s, '_>,
    done: &'s AtomicBool,
    mut send: impl FnMut(u16) + Send + 's,
) -> Speaker<'s> {
    scope.spawn(move || {
        for n in 0.. {
            if done.load(Ordering::Relaxed) {
                break;
            }
            send(n);
            thread::sleep(Duration::from_millis(20));
        }
    });
    Speaker(done)
}

/// Who is heard next by somebody who listens.
fn heard(viewer: &mut Viewer) -> u8 {
    viewer.conn.taken.clear();
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some((_, packet)) = viewer.conn.taken.iter().find(|(channel, _)| *channel == 0) {
            assert_eq!(packet.len(), 172);
            assert!(packet[12..].iter().all(|b| *b == packet[12]), "as it was said");
            return packet[12];
        }
        assert!(viewer.receive() && Instant::now() < until, "nobody is heard");
    }
}

#[test]
fn a_back_channel_is_shown_to_those_who_ask_for_it_where_there_is_one() {
    let relay = relay();
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    let plain = conn.ok("DESCRIBE", &relay.rtsp("cam"), &[]).body;
    assert!(
        !plain.contains("sendonly") && !plain.contains("recvonly"),
        "{plain}"
    );
    let body = conn.ok("DESCRIBE", &relay.rtsp("cam"), &[REQUIRE]).body;
    let media: Vec<_> = body.split("\nm=").skip(1).map(str::trim_end).collect();
    assert_eq!(media.len(), 3, "{body}");
    assert!(
        media[0].starts_with("video ") && media[0].ends_with("a=recvonly"),
        "{body}"
    );
    assert_eq!(
        media[1],
        "audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=control:trackID=200\r\na=sendonly"
    );
    assert_eq!(
        media[2],
        "audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=control:trackID=208\r\na=sendonly"
    );
    // Where there is none, and to those who would publish there as if it were a path like others.
    let reply = conn.request("DESCRIBE", &relay.rtsp("mute"), &[REQUIRE]);
    assert_eq!(
        (reply.status, reply.header("unsupported")),
        (551, Some(REQUIRE.1))
    );
    let transport = [("Transport", "RTP/AVP/TCP;unicast")];
    let setup = |conn: &mut Conn, path: &str| {
        let url = format!("{}/trackID=200", relay.rtsp(path));
        conn.request("SETUP", &url, &transport).status
    };
    assert_eq!(setup(&mut conn, "mute"), 551);
    let sdp = "v=0\r\nm=audio 0 RTP/AVP 8\r\n";
    let announced = conn.request_with("ANNOUNCE", &relay.rtsp("cam/backchannel"), &[], sdp);
    assert_eq!(announced.status, 403);
    relay.stop();
}

#[test]
fn what_a_reader_says_is_heard_by_others_who_stay_for_the_next_one() {
    let relay = relay();
    let (first_done, second_done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut first, mut second) = (by_tcp(&relay), by_tcp(&relay));
    thread::scope(|scope| {
        let speaker = speak(scope, &first_done, |n| first.send_packet(2, &sound(0, n, 1)));
        relay.wait_for_state("cam/backchannel", "ready");
        let listen = Conn::open(HOST, relay.addr("rtsp"));
        let mut viewer = Viewer::watch(listen, "cam/backchannel", Transport::Tcp);
        assert_eq!(heard(&mut viewer), 1);
        let _second = speak(scope, &second_done, |n| {
            second.send_packet(2, &sound(0, 1000 + n, 2));
        });
        // That the second has to wait is a matter of time, and asked of a clock of its own (`talk`). The first says no
        // more, and the same listener hears the second.
        drop(speaker);
        eventually("the other one is heard", || {
            (heard(&mut viewer) == 2).then_some(())
        });
    });
    // Who only listens is no reader that speaks.
    let mut plain = Conn::open(HOST, relay.addr("rtsp"));
    let url = relay.rtsp("cam");
    plain.ok(
        "SETUP",
        &format!("{url}/trackID=0"),
        &[("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")],
    );
    plain.ok("PLAY", &url, &[]);
    let log = relay.stop();
    assert!(log.matches("A reader speaks.").count() >= 2, "{log}");
}

#[test]
fn a_reader_speaks_by_udp_and_ffmpeg_hears_it() {
    let relay = relay();
    let (rtp, _rtcp): (UdpSocket, UdpSocket) = udp_pair(HOST);
    let url = relay.rtsp("cam");
    let mut conn = Conn::open(HOST, relay.addr("rtsp"));
    let setup = |conn: &mut Conn, socket: &UdpSocket| {
        let port = socket.local_addr().unwrap().port();
        let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
        let headers = [("Transport", &*transport), REQUIRE];
        conn.request("SETUP", &format!("{url}/trackID=208"), &headers)
    };
    let reply = setup(&mut conn, &rtp);
    assert_eq!(reply.status, 200);
    // A second thought that is refused, since another session has these ports, leaves all as it was.
    let (taken, _): (UdpSocket, UdpSocket) = udp_pair(HOST);
    let mut other = Conn::open(HOST, relay.addr("rtsp"));
    assert_eq!(setup(&mut other, &taken).status, 200);
    assert_eq!(setup(&mut conn, &taken).status, 400);
    let transport = reply.header("transport").unwrap();
    let server = transport
        .split(';')
        .find_map(|p| p.strip_prefix("server_port="))
        .unwrap();
    let (server, _) = server.split_once('-').unwrap();
    let to = SocketAddr::new(HOST, server.parse().unwrap());
    conn.ok("PLAY", &url, &[]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _speaker = speak(scope, &done, |n| {
            rtp.send_to(&sound(8, n, 0x55), to).unwrap();
        });
        relay.wait_for_state("cam/backchannel", "ready");
        let mut cmd = ffmpeg::ffmpeg();
        cmd.args(["-rtsp_transport", "tcp", "-i", &relay.rtsp("cam/backchannel")]);
        cmd.args(["-t", "1", "-f", "alaw", "-c:a", "copy", "-"]);
        let bytes = output("ffmpeg, listening", &mut cmd);
        assert!(
            bytes.len() >= 1600 && bytes.iter().all(|b| *b == 0x55),
            "{} bytes",
            bytes.len()
        );
        // A pause ends it: nobody is heard then.
        conn.ok("PAUSE", &url, &[]);
        relay.wait_for_state("cam/backchannel", "waiting");
    });
    relay.stop();
}
