//! What somebody finds out who has all published answers, or the whole file.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::Config;
use proptest::test_runner::RngAlgorithm;
use proptest::test_runner::TestRng;
use proptest::test_runner::TestRunner;

use super::*;
use crate::analytics::calendar::Day;
use crate::analytics::leaves::Dimension;
use crate::analytics::leaves::First;
use crate::analytics::leaves::Row;
use crate::analytics::verify;
use crate::analytics::visits::Pool;
use crate::analytics::visits::Visit;
use crate::privacy::ClientFamily;

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
const K: u64 = 5;
const PATHS: [&str; 3] = ["door", "garden", "yard"];

/// Who it was, and the numbers of a row.
type Seen = (usize, [u8; 16], [u8; 16]);

/// How likely two rows, of these viewers, are of one.
type Score<'s> = &'s dyn Fn(usize, usize) -> f64;

/// Somebody's visit on a day: path, player, country, protocol and hour.
type Visitor = (usize, usize, usize, usize, i64);

fn row(n: usize, day: i64, (path, client, country, protocol, hour): Visitor) -> Row {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(n as u64).to_be_bytes());
    let from = day * DAY_MS + hour * HOUR_MS;
    Row {
        id,
        viewer: id,
        path: PATHS[path].into(),
        protocol: ["rtsp", "mjpeg"][protocol].into(),
        transport: "tcp".into(),
        client: ClientFamily::ALL[client].name().into(),
        country: format!("C{country}").into(),
        machine: false,
        started_ms: from,
        counted: false,
        firsts: First::HERE | First::of_path(First::HERE) | First::of_path(First::PROTOCOL),
        viewed_ms: None,
        ended: None,
        watched_ms: 0,
        spans: std::iter::once(from..from + 60_000).collect(),
    }
}

/// Attack A9: all answers of a thousand random days are asked for, by path, player, country, protocol and hour, of each
/// path and of all, and put together.
#[tokio::test]
async fn no_number_of_viewers_can_be_computed_from_what_is_published() {
    const WORKLOADS: i64 = 1000;
    let home = Home::sqlite();
    let rig = Rig::start(&home, NOON).await;
    rig.stop().await;
    let mut db = home.stranger().await;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]),
    );
    let audience = prop::collection::vec((0..3_usize, 0..4_usize, 0..6_usize, 0..2_usize, 8..20_i64), 0..60);
    let mut truth = Vec::new();
    db.begin_writing().await.unwrap();
    for number in 0..WORKLOADS {
        let visitors = audience.new_tree(&mut runner).unwrap().current();
        let rows: Vec<Row> = (0..).zip(&visitors).map(|(n, v)| row(n, number, *v)).collect();
        let day = Day::of(number * DAY_MS, &TimeZone::UTC);
        let leaves = leaves::of_day(&rows, &day, &day.window);
        crate::analytics::days::add_day(&mut db, &day, &leaves)
            .await
            .unwrap();
        truth.push(leaves);
    }
    closed::close(&mut db, WORKLOADS, K as u32).await.unwrap();
    db.commit().await.unwrap();

    let mut looked: BTreeMap<&str, u64> = BTreeMap::new();
    let mut narrowed = 0;
    for (number, truth) in (0_i64..).zip(&truth) {
        let mut all = Vec::new();
        for path in ["", PATHS[0], PATHS[1], PATHS[2]] {
            let span = closed::Span {
                first: number,
                last: number,
                apart_from: i64::MAX,
            };
            let parts = closed::leaves(&mut db, &span, path, Tier::Published, K as u32)
                .await
                .unwrap();
            all.push((path, parts));
        }
        let mut published: BTreeMap<leaves::Key, u64> = BTreeMap::new();
        for (path, parts) in &all {
            for part in parts {
                let (scope, mut dimension, mut value) = part.key.clone();
                if dimension == Dimension::Day {
                    (dimension, value) = (Dimension::All, "".into()); // the same number, told apart
                }
                assert!(part.leaf.viewers.is_multiple_of(K) && part.leaf.sessions.is_multiple_of(K));
                if path.is_empty() && scope.is_empty() {
                    // What is asked for without a path is the sum of what is published of paths: their difference
                    // tells nothing more.
                    let of_paths = PATHS.iter().map(|path| {
                        let key = ((*path).into(), dimension, value.clone());
                        truth.get(&key).map_or(0, |leaf| leaf.viewers / K * K)
                    });
                    assert_eq!(part.leaf.viewers, of_paths.sum::<u64>());
                } else {
                    let before = published.insert((scope, dimension, value), part.leaf.viewers);
                    assert!(before.is_none_or(|before| before == part.leaf.viewers));
                }
            }
        }
        let day = Day::of(number * DAY_MS, &TimeZone::UTC);
        let found = verify::day_of(&mut db, &day, K as u32).await.unwrap();
        assert_eq!(found.computed, [], "day {number}");
        for (fact, groups) in found.small {
            *looked.entry(fact).or_default() += groups;
        }
        narrowed += found.narrowed;
    }
    looked.remove("transport"); // always the same one here
    assert_eq!(looked.len(), 5);
    // Of facts with few values (two protocols) it can follow that a group is not empty; of nothing else much.
    let all: u64 = looked.values().sum();
    assert!(
        narrowed * 20 < all,
        "{narrowed} of {all} small groups are known better"
    );
    assert!(
        looked.values().all(|groups| *groups > 500),
        "{looked:?} small groups were attacked"
    );
}

