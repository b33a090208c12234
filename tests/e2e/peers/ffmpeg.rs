//! ffmpeg: publishes files as they are, decodes what it reads.

use std::ffi::OsStr;
use std::fs::File;
use std::process::Command;

use tempfile::NamedTempFile;

use crate::clips::Clip;
use crate::peers::Peer;
use crate::peers::Transport;
use crate::peers::output;

/// ffmpeg, silent unless something is wrong.
pub fn ffmpeg() -> Command {
    let mut cmd = Command::new("ffmpeg");
    cmd.args(["-nostdin", "-v", "error", "-y"]);
    cmd
}

/// Publishes the clip in real time and without re-encoding.
pub fn publish(clip: &Clip, url: &str, transport: Transport) -> Peer {
    publish_times(clip, url, transport, "0")
}

/// The same without end.
pub fn publish_on(clip: &Clip, url: &str, transport: Transport) -> Peer {
    publish_times(clip, url, transport, "-1")
}

fn publish_times(clip: &Clip, url: &str, transport: Transport, again: &str) -> Peer {
    let mut cmd = ffmpeg();
    cmd.arg("-re")
        .args(["-stream_loop", again])
        .arg("-i")
        .arg(&clip.path)
        .args(["-c", "copy", "-f", "rtsp", "-rtsp_transport"]);
    Peer::spawn("ffmpeg, publishing", cmd.arg(transport.to_string()).arg(url))
}

/// Reads a path over RTSP until so many pictures are decoded; their checksums. Any complaint is a failure.
#[track_caller]
pub fn read(url: &str, transport: Transport, pictures: usize) -> Vec<String> {
    let transport = transport.to_string();
    let pictures = pictures.to_string();
    checksums(
        &["-rtsp_transport", &transport, "-i", url],
        &["-map", "0:v:0", "-frames:v", &pictures],
    )
}

/// Decodes an input; one checksum per picture (or per coded unit, with `-c copy` in `output`).
#[track_caller]
pub fn checksums(input: &[&str], output: &[&str]) -> Vec<String> {
    let out = NamedTempFile::new().unwrap();
    reading(input, output, out.path()).wait_silent();
    parse(&std::fs::read_to_string(out.path()).unwrap(), 0)
}

/// The command that decodes a growing file or pipe of this format, to one checksum per picture on stdout.
pub fn checksums_of(format: &str, from: &str) -> Command {
    let mut cmd = ffmpeg();
    cmd.args(["-f", format, "-i", from, "-map", "0:v:0", "-vsync", "passthrough"]);
    cmd.args(["-flush_packets", "1", "-f", "framemd5", "-"]);
    cmd
}

/// The same, running beside the test and writing to `out`; see [`parse`].
pub fn reading(input: &[&str], output: &[&str], out: impl AsRef<OsStr>) -> Peer {
    let mut cmd = ffmpeg();
    cmd.args(input)
        .args(output)
        .args(["-vsync", "passthrough", "-f", "framemd5"])
        .arg(out.as_ref());
    Peer::spawn("ffmpeg, reading", &mut cmd)
}

/// Checksums of one stream in ffmpeg's framemd5 format: `stream, dts, pts, duration, size, checksum`, and those of
/// side data after that.
pub fn parse(framemd5: &str, stream: usize) -> Vec<String> {
    let lines = framemd5.lines().filter(|l| !l.starts_with('#'));
    let fields = lines.map(|l| l.split(',').map(str::trim).collect::<Vec<_>>());
    fields
        .filter(|f| f[0] == stream.to_string())
        .map(|f| f[5].to_owned())
        .collect()
}

/// Decodes a whole picture or film from memory; width, height and checksum of each picture.
#[track_caller]
pub fn decode_bytes(format: &str, bytes: &[u8]) -> Vec<String> {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    checksums(
        &["-f", format, "-i", file.path().to_str().unwrap()],
        &["-map", "0:v:0"],
    )
}

/// `[stream]` entries that ffprobe tells of a file, such as `width`.
#[track_caller]
pub fn probe(bytes: &[u8], entries: &str) -> String {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let out = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-of",
            "csv=p=0",
            "-show_entries",
            &format!("stream={entries}"),
        ])
        .stdin(File::open(file.path()).unwrap())
        .arg("-")
        .output()
        .expect("ffprobe is installed");
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// A picture as red, green and blue bytes.
#[track_caller]
pub fn pixels(picture: &[u8]) -> Vec<u8> {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), picture).unwrap();
    let mut cmd = ffmpeg();
    cmd.arg("-i")
        .arg(file.path())
        .args(["-pix_fmt", "rgb24", "-f", "rawvideo", "-"]);
    output("ffmpeg, decoding a picture", &mut cmd)
}
