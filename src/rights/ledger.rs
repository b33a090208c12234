//! The proof of consents (Art. 7(1) GDPR): who is asked shows that somebody agreed, to what, and that they took it back.
//!
//! One line for each consent and each withdrawal, chained under a key: a keyed hash of the consent's number, the path, the
//! version of the notice, the hour, until when. No address, no name, and no number: nobody who has the file can make a
//! consent of it or tell whose it is. A consent that is not in it is none. Lines are never deleted: they must be there as
//! long as somebody may ask for the proof.
//!
//! Not here: the tokens (`consent`), what is erased (`desk`).

use std::collections::HashMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::base::master::Master;
use crate::rights::file::Lines;
use crate::rights::file::News;
use crate::rights::seal::digest;
use crate::rights::seal::hex;
use crate::rights::seal::unhex;

/// The file in the data directory.
const FILE: &str = "consents";

/// Lines that are kept in mind; no further consents are taken.
const MOST: usize = 200_000;

const HOUR: i64 = 3_600;

/// Consents and withdrawals.
pub(super) struct Ledger {
    lines: Lines,
    known: Known,
}

/// What was read.
struct Known {
    keys: Keys,
    count: u64,
    last: [u8; 16],
    /// By the hash of a consent's number: whether it was withdrawn.
    consents: HashMap<[u8; 16], bool>,
    /// The first line that does not follow from those before. Nothing from there on is believed.
    broken: Option<u64>,
}

struct Keys {
    chain: Zeroizing<[u8; 32]>,
    name: Zeroizing<[u8; 32]>,
}

/// How a consent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Unknown,
    Given,
    Withdrawn,
}

/// What the ledger says when it is asked as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proofs {
    pub given: usize,
    pub withdrawn: usize,
    /// The first line that somebody changed.
    pub broken: Option<u64>,
}

/// What was agreed to.
pub(super) struct Terms<'t> {
    /// A path, or `*`.
    pub(super) scope: &'t str,
    /// The version of the notice that was shown.
    pub(super) notice: &'t str,
    /// Seconds since 1970.
    pub(super) now: i64,
    /// The last day, in days since 1970.
    pub(super) until: u32,
}

impl Ledger {
    pub(super) fn new(data_dir: &Path, master: &Master) -> Self {
        Self {
            lines: Lines::new(data_dir.join(FILE)),
            known: Known {
                keys: Keys {
                    chain: master.key("consent chain"),
                    name: master.key("consent name"),
                },
                count: 0,
                last: [0; 16],
                consents: HashMap::new(),
                broken: None,
            },
        }
    }

    /// How the consent of this number stands now.
    pub(super) fn standing(&mut self, id: &[u8; 16]) -> io::Result<Standing> {
        self.read()?;
        Ok(self.known.standing(&self.known.keys.name_of(id)))
    }

    /// Whole numbers, for the operator.
    pub(super) fn proofs(&mut self) -> io::Result<Proofs> {
        self.read()?;
        let withdrawn = self.known.consents.values().filter(|gone| **gone).count();
        Ok(Proofs {
            given: self.known.consents.len(),
            withdrawn,
            broken: self.known.broken,
        })
    }

    /// Notes a consent. False when there is no room, or what is there cannot be believed.
    pub(super) fn give(&mut self, id: &[u8; 16], terms: &Terms<'_>) -> io::Result<bool> {
        let name = self.known.keys.name_of(id);
        let text = |until: u32| {
            let hour = Timestamp::from_second(terms.now.div_euclid(HOUR) * HOUR).unwrap_or_default();
            format!(
                "given {} audience {} {} {} {until}",
                hex(&name),
                terms.scope,
                terms.notice,
                hour.strftime("%Y-%m-%dT%HZ")
            )
        };
        self.append(|known| {
            let room = known.consents.len() < MOST && known.broken.is_none();
            room.then(|| known.line(&text(terms.until)))
        })
    }

    /// Notes that a consent was taken back. False when it was before, or never given.
    pub(super) fn withdraw(&mut self, id: &[u8; 16], now: i64) -> io::Result<bool> {
        let name = self.known.keys.name_of(id);
        let hour = Timestamp::from_second(now.div_euclid(HOUR) * HOUR).unwrap_or_default();
        let text = format!("withdrawn {} {}", hex(&name), hour.strftime("%Y-%m-%dT%HZ"));
        self.append(|known| {
            let given = known.standing(&name) == Standing::Given;
            given.then(|| known.line(&text))
        })
    }

    fn read(&mut self) -> io::Result<()> {
        let news = self.lines.news()?;
        learn(&mut self.known, &news);
        Ok(())
    }

    fn append(&mut self, line: impl FnOnce(&mut Known) -> Option<String>) -> io::Result<bool> {
        let mut written = None;
        let done = self.lines.append(&mut self.known, learn, |known| {
            written = line(known);
            written.clone()
        })?;
        if let Some(line) = written {
            self.known.take(&line);
        }
        Ok(done)
    }
}

