//! Door, recorder, store and questions together, on real files, under a clock that a test moves.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use jiff::Timestamp;
use sqlx::Row as _;
use tempfile::TempDir;

use super::query::Counts;
use super::query::Question;
use super::query::Stats;
use super::query::stats;
use super::*;
use crate::base::clock::Clock;
use crate::base::clock::ManualClock;
use crate::base::peer::PeerAddr;
use crate::base::tasks::Tasks;
use crate::privacy::Door;
use crate::privacy::RawViewer;
use crate::telemetry::Metrics;

const NOON: &str = "2026-11-21T12:00:00Z";

const VLC: &str = "LibVLC/3.0.20 (LIVE555 Streaming Media v2016.11.28)";

/// A relay's statistics without the relay.
struct Rig {
    door: Door,
    recorder: Recorder,
    store: Store,
    clock: Arc<ManualClock>,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

impl Rig {
    async fn start(dir: &Path, now: &str) -> Self {
        Self::start_at(dir, at(now)).await
    }
    async fn start_at(dir: &Path, now: SystemTime) -> Self {
        let clock = ManualClock::new(now);
        let store = Store::open(dir, Mode::ReadWrite, Options::default())
            .await
            .unwrap();
        let tasks = Tasks::new();
        let metrics = Metrics::new();
        let recorder = Recorder::start(&tasks, store.clone(), clock.clone(), metrics.clone());
        recorder.flushed().await;
        Self {
            door: Door::new(crate::privacy::Options::default(), clock.clone()),
            recorder,
            store,
            clock,
            tasks,
            metrics,
        }
    }
    /// Viewer number `n` with an agent, over RTSP on TCP.
    fn watch(&self, n: u8, agent: &str, path: &str) -> SessionHandle {
        self.watch_over(n, agent, path, Protocol::Rtsp, Transport::Tcp)
    }
    fn watch_over(&self, n: u8, agent: &str, path: &str, p: Protocol, t: Transport) -> SessionHandle {
        let peer = PeerAddr::new(format!("127.0.1.{n}:4000").parse().unwrap());
        let viewer = self.door.admit(RawViewer::new(peer, Some(agent)));
        self.recorder.begin(viewer, path, p, t)
    }
    async fn pass(&self, seconds: u64) {
        self.recorder.flushed().await;
        self.clock.advance(Duration::from_secs(seconds));
        self.recorder.flushed().await;
    }
    async fn ask(&self, path: Option<&str>) -> Stats {
        self.recorder.flushed().await;
        let question = Question {
            since: None,
            until: None,
            path: path.map(Into::into),
            now: self.clock.wall(),
        };
        stats(&self.store, &question).await.unwrap()
    }
    async fn stop(self) {
        assert!(self.tasks.shutdown(Duration::from_secs(10)).await);
    }
}

fn at(text: &str) -> SystemTime {
    text.parse::<Timestamp>().unwrap().into()
}

fn counts(sessions: u64, viewer_days: u64, watch_seconds: u64, peak_concurrent: u64) -> Counts {
    Counts {
        sessions,
        viewer_days,
        watch_seconds,
        peak_concurrent,
    }
}

/// What a `kill -9` would leave: the files as they are, without anybody closing them.
fn killed(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for name in ["louver.db", "louver.db-wal"] {
        fs::copy(dir.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

/// Whether any file of a directory contains the bytes.
fn found(dir: &Path, bytes: &[u8]) -> bool {
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files
        .into_iter()
        .any(|file| file.windows(bytes.len()).any(|w| w == bytes))
}

async fn number(store: &Store, sql: &'static str) -> i64 {
    let mut reader = store.reader().await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut reader).await.unwrap()
}

#[tokio::test]
async fn twelve_viewers_over_tcp_udp_and_mjpeg_are_counted_exactly_also_after_a_kill() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), NOON).await;
    let mut sessions = Vec::new();
    for n in 1..=6 {
        sessions.push(rig.watch(n, VLC, "webcam"));
        rig.pass(1).await; // 1, 2 .. 6 seconds apart
    }
    for n in 7..=12 {
        let (protocol, transport) = if n < 10 {
            (Protocol::Rtsp, Transport::Udp)
        } else {
            (Protocol::Mjpeg, Transport::Tcp)
        };
        sessions.push(rig.watch_over(n, "Lavf60.16.100", "door", protocol, transport));
    }
    rig.pass(10).await;
    sessions[0].pause();
    rig.pass(100).await;
    sessions[0].resume();
    let again = rig.watch(12, "Lavf60.16.100", "webcam"); // the same viewer, another session
    rig.pass(5).await;
    sessions.truncate(6); // the door is left
    rig.pass(20).await;