/// Attack A12: two thousand viewers come on two days, to other paths at other hours. Nothing in the rows, nor their
/// order in the file, says who is who.
#[tokio::test]
async fn rows_of_different_days_cannot_be_matched() {
    const VIEWERS: usize = 2000;
    let home = Home::sqlite();
    drop(home.open(Mode::ReadWrite).await); // the tables, and nobody who purges these old days
    let clock = ManualClock::new(at(NOON));
    let door = Door::new(crate::privacy::Options::default(), clock.clone());
    let mut pool = Pool::default();
    let mut who: HashMap<[u8; 16], usize> = HashMap::new();
    let mut stranger = home.stranger().await;
    for day in 0..2_usize {
        let mut seed = 1 + day;
        let mut any = |most: usize| {
            seed = (seed * 16_807) % 2_147_483_647;
            seed % most
        };
        let visits: Vec<Visit> = (0..VIEWERS)
            .map(|n| {
                let address = format!("203.{}.{}.7:1000", n / 250, n % 250);
                let raw = RawViewer::new(PeerAddr::new(address.parse().unwrap()), Some(VLC));
                let viewer = door.admit(raw).unwrap();
                let id = recorder::random_id();
                who.insert(id, n);
                let hour = any(4) as i64;
                Visit {
                    id,
                    viewer: viewer.begin().day_id(),
                    first: true,
                    day: day as i64,
                    hour: Some(hour * 3600),
                    path: PATHS[any(3)].into(),
                    client: Some("VLC".into()),
                    country: Some("".into()),
                    length: any(4) as i64,
                }
            })
            .collect();
        pool.add(visits.into_iter());
        let told = pool.tell(5, day as i64 + 1);
        visits::store(&mut stranger, &told.rows).await.unwrap();
        clock.advance(Duration::from_secs(86_400));
        door.wipe_when_over();
    }
    let mut days: [Vec<Seen>; 2] = Default::default();
    let rows = "SELECT day, id, viewer FROM visits"; // as they lie there
    stranger
        .each(rows, &[], |row| {
            let (id, viewer) = (row.id(1)?.unwrap(), row.id(2)?.unwrap());
            days[row.int(0)? as usize].push((who[&id], id, viewer));
            Ok(())
        })
        .await
        .unwrap();
    let [first, second] = days;
    assert!(first.len() > VIEWERS * 9 / 10 && second.len() > VIEWERS * 9 / 10);
    let numbers: HashSet<_> = first.iter().map(|row| row.2).collect();
    assert!(
        second.iter().all(|row| !numbers.contains(&row.2)),
        "a number is of one day"
    );

    let place = |rows: &[Seen]| -> HashMap<usize, (f64, [u8; 16], [u8; 16])> {
        let all = rows.len() as f64;
        let places = rows.iter().enumerate();
        places
            .map(|(n, row)| (row.0, (n as f64 / all, row.1, row.2)))
            .collect()
    };
    let (first, second) = (place(&first), place(&second));
    let alike = |a: &[u8; 16], b: &[u8; 16]| -> f64 {
        let differ: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
        -f64::from(differ)
    };
    let both: Vec<usize> = first.keys().filter(|n| second.contains_key(n)).copied().collect();
    let scores: [(&str, Score<'_>); 3] = [
        ("place", &|a, b| -(first[&a].0 - second[&b].0).abs()),
        ("session", &|a, b| alike(&first[&a].1, &second[&b].1)),
        ("viewer", &|a, b| alike(&first[&a].2, &second[&b].2)),
    ];
    for (name, score) in scores {
        let same = both.iter().map(|n| score(*n, *n));
        let other = both
            .iter()
            .enumerate()
            .map(|(at, n)| score(*n, both[(at + 1) % both.len()]));
        let auc = area(same.collect(), other.collect());
        assert!((0.45..=0.55).contains(&auc), "{name}: {auc}");
    }
}

/// How likely a matching pair has the higher score: 0.5 is guessing.
fn area(same: Vec<f64>, other: Vec<f64>) -> f64 {
    let pairs = same.len() as f64 * other.len() as f64;
    let wins = same.iter().flat_map(|s| {
        other.iter().map(move |o| match s.partial_cmp(o) {
            Some(std::cmp::Ordering::Greater) => 1.0,
            Some(std::cmp::Ordering::Equal) => 0.5,
            _ => 0.0,
        })
    });
    wins.sum::<f64>() / pairs
}

/// What a mail gateway or a router knows of somebody who watched: to the second, and by name.
struct Noted {
    who: usize,
    second: i64,
    path: usize,
    client: usize,
    country: usize,
    length: i64,
}

/// Attack A14: somebody has a log of everybody who watched, to the second, and all else that a row could say. Behind
/// each row there are still k people at least.
#[test]
fn a14_who_has_a_log_to_the_second_finds_a_crowd_behind_every_row() {
    const VIEWERS: usize = 3000;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::from_seed(RngAlgorithm::ChaCha, &[14; 32]),
    );
    // Most watch one path in the evening with one player; some do what nobody else does, and some come often.
    let habits = (
        0..VIEWERS,
        0..86_400_i64,
        0..10_usize,
        0..40_usize,
        0..30_usize,
        0..10_i64,
    );
    let log: Vec<Noted> = (0..2 * VIEWERS)
        .map(|_| {
            let (who, second, path, client, country, length) =
                habits.new_tree(&mut runner).unwrap().current();
            let second = if who % 4 == 0 {
                second
            } else {
                64_800 + second % 14_400
            };
            Noted {
                who: if who % 50 == 0 { 0 } else { who },
                second,
                path: path.saturating_sub(7),
                client: client.saturating_sub(35),
                country: country.saturating_sub(24),
                length: length / 3,
            }
        })
        .collect();
    let mut sessions = HashMap::new();
    let mut pool = Pool::default();
    let mut rows = Vec::new();
    let mut came = HashSet::new();
    for hour in 0..24 {
        let of_hour = log.iter().filter(|noted| noted.second / 3600 == hour);
        let visits: Vec<Visit> = of_hour
            .map(|noted| {
                let mut viewer = [0; 16];
                viewer[..8].copy_from_slice(&noted.who.to_be_bytes());
                let id = recorder::random_id();
                sessions.insert(id, noted);
                Visit {
                    id,
                    viewer,
                    first: came.insert((noted.who, noted.path)),
                    day: 0,
                    hour: Some(hour * 3600),
                    path: PATHS[noted.path].into(),
                    client: Some(ClientFamily::ALL[noted.client].name().into()),
                    country: Some(format!("C{}", noted.country).into()),
                    length: noted.length,
                }
            })
            .collect();
        assert!(pool.add(visits.into_iter()).residual.is_empty());
        rows.extend(pool.tell(K as usize, i64::from(hour == 23)).rows);
    }
    let mut coarse = 0;
    for row in &rows {
        let fits = |noted: &&Noted| {
            row.hour.is_none_or(|hour| noted.second / 3600 * 3600 == hour)
                && *row.path == *PATHS[noted.path]
                && row.length == noted.length
                && row
                    .client
                    .as_ref()
                    .is_none_or(|c| **c == *ClientFamily::ALL[noted.client].name())
                && row
                    .country
                    .as_ref()
                    .is_none_or(|c| **c == *format!("C{}", noted.country))
        };
        assert!(fits(&sessions[&row.id]), "the attack itself is sound");
        let crowd: HashSet<usize> = log.iter().filter(fits).map(|noted| noted.who).collect();
        assert!(crowd.len() as u64 >= K, "{row:?} is one of {}", crowd.len());
        coarse += usize::from(row.client.is_none());
    }
    assert!(
        rows.len() > VIEWERS && coarse > 100,
        "{} rows, {coarse} of them coarse",
        rows.len()
    );
}
