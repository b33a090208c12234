//! Files of lines that only grow, written by the relay and by commands at the same time.
//!
//! Who appends holds the file's lock, and knows all lines before; so does who puts another file in its place. A line that
//! was cut off by a power cut (it has no end) is taken away by who appends next. Only the owner can read them. Not here: what a line says.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use crate::base::whole;

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
        // What is no text is no line of ours; whoever reads lines notices.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The file, made if it was not there, and its lock until it is closed.
    fn locked(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        loop {
            let file = options.open(&self.path)?;
            file.lock()?;
            if is_still(&file, &self.path)? {
                return Ok(file);
            }
        }
    }

    /// Puts a file in the place of this one, made by `text` after `learn` saw all that others appended.
    pub(super) fn replace<T>(
        &mut self,
        all: &mut T,
        learn: impl FnOnce(&mut T, &News),
        text: impl FnOnce(&mut T) -> Option<String>,
    ) -> io::Result<()> {
        let mut file = self.locked()?;
        let news = self.news_of(&mut file)?;
        learn(all, &news);
        if let Some(text) = text(all) {
            whole::write(&self.path, &text)?;
            self.read = text.len() as u64;
        }
        Ok(())
    }

    /// What came, to who has the lock.
    fn news_of(&mut self, file: &mut File) -> io::Result<News> {
        let begun_anew = file.metadata()?.len() < self.read;
        if begun_anew {
            self.read = 0;
        }
        let text = self.rest(file)?;
        Ok(News { text, begun_anew })
    }

    /// Appends one line, made by `line` after `learn` saw what others appended meanwhile. `None` from `line`: nothing is to
    /// be appended. The line is on the disk when this returns.
    pub(super) fn append<T>(
        &mut self,
        all: &mut T,
        learn: impl FnOnce(&mut T, &News),
        line: impl FnOnce(&mut T) -> Option<String>,
    ) -> io::Result<bool> {
        let mut file = self.locked()?;
        let news = self.news_of(&mut file)?;
        learn(all, &news);
        let Some(mut line) = line(all) else {
            return Ok(false);
        };
        line.push('\n');
        file.set_len(self.read)?; // a line without end
        file.seek(SeekFrom::Start(self.read))?;
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
        if self.read == 0 {
            whole::sync_directory_of(&self.path)?; // it may be new
        }
        self.read += line.len() as u64;
        Ok(true)
    }
}

/// Whether this path still leads to that open file: somebody may have put another one there before we had the lock.
#[cfg(unix)]
fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let there = match std::fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let ours = file.metadata()?;
    Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on the other systems")]
fn is_still(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true) // an open file cannot be replaced there
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
    fn who_waited_for_the_lock_while_the_file_was_replaced_writes_into_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let mut a = Lines::new(path.clone());
        let mut seen = Vec::new();
        a.append(&mut seen, learn, |_| Some("one".into())).unwrap();
        let (waits, waiting) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            a.replace(&mut seen, learn, |_| {
                let path = path.clone();
                let waits = waits.clone();
                scope.spawn(move || {
                    let mut b = Lines::new(path);
                    waits.send(()).unwrap();
                    b.append(&mut Vec::new(), learn, |_| Some("two".into())).unwrap();
                });
                waiting.recv().unwrap();
                Some("new\n".into())
            })
            .unwrap();
        });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\ntwo\n");
        assert_eq!(a.news().unwrap().text, "two\n");
    }

    #[test]
    fn what_is_no_text_is_given_as_some_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        std::fs::write(&path, b"one\n\xff\xfe\ntwo\n").unwrap();
        let text = Lines::new(path).news().unwrap().text;
        assert_eq!(text.lines().count(), 3);
        assert!(text.starts_with("one\n") && text.ends_with("\ntwo\n"), "{text:?}");
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
