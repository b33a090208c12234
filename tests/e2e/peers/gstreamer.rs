//! GStreamer's command line: `rtspclientsink` publishes codecs that need a payloader of its own, and `rtspsrc` reads L8,
//! which ffmpeg cannot. H.264 both ways is in `matrix`, by the commands of README.

use std::path::Path;
use std::process::Command;

use tempfile::NamedTempFile;

use crate::peers::Peer;
use crate::peers::Transport;
use crate::relay::DEADLINE;

fn launch(pipeline: &str) -> Command {
    let mut cmd = Command::new("gst-launch-1.0");
    cmd.arg("-q").args(pipeline.split_ascii_whitespace());
    cmd
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

/// Reads so many buffers of a path's only track; the bytes that its depayloader makes of them.
///
/// How it ends is not looked at: at the end of a stream `rtspsrc` sometimes interrupts the PAUSE that it was about to send
/// and calls that an error (no PAUSE on the wire, then an orderly TEARDOWN). The bytes are all there by then.
#[track_caller]
pub fn read_bytes(url: &str, transport: Transport, depayloader: &str, buffers: u32) -> Vec<u8> {
    let out = NamedTempFile::new().unwrap();
    let pipeline = format!(
        "rtspsrc location={url} protocols={transport} ! {depayloader} ! identity eos-after={buffers} \
         ! filesink location={}",
        out.path().display()
    );
    Peer::spawn("gst-launch, reading", &mut launch(&pipeline)).wait(DEADLINE);
    std::fs::read(out.path()).unwrap()
}
