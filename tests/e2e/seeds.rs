//! The command of the person who asked for this program, letter by letter (but for the port): it names no codec, so
//! ffmpeg sends MPEG-4 part 2. And the same as MJPEG, which is what their camera gives: there ffmpeg must be told to
//! use the standard Huffman tables, or it says that RFC 2435 wants them and sends no packet at all; and to repeat the
//! quantization table, or its own reader refuses the packets.

use std::process::Command;
use std::thread;

use tempfile::NamedTempFile;

use crate::clips::assert_contiguous;
use crate::clips::longest_run;
use crate::peers::Peer;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::peers::vlc;
use crate::relay::Options;
use crate::relay::Relay;

#[test]
fn a_stranger_publishes_without_naming_a_codec_and_vlc_and_ffmpeg_watch() {
    let relay = Relay::start(Options::publish());
    let port = relay.addr("rtsp").port();
    let publisher = stranger(&format!(
        "-re -f lavfi -i testsrc2=s=320x240:r=30 -t 20 -f rtsp -rtsp_transport tcp rtsp://localhost:{port}/mystream"
    ));
    let sent = encoded(&["mpeg4"]);
    relay.wait_for_state("mystream", "ready");
    let url = &relay.rtsp("mystream");
    thread::scope(|s| {
        s.spawn(|| vlc::read(url, |seen| longest_run(&sent, &seen.pictures) >= 90));
        s.spawn(|| assert_contiguous(&sent, &ffmpeg::read(url, Transport::Udp, 120), 120, "ffmpeg, udp"));
        s.spawn(|| to_the_end(url, &sent));
    });
    publisher.wait_silent();
    relay.stop();
}

#[test]
fn a_stranger_publishes_mjpeg_and_ffmpeg_watches() {
    let relay = Relay::start(Options::publish());
    let port = relay.addr("rtsp").port();
    let publisher = stranger(&format!(
        "-re -f lavfi -i testsrc2=s=320x240:r=30 -t 20 -c:v mjpeg -huffman default \
         -force_duplicated_matrix 1 -f rtsp -rtsp_transport tcp rtsp://localhost:{port}/mystream"
    ));
    let sent = encoded(&["mjpeg", "-huffman", "default", "-force_duplicated_matrix", "1"]);
    relay.wait_for_state("mystream", "ready");
    let url = &relay.rtsp("mystream");
    thread::scope(|s| {
        s.spawn(|| assert_contiguous(&sent, &ffmpeg::read(url, Transport::Udp, 120), 120, "ffmpeg, udp"));
        s.spawn(|| to_the_end(url, &sent));
    });
    publisher.wait_silent();
    relay.stop();
}

fn stranger(arguments: &str) -> Peer {
    // Their terminal shows warnings too; only errors are of interest here.
    let mut cmd = Command::new("ffmpeg");
    Peer::spawn(
        "the stranger's ffmpeg",
        cmd.args(["-v", "error"]).args(arguments.split_ascii_whitespace()),
    )
}

/// What that ffmpeg sends: the encoder gives the same for the same input.
fn encoded(codec: &[&str]) -> Vec<String> {
    let file = NamedTempFile::with_suffix(".mkv").unwrap();
    let path = file.path().to_str().unwrap();
    let mut cmd = ffmpeg::ffmpeg();
    cmd.args(["-f", "lavfi", "-i", "testsrc2=s=320x240:r=30", "-t", "20", "-c:v"]);
    let status = cmd.args(codec).arg(path).status().unwrap();
    assert!(status.success());
    let pictures = ffmpeg::checksums(&["-i", path], &["-map", "0:v:0"]);
    assert_eq!(pictures.len(), 600);
    pictures
}

/// A reader that stays until the publisher leaves sees everything up to then, and the end.
fn to_the_end(url: &str, sent: &[String]) {
    let got = ffmpeg::checksums(&["-rtsp_transport", "tcp", "-i", url], &["-map", "0:v:0"]);
    assert_contiguous(sent, &got, 400, "ffmpeg, tcp, to the end");
    assert_eq!(
        got.last(),
        sent.last(),
        "the last picture arrives before the end does"
    );
}
