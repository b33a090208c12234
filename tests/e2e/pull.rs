//! Sources that come and go: their readers stay, and see the source's very pictures.
//!
//! Waits for counts and states, never for time: an absence is as long as so many attempts.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::clips;
use crate::device::Device;
use crate::device::Pictures;
use crate::device::Script;
use crate::http;
use crate::peers::Peer;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::DEADLINE;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;

/// A reader that stays, and what it has seen so far.
struct Watcher {
    peer: Peer,
    out: NamedTempFile,
}

impl Watcher {
    fn start(relay: &Relay, path: &str, transport: Transport) -> Self {
        let out = NamedTempFile::new().unwrap();
        let url = relay.rtsp(path);
        let input = ["-rtsp_transport", &transport.to_string(), "-i", &url];
        let output = ["-map", "0:v:0", "-flush_packets", "1"];
        let peer = ffmpeg::reading(&input, &output, out.path());
        let watcher = Self { peer, out };
        watcher.sees_more_than(0);
        watcher
    }
    fn pictures(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.out.path()).unwrap();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        ffmpeg::parse(whole, 0)
    }
    /// Waits for pictures beyond so many, and tells how many there are.
    #[track_caller]
    fn sees_more_than(&self, count: usize) -> usize {
        eventually("the reader sees more", || {
            let seen = self.pictures().len();
            (seen > count).then_some(seen)
        })
    }
    /// Nothing that it saw was damaged or doubled, and it had nothing to complain of.
    #[track_caller]
    fn saw_only(self, pictures: &Pictures) {
        let seen = self.pictures();
        let place: HashMap<&String, usize> = pictures.clip.pictures.iter().zip(0..).collect();
        let places: Vec<usize> = seen
            .iter()
            .enumerate()
            .map(|(n, md5)| {
                *place
                    .get(md5)
                    .unwrap_or_else(|| panic!("picture {n} is not the source's"))
            })
            .collect();
        // The clip begins again after half a minute.
        let back = places.windows(2).filter(|w| w[1] <= w[0]).count();
        assert!(back <= 3, "{back} times back: {places:?}");
        let log = self.peer.log();
        assert!(log.trim().is_empty(), "the reader complains: {log}");
    }
}

fn pulling(device: &Device, options: &str) -> Relay {
    let source = format!(
        "cam={}#retry_first=20ms&retry_max=200ms{options}",
        device.source()
    );
    let relay = Relay::start(Options::sources(&[&source]));
    relay.wait_for_state("cam", "ready");
    relay
}

fn first_path(relay: &Relay) -> serde_json::Value {
    relay.api("/api/v1/paths")["items"][0].clone()
}

