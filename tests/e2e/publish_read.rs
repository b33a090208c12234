//! The matrix: every way to publish H.264, read at once by every reader over every transport. Pictures must be the
//! source's, none lost, none twice.

use std::thread;

use crate::clips;
use crate::clips::Clip;
use crate::clips::assert_contiguous;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::peers::gstreamer;
use crate::peers::retina;
use crate::peers::vlc;
use crate::relay::Options;
use crate::relay::Relay;

/// Three seconds: three keyframes.
const PICTURES: usize = 75;

#[test]
fn what_ffmpeg_publishes_over_tcp_reaches_every_reader_unchanged() {
    let relay = Relay::start(Options::publish());
    let clip = clips::h264();
    let _publisher = ffmpeg::publish(clip, &relay.rtsp("mystream"), Transport::Tcp);
    everybody_reads(&relay, clip);
    relay.stop();
}

#[test]
fn what_ffmpeg_publishes_over_udp_reaches_every_reader_unchanged() {
    let relay = Relay::start(Options::publish());
    let clip = clips::h264();
    let _publisher = ffmpeg::publish(clip, &relay.rtsp("mystream"), Transport::Udp);
    everybody_reads(&relay, clip);
    relay.stop();
}

#[test]
fn what_gstreamer_publishes_over_tcp_reaches_every_reader_unchanged() {
    let relay = Relay::start(Options::publish());
    let clip = clips::h264();
    let _publisher = gstreamer::publish(clip, &relay.rtsp("mystream"), Transport::Tcp);
    everybody_reads(&relay, clip);
    relay.stop();
}

#[test]
fn what_gstreamer_publishes_over_udp_reaches_every_reader_unchanged() {
    let relay = Relay::start(Options::publish());
    let clip = clips::h264();
    let _publisher = gstreamer::publish(clip, &relay.rtsp("mystream"), Transport::Udp);
    everybody_reads(&relay, clip);
    relay.stop();
}

#[test]
fn h265_passes_and_several_paths_do_not_mix() {
    let relay = Relay::start(Options::publish());
    let (first, second) = (relay.rtsp("garden/gate"), relay.rtsp("Garden/Gate-2?token=x"));
    let _one = ffmpeg::publish(clips::h264(), &first, Transport::Tcp);
    let _two = ffmpeg::publish(clips::h265(), &second, Transport::Tcp);
    relay.wait_for_state("garden/gate", "ready");
    relay.wait_for_state("Garden/Gate-2", "ready");
    thread::scope(|s| {
        s.spawn(|| {
            let got = ffmpeg::read(&first, Transport::Tcp, PICTURES);
            assert_contiguous(&clips::h264().pictures, &got, PICTURES, "H.264 on one path");
        });
        for transport in [Transport::Tcp, Transport::Udp] {
            let second = &second;
            s.spawn(move || {
                let got = ffmpeg::read(second, transport, PICTURES);
                assert_contiguous(&clips::h265().pictures, &got, PICTURES, "H.265 on the other");
            });
        }
    });
    relay.stop();
}

/// All readers at once, while the publisher goes on.
fn everybody_reads(relay: &Relay, clip: &Clip) {
    relay.wait_for_state("mystream", "ready");
    let url = &relay.rtsp("mystream");
    let check = |got: Vec<String>, who: &str| assert_contiguous(&clip.pictures, &got, PICTURES - 2, who);
    thread::scope(|s| {
        for transport in [Transport::Tcp, Transport::Udp] {
            s.spawn(move || {
                check(
                    ffmpeg::read(url, transport, PICTURES),
                    &format!("ffmpeg, {transport}"),
                )
            });
            s.spawn(move || {
                check(
                    gstreamer::read(url, transport, clip, PICTURES),
                    &format!("GStreamer, {transport}"),
                );
            });
            s.spawn(move || {
                check(
                    retina::read(url, transport, PICTURES),
                    &format!("retina, {transport}"),
                )
            });
        }
        s.spawn(|| check(vlc::read(url, PICTURES).pictures, "VLC"));
    });
}
