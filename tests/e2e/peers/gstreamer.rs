//! GStreamer's command line: `rtspclientsink` publishes, `rtspsrc` reads. It reads H.264 only: that is what the matrix
//! needs.

use std::path::Path;
use std::process::Command;

use md5::Digest;
use md5::Md5;
use tempfile::NamedTempFile;

use crate::clips::Clip;
use crate::peers::Peer;
use crate::peers::Transport;
use crate::relay::DEADLINE;

fn launch(pipeline: &str) -> Command {
    let mut cmd = Command::new("gst-launch-1.0");
    cmd.arg("-q").args(pipeline.split_ascii_whitespace());
    cmd
}

/// Publishes the clip in real time and without re-encoding.
pub fn publish(clip: &Clip, url: &str, transport: Transport) -> Peer {
    publish_with(clip, url, &format!("protocols={transport}"))
}

/// The same with these properties of `rtspclientsink`.
pub fn publish_with(clip: &Clip, url: &str, properties: &str) -> Peer {
    let pipeline = format!(
        "filesrc location={} ! qtdemux ! h264parse config-interval=-1 ! identity sync=true \
         ! rtspclientsink location={url} {properties}",
        clip.path.display()
    );
    Peer::spawn("gst-launch, publishing", &mut launch(&pipeline))
}

/// Publishes a Matroska file of one track over TCP, in real time and without re-encoding. `parser` is what its codec
/// needs before the payloader, which `rtspclientsink` chooses.
pub fn publish_file(file: &Path, parser: &str, url: &str) -> Peer {
    let pipeline = format!(
        "filesrc location={} ! matroskademux ! {parser} identity sync=true \
         ! rtspclientsink location={url} protocols=tcp",
        file.display()
    );
    Peer::spawn("gst-launch, publishing", &mut launch(&pipeline))
}

/// Reads a path until so many pictures are decoded; their checksums.
#[track_caller]
pub fn read(url: &str, transport: Transport, clip: &Clip, pictures: usize) -> Vec<String> {
    read_with(url, &format!("protocols={transport}"), clip, pictures)
}

/// The same with these properties of `rtspsrc`.
#[track_caller]
pub fn read_with(url: &str, properties: &str, clip: &Clip, pictures: usize) -> Vec<String> {
    let out = NamedTempFile::new().unwrap();
    let pipeline = format!(
        "rtspsrc location={url} {properties} latency=500 ! rtph264depay ! h264parse ! avdec_h264 \
         ! videoconvert ! video/x-raw,format=I420 ! identity eos-after={} ! filesink location={}",
        pictures + 1,
        out.path().display()
    );
    let mut peer = Peer::spawn("gst-launch, reading", &mut launch(&pipeline));
    let status = peer.wait(DEADLINE);
    assert!(status.success(), "gst-launch: {status}: {}", peer.log());
    let raw = std::fs::read(out.path()).unwrap();
    let size = clip.width * clip.height * 3 / 2;
    raw.chunks_exact(size)
        .map(|p| Md5::digest(p).iter().map(|b| format!("{b:02x}")).collect())
        .collect()
}
