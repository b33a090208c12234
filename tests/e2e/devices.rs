//! Makes of cameras: each file of `tests/devices` is pulled, and ffmpeg reads the very pictures from Louver.

use std::path::Path;

use crate::canary::Canary;
use crate::clips;
use crate::device::Device;
use crate::device::PASSWORD;
use crate::device::Pictures;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::Options;
use crate::relay::Relay;

macro_rules! devices {
    ($($name:ident)*) => {
        $(#[test] fn $name() { is_pulled(&file_name(stringify!($name))); })*
        const ALL: &[&str] = &[$(stringify!($name)),*];
    }
}

devices! {
    amcrest anyka axis bosch dahua dlink foscam geovision gw_security hanwha hikvision longse onvif1 options_first
    panasonic reolink sony tapo ubiquiti vivotek vstarcam wyze xiongmai
}

fn file_name(test: &str) -> String {
    test.replace('_', "-")
}

/// What the relay says when retina did not do.
const BY_LIBAV: &str = "The source is read with FFmpeg's libraries.";

#[track_caller]
fn is_pulled(name: &str) {
    let device = Device::start(name);
    let source = format!("cam={}#retry_first=50ms", device.source());
    let mut relay = Relay::start(Options::sources(&[&source]));
    relay.expect_no_trace_of(Canary::text(PASSWORD));
    relay.wait_for_state("cam", "ready");
    let video = device.script.get("video").split_whitespace().next().unwrap();
    let wanted = device.script.get("seconds").parse().unwrap_or(1) * 50;
    let got = ffmpeg::read(&relay.rtsp("cam"), Transport::Tcp, wanted);
    let source = Pictures::of(video).clip;
    if device.script.get("content") == "rising" {
        clips::assert_rising(&source.pictures, &got, wanted, name);
    } else {
        clips::assert_contiguous(&source.pictures, &got, wanted, name);
        assert_eq!(
            device.plays(),
            if device.script.get("expect") == "libav" {
                device.plays()
            } else {
                1
            }
        );
    }
    let tracks = relay.api("/api/v1/paths")["items"][0]["tracks"].clone();
    let sound = !device.script.get("audio").is_empty();
    assert_eq!(
        tracks.as_array().map(Vec::len),
        Some(1 + usize::from(sound)),
        "{tracks}"
    );
    let log = relay.stop();
    let expected = device.script.get("expect") == "libav";
    assert_eq!(log.contains(BY_LIBAV), expected, "who reads it\n{log}");
}

#[test]
fn every_file_is_tried() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/devices");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| {
            e.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    files.sort();
    let mut tried: Vec<_> = ALL.iter().map(|name| file_name(name)).collect();
    tried.sort();
    assert_eq!(files, tried);
}
