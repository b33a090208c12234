//! Whether what is published protects what it hides: an attack on one's own answers.
//!
//! Of each day that is over, all is fetched that anybody may be given, of each path and of all, and put together as
//! somebody would who knows that each viewer has one protocol, transport, player and country and came in one hour, and
//! which of these there are. What follows is compared with what is stored. Not here: the arithmetic (`bounds`), who asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;

use crate::analytics::Protocol;
use crate::analytics::Store;
use crate::analytics::StoreError;
use crate::analytics::Transport;
use crate::analytics::bounds::Bounds;
use crate::analytics::bounds::Number;
use crate::analytics::bounds::System;
use crate::analytics::calendar::Day;
use crate::analytics::closed;
use crate::analytics::closed::Span;
use crate::analytics::db::Db;
use crate::analytics::db::Value;
use crate::analytics::leaves::Dimension;
use crate::analytics::query;
use crate::analytics::query::Question;
use crate::analytics::query::Tier;
use crate::privacy::ClientFamily;

/// Countries that ISO 3166 has a code for, about.
const COUNTRIES: usize = 250;

/// What is found out about.
const FACTS: [Dimension; 5] = [
    Dimension::Protocol,
    Dimension::Transport,
    Dimension::Client,
    Dimension::Country,
    Dimension::Hour,
];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The first day and the last; `None` when none was over.
    pub range: Option<(Date, Date)>,
    /// Days on which anybody watched.
    pub days: u64,
    /// Groups of fewer than k viewers, by what they have in common (`all`: that they watched a path).
    pub small: BTreeMap<&'static str, u64>,
    /// Those of them of which more is known than that they are fewer than k.
    pub narrowed: u64,
    /// Those of which the number of viewers can be computed.
    pub computed: Vec<Computed>,
}

/// A group of which the number of viewers can be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computed {
    pub day: Date,
    pub path: String,
    /// What they have in common: `protocol`, `client` ...
    pub fact: &'static str,
}

/// Attacks the published answers of the days that are asked for.
///
/// # Errors
/// When the store cannot be read.
pub async fn published(store: &Store, question: &Question) -> Result<Verified, StoreError> {
    let options = store.options();
    let zone = &options.time_zone;
    let asked = query::asked_range(question, zone);
    let mut found = Verified::default();
    if asked.is_empty() {
        return Ok(found);
    }
    let mut day = Day::of(asked.start, zone);
    let last = Day::of(asked.end - 1, zone);
    found.range = Some((day.date(), last.date()));
    let mut db = store.reader().await?;
    db.begin_reading().await?;
    while day.number <= last.number {
        let of_day = day_of(&mut db, &day, options.k).await?;
        found.add(of_day);
        day = day.next(zone);
    }
    db.close().await?;
    Ok(found)
}

impl Verified {
    fn add(&mut self, other: Self) {
        self.days += other.days;
        for (fact, groups) in other.small {
            *self.small.entry(fact).or_default() += groups;
        }
        self.narrowed += other.narrowed;
        self.computed.extend(other.computed);
    }
    /// Groups that are hidden.
    pub fn hidden(&self) -> u64 {
        self.small.values().sum()
    }
}

/// A path, a fact, and which.
type Key = (Arc<str>, Dimension, Arc<str>);

/// The same of one day.
pub(super) async fn day_of(db: &mut Db, day: &Day, k: u32) -> Result<Verified, sqlx::Error> {
    let truth = truth(db, day).await?;
    let mut paths: Vec<Arc<str>> = truth.keys().map(|key| key.0.clone()).collect();
    paths.dedup();
    let mut attack = Attack::new(u64::from(k.max(1)));
    for path in &paths {
        let published = viewers_published(db, day, path, k).await?;
        attack.know(path, day, &published, &truth);
    }
    let of_all = viewers_published(db, day, "", k).await?;
    attack.know_all(&of_all);
    Ok(attack.found(day, &truth))
}

/// Viewers as they are stored, of each path.
async fn truth(db: &mut Db, day: &Day) -> Result<BTreeMap<Key, u64>, sqlx::Error> {
    let mut truth = BTreeMap::new();
    db.each(
        "SELECT scope, dimension, value, viewers FROM leaves
        WHERE day = $1 AND scope <> '' AND scope <> '*' ORDER BY scope",
        &[Value::Int(day.number)],
        |row| {
            let dimension = Dimension::named(row.text(1)?);
            if let Some(dimension) = dimension.filter(|d| FACTS.contains(d) || *d == Dimension::All) {
                let key = (row.text(0)?.into(), dimension, row.text(2)?.into());
                truth.insert(key, row.count(3)?);
            }
            Ok(())
        },
    )
    .await?;
    Ok(truth)
}

