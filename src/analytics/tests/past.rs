//! Days of the past come in once, and what is of single viewers goes out of an old database.

use std::collections::HashSet;

use jiff::civil::Date;
use sqlx::migrate::Migrator;

use super::*;
use crate::analytics::calendar::Day;
use crate::analytics::past;
use crate::analytics::past::Import;
use crate::analytics::past::Imported;
use crate::analytics::past::PastSession;

on_both!(
    a_day_of_the_past_comes_in_once,
    an_import_that_is_cut_off_anywhere_gives_the_same_numbers,
    a_day_that_comes_late_is_published_but_not_one_that_was,
);

const MINUTE_MS: i64 = 60_000;

fn day(n: i8) -> Date {
    Date::constant(2026, 11, n)
}

/// So many viewers, each five minutes from noon on, one after the other.
fn sessions(date: Date, viewers: u8) -> Vec<PastSession> {
    let noon = date.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap();
    let noon = noon.timestamp().as_millisecond();
    let session = |n: u8| PastSession {
        viewer: [n; 16],
        path: "webcam".into(),
        protocol: "hls",
        transport: "tcp",
        client: "VLC",
        country: "".into(),
        machine: false,
        began: true,
        from_ms: noon + i64::from(n) * 5 * MINUTE_MS,
        to_ms: noon + i64::from(n + 1) * 5 * MINUTE_MS,
    };
    (0..viewers).map(session).collect()
}

async fn bring(store: &Store, name: &str, add: bool, dates: impl IntoIterator<Item = i8>) -> Vec<Imported> {
    let mut import = Import::begin(store, name, add).await.unwrap();
    let mut done = Vec::new();
    for n in dates {
        done.push(
            import
                .day(day(n), &sessions(day(n), 10 + n.unsigned_abs()))
                .await
                .unwrap(),
        );
    }
    import.end().await.unwrap();
    done
}

async fn asked(store: &Store, tier: Tier) -> Stats {
    asked_until(store, tier, "2026-11-21T00:00:00Z").await
}

async fn asked_until(store: &Store, tier: Tier, until: &str) -> Stats {
    let question = Question {
        since: Some("2026-11-01T00:00:00Z".parse().unwrap()),
        until: Some(until.parse().unwrap()),
        path: None,
        tier,
        now: at("2026-11-23T12:00:00Z"),
    };
    stats(store, &question).await.unwrap()
}

async fn a_day_of_the_past_comes_in_once(home: Home) {
    let store = home.open(Mode::ReadWrite).await;
    assert_eq!(bring(&store, "one", false, [3, 4]).await, [Imported::Now; 2]);
    let once = asked(&store, Tier::Console).await;
    assert_eq!(plain(once.total), counts(27, 27, 27 * 300, 1));
    assert_eq!(once.total.views, 27);
    assert_eq!(once.by_protocol[0].key, "hls");
    assert_eq!(bring(&store, "one", true, [3, 4]).await, [Imported::Before; 2]);
    assert_eq!(
        bring(&store, "two", false, [4, 5]).await,
        [Imported::Other, Imported::Now]
    );
    assert_eq!(plain(asked(&store, Tier::Console).await.total).sessions, 27 + 15);
    assert_eq!(
        bring(&store, "two", true, [4, 5]).await,
        [Imported::Now, Imported::Before]
    );
    assert_eq!(
        plain(asked(&store, Tier::Console).await.total).sessions,
        27 + 15 + 14
    );
}

async fn an_import_that_is_cut_off_anywhere_gives_the_same_numbers(home: Home) {
    let store = home.open(Mode::ReadWrite).await;
    for cut in 1..=6 {
        // As after kill -9: the import is not ended, and what it had begun is not committed.
        let mut import = Import::begin(&store, "one", false).await.unwrap();
        for n in 1..=cut {
            import
                .day(day(n), &sessions(day(n), 10 + n.unsigned_abs()))
                .await
                .unwrap();
        }
        drop(import);
    }
    bring(&store, "one", false, 1..=8).await;
    let total = asked(&store, Tier::Console).await;
    let viewers = (1..=8).map(|n| 10 + n).sum::<u64>();
    assert_eq!(plain(total.total), counts(viewers, viewers, viewers * 300, 1));
}

