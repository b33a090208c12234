//! The files of the trail: segments of lines, a file of checkpoints, and a lock, in `audit` of the data directory.
//!
//! The relay and commands may write at the same time: each append takes the lock, and looks whether somebody else wrote
//! since. A line that a crash tore is cut off by the next append; it never was an entry. Segments are bounded and the
//! oldest go by age and by size, behind a checkpoint that anchors what is left. Not here: when entries are written
//! (`desk`), whether they are true (`verify`).

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::audit::checkpoint::Checkpoint;
use crate::audit::entry::BEGINNING;
use crate::audit::entry::Entry;
use crate::audit::entry::Event;
use crate::audit::entry::Mac;
use crate::audit::keys::Keys;

/// The directory in the data directory.
const DIR: &str = "audit";
const CHECKPOINTS: &str = "checkpoints";
const LOCK: &str = "lock";
/// A checkpoint after so many entries.
const CHECKPOINT_ENTRIES: u64 = 256;
/// A checkpoint after so long, when there were entries.
const CHECKPOINT_SECONDS: i64 = 3_600;
const DAY: i64 = 86_400;
/// The longest line that can be one of ours.
const MAX_LINE: u64 = 4_096;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Entries older than this go.
    pub keep: Duration,
    /// All segments together, at most.
    pub max_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(365 * 86_400),
            max_bytes: 64 << 20,
        }
    }
}

/// Why the trail cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    #[error("the audit trail in {0} cannot be used ({1}); see to the directory's owner and space")]
    Files(PathBuf, io::ErrorKind),
    #[error("the audit trail in {0} ends in a line that is none of its own; run `louver audit verify`")]
    Damaged(PathBuf),
}

/// The trail of one data directory, to write to.
pub(super) struct Trail {
    dir: PathBuf,
    keys: Keys,
    options: Options,
    tail: Option<Tail>,
    /// Others wrote, and nobody asked since.
    others: bool,
}

/// Where the next entry goes.
#[derive(Clone, PartialEq, Eq)]
struct Tail {
    segment: PathBuf,
    len: u64,
    seq: u64,
    /// Of the last entry.
    ts: i64,
    mac: Mac,
    /// The newest checkpoint that this process knows of.
    checkpoint: (u64, i64),
}

/// What an append did.
pub(super) struct Appended {
    pub(super) seq: u64,
    /// The line of a checkpoint that was due, for the log.
    pub(super) checkpoint: Option<String>,
}

impl Trail {
    pub(super) fn new(data_dir: &Path, keys: Keys, options: Options) -> Self {
        Self {
            dir: data_dir.join(DIR),
            keys,
            options,
            tail: None,
            others: false,
        }
    }

    /// Writes one entry.
    pub(super) fn append(&mut self, event: &Event, repeats: u64, ts: i64) -> Result<Appended, TrailError> {
        self.try_append(event, repeats, ts).map_err(|e| self.error(&e))
    }

    fn try_append(&mut self, event: &Event, repeats: u64, ts: i64) -> io::Result<Appended> {
        let _lock = self.lock()?;
        let mut tail = self.refresh()?;
        self.follow(&tail);
        let entry = Entry {
            seq: tail.seq + 1,
            ts,
            actor: event.actor,
            action: event.action,
            object: event.object.clone(),
            detail: event.detail.clone(),
            purpose: event.purpose,
            outcome: event.outcome,
            amount: event.amount,
            hidden: event.hidden,
            params: self.keys.digest(&event.params),
            repeats,
            prev: tail.mac,
        };
        let mac = self.keys.mac(&entry.text(), &entry.prev);
        let line = entry.line(&mac);
        // A segment goes as a whole, so one is of one day: what is too old is not kept by what came much later.
        let too_long = tail.len + line.len() as u64 > self.segment_bytes();
        let another_day = ts.div_euclid(DAY) > tail.ts.div_euclid(DAY);
        let full = tail.len > 0 && (too_long || another_day);
        let mut checkpoint = None;
        if full {
            // An entry matters more: a checkpoint that fails now is due again with the next one.
            checkpoint = self.checkpoint(&mut tail, ts).ok();
            tail.len = 0;
        }
        if tail.len == 0 {
            tail.segment = self.dir.join(segment_name(entry.seq));
        }
        let mut file = append_to(&tail.segment)?;
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
        tail.len += line.len() as u64;
        (tail.seq, tail.ts, tail.mac) = (entry.seq, ts, mac);
        // The entry is written: what fails now is done with a later one, and must not have this one written twice.
        if full {
            drop(self.prune(ts));
        }
        let (of, at) = tail.checkpoint;
        if tail.seq - of >= CHECKPOINT_ENTRIES || ts - at >= CHECKPOINT_SECONDS || ts < at {
            checkpoint = self.checkpoint(&mut tail, ts).ok().or(checkpoint);
        }
        self.tail = Some(tail);
        Ok(Appended {
            seq: entry.seq,
            checkpoint,
        })
    }

