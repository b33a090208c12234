//! A4, A5: what was deleted, and what an older version wrote, is in no file.
//!
//! What a reader's open transaction does to the purge is in `days`.

use std::collections::HashSet;
use std::str::FromStr;

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteJournalMode;

use super::*;
use crate::analytics::db::Value;
use crate::analytics::recorder::random_id;

/// Every value of so many bytes that stands somewhere in the files of a directory and is one of these.
fn still_there<const N: usize>(dir: &Path, values: &HashSet<[u8; N]>) -> usize {
    let mut there = HashSet::new();
    for entry in fs::read_dir(dir).unwrap() {
        // SQLite takes its log away when the last connection goes.
        let bytes = fs::read(entry.unwrap().path()).unwrap_or_default();
        there.extend(
            bytes
                .array_windows::<N>()
                .filter(|w| values.contains(*w))
                .copied(),
        );
    }
    there.len()
}

#[tokio::test]
async fn a04_what_was_deleted_right_before_a_power_cut_is_in_no_file_after_the_next_start() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, NOON).await;
    let mut numbers = HashSet::new();
    for n in 0..40_u8 {
        let peer = PeerAddr::new(format!("127.0.2.{n}:1").parse().unwrap());
        let viewer = rig.door.admit(RawViewer::new(peer, Some(VLC))).unwrap();
        numbers.insert(viewer.begin().day_id());
        let session = rig
            .recorder
            .begin(Some(viewer), "webcam", Protocol::Rtsp, Transport::Udp);
        numbers.extend(session.id());
        rig.clock.advance(Duration::from_secs(1));
    }
    rig.recorder.flushed().await;
    // The purge's own statements, and then no time for the rest of it.
    let mut db = rig.store.writer().await.unwrap();
    db.begin_writing().await.unwrap();
    for table in ["DELETE FROM spans", "DELETE FROM sessions"] {
        assert!(db.execute(table, &[]).await.unwrap() >= 40);
    }
    db.commit().await.unwrap();
    let left = killed(home.path());
    assert_eq!(
        still_there(left.path(), &numbers),
        80,
        "the log has them: there is something to do"
    );

    let again = Rig::start_in(left.path(), Options::default(), "2026-11-21T12:10:00Z").await;
    let gone = async {
        while still_there(left.path(), &numbers) > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    assert!(!again.metrics.encode().contains("NotGone"));
    again.stop().await;
    rig.stop().await;
}

/// 15,000 rows of `visits` that shall go, in turns with as many that stay: enough that pages split, in which copies of
/// rows stay behind that no deletion reaches. The numbers of those that shall go, which are in the files now.
async fn mixed_visits(home: &Home, rig: &Rig, days_old: i64) -> HashSet<[u8; 16]> {
    let today =
        i64::try_from(at(NOON).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap() / 86_400;
    let mut go = HashSet::new();
    let mut db = rig.store.writer().await.unwrap();
    for batch in 0..300 {
        db.begin_writing().await.unwrap();
        for n in 0..100 {
            let (id, viewer) = (random_id(), random_id());
            let goes = (batch + n) % 2 == 0;
            if goes {
                go.extend([id, viewer]);
            }
            db.execute(
                "INSERT INTO visits (id, viewer, day, path, length) VALUES ($1, $2, $3, 'webcam', 3)",
                &[
                    Value::Bytes(&id),
                    Value::Bytes(&viewer),
                    Value::Int(if goes { today - days_old } else { today }),
                ],
            )
            .await
            .unwrap();
        }
        db.commit().await.unwrap();
    }
    db.close().await.unwrap();
    assert_eq!(still_there(home.path(), &go), 30_000);
    go
}

async fn only_others_are_left(home: &Home, rig: &Rig, went: &HashSet<[u8; 16]>) {
    let gone = async {
        while still_there(home.path(), went) > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(60), gone).await;
    assert!(done.is_ok(), "{} are left", still_there(home.path(), went));
    let mut db = rig.store.reader().await.unwrap();
    let rows = db.number("SELECT count(*) FROM visits", &[]).await.unwrap();
    assert_eq!(rows, 15_000, "the others stay");
}

#[tokio::test]
async fn a04_of_rows_that_went_beside_others_that_stayed_no_number_is_in_a_file() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, NOON).await;
    let went = mixed_visits(&home, &rig, 9).await;
    rig.stop().await;
    let rig = Rig::start(&home, "2026-11-21T13:10:00Z").await;
    only_others_are_left(&home, &rig, &went).await;
    rig.stop().await;
}