    // webcam: viewer 1 watched 6+10+5+20, viewers 2..6 watched 5,4,3,2,1 + 135; viewer 12 watched 25 more.
    let webcam = 41 + 15 + 5 * 135 + 25;
    let door = 6 * 115;
    let total = counts(13, 12, webcam + door, 13);
    let answer = rig.ask(None).await;
    assert_eq!(answer.total, total);
    assert_eq!(answer.live.sessions, 7);
    assert_eq!(answer.live.by_path, [("webcam".to_string(), 7)]);
    assert_eq!(rig.ask(Some("webcam")).await.total, counts(7, 7, webcam, 7));
    let by_path: Vec<_> = answer
        .by_path
        .iter()
        .map(|c| (&*c.key, c.counts.unwrap()))
        .collect();
    assert_eq!(
        by_path,
        [
            ("door", counts(6, 6, door, 6)),
            ("webcam", counts(7, 7, webcam, 7))
        ]
    );
    let by_client: Vec<_> = answer
        .by_client
        .iter()
        .map(|c| (&*c.key, c.counts.unwrap().sessions))
        .collect();
    assert_eq!(by_client, [("FFmpeg", 7), ("VLC", 6)]);
    let hidden: Vec<_> = answer
        .by_protocol
        .iter()
        .map(|c| (&*c.key, c.counts.is_none()))
        .collect();
    assert_eq!(
        hidden,
        [("mjpeg", true), ("rtsp", true)],
        "three viewers of mjpeg cannot be had by subtraction"
    );
    assert_eq!((answer.by_hour.len(), answer.restarts), (6 * 24 + 13, 0));

    rig.clock.advance(Duration::from_secs(3)); // not noted any more
    let left = killed(dir.path());
    let after = Rig::start(left.path(), "2026-11-21T12:30:00Z").await;
    after.pass(1).await;
    let answer = after.ask(None).await;
    assert_eq!(answer.total, total);
    assert_eq!((answer.live.sessions, answer.restarts), (0, 1));
    drop((sessions, again));
    rig.stop().await;
    after.stop().await;
}

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
        now: at("2026-11-21T13:00:00Z"),
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
async fn who_opted_out_leaves_no_row() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), NOON).await;
    let session = rig.watch(1, "VLC/3 nostats", "webcam");
    rig.pass(10).await;
    session.pause();
    session.resume();
    assert_eq!(rig.ask(None).await.total, Counts::default());
    assert_eq!(rig.ask(None).await.live.sessions, 0);
    drop(session);
    rig.recorder.flushed().await;
    assert_eq!(
        number(
            &rig.store,
            "SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM spans)"
        )
        .await,
        0
    );
    rig.stop().await;
}

#[tokio::test]
async fn machines_are_kept_apart() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), NOON).await;
    let _sessions = [
        rig.watch(1, "FFmpeg Frigate/0.13.2", "webcam"),
        rig.watch(2, VLC, "webcam"),
    ];
    rig.pass(10).await;
    let answer = rig.ask(None).await;
    assert_eq!(answer.total, counts(1, 1, 10, 1));
    assert_eq!(answer.machines, counts(1, 1, 10, 1));
    assert_eq!((answer.live.sessions, answer.live.machines), (1, 1));
    assert!(answer.by_client.iter().all(|cell| cell.key != "Frigate"));
    rig.stop().await;
}

