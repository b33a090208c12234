//! The door, the recorder and a store in a directory of its own, under a clock that the test moves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use jiff::Timestamp;
use louver::analytics;
use louver::analytics::Mode;
use louver::analytics::Protocol;
use louver::analytics::Recorder;
use louver::analytics::SessionHandle;
use louver::analytics::Store;
use louver::analytics::Transport;
use louver::base::clock::ManualClock;
use louver::base::peer::PeerAddr;
use louver::base::tasks::Tasks;
use louver::privacy::Door;
use louver::privacy::Options;
use louver::privacy::RawViewer;
use louver::telemetry::Metrics;
use sqlx::Connection;
use sqlx::Row;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::sqlite::SqliteConnection;
use tempfile::TempDir;

pub const NOON: &str = "2026-11-21T12:00:00Z";
pub const VLC: &str = "VLC/3.0.20 LibVLC/3.0.20";

pub struct Rig {
    pub door: Door,
    pub clock: Arc<ManualClock>,
    recorder: Recorder,
    tasks: Tasks,
    pub dir: TempDir,
}

pub fn at(text: &str) -> SystemTime {
    text.parse::<Timestamp>().unwrap().into()
}

pub fn raw(addr: &str, agent: &str) -> RawViewer {
    RawViewer::new(PeerAddr::new(addr.parse().unwrap()), Some(agent))
}

impl Rig {
    pub async fn start(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(at(NOON));
        let store = Store::open(dir.path(), Mode::ReadWrite, analytics::Options::default());
        let store = store.await.unwrap();
        let tasks = Tasks::new();
        let recorder = Recorder::start(&tasks, store, clock.clone(), Metrics::new());
        recorder.flushed().await;
        Self {
            door: Door::new(options, clock.clone()),
            clock,
            recorder,
            tasks,
            dir,
        }
    }
    /// A session of ten seconds.
    pub async fn watch(&self, addr: &str, agent: &str, path: &str) {
        drop(self.begin(addr, agent, path));
        self.recorder.flushed().await;
    }
    pub fn begin(&self, addr: &str, agent: &str, path: &str) -> SessionHandle {
        let viewer = self.door.admit_to(path, raw(addr, agent));
        let session = self.recorder.begin(viewer, path, Protocol::Rtsp, Transport::Tcp);
        self.clock.advance(Duration::from_secs(10));
        session
    }
    /// Waits until all is stored.
    pub async fn stored(&self) {
        self.recorder.flushed().await;
    }
    /// Every value of a column of `sessions`.
    pub async fn column(&self, name: &str) -> Vec<Option<Vec<u8>>> {
        let options = SqliteConnectOptions::new().filename(self.dir.path().join("louver.db"));
        let mut db = SqliteConnection::connect_with(&options).await.unwrap();
        let ask = match name {
            "id" => "SELECT id FROM sessions",
            "viewer" => "SELECT viewer FROM sessions",
            other => panic!("no question for {other}"),
        };
        let rows = sqlx::query(ask).fetch_all(&mut db).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
    /// Every file as it is now, write-ahead log and all.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            files.push((path.clone(), std::fs::read(&path).unwrap()));
        }
        files
    }
    pub async fn stop(self) {
        assert!(self.tasks.shutdown(Duration::from_secs(10)).await);
    }
}
