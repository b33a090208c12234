//! Which files are read: those that were named, all below directories, and what belongs to a database.

use std::fs;
use std::fs::File;
use std::io;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use flate2::bufread::MultiGzDecoder;

use crate::base::why::Why;
use crate::scan::Found;
use crate::scan::Stream;

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;
/// Directories inside of one another.
const MAX_DEPTH: usize = 64;
/// What SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
const SQLITE: &[u8] = b"SQLite format 3\0";
const GZIP: &[u8] = &[0x1f, 0x8b, 8];

/// Why a file was not searched to its end.
#[derive(Debug, thiserror::Error)]
#[error("cannot be read ({})", Why(self.0))]
pub struct ScanError(pub io::ErrorKind);

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub files: u64,
    /// As they were searched, unpacked.
    pub bytes: u64,
    /// Things that are no files: sockets, devices.
    pub skipped: u64,
    /// Files that could not be read to their end.
    pub failed: u64,
}

/// What a search tells as it goes.
pub trait Scan {
    /// Something was found in a file. `unpacked`: inside of its gzip.
    fn found(&mut self, file: &Path, unpacked: bool, found: Found);
    /// The name of the file itself has something.
    fn named(&mut self, file: &Path, found: Found);
    /// The file was not read to its end.
    fn failed(&mut self, file: &Path, error: &ScanError);
}

/// Searches files and directories.
pub fn paths(paths: &[PathBuf], scan: &mut impl Scan) -> Summary {
    let mut walk = Walk {
        scan,
        summary: Summary::default(),
    };
    for path in paths {
        match fs::metadata(path) {
            Err(e) => walk.fail(path, &e),
            Ok(data) if data.is_dir() => walk.dir(path, 0),
            Ok(data) => {
                walk.one(path, data.is_file());
                if begins_with(path, SQLITE) {
                    walk.beside(path, paths);
                }
            }
        }
    }
    walk.summary
}

struct Walk<'s, S> {
    scan: &'s mut S,
    summary: Summary,
}

impl<S: Scan> Walk<'_, S> {
    fn dir(&mut self, dir: &Path, depth: usize) {
        let listed = match fs::read_dir(dir) {
            Ok(listed) if depth < MAX_DEPTH => listed,
            Ok(_) => return self.fail(dir, &io::ErrorKind::InvalidInput.into()),
            Err(e) => return self.fail(dir, &e),
        };
        let mut entries: Vec<_> = listed.filter_map(Result::ok).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            match entry.file_type() {
                Err(e) => self.fail(&path, &e),
                Ok(kind) if kind.is_dir() => self.dir(&path, depth + 1),
                // What a link names is searched where it lies, or not at all.
                Ok(kind) => self.one(&path, kind.is_file()),
            }
        }
    }

    fn one(&mut self, file: &Path, is_file: bool) {
        self.name(file);
        if !is_file {
            self.summary.skipped += 1;
            return;
        }
        self.summary.files += 1;
        if let Err(e) = self.search(file) {
            self.fail(file, &e);
        }
    }

    fn name(&mut self, file: &Path) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let mut stream = Stream::default();
        let scan = &mut self.scan;
        let mut found = |f| scan.named(file, f);
        stream.feed(name.as_bytes(), &mut found);
        stream.finish(&mut found);
    }

    fn search(&mut self, file: &Path) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(PIECE, File::open(file)?);
        if begins_with(file, GZIP) {
            return self.read(file, true, &mut MultiGzDecoder::new(reader));
        }
        self.read(file, false, &mut reader)
    }

    fn read(&mut self, file: &Path, unpacked: bool, reader: &mut impl Read) -> io::Result<()> {
        let mut stream = Stream::default();
        let mut piece = vec![0; PIECE];
        loop {
            let n = match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    stream.finish(&mut |f| self.scan.found(file, unpacked, f));
                    return Err(e);
                }
            };
            self.summary.bytes += n as u64;
            stream.feed(&piece[..n], &mut |f| self.scan.found(file, unpacked, f));
        }
        stream.finish(&mut |f| self.scan.found(file, unpacked, f));
        Ok(())
    }

    fn beside(&mut self, database: &Path, named: &[PathBuf]) {
        for end in BESIDE {
            let mut name = database.as_os_str().to_owned();
            name.push(end);
            let file = PathBuf::from(name);
            if file.is_file() && !named.contains(&file) {
                self.one(&file, true);
            }
        }
    }

    fn fail(&mut self, file: &Path, e: &io::Error) {
        self.summary.failed += 1;
        self.scan.failed(file, &ScanError(e.kind()));
    }
}

fn begins_with(file: &Path, bytes: &[u8]) -> bool {
    let mut head = Vec::new();
    File::open(file)
        .and_then(|f| f.take(bytes.len() as u64).read_to_end(&mut head))
        .is_ok()
        && head == bytes
}
