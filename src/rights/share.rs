//! Links to one report: made by the operator, for whoever gets them, until they expire or are revoked.
//!
//! A link is the sealed number of a share; what it shows is in a file of its own, so that the relay and commands agree
//! without talking, and revoking is deleting. What is shown is of the published tier alone: closed days, in multiples of
//! k. How often a link was used is counted; by whom is not known. Not here: the report (`analytics::query`), the page (`web`).

use std::fs;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::ToSpan;
use jiff::tz::TimeZone;
use zeroize::Zeroizing;

use crate::base::master::Master;
use crate::base::whole;
use crate::base::why::Why;
use crate::rights::RightsError;
use crate::rights::seal::Seal;
use crate::rights::seal::hex;
use crate::rights::seal::unhex;

/// The directory in the data directory.
const DIR: &str = "shares";
/// What the name of a count ends with.
const COUNT: &str = ".views";
/// Shares at a time.
const MOST: usize = 1000;
/// What a share says is shorter.
const MAX_FILE: u64 = 4096;

/// All share links of a data directory. Cheap to clone.
#[derive(Clone)]
pub struct Shares {
    dir: Arc<PathBuf>,
    seal: Arc<Seal>,
    /// Held while a count is read and written again.
    counting: Arc<Mutex<()>>,
}

/// One report that is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// For the operator's list, and to revoke it; nobody can make a link of it.
    pub id: String,
    /// The configured name of the path.
    pub path: String,
    /// The first moment of the report.
    pub since: Timestamp,
    /// The moment behind its last.
    pub until: Timestamp,
    /// When the link ends.
    pub expires: Timestamp,
    /// How often it was looked at.
    pub views: u64,
}

/// What is in the place of a share.
enum Found {
    Share(Share),
    /// Something that is none.
    Other,
    Nothing,
}

impl Shares {
    /// Those of this data directory.
    pub fn new(data_dir: &Path, master: &Master) -> Self {
        Self {
            dir: Arc::new(data_dir.join(DIR)),
            seal: Arc::new(Seal::new(master, "share link", "s1")),
            counting: Arc::default(),
        }
    }

    /// Shares the report of one path over the last `days` days that are over. The token is what comes behind `/share/`.
    ///
    /// # Errors
    /// When there are too many, or the file cannot be written.
    pub fn make(
        &self,
        path: &str,
        days: u16,
        lasts: Duration,
        zone: &TimeZone,
        now: SystemTime,
    ) -> Result<(Zeroizing<String>, Share), RightsError> {
        if self.list(now)?.len() >= MOST {
            return Err(RightsError::Full);
        }
        let now = Timestamp::try_from(now).unwrap_or_default();
        let today = now.to_zoned(zone.clone()).date();
        let start = |day: jiff::civil::Date| day.to_zoned(zone.clone()).map(|z| z.timestamp());
        let first = today.saturating_sub(i32::from(days).days());
        let expires = now.checked_add(lasts).unwrap_or(Timestamp::MAX);
        let mut id = [0; 8];
        getrandom::fill(&mut id).expect("the operating system has random numbers");
        let share = Share {
            id: hex(&id),
            path: path.to_owned(),
            since: start(first).unwrap_or(Timestamp::UNIX_EPOCH),
            until: start(today).unwrap_or(now),
            expires,
            views: 0,
        };
        fs::create_dir_all(&*self.dir)?;
        let text = format!(
            "{}\n{}\n{}\n{}\n",
            share.path, share.since, share.until, share.expires
        );
        whole::write(&self.file(&share.id), &text)?;
        Ok((Zeroizing::new(self.seal.close(&id)), share))
    }

    /// The report that this is a link to.
    ///
    /// # Errors
    /// When it cannot be read now.
    pub fn open(&self, token: &str, now: SystemTime) -> Result<Option<Share>, RightsError> {
        let Some(id) = self.seal.open::<8>(token) else {
            return Ok(None);
        };
        Ok(match self.read(&hex(&id))? {
            Found::Share(share) if SystemTime::from(share.expires) > now => Some(share),
            _ => None,
        })
    }

