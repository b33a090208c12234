//! The key of the day and the map of the day: born together, wiped together, never written anywhere.
//!
//! The key is random, never derived from a date, a configuration or another key, so nobody can make it
//! again. Whether the day is over is asked at every use, by the wall clock: a clock that jumps ahead starts
//! a new key, and a clock that jumps back starts a new one too: a day's key is never used again once it was
//! left. There is no overlap: the old key is gone when the new one is there.

use std::ops::Range;
use std::time::Duration;
use std::time::SystemTime;

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use jiff::Timestamp;
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sha2::Sha256;
use zeroize::Zeroize;

use crate::base::locked::LockedKey;
use crate::privacy::Options;
use crate::privacy::RawViewer;
use crate::privacy::map::Id;
use crate::privacy::map::Map;
use crate::privacy::map::Tag;

/// A key that was left so much after its day's end is told of: the machine slept, or the clock was set.
const LATE: Duration = Duration::from_secs(5 * 60);

/// Networks that can be kept out on one day.
const MOST_SILENT: usize = 10_000;

/// How often keys were changed since the program started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotations {
    /// All of them.
    pub changed: u64,
    /// More than five minutes after the day's end.
    pub late: u64,
    /// Because the wall clock stepped back to an earlier day.
    pub back: u64,
}

impl Rotations {
    fn note(&mut self, span: &Range<Timestamp>, now: Timestamp) {
        self.changed += 1;
        let over = Duration::try_from(now.duration_since(span.end)).unwrap_or_default();
        self.late += u64::from(over > LATE);
        self.back += u64::from(now < span.start);
    }
}

/// One calendar day's key and map.
pub(in crate::privacy) struct Epoch {
    /// From the first instant of the day to the first of the next; 23 to 25 hours.
    span: Range<Timestamp>,
    day: Date,
    key: LockedKey,
    map: Map,
    /// Networks of which somebody objected for all; what they lead to means nothing.
    silent: Map,
    /// The pseudonym of all viewers for whom the map has no room.
    shared: Id,
    overflowed: u64,
}

impl Epoch {
    /// The day that `now` is in, with a fresh key.
    pub(in crate::privacy) fn begin(now: SystemTime, options: &Options) -> Self {
        let (day, span) = calendar_day(now, &options.time_zone);
        Self {
            span,
            day,
            key: LockedKey::new(fill),
            map: Map::default(),
            silent: Map::default(),
            shared: random_id(),
            overflowed: 0,
        }
    }

    /// Starts a new day if `now` is not in this one, whichever side it is on. The old key and map are
    /// wiped.
    pub(in crate::privacy) fn follow(
        &mut self,
        now: SystemTime,
        options: &Options,
        rotations: &mut Rotations,
    ) {
        let at = timestamp(now);
        if !self.span.contains(&at) {
            rotations.note(&self.span, at);
            *self = Self::begin(now, options);
        }
    }

    /// The number of a viewer, the same one all day.
    pub(in crate::privacy) fn day_id(&mut self, raw: &RawViewer, options: &Options) -> Id {
        let mut tag = self.tag(raw, &options.tenant);
        let known = self.map.get(&tag);
        let id = known.unwrap_or_else(|| {
            if self.map.len() >= options.most_viewers {
                self.overflowed += 1;
                return self.shared;
            }
            let id = random_id();
            self.map.insert(&tag, &id);
            id
        });
        tag.zeroize();
        id
    }

    /// Counts nobody of this network any more; false when there is no room for it.
    pub(in crate::privacy) fn silence(&mut self, raw: &RawViewer, options: &Options) -> bool {
        let mut tag = self.network(raw, &options.tenant);
        let known = self.silent.get(&tag).is_some();
        let room = known || self.silent.len() < MOST_SILENT;
        if room && !known {
            self.silent.insert(&tag, &[1; 16]);
        }
        tag.zeroize();
        room
    }

    /// Whether somebody of this network objected for all of it.
    pub(in crate::privacy) fn is_silent(&self, raw: &RawViewer, options: &Options) -> bool {
        if self.silent.len() == 0 {
            return false;
        }
        let mut tag = self.network(raw, &options.tenant);
        let silent = self.silent.get(&tag).is_some();
        tag.zeroize();
        silent
    }

