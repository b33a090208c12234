//! Is the trail what was written? Every MAC, every number, every checkpoint; what is wrong is told with its number.
//!
//! What this proves, and what it does not: whoever lacks the installation's secret cannot change, add, leave out or move
//! an entry unseen. Whoever has the secret as well (root on this machine) can write another trail; against that help
//! only copies of checkpoints elsewhere, which can be handed in here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::audit::checkpoint::Checkpoint;
use crate::audit::entry::Action;
use crate::audit::entry::BEGINNING;
use crate::audit::entry::Entry;
use crate::audit::entry::Mac;
use crate::audit::keys::Keys;
use crate::audit::trail;
use crate::audit::trail::TrailError;

/// What a verification found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub entries: u64,
    /// Numbers of the first and the last entry.
    pub range: Option<(u64, u64)>,
    /// Checkpoints that hold.
    pub checkpoints: u64,
    /// What shows that somebody meddled; empty is good.
    pub problems: Vec<Problem>,
    /// Entries at which the clock went back, which is no proof of anything.
    pub clock_back: Vec<u64>,
}

/// Most problems that are told.
const MAX_PROBLEMS: usize = 100;

/// What shows that somebody meddled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The entry is not what was written, or was written elsewhere.
    Changed { seq: u64 },
    /// Entries that should lie between others do not.
    Missing { from: u64, to: u64 },
    /// An entry lies behind a later one, or twice.
    OutOfOrder { seq: u64 },
    /// An entry does not follow the one before it.
    Unlinked { seq: u64 },
    /// No entry at all.
    NoEntry { after: u64 },
    /// Checkpoints name entries behind the last one.
    CutOff { last: u64, checkpoint: u64 },
    /// The first entry follows something that no checkpoint knows.
    NoBeginning { first: u64 },
    /// A checkpoint says that the entry was another.
    Replaced { seq: u64 },
    /// A checkpoint that this installation did not sign.
    ForeignCheckpoint,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { seq } => {
                write!(
                    f,
                    "entry {seq} was changed, or was written by another installation"
                )
            }
            Self::Missing { from, to } if from == to => write!(f, "entry {from} is missing"),
            Self::Missing { from, to } => write!(f, "entries {from} to {to} are missing"),
            Self::OutOfOrder { seq } => write!(f, "entry {seq} is not in its place"),
            Self::Unlinked { seq } => write!(f, "entry {seq} does not follow the one before it"),
            Self::NoEntry { after } => write!(f, "a line behind entry {after} is no entry"),
            Self::CutOff { last, checkpoint } => write!(
                f,
                "the trail ends at entry {last}, but a checkpoint names entry {checkpoint}: its end was cut off"
            ),
            Self::NoBeginning { first } => write!(
                f,
                "the trail begins at entry {first}, and nothing signed says that the rest was pruned: its beginning was cut off"
            ),
            Self::Replaced { seq } => {
                write!(
                    f,
                    "entry {seq} is not the one that was signed: the trail was written anew"
                )
            }
            Self::ForeignCheckpoint => write!(f, "a checkpoint was not signed by this installation"),
        }
    }
}

/// Verifies the trail of a data directory, against its own checkpoints and those found in `more`.
///
/// # Errors
/// When files cannot be read.
pub fn verify(data_dir: &Path, keys: &Keys, more: &str) -> Result<Verified, TrailError> {
    let mut checks = Checks::new(keys, &trail::checkpoints(data_dir)?, more);
    for line in trail::lines(data_dir)? {
        checks.line(&line?.1);
    }
    Ok(checks.finish())
}

struct Checks<'k> {
    keys: &'k Keys,
    signed: BTreeMap<u64, Mac>,
    /// Where the trail may begin.
    pruned: BTreeMap<u64, Mac>,
    last: Option<(u64, i64, Mac)>,
    found: Verified,
}

