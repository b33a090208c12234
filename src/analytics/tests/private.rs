//! Numbers with noise: what is drawn, what it costs, and that nobody gets more.

use std::sync::Barrier;

use super::*;
use crate::analytics::private;
use crate::analytics::private::BUDGET;
use crate::analytics::private::Epsilon;
use crate::analytics::private::Export;
use crate::analytics::private::LedgerError;
use crate::analytics::private::NoRandomness;
use crate::analytics::private::PrivateError;
use crate::analytics::private::Randomness;
use crate::analytics::private::Table;
use crate::analytics::private::Wish;

on_both!(
    what_one_viewer_adds_is_bounded,
    a_table_of_a_day_is_drawn_once_and_its_budget_ends,
);

/// The same numbers in each run.
struct Seeded(u64);

impl Randomness for Seeded {
    fn bits(&mut self) -> Result<u64, NoRandomness> {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let x = self.0 ^ (self.0 >> 33);
        Ok(x.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ (x >> 29))
    }
}

/// Always the noise 0.
struct Silent(usize);

impl Randomness for Silent {
    fn bits(&mut self) -> Result<u64, NoRandomness> {
        // Of one number: where it is within the width, whether that is taken, two for "no turn", the sign.
        let answers = [0, 0, 0, 1, 0];
        self.0 = (self.0 + 1) % answers.len();
        Ok(answers[(self.0 + answers.len() - 1) % answers.len()])
    }
}

fn wish(table: Table, epsilon: &str, now: SystemTime) -> Wish {
    Wish {
        table,
        epsilon: Epsilon::parse(epsilon).unwrap(),
        since: Some("2026-11-21T00:00:00Z".parse().unwrap()),
        until: Some("2026-11-22T00:00:00Z".parse().unwrap()),
        paths: ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(),
        now,
    }
}

/// A day that is over: one viewer is everywhere, and three times as often as counts; six others are on `a` once.
async fn a_day(home: &Home) -> Rig {
    let rig = Rig::start(home, NOON).await;
    for _ in 0..6 {
        for path in ["a", "b", "c", "d", "e"] {
            drop(rig.watch(1, VLC, path));
            rig.clock.advance(Duration::from_secs(1));
        }
    }
    for n in 2..=7 {
        drop(rig.watch(n, "Lavf60.16.100", "a"));
        rig.clock.advance(Duration::from_secs(1));
    }
    rig.pass(86_400).await;
    let closed = async {
        while rig.store_counts().await != (0, 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(writer::HEARTBEAT * 10, closed)
        .await
        .unwrap();
    rig
}

fn rows(export: &Export) -> Vec<(&str, u64)> {
    assert_eq!(export.days.len(), 1);
    let rows = export.days[0].rows.iter();
    rows.map(|(name, n)| (name.as_str(), *n)).collect()
}

async fn what_one_viewer_adds_is_bounded(home: Home) {
    let rig = a_day(&home).await;
    let now = rig.clock.wall();
    let ledger = TempDir::new().unwrap();
    let mut exports = Vec::new();
    for table in [Table::Total, Table::Path, Table::Sessions, Table::Protocol] {
        let wish = wish(table, "0.25", now);
        exports.push(
            private::export(&rig.store, ledger.path(), &wish, &mut Silent(0))
                .await
                .unwrap(),
        );
    }
    assert_eq!(rows(&exports[0]), [("", 7)]);
    assert_eq!(
        rows(&exports[1]),
        [("a", 7), ("b", 1), ("c", 1), ("d", 0), ("e", 0)],
        "three paths of each viewer"
    );
    assert_eq!(
        rows(&exports[2]),
        [("a", 8), ("b", 2), ("c", 2), ("d", 2), ("e", 2)],
        "ten sessions of each viewer: two of each round"
    );
    assert_eq!(rows(&exports[3]), [("rtsp", 7), ("mjpeg", 0)]);
    rig.stop().await;
}

async fn a_table_of_a_day_is_drawn_once_and_its_budget_ends(home: Home) {
    let rig = a_day(&home).await;
    let now = rig.clock.wall();
    let ledger = TempDir::new().unwrap();
    let ask = async |table, epsilon, seed| {
        let wish = wish(table, epsilon, now);
        private::export(&rig.store, ledger.path(), &wish, &mut Seeded(seed)).await
    };
    let first = ask(Table::Client, "0.4", 1).await.unwrap();
    assert!(!first.days[0].again && first.days[0].rows.len() > 10);
    // Whoever asks again, with other noise and another wish, gets the same, and it costs nothing.
    let again = ask(Table::Client, "1", 2).await.unwrap();
    assert!(again.days[0].again);
    assert_eq!(
        (&again.days[0].rows, again.days[0].epsilon),
        (&first.days[0].rows, first.days[0].epsilon)
    );
    ask(Table::Total, "0.6", 3).await.unwrap();
    let spent = ask(Table::Path, "0.001", 4).await;
    let Err(PrivateError::Ledger(LedgerError::Spent { left, .. })) = spent else {
        panic!("{spent:?}");
    };
    assert_eq!(left.value(), 0.0);
    // Not even where another day of the range has a budget: all days, or none.
    let both = Wish {
        since: Some("2026-11-20T00:00:00Z".parse().unwrap()),
        ..wish(Table::Path, "0.5", now)
    };
    let refused = private::export(&rig.store, ledger.path(), &both, &mut Seeded(5)).await;
    assert!(matches!(
        refused,
        Err(PrivateError::Ledger(LedgerError::Spent { .. }))
    ));
    let other_day = Wish {
        since: Some("2026-11-20T00:00:00Z".parse().unwrap()),
        until: Some("2026-11-21T00:00:00Z".parse().unwrap()),
        ..wish(Table::Path, "1", now)
    };
    let of_nobody = private::export(&rig.store, ledger.path(), &other_day, &mut Seeded(6)).await;
    assert_eq!(
        rows(&of_nobody.unwrap()).len(),
        5,
        "a day on which nobody watched has its rows too"
    );
    rig.stop().await;
}

#[tokio::test]
async fn what_is_asked_for_at_the_same_time_is_drawn_once() {
    let home = Home::sqlite();
    let rig = a_day(&home).await;
    let now = rig.clock.wall();
    let start = Arc::new(Barrier::new(8));
    // Eight programs, as far as the ledger can tell: each opens and locks the file itself.
    let threads: Vec<_> = (0..8_u64)
        .map(|n| {
            let (start, dir) = (Arc::clone(&start), home.path().to_path_buf());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let store = Store::open(&dir, Mode::ReadOnly, Options::default())
                        .await
                        .unwrap();
                    let table = [Table::Total, Table::Path, Table::Client][n as usize % 3];
                    start.wait();
                    private::export(&store, &dir, &wish(table, "0.4", now), &mut Seeded(n)).await
                })
            })
        })
        .collect();
    let results: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let given: Vec<&Export> = results.iter().filter_map(|r| r.as_ref().ok()).collect();
    let drawn: Vec<&&Export> = given.iter().filter(|export| !export.days[0].again).collect();
    assert_eq!(drawn.len(), 2, "two tables fit into the budget");
    for one in &given {
        for other in &given {
            if one.table == other.table {
                assert_eq!(one.days[0].rows, other.days[0].rows);
            }
        }
    }
    let spent: f64 = drawn.iter().map(|export| export.days[0].epsilon.value()).sum();
    assert!(spent <= BUDGET.value());
    rig.stop().await;
}