async fn a_day_that_comes_late_is_published_but_not_one_that_was(home: Home) {
    let store = home.open(Mode::ReadWrite).await;
    bring(&store, "one", false, [3]).await;
    assert_eq!(asked(&store, Tier::Published).await.total, Counts::default());
    let mut db = store.writer().await.unwrap();
    let closed = Day::on(day(10), &TimeZone::UTC).number;
    db.begin_writing().await.unwrap();
    closed::close(&mut db, closed, 5).await.unwrap();
    db.commit().await.unwrap();
    db.close().await.unwrap();
    assert_eq!(
        asked(&store, Tier::Published).await.total.sessions,
        10,
        "13 are ten"
    );
    bring(&store, "two", true, [3, 4]).await;
    assert_eq!(
        asked(&store, Tier::Published).await.total.sessions,
        20,
        "14 of the 4th are ten more; what was said of the 3rd stays"
    );
}

#[test]
fn a_summary_says_only_what_may_be_published() {
    let lines = past::summary(day(3), &sessions(day(3), 13), &Options::default());
    let of = |dimension: &str, scope: &str| {
        let mut found = lines
            .iter()
            .filter(|l| l.dimension == dimension && &*l.scope == scope);
        found
            .next()
            .map(|l| (l.sessions, l.viewers, l.watch_seconds, l.peak))
    };
    assert_eq!(of("all", ""), Some((10, 10, 3_900 / 300 * 300, 0)));
    assert_eq!(of("client", "webcam"), Some((10, 10, 3_900, 0)));
    assert!(past::summary(day(3), &sessions(day(3), 4), &Options::default()).is_empty());
}

#[test]
fn who_comes_again_and_who_goes_on_is_counted_as_with_viewers_of_today() {
    let session = |viewer: u8, began: bool, from: i64, to: i64| PastSession {
        viewer: [viewer; 16],
        began,
        from_ms: from,
        to_ms: to,
        ..sessions(day(3), 1).remove(0)
    };
    let start = Day::on(day(3), &TimeZone::UTC).window.start;
    let all = [
        session(1, true, start + 1000, start + 21_000),
        session(1, true, start + 500_000, start + 505_000),
        session(2, false, start - 500_000, start + 60_000),
    ];
    let options = Options {
        k: 1,
        ..Options::default()
    };
    let lines = past::summary(day(3), &all, &options);
    let total = lines
        .iter()
        .find(|l| l.dimension == "all" && l.scope.is_empty())
        .unwrap();
    assert_eq!((total.sessions, total.viewers, total.peak), (2, 1, 2));
    assert_eq!(total.watch_seconds, 60, "85 s, to whole minutes");
}

