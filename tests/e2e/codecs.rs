//! Every codec that ffmpeg puts into RTP, published and read by ffmpeg through the relay: what comes out is what is
//! in the file. Twice: in packets of the usual size, and in packets of 30 KB, which the relay cuts anew. And what
//! GStreamer packs otherwise. What neither can publish is in `raw`.

use std::collections::HashSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use crate::clips::assert_contiguous;
use crate::http;
use crate::peers::Peer;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::peers::gstreamer;
use crate::peers::output;
use crate::relay::Options;
use crate::relay::Relay;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

/// How what comes out is compared with what went in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compare {
    /// Checksums of decoded pictures.
    Pictures,
    /// Checksums of coded frames.
    Frames,
    /// Bytes, in this format of ffmpeg: packets may cut them anywhere.
    Bytes(&'static str),
}
use Compare::Bytes;
use Compare::Frames;
use Compare::Pictures;

/// A codec, as ffmpeg makes, publishes and reads it.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// The encoder and its options.
    encoder: &'static str,
    /// What publishing needs.
    publish: &'static str,
    /// What `/api/v1/paths` calls it.
    codec: &'static str,
    compare: Compare,
}

const fn case(name: &'static str, codec: &'static str, encoder: &'static str, compare: Compare) -> Case {
    let publish = "";
    Case {
        name,
        encoder,
        publish,
        codec,
        compare,
    }
}

const VPX: &str = "-deadline realtime -cpu-used 8 -g 25 -b:v 1M";

const PICTURES: [Case; 8] = [
    case(
        "h264",
        "H.264",
        "-c:v libx264 -preset ultrafast -tune zerolatency -g 25",
        Pictures,
    ),
    case(
        "h265",
        "H.265",
        "-c:v libx265 -preset ultrafast -g 25 -x265-params log-level=0:bframes=0",
        Pictures,
    ),
    case("vp8", "VP8", "-c:v libvpx", Pictures),
    Case {
        publish: "-strict experimental",
        ..case("vp9", "VP9", "-c:v libvpx-vp9", Pictures)
    },
    case(
        "mpeg1",
        "MPEG-1/2 video",
        "-c:v mpeg1video -g 25 -q:v 3",
        Pictures,
    ),
    case(
        "mpeg2",
        "MPEG-1/2 video",
        "-c:v mpeg2video -g 25 -q:v 3",
        Pictures,
    ),
    case("mpeg4", "MPEG-4 part 2", "-c:v mpeg4 -g 25 -q:v 3", Pictures),
    // Nothing in the relay looks into this one, so readers begin anywhere.
    case("theora", "other", "-c:v libtheora -g 25 -q:v 7", Frames),
];

