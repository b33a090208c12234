//! The door for records of the past: one random key for each calendar day of the records, wiped when the day is done.
//!
//! Keys are drawn like those of the present and have nothing to do with them, so two runs over the same log have nothing
//! in common, and neither has a viewer of the log with one of today. Who uses the door says when a day is done; from then
//! on nobody of that day or of an earlier one comes through: the key is gone, and another would make one viewer two.

use std::collections::BTreeMap;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::base::peer::PeerAddr;
use crate::privacy::Consent;
use crate::privacy::Options;
use crate::privacy::Pseudonym;
use crate::privacy::RawViewer;
use crate::privacy::key::Epoch;

/// The door.
pub struct PastDoor {
    options: Options,
    open: BTreeMap<Date, Epoch>,
    /// The last day that is done.
    done: Option<Date>,
}

impl PastDoor {
    /// A door without any key yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            open: BTreeMap::new(),
            done: None,
        }
    }

    /// Takes somebody through who was there at that time.
    ///
    /// `None`: that day is done, they had objected, or nobody may be counted who did not agree. The number is for counting in
    /// memory, the same for the same viewer in one day and one run: nothing of it may be stored.
    pub fn admit(&mut self, peer: PeerAddr, agent: &str, at: SystemTime) -> Option<Pseudonym> {
        let raw = RawViewer::new(peer, Some(agent));
        let day = self.day(at);
        // Logs have no proof that anybody agreed.
        let counted = self.options.consent == Consent::Exempt && !raw.opted_out();
        if !counted || self.done.is_some_and(|done| day <= done) {
            return None;
        }
        let options = &self.options;
        let epoch = self.open.entry(day).or_insert_with(|| Epoch::begin(at, options));
        let countries = options.countries.as_ref();
        Some(Pseudonym {
            day_id: epoch.day_id(&raw, options),
            kept: false,
            client: raw.client().family,
            country: countries.map(|countries| countries.of(raw.unit().ip())),
            day,
        })
    }

    /// The calendar day of a moment, in the zone of the [`Options`].
    pub fn day(&self, at: SystemTime) -> Date {
        let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
        at.to_zoned(self.options.time_zone.clone()).date()
    }

    /// This day is done, and all before it: their keys and maps are wiped.
    pub fn close(&mut self, day: Date) {
        self.open.retain(|open, _| *open > day);
        self.done = self.done.max(Some(day));
    }

    /// Days that have a key now.
    pub fn open_days(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::UNIX_EPOCH;

    use super::*;

    const DAY: u64 = 86_400;

    fn at(day: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(day * DAY + 3_600)
    }

    fn who(door: &mut PastDoor, agent: &str, day: u64) -> Option<[u8; 16]> {
        let peer = PeerAddr::new("203.0.113.7:5000".parse().unwrap());
        door.admit(peer, agent, at(day)).map(|viewer| viewer.day_id())
    }

    #[test]
    fn a_viewer_is_one_in_a_day_and_nobody_in_the_next_or_in_another_run() {
        let mut door = PastDoor::new(Options::default());
        let first = who(&mut door, "VLC/3", 1);
        assert!(first.is_some());
        assert_eq!(who(&mut door, "VLC/3", 1), first);
        assert_ne!(who(&mut door, "VLC/3", 2), first);
        assert_eq!(who(&mut door, "VLC/3", 1), first, "both days are open");
        assert_ne!(who(&mut PastDoor::new(Options::default()), "VLC/3", 1), first);
    }

    #[test]
    fn nobody_comes_through_into_a_day_that_is_done() {
        let mut door = PastDoor::new(Options::default());
        who(&mut door, "", 1);
        who(&mut door, "", 2);
        who(&mut door, "", 3);
        assert_eq!(door.open_days(), 3);
        door.close(door.day(at(2)));
        assert_eq!(door.open_days(), 1);
        assert!(who(&mut door, "", 2).is_none() && who(&mut door, "", 0).is_none());
        assert!(who(&mut door, "", 3).is_some());
    }

    #[test]
    fn who_objected_or_never_agreed_is_not_counted() {
        let mut door = PastDoor::new(Options::default());
        assert!(who(&mut door, "VLC nostats", 1).is_none());
        for consent in [Consent::Off, Consent::OptIn] {
            let options = Options {
                consent,
                ..Options::default()
            };
            assert!(who(&mut PastDoor::new(options), "VLC", 1).is_none());
        }
        assert_eq!(door.open_days(), 0, "no key is drawn for them");
    }
}
