//! Counts that are of no viewer, or of too many to be of one: how many asked and got nothing, how long the first
//! picture took, what got lost on the way, how long a stream was there.
//!
//! Who counts never waits: a tally is a number in a table in memory, which the writer empties. Not here: what is shown
//! of it (`query`).

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Requests that were allowed and got no access unit.
    Attempts,
    /// Classes of `STARTUP_MS`, one count per session.
    Startup,
    /// Classes of `LOSS_PER_MILLION`, one count per session whose player reports.
    Loss,
    /// Classes of `JUMPS`, one count per session.
    Jumps,
    /// Milliseconds that a stream was there.
    Online,
    /// Sessions that share what a row would say with too few others to have one.
    Residual,
    /// Distinct viewers of a day of whose sessions [`Kind::Startup`] is known, where the hour is that of the first.
    StartupViewers,
    /// Of [`Kind::Loss`], the same.
    LossViewers,
    /// Of [`Kind::Jumps`], the same.
    JumpsViewers,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Attempts,
        Self::Startup,
        Self::Loss,
        Self::Jumps,
        Self::Online,
        Self::Residual,
        Self::StartupViewers,
        Self::LossViewers,
        Self::JumpsViewers,
    ];
    /// What is known of sessions, each with what counts the viewers of these. The place here is the bit of a mark.
    pub(super) const OF_VIEWERS: [(Self, Self); 3] = [
        (Self::Startup, Self::StartupViewers),
        (Self::Loss, Self::LossViewers),
        (Self::Jumps, Self::JumpsViewers),
    ];
    /// The bit that says that this is known of a session; 0 where no viewers are counted.
    pub(super) fn mark(self) -> u8 {
        let place = Self::OF_VIEWERS.iter().position(|(kind, _)| *kind == self);
        place.map_or(0, |place| 1 << place)
    }
    /// The name in the store.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Startup => "startup",
            Self::Loss => "loss",
            Self::Jumps => "jumps",
            Self::Online => "online",
            Self::Residual => "residual",
            Self::StartupViewers => "startup_viewers",
            Self::LossViewers => "loss_viewers",
            Self::JumpsViewers => "jumps_viewers",
        }
    }
    /// The kind of a name in the store; `None` for one of a later version.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Upper ends of the classes of start-up time, in milliseconds; the last class has none.
pub(super) const STARTUP_MS: [i64; 12] = [20, 50, 100, 200, 350, 500, 750, 1000, 2000, 4000, 8000, 16_000];

/// Upper ends of the classes of packet loss, in packets lost per million.
pub(super) const LOSS_PER_MILLION: [u64; 7] = [1, 100, 1000, 5000, 10_000, 50_000, 200_000];

/// Upper ends of the classes of jumps of a slow reader.
pub(super) const JUMPS: [u64; 5] = [1, 2, 5, 10, 100];

/// Different counts at most; there are a few per path. More are not taken: only names of paths can make them.
const MOST: usize = 100_000;

/// Path, kind, class.
pub(super) type Tally = (Box<str>, Kind, usize);

/// What was counted since it was last taken.
#[derive(Default)]
pub(super) struct Tallies(Mutex<HashMap<Tally, u64>>);

impl Tallies {
    pub(super) fn add(&self, path: &str, kind: Kind, bucket: usize, n: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Box::from(path), kind, bucket);
        if counts.len() < MOST || counts.contains_key(&key) {
            *counts.entry(key).or_default() += n;
        }
    }
    /// All counts, which begin anew.
    pub(super) fn take(&self) -> HashMap<Tally, u64> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How well something was served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Requests that were allowed and got no access unit.
    pub attempts: u64,
    /// Milliseconds from the first request to the first keyframe: half of the sessions, and nine of ten, had it in
    /// less. `None` where no day of the range has k distinct viewers of whom it is known: one who comes k times is one.
    pub startup_ms: Option<[i64; 2]>,
    /// Packets lost per million, the same.
    pub loss_per_million: Option<[i64; 2]>,
    /// Sessions that were moved forward at least once, of a thousand; the same.
    pub jumped_per_thousand: Option<u64>,
    /// Seconds that the streams were there, added up over paths.
    pub online_seconds: u64,
}

