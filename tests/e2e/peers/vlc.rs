//! Stock VLC of Debian and Ubuntu: no live555, only the `satip` dialect (SETUP without DESCRIBE, MPEG-TS over RTP).
//! It lowercases URLs and ends two seconds after the last packet. It refuses to run as root, so it runs as `nobody`.

use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use tempfile::NamedTempFile;

use crate::peers::Peer;
use crate::peers::ffmpeg;
use crate::relay::DEADLINE;

/// What VLC wrote, decoded.
pub struct Seen {
    /// Checksums of pictures.
    pub pictures: Vec<String>,
    /// Checksums of coded audio units.
    pub audio: Vec<String>,
}

/// Lets VLC read a path and remux it, until ffmpeg has decoded so many pictures of what VLC writes.
#[track_caller]
pub fn read(url: &str, pictures: usize) -> Seen {
    let home = tempfile::tempdir().unwrap();
    let out = NamedTempFile::new().unwrap();
    let mut vlc = Peer::spawn("cvlc", cvlc(home.path(), url).stdout(Stdio::piped()));
    let ts = vlc.child.stdout.take().unwrap();
    let mut cmd = ffmpeg::ffmpeg();
    cmd.args(["-f", "mpegts", "-i", "-", "-map", "0:v:0", "-map", "0:a:0?"]);
    cmd.args(["-c:a", "copy", "-bsf:a", "aac_adtstoasc", "-vsync", "passthrough"]);
    cmd.args(["-frames:v", &pictures.to_string(), "-shortest", "-f", "framemd5"])
        .arg(out.path());
    let mut reader = Peer::spawn_with("ffmpeg, reading from VLC", &mut cmd, ts);
    let status = reader.wait(DEADLINE);
    assert!(
        status.success(),
        "{status}: {}\n--- VLC said\n{}",
        reader.log(),
        vlc.log()
    );
    let text = std::fs::read_to_string(out.path()).unwrap();
    Seen {
        pictures: ffmpeg::parse(&text, 0),
        audio: ffmpeg::parse(&text, 1),
    }
}

fn cvlc(home: &Path, url: &str) -> Command {
    let mut cmd = unprivileged(home, "cvlc");
    cmd.args([
        "-I",
        "dummy",
        "--no-dbus",
        "-v",
        "--sout",
        "#std{access=file,mux=ts,dst=-}",
        url,
        "vlc://quit",
    ]);
    cmd
}

/// A program as an ordinary user with a home of its own.
pub fn unprivileged(home: &Path, program: &str) -> Command {
    const NOBODY: u32 = 65534;
    if !nix::unistd::geteuid().is_root() {
        let mut cmd = Command::new(program);
        cmd.env("HOME", home);
        return cmd;
    }
    std::os::unix::fs::chown(home, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut cmd = Command::new("setpriv");
    let id = NOBODY.to_string();
    cmd.arg(format!("--reuid={id}"))
        .arg(format!("--regid={id}"))
        .arg("--clear-groups")
        .arg(program);
    cmd.env("HOME", home)
        .env_remove("XDG_RUNTIME_DIR")
        .current_dir(home);
    cmd
}