impl Keys {
    fn name_of(&self, id: &[u8; 16]) -> [u8; 16] {
        digest(&self.name, &[id])
    }
}

impl Known {
    fn standing(&self, name: &[u8; 16]) -> Standing {
        match self.consents.get(name) {
            None => Standing::Unknown,
            Some(false) => Standing::Given,
            Some(true) => Standing::Withdrawn,
        }
    }

    /// The next line: its number, what it says, and a MAC over both and the MAC before.
    fn line(&self, text: &str) -> String {
        let body = format!("{} {text}", self.count + 1);
        let mac = digest(&self.keys.chain, &[body.as_bytes(), b"\n", &self.last]);
        format!("{body} {}", hex(&mac))
    }

    /// Believes a line that follows from those before.
    fn take(&mut self, line: &str) {
        if self.broken.is_some() {
            return;
        }
        if self.follow(line).is_none() {
            self.broken = Some(self.count + 1);
            tracing::error!(
                line = self.count + 1,
                "The proof of consents was changed. Nothing from this line on is believed."
            );
        }
    }

    fn follow(&mut self, line: &str) -> Option<()> {
        let (body, mac) = line.rsplit_once(' ')?;
        let mac: [u8; 16] = unhex(mac)?;
        let right = digest(&self.keys.chain, &[body.as_bytes(), b"\n", &self.last]);
        let mut words = body.split(' ');
        let number: u64 = words.next()?.parse().ok()?;
        if mac != right || number != self.count + 1 {
            return None;
        }
        let (what, name) = (words.next()?, unhex(words.next()?)?);
        match what {
            "given" => self.consents.insert(name, false),
            "withdrawn" => self.consents.insert(name, true),
            _ => return None,
        };
        self.count = number;
        self.last = mac;
        Some(())
    }
}

fn learn(known: &mut Known, news: &News) {
    if news.begun_anew {
        known.count = 0;
        known.last = [0; 16];
        known.consents.clear();
        known.broken = None;
    }
    news.text.lines().for_each(|line| known.take(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms<'_> = Terms {
        scope: "cam",
        notice: "0102030405ff",
        now: 1_795_436_999,
        until: 20_800,
    };

    fn ledger(dir: &Path) -> Ledger {
        Ledger::new(dir, &Master::of(1))
    }

    #[test]
    fn a_consent_stands_until_it_is_withdrawn_and_another_process_sees_it_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (mut relay, mut command) = (ledger(dir.path()), ledger(dir.path()));
        assert_eq!(relay.standing(&[1; 16]).unwrap(), Standing::Unknown);
        assert!(relay.give(&[1; 16], &TERMS).unwrap());
        assert!(relay.give(&[2; 16], &TERMS).unwrap());
        assert_eq!(relay.standing(&[1; 16]).unwrap(), Standing::Given);
        assert!(command.withdraw(&[1; 16], TERMS.now).unwrap());
        assert!(!command.withdraw(&[1; 16], TERMS.now).unwrap(), "once");
        assert!(!command.withdraw(&[9; 16], TERMS.now).unwrap(), "never given");
        assert_eq!(relay.standing(&[1; 16]).unwrap(), Standing::Withdrawn);
        assert_eq!(relay.standing(&[2; 16]).unwrap(), Standing::Given);
        let proofs = ledger(dir.path()).proofs().unwrap();
        assert_eq!((proofs.given, proofs.withdrawn, proofs.broken), (2, 1, None));
    }

    #[test]
    fn the_file_tells_the_hour_and_neither_numbers_nor_the_second() {
        let dir = tempfile::tempdir().unwrap();
        ledger(dir.path()).give(&[0xab; 16], &TERMS).unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(text.starts_with("1 given "), "{text}");
        assert!(text.contains(" audience cam 0102030405ff 2026-11-23T"), "{text}");
        assert!(!text.contains("abab") && !text.contains(':'), "{text}");
    }

    #[test]
    fn who_changes_swaps_or_removes_a_line_is_found_and_nothing_behind_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        let mut whole = ledger(dir.path());
        for n in 1..=3 {
            whole.give(&[n; 16], &TERMS).unwrap();
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let changed = text.replacen(" cam ", " dam ", 1);
        let swapped = format!("{}\n{}\n{}\n", lines[0], lines[2], lines[1]);
        let removed = format!("{}\n{}\n", lines[0], lines[2]);
        for (broken, at) in [(changed, 1), (swapped, 2), (removed, 2)] {
            std::fs::write(&file, broken).unwrap();
            let mut again = ledger(dir.path());
            assert_eq!(again.proofs().unwrap().broken, Some(at));
            assert_eq!(again.standing(&[3; 16]).unwrap(), Standing::Unknown);
            assert!(!again.give(&[4; 16], &TERMS).unwrap(), "nothing is added to it");
        }
    }
}
