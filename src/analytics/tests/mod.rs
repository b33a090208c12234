//! Door, recorder, store and questions together, on real files, under a clock that a test moves.

mod attacks;
mod counting;
mod days;
mod keys;
mod past;
mod private;
mod privileges;
mod published;
mod residue;
mod silence;
mod trouble;
mod views;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::SystemTime;

use jiff::Timestamp;
use sqlx::ConnectOptions;
use sqlx::Connection;
use sqlx::postgres::PgConnectOptions;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::sqlite::SqliteConnection;
use tempfile::TempDir;

use super::db::Db;
use super::query::Counts;
use super::query::Question;
use super::query::Stats;
use super::query::Tier;
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

/// Makes two tests of each function, `NAME::sqlite` and `NAME::postgres`.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn sqlite() {
                super::$name(Home::sqlite()).await;
            }

            #[tokio::test]
            async fn postgres() {
                super::$name(Home::postgres().await).await;
            }
        }
    )*};
}
use on_both;

/// Where the tests' PostgreSQL is: `scripts/test` starts one and says so here.
const SERVER: &str = "LOUVER_TEST_POSTGRES";

/// Where the statistics of one test are.
struct Home {
    dir: TempDir,
    /// The address of a database that this test has for itself.
    database: Option<String>,
}

impl Home {
    fn sqlite() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            database: None,
        }
    }
    async fn postgres() -> Self {
        let server = std::env::var(SERVER).unwrap_or_else(|_| {
            panic!("{SERVER} does not name a PostgreSQL server: scripts/test starts one and sets it")
        });
        let name = format!("t{}", recorder::random_id().map(|b| format!("{b:02x}")).concat());
        let options: PgConnectOptions = server.parse().unwrap();
        let mut admin = options.connect().await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&mut admin).await.unwrap();
        let (before, rest) = server.split_once("/postgres").expect("the database postgres");
        Self {
            dir: TempDir::new().unwrap(),
            database: Some(format!("{before}/{name}{rest}")),
        }
    }
    fn path(&self) -> &Path {
        self.dir.path()
    }
    fn options(&self) -> Options {
        match &self.database {
            None => Options::default(),
            Some(address) => Options::default().in_database(address).unwrap(),
        }
    }
    async fn open(&self, mode: Mode) -> Store {
        Store::open(self.path(), mode, self.options()).await.unwrap()
    }
    /// Somebody else's connection.
    async fn stranger(&self) -> Db {
        match &self.database {
            None => {
                let file = SqliteConnectOptions::new().filename(self.path().join("louver.db"));
                Db::Sqlite(Box::new(SqliteConnection::connect_with(&file).await.unwrap()))
            }
            Some(address) => {
                let options: PgConnectOptions = address.parse().unwrap();
                let options = options.options([("search_path", "louver")]);
                Db::Postgres(Box::new(PgConnection::connect_with(&options).await.unwrap()))
            }
        }
    }
}

/// A relay's statistics without the relay.
struct Rig {
    door: Door,
    recorder: Recorder,
    store: Store,
    clock: Arc<ManualClock>,
    tasks: Tasks,
    metrics: Arc<Metrics>,
    /// What was told of purges.
    purged: Arc<Mutex<Vec<Purged>>>,
}

impl Rig {
    async fn start(home: &Home, now: &str) -> Self {
        Self::start_in(home.path(), home.options(), now).await
    }
    async fn start_in(dir: &Path, options: Options, now: &str) -> Self {
        let clock = ManualClock::new(at(now));
        let store = Store::open(dir, Mode::ReadWrite, options).await.unwrap();
        let tasks = Tasks::new();
        let metrics = Metrics::new();
        let purged = Arc::new(Mutex::new(Vec::new()));
        let sink = purged.clone();
        let sink = Box::new(move |did| sink.lock().unwrap().push(did));
        let recorder = Recorder::start_telling(&tasks, store.clone(), clock.clone(), metrics.clone(), sink);
        recorder.flushed().await;
        Self {
            door: Door::new(crate::privacy::Options::default(), clock.clone()),
            recorder,
            store,
            clock,
            tasks,
            metrics,
            purged,
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
            tier: Tier::Console,
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
        views: 0,
    }
}

/// Without views, which most tests are not about.
fn plain(counts: Counts) -> Counts {
    Counts { views: 0, ..counts }
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
    reader.number(sql, &[]).await.unwrap()
}

impl Rig {
    async fn store_counts(&self) -> (i64, i64) {
        (
            number(&self.store, "SELECT count(*) FROM sessions").await,
            number(&self.store, "SELECT count(*) FROM spans").await,
        )
    }
}
