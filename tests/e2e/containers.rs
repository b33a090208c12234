//! Sources that FFmpeg's libraries take apart: files, downloads, and other protocols, with ffmpeg at the far
//! end.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use crate::clips;
use crate::clips::Clip;
use crate::peers::Peer;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::Options;
use crate::relay::Relay;

const QUICK: &str = "#retry_first=50ms&retry_max=500ms";

fn started(source: &str) -> Relay {
    Relay::start(Options::sources(&[&format!("cam={source}")]))
}

/// Both tracks of the clip, one coded unit as good as the other.
#[track_caller]
fn reads_picture_and_sound(relay: &Relay, clip: &Clip, what: &str) {
    relay.wait_for_state("cam", "ready");
    let url = relay.rtsp("cam");
    let got = ffmpeg::read(&url, Transport::Tcp, 40);
    clips::assert_contiguous(&clip.pictures, &got, 40, what);
    let input = ["-rtsp_transport", "tcp", "-i", &url];
    let sound = ffmpeg::checksums(&input, &["-map", "0:a:0", "-c", "copy", "-frames:a", "40"]);
    clips::assert_contiguous(&clip.audio, &sound, 40, what);
}

#[test]
fn a_file_is_played_at_its_own_pace_and_again() {
    let clip = clips::h264_aac();
    let relay = started(&format!("file:{}?loop=1", clip.path.display()));
    reads_picture_and_sound(&relay, clip, "a file");
    relay.stop();
}

/// What broadcasting sends: short films, decoded and compared like the others.
#[test]
fn broadcasts_codecs_are_passed_on_too() {
    for (video, audio) in [
        ("mpeg2video", "mp2"),
        ("libx264", "ac3"),
        ("libx265", "libmp3lame"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("film.ts");
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
        cmd.args([
            "-t", "20", "-g", "25", "-bf", "0", "-c:v", video, "-c:a", audio, "-f", "mpegts",
        ]);
        let status = cmd.arg(&file).stderr(std::process::Stdio::null()).status();
        assert!(status.unwrap().success(), "ffmpeg encodes {video} and {audio}");
        let input = ["-i", file.to_str().unwrap()];
        let pictures = ffmpeg::checksums(&input, &["-map", "0:v:0"]);
        let sound = ffmpeg::checksums(&input, &["-map", "0:a:0", "-c", "copy"]);
        let relay = started(&format!("file:{}?loop=1", file.display()));
        relay.wait_for_state("cam", "ready");
        let url = relay.rtsp("cam");
        let got = ffmpeg::read(&url, Transport::Tcp, 40);
        clips::assert_contiguous(&pictures, &got, 40, video);
        let read = ["-rtsp_transport", "tcp", "-i", &url];
        let got = ffmpeg::checksums(&read, &["-map", "0:a:0", "-c", "copy", "-frames:a", "40"]);
        clips::assert_contiguous(&sound, &got, 40, audio);
        relay.stop();
    }
}

#[test]
fn a_file_that_ends_ends_its_stream_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let short = dir.path().join("short.ts");
    cut(&short, "2");
    let relay = started(&format!("file:{}", short.display()));
    relay.wait_for_state("cam", "offline");
    let path = relay.api("/api/v1/paths")["items"][0].clone();
    assert_eq!(
        path["last_error"],
        "the file ended; add `?loop=1` to play it for ever"
    );
    relay.stop();
}

/// The first seconds of the clip as a transport stream.
fn cut(to: &std::path::Path, seconds: &str) {
    let mut cmd = ffmpeg::ffmpeg();
    cmd.args(["-t", seconds, "-i"]).arg(&clips::h264_aac().path);
    cmd.args(["-c", "copy", "-f", "mpegts"]).arg(to);
    assert!(cmd.status().unwrap().success());
}

/// A web server that gives two and a half seconds of film at once, closes, and expects to be asked again.
#[test]
fn a_download_that_ends_every_few_seconds_is_one_stream() {
    let dir = tempfile::tempdir().unwrap();
    let part = dir.path().join("1034.ts");
    cut(&part, "2.5");
    let film = std::fs::read(&part).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _ = socket.read(&mut request);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n";
            let _ = socket.write_all(head.as_bytes());
            let _ = socket.write_all(&film);
        }
    });
    let relay = started(&format!("http://127.0.0.1:{port}/1034.ts"));
    relay.wait_for_state("cam", "ready");
    // More than three of them, by one reader, without a complaint.
    let got = ffmpeg::read(&relay.rtsp("cam"), Transport::Tcp, 200);
    assert_eq!(got.len(), 200);
    assert!(asked.load(Ordering::SeqCst) >= 3);
    let film = &clips::h264_aac().pictures[..63];
    assert!(
        got.iter().all(|md5| film.contains(md5)),
        "only pictures of the film"
    );
    relay.stop();
}

/// A port that nobody has just now.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// ffmpeg sends the clip to an address, again and again.
fn sending(format: &[&str], url: &str) -> Peer {
    let mut cmd = ffmpeg::ffmpeg();
    cmd.args(["-stream_loop", "-1", "-re", "-i"])
        .arg(&clips::h264_aac().path);
    cmd.args(["-c", "copy"]).args(format).arg(url);
    Peer::spawn("ffmpeg, sending", &mut cmd)
}

#[test]
fn mpegts_by_udp_is_a_source() {
    let port = free_port();
    let _sender = sending(
        &["-f", "mpegts"],
        &format!("udp://127.0.0.1:{port}?pkt_size=1316"),
    );
    let relay = started(&format!("udp://127.0.0.1:{port}{QUICK}"));
    reads_picture_and_sound(&relay, clips::h264_aac(), "udp");
    relay.stop();
}

#[test]
fn an_rtmp_server_is_a_source() {
    let port = free_port();
    let url = format!("rtmp://127.0.0.1:{port}/live/cam");
    let _sender = sending(&["-f", "flv", "-listen", "1"], &url);
    let relay = started(&format!("{url}{QUICK}"));
    reads_picture_and_sound(&relay, clips::h264_aac(), "rtmp");
    relay.stop();
}

#[test]
fn an_srt_listener_is_a_source() {
    let port = free_port();
    let url = format!("srt://127.0.0.1:{port}");
    let _sender = sending(&["-f", "mpegts"], &format!("{url}?mode=listener"));
    let relay = started(&format!("{url}{QUICK}"));
    reads_picture_and_sound(&relay, clips::h264_aac(), "srt");
    relay.stop();
}