/// A database of the first version, with sessions of 5,000 viewers, whose ids and numbers are given.
async fn old_database(file: &Path) -> Vec<[u8; 16]> {
    let only_first = TempDir::new().unwrap();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/analytics/migrations/sqlite");
    let first = "0001_initial.sql";
    fs::copy(migrations.join(first), only_first.path().join(first)).unwrap();
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut old = SqliteConnection::connect_with(&options).await.unwrap();
    let tables = Migrator::new(only_first.path()).await.unwrap();
    tables.run_direct(None, &mut old, false).await.unwrap();
    let noon = at(NOON)
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    let run = "INSERT INTO runs (started_ms, seen_ms, ended, again) VALUES ($1, $1, 0, 0)";
    sqlx::query(run).bind(noon).execute(&mut old).await.unwrap();
    let mut numbers = Vec::new();
    sqlx::raw_sql("BEGIN").execute(&mut old).await.unwrap();
    for n in 0..5_000_i64 {
        let (id, viewer) = (recorder::random_id(), recorder::random_id());
        let began = noon - n * 60_000;
        let session =
            "INSERT INTO sessions (id, viewer, path, protocol, transport, client, machine, started_ms, open)
            VALUES ($1, $2, 'webcam', 'rtsp', 'tcp', 'VLC', 0, $3, $4)";
        let open = i64::from(n == 0);
        let rows = sqlx::query(session)
            .bind(&id[..])
            .bind(&viewer[..])
            .bind(began)
            .bind(open);
        rows.execute(&mut old).await.unwrap();
        let span = "INSERT INTO spans (session, number, started_ms, ended_ms) VALUES ($1, 0, $2, $3)";
        let ended = (n > 0).then_some(began + 10_000);
        let rows = sqlx::query(span).bind(&id[..]).bind(began).bind(ended);
        rows.execute(&mut old).await.unwrap();
        numbers.extend([id, viewer]);
    }
    let index = "COMMIT; CREATE INDEX of_somebody ON sessions (viewer); ANALYZE";
    sqlx::raw_sql(index).execute(&mut old).await.unwrap();
    old.close().await.unwrap();
    numbers
}

/// How many of these lie in the files of a database.
fn lie_in(file: &Path, numbers: &[[u8; 16]]) -> usize {
    let mut sought: HashSet<&[u8]> = numbers.iter().map(|n| &n[..]).collect();
    for file in [file.to_path_buf(), file.with_extension("db-wal")] {
        let bytes = fs::read(file).unwrap_or_default();
        bytes.windows(16).for_each(|window| {
            sought.remove(window);
        });
    }
    numbers.len() - sought.len()
}

#[tokio::test]
async fn nothing_of_single_viewers_is_left_in_an_old_database() {
    let home = Home::sqlite();
    let file = home.path().join("louver.db");
    let numbers = old_database(&file).await;
    assert_eq!(lie_in(&file, &numbers), numbers.len());
    let before = fs::read(&file).unwrap();
    assert_eq!(past::look(&file).await.unwrap().sessions, 5_000);
    assert!(fs::read(&file).unwrap() == before, "who looks changes nothing");
    let now = at("2026-11-22T12:00:00Z")
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    for (sessions, left) in [(5_000, 0), (0, 0)] {
        let unset = past::unset(&file, &Options::default(), now.as_millis() as i64)
            .await
            .unwrap();
        assert_eq!((unset.sessions, unset.left), (sessions, left));
        assert_eq!(lie_in(&file, &numbers), 0, "also not in indexes and statistics");
    }
    let store = home.open(Mode::ReadOnly).await;
    let total = asked(&store, Tier::Console).await;
    let all = asked_until(&store, Tier::Console, "2026-11-23T00:00:00Z").await;
    assert_eq!((all.total.sessions, all.total.viewer_days), (5_000, 5_000));
    assert!(total.total.sessions < 5_000, "each is in its day");
}

#[tokio::test]
async fn what_is_no_database_of_ours_is_left_as_it_is() {
    let home = Home::sqlite();
    let file = home.path().join("notes.db");
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true);
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE sessions (id BLOB)")
        .execute(&mut other)
        .await
        .unwrap();
    other.close().await.unwrap();
    let text = home.path().join("notes.txt");
    fs::write(&text, "not a database").unwrap();
    for file in [file, text] {
        let before = fs::read(&file).unwrap();
        let done = past::unset(&file, &Options::default(), 0).await;
        assert!(matches!(done, Err(StoreError::NotOurs { .. })));
        assert!(fs::read(&file).unwrap() == before);
    }
    let gone = home.path().join("gone.db");
    assert!(past::unset(&gone, &Options::default(), 0).await.is_err());
    assert!(!gone.exists());
}

#[tokio::test]
async fn a_database_that_a_relay_uses_is_refused() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, NOON).await;
    let file = home.path().join("louver.db");
    let done = past::unset(&file, &Options::default(), 0).await;
    assert!(matches!(done, Err(StoreError::InUse { .. })));
    rig.stop().await;
}
