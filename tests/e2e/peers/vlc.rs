//! Stock VLC of Debian and Ubuntu: no live555, only the `satip` dialect (SETUP without DESCRIBE, MPEG-TS over RTP).
//! It lowercases URLs and ends two seconds after the last packet. It refuses to run as root, so it runs as `nobody`.

use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use tempfile::NamedTempFile;

use crate::peers::Peer;
use crate::peers::ffmpeg;
use crate::relay::eventually;

/// What VLC wrote, decoded.
pub struct Seen {
    /// Checksums of pictures.
    pub pictures: Vec<String>,
    /// Checksums of coded audio units.
    pub audio: Vec<String>,
}

/// Lets VLC read a path and remux it, until what ffmpeg decodes of that is enough. VLC reads by UDP and loses datagrams
/// when the machine is busy: so ask for a run without a gap, and not for the first pictures.
#[track_caller]
pub fn read(url: &str, enough: impl Fn(&Seen) -> bool) -> Seen {
    let home = tempfile::tempdir().unwrap();
    let out = NamedTempFile::new().unwrap();
    let mut vlc = Peer::spawn("cvlc", cvlc(home.path(), url).stdout(Stdio::piped()));
    let ts = vlc.child.stdout.take().unwrap();
    let mut cmd = ffmpeg::ffmpeg();
    cmd.args(["-f", "mpegts", "-i", "-", "-map", "0:v:0", "-map", "0:a:0?"]);
    cmd.args(["-c:a", "copy", "-bsf:a", "aac_adtstoasc", "-vsync", "passthrough"]);
    cmd.args(["-flush_packets", "1", "-f", "framemd5"])
        .arg(out.path());
    let mut reader = Peer::spawn_with("ffmpeg, reading from VLC", &mut cmd, ts);
    eventually("VLC shows enough", || {
        let text = std::fs::read_to_string(out.path()).unwrap();
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        let seen = Seen {
            pictures: ffmpeg::parse(whole, 0),
            audio: ffmpeg::parse(whole, 1),
        };
        let ended = reader.child.try_wait().unwrap();
        let is_enough = enough(&seen);
        assert!(
            is_enough || ended.is_none(),
            "VLC ended: {}\n--- VLC said\n{}",
            reader.log(),
            vlc.log()
        );
        is_enough.then_some(seen)
    })
}

/// VLC as an ordinary user, remuxing what it reads to stdout.
pub fn cvlc(home: &Path, url: &str) -> Command {
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