/// What anybody may be given of a day: by fact, of a path, or of all.
async fn viewers_published(
    db: &mut Db,
    day: &Day,
    path: &str,
    k: u32,
) -> Result<BTreeMap<(Dimension, Arc<str>), u64>, sqlx::Error> {
    let span = Span {
        first: day.number,
        last: day.number,
        apart_from: i64::MAX,
    };
    let parts = closed::leaves(db, &span, path, Tier::Published, k).await?;
    let parts = parts.into_iter().filter(|part| *part.key.0 == *path);
    Ok(parts
        .map(|part| ((part.key.1, part.key.2), part.leaf.viewers))
        .collect())
}

/// How many values a fact has, that anybody knows.
fn values(fact: Dimension, day: &Day) -> usize {
    match fact {
        Dimension::Protocol => Protocol::ALL.len(),
        Dimension::Transport => Transport::ALL.len(),
        Dimension::Client => ClientFamily::ALL.len(),
        Dimension::Country => COUNTRIES,
        Dimension::Hour => day.hours().count(),
        _ => 1,
    }
}

/// What somebody knows who fetched everything.
struct Attack {
    k: u64,
    system: System,
    numbers: BTreeMap<Key, Number>,
}

impl Attack {
    fn new(k: u64) -> Self {
        Self {
            k,
            system: System::default(),
            numbers: BTreeMap::new(),
        }
    }

    /// Of a path: what is published, and that what is not published is fewer than k.
    fn know(
        &mut self,
        path: &Arc<str>,
        day: &Day,
        published: &BTreeMap<(Dimension, Arc<str>), u64>,
        truth: &BTreeMap<Key, u64>,
    ) {
        let of = |dimension, value: &Arc<str>| published.get(&(dimension, value.clone())).copied();
        let total = (path.clone(), Dimension::All, Arc::from(""));
        let viewers = of(Dimension::All, &total.2).unwrap_or(0);
        let whole = self.system.number(Bounds::of(viewers, self.k));
        self.numbers.insert(total, whole);
        for fact in FACTS {
            let there = truth.keys().filter(|key| key.0 == *path && key.1 == fact);
            let mut parts = Vec::new();
            for key in there {
                let viewers = of(fact, &key.2).unwrap_or(0);
                let part = self.system.number(Bounds::of(viewers, self.k));
                self.numbers.insert(key.clone(), part);
                parts.push(part);
            }
            // Hours are kept for a shorter time.
            if parts.is_empty() {
                continue;
            }
            while parts.len() < values(fact, day) {
                parts.push(self.system.number(Bounds::of(0, self.k)));
            }
            self.system.sum(whole, parts);
        }
    }

    /// Of all paths together: sums that were made for good when the day closed. They tell more than their parts where
    /// these are hidden by a larger k now.
    fn know_all(&mut self, published: &BTreeMap<(Dimension, Arc<str>), u64>) {
        let mut of_paths: BTreeMap<(Dimension, Arc<str>), Vec<Number>> = BTreeMap::new();
        for ((_, dimension, value), number) in &self.numbers {
            of_paths
                .entry((*dimension, value.clone()))
                .or_default()
                .push(*number);
        }
        for (key, parts) in of_paths {
            let least = published.get(&key).copied().unwrap_or(0);
            let of_parts = parts.iter().map(|part| self.system.bounds(*part).least);
            if least > of_parts.sum() {
                let most = least + parts.len() as u64 * (self.k - 1);
                let total = self.system.number(Bounds { least, most });
                self.system.sum(total, parts);
            }
        }
    }

    fn found(mut self, day: &Day, truth: &BTreeMap<Key, u64>) -> Verified {
        self.system.narrow();
        let mut found = Verified {
            days: u64::from(!truth.is_empty()),
            ..Verified::default()
        };
        for (key, viewers) in truth {
            let Some(number) = self.numbers.get(key).filter(|_| (1..self.k).contains(viewers)) else {
                continue;
            };
            *found.small.entry(key.1.name()).or_default() += 1;
            let bounds = self.system.bounds(*number);
            // Where a viewer came by two protocols, or in two hours, these are no parts, and what seems to follow is wrong.
            if !bounds.hold(*viewers) {
                continue;
            }
            if bounds.most - bounds.least < self.k - 1 {
                found.narrowed += 1;
            }
            if bounds.is_exact() {
                found.computed.push(Computed {
                    day: day.date(),
                    path: key.0.to_string(),
                    fact: key.1.name(),
                });
            }
        }
        found
    }
}