const SOUND: [Case; 11] = [
    case("mp3", "MPEG audio", "-c:a libmp3lame -b:a 128k", Frames),
    case("mp2", "MPEG audio", "-c:a mp2 -b:a 128k", Frames),
    case("aac", "AAC", "-c:a aac -b:a 96k", Frames),
    Case {
        publish: "-rtpflags latm",
        ..case("latm", "AAC-LATM", "-c:a aac -b:a 96k", Frames)
    },
    case("opus", "Opus", "-c:a libopus -b:a 64k", Frames),
    Case {
        publish: "-strict experimental",
        ..case("vorbis", "Vorbis", "-c:a libvorbis -q:a 3", Frames)
    },
    case(
        "pcmu",
        "G.711 mu-law",
        "-c:a pcm_mulaw -ar 8000 -ac 1",
        Bytes("mulaw"),
    ),
    case(
        "pcma",
        "G.711 A-law",
        "-c:a pcm_alaw -ar 8000 -ac 1",
        Bytes("alaw"),
    ),
    case("g722", "G.722", "-c:a g722 -ar 16000 -ac 1", Bytes("g722")),
    case("l16", "LPCM", "-c:a pcm_s16be", Bytes("s16be")),
    case("l24", "LPCM", "-c:a pcm_s24be", Bytes("s24be")),
];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Case {
    /// Half a minute in which every picture and every frame of sound is another. Made once for each container.
    fn file(&self, container: &str) -> PathBuf {
        static MAKING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = MAKING.lock();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("codec-{}.{container}", self.name));
        if path.exists() {
            return path;
        }
        let half = path.with_extension(format!("{}.tmp", std::process::id()));
        let video = self.encoder.starts_with("-c:v");
        let input = if video {
            "testsrc2=s=320x240:r=25"
        } else {
            "anoisesrc=r=48000:a=0.3:seed=7"
        };
        let vpx = if self.encoder.contains("libvpx") { VPX } else { "" };
        let mut cmd = ffmpeg::ffmpeg();
        cmd.args(["-f", "lavfi", "-i", input, "-t", "30"]);
        cmd.args(words(self.encoder)).args(words(vpx));
        if video {
            cmd.args(["-pix_fmt", "yuv420p"]);
        }
        output(self.name, cmd.args(["-f", container]).arg(&half));
        std::fs::rename(&half, &path).unwrap();
        path
    }
    fn publish(&self, file: &Path, url: &str, large: bool) -> Peer {
        let mut cmd = ffmpeg::ffmpeg();
        cmd.arg("-re").arg("-i").arg(file).args(["-c", "copy"]);
        cmd.args(words(self.publish))
            .args(["-f", "rtsp", "-rtsp_transport", "tcp"]);
        if large {
            cmd.args(["-pkt_size", "30000"]);
        }
        Peer::spawn("ffmpeg, publishing", cmd.arg(url))
    }
    /// What a reader gets, compared with the file.
    #[track_caller]
    fn check(&self, file: &Path, url: &str, transport: Transport) {
        let what = format!("{self}, {transport}");
        let transport = transport.to_string();
        let reading = ["-rtsp_transport", &transport, "-i", url];
        let file = file.to_str().unwrap();
        let file = ["-i", file];
        match self.compare {
            Pictures => {
                let all = ffmpeg::checksums(&file, &["-map", "0:v:0"]);
                let distinct: HashSet<_> = all.iter().collect();
                assert_eq!((all.len(), distinct.len()), (750, 750), "{what}: the file");
                let got = ffmpeg::checksums(&reading, &["-map", "0:v:0", "-frames:v", "60"]);
                assert_contiguous(&all, &got, 60, &what);
            }
            Frames => {
                let all = ffmpeg::checksums(&file, &["-c", "copy"]);
                // Theora's reader marks no keyframes, for which `copy` would wait.
                let some = words("-c copy -copyinkf -frames:a 80 -frames:v 80").collect::<Vec<_>>();
                let got = ffmpeg::checksums(&reading, &some);
                assert_contiguous(&all, &got, 80, &what);
            }
            Bytes(format) => {
                let raw = |input: &[&str], more: &[&str]| {
                    let mut cmd = ffmpeg::ffmpeg();
                    cmd.args(input)
                        .args(["-c", "copy"])
                        .args(more)
                        .args(["-f", format, "-"]);
                    output(&what, &mut cmd)
                };
                let all = raw(&file, &[]);
                let got = raw(&reading, &["-t", "2"]);
                assert!(got.len() > 10_000, "{what}: {} bytes", got.len());
                let found = all.windows(got.len()).any(|w| w == got);
                assert!(found, "{what}: the bytes are not those of the file");
            }
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace()
}

fn codec_of(relay: &Relay, path: &str) -> String {
    let paths = relay.api("/api/v1/paths");
    let mut items = paths["items"].as_array().unwrap().iter();
    let item = items.find(|p| p["path"] == path).expect("the path is there");
    item["tracks"][0]["codec"].as_str().unwrap().to_owned()
}

/// All codecs at once, each on its own path.
fn all_pass(cases: &[Case], large: bool) {
    let relay = Relay::start(Options::publish());
    let files: Vec<_> = cases.iter().map(|c| c.file("nut")).collect();
    let pairs = || cases.iter().zip(&files);
    let publishers: Vec<_> = pairs()
        .map(|(case, file)| case.publish(file, &relay.rtsp(case.name), large))
        .collect();
    thread::scope(|scope| {
        for (case, file) in pairs() {
            let relay = &relay;
            scope.spawn(move || passes(relay, case, file));
            if large && case.codec != "other" {
                scope.spawn(move || fits_datagrams(relay, case));
            }
        }
    });
    if large {
        let metrics = http::get(relay.addr("http"), "/metrics").text();
        let line = metrics
            .lines()
            .find(|l| l.starts_with("louver_packets_oversize_total "));
        let count = line
            .and_then(|l| l.rsplit(' ').next())
            .and_then(|n| n.parse::<u64>().ok());
        assert!(count.is_some_and(|n| n > 0), "{line:?}");
    }
    drop(publishers);
    relay.stop();
}

/// What is published is known by its name, and reaches readers over TCP and UDP.
fn passes(relay: &Relay, case: &Case, file: &Path) {
    relay.wait_for_state(case.name, "ready");
    assert_eq!(codec_of(relay, case.name), case.codec, "{case}");
    let url = &relay.rtsp(case.name);
    thread::scope(|s| {
        s.spawn(|| case.check(file, url, Transport::Tcp));
        s.spawn(|| case.check(file, url, Transport::Udp));
    });
}

/// No packet that a reader gets, over TCP or UDP, is larger than a datagram.
fn fits_datagrams(relay: &Relay, case: &Case) {
    relay.wait_for_state(case.name, "ready");
    let conn = Conn::open(Ipv4Addr::LOCALHOST.into(), relay.addr("rtsp"));
    let mut viewer = Viewer::watch(conn, case.name, Transport::Tcp);
    while viewer.packets() < 100 {
        assert!(viewer.receive(), "{case}: the relay closed the connection");
    }
    assert!(
        viewer.conn.largest <= 1472,
        "{case}: a packet of {}",
        viewer.conn.largest
    );
}

/// What GStreamer's payloaders make of codecs, where it differs from ffmpeg's or ffmpeg has none.
const GSTREAMER: [(Case, &str); 4] = [
    (PICTURES[2], ""),
    (PICTURES[3], "vp9parse !"),
    (PICTURES[5], "mpegvideoparse !"),
    (case("ac3", "AC-3", "-c:a ac3 -b:a 192k", Frames), "ac3parse !"),
];

#[test]
fn what_gstreamer_publishes_passes_unchanged() {
    let relay = Relay::start(Options::publish());
    thread::scope(|scope| {
        for (case, parser) in GSTREAMER {
            let relay = &relay;
            scope.spawn(move || {
                let file = case.file("matroska");
                let _publisher = gstreamer::publish_file(&file, parser, &relay.rtsp(case.name));
                passes(relay, &case, &file);
            });
        }
    });
    relay.stop();
}

/// GStreamer alone has L8: it publishes, and reads by TCP and UDP.
#[test]
fn l8_passes_between_gstreamer_and_gstreamer_unchanged() {
    let case = case("l8", "LPCM", "-c:a pcm_u8", Bytes("u8"));
    let file = case.file("matroska");
    let relay = Relay::start(Options::publish());
    let url = relay.rtsp(case.name);
    let _publisher = gstreamer::publish_file(&file, "", &url);
    relay.wait_for_state(case.name, "ready");
    assert_eq!(codec_of(&relay, case.name), case.codec);
    let mut samples = ffmpeg::ffmpeg();
    samples.arg("-i").arg(&file).args(words("-c copy -f u8 -"));
    let samples = output("ffmpeg, taking the samples out", &mut samples);
    for transport in [Transport::Tcp, Transport::Udp] {
        let got = gstreamer::read_bytes(&url, transport, "rtpL8depay", 80);
        assert!(got.len() > 10_000, "{transport}: {} bytes", got.len());
        let found = samples.windows(got.len()).any(|w| w == got);
        assert!(found, "{transport}: the bytes are not those of the file");
    }
    relay.stop();
}

#[test]
fn pictures_of_every_codec_pass_unchanged() {
    all_pass(&PICTURES, false);
}

#[test]
fn sound_of_every_codec_passes_unchanged() {
    all_pass(&SOUND, false);
}

#[test]
fn pictures_in_packets_of_30_kilobytes_reach_readers_over_udp() {
    all_pass(&PICTURES, true);
}

#[test]
fn sound_in_packets_of_30_kilobytes_reaches_readers_over_udp() {
    all_pass(&SOUND, true);
}