#[tokio::test]
async fn no_file_holds_an_address_or_an_agent_in_any_writing() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), NOON).await;
    let agent = "CanaryPlayer/9.9 (serial 12345)";
    let mut ids = Vec::new();
    let mut sessions = Vec::new();
    for addr in ["203.0.113.7:51413", "[2001:db8:1:2:3:4:5:6]:51413"] {
        let raw = RawViewer::new(PeerAddr::new(addr.parse().unwrap()), Some(agent));
        let viewer = rig.door.admit(raw).unwrap();
        ids.push(viewer.day_id());
        sessions.push(
            rig.recorder
                .begin(Some(viewer), "webcam", Protocol::Rtsp, Transport::Tcp),
        );
    }
    rig.pass(10).await;
    assert!(
        ids.iter().all(|id| found(dir.path(), id)),
        "the search finds what is there"
    );
    for canary in [
        &b"203.0.113.7"[..],
        &[203, 0, 113, 7],
        &[7, 113, 0, 203],
        b"cb007107",
        b"CB007107",
        b"3405803783",
        b"ywBxBw",
        b"2001:db8",
        &[0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2],
        b"20010db8",
        b"51413",
        b"CanaryPlayer",
        b"canaryplayer",
        b"12345)",
    ] {
        assert!(!found(dir.path(), canary), "{canary:?}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn days_are_added_up_and_their_rows_are_gone_for_good() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), "2026-11-19T12:00:00Z").await;
    let mut ids = Vec::new();
    let mut session_ids = Vec::new();
    for n in 0..40_u8 {
        let peer = PeerAddr::new(format!("127.0.2.{n}:1").parse().unwrap());
        let viewer = rig.door.admit(RawViewer::new(peer, Some(VLC))).unwrap();
        ids.push(viewer.day_id());
        let path = if n % 2 == 0 { "webcam" } else { "door" };
        let session = rig
            .recorder
            .begin(Some(viewer), path, Protocol::Rtsp, Transport::Udp);
        rig.pass(10).await;
        drop(session);
    }
    let stays = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    let mut reader = rig.store.reader().await.unwrap();
    for row in sqlx::query("SELECT id FROM sessions WHERE open = 0")
        .fetch_all(&mut reader)
        .await
        .unwrap()
    {
        session_ids.push(row.get::<Vec<u8>, _>(0));
    }
    drop(reader);
    assert_eq!(session_ids.len(), 40);
    let before = rig.ask(None).await;
    assert_eq!(before.total, counts(41, 41, 410, 1));
    rig.stop().await;

    // A day after the day closed, at the next start.
    let rig = Rig::start(dir.path(), "2026-11-21T00:00:01Z").await;
    rig.recorder.flushed().await;
    let question = Question {
        since: None,
        until: Some("2026-11-19T23:00:00Z".parse().unwrap()),
        path: None,
        now: rig.clock.wall(),
    };
    let after = stats(&rig.store, &question).await.unwrap();
    assert_eq!(rig.store_counts().await, (0, 0));
    assert_eq!((after.total, &after.by_path), (before.total, &before.by_path));
    assert_eq!(
        (&after.by_client, &after.by_transport),
        (&before.by_client, &before.by_transport)
    );
    let shown = |stats: &Stats| {
        stats
            .by_hour
            .iter()
            .filter(|c| c.counts.is_some())
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&after), shown(&before));
    assert_eq!(shown(&after).len(), 1);
    assert_eq!(
        after.to,
        "2026-11-20T00:00:00Z".parse().unwrap(),
        "hours of that day are no longer told apart"
    );
    for gone in ids
        .iter()
        .map(|id| &id[..])
        .chain(session_ids.iter().map(|id| &id[..]))
    {
        assert!(
            !found(dir.path(), gone),
            "a number of a day that was added up is still in a file"
        );
    }
    drop(stays);
    rig.stop().await;
}

impl Rig {
    async fn store_counts(&self) -> (i64, i64) {
        (
            number(&self.store, "SELECT count(*) FROM sessions").await,
            number(&self.store, "SELECT count(*) FROM spans").await,
        )
    }
}

#[tokio::test]
async fn a_session_of_days_is_counted_once_and_watched_every_day() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), "2026-11-19T12:00:00Z").await;
    let session = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    rig.clock.advance(Duration::from_secs(2 * 86_400 - 10)); // the 21st, noon
    let mut writer_looked = Rig::day_added_up(&rig).await;
    assert!(writer_looked, "the writer looks every two seconds");
    assert_eq!(
        number(
            &rig.store,
            "SELECT count(*) FROM sessions WHERE viewer IS NULL AND counted = 1"
        )
        .await,
        1
    );
    rig.clock.advance(Duration::from_secs(86_400));
    writer_looked = Rig::day_added_up(&rig).await;
    assert!(writer_looked);
    drop(session);
    let answer = rig.ask(None).await;
    assert_eq!(answer.total, counts(1, 1, 3 * 86_400, 1));
    assert_eq!(
        number(
            &rig.store,
            "SELECT count(*) FROM leaves WHERE dimension = 'all' AND scope = ''"
        )
        .await,
        2
    );
    rig.stop().await;
}

impl Rig {
    /// Waits until the day before yesterday is in leaves.
    async fn day_added_up(&self) -> bool {
        let today = self
            .clock
            .wall()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            / 86_400;
        let expected = i64::try_from(today - 2).unwrap();
        let looked = async {
            while number(&self.store, "SELECT coalesce(max(day), 0) FROM leaves").await < expected {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(writer::HEARTBEAT * 4, looked).await.is_ok()
    }
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

use sqlx::Connection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::sqlite::SqliteConnection;

fn writable(dir: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(dir.join("louver.db"))
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