    /// As [`Viewer::reader_number`](crate::privacy::Viewer::reader_number): `"rv1 reader" | ...`, so that it has nothing in
    /// common with what the map is looked up by.
    pub(in crate::privacy) fn reader_number(&self, raw: &RawViewer, options: &Options) -> u64 {
        let client = raw.client();
        let [high, low] = client.major.to_be_bytes();
        let player = [client.family as u8, high, low];
        let mut tag = self.keyed(b"rv1 reader", raw, &options.tenant, Some(&player));
        let number = tag
            .iter()
            .take(8)
            .fold(0, |number, byte| (number << 8) | u64::from(*byte));
        tag.zeroize();
        number
    }

    pub(in crate::privacy) fn day(&self) -> Date {
        self.day
    }
    pub(in crate::privacy) fn viewers(&self) -> usize {
        self.map.len()
    }
    pub(in crate::privacy) fn map_bytes(&self) -> usize {
        self.map.bytes()
    }
    pub(in crate::privacy) fn overflowed(&self) -> u64 {
        self.overflowed
    }
    pub(in crate::privacy) fn is_locked(&self) -> bool {
        self.key.is_locked()
    }
    /// How long the day still lasts.
    pub(in crate::privacy) fn remaining(&self, now: SystemTime) -> Duration {
        Duration::try_from(self.span.end.duration_since(timestamp(now))).unwrap_or_default()
    }

    /// `"rv1" | lp(tenant) | lp(day) | address family | lp(address unit) | lp(player, major)` under the
    /// key, cut to 128 bits. `lp` is a length of 16 bits before the bytes, so that no two inputs are
    /// written alike.
    fn tag(&self, raw: &RawViewer, tenant: &str) -> Tag {
        let client = raw.client();
        let [high, low] = client.major.to_be_bytes();
        self.keyed(b"rv1", raw, tenant, Some(&[client.family as u8, high, low]))
    }

    /// The same without the player, under another name: `"rv1 network" | lp(tenant) | lp(day) | ...`.
    fn network(&self, raw: &RawViewer, tenant: &str) -> Tag {
        self.keyed(b"rv1 network", raw, tenant, None)
    }

    fn keyed(&self, name: &[u8], raw: &RawViewer, tenant: &str, player: Option<&[u8]>) -> Tag {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.bytes()).expect("a key of any length is taken");
        let day = days_since_1970(self.day).to_be_bytes();
        mac.update(name);
        update_with_length(&mut mac, tenant.as_bytes());
        update_with_length(&mut mac, &day);
        mac.update(&[raw.unit().family()]);
        update_with_length(&mut mac, raw.unit().bytes());
        if let Some(player) = player {
            update_with_length(&mut mac, player);
        }
        let mut whole = mac.finalize().into_bytes();
        let mut tag = [0; 16];
        tag.copy_from_slice(&whole[..16]);
        whole.as_mut_slice().zeroize();
        tag
    }
    /// For tests that play thief.
    #[cfg(test)]
    pub(in crate::privacy) fn key(&self) -> &[u8] {
        self.key.bytes()
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.shared.zeroize();
    }
}

/// 128 random bits, not all zero.
pub(in crate::privacy) fn random_id() -> Id {
    let mut id = [0; 16];
    while id == [0; 16] {
        fill(&mut id);
    }
    id
}

fn update_with_length(mac: &mut Hmac<Sha256>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    mac.update(&len.to_be_bytes());
    mac.update(&bytes[..usize::from(len)]);
}

fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system has random numbers");
}

/// The calendar day that `now` is in and where it begins and ends. At the ends of what calendars hold, the
/// "day" is all that is left.
fn calendar_day(now: SystemTime, zone: &TimeZone) -> (Date, Range<Timestamp>) {
    let day = timestamp(now).to_zoned(zone.clone()).date();
    let start = |day: Date| day.to_zoned(zone.clone()).map(|z| z.timestamp());
    let first = start(day).unwrap_or(Timestamp::MIN);
    let next = day.checked_add(1.day()).and_then(start).unwrap_or(Timestamp::MAX);
    (day, first..next)
}

fn timestamp(now: SystemTime) -> Timestamp {
    Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn days_since_1970(day: Date) -> u32 {
    let epoch = Date::constant(1970, 1, 1);
    u32::try_from(day.duration_since(epoch).as_hours() / 24).unwrap_or_default()
}
