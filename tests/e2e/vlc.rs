//! What stock VLC needs beyond a picture: sound, names in any case, passwords in URLs.

use crate::clips;
use crate::clips::assert_contiguous;
use crate::clips::longest_run;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::peers::vlc;
use crate::privacy::ha1_md5;
use crate::privacy::ha1_sha256;
use crate::relay::Options;
use crate::relay::Relay;

#[test]
fn vlc_and_ffmpeg_get_picture_and_sound() {
    let relay = Relay::start(Options::publish());
    let clip = clips::h264_aac();
    let url = relay.rtsp("mystream");
    let _publisher = ffmpeg::publish(clip, &url, Transport::Tcp);
    relay.wait_for_state("mystream", "ready");
    std::thread::scope(|s| {
        s.spawn(|| {
            // 75 pictures are 3 s; an AAC unit is 1024 samples of 48000.
            vlc::read(&url, |seen| {
                longest_run(&clip.pictures, &seen.pictures) >= 75
                    && longest_run(&clip.audio, &seen.audio) >= 140
            });
        });
        s.spawn(|| {
            let input = ["-rtsp_transport", "tcp", "-i", &url, "-t", "4"];
            let got = ffmpeg::checksums(&input, &["-map", "0:a:0", "-c:a", "copy"]);
            assert_contiguous(&clip.audio, &got, 150, "ffmpeg, sound");
        });
        s.spawn(|| {
            let got = ffmpeg::read(&url, Transport::Udp, 100);
            assert_contiguous(&clip.pictures, &got, 100, "ffmpeg, pictures beside sound");
        });
    });
    relay.stop();
}

#[test]
fn vlc_lowercases_urls_and_still_finds_the_path_and_gets_in() {
    let users = format!(
        "[auth]\nrequired = \"always\"\n[[auth.users]]\nname = \"anna\"\nha1_md5 = \"{}\"\nha1_sha256 = \"{}\"",
        ha1_md5("anna", "topsecret99"),
        ha1_sha256("anna", "topsecret99")
    );
    let relay = Relay::start(Options::publish().config(&users).login("anna", "topsecret99"));
    let clip = clips::h264();
    let url = format!(
        "rtsp://anna:topsecret99@localhost:{}/FrontDoor",
        relay.addr("rtsp").port()
    );
    let _publisher = ffmpeg::publish(clip, &url, Transport::Tcp);
    relay.wait_for_state("FrontDoor", "ready");
    vlc::read(&url, |seen| longest_run(&clip.pictures, &seen.pictures) >= 50);
    relay.stop();
}
