//! What was erased stays erased, also when a backup of the database is put back.
//!
//! One line for each erased number (of a session, or of a viewer's rows of one day): a keyed hash of it, and the day after
//! which no row of it can be there any more by any retention. At each start, and when a command added some, the rows of
//! the store are compared with them. Not here: the comparing (`analytics`).

use std::collections::HashMap;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use crate::base::master::Master;
use crate::rights::file::Lines;
use crate::rights::file::News;
use crate::rights::seal::digest;
use crate::rights::seal::hex;
use crate::rights::seal::unhex;

/// The file in the data directory. It must not be put back from a backup with the rest.
const FILE: &str = "erased";

/// Rows are kept for 31 days at most, whatever the configuration says; and some to be sure of time zones.
const DAYS: u32 = 33;

/// Tombstones that are kept. Nothing more is erased for good: who asks is told so.
const MOST: usize = 500_000;

/// The numbers that were erased, as hashes.
pub(super) struct Tombstones {
    lines: Lines,
    known: Known,
}

struct Known {
    key: Zeroizing<[u8; 32]>,
    /// By hash: the last day, in days since 1970.
    erased: HashMap<[u8; 16], u32>,
    /// Others added some since it was last asked.
    news: bool,
}

impl Tombstones {
    pub(super) fn new(data_dir: &Path, master: &Master) -> Self {
        Self {
            lines: Lines::new(data_dir.join(FILE)),
            known: Known {
                key: master.key("tombstones"),
                erased: HashMap::new(),
                news: false,
            },
        }
    }

    /// Reads what others added.
    pub(super) fn read(&mut self) -> io::Result<()> {
        let news = self.lines.news()?;
        learn(&mut self.known, &news);
        Ok(())
    }

    /// Whether others added some since this was last asked.
    pub(super) fn take_news(&mut self) -> io::Result<bool> {
        self.read()?;
        Ok(std::mem::take(&mut self.known.news))
    }

    /// Puts up tombstones. False when there is no room.
    pub(super) fn put(&mut self, ids: &[[u8; 16]], today: u32) -> io::Result<bool> {
        let until = today + DAYS;
        let mut text = Vec::new();
        let done = self.lines.append(&mut self.known, learn, |known| {
            let room = known.erased.len() + ids.len() <= MOST && !ids.is_empty();
            text = ids
                .iter()
                .map(|id| format!("{until} {}", hex(&known.name_of(id))))
                .collect();
            room.then(|| text.join("\n"))
        })?;
        if done {
            text.iter().for_each(|line| self.known.take(line));
        }
        Ok(done)
    }

    /// Tells for any number whether it was erased. What is put up later is not in it.
    pub(super) fn chosen(&self) -> impl Fn(&[u8; 16]) -> bool + Send + Sync + use<> {
        let (key, erased) = (self.known.key.clone(), self.known.erased.clone());
        move |id| erased.contains_key(&digest(&key, &[id]))
    }

    /// Whether this number was erased.
    pub(super) fn knows(&self, id: &[u8; 16]) -> bool {
        self.known.erased.contains_key(&self.known.name_of(id))
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.known.erased.is_empty()
    }

    /// Takes away those that nothing can be under any more.
    pub(super) fn tidy(&mut self, today: u32) -> io::Result<()> {
        self.read()?;
        if self.known.erased.values().all(|until| *until >= today) {
            return Ok(());
        }
        self.lines.replace(&mut self.known, learn, |known| {
            known.erased.retain(|_, until| *until >= today);
            let lines = known.erased.iter();
            Some(
                lines
                    .map(|(name, until)| format!("{until} {}\n", hex(name)))
                    .collect(),
            )
        })
    }
}

impl Known {
    fn name_of(&self, id: &[u8; 16]) -> [u8; 16] {
        digest(&self.key, &[id])
    }
    /// A line that says nothing is passed over.
    fn take(&mut self, line: &str) {
        let (until, name) = line.split_once(' ').unwrap_or_default();
        if let (Ok(until), Some(name)) = (until.parse(), unhex(name)) {
            self.erased.insert(name, until);
        }
    }
}

fn learn(known: &mut Known, news: &News) {
    if news.begun_anew {
        known.erased.clear();
    }
    known.news |= !news.text.is_empty();
    news.text.lines().for_each(|line| known.take(line));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_erased_is_known_again_by_another_process_and_by_no_number_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut one = Tombstones::new(dir.path(), &Master::of(1));
        let mut other = Tombstones::new(dir.path(), &Master::of(1));
        assert!(one.put(&[[7; 16], [8; 16]], 100).unwrap());
        assert!(one.chosen()(&[7; 16]) && !one.chosen()(&[9; 16]));
        other.read().unwrap();
        assert!(other.chosen()(&[8; 16]) && other.take_news().unwrap());
        assert!(!other.take_news().unwrap(), "nothing new");
        other.put(&[[9; 16]], 100).unwrap();
        assert!(!other.take_news().unwrap() && one.take_news().unwrap());
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(!text.contains("0707") && !text.contains("0808"), "{text}");
    }

    #[test]
    fn tombstones_go_when_no_row_can_be_there_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut one = Tombstones::new(dir.path(), &Master::of(1));
        one.put(&[[7; 16]], 100).unwrap();
        one.put(&[[8; 16]], 110).unwrap();
        one.tidy(100 + DAYS).unwrap();
        assert!(one.chosen()(&[7; 16]) && one.chosen()(&[8; 16]));
        one.tidy(101 + DAYS).unwrap();
        assert!(!one.chosen()(&[7; 16]) && one.chosen()(&[8; 16]));
        one.put(&[[9; 16]], 111).unwrap();
        let mut again = Tombstones::new(dir.path(), &Master::of(1));
        again.read().unwrap();
        assert!(again.chosen()(&[8; 16]) && again.chosen()(&[9; 16]) && !again.chosen()(&[7; 16]));
    }
}
