//! Wireshark's dissectors read what the relay says over TCP, UDP and multicast, and find nothing malformed.

use std::path::PathBuf;
use std::process::Command;

use crate::clips;
use crate::island::Island;
use crate::peers::Peer;
use crate::peers::output;
use crate::readme;
use crate::relay::eventually;
use crate::watch::Promise;
use crate::watch::Watch;
use crate::watch::wait_for_all;

/// What the relay sent: from its listener, and from its pair of ports.
const FROM_US: &str = "(tcp.srcport == 8554 || udp.srcport == 8000 || udp.srcport == 8001)";
/// Wireshark 4.0 does not remove emulation prevention bytes (ITU-T H.264 7.4.1) from the parameter sets in an SDP, and
/// calls malformed what it reads then: in ffmpeg's own announcements as in ours. With such a clock there are none.
const TICKS: &str = "-bsf:v h264_metadata=tick_rate=838860851/16777217";
/// Six seconds: each reader gets a second sender report.
const PICTURES: usize = 150;

#[test]
fn tshark_finds_nothing_malformed_in_what_the_relay_sends() {
    let island = Island::start(&["tcp", "udp"], "multicast = \"239.255.42.0/24\"");
    let capture = Capture::start(&island);
    let clip = clips::h264_aac();
    let rows = readme::table("Publisher");
    let publish = |name: &str, path: &str| {
        let row = rows.iter().find(|row| row.name() == name).unwrap();
        let row = row
            .with("/mystream", &format!("/{path}"))
            .with("-c copy", &format!("-c copy {TICKS}"));
        Peer::spawn(name, &mut island.enter(&row.publishing(&clip.path)))
    };
    let publishers = [publish("ffmpeg, TCP", "tcp"), publish("ffmpeg, UDP", "udp")];
    let rows = readme::table("Reader");
    let mut readers = Vec::new();
    for path in ["tcp", "udp"] {
        for name in [
            "ffmpeg, TCP",
            "ffmpeg, UDP",
            "ffmpeg, multicast",
            "GStreamer, TCP",
            "GStreamer, UDP",
        ] {
            let row = rows.iter().find(|row| row.name() == name).unwrap();
            readers.push(Watch::start(name, Promise::All, |out| {
                island.enter(&row.reading(path, out))
            }));
        }
    }
    let readers = wait_for_all(readers, &clip.pictures, PICTURES);
    // The publishers leave, so all readers are told BYE.
    publishers.into_iter().for_each(Peer::interrupt);
    for mut reader in readers {
        reader.wait();
    }
    let capture = capture.end();

    // What there is: protocols, with `203` for a BYE and so on. Else nothing was looked at.
    let ours = capture.find(FROM_US, &["frame.protocols", "ip.dst", "rtcp.pt"]);
    for (what, least) in [
        (&["rtsp"][..], 60),
        (&["sdp"], 10),
        (&["tcp", ":rtp"], 500),
        (&["udp", ":rtp"], 500),
        (&["239.255.42", ":rtp"], 200),
        (&["tcp", ":rtcp", "200"], 8),
        (&["udp", ":rtcp", "200"], 8),
        (&["239.255.42", ":rtcp", "200"], 2),
        (&["tcp", ":rtcp", "203"], 4),
        (&["udp", ":rtcp", "203"], 4),
        (&["239.255.42", ":rtcp", "203"], 2),
    ] {
        let found = ours.iter().filter(|l| what.iter().all(|w| l.contains(w))).count();
        assert!(found >= least, "{what:?}: {found} of at least {least}");
    }
    let bad = "_ws.malformed || _ws.expert.severity >= \"Error\" || rtcp.length_check == 0";
    let bad = capture.find(
        &format!("{FROM_US} && (rtsp || rtp || rtcp) && ({bad})"),
        &["frame.number", "frame.protocols", "_ws.expert.message"],
    );
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Everything on the island's loopback.
struct Capture<'a> {
    island: &'a Island,
    tshark: Option<Peer>,
    file: PathBuf,
}

impl<'a> Capture<'a> {
    fn start(island: &'a Island) -> Self {
        let file = island.scratch().join("all.pcapng");
        let mut cmd = island.inside("tshark");
        cmd.args(["-q", "-i", "lo", "-B", "16", "-w"]).arg(&file);
        let tshark = Some(Peer::spawn("tshark, capturing", &mut cmd));
        let capture = Self { island, tshark, file };
        capture.mark("everything from here on");
        capture
    }
    /// Sends a datagram of its own again and again until it stands in the file.
    fn mark(&self, text: &str) {
        let script = format!("echo '{text}' >/dev/udp/127.0.0.1/9");
        eventually(text, || {
            self.island.inside("bash").args(["-c", &script]).status().unwrap();
            let bytes = std::fs::read(&self.file).unwrap_or_default();
            bytes
                .windows(text.len())
                .any(|w| w == text.as_bytes())
                .then_some(())
        });
    }
    fn end(mut self) -> Self {
        self.mark("everything until here");
        self.tshark.take().unwrap().interrupt();
        self
    }
    /// These fields of each frame that a display filter lets through.
    fn find(&self, filter: &str, fields: &[&str]) -> Vec<String> {
        let mut cmd = Command::new("tshark");
        cmd.arg("-r")
            .arg(&self.file)
            .args(["-2", "-d", "tcp.port==8554,rtsp"]);
        // Nothing in SETUP's answers tells it the ports of groups.
        for ports in ["8002,rtp", "8003,rtcp", "8004,rtp", "8005,rtcp"] {
            cmd.args(["-d", &format!("udp.port=={ports}")]);
        }
        cmd.args(["-Y", filter, "-T", "fields"]);
        cmd.args(fields.iter().flat_map(|field| ["-e", field]));
        let text = output("tshark, reading", &mut cmd);
        String::from_utf8_lossy(&text)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}