#[tokio::test]
async fn a04_of_rows_that_were_erased_beside_others_that_stayed_no_number_is_in_a_file() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, NOON).await;
    let went = mixed_visits(&home, &rig, 0).await;
    let chosen = went.clone();
    let erased = rig
        .recorder
        .erase_all(Box::new(move |id| chosen.contains(id)))
        .await;
    assert_eq!(erased.unwrap().len(), 15_000);
    rig.clock.advance(Duration::from_secs(60));
    only_others_are_left(&home, &rig, &went).await;
    rig.stop().await;
}

/// A database of the first version, with five thousand sessions, statistics for the query planner (which are samples of
/// what the columns hold), and an index that somebody made by hand. It was written with `secure_delete`, as that version
/// did: pages that other programs wrote without it keep what they have, as long as they are in use.
async fn first_version(dir: &Path) -> (HashSet<[u8; 16]>, HashSet<[u8; 6]>) {
    let migrations = TempDir::new().unwrap();
    let first = "0001_initial.sql";
    let there = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/analytics/migrations/sqlite");
    fs::copy(there.join(first), migrations.path().join(first)).unwrap();
    let file = dir.join("louver.db");
    let options = SqliteConnectOptions::from_str(file.to_str().unwrap()).unwrap();
    let options = options
        .create_if_missing(true)
        .pragma("secure_delete", "ON")
        .journal_mode(SqliteJournalMode::Wal);
    let mut db = SqliteConnection::connect_with(&options).await.unwrap();
    let migrator = Migrator::new(migrations.path()).await.unwrap();
    migrator.run_direct(None, &mut db, false).await.unwrap();

    let begin = i64::try_from(
        at(NOON)
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_millis(),
    )
    .unwrap();
    let (mut numbers, mut times) = (HashSet::new(), HashSet::new());
    sqlx::raw_sql("BEGIN; INSERT INTO runs (started_ms, seen_ms, ended, again) VALUES (1, 2, 1, 0)")
        .execute(&mut db)
        .await
        .unwrap();
    for n in 0..5000_i64 {
        let (id, viewer) = (random_id(), random_id());
        // As somebody's clock has it: no two alike.
        let (from, to) = (begin + n * 7919, begin + n * 7919 + 60_000 + n);
        sqlx::query("INSERT INTO sessions VALUES ($1, $2, 'webcam', 'rtsp', 'tcp', 'VLC', 0, $3, 0, 0)")
            .bind(&id[..])
            .bind(&viewer[..])
            .bind(from)
            .execute(&mut db)
            .await
            .unwrap();
        sqlx::query("INSERT INTO spans VALUES ($1, 0, $2, $3)")
            .bind(&id[..])
            .bind(from)
            .bind(to)
            .execute(&mut db)
            .await
            .unwrap();
        numbers.extend([id, viewer]);
        // SQLite writes such numbers with six bytes, the highest first.
        for ms in [from, to] {
            times.insert(ms.to_be_bytes()[2..].try_into().unwrap());
        }
    }
    sqlx::raw_sql("COMMIT; CREATE INDEX by_hand ON sessions (viewer, started_ms); ANALYZE")
        .execute(&mut db)
        .await
        .unwrap();
    db.close().await.unwrap();
    (numbers, times)
}

#[tokio::test]
async fn a05_of_tables_of_the_first_version_no_value_is_left_in_any_file() {
    let home = Home::sqlite();
    let (numbers, times) = first_version(home.path()).await;
    assert_eq!(still_there(home.path(), &numbers), 10_000);
    let samples = "SELECT count(*) FROM sqlite_stat4";
    let mut stranger = home.stranger().await;
    assert!(stranger.number(samples, &[]).await.unwrap() > 0);
    stranger.close().await.unwrap();
    assert!(still_there(home.path(), &times) > 9_000);

    let rig = Rig::start(&home, "2026-12-05T12:00:00Z").await;
    let gone = async {
        while rig.store_counts().await != (0, 0) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        while still_there(home.path(), &numbers) + still_there(home.path(), &times) > 0 {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(90), gone).await;
    let left = (
        still_there(home.path(), &numbers),
        still_there(home.path(), &times),
    );
    assert!(done.is_ok(), "numbers, times: {left:?}");
    assert!(!rig.metrics.encode().contains("NotGone"));
    // What they were like is still known.
    let question = Question {
        since: Some("2026-11-21T00:00:00Z".parse().unwrap()),
        until: None,
        path: None,
        tier: Tier::Console,
        now: rig.clock.wall(),
    };
    let total = stats(&rig.store, &question).await.unwrap().total;
    assert_eq!((total.sessions, total.viewer_days), (5000, 5000));
    rig.stop().await;
}
