//! Kills, clocks, locks, files that vanish, queues that are full.

use super::*;

#[tokio::test]
async fn what_a_run_left_open_ends_when_it_was_last_alive() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), NOON).await;
    let _session = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    rig.clock.advance(Duration::from_secs(2));
    let left = killed(dir.path());
    // Nobody started the relay again: who asks sees what was noted, and nobody live.
    let store = Store::open(left.path(), Mode::ReadOnly, Options::default())
        .await
        .unwrap();
    let question = Question {
        since: None,
        until: None,
        path: None,
        now: rig.clock.wall(),
    };
    let answer = stats(&store, &question).await.unwrap();
    assert_eq!((answer.total, answer.live.sessions), (counts(1, 1, 10, 1), 0));
    rig.stop().await;
}

#[tokio::test]
async fn a_run_notes_that_it_is_alive_while_anybody_watches() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), NOON).await;
    let _session = rig.watch(1, VLC, "webcam");
    rig.recorder.flushed().await;
    rig.clock.advance(Duration::from_secs(7));
    let expected = i64::try_from(
        rig.clock
            .wall()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_millis(),
    )
    .unwrap();
    let beat = async {
        while number(&rig.store, "SELECT seen_ms FROM runs").await != expected {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(writer::HEARTBEAT * 3, beat).await.unwrap();
    rig.stop().await;
}

#[tokio::test]
async fn the_end_of_the_program_ends_and_stores_every_session() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), NOON).await;
    let sessions = [rig.watch(1, VLC, "webcam"), rig.watch(2, VLC, "webcam")];
    rig.pass(30).await;
    let late = rig.watch(3, VLC, "webcam"); // still in the queue
    let store = rig.store.clone();
    rig.stop().await;
    drop((sessions, late));
    assert_eq!(
        number(&store, "SELECT count(*) FROM sessions WHERE open = 0").await,
        3
    );
    assert_eq!(
        number(&store, "SELECT sum(ended_ms - started_ms) FROM spans").await,
        60_000
    );
    assert_eq!(number(&store, "SELECT ended FROM runs").await, 1);
}

#[tokio::test]
async fn a_clock_that_steps_changes_no_watch_time() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), "2026-11-01T00:00:00Z").await;
    let session = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    rig.clock.set_wall(at(NOON)); // the network told the time
    let stepped = async {
        while number(&rig.store, "SELECT max(number) FROM spans").await < 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(writer::HEARTBEAT * 4, stepped)
        .await
        .unwrap();
    rig.pass(5).await;
    drop(session);
    let answer = rig.ask(None).await;
    assert_eq!(
        answer.total.watch_seconds, 5,
        "what was watched before the step is where it was"
    );
    let question = Question {
        since: Some(Timestamp::UNIX_EPOCH),
        until: None,
        path: None,
        now: rig.clock.wall(),
    };
    assert_eq!(
        stats(&rig.store, &question).await.unwrap().total,
        counts(1, 1, 15, 1)
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_file_that_vanishes_is_made_again_with_who_watches() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), NOON).await;
    let session = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    for name in ["louver.db", "louver.db-wal", "louver.db-shm"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let back = async {
        while rig.store.reader().await.is_err() || rig.try_count().await != Some(1) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(writer::HEARTBEAT * 4, back).await.unwrap();
    rig.pass(5).await;
    drop(session);
    assert_eq!(rig.ask(None).await.total, counts(1, 1, 15, 1));
    rig.stop().await;
}

impl Rig {
    async fn try_count(&self) -> Option<i64> {
        let mut reader = self.store.reader().await.ok()?;
        sqlx::query_scalar("SELECT count(*) FROM sessions")
            .fetch_one(&mut reader)
            .await
            .ok()
    }
}

#[tokio::test]
async fn a_store_that_is_locked_costs_nothing_but_a_count() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), NOON).await;
    let mut other = SqliteConnection::connect_with(&writable(dir.path()))
        .await
        .unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let session = rig.watch(1, VLC, "webcam");
    rig.clock.advance(Duration::from_secs(10));
    rig.recorder.flushed().await; // tried, and failed
    drop(session);
    assert!(
        rig.metrics
            .encode()
            .contains("louver_lost_total{reason=\"StoreFailed\"}")
    );
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(rig.ask(None).await.total, counts(1, 1, 10, 1));
    rig.stop().await;
}

#[tokio::test]
async fn a_full_queue_is_counted_and_delays_nobody() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), NOON).await;
    // One thread runs everything here, so the writer takes nothing before the first await.
    let sessions: Vec<_> = (0..5000).map(|_| rig.watch(1, VLC, "webcam")).collect();
    sessions.iter().for_each(SessionHandle::pause);
    rig.pass(10).await;
    sessions.iter().for_each(SessionHandle::resume);
    rig.pass(10).await;
    drop(sessions); // more ends than the queue holds: none is lost
    let lost = "louver_lost_total{reason=\"EventQueueFull\"} 904\n";
    assert!(rig.metrics.encode().contains(lost));
    let answer = rig.ask(None).await;
    assert_eq!(answer.total, counts(4096, 1, 4096 * 10, 4096));
    assert_eq!(answer.live.sessions, 0);
    rig.stop().await;
}

#[tokio::test]
async fn one_relay_writes_and_anybody_reads() {
    let dir = TempDir::new().unwrap();
    let missing = Store::open(dir.path(), Mode::ReadOnly, Options::default()).await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })));
    let rig = Rig::start(dir.path(), NOON).await;
    let second = Store::open(dir.path(), Mode::ReadWrite, Options::default()).await;
    assert!(matches!(second, Err(StoreError::InUse { .. })));
    let session = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    let reader = Store::open(dir.path(), Mode::ReadOnly, Options::default())
        .await
        .unwrap();
    let question = Question {
        since: None,
        until: None,
        path: None,
        now: rig.clock.wall(),
    };
    assert_eq!(stats(&reader, &question).await.unwrap().live.sessions, 1);
    drop(session);
    rig.stop().await;
    assert_eq!(
        stats(&reader, &question).await.unwrap().total,
        counts(1, 1, 10, 1)
    );
    let mut connection = reader.reader().await.unwrap();
    assert!(
        sqlx::query("DELETE FROM sessions")
            .execute(&mut connection)
            .await
            .is_err()
    );
    Rig::start(dir.path(), NOON).await.stop().await; // the lock went with the first
}

#[tokio::test]
async fn every_connection_deletes_for_good() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), NOON).await;
    for mut connection in [
        rig.store.reader().await.unwrap(),
        rig.store.writer().await.unwrap(),
    ] {
        for (pragma, expected) in [("PRAGMA secure_delete", 1), ("PRAGMA temp_store", 2)] {
            let value: i64 = sqlx::query_scalar(pragma)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!(value, expected, "{pragma}");
        }
    }
    rig.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("new");
    let rig = Rig::start(&dir, NOON).await;
    let _session = rig.watch(1, VLC, "webcam");
    rig.recorder.flushed().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let names: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(names.len() >= 4, "database, WAL, its index, lock: {names:?}");
    for name in names {
        assert_eq!(mode(&name), 0o600, "{name:?}");
    }
    rig.stop().await;
}
