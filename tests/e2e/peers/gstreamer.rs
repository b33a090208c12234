//! GStreamer's command line: `rtspclientsink` publishes codecs that need a payloader of its own. H.264 both ways is in
//! `matrix`, by the commands of README.

use std::path::Path;
use std::process::Command;

use crate::peers::Peer;

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
