//! The room with one door: what a transport knows of a viewer goes in, a pseudonym of the day comes out.
//!
//! [`RawViewer`] (address, agent) moves into [`Door::admit`] and ends there. What leaves is a [`Viewer`]: a
//! random number that stands for "the same viewer, today", and the family of the player. The number is not
//! computed from the viewer. It is drawn at random and found again through a map in memory, from
//! `HMAC-SHA-256(key of the day, address unit, player)` to the number; key and map are wiped when the day
//! ends and never touch a disk. So what is stored cannot be turned back, not even by somebody who tries all
//! addresses, once the day is over. While the day lasts, the numbers are pseudonymous, not anonymous: key
//! and map are in this process's memory. They therefore go no further than `analytics::store`.
//!
//! Known errors of counting, all accepted and told in the notice: viewers behind one address with the same
//! player and major version are one; a viewer who changes network or player is two; a restart of the relay
//! starts a new key, so a viewer of before and after is two (reports show the number of restarts). A
//! session belongs to the viewer and the day in which it began, also when it lasts past midnight.
//!
//! Never part of a pseudonym: ports, timing, language, TLS or SDP fingerprints, cookies, user names.
//!
//! Not here: sockets, headers, logs, serialization, files. This room names `base::clock` and `base::peer`
//! and nothing else of the program, so there is nothing it could hand an address to.

pub mod address;
mod client;
mod key;
mod raw;

use std::sync::Mutex;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::base::clock::SharedClock;
use crate::privacy::key::Epoch;

pub use crate::privacy::client::ClientClass;
pub use crate::privacy::client::ClientFamily;
pub use crate::privacy::raw::RawViewer;

/// Settings of the door.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where midnight is. The day of a viewer is a calendar day of this zone.
    pub time_zone: TimeZone,
    /// Whose viewers these are; a part of every pseudonym's input, so that two tenants share nothing.
    pub tenant: String,
    /// Viewers told apart in one day, about 60 bytes of memory each. Further ones share one pseudonym.
    pub most_viewers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            time_zone: TimeZone::UTC,
            tenant: "default".into(),
            most_viewers: 1_000_000,
        }
    }
}

/// Somebody who watches, without who: the same value for the same viewer within one day, and coarse facts.
///
/// No `Debug`, `Display` or `Serialize`: not even the pseudonym is for logs and answers.
///
/// ```compile_fail
/// fn log(viewer: louver::privacy::Viewer) { println!("{viewer:?}"); } // no Debug
/// ```
/// ```compile_fail
/// fn log(viewer: louver::privacy::Viewer) { println!("{viewer}"); } // no Display
/// ```
/// ```compile_fail
/// fn answer(viewer: louver::privacy::Viewer) -> [u8; 16] { viewer.day_id() } // for the store only
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Viewer {
    day_id: [u8; 16],
    client: ClientFamily,
    day: Date,
}

impl Viewer {
    /// The family of the player.
    pub fn client(&self) -> ClientFamily {
        self.client
    }
    /// The calendar day in which the viewer came through the door, in the zone of the [`Options`].
    pub fn day(&self) -> Date {
        self.day
    }
    /// The random number that stands for this viewer today. For `analytics::store` alone, which counts
    /// distinct ones and drops them when their day is rolled up.
    pub(crate) fn day_id(&self) -> [u8; 16] {
        self.day_id
    }
}

/// The door. Owns the key and the map of the day; shared by all transports.
///
/// ```compile_fail
/// fn print(door: &louver::privacy::Door) { println!("{door:?}"); } // nothing of the key to see
/// ```
pub struct Door {
    options: Options,
    clock: SharedClock,
    /// Held for the length of one HMAC and one look-up, when a session opens; never per packet.
    epoch: Mutex<Epoch>,
}

impl Door {
    /// A door with a fresh key.
    ///
    /// # Panics
    /// When the operating system has no random numbers: there is nothing else to protect viewers with.
    pub fn new(options: Options, clock: SharedClock) -> Self {
        let epoch = Mutex::new(Epoch::begin(clock.wall(), &options));
        Self {
            options,
            clock,
            epoch,
        }
    }

    /// The only way through. Takes `raw` by value, so the caller no longer has it.
    ///
    /// `None` for a viewer who opted out: nothing of them is kept, neither here nor by who gets the `None`.
    pub fn admit(&self, raw: RawViewer) -> Option<Viewer> {
        if raw.opted_out() {
            return None;
        }
        let mut epoch = self.epoch();
        epoch.follow(self.clock.wall(), &self.options);
        Some(Viewer {
            day_id: epoch.day_id(&raw, &self.options),
            client: raw.client().family,
            day: epoch.day(),
        })
    }

    /// Wipes key and map if their day is over, also when nobody comes through the door any more, and says
    /// how long the present day lasts. The program calls this at least once a second.
    pub fn wipe_when_over(&self) -> Duration {
        let now = self.clock.wall();
        let mut epoch = self.epoch();
        epoch.follow(now, &self.options);
        epoch.remaining(now)
    }

    /// Viewers told apart today.
    pub fn viewers(&self) -> usize {
        self.epoch().viewers()
    }

    /// How often today a viewer got the shared pseudonym because the map was full.
    pub fn overflowed(&self) -> u64 {
        self.epoch().overflowed()
    }

    fn epoch(&self) -> std::sync::MutexGuard<'_, Epoch> {
        self.epoch
            .lock()
            .expect("no panic happens while the lock is held")
    }
}

#[cfg(test)]
mod tests;