    /// Signs how far the trail is, if something came since the last time.
    pub(super) fn seal(&mut self, ts: i64) -> Result<Option<String>, TrailError> {
        let mut seal = || {
            let _lock = self.lock()?;
            let mut tail = self.refresh()?;
            if tail.seq == tail.checkpoint.0 {
                return Ok(None);
            }
            let line = self.checkpoint(&mut tail, ts)?;
            self.tail = Some(tail);
            Ok(Some(line))
        };
        seal().map_err(|e: io::Error| self.error(&e))
    }

    fn checkpoint(&self, tail: &mut Tail, ts: i64) -> io::Result<String> {
        let checkpoint = Checkpoint {
            pruned: false,
            seq: tail.seq,
            ts,
            mac: tail.mac,
        };
        let line = checkpoint.line(&self.keys);
        let mut file = append_to(&self.dir.join(CHECKPOINTS))?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()?;
        tail.checkpoint = (tail.seq, ts);
        Ok(line)
    }

    /// The end of the trail as it is now.
    fn refresh(&self) -> io::Result<Tail> {
        let mut all = segments(&self.dir)?;
        let mut newest = all.pop();
        if let Some(known) = &self.tail
            && newest.as_ref() == Some(&known.segment)
            && fs::metadata(&known.segment)?.len() == known.len
        {
            return Ok(known.clone());
        }
        let checkpoint = self
            .tail
            .as_ref()
            .map_or_else(|| last_checkpoint(&self.dir, &self.keys), |t| Ok(t.checkpoint))?;
        // A crash may have come between a segment's making and its first entry.
        let mut end = None;
        while let Some(segment) = &newest {
            let (len, last) = read_end(segment)?;
            if len > 0 {
                end = Some((len, last));
                break;
            }
            fs::remove_file(segment)?;
            newest = all.pop();
        }
        let (Some(segment), Some((len, last))) = (newest, end) else {
            // Of a trail that is gone, checkpoints may be left: the numbers go on, so that it shows.
            let tail = Tail {
                segment: PathBuf::new(),
                len: 0,
                seq: checkpoint.0,
                ts: checkpoint.1,
                mac: BEGINNING,
                checkpoint,
            };
            return Ok(tail);
        };
        let (entry, mac) = Entry::parse(&last).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Tail {
            segment,
            len,
            seq: entry.seq,
            ts: entry.ts,
            mac,
            checkpoint,
        })
    }

    /// Whether somebody else wrote since this was last asked.
    pub(super) fn others_wrote(&mut self) -> bool {
        let Some(known) = &self.tail else { return false };
        let newest = segments(&self.dir).ok().and_then(|mut all| all.pop());
        let as_known = newest.is_some_and(|newest| {
            newest == known.segment && fs::metadata(&newest).is_ok_and(|data| data.len() == known.len)
        });
        if !as_known && let Ok(tail) = self.lock().and_then(|_lock| self.refresh()) {
            self.follow(&tail);
            self.tail = Some(tail);
        }
        std::mem::take(&mut self.others)
    }

    /// Notices whether the trail goes on where this process left it.
    fn follow(&mut self, tail: &Tail) {
        self.others |= self.tail.as_ref().is_some_and(|known| known.seq != tail.seq);
    }

    /// Old segments go, and the checkpoints that are about them alone. A signed line says first that they were pruned:
    /// wherever a crash comes, the trail begins with its first entry or behind such a line.
    fn prune(&self, now: i64) -> io::Result<()> {
        let all = segments(&self.dir)?;
        let sizes = all.iter().rev().skip(1);
        let sizes = sizes.map(|s| fs::metadata(s).map_or(0, |m| m.len()));
        let mut total: u64 = sizes.sum();
        let oldest = now - i64::try_from(self.options.keep.as_secs()).unwrap_or(i64::MAX);
        let mut from = None;
        for pair in all.windows(2) {
            let (segment, next) = (&pair[0], &pair[1]);
            let (len, last) = read_end(segment)?;
            let too_old = Entry::parse(&last).is_some_and(|(entry, _)| entry.ts < oldest);
            if !too_old && total + self.segment_bytes() <= self.options.max_bytes {
                break;
            }
            from = Some(self.anchor(next, now)?);
            fs::remove_file(segment)?;
            total -= len.min(total);
        }
        from.map_or(Ok(()), |from| self.prune_checkpoints(from))
    }

    /// Signs that what lies before a segment was pruned. The number of its first entry.
    pub(super) fn anchor(&self, first: &Path, now: i64) -> io::Result<u64> {
        let mut text = String::new();
        BufReader::new(File::open(first)?)
            .take(MAX_LINE)
            .read_line(&mut text)?;
        let (entry, _) = Entry::parse(text.trim_end()).ok_or(io::ErrorKind::InvalidData)?;
        let pruned = Checkpoint {
            pruned: true,
            seq: entry.seq.saturating_sub(1),
            ts: now,
            mac: entry.prev,
        };
        let mut file = append_to(&self.dir.join(CHECKPOINTS))?;
        file.write_all(format!("{}\n", pruned.line(&self.keys)).as_bytes())?;
        file.sync_data()?;
        Ok(entry.seq)
    }

    /// What is about entries before this one alone goes.
    fn prune_checkpoints(&self, from: u64) -> io::Result<()> {
        let file = self.dir.join(CHECKPOINTS);
        let public = self.keys.public();
        let text = fs::read_to_string(&file)?;
        let kept: String = text
            .lines()
            .filter(|line| {
                let found = Checkpoint::find(line, &public).flatten();
                found.is_some_and(|c| c.seq >= from || (c.pruned && c.seq + 1 == from))
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let new = self.dir.join("checkpoints.new");
        drop(fs::remove_file(&new));
        let mut written = append_to(&new)?;
        written.write_all(kept.as_bytes())?;
        written.sync_data()?;
        fs::rename(new, file)
    }

    fn segment_bytes(&self) -> u64 {
        (self.options.max_bytes / 16).clamp(16 << 10, 4 << 20)
    }

    fn lock(&self) -> io::Result<File> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.dir)?;
        let lock = append_to(&self.dir.join(LOCK))?;
        lock.lock()?;
        Ok(lock)
    }

    fn error(&self, e: &io::Error) -> TrailError {
        match e.kind() {
            io::ErrorKind::InvalidData => TrailError::Damaged(self.dir.clone()),
            kind => TrailError::Files(self.dir.clone(), kind),
        }
    }
}

