//! What was given out with noise, of which day, for how much of its budget. A file in the data directory.
//!
//! Noise protects as long as nobody gets many noisy answers about the same day: each release spends a part of the day's
//! budget, and a table of a day is drawn once; who asks again gets the same numbers. The file is locked from reading to
//! writing, and what is released is on the disk before anybody sees it. One line of JSON per table and day; a line that
//! cannot be read stops all further releases, since nobody knows then what was spent.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;
use serde_json::json;

use crate::analytics::private::Epsilon;
use crate::analytics::private::Table;

/// The file.
pub(super) const FILE: &str = "private-releases.jsonl";

/// What may be spent of each day, for all tables together.
pub const BUDGET: Epsilon = Epsilon(1000);

/// Longest ledger that is read: some hundred thousand releases.
const MAX_LEN: u64 = 256 << 20;

/// Why there is no release.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("cannot use the ledger {0} ({1}); it says what may still be given out, so nothing is")]
    File(PathBuf, io::ErrorKind),
    #[error(
        "line {line} of the ledger {file} cannot be read; put it back from a backup: without it nobody knows what was spent"
    )]
    Damaged { file: PathBuf, line: usize },
    #[error(
        "of the budget of {budget} for {date} only {left} is left, and this would spend {epsilon}; ask for less, or for \
         other days"
    )]
    Spent {
        date: String,
        budget: Epsilon,
        left: Epsilon,
        epsilon: Epsilon,
    },
}

/// One table of one day, as it was given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Release {
    /// Days since 1970.
    pub(super) day: i64,
    pub(super) table: Table,
    pub(super) epsilon: Epsilon,
    pub(super) rows: Vec<(String, u64)>,
}

impl Release {
    fn line(&self) -> String {
        let value = json!({
            "day": self.day, "table": self.table.name(), "epsilon_thousandths": self.epsilon.0, "rows": self.rows,
        });
        format!("{value}\n")
    }
    fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let row = |row: &Value| Some((row.get(0)?.as_str()?.to_owned(), row.get(1)?.as_u64()?));
        Some(Self {
            day: value.get("day")?.as_i64()?,
            table: Table::named(value.get("table")?.as_str()?)?,
            epsilon: Epsilon(u32::try_from(value.get("epsilon_thousandths")?.as_u64()?).ok()?),
            rows: value
                .get("rows")?
                .as_array()?
                .iter()
                .map(row)
                .collect::<Option<_>>()?,
        })
    }
}

/// The ledger, locked: nobody else releases anything until it goes.
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    all: Vec<Release>,
}

impl Ledger {
    /// Waits for the lock and reads what was released.
    pub(super) fn lock(data_dir: &Path) -> Result<Self, LedgerError> {
        let path = data_dir.join(FILE);
        let failed = |e: io::Error| LedgerError::File(path.clone(), e.kind());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        let mut bytes = Vec::new();
        if file.metadata().map_err(failed)?.len() > MAX_LEN {
            return Err(LedgerError::File(path, io::ErrorKind::FileTooLarge));
        }
        file.read_to_end(&mut bytes).map_err(failed)?;
        // A last line without end was never given out: that happens after it is whole and on the disk.
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(failed)?;
        }
        let mut all = Vec::new();
        let lines = bytes[..whole]
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty());
        for (line, number) in lines.zip(1..) {
            let read = std::str::from_utf8(line).ok().and_then(Release::parse);
            all.push(read.ok_or_else(|| LedgerError::Damaged {
                file: path.clone(),
                line: number,
            })?);
        }
        Ok(Self { path, file, all })
    }

    /// What was given out of this table of this day.
    pub(super) fn released(&self, day: i64, table: Table) -> Option<&Release> {
        self.all.iter().find(|r| r.day == day && r.table == table)
    }

    /// What is left of the budget of a day.
    pub(super) fn left(&self, day: i64) -> Epsilon {
        let of_day = self.all.iter().filter(|release| release.day == day);
        let spent = of_day.map(|release| u64::from(release.epsilon.0)).sum::<u64>();
        Epsilon(u32::try_from(u64::from(BUDGET.0).saturating_sub(spent)).unwrap_or(0))
    }

    /// Writes down what is about to be given out; it may be given out once this is done.
    pub(super) fn note(&mut self, releases: Vec<Release>) -> Result<(), LedgerError> {
        let lines: String = releases.iter().map(Release::line).collect();
        let written = self
            .file
            .seek(io::SeekFrom::End(0))
            .and_then(|_| self.file.write_all(lines.as_bytes()))
            .and_then(|()| self.file.sync_all());
        written.map_err(|e| LedgerError::File(self.path.clone(), e.kind()))?;
        self.all.extend(releases);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn release(day: i64, table: Table, thousandths: u32) -> Release {
        Release {
            day,
            table,
            epsilon: Epsilon(thousandths),
            rows: vec![("a,\"b".to_owned(), 3), (String::new(), 0)],
        }
    }

    #[test]
    fn a_restart_forgets_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let first = release(20_778, Table::Total, 250);
        Ledger::lock(dir.path())
            .unwrap()
            .note(vec![first.clone()])
            .unwrap();
        let mut again = Ledger::lock(dir.path()).unwrap();
        assert_eq!(again.released(20_778, Table::Total), Some(&first));
        assert_eq!(again.released(20_778, Table::Path), None);
        assert_eq!(again.released(20_779, Table::Total), None);
        again.note(vec![release(20_778, Table::Path, 700)]).unwrap();
        drop(again);
        let third = Ledger::lock(dir.path()).unwrap();
        assert_eq!((third.left(20_778), third.left(20_779)), (Epsilon(50), BUDGET));
        #[cfg(unix)]
        {
            let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
        }
    }

    #[test]
    fn half_a_line_was_never_given_out_and_a_broken_one_stops_everything() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        let good = release(1, Table::Total, 400).line();
        fs::write(&file, format!("{good}{}", &good[..good.len() / 2])).unwrap();
        let ledger = Ledger::lock(dir.path()).unwrap();
        assert_eq!(ledger.left(1), Epsilon(600));
        drop(ledger);
        assert_eq!(fs::read_to_string(&file).unwrap(), good);
        fs::write(&file, format!("{good}{{\"day\":1}}\n")).unwrap();
        let broken = Ledger::lock(dir.path());
        assert!(matches!(broken, Err(LedgerError::Damaged { line: 2, .. })));
    }
}
