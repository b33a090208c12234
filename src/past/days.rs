//! Records to sessions, a day at a time.
//!
//! Some days are open at a time, since logs are not quite in order; when one more begins, the oldest is given out and its
//! key is wiped. Requests of one viewer for one path within a minute of each other are one session, as reconnecting is
//! one view with viewers of today; a viewer has another number after midnight, so there such a session ends and another
//! begins. What the log does not say (how long the last request was watched) is not made up.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use jiff::civil::Date;
use percent_encoding::percent_decode_str;

use crate::analytics::past::PastSession;
use crate::past::lines::Carrier;
use crate::past::lines::Format;
use crate::past::lines::Record;
use crate::privacy::ClientClass;
use crate::privacy::Options;
use crate::privacy::PastDoor;
use crate::privacy::Pseudonym;

/// Requests no further apart are one session, in seconds.
const GAP: i64 = 60;
/// Sessions that are kept in memory until their days are done, some 100 bytes each; more are not counted, and told.
const MOST_SESSIONS: usize = 4_000_000;
/// What all paths are called that the operator did not name. No path can have this name.
const OTHER: &str = "(other)";

/// How records are read.
pub struct Settings {
    pub format: Format,
    /// Of the door.
    pub privacy: Options,
    /// Names of paths that may be kept; all others are one.
    pub paths: Vec<String>,
    /// Names of paths of which nobody's session is counted.
    pub sensitive: Vec<String>,
    /// The present. Its day is not over, so it is not counted.
    pub now: SystemTime,
    /// Days before that are older than what is kept.
    pub oldest: Date,
}

/// What happened to records, as counts alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Records: somebody watched.
    pub records: u64,
    /// Of the audience, that began in days that were given out.
    pub sessions: u64,
    /// Of recorders and monitors.
    pub machines: u64,
    /// Days that were given out.
    pub days: u64,
    /// Records of days that were given out already: files were not given oldest first.
    pub too_late: u64,
    /// Records of days that are not over, or of the future.
    pub not_over: u64,
    /// Records of days older than what is kept.
    pub too_old: u64,
    /// Records of viewers who had objected, or never agreed where they must.
    pub objected: u64,
    /// Records of sensitive paths.
    pub sensitive: u64,
    /// Records for which there was no room.
    pub too_many: u64,
}

/// A day that is done.
pub struct Day {
    pub date: Date,
    /// That began in it.
    pub began: Vec<Session>,
    /// That began in days before, and were still watched in it.
    pub went_on: Vec<Session>,
}

/// Somebody watched a path for a while. Neither printed nor stored as it is.
#[derive(Clone)]
pub struct Session {
    pub viewer: Pseudonym,
    pub path: Arc<str>,
    pub carrier: Carrier,
    /// Seconds since 1970.
    pub from: i64,
    /// Not before `from`.
    pub to: i64,
}

impl Session {
    /// Whether it was a recorder or a monitor.
    pub fn is_machine(&self) -> bool {
        self.viewer.client().class() == ClientClass::Machine
    }

    /// What the statistics take of it. `began`: whether in the day that is counted.
    pub fn to_count(&self, began: bool) -> PastSession {
        let country = self.viewer.country();
        PastSession {
            viewer: self.viewer.day_id(),
            path: Arc::clone(&self.path),
            protocol: self.carrier.protocol(),
            transport: self.carrier.transport(),
            client: self.viewer.client().name(),
            country: country.as_ref().map_or("", |country| country.name()).into(),
            machine: self.is_machine(),
            began,
            from_ms: self.from.saturating_mul(1000),
            to_ms: self.to.saturating_mul(1000),
        }
    }
}

/// Puts records together to sessions and days.
pub struct Days {
    settings: Settings,
    door: PastDoor,
    names: Names,
    today: Date,
    open: BTreeMap<Date, Open>,
    /// The last day that was given out.
    done: Option<Date>,
    /// Of days that are done, which last longer.
    lasting: Vec<Session>,
    held: usize,
    told: Told,
}

/// A day that is not done.
#[derive(Default)]
struct Open {
    sessions: Vec<Session>,
    /// The session of a viewer on a path that may go on.
    last: HashMap<([u8; 16], Arc<str>), usize>,
}

impl Days {
    /// Nothing read yet.
    pub fn new(settings: Settings) -> Self {
        let door = PastDoor::new(settings.privacy.clone());
        Self {
            today: door.day(settings.now),
            door,
            names: Names::new(&settings),
            settings,
            open: BTreeMap::new(),
            done: None,
            lasting: Vec::new(),
            held: 0,
            told: Told::default(),
        }
    }

    /// What happened so far.
    pub fn told(&self) -> Told {
        self.told
    }

    /// Takes a record; gives the days that are done by it.
    pub fn add(&mut self, record: Record) -> Vec<Day> {
        self.take(record);
        let mut done = Vec::new();
        while self.open.len() > self.settings.format.open_days() {
            done.extend(self.finish_oldest());
        }
        done
    }

    fn take(&mut self, record: Record) {
        self.told.records += 1;
        let Some(at) = moment(record.from).filter(|at| self.door.day(*at) < self.today) else {
            self.told.not_over += 1;
            return;
        };
        let date = self.door.day(at);
        if self.done.is_some_and(|done| date <= done) {
            self.told.too_late += 1;
            return;
        }
        if date < self.settings.oldest {
            self.told.too_old += 1;
            return;
        }
        let Some(path) = self.names.of(&record.path) else {
            self.told.sensitive += 1;
            return;
        };
        let says_no = record.objects || is_of_objector(&record.path);
        let Record {
            peer,
            agent,
            carrier,
            from,
            to,
            ..
        } = record;
        let admitted = match says_no {
            true => None,
            false => self.door.admit(peer, &agent, at),
        };
        let Some(viewer) = admitted else {
            self.told.objected += 1;
            return;
        };
        self.put(
            date,
            Session {
                viewer,
                path,
                carrier,
                from,
                to,
            },
        );
    }