#[tokio::test]
async fn noise_is_around_the_truth_and_numbers_are_never_negative() {
    let home = Home::sqlite();
    let rig = a_day(&home).await;
    let now = rig.clock.wall();
    let (mut sum, mut zeros) = (0, 0);
    for seed in 0..300 {
        let ledger = TempDir::new().unwrap();
        let wish = wish(Table::Path, "1", now);
        let export = private::export(&rig.store, ledger.path(), &wish, &mut Seeded(seed))
            .await
            .unwrap();
        let rows = rows(&export);
        sum += rows[0].1;
        zeros += rows.iter().filter(|row| row.1 == 0).count();
    }
    let mean = sum as f64 / 300.0;
    // The truth is 7; noise of scale 3 has a deviation of 4.2, its mean over 300 of 0.25; what is cut at zero lifts it.
    assert!((6.3..8.3).contains(&mean), "{mean}");
    assert!(zeros > 300, "{zeros}");
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_protected_is_not_given_out() {
    let home = Home::sqlite();
    let rig = a_day(&home).await;
    let now = rig.clock.wall();
    let ask = async |wish: Wish| private::export(&rig.store, home.path(), &wish, &mut Seeded(1)).await;
    let today = Wish {
        since: Some("2026-11-22T00:00:00Z".parse().unwrap()),
        until: None,
        ..wish(Table::Total, "1", now)
    };
    assert!(matches!(ask(today).await, Err(PrivateError::NoDay)));
    let years = Wish {
        since: Some("2024-11-22T00:00:00Z".parse().unwrap()),
        ..wish(Table::Total, "1", now)
    };
    assert!(matches!(ask(years).await, Err(PrivateError::TooManyDays)));
    let unnamed = Wish {
        paths: Vec::new(),
        ..wish(Table::Path, "1", now)
    };
    assert!(matches!(ask(unnamed).await, Err(PrivateError::NoPaths)));
    struct Dry;
    impl Randomness for Dry {
        fn bits(&mut self) -> Result<u64, NoRandomness> {
            Err(NoRandomness)
        }
    }
    let dry = private::export(&rig.store, home.path(), &wish(Table::Total, "1", now), &mut Dry).await;
    assert!(matches!(dry, Err(PrivateError::Randomness(_))));
    assert_eq!(
        rows(&ask(wish(Table::Total, "1", now)).await.unwrap()).len(),
        1,
        "and nothing was spent"
    );
    rig.stop().await;
}