/// How often sources were opened, or tried.
fn attempts(relay: &Relay) -> u64 {
    let metrics = http::get(relay.addr("http"), "/metrics").text();
    let line = metrics.lines().find(|l| l.starts_with("source_starts_total"));
    let line = line.or_else(|| metrics.lines().find(|l| l.contains("source_starts_total ")));
    line.and_then(|l| l.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no source_starts in {metrics}"))
}

#[test]
fn fifty_restarts_of_a_camera_leave_its_readers_connected() {
    let device = Device::start("hikvision");
    let relay = pulling(&device, "");
    let tcp = Watcher::start(&relay, "cam", Transport::Tcp);
    let udp = Watcher::start(&relay, "cam", Transport::Udp);
    let mut seen = tcp.sees_more_than(0);
    for restart in 1..=50 {
        let plays = device.plays();
        device.restart();
        eventually(&format!("it is played again after restart {restart}"), || {
            (device.plays() > plays).then_some(())
        });
        seen = tcp.sees_more_than(seen.max(tcp.pictures().len()));
    }
    udp.sees_more_than(udp.pictures().len());
    assert_eq!(device.plays(), 51);
    tcp.saw_only(Pictures::of("h264"));
    udp.saw_only(Pictures::of("h264"));
    assert_eq!(first_path(&relay)["last_error"], serde_json::Value::Null);
    relay.stop();
}

#[test]
fn a_long_absence_leaves_readers_connected_and_is_told() {
    let mut device = Device::start("gw-security");
    let source = format!("cam={}#retry_first=100ms&retry_max=500ms", device.source());
    // Sessions live for 5 s, and 5 s more: the absence is longer.
    let relay = Relay::start(Options::sources(&[&source]).rtsp("session_timeout = \"5s\""));
    relay.wait_for_state("cam", "ready");
    let watcher = Watcher::start(&relay, "cam", Transport::Tcp);
    let by_udp = Watcher::start(&relay, "cam", Transport::Udp);
    let before = attempts(&relay);
    device.go_away();
    relay.wait_for_state("cam", "waiting");
    eventually("it was tried 28 times", || {
        (attempts(&relay) >= before + 28).then_some(())
    });
    let path = first_path(&relay);
    assert_eq!(
        path["last_error"],
        "the source cannot be reached; check its address, and that it is switched on"
    );
    assert!(path["next_attempt"].is_string(), "{path}");
    assert_eq!(path["viewers"], 2);
    let seen = watcher.pictures().len().max(by_udp.pictures().len());
    device.come_back(device.addr());
    watcher.sees_more_than(seen);
    by_udp.sees_more_than(seen);
    relay.wait_for_state("cam", "ready");
    let path = first_path(&relay);
    assert!(
        path["last_error"].is_null() && path["next_attempt"].is_null(),
        "{path}"
    );
    watcher.saw_only(Pictures::of("h264"));
    by_udp.saw_only(Pictures::of("h264"));
    relay.stop();
}

/// A server that sends whoever asks elsewhere.
fn redirector(addr: SocketAddr, target: &str) -> Device {
    let text = format!(
        "make: a redirector\nquirk: 302\nknown: RFC 2326\npath: /door\nvideo: h264 96 /none\n\n=== DESCRIBE\n\
         RTSP/1.0 302 Moved Temporarily\nCSeq: {{cseq}}\nLocation: {target}\n"
    );
    Device::start_at(Script::parse("redirector", &text), addr)
}

#[test]
fn a_camera_that_gets_another_address_is_followed_with_its_readers() {
    let any = |host| SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0));
    let mut camera = Device::start_at(Script::load("gw-security"), any(2));
    let mut door = redirector(any(1), &camera.source());
    let relay = pulling(&door, "");
    let watcher = Watcher::start(&relay, "cam", Transport::Tcp);
    camera.go_away();
    relay.wait_for_state("cam", "waiting");
    let seen = watcher.pictures().len();
    camera.come_back(any(3));
    let at = door.addr();
    door.go_away();
    let _door = redirector(at, &camera.source());
    watcher.sees_more_than(seen);
    watcher.saw_only(Pictures::of("h264"));
    relay.stop(); // also looks for both addresses in all it has left
}

#[test]
fn a_camera_that_is_connected_and_sends_nothing_is_opened_again() {
    let device = Device::start("dahua");
    let relay = pulling(&device, "&silence=1s");
    let watcher = Watcher::start(&relay, "cam", Transport::Tcp);
    device.freeze(true);
    eventually("it is opened again", || (device.plays() > 1).then_some(()));
    eventually("the silence is told", || {
        let error = first_path(&relay)["last_error"].clone();
        (error == "the source gave no frame for 1 s; it is opened again").then_some(())
    });
    device.freeze(false);
    let seen = watcher.pictures().len();
    watcher.sees_more_than(seen + 10);
    watcher.saw_only(Pictures::of("h264"));
    relay.stop();
}