    /// The next of the days that are left, at the end of the log.
    pub fn finish_oldest(&mut self) -> Option<Day> {
        let (date, mut open) = self.open.pop_first()?;
        self.done = Some(date);
        self.door.close(date);
        self.held -= open.sessions.len();
        if self.settings.format.has_requests() {
            join(&mut open.sessions);
        }
        let end = date.tomorrow().map_or(i64::MAX, |next| self.start_of(next));
        let machines = open
            .sessions
            .iter()
            .filter(|session| session.is_machine())
            .count() as u64;
        self.told.days += 1;
        self.told.machines += machines;
        self.told.sessions += open.sessions.len() as u64 - machines;
        let went_on = std::mem::take(&mut self.lasting);
        let last_longer = went_on.iter().chain(&open.sessions).filter(|s| s.to > end);
        self.lasting = last_longer.cloned().collect();
        Some(Day {
            date,
            began: open.sessions,
            went_on,
        })
    }

    fn put(&mut self, date: Date, session: Session) {
        // Days in which it went on are days too, also when nobody came then.
        let mut next = date.tomorrow();
        while let Some(day) = next
            .ok()
            .filter(|day| *day < self.today && self.start_of(*day) < session.to)
        {
            self.open.entry(day).or_default();
            next = day.tomorrow();
        }
        let day = self.open.entry(date).or_default();
        let key = (session.viewer.day_id(), Arc::clone(&session.path));
        let requests = self.settings.format.has_requests();
        let last = day.last.get(&key).filter(|_| requests);
        if let Some(before) = last.and_then(|n| day.sessions.get_mut(*n))
            && session.from <= before.to + GAP
            && session.to >= before.from - GAP
        {
            before.from = before.from.min(session.from);
            before.to = before.to.max(session.to);
            return;
        }
        if self.held >= MOST_SESSIONS {
            self.told.too_many += 1;
            return;
        }
        self.held += 1;
        if requests {
            day.last.insert(key, day.sessions.len());
        }
        day.sessions.push(session);
    }

    /// The first second of a day, since 1970.
    fn start_of(&self, date: Date) -> i64 {
        let zone = self.settings.privacy.time_zone.clone();
        date.to_zoned(zone)
            .map_or(i64::MAX, |start| start.timestamp().as_second())
    }
}

/// Makes one of what is one: lines that came late may have begun a session beside the one that they belong to.
fn join(sessions: &mut Vec<Session>) {
    let whose = |a: &Session| (a.viewer.day_id(), Arc::clone(&a.path), a.from);
    sessions.sort_by_cached_key(whose);
    sessions.dedup_by(|next, kept| {
        let same = next.viewer.day_id() == kept.viewer.day_id() && next.path == kept.path;
        let joins = same && next.from <= kept.to + GAP;
        if joins {
            kept.to = kept.to.max(next.to);
        }
        joins
    });
    sessions.sort_by_key(|session| session.from);
}

/// Whether `nostats/` stands in a path, by which viewers say that they do not want to be counted.
fn is_of_objector(path: &str) -> bool {
    let mut parts = path.split('/').rev().skip(1);
    parts.any(|part| {
        percent_decode_str(part)
            .decode_utf8_lossy()
            .eq_ignore_ascii_case("nostats")
    })
}

fn moment(seconds: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// Names of paths that may be kept, and of those that may not even be counted.
struct Names {
    /// Longest first, so that `front/door` is found before `front`.
    known: Vec<(Arc<str>, bool)>,
    other: Arc<str>,
}

impl Names {
    fn new(settings: &Settings) -> Self {
        let kept = settings.paths.iter().filter(|p| !settings.sensitive.contains(p));
        let kept = kept.map(|name| (name.as_str().into(), false));
        let sensitive = settings.sensitive.iter().map(|name| (name.as_str().into(), true));
        let mut known: Vec<(Arc<str>, bool)> = kept.chain(sensitive).collect();
        known.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Self {
            known,
            other: OTHER.into(),
        }
    }

    /// The name that is kept for what was asked for; `None`: it is sensitive.
    fn of(&self, asked: &str) -> Option<Arc<str>> {
        let asked = percent_decode_str(asked).decode_utf8_lossy();
        for (name, sensitive) in &self.known {
            if is_of(&asked, name) {
                return (!sensitive).then(|| Arc::clone(name));
            }
        }
        Some(Arc::clone(&self.other))
    }
}

/// Whether something that was asked for belongs to a path: its name stands there from the beginning of a directory on, and
/// ends there, or goes on as a file of it (`cam/seg1.ts`, `cam.mp3`, `cam-17.ts`, `cam_17.ts`). No two paths differ by case
/// alone.
fn is_of(asked: &str, name: &str) -> bool {
    let asked = asked.trim_start_matches('/');
    let starts = std::iter::once(0).chain(asked.match_indices('/').map(|(at, _)| at + 1));
    starts
        .filter_map(|at| {
            let (begins, rest) = asked.get(at..)?.split_at_checked(name.len())?;
            begins.eq_ignore_ascii_case(name).then_some(rest)
        })
        .any(|rest| {
            let mut rest = rest.chars();
            match rest.next() {
                None | Some('/' | '.') => true,
                Some('-' | '_') => rest.next().is_some_and(|c| c.is_ascii_digit()),
                Some(_) => false,
            }
        })
}
