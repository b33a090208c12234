//! A relay that pulls from a relay: whatever passes through one passes through two, on demand and with a password.

use std::path::Path;

use md5::Digest;
use md5::Md5;
use sha2::Sha256;

use crate::canary::Canary;
use crate::clips;
use crate::peers::Peer;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::Options;
use crate::relay::Relay;

const USER: &str = "edge";
const PASSWORD: &str = "chain-pass-5w";

/// A relay that asks everybody for credentials.
fn origin() -> Relay {
    let secret = format!("{USER}:Louver:{PASSWORD}");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let auth = format!(
        "[auth]\nrequired = \"always\"\n[[auth.users]]\nname = \"{USER}\"\nha1_md5 = \"{}\"\nha1_sha256 = \"{}\"",
        hex(&Md5::digest(&secret)),
        hex(&Sha256::digest(&secret))
    );
    Relay::start(Options::publish().config(&auth).login(USER, PASSWORD).rtsps())
}

fn publishing(file: &Path, relay: &Relay, path: &str) -> Peer {
    let url = relay.rtsp(path).replace("://", &format!("://{USER}:{PASSWORD}@"));
    let mut cmd = ffmpeg::ffmpeg();
    cmd.args(["-re", "-i"]).arg(file);
    cmd.args([
        "-c",
        "copy",
        "-strict",
        "experimental",
        "-f",
        "rtsp",
        "-rtsp_transport",
        "tcp",
    ]);
    Peer::spawn("ffmpeg, publishing", cmd.arg(url))
}

#[test]
fn an_edge_pulls_from_an_origin_for_its_readers_only() {
    let clip = clips::h264_aac();
    let mut origin = origin();
    origin.expect_no_trace_of(Canary::text(PASSWORD));
    let _publisher = publishing(&clip.path, &origin, "news");
    origin.wait_for_state("news", "ready");
    let source = format!(
        "{}#on_demand&user={USER}&password={PASSWORD}",
        origin.rtsp("news")
    );
    let mut edge = Relay::start(Options::sources(&[&format!("far/news={source}")]));
    edge.expect_no_trace_of(Canary::text(PASSWORD));
    edge.wait_for_state("far/news", "waiting");
    assert_eq!(origin.api("/api/v1/paths")["items"][0]["viewers"], 0);
    let url = edge.rtsp("far/news");
    for transport in [Transport::Tcp, Transport::Udp] {
        let got = ffmpeg::read(&url, transport, 50);
        clips::assert_contiguous(&clip.pictures, &got, 50, "pictures");
    }
    let input = ["-rtsp_transport", "tcp", "-i", &url];
    let sound = ffmpeg::checksums(&input, &["-map", "0:a:0", "-c", "copy", "-frames:a", "50"]);
    clips::assert_contiguous(&clip.audio, &sound, 50, "sound");
    assert_eq!(origin.api("/api/v1/paths")["items"][0]["viewers"], 1, "the edge");
    let log = edge.stop();
    assert!(
        !log.contains("FFmpeg's libraries"),
        "packets are passed on: {log}"
    );
    origin.stop();
}

#[test]
fn an_edge_pulls_through_tls_and_through_http() {
    let clip = clips::h264_aac();
    let mut origin = origin();
    origin.expect_no_trace_of(Canary::text(PASSWORD));
    let _publisher = publishing(&clip.path, &origin, "news");
    origin.wait_for_state("news", "ready");
    let login = |url: String| url.replace("://", &format!("://{USER}:{PASSWORD}@"));
    let mut edge = Relay::start(Options::sources(&[
        &format!("tls={}#insecure", login(origin.rtsps("news"))),
        &format!("http={}#transport=http", login(origin.rtsp("news"))),
    ]));
    edge.expect_no_trace_of(Canary::text(PASSWORD));
    for path in ["tls", "http"] {
        edge.wait_for_state(path, "ready");
        let got = ffmpeg::read(&edge.rtsp(path), Transport::Tcp, 50);
        clips::assert_contiguous(&clip.pictures, &got, 50, path);
    }
    edge.stop();
    origin.stop();
}

/// Codecs that retina does not know: they pass as packets all the same.
#[test]
fn codecs_that_the_client_does_not_know_pass_through_the_chain() {
    for (video, audio, ext) in [
        (
            &["mpeg4", "-q:v", "3"][..],
            &["libopus", "-b:a", "64k"][..],
            "mkv",
        ),
        (
            &["libvpx", "-deadline", "realtime", "-cpu-used", "8"],
            &["libmp3lame"],
            "mkv",
        ),
    ] {
        let what = format!("{} and {}", video[0], audio[0]);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(format!("film.{ext}"));
        let mut cmd = ffmpeg::ffmpeg();
        cmd.args([
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x240:r=25",
            "-f",
            "lavfi",
            "-i",
            "sine=r=48000",
        ]);
        cmd.args(["-t", "40", "-g", "25", "-c:v"])
            .args(video)
            .arg("-c:a")
            .args(audio);
        assert!(
            cmd.arg(&file).status().unwrap().success(),
            "ffmpeg encodes {what}"
        );
        let input = ["-i", file.to_str().unwrap()];
        let pictures = ffmpeg::checksums(&input, &["-map", "0:v:0"]);
        let origin = origin();
        let _publisher = publishing(&file, &origin, "film");
        origin.wait_for_state("film", "ready");
        let source = format!("film={}#user={USER}&password={PASSWORD}", origin.rtsp("film"));
        let edge = Relay::start(Options::sources(&[&source]));
        edge.wait_for_state("film", "ready");
        let got = ffmpeg::read(&edge.rtsp("film"), Transport::Tcp, 40);
        clips::assert_contiguous(&pictures, &got, 40, &what);
        let tracks = edge.api("/api/v1/paths")["items"][0]["tracks"].clone();
        assert_eq!(tracks, origin.api("/api/v1/paths")["items"][0]["tracks"]);
        let log = edge.stop();
        assert!(
            !log.contains("FFmpeg's libraries"),
            "{what}: packets are passed on: {log}"
        );
        origin.stop();
    }
}
