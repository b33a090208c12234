//! The session store: how many sessions per second it takes, and how soon it answers from two years of them.
//!
//! Not measured from outside, as all else is: the store has no port. It runs in this process, on files in a temporary
//! directory, with the relay's own writer. The two years are made as leaves: that is all that is left of sessions
//! after an hour.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::ToSpan;
use sqlx::AssertSqlSafe;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::sqlite::SqliteConnection;

use louver::analytics::Mode;
use louver::analytics::Options;
use louver::analytics::Protocol;
use louver::analytics::Recorder;
use louver::analytics::Store;
use louver::analytics::Transport;
use louver::analytics::query;
use louver::analytics::query::Question;
use louver::analytics::query::Tier;
use louver::base::clock::SystemClock;
use louver::base::peer::PeerAddr;
use louver::base::tasks::Tasks;
use louver::privacy;
use louver::privacy::Door;
use louver::privacy::RawViewer;
use louver::telemetry::Metrics;

use crate::Fault;
use crate::report::Figures;
use crate::server::TempDir;

/// Sessions that come and go as fast as they can.
const BURST: u32 = 100_000;
/// Rows that are deleted at once.
const PURGED: u32 = 100_000;

/// Begins the numbers of rows that are purged, so that they are known in the files.
const PLANTED: &[u8; 8] = b"planted:";
/// Times that each report is asked for.
const ASKED: usize = 20;

/// All of it.
pub(super) fn measure() -> Result<Figures, Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let figures = burst().await?;
        let figures = figures.and(reports().await?);
        Ok(figures.and(purge().await?))
    })
}

/// A store and its writer.
struct Rig {
    store: Store,
    recorder: Recorder,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

impl Rig {
    async fn start(dir: &Path) -> Result<Self, Fault> {
        let store = Store::open(dir, Mode::ReadWrite, Options::default()).await?;
        let (tasks, metrics) = (Tasks::new(), Metrics::new());
        let recorder = Recorder::start(&tasks, store.clone(), SystemClock::shared(), Arc::clone(&metrics));
        recorder.flushed().await;
        Ok(Self {
            store,
            recorder,
            tasks,
            metrics,
        })
    }
    async fn stop(self) -> Result<(), Fault> {
        match self.tasks.shutdown(Duration::from_secs(60)).await {
            true => Ok(()),
            false => Err("the session store did not end".into()),
        }
    }
}

/// Sessions of different viewers begin and end; then all of them are in the store.
async fn burst() -> Result<Figures, Fault> {
    let dir = TempDir::new()?;
    let rig = Rig::start(&dir.0).await?;
    let door = Door::new(privacy::Options::default(), SystemClock::shared());
    let viewers: Vec<_> = (0..BURST)
        .map(|n| {
            let address = SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + n), 5000));
            door.admit(RawViewer::new(PeerAddr::new(address), Some("VLC/3.0.20")))
        })
        .collect();
    let begun = Instant::now();
    for viewer in viewers {
        drop(
            rig.recorder
                .begin(viewer, "webcam", Protocol::Rtsp, Transport::Tcp),
        );
    }
    let recorded = begun.elapsed();
    rig.recorder.flushed().await;
    let stored = begun.elapsed();
    let answer = query::stats(&rig.store, &question(1, None, Tier::Console)).await?;
    let lost = f64::from(BURST) - answer.total.sessions as f64;
    let failed = rig.metrics.encode().contains("EventQueueFull");
    rig.stop().await?;
    if lost != 0.0 || failed {
        return Err(format!("{lost} of {BURST} sessions were lost").into());
    }
    Ok(Figures::default()
        .with("sessions", f64::from(BURST))
        .with(
            "record_us_per_session",
            recorded.as_secs_f64() * 1e6 / f64::from(BURST),
        )
        .with("stored_per_second", f64::from(BURST) / stored.as_secs_f64())
        .with("sessions_lost", lost))
}

