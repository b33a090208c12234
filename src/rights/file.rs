//! Files of lines that only grow, written by the relay and by commands at the same time.
//!
//! Who appends holds the file's lock, and knows all lines before. A line that was cut off by a power cut (it has no end)
//! is taken away by who appends next. Only the owner can read them. Not here: what a line says.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

/// What is read at most: ten times what is ever written.
const MOST_BYTES: u64 = 256 << 20;

/// A file, and how far it was read.
pub(super) struct Lines {
    path: PathBuf,
    read: u64,
}

impl Lines {
    /// There may be no such file yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// The file's name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lines that came since this was last asked. `begun_anew`: the file is shorter than it was, and these are all.
    pub(super) fn news(&mut self) -> io::Result<News> {
        let len = match std::fs::metadata(&self.path) {
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        if len == self.read {
            return Ok(News::default());
        }
        let begun_anew = len < self.read;
        if begun_anew {
            self.read = 0;
        }
        if len == 0 {
            return Ok(News {
                text: String::new(),
                begun_anew,
            });
        }
        let mut file = File::open(&self.path)?;
        self.rest(&mut file).map(|text| News { text, begun_anew })
    }

    /// Whole lines from where reading stopped.
    fn rest(&mut self, file: &mut File) -> io::Result<String> {
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(whole);
        self.read += whole as u64;
        String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Appends one line, made by `line` after `learn` saw what others appended meanwhile. `None` from `line`: nothing is to
    /// be appended. The line is on the disk when this returns.
    pub(super) fn append<T>(
        &mut self,
        all: &mut T,
        learn: impl FnOnce(&mut T, &News),
        line: impl FnOnce(&mut T) -> Option<String>,
    ) -> io::Result<bool> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.truncate(false).open(&self.path)?;
        file.lock()?; // until it is closed
        let begun_anew = file.metadata()?.len() < self.read;
        if begun_anew {
            self.read = 0;
        }
        let text = self.rest(&mut file)?;
        learn(all, &News { text, begun_anew });
        let Some(mut line) = line(all) else {
            return Ok(false);
        };
        line.push('\n');
        file.set_len(self.read)?; // a line without end
        file.seek(SeekFrom::Start(self.read))?;
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
        self.read += line.len() as u64;
        Ok(true)
    }
}

/// What came.
#[derive(Default)]
pub(super) struct News {
    pub(super) text: String,
    pub(super) begun_anew: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(all: &mut Vec<String>, news: &News) {
        all.extend(news.text.lines().map(str::to_owned));
    }

    #[test]
    fn two_writers_see_each_others_lines_and_a_torn_line_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let (mut a, mut b) = (Lines::new(path.clone()), Lines::new(path.clone()));
        let (mut seen_a, mut seen_b) = (Vec::new(), Vec::new());
        assert!(a.news().unwrap().text.is_empty());
        assert!(a.append(&mut seen_a, learn, |_| Some("one".into())).unwrap());
        let torn = std::fs::read_to_string(&path).unwrap() + "tor";
        std::fs::write(&path, torn).unwrap();
        assert!(b.append(&mut seen_b, learn, |_| Some("two".into())).unwrap());
        assert_eq!(seen_b, ["one"]);
        assert_eq!(a.news().unwrap().text, "two\n");
        assert!(!b.append(&mut seen_b, learn, |_| None).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        std::fs::remove_file(&path).unwrap();
        assert!(a.news().unwrap().begun_anew);
        #[cfg(unix)]
        {
            b.append(&mut seen_b, learn, |_| Some("x".into())).unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
        }
    }
}
