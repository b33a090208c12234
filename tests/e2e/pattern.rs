//! The test picture, which goes the way of a camera's: its numbers show that nothing is lost, doubled or out of order
//! between the encoder and a player.

use std::collections::HashSet;

use louver::ingest::pattern::read_number;

use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::peers::output;
use crate::peers::vlc;
use crate::relay::Options;
use crate::relay::Relay;

const WIDTH: usize = 320;
const HEIGHT: usize = 240;

/// The numbers that are burned into what a reader decodes.
#[track_caller]
fn numbers(url: &str, transport: Transport, pictures: usize) -> Vec<u32> {
    let mut cmd = ffmpeg::ffmpeg();
    cmd.args(["-rtsp_transport", &transport.to_string(), "-i", url]);
    cmd.args(["-frames:v", &pictures.to_string(), "-vsync", "passthrough"]);
    cmd.args(["-pix_fmt", "gray", "-f", "rawvideo", "-"]);
    let luma = output("ffmpeg, reading the test picture", &mut cmd);
    let frames = luma.chunks_exact(WIDTH * HEIGHT);
    frames
        .map(|f| read_number(f, WIDTH, WIDTH as u32).expect("a readable number"))
        .collect()
}

#[test]
fn every_picture_arrives_once_and_in_order_over_tcp_and_udp() {
    let relay = Relay::start(Options::sources(&["pattern:?size=320x240&fps=25"]));
    relay.wait_for_state("webcam", "ready");
    let url = &relay.rtsp("webcam");
    std::thread::scope(|s| {
        for transport in [Transport::Tcp, Transport::Udp] {
            s.spawn(move || {
                let seen = numbers(url, transport, 80);
                assert_eq!(seen.len(), 80, "{transport}");
                // The relay skips pictures when the machine is too slow for it, but never goes back.
                assert!(seen.is_sorted_by(|a, b| a < b), "{transport}: {seen:?}");
                let skipped = seen[79] - seen[0] - 79;
                assert!(skipped < 40, "{transport}: {skipped} of 80 skipped: {seen:?}");
            });
        }
    });
    relay.stop();
}

#[test]
fn stock_vlc_plays_it() {
    let relay = Relay::start(Options::sources(&["pattern:?size=320x240&fps=25"]));
    relay.wait_for_state("webcam", "ready");
    // Each picture is another.
    vlc::read(&relay.rtsp("webcam"), |seen| {
        seen.pictures.iter().collect::<HashSet<_>>().len() >= 75
    });
    relay.stop();
}
