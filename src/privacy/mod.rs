//! The room with one door: what a transport knows of a viewer goes in, a pseudonym of the day comes out.
//!
//! [`RawViewer`] (address, agent) moves into [`Door::admit`] and does not come out. What leaves is a [`Viewer`], which can do
//! nothing but give a [`Pseudonym`] when a session begins: a random number that stands for "the same viewer, today", and
//! coarse facts. The number is not computed from the viewer. It is drawn at random and found again through a map in
//! memory, from `HMAC-SHA-256(key of the day, address unit, player)` to the number; key and map are wiped when the day
//! ends and never touch a disk. So what is stored cannot be turned back, not even by somebody who tries all
//! addresses, once the day is over. While the day lasts, the numbers are pseudonymous, not anonymous: key
//! and map are in this process's memory. They therefore go no further than `analytics::store`. At level `anonymous`
//! they are not even stored.
//!
//! Known errors of counting, all accepted and told in the notice: viewers behind one address with the same
//! player and major version are one; a viewer who changes network or player is two; a restart of the relay
//! starts a new key, so a viewer of before and after is two (reports show the number of restarts). A
//! session belongs to the viewer and the day in which it began, also when it lasts past midnight.
//!
//! Never part of a pseudonym: ports, timing, language, TLS or SDP fingerprints, cookies, user names.
//!
//! Not here: sockets, headers, logs, serialization, files. This room names `base::clock`, `locked`,
//! `peer` and `raw` and nothing else of the program, so there is nothing it could hand an address to.

pub mod address;
mod clerk;
mod client;
mod country;
pub mod fields;
mod key;
mod map;
mod past;
mod policy;
mod raw;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;
use std::time::SystemTime;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::base::clock::SharedClock;
use crate::privacy::key::Epoch;

pub use crate::privacy::clerk::Clerk;
pub use crate::privacy::clerk::Receipt;
pub use crate::privacy::clerk::row_number;
pub use crate::privacy::client::ClientClass;
pub use crate::privacy::client::ClientFamily;
pub use crate::privacy::country::Countries;
pub use crate::privacy::country::Country;
pub use crate::privacy::country::NotADatabase;
pub use crate::privacy::key::Rotations;
pub use crate::privacy::past::PastDoor;
pub use crate::privacy::policy::Consent;
pub use crate::privacy::policy::Level;
pub use crate::privacy::policy::Policy;
pub use crate::privacy::raw::RawViewer;

/// Settings of the door.
#[derive(Clone)]
pub struct Options {
    /// Where midnight is. The day of a viewer is a calendar day of this zone.
    pub time_zone: TimeZone,
    /// Whose viewers these are; a part of every pseudonym's input, so that two tenants share nothing.
    pub tenant: String,
    /// Viewers told apart in one day, about 60 bytes of memory each. Further ones share one pseudonym.
    pub most_viewers: usize,
    /// How much the statistics know of a viewer.
    pub level: Level,
    /// Who is counted at all.
    pub consent: Consent,
    /// To look countries up in; `None`: countries are not told.
    pub countries: Option<Arc<Countries>>,
    /// Who knows what viewers agreed to, and gives receipts; `None`: nobody agreed to anything.
    pub clerk: Option<Arc<dyn Clerk>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            time_zone: TimeZone::UTC,
            tenant: "default".into(),
            most_viewers: 1_000_000,
            level: Level::default(),
            consent: Consent::default(),
            countries: None,
            clerk: None,
        }
    }
}

/// Somebody who came through the door. Opaque: all it can do is to give a [`Pseudonym`] when a session begins.
///
/// No `Debug`, `Display` or `Serialize`.
///
/// ```compile_fail,E0277
/// fn log(viewer: louver::privacy::Viewer) { println!("{viewer:?}"); } // no Debug
/// ```
/// ```compile_fail,E0277
/// fn log(viewer: louver::privacy::Viewer) { println!("{viewer}"); } // no Display
/// ```
/// ```compile_fail,E0277
/// fn answer(viewer: louver::privacy::Viewer) { serde_json::to_string(&viewer); } // no Serialize
/// ```
#[derive(Clone)]
pub struct Viewer(Arc<Admitted>);

struct Admitted {
    raw: RawViewer,
    room: Arc<Room>,
    /// The number of the session that will begin next, drawn before so that there can be a receipt of it.
    session: Mutex<Option<[u8; 16]>>,
}