impl<'k> Checks<'k> {
    fn new(keys: &'k Keys, own: &str, more: &str) -> Self {
        let mut checks = Self {
            keys,
            signed: BTreeMap::new(),
            pruned: BTreeMap::new(),
            last: None,
            found: Verified::default(),
        };
        let public = keys.public();
        for line in own.lines().chain(more.lines()) {
            match Checkpoint::find(line, &public) {
                None => {}
                Some(None) => checks.problem(Problem::ForeignCheckpoint),
                Some(Some(checkpoint)) if checkpoint.pruned => {
                    checks.pruned.insert(checkpoint.seq, checkpoint.mac);
                }
                Some(Some(checkpoint)) => {
                    let known = checks.signed.insert(checkpoint.seq, checkpoint.mac);
                    if known.is_some_and(|mac| mac != checkpoint.mac) {
                        checks.problem(Problem::Replaced { seq: checkpoint.seq });
                    }
                }
            }
        }
        checks
    }

    fn problem(&mut self, problem: Problem) {
        if self.found.problems.len() < MAX_PROBLEMS && !self.found.problems.contains(&problem) {
            self.found.problems.push(problem);
        }
    }

    fn line(&mut self, line: &str) {
        let Some((entry, mac)) = Entry::parse(line) else {
            let after = self.last.map_or(0, |(seq, ..)| seq);
            return self.problem(Problem::NoEntry { after });
        };
        let seq = entry.seq;
        self.found.entries += 1;
        if self.keys.mac(&entry.text(), &entry.prev) != mac {
            self.problem(Problem::Changed { seq });
        }
        match self.last {
            None => self.first(&entry),
            Some((last, ts, before)) => {
                if seq <= last {
                    return self.problem(Problem::OutOfOrder { seq });
                }
                if seq > last + 1 {
                    self.problem(Problem::Missing {
                        from: last + 1,
                        to: seq - 1,
                    });
                } else if entry.prev != before {
                    self.problem(Problem::Unlinked { seq });
                }
                if entry.ts < ts && self.found.clock_back.len() < MAX_PROBLEMS {
                    self.found.clock_back.push(seq);
                }
            }
        }
        match self.signed.get(&seq) {
            None => {}
            Some(signed) if *signed == mac => self.found.checkpoints += 1,
            Some(_) => self.problem(Problem::Replaced { seq }),
        }
        let first = self.found.range.map_or(seq, |(first, _)| first);
        self.found.range = Some((first, seq));
        self.last = Some((seq, entry.ts, mac));
    }

    /// What was pruned is anchored by a signed line.
    fn first(&mut self, entry: &Entry) {
        let anchored = match entry.seq {
            1 => entry.prev == BEGINNING,
            seq => self.pruned.get(&(seq - 1)) == Some(&entry.prev),
        };
        if !anchored {
            self.problem(Problem::NoBeginning { first: entry.seq });
        }
    }

    fn finish(mut self) -> Verified {
        let last = self.last.map_or(0, |(seq, ..)| seq);
        if let Some((&checkpoint, _)) = self.signed.last_key_value()
            && checkpoint > last
        {
            self.problem(Problem::CutOff { last, checkpoint });
        }
        self.found
    }
}

/// The entries from `since` (seconds since 1970) on, oldest first, whether they hold or not.
///
/// # Errors
/// When files cannot be read.
pub fn show(data_dir: &Path, since: i64, mut each: impl FnMut(&Entry)) -> Result<(), TrailError> {
    for line in trail::lines(data_dir)? {
        if let Some((entry, _)) = Entry::parse(&line?.1)
            && entry.ts >= since
        {
            each(&entry);
        }
    }
    Ok(())
}

/// The settings as the trail last has them: name and value, as they were told with [`Action::Setting`].
///
/// # Errors
/// When files cannot be read.
pub fn last_settings(data_dir: &Path) -> Result<BTreeMap<String, String>, TrailError> {
    let mut settings = BTreeMap::new();
    show(data_dir, i64::MIN, |entry| {
        if entry.action == Action::Setting {
            let (_, now) = entry.detail.rsplit_once(" -> ").unwrap_or(("", &entry.detail));
            settings.insert(entry.object.clone(), now.to_owned());
        }
    })?;
    Ok(settings)
}
