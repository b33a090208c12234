//! Rows of single sessions, made so coarse that each is one of many.
//!
//! Somebody who knows from elsewhere who came when (a mail gateway, a router) must not find them among the rows. So a
//! session that is over is kept in memory until its hour is added up, and gets a row only when at least k viewers of
//! that hour share all that the row says: path, hour, class of length, player, country. What is rarer loses the
//! player, then the country, and at the end of the day the hour; what is still rare then gets no row, and is counted.
//! Nothing here counts for the statistics: leaves do.
//!
//! Not here: retention (`purge`).

use std::collections::HashMap;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::LazyLock;

use jiff::tz::TimeZone;

use crate::analytics::calendar::Day;
use crate::analytics::db::Db;
use crate::analytics::db::Insert;
use crate::analytics::db::Value;
use crate::analytics::leaves;
use crate::analytics::leaves::First;
use crate::analytics::leaves::Row;
use crate::analytics::single::Chosen;
use crate::analytics::single::Record;

/// Sessions of the day that wait for others like them. Further ones get no row.
const MOST: usize = 100_000;

static INSERT: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "visits",
        &[
            "id", "viewer", "day", "hour", "path", "client", "country", "length",
        ],
        "ON CONFLICT (id) DO NOTHING",
    )
});

/// A session that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) id: [u8; 16],
    pub(super) viewer: [u8; 16],
    /// Whether it was its viewer's first on this path that day: of those without numbers, only such ones are certainly
    /// of different viewers.
    pub(super) first: bool,
    pub(super) day: i64,
    /// First second of the hour in which it began.
    pub(super) hour: Option<i64>,
    pub(super) path: Arc<str>,
    pub(super) client: Option<Arc<str>>,
    pub(super) country: Option<Arc<str>>,
    pub(super) length: i64,
}

impl Visit {
    /// What its row would say; `None` for machines, which are no viewers, and while it lasts.
    pub(super) fn of(row: &Row, zone: &TimeZone) -> Option<Self> {
        let ended = row.ended.filter(|_| !row.machine)?;
        let day = Day::of(row.started_ms, zone);
        Some(Self {
            id: row.id,
            viewer: row.viewer,
            first: row.is_first(First::of_path(First::HERE)),
            day: day.number,
            hour: Some(day.hour_of(row.started_ms).start / 1000),
            path: row.path.clone(),
            client: Some(row.client.clone()),
            country: Some(row.country.clone()),
            length: i64::try_from(leaves::length_class(ended.watched_ms)).unwrap_or(0),
        })
    }
}

/// Sessions that wait for others like them.
#[derive(Clone, Default)]
pub(super) struct Pool(Vec<Visit>);

/// What becomes of some of them.
#[derive(Default)]
pub(super) struct Told {
    /// In an order that says nothing.
    pub(super) rows: Vec<Visit>,
    /// Paths of those that get no row.
    pub(super) residual: Vec<Arc<str>>,
}

impl Pool {
    /// Adds sessions that are over.
    pub(super) fn add(&mut self, visits: impl Iterator<Item = Visit>) -> Told {
        let mut told = Told::default();
        for visit in visits {
            if self.0.len() < MOST {
                self.0.push(visit);
            } else {
                told.residual.push(visit.path);
            }
        }
        told
    }

    /// Takes out all that `k` viewers share, and all of days before `today`.
    pub(super) fn tell(&mut self, k: usize, today: i64) -> Told {
        let mut told = Told::default();
        self.step(k, &mut told, |v| {
            (
                v.path.clone(),
                v.hour,
                v.length,
                v.client.clone(),
                v.country.clone(),
            )
        });
        self.0.iter_mut().for_each(|visit| visit.client = None);
        self.step(k, &mut told, |v| {
            (v.path.clone(), v.hour, v.length, v.country.clone())
        });
        self.0.iter_mut().for_each(|visit| visit.country = None);
        self.step(k, &mut told, |v| (v.path.clone(), v.hour, v.length));
        let (waiting, mut over) = std::mem::take(self).split(today);
        over.0.iter_mut().for_each(|visit| visit.hour = None);
        over.step(k, &mut told, |v| (v.path.clone(), v.day, v.length));
        told.residual.extend(over.0.into_iter().map(|visit| visit.path));
        *self = waiting;
        told.rows.sort_unstable_by_key(|visit| visit.id); // random
        told
    }

    /// Lets go of all that are chosen, by their own number or by their viewer's; their own numbers.
    pub(super) fn forget_all(&mut self, chosen: &Chosen) -> Vec<[u8; 16]> {
        let gone = self
            .0
            .extract_if(.., |visit| chosen(&visit.id) || chosen(&visit.viewer));
        gone.map(|visit| visit.id).collect()
    }

    /// What would be told of one.
    pub(super) fn record(&self, id: [u8; 16]) -> Option<Record> {
        let visit = self.0.iter().find(|visit| visit.id == id)?;
        let text = |t: &Option<Arc<str>>| t.as_deref().filter(|t| !t.is_empty()).map(str::to_owned);
        Some(Record {
            path: visit.path.to_string(),
            began: visit.hour,
            day: Some(visit.day),
            protocol: None,
            transport: None,
            client: text(&visit.client),
            country: text(&visit.country),
            length: usize::try_from(visit.length).ok(),
            numbered: true,
            open: false,
        })
    }