/// Ten million sessions in 25 months, on 20 paths.
async fn reports() -> Result<Figures, Fault> {
    let dir = TempDir::new()?;
    Rig::start(&dir.0).await?.stop().await?;
    let mut db = open(&dir.0).await?;
    let today = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs() as i64
        / 86_400;
    let rows = two_years(&mut db, today).await?;
    db.close().await?;
    let started = Instant::now();
    let rig = Rig::start(&dir.0).await?;
    let start_up = started.elapsed();
    let mut figures = Figures::default()
        .with("leaves", rows)
        .with("start_up_ms", start_up.as_secs_f64() * 1e3);
    let reports: [(&'static str, i64, Option<&str>, Tier); 6] = [
        ("week_p95_ms", 7, None, Tier::Console),
        ("month_p95_ms", 31, None, Tier::Console),
        ("quarter_p95_ms", 90, None, Tier::Console),
        ("all_p95_ms", 760, None, Tier::Console),
        ("all_of_path_p95_ms", 760, Some("path07"), Tier::Console),
        ("all_published_p95_ms", 760, None, Tier::Published),
    ];
    for (name, days, path, tier) in reports {
        let mut times = Vec::with_capacity(ASKED);
        let mut sessions = 0;
        for _ in 0..ASKED {
            let asked = Instant::now();
            let answer = query::stats(&rig.store, &question(days, path, tier)).await?;
            times.push(asked.elapsed().as_secs_f64() * 1e3);
            sessions = answer.total.sessions;
        }
        times.sort_by(f64::total_cmp);
        figures = figures.with(name, times[ASKED * 95 / 100 - 1]);
        if name == "all_p95_ms" {
            figures = figures.with("sessions_in_25_months", sessions as f64);
        }
    }
    rig.stop().await?;
    Ok(figures)
}

/// Rows of single sessions that were kept long enough are deleted at the start; then none of them is in any file.
async fn purge() -> Result<Figures, Fault> {
    let dir = TempDir::new()?;
    Rig::start(&dir.0).await?.stop().await?;
    let mut db = open(&dir.0).await?;
    let rows = format!(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {PURGED})
        INSERT INTO visits (id, viewer, day, hour, path, client, length)
        SELECT CAST('planted:' || randomblob(8) AS BLOB), randomblob(16), 15000, 15000 * 86400, 'webcam', 'VLC', 3 FROM n"
    );
    sqlx::query(AssertSqlSafe(rows)).execute(&mut db).await?;
    db.close().await?;
    let planted = planted(&dir.0)?;
    let started = Instant::now();
    let rig = Rig::start(&dir.0).await?;
    let mut left = PURGED.into();
    while left > 0 {
        let mut db = open(&dir.0).await?;
        left = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM visits")
            .fetch_one(&mut db)
            .await?;
        db.close().await?;
    }
    rig.recorder.flushed().await; // behind the purge
    let purged = started.elapsed();
    let found = rig.metrics.encode().contains("NotGone");
    rig.stop().await?;
    let there = self::planted(&dir.0)?;
    if planted < PURGED as usize || found || there > 0 {
        return Err(format!("of {planted} rows in the files, {there} still are").into());
    }
    Ok(Figures::default()
        .with("rows_purged", PURGED.into())
        .with("rows_in_files_before", planted as f64)
        .with("rows_in_files_after", there as f64)
        .with("purge_seconds", purged.as_secs_f64()))
}

/// How often the beginning of a planted number stands in the files of a store.
fn planted(dir: &Path) -> Result<usize, Fault> {
    let mut times = 0;
    for file in std::fs::read_dir(dir)? {
        let file = file?;
        if !file.file_type()?.is_file() {
            continue;
        }
        let bytes = std::fs::read(file.path())?;
        times += bytes.windows(PLANTED.len()).filter(|w| w == PLANTED).count();
    }
    Ok(times)
}

fn question(days: i64, path: Option<&str>, tier: Tier) -> Question {
    let now = Timestamp::now();
    Question {
        since: now.checked_sub(((days - 1) * 24).hours()).ok(),
        until: None,
        path: path.map(str::to_owned),
        tier,
        now: now.into(),
    }
}

async fn open(dir: &Path) -> Result<SqliteConnection, Fault> {
    let file = SqliteConnectOptions::new().filename(dir.join("louver.db"));
    Ok(SqliteConnection::connect_with(&file).await?)
}

/// Leaves of 761 days until yesterday: 20 paths, all together, and what of them is published.
async fn two_years(db: &mut SqliteConnection, today: i64) -> Result<f64, Fault> {
    let first = today - 761;
    let rows = format!(
        "WITH RECURSIVE
        days(day) AS (SELECT {first} UNION ALL SELECT day + 1 FROM days WHERE day < {today} - 1),
        scopes(scope, part) AS (SELECT '', 20 UNION ALL SELECT '*', 19 UNION ALL
            SELECT printf('path%02d', n), 1 FROM (
                WITH RECURSIVE p(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM p WHERE n < 20) SELECT n FROM p)),
        nine(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM nine WHERE n < 9),
        facts(dimension, value, share) AS (
            SELECT 'all', '', 1
            UNION ALL SELECT 'protocol', column1, 2 FROM (VALUES ('rtsp'), ('mjpeg'))
            UNION ALL SELECT 'transport', column1, 2 FROM (VALUES ('tcp'), ('udp'))
            UNION ALL SELECT 'client', 'player ' || n, 10 FROM nine
            UNION ALL SELECT 'country', 'C' || n, 10 FROM nine
            UNION ALL SELECT 'length', n, 10 FROM nine)
        INSERT INTO leaves (day, scope, dimension, value, sessions, viewers, watch_ms, peak, views)
        SELECT day, scope, dimension, value, 660 * part / share, 300 * part / share, 600000 * part, 40 * part, 9 * part
        FROM days, scopes, facts"
    );
    sqlx::query(AssertSqlSafe(rows)).execute(&mut *db).await?;
    let hours = format!(
        "WITH RECURSIVE
        days(day) AS (SELECT {today} - 89 UNION ALL SELECT day + 1 FROM days WHERE day < {today} - 1),
        hours(h) AS (SELECT 0 UNION ALL SELECT h + 1 FROM hours WHERE h < 23)
        INSERT INTO leaves (day, scope, dimension, value, sessions, viewers, watch_ms, peak, views)
        SELECT day, scope, 'hour', day * 86400 + h * 3600, 20, 15, 60000, 9, 3
        FROM days, hours, (SELECT DISTINCT scope FROM leaves WHERE dimension = 'all')"
    );
    sqlx::query(AssertSqlSafe(hours)).execute(&mut *db).await?;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM leaves")
        .fetch_one(db)
        .await?;
    Ok(rows as f64)
}