    /// All that are in force, the next to end first. What is over is deleted, and what is no share. What cannot be read
    /// now is left out and stays: it may be in force.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self, now: SystemTime) -> Result<Vec<Share>, RightsError> {
        let mut all = Vec::new();
        let files = match fs::read_dir(&*self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(all),
            files => files?,
        };
        for file in files {
            let name = file?.file_name();
            let name = name.to_str().unwrap_or_default();
            let id = name.strip_suffix(COUNT).unwrap_or(name);
            if unhex::<8>(id).is_none() || (id != name && !self.is_gone(id)) {
                continue;
            }
            match self.read(id) {
                Err(error) => {
                    tracing::warn!(error = %Why::from(&error), "A share link cannot be read now, and is not listed.");
                }
                Ok(Found::Share(share)) if SystemTime::from(share.expires) > now => all.push(share),
                Ok(_) => drop(self.delete(id)?),
            }
        }
        all.sort_by(|a, b| (a.expires, &a.id).cmp(&(b.expires, &b.id)));
        Ok(all)
    }

    /// Ends a link at once; false when there is no such one.
    ///
    /// # Errors
    /// When the file cannot be deleted.
    pub fn revoke(&self, id: &str) -> Result<bool, RightsError> {
        let id = id.to_ascii_lowercase();
        // It need not be readable for that.
        Ok(unhex::<8>(&id).is_some() && self.delete(&id)?)
    }

    /// It was looked at once more. A count that cannot be written stops nobody. Waits for the disk.
    pub(super) fn count_view(&self, share: &Share) {
        let _one_at_a_time = self
            .counting
            .lock()
            .expect("no panic happens while the lock is held");
        let counts = self.count_file(&share.id);
        let views = self.views(&share.id) + 1;
        if let Err(error) = whole::write(&counts, &views.to_string()) {
            tracing::debug!(error = %error.kind(), "A look at a share link was not counted.");
        }
        // It may have been revoked since it was read, by a command too: no count stays behind.
        if self.is_gone(&share.id) {
            fs::remove_file(counts).ok();
        }
    }

    fn is_gone(&self, id: &str) -> bool {
        matches!(fs::metadata(self.file(id)), Err(e) if e.kind() == io::ErrorKind::NotFound)
    }

    /// # Errors
    /// When nobody can tell now what is there.
    fn read(&self, id: &str) -> io::Result<Found> {
        let mut text = Vec::new();
        match fs::File::open(self.file(id)) {
            Ok(file) => file.take(MAX_FILE + 1).read_to_end(&mut text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(e) => return Err(e),
        };
        let text = String::from_utf8(text)
            .ok()
            .filter(|text| text.len() as u64 <= MAX_FILE);
        let share = text.and_then(|text| self.parse(id, &text));
        Ok(share.map_or(Found::Other, Found::Share))
    }

    fn parse(&self, id: &str, text: &str) -> Option<Share> {
        let mut lines = text.lines();
        let path = lines.next()?.to_owned();
        let mut time = || lines.next()?.parse::<Timestamp>().ok();
        Some(Share {
            id: id.to_owned(),
            path,
            since: time()?,
            until: time()?,
            expires: time()?,
            views: self.views(id),
        })
    }

    fn views(&self, id: &str) -> u64 {
        let text = fs::read_to_string(self.count_file(id)).unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    }

    /// False when there was none.
    fn delete(&self, id: &str) -> io::Result<bool> {
        let _one_at_a_time = self
            .counting
            .lock()
            .expect("no panic happens while the lock is held");
        let gone = |file| match fs::remove_file(file) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        };
        // The share first: who counts in another process then sees that it is gone, and takes the count away.
        let there = gone(self.file(id))?;
        gone(self.count_file(id))?;
        Ok(there)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    fn count_file(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}{COUNT}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        text.parse::<Timestamp>().unwrap().into()
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_link_shows_the_days_before_today_until_it_expires_or_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let shares = Shares::new(dir.path(), &Master::of(1));
        let now = at("2026-11-23T10:00:00Z");
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let (token, share) = shares.make("cam", 7, DAY, &berlin, now).unwrap();
        assert_eq!(share.since.to_string(), "2026-11-15T23:00:00Z");
        assert_eq!(share.until.to_string(), "2026-11-22T23:00:00Z");
        assert_eq!(shares.open(&token, now).unwrap(), Some(share.clone()));
        let other = Shares::new(dir.path(), &Master::of(1));
        assert_eq!(
            other.open(&token, now + DAY / 2).unwrap(),
            Some(share.clone()),
            "in another process"
        );
        assert_eq!(shares.open(&token, now + DAY).unwrap(), None, "over");
        assert!(other.revoke(&share.id).unwrap() && !other.revoke(&share.id).unwrap());
        assert_eq!(shares.open(&token, now).unwrap(), None, "revoked");
        assert!(!shares.revoke("../../etc").unwrap());
    }

    #[test]
    fn looks_are_counted_and_what_is_over_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let shares = Shares::new(dir.path(), &Master::of(1));
        let now = at("2026-11-23T10:00:00Z");
        let (_, brief) = shares.make("a", 1, DAY, &TimeZone::UTC, now).unwrap();
        let (token, _) = shares.make("b", 1, DAY * 2, &TimeZone::UTC, now).unwrap();
        shares.count_view(&brief);
        shares.count_view(&brief);
        let list = shares.list(now).unwrap();
        assert_eq!(list.iter().map(|s| s.views).collect::<Vec<_>>(), [2, 0]);
        let list = shares.list(now + DAY).unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!(fs::read_dir(dir.path().join(DIR)).unwrap().count(), 1);
        let text = fs::read_to_string(dir.path().join(DIR).join(&list[0].id)).unwrap();
        let mac = token.rsplit_once('.').unwrap().1;
        assert!(!text.contains(mac), "no link can be made of what is kept");
    }

    /// A directory in a file's place can be opened and not be read, by nobody: so are all files while a process has no
    /// descriptors left.
    #[cfg(unix)]
    #[test]
    fn what_cannot_be_read_now_is_neither_deleted_nor_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let shares = Shares::new(dir.path(), &Master::of(1));
        let now = at("2026-11-23T10:00:00Z");
        let (token, share) = shares.make("a", 1, DAY, &TimeZone::UTC, now).unwrap();
        shares.make("b", 1, DAY, &TimeZone::UTC, now).unwrap();
        let (file, away) = (shares.file(&share.id), dir.path().join("away"));
        fs::rename(&file, &away).unwrap();
        fs::create_dir(&file).unwrap();
        let paths: Vec<String> = shares.list(now).unwrap().into_iter().map(|s| s.path).collect();
        assert_eq!(paths, ["b"]);
        assert!(shares.open(&token, now).is_err(), "not \"nothing of that\"");
        assert!(shares.make("c", 1, DAY, &TimeZone::UTC, now).is_ok());
        fs::remove_dir(&file).unwrap();
        fs::rename(&away, &file).unwrap();
        assert_eq!(shares.open(&token, now).unwrap(), Some(share));
        // What is no share goes.
        let other = shares.file("0102030405060708");
        for text in ["no share".to_owned(), "x".repeat(5000)] {
            fs::write(&other, text).unwrap();
            assert_eq!(shares.list(now).unwrap().len(), 3);
            assert!(!other.exists());
        }
    }

    #[test]
    fn no_count_stays_behind_a_link_that_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let shares = Shares::new(dir.path(), &Master::of(1));
        let now = at("2026-11-23T10:00:00Z");
        let files = || fs::read_dir(dir.path().join(DIR)).unwrap().count();
        let (token, _) = shares.make("a", 1, DAY, &TimeZone::UTC, now).unwrap();
        let seen = shares.open(&token, now).unwrap().unwrap();
        assert!(shares.revoke(&seen.id).unwrap());
        shares.count_view(&seen);
        assert_eq!(files(), 0, "who looked just before it was revoked");
        fs::write(shares.count_file(&seen.id), "7").unwrap();
        assert!(shares.list(now).unwrap().is_empty());
        assert_eq!(files(), 0, "left by a former version");
    }
}