impl Viewer {
    /// A session of this viewer begins: who that is for the statistics, by the day that it is now. After midnight the
    /// same viewer has another number, made from the address anew.
    pub fn begin(&self) -> Pseudonym {
        let Admitted { raw, room, .. } = &*self.0;
        let mut inner = room.today(room.clock.wall());
        let day = inner.epoch.day();
        let day_id = match raw.agreement() {
            Some(agreement) => {
                let known_longer = room.options.level == Level::Identified;
                row_number(agreement, &room.options.tenant, (!known_longer).then_some(day))
            }
            None => inner.epoch.day_id(raw, &room.options),
        };
        drop(inner);
        let countries = room.options.countries.as_ref();
        Pseudonym {
            day_id,
            kept: room.options.level != Level::Anonymous,
            client: raw.client().family,
            country: countries.map(|countries| countries.of(raw.unit().ip())),
            day,
        }
    }

    /// A number that all readers of one viewer have in common today, by which reports of how well they receive are told
    /// apart by viewer. A keyed hash of its own, cut to 64 bits: nobody can look up or store anything by it.
    pub fn reader_number(&self) -> u64 {
        let Admitted { raw, room, .. } = &*self.0;
        let inner = room.today(room.clock.wall());
        inner.epoch.reader_number(raw, &room.options)
    }

    /// Whether a session may still begin: somebody of the same network may have objected since, or the viewer taken the
    /// consent back.
    pub fn may_begin(&self) -> bool {
        let Admitted { raw, room, .. } = &*self.0;
        if let (Some(agreement), Some(clerk)) = (raw.agreement(), &room.options.clerk)
            && !clerk.stands(agreement)
        {
            return false;
        }
        !room.today(room.clock.wall()).epoch.is_silent(raw, &room.options)
    }

    /// What makes the viewer able to see and erase the session that begins next; `None` where no receipts are given.
    pub fn receipt(&self) -> Option<Receipt> {
        let clerk = self.0.room.options.clerk.as_ref()?;
        let session = *self.session();
        clerk.receipt(session.as_ref()?)
    }

    /// The number of the session that begins now; `None` when it was another's already.
    pub(crate) fn take_session(&self) -> Option<[u8; 16]> {
        self.session().take()
    }

    fn session(&self) -> MutexGuard<'_, Option<[u8; 16]>> {
        self.0
            .session
            .lock()
            .expect("no panic happens while the lock is held")
    }
}

/// Somebody who watches, without who: the same number for the same viewer within one day, and coarse facts.
///
/// No `Debug`, `Display` or `Serialize`: not even the number is for logs and answers.
///
/// ```compile_fail,E0277
/// fn log(viewer: louver::privacy::Pseudonym) { println!("{viewer:?}"); } // no Debug
/// ```
/// ```compile_fail,E0624
/// fn answer(viewer: louver::privacy::Pseudonym) -> [u8; 16] { viewer.day_id() } // for the store only
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pseudonym {
    day_id: [u8; 16],
    kept: bool,
    client: ClientFamily,
    country: Option<Country>,
    day: Date,
}

impl Pseudonym {
    /// The family of the player.
    pub fn client(&self) -> ClientFamily {
        self.client
    }
    /// The country, where there is a database to look it up in.
    pub fn country(&self) -> Option<Country> {
        self.country
    }
    /// The calendar day in which the session began, in the zone of the [`Options`].
    pub fn day(&self) -> Date {
        self.day
    }
    /// The random number that stands for this viewer today, for the memory of `analytics` alone, which counts distinct
    /// ones by it. What may be stored of it is [`Self::stored_id`].
    pub(crate) fn day_id(&self) -> [u8; 16] {
        self.day_id
    }
    /// What the store may keep of [`Self::day_id`] until the day is added up: nothing at level `anonymous`.
    pub(crate) fn stored_id(&self) -> Option<[u8; 16]> {
        self.kept.then_some(self.day_id)
    }
}

/// The door. Owns the key and the map of the day; shared by all transports.
///
/// ```compile_fail,E0277
/// fn print(door: &louver::privacy::Door) { println!("{door:?}"); } // nothing of the key to see
/// ```
pub struct Door(Arc<Room>);

