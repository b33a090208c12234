//! The commands of README's tables, as the tests run them: word for word, but for the file, the path, and where the
//! pictures go.

use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../../README.md");
/// What readers in README do with the pictures.
const RECORDED: &str = "-c copy film.mkv";
const SHOWN: &str = "autovideosink";

/// A row of a table: who, by what, and the command (none for a library).
#[derive(Clone, Debug)]
pub struct Row {
    pub program: &'static str,
    pub by: &'static str,
    pub command: String,
}

impl Row {
    pub fn name(&self) -> String {
        format!("{}, {}", self.program, self.by)
    }
    pub fn publishing(&self, clip: &Path) -> Command {
        let clip = clip.to_str().unwrap();
        assert!(self.command.contains("clip.mp4"), "{self:?}");
        words(&self.command.replace("clip.mp4", clip))
    }
    /// The same command with something else in it: another host, another path.
    pub fn with(&self, instead_of: &str, what: &str) -> Self {
        Self {
            command: self.command.replace(instead_of, what),
            ..self.clone()
        }
    }
    /// The address in it.
    pub fn url(&self, path: &str) -> String {
        let found = self
            .command
            .split(|c| " '\"".contains(c))
            .find(|w| w.starts_with("rtsp"));
        found
            .unwrap_or_else(|| panic!("{self:?}"))
            .replace("webcam", path)
    }
    /// One checksum per picture instead of a film or a window: to a file from ffmpeg, to stdout from GStreamer.
    pub fn reading(&self, path: &str, out: &Path) -> Command {
        let (from, to) = if self.command.starts_with("ffmpeg") {
            let to = format!(
                "-map 0:v:0 -vsync passthrough -flush_packets 1 -y -f framemd5 {}",
                out.display()
            );
            (RECORDED, to)
        } else {
            (
                SHOWN,
                "video/x-raw,format=I420 ! checksumsink hash=md5".to_owned(),
            )
        };
        assert!(
            self.command.contains(from) && self.command.contains("/webcam"),
            "{self:?}"
        );
        words(
            &self
                .command
                .replace(from, &to)
                .replace("/webcam", &format!("/{path}")),
        )
    }
}

/// As a shell takes it apart, and silent unless something is wrong.
fn words(command: &str) -> Command {
    let mut words = command.split(' ').map(|w| w.replace('\'', ""));
    let program = words.next().unwrap();
    let mut cmd = Command::new(&program);
    match program.as_str() {
        "ffmpeg" => cmd.args(["-nostdin", "-v", "error"]),
        _ => cmd.arg("-q"),
    };
    cmd.args(words);
    cmd
}

/// The rows of the table whose first column has this heading.
pub fn table(heading: &str) -> Vec<Row> {
    let from = README
        .find(&format!("| {heading} |"))
        .unwrap_or_else(|| panic!("no table {heading}"));
    let mut program = "";
    let rows = README[from..].lines().take_while(|l| l.starts_with('|')).skip(2);
    let row = |line: &'static str| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [who, by, command] = cells[..] else {
            panic!("{line}")
        };
        if !who.is_empty() {
            program = who.split(' ').next().unwrap(); // without its version
        }
        Row {
            program,
            by,
            command: command.trim_matches('`').to_owned(),
        }
    };
    rows.map(row).collect()
}