impl Health {
    /// What the counts of some hours say; nothing of how sessions were served where fewer than `k` viewers had them.
    /// `viewers`: by the kinds that count them, the most on one day.
    pub(super) fn of(counts: &HashMap<(Kind, usize), u64>, viewers: &HashMap<Kind, u64>, k: u64) -> Self {
        let enough = |kind| viewers.get(&kind).is_some_and(|n| *n >= k.max(1));
        let one = |kind| counts.get(&(kind, 0)).copied().unwrap_or_default();
        let classes = |kind| {
            let of_kind = counts.iter().filter(move |((of, _), _)| *of == kind);
            let mut all: Vec<(usize, u64)> = of_kind.map(|((_, class), n)| (*class, *n)).collect();
            all.sort_unstable();
            all
        };
        let loss: Vec<i64> = LOSS_PER_MILLION
            .iter()
            .map(|n| i64::try_from(*n).unwrap_or(i64::MAX))
            .collect();
        let jumps = classes(Kind::Jumps);
        let sessions: u64 = jumps.iter().map(|(_, n)| n).sum();
        let jumped: u64 = jumps.iter().filter(|(class, _)| *class > 0).map(|(_, n)| n).sum();
        Self {
            attempts: one(Kind::Attempts),
            startup_ms: enough(Kind::StartupViewers)
                .then(|| quantiles(&classes(Kind::Startup), &STARTUP_MS))
                .flatten(),
            loss_per_million: enough(Kind::LossViewers)
                .then(|| quantiles(&classes(Kind::Loss), &loss))
                .flatten(),
            jumped_per_thousand: (enough(Kind::JumpsViewers) && sessions > 0)
                .then(|| jumped * 1000 / sessions.max(1)),
            online_seconds: one(Kind::Online) / 1000,
        }
    }
}

/// The median and the ninth tenth of a histogram, by interpolation within a class; `None` of an empty one.
fn quantiles(classes: &[(usize, u64)], limits: &[i64]) -> Option<[i64; 2]> {
    let all: u64 = classes.iter().map(|(_, n)| n).sum();
    if all == 0 {
        return None;
    }
    let at = |share: f64| {
        let wanted = share * all as f64;
        let mut below = 0.0;
        for (class, n) in classes {
            let (low, high) = (
                class
                    .checked_sub(1)
                    .and_then(|c| limits.get(c))
                    .copied()
                    .unwrap_or(0),
                limits.get(*class).or(limits.last()).copied().unwrap_or(0),
            );
            let n = *n as f64;
            if below + n >= wanted {
                return low + ((high - low) as f64 * (wanted - below) / n) as i64;
            }
            below += n;
        }
        limits.last().copied().unwrap_or(0)
    };
    Some([at(0.5), at(0.9)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_their_class_and_few_viewers_have_none() {
        let counts = HashMap::from([
            ((Kind::Startup, 1), 6),
            ((Kind::Startup, 3), 4),
            ((Kind::Attempts, 0), 2),
        ]);
        let of = |viewers, k| Health::of(&counts, &HashMap::from([(Kind::StartupViewers, viewers)]), k);
        let health = of(5, 5);
        let [half, most] = health.startup_ms.unwrap();
        assert!(
            (20..=50).contains(&half) && (100..=200).contains(&most),
            "{half} {most}"
        );
        assert_eq!((health.attempts, health.loss_per_million), (2, None));
        assert_eq!(of(4, 5).startup_ms, None, "ten sessions of four");
        assert_eq!(of(0, 1).startup_ms, None);
    }
}