#[test]
fn a_source_on_demand_is_opened_for_readers_and_left_after_them() {
    let device = Device::start("hikvision");
    let source = format!("cam={}#on_demand", device.source());
    let relay = Relay::start(Options::sources(&[&source]));
    relay.wait_for_state("cam", "waiting");
    assert_eq!(device.seen(), Vec::<String>::new());
    let got = ffmpeg::read(&relay.rtsp("cam"), Transport::Tcp, 30);
    clips::assert_contiguous(&Pictures::of("h264").clip.pictures, &got, 30, "on demand");
    assert_eq!(device.plays(), 1);
    eventually("it is left in peace", || {
        let left = device.seen().iter().any(|r| r.starts_with("TEARDOWN"));
        (left && first_path(&relay)["state"] == "waiting").then_some(())
    });
    let again = ffmpeg::read(&relay.rtsp("cam"), Transport::Udp, 30);
    clips::assert_contiguous(
        &Pictures::of("h264").clip.pictures,
        &again,
        30,
        "on demand, again",
    );
    assert_eq!(device.plays(), 2);
    relay.stop();
}

#[test]
fn a_still_picture_is_demand_too() {
    let device = Device::start("ubiquiti");
    let source = format!("cam={}#on_demand", device.source());
    let relay = Relay::start(Options::sources(&[&source]));
    relay.wait_for_state("cam", "waiting");
    let answer = http::get(relay.addr("http"), "/live/cam/snapshot.jpg");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(device.plays(), 1);
    relay.stop();
}

#[test]
fn a_camera_that_comes_back_as_another_ends_its_readers_streams() {
    let mut device = Device::start("gw-security");
    let at = device.addr();
    let path = device.script.get("path").to_owned();
    let relay = pulling(&device, "");
    let mut watcher = Watcher::start(&relay, "cam", Transport::Tcp);
    device.go_away();
    let other = include_str!("../devices/gw-security.txt")
        .replace("h264 96", "h265 96")
        .replace("H264/90000", "H265/90000")
        .replace("profile-level-id=4D001E;packetization-mode=1;", "");
    let other = Device::start_at(Script::parse("another", &other), at);
    assert_eq!(other.script.get("path"), path);
    watcher.peer.wait(DEADLINE);
    let got = ffmpeg::read(&relay.rtsp("cam"), Transport::Tcp, 30);
    clips::assert_contiguous(&Pictures::of("h265").clip.pictures, &got, 30, "the other camera");
    relay.stop();
}

#[test]
fn rtsp_in_http_is_a_transport() {
    let device = Device::start("hikvision");
    let relay = pulling(&device, "&transport=http");
    let got = ffmpeg::read(&relay.rtsp("cam"), Transport::Tcp, 40);
    clips::assert_contiguous(&Pictures::of("h264").clip.pictures, &got, 40, "through a tunnel");
    assert!(
        device.seen()[0].starts_with("GET /Streaming"),
        "{:?}",
        device.seen()
    );
    relay.stop();
}

#[test]
fn wrong_credentials_are_told_and_not_tried_over_and_over() {
    let device = Device::start("hikvision");
    let wrong = device.source().replace(crate::device::PASSWORD, "wrong-pass-3k");
    let none = wrong.replace("viewer:wrong-pass-3k@", "");
    let relay = Relay::start(Options::sources(&[
        &format!("a={wrong}#retry_first=10ms"),
        &format!("b={none}#retry_first=10ms"),
    ]));
    let error = |n: usize| relay.api("/api/v1/paths")["items"][n]["last_error"].to_string();
    eventually("both are told", || {
        let told =
            error(0).contains("refuses this user and password") && error(1).contains("asks for a user");
        told.then_some(())
    });
    let asked = device.seen().len();
    assert!(asked <= 12, "{:?}", device.seen());
    let next = relay.api("/api/v1/paths")["items"][0]["next_attempt"].clone();
    let next: jiff::Timestamp = next.as_str().unwrap().parse().unwrap();
    assert!(next > jiff::Timestamp::now() + Duration::from_secs(10), "{next}");
    let log = relay.stop();
    assert!(!log.contains("wrong-pass-3k"), "{log}");
}