/// All lines of the trail, one after the other, with the file each is in. Nothing is checked.
pub(super) fn lines(
    data_dir: &Path,
) -> Result<impl Iterator<Item = Result<(PathBuf, String), TrailError>>, TrailError> {
    let dir = data_dir.join(DIR);
    let all = segments(&dir).map_err(|e| TrailError::Files(dir.clone(), e.kind()))?;
    Ok(all.into_iter().flat_map(move |segment| {
        let failed = |e: &io::Error| TrailError::Files(dir.clone(), e.kind());
        match File::open(&segment) {
            Err(e) => Lines::Failed(Some(failed(&e))),
            Ok(file) => Lines::Of(BufReader::new(file), segment, dir.clone()),
        }
    }))
}

/// Lines of one segment.
enum Lines {
    Failed(Option<TrailError>),
    Of(BufReader<File>, PathBuf, PathBuf),
}

impl Iterator for Lines {
    type Item = Result<(PathBuf, String), TrailError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Failed(error) => error.take().map(Err),
            Self::Of(reader, segment, dir) => match line(reader) {
                Ok(None) => None,
                Ok(Some(line)) => Some(Ok((segment.clone(), line))),
                Err(e) => Some(Err(TrailError::Files(dir.clone(), e.kind()))),
            },
        }
    }
}

/// One line, cut where no line of ours is so long. What a crash tore at the end is none.
fn line(reader: &mut BufReader<File>) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let n = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)?;
    let torn = n < MAX_LINE as usize && !bytes.ends_with(b"\n");
    let text = String::from_utf8_lossy(&bytes);
    Ok((!torn).then(|| text.trim_end_matches('\n').to_owned()))
}

/// The text of the file of checkpoints; empty when there is none.
pub(super) fn checkpoints(data_dir: &Path) -> Result<String, TrailError> {
    let dir = data_dir.join(DIR);
    match fs::read_to_string(dir.join(CHECKPOINTS)) {
        Ok(text) => Ok(text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(TrailError::Files(dir, e.kind())),
    }
}

fn last_checkpoint(dir: &Path, keys: &Keys) -> io::Result<(u64, i64)> {
    let text = match fs::read_to_string(dir.join(CHECKPOINTS)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let public = keys.public();
    let mut found = text
        .lines()
        .rev()
        .filter_map(|line| Checkpoint::find(line, &public).flatten());
    let last = found.find(|checkpoint| !checkpoint.pruned);
    Ok(last.map_or((0, 0), |c| (c.seq, c.ts)))
}

/// Length of a segment without a torn last line, which is cut off, and its last whole line.
fn read_end(segment: &Path) -> io::Result<(u64, String)> {
    let mut file = OpenOptions::new().read(true).write(true).open(segment)?;
    let len = file.metadata()?.len();
    let from = len.saturating_sub(2 * MAX_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if whole < bytes.len() {
        file.set_len(from + whole as u64)?;
        bytes.truncate(whole);
    }
    let text = String::from_utf8_lossy(&bytes);
    let last = text
        .trim_end_matches('\n')
        .rsplit('\n')
        .next()
        .unwrap_or_default();
    Ok((from + whole as u64, last.to_owned()))
}

/// All segments, oldest first.
fn segments(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for file in listed {
        let path = file?.path();
        if first_seq(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn segment_name(first: u64) -> String {
    format!("trail-{first:012}.log")
}

fn first_seq(segment: &Path) -> Option<u64> {
    let name = segment.file_name()?.to_str()?;
    name.strip_prefix("trail-")?.strip_suffix(".log")?.parse().ok()
}

fn append_to(file: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}