struct Room {
    options: Options,
    clock: SharedClock,
    /// Held for the length of one HMAC and one look-up, when a session opens; never per packet.
    inner: Mutex<Inner>,
}

struct Inner {
    epoch: Epoch,
    rotations: Rotations,
    /// Paths of which nobody's session is recorded.
    sensitive: HashSet<String>,
}

impl Door {
    /// A door with a fresh key.
    ///
    /// # Panics
    /// When the operating system has no random numbers: there is nothing else to protect viewers with.
    pub fn new(options: Options, clock: SharedClock) -> Self {
        let inner = Inner {
            epoch: Epoch::begin(clock.wall(), &options),
            rotations: Rotations::default(),
            sensitive: HashSet::new(),
        };
        Self(Arc::new(Room {
            options,
            clock,
            inner: Mutex::new(inner),
        }))
    }

    /// The only way through. Takes `raw` by value, so the caller no longer has it.
    ///
    /// `None` for a viewer who is not to be counted: nothing of them is kept, neither here nor by who gets the `None`.
    /// Nothing is kept of others either until a session begins.
    pub fn admit(&self, raw: RawViewer) -> Option<Viewer> {
        self.admit_to("", raw)
    }

    /// As [`Self::admit`], for who wants to watch `path`: `None` also when that path is sensitive.
    pub fn admit_to(&self, path: &str, mut raw: RawViewer) -> Option<Viewer> {
        let room = &self.0;
        if raw.opted_out() || room.options.consent == Consent::Off {
            return None;
        }
        let inner = room.today(room.clock.wall());
        if inner.sensitive.contains(path) || inner.epoch.is_silent(&raw, &room.options) {
            return None;
        }
        drop(inner);
        if room.options.consent == Consent::OptIn {
            let token = raw.take_token()?;
            let clerk = room.options.clerk.as_ref()?;
            raw.agree(clerk.agreed(token.expose_raw(), path)?);
        }
        Some(Viewer(Arc::new(Admitted {
            raw,
            room: Arc::clone(room),
            session: Mutex::new(Some(key::random_id())),
        })))
    }

    /// Nobody of this viewer's network (see [`address`]) is counted any more, until the day ends. Only a keyed hash of the
    /// network is kept, in memory, and wiped with the day's key. False when too many networks asked already.
    pub fn keep_out(&self, raw: RawViewer) -> bool {
        let room = &self.0;
        room.today(room.clock.wall()).epoch.silence(&raw, &room.options)
    }

    /// Of these paths, nobody's session is recorded from now on.
    pub fn keep_silent_about(&self, paths: impl IntoIterator<Item = String>) {
        self.0.inner().sensitive = paths.into_iter().collect();
    }

    /// Wipes key and map if their day is over, also when nobody comes through the door any more, and says
    /// how long the present day lasts. The program calls this at least once a second.
    pub fn wipe_when_over(&self) -> Duration {
        let now = self.0.clock.wall();
        self.0.today(now).epoch.remaining(now)
    }

    /// Viewers told apart today.
    pub fn viewers(&self) -> usize {
        self.0.inner().epoch.viewers()
    }

    /// Bytes that the map of the day takes.
    pub fn map_bytes(&self) -> usize {
        self.0.inner().epoch.map_bytes()
    }

    /// How often today a viewer got the shared pseudonym because the map was full.
    pub fn overflowed(&self) -> u64 {
        self.0.inner().epoch.overflowed()
    }

    /// How often keys were changed.
    pub fn rotations(&self) -> Rotations {
        self.0.inner().rotations
    }

    /// Whether the system promised to keep the key out of swap and core files.
    pub fn key_is_locked(&self) -> bool {
        self.0.inner().epoch.is_locked()
    }

    /// The key itself, for tests that play thief. No build but the tests' has this.
    #[cfg(test)]
    pub(crate) fn stolen_key(&self) -> Vec<u8> {
        self.0.inner().epoch.key().to_vec()
    }

    /// What is in force.
    pub fn options(&self) -> &Options {
        &self.0.options
    }
}

impl Room {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("no panic happens while the lock is held")
    }

    /// The inner room, in the day that it is now.
    fn today(&self, now: SystemTime) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner();
        let Inner { epoch, rotations, .. } = &mut *inner;
        epoch.follow(now, &self.options, rotations);
        inner
    }
}

#[cfg(test)]
mod tests;