    fn split(self, today: i64) -> (Self, Self) {
        let (waiting, over) = self.0.into_iter().partition(|visit| visit.day >= today);
        (Self(waiting), Self(over))
    }

    /// Moves those of which at least `k` viewers share the class.
    fn step<C: Hash + Eq>(&mut self, k: usize, told: &mut Told, class: impl Fn(&Visit) -> C) {
        let mut viewers: HashMap<C, HashSet<[u8; 16]>> = HashMap::new();
        for visit in &self.0 {
            let nameless = visit.viewer == visit.id;
            let in_class = viewers.entry(class(visit)).or_default();
            if !nameless || visit.first {
                in_class.insert(visit.viewer);
            }
        }
        let enough = |visit: &Visit| viewers[&class(visit)].len() >= k;
        let (rows, rest) = std::mem::take(&mut self.0).into_iter().partition(enough);
        told.rows.extend::<Vec<Visit>>(rows);
        self.0 = rest;
    }
}

/// Stores rows. The caller has begun a transaction.
pub(super) async fn store(db: &mut Db, visits: &[Visit]) -> Result<(), sqlx::Error> {
    let values: Vec<Value<'_>> = visits.iter().flat_map(values).collect();
    INSERT.run(db, &values).await
}

fn values(visit: &Visit) -> [Value<'_>; 8] {
    [
        Value::Bytes(&visit.id),
        Value::MaybeBytes(Some(&visit.viewer)),
        Value::Int(visit.day),
        Value::MaybeInt(visit.hour),
        Value::Text(&visit.path),
        Value::MaybeText(visit.client.as_deref()),
        Value::MaybeText(visit.country.as_deref().filter(|country| !country.is_empty())),
        Value::Int(visit.length),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn visit(n: u8, hour: i64, client: &str, length: i64) -> Visit {
        Visit {
            id: [n; 16],
            viewer: [n; 16],
            first: true,
            day: 0,
            hour: Some(hour),
            path: "cam".into(),
            client: Some(client.into()),
            country: Some("FR".into()),
            length,
        }
    }

    #[test]
    fn what_is_rare_loses_its_player_then_its_hour_and_at_last_its_row() {
        let mut pool = Pool::default();
        let common = (0..5).map(|n| visit(n, 0, "VLC", 3));
        let odd = (5..10).map(|n| visit(n, 0, if n == 5 { "mpv" } else { "FFmpeg" }, 4));
        let scattered = (10..15).map(|n| visit(n, i64::from(n), "VLC", 5));
        let alone = [visit(15, 0, "VLC", 9)];
        pool.add(common.chain(odd).chain(scattered).chain(alone));

        let told = pool.tell(5, 0);
        assert_eq!((told.rows.len(), told.residual.len()), (10, 0));
        let of = |length| told.rows.iter().find(|v| v.length == length).unwrap();
        assert_eq!((of(3).client.as_deref(), of(3).hour), (Some("VLC"), Some(0)));
        assert_eq!((of(4).client.as_deref(), of(4).hour), (None, Some(0)));

        let told = pool.tell(5, 1);
        assert_eq!((told.rows.len(), told.residual.len()), (5, 1));
        assert!(told.rows.iter().all(|v| v.hour.is_none() && v.country.is_none()));
    }

    #[test]
    fn one_viewer_who_comes_often_is_not_many() {
        let mut pool = Pool::default();
        pool.add((0..50).map(|n| Visit {
            viewer: [1; 16],
            ..visit(n, 0, "VLC", 0)
        }));
        let told = pool.tell(5, 1);
        assert_eq!((told.rows.len(), told.residual.len()), (0, 50));
    }

    #[test]
    fn one_viewer_without_a_number_who_comes_often_is_not_many() {
        let mut pool = Pool::default();
        pool.add((0..50).map(|n| Visit {
            first: n == 0,
            ..visit(n, 0, "VLC", 0)
        }));
        let told = pool.tell(5, 1);
        assert_eq!((told.rows.len(), told.residual.len()), (0, 50));
    }

    proptest! {
        #[test]
        fn every_row_is_one_of_k(sessions in prop::collection::vec((0_u8..3, 0_i64..3, 0_i64..2), 0..200)) {
            let mut pool = Pool::default();
            pool.add(sessions.iter().zip(0_u8..).map(|((client, hour, length), n)| {
                visit(n, *hour, ["VLC", "mpv", "FFmpeg"][usize::from(*client)], *length)
            }));
            let mut rows = pool.tell(5, 0).rows;
            let last = pool.tell(5, 1);
            prop_assert_eq!(rows.len() + last.rows.len() + last.residual.len(), sessions.len());
            rows.extend(last.rows);
            for row in &rows {
                let alike = rows.iter().filter(|other| {
                    let same = |a: &Visit| (a.hour, a.length, a.client.clone(), a.country.clone());
                    same(other) == same(row)
                });
                prop_assert!(alike.count() >= 5);
            }
        }
    }
}
