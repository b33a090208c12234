//! Files of logs, packed by gzip or not, a piece at a time: a line, or an object of JSON. A file is only read.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use flate2::bufread::MultiGzDecoder;
use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use jiff::tz::TimeZone;
use sha2::Sha256;

use crate::base::why::Why;
use crate::past::lines::Format;
use crate::past::lines::Reader;

/// The longest piece that is read; longer ones are stepped over.
const MAX_PIECE: usize = 64 << 10;
/// Bytes that are read at a time.
const CHUNK: usize = 64 << 10;
/// Lines in which one of the format must be found.
const LOOKED_AT: u32 = 20_000;
/// How files begin that gzip packed.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a log could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot read {0} ({why}); give files that this user can read", why = Why(*.1))]
    Read(PathBuf, io::ErrorKind),
    #[error("{0} is cut off or damaged inside of what gzip packed; get a whole copy and begin again")]
    Packed(PathBuf),
    #[error("{0} is no file; give the files of a log, not their directory")]
    NoFile(PathBuf),
}

/// A line, or an object of JSON.
pub struct Piece<'l> {
    /// 1, 2, 3 ...
    pub number: u64,
    /// What it says; `None` when it is longer than any line of a log. Bytes that are no UTF-8 are replaced.
    pub text: Option<&'l str>,
}

/// One file.
pub struct Log {
    file: PathBuf,
    input: Box<dyn BufRead>,
    packed: bool,
    objects: Option<Objects>,
    number: u64,
    bytes: Vec<u8>,
    text: String,
}

impl Log {
    /// Opens a file of this format.
    ///
    /// # Errors
    /// When it cannot be read, or is a directory.
    pub fn open(file: &Path, format: Format) -> Result<Self, LogError> {
        let mut plain = BufReader::with_capacity(CHUNK, open(file)?);
        let begins = plain.fill_buf().map_err(|e| unreadable(file, &e))?;
        let packed = begins.starts_with(&GZIP);
        let input: Box<dyn BufRead> = match packed {
            true => Box::new(BufReader::with_capacity(CHUNK, MultiGzDecoder::new(plain))),
            false => Box::new(plain),
        };
        Ok(Self::over(file, input, packed, format))
    }

    fn over(file: &Path, input: Box<dyn BufRead>, packed: bool, format: Format) -> Self {
        Self {
            file: file.to_path_buf(),
            input,
            packed,
            objects: (format == Format::Owncast).then(Objects::default),
            number: 0,
            bytes: Vec::new(),
            text: String::new(),
        }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the rest cannot be read.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>, LogError> {
        self.bytes.clear();
        let (mut too_long, mut any) = (false, false);
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) if self.packed => return Err(LogError::Packed(self.file.clone())),
                Err(e) => return Err(unreadable(&self.file, &e)),
            };
            if chunk.is_empty() {
                break;
            }
            let cut = match &mut self.objects {
                None => cut_line(chunk),
                Some(objects) => objects.cut(chunk),
            };
            any |= !cut.kept.is_empty() || cut.done;
            if self.bytes.len() + cut.kept.len() <= MAX_PIECE {
                self.bytes.extend_from_slice(&chunk[cut.kept.clone()]);
            } else {
                too_long = true;
            }
            self.input.consume(cut.used);
            if cut.done {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        self.text.clear();
        self.text.push_str(&String::from_utf8_lossy(&self.bytes));
        let text = self.text.trim_end_matches(['\r', '\n']);
        Ok(Some(Piece {
            number: self.number,
            text: (!too_long).then_some(text),
        }))
    }
}

/// What the pieces of some bytes are, read so many at a time. For tests and fuzzers.
#[cfg(any(fuzzing, test))]
pub fn pieces(bytes: &[u8], format: Format, at_a_time: usize) -> Vec<Option<String>> {
    let input = io::Cursor::new(bytes.to_vec());
    let input = Box::new(BufReader::with_capacity(at_a_time.max(1), input));
    let mut log = Log::over(Path::new(""), input, false, format);
    let mut all = Vec::new();
    while let Some(piece) = log.next_piece().expect("memory can be read") {
        all.push(piece.text.map(str::to_owned));
    }
    all
}

/// What of a chunk belongs to the piece.
struct Cut {
    kept: std::ops::Range<usize>,
    used: usize,
    /// Whether the piece ends there.
    done: bool,
}

fn cut_line(chunk: &[u8]) -> Cut {
    let end = chunk.iter().position(|b| *b == b'\n');
    let used = end.map_or(chunk.len(), |end| end + 1);
    Cut {
        kept: 0..used,
        used,
        done: end.is_some(),
    }
}

/// Finds the outermost objects of a JSON text: a list of them, or one after the other.
#[derive(Default)]
struct Objects {
    depth: u32,
    in_text: bool,
    escaped: bool,
}

impl Objects {
    fn cut(&mut self, chunk: &[u8]) -> Cut {
        let mut from = if self.depth > 0 { 0 } else { chunk.len() };
        for (at, byte) in chunk.iter().enumerate() {
            if self.in_text {
                self.in_text = *byte != b'"' || self.escaped;
                self.escaped = *byte == b'\\' && !self.escaped;
                continue;
            }
            match byte {
                b'"' => self.in_text = self.depth > 0,
                b'{' => {
                    if self.depth == 0 {
                        from = at;
                    }
                    self.depth = self.depth.saturating_add(1);
                }
                b'}' if self.depth == 1 => {
                    self.depth = 0;
                    return Cut {
                        kept: from..at + 1,
                        used: at + 1,
                        done: true,
                    };
                }
                b'}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        Cut {
            kept: from..chunk.len(),
            used: chunk.len(),
            done: false,
        }
    }
}

/// What tells some files from others: their length, and so few bits of a keyed hash over all of them that very many files
/// have the same. So it tells nobody what was in a file, also not of one that has one line.
///
/// # Errors
/// When one cannot be read.
pub fn mark(files: &[PathBuf], key: &[u8; 32]) -> Result<String, LogError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is taken");
    let (mut buffer, mut length) = (vec![0; CHUNK], 0_u64);
    for file in files {
        let mut input = open(file)?;
        loop {
            match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    mac.update(&buffer[..n]);
                    length += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(unreadable(file, &e)),
            }
        }
    }
    let [a, b, c, ..]: [u8; 32] = mac.finalize().into_bytes().into();
    Ok(format!("{length:x}-{a:02x}{b:02x}{c:02x}"))
}

/// When the first line of a file was written, in seconds since 1970, as far as its beginning says. Not when the session of
/// that line began: a listener may have come long before.
///
/// # Errors
/// When it cannot be read.
pub fn begins(file: &Path, format: Format, zone: &TimeZone) -> Result<Option<i64>, LogError> {
    let mut log = Log::open(file, format)?;
    let mut reader = Reader::new(format, zone.clone());
    for _ in 0..LOOKED_AT {
        let Some(piece) = log.next_piece()? else { break };
        if let Some(at) = piece.text.and_then(|text| reader.written(text)) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn open(file: &Path) -> Result<File, LogError> {
    let opened = File::open(file).map_err(|e| unreadable(file, &e))?;
    let kind = opened.metadata().map_err(|e| unreadable(file, &e))?;
    match kind.is_file() {
        true => Ok(opened),
        // A pipe cannot be read twice, which is what finding out about a file takes.
        false => Err(LogError::NoFile(file.to_path_buf())),
    }
}

fn unreadable(file: &Path, error: &io::Error) -> LogError {
    LogError::Read(file.to_path_buf(), error.kind())
}
