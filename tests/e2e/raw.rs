//! A publisher made by hand, for what no installed program can publish: AV1, KLV, and data that nobody knows.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use louver::base::time::MediaTime;
use louver::base::time::Rate;
use louver::media::AccessUnit;
use louver::media::Track;
use louver::proto::rtp::HEADER_LEN;
use louver::proto::rtp::Packetizer;
use louver::proto::sdp;

use crate::http;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::peers::output;
use crate::relay::Options;
use crate::relay::Relay;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

/// Announces a description and gets ready to send; the tracks it has.
fn record(relay: &Relay, path: &str, description: &str) -> (Conn, Vec<Track>) {
    let mut conn = Conn::open(Ipv4Addr::LOCALHOST.into(), relay.addr("rtsp"));
    let url = relay.rtsp(path);
    let headers = [("Content-Type", "application/sdp")];
    let reply = conn.request_with("ANNOUNCE", &url, &headers, description);
    assert_eq!(reply.status, 200);
    let (tracks, controls) = sdp::parse(description.as_bytes()).unwrap();
    for (n, control) in controls.iter().enumerate() {
        let transport = format!(
            "RTP/AVP/TCP;unicast;mode=record;interleaved={}-{}",
            2 * n,
            2 * n + 1
        );
        conn.ok("SETUP", &format!("{url}/{control}"), &[("Transport", &transport)]);
    }
    conn.ok("RECORD", &url, &[]);
    (conn, tracks.tracks)
}

/// Sends the `n`th round again and again, 25 times in a second, until `watch` is done.
fn while_sending(conn: &mut Conn, send: impl Fn(&mut Conn, u32) + Sync, watch: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                send(conn, n);
                thread::sleep(Duration::from_millis(40));
            }
        });
        let watched = std::panic::catch_unwind(std::panic::AssertUnwindSafe(watch));
        done.store(true, Ordering::Relaxed);
        watched.unwrap_or_else(|e| std::panic::resume_unwind(e));
    });
}

/// The temporal units of an encoder's IVF file.
fn av1_units() -> Vec<Vec<u8>> {
    let mut cmd = ffmpeg::ffmpeg();
    cmd.args("-f lavfi -i testsrc2=s=320x240:r=25 -frames:v 50 -c:v libaom-av1 -usage realtime".split(' '));
    cmd.args("-cpu-used 8 -lag-in-frames 0 -g 25 -f ivf -".split(' '));
    let file = output("ffmpeg, encoding AV1", &mut cmd);
    let mut rest = &file[32..];
    let mut units = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<12>() {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let (unit, after) = after.split_at(length as usize);
        units.push(unit.to_vec());
        rest = after;
    }
    assert_eq!(units.len(), 50);
    units
}

#[test]
fn av1_passes_and_has_still_pictures() {
    let relay = Relay::start(Options::publish());
    let sdp =
        "v=0\r\nm=video 0 RTP/AVP 98\r\na=rtpmap:98 AV1/90000\r\na=fmtp:98 profile=0\r\na=control:v\r\n";
    let (mut conn, tracks) = record(&relay, "av1", sdp);
    let units = av1_units();
    // Packets larger than a datagram, so that the relay has to cut them as well.
    let packets_of = |n: u32| {
        let mut packets = Vec::new();
        let mut packetizer = Packetizer::new(&tracks[0], 7, 0, 20_000).unwrap();
        let unit = AccessUnit {
            track: tracks[0].id,
            pts: MediaTime::new(i64::from(n) * 3600, Rate::VIDEO),
            keyframe: n.is_multiple_of(25),
            data: units[n as usize % units.len()].clone().into(),
        };
        packetizer.packetize(&unit, &mut packets);
        assert_eq!(packets.len(), 1);
        packets[0][2..4].copy_from_slice(&(n as u16).to_be_bytes());
        packets.remove(0)
    };
    while_sending(
        &mut conn,
        |conn, n| conn.send_packet(0, &packets_of(n)),
        || {
            relay.wait_for_state("av1", "ready");
            let answer = http::get(relay.addr("http"), "/live/av1/snapshot.jpg");
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(ffmpeg::probe(&answer.body, "width,height"), "320,240");
            let conn = Conn::open(Ipv4Addr::LOCALHOST.into(), relay.addr("rtsp"));
            let mut viewer = Viewer::watch(conn, "av1", Transport::Tcp);
            while viewer.packets() < 60 {
                assert!(viewer.receive());
            }
            assert!(viewer.conn.largest <= 1472);
            // The first packet is the beginning of a sequence: so says the aggregation header.
            let first = viewer.conn.taken.iter().find(|p| p.0 == 0);
            assert_eq!(first.map(|p| p.1[HEADER_LEN] & 0x88), Some(0x08));
        },
    );
    relay.stop();
}

#[test]
fn klv_and_data_that_nobody_knows_pass_untouched() {
    let relay = Relay::start(Options::publish());
    let sdp = "v=0\r\nm=application 0 RTP/AVP 100\r\na=rtpmap:100 smpte336m/90000\r\na=control:k\r\n\
        m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:m\r\n";
    let (mut conn, _) = record(&relay, "data", sdp);
    let packet = |payload_type: u8, n: u32| {
        let mut packet = vec![0x80, 0x80 | payload_type];
        packet.extend((n as u16).to_be_bytes());
        packet.extend((n * 3600).to_be_bytes());
        packet.extend([0, 0, 0, payload_type]);
        packet.extend([0x06, 0x0e, 0x2b, 0x34]);
        packet.extend(n.to_be_bytes());
        packet
    };
    while_sending(
        &mut conn,
        |conn, n| {
            conn.send_packet(0, &packet(100, n));
            conn.send_packet(2, &packet(107, n));
        },
        || {
            relay.wait_for_state("data", "ready");
            let conn = Conn::open(Ipv4Addr::LOCALHOST.into(), relay.addr("rtsp"));
            let mut viewer = Viewer::watch(conn, "data", Transport::Tcp);
            while viewer.packets() < 40 {
                assert!(viewer.receive());
            }
            for (channel, payload_type) in [(0, 100), (2, 107)] {
                let mine = |p: &&(u8, Vec<u8>)| p.0 == channel;
                let got: Vec<_> = viewer.conn.taken.iter().filter(mine).map(|p| &p.1).collect();
                assert!(got.len() > 10, "channel {channel}: {} packets", got.len());
                let number = |p: &[u8]| u32::from_be_bytes(p[16..20].try_into().unwrap());
                let first = number(got[0]);
                for (n, got) in (first..).zip(got) {
                    assert_eq!(got[1] & 0x7f, payload_type);
                    // But for our sequence number and source it is what was sent.
                    assert_eq!(got[12..], packet(payload_type, n)[12..], "number {n}");
                }
            }
        },
    );
    relay.stop();
}
