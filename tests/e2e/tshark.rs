//! Wireshark's dissectors read what the relay says, over TCP and UDP: they find nothing malformed.

use std::process::Command;
use std::time::Duration;

use crate::clips;
use crate::island::Island;
use crate::peers::Peer;
use crate::peers::output;
use crate::relay::DEADLINE;
use crate::relay::eventually;

/// Ways to publish, and to read.
const TRANSPORTS: [&str; 2] = ["tcp", "udp"];

#[test]
fn tshark_finds_nothing_malformed_in_what_ffmpeg_and_gstreamer_are_told() {
    let island = Island::start(&TRANSPORTS, "");
    let capture = island.scratch().join("all.pcapng");
    let mut cmd = island.inside("tshark");
    cmd.args(["-i", "lo", "-w"]).arg(&capture);
    let tshark = Peer::spawn("tshark, capturing", &mut cmd);
    eventually("a capture", || {
        tshark.log().contains("Capturing on").then_some(())
    });
    eventually("its file", || capture.exists().then_some(()));
    let clip = clips::h264_aac();
    let publish = |transport: &str| {
        let mut cmd = island.inside("ffmpeg");
        cmd.args(["-nostdin", "-v", "error", "-re", "-i"]).arg(&clip.path);
        cmd.args(["-c", "copy", "-f", "rtsp", "-rtsp_transport", transport]);
        Peer::spawn("ffmpeg, publishing", cmd.arg(island.url(transport)))
    };
    let publishers = TRANSPORTS.map(publish);
    let mut readers = Vec::new();
    for (path, transport) in TRANSPORTS.into_iter().flat_map(|p| TRANSPORTS.map(|t| (p, t))) {
        let mut ffmpeg = island.inside("ffmpeg");
        ffmpeg.args([
            "-nostdin",
            "-v",
            "error",
            "-rtsp_transport",
            transport,
            "-i",
            &island.url(path),
        ]);
        ffmpeg.args(["-t", "2", "-f", "null", "-"]);
        readers.push(Peer::spawn("ffmpeg, reading", &mut ffmpeg));
        let mut gstreamer = island.inside("gst-launch-1.0");
        let pipeline = format!(
            "-q rtspsrc location={} protocols={transport} ! rtph264depay ! identity eos-after=50 ! fakesink",
            island.url(path)
        );
        gstreamer.args(pipeline.split_whitespace());
        readers.push(Peer::spawn("gst-launch, reading", &mut gstreamer));
    }
    for reader in &mut readers {
        let status = reader.wait(DEADLINE);
        assert!(status.success(), "{}", reader.log());
    }
    drop(publishers);
    std::thread::sleep(Duration::from_millis(500)); // for the last packets to be written
    tshark.interrupt();

    let port = island.address.rsplit_once(':').unwrap().1.to_owned();
    let find = |filter: &str| -> Vec<String> {
        let mut cmd = Command::new("tshark");
        cmd.arg("-r")
            .arg(&capture)
            .args(["-2", "-d", &format!("tcp.port=={port},rtsp"), "-Y", filter]);
        cmd.args([
            "-T",
            "fields",
            "-e",
            "frame.number",
            "-e",
            "frame.protocols",
            "-e",
            "_ws.expert.message",
        ]);
        let text = output("tshark, reading", &mut cmd);
        String::from_utf8_lossy(&text)
            .lines()
            .map(str::to_owned)
            .collect()
    };
    for (what, least) in [
        ("rtsp.request", 40),
        ("rtsp.response", 40),
        ("rtp && udp", 200),
        ("rtp && tcp", 200),
        ("rtcp && udp", 4),
        ("rtcp && tcp", 4),
    ] {
        let found = find(what).len();
        assert!(
            found >= least,
            "{what}: {found} of at least {least}, so nothing was looked at"
        );
    }
    // Descriptions aside: tshark 4.0 stumbles over H.264 in them, over that of ffmpeg's own announcement as well.
    let bad = find(
        "!sdp && (_ws.malformed || rtcp.length_check == 0 || (rtsp && _ws.expert.severity >= \"Error\"))",
    );
    assert!(bad.is_empty(), "{bad:#?}");
}
