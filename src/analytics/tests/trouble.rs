//! Kills, clocks, locks, files that vanish, queues that are full.

use super::*;
use crate::analytics::recorder::QUEUE;

on_both!(
    a_run_notes_that_it_is_alive_while_anybody_watches,
    the_end_of_the_program_ends_and_stores_every_session,
    a_clock_that_steps_changes_no_watch_time,
    a_store_that_is_locked_costs_nothing_but_a_count,
    a_full_queue_is_counted_and_delays_nobody,
    a_store_that_refuses_loses_no_session,
);

#[tokio::test]
async fn what_a_run_left_open_ends_when_it_was_last_alive() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, NOON).await;
    let _session = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    rig.clock.advance(Duration::from_secs(2));
    let left = killed(home.path());
    // Nobody started the relay again: who asks sees what was noted, and nobody live.
    let store = Store::open(left.path(), Mode::ReadOnly, Options::default())
        .await
        .unwrap();
    let answer = stats(&store, &rig.question()).await.unwrap();
    assert_eq!(
        (plain(answer.total), answer.live.sessions),
        (counts(1, 1, 10, 1), 0)
    );
    rig.stop().await;
}

async fn a_run_notes_that_it_is_alive_while_anybody_watches(home: Home) {
    let rig = Rig::start(&home, NOON).await;
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
    until(3, async || {
        number(&rig.store, "SELECT seen_ms FROM runs").await == expected
    })
    .await;
    rig.stop().await;
}

async fn the_end_of_the_program_ends_and_stores_every_session(home: Home) {
    let rig = Rig::start(&home, NOON).await;
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
        number(
            &store,
            "SELECT CAST(sum(ended_ms - started_ms) AS BIGINT) FROM spans"
        )
        .await,
        60_000
    );
    assert_eq!(number(&store, "SELECT ended FROM runs").await, 1);
}

async fn a_clock_that_steps_changes_no_watch_time(home: Home) {
    let rig = Rig::start(&home, "2026-11-01T00:00:00Z").await;
    let session = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    rig.clock.set_wall(at(NOON)); // the network told the time
    until(4, async || {
        number(&rig.store, "SELECT max(number) FROM spans").await >= 1
    })
    .await;
    rig.pass(5).await;
    drop(session);
    let answer = rig.ask(None).await;
    assert_eq!(
        answer.total.watch_seconds, 5,
        "what was watched before the step is where it was"
    );
    let question = Question {
        since: Some(Timestamp::UNIX_EPOCH),
        ..rig.question()
    };
    assert_eq!(
        plain(stats(&rig.store, &question).await.unwrap().total),
        counts(1, 1, 15, 1)
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_file_that_vanishes_is_made_again_with_who_watches() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, NOON).await;
    let session = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    for name in ["louver.db", "louver.db-wal", "louver.db-shm"] {
        fs::remove_file(home.path().join(name)).unwrap();
    }
    until(4, async || rig.try_count().await == Some(1)).await;
    rig.pass(5).await;
    drop(session);
    assert_eq!(plain(rig.ask(None).await.total), counts(1, 1, 15, 1));
    rig.stop().await;
}

#[tokio::test]
async fn who_leaves_just_after_the_file_vanished_is_not_stored_into_what_nobody_finds() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, NOON).await;
    let stays = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    for name in ["louver.db", "louver.db-wal", "louver.db-shm"] {
        fs::remove_file(home.path().join(name)).unwrap();
    }
    drop(rig.watch(2, VLC, "webcam"));
    rig.recorder.flushed().await; // long before the writer looks by itself
    let answer = rig.ask(None).await;
    assert_eq!((answer.total.sessions, answer.live.sessions), (2, 1));
    drop(stays);
    rig.stop().await;
}

/// Waits until the writer's next beats, so many at most, have done it.
async fn until(beats: u32, done: impl AsyncFn() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(writer::HEARTBEAT * beats, waiting)
        .await
        .unwrap();
}

impl Rig {
    /// What an operator asks who names nothing.
    fn question(&self) -> Question {
        Question {
            since: None,
            until: None,
            path: None,
            tier: Tier::Console,
            now: self.clock.wall(),
        }
    }

    async fn try_count(&self) -> Option<i64> {
        let mut reader = self.store.reader().await.ok()?;
        reader.number("SELECT count(*) FROM sessions", &[]).await.ok()
    }
}

async fn a_store_that_is_locked_costs_nothing_but_a_count(home: Home) {
    let rig = Rig::start(&home, NOON).await;
    let mut other = home.stranger().await;
    for statement in match home.database {
        None => &["BEGIN EXCLUSIVE"][..],
        Some(_) => &["BEGIN", "LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE"],
    } {
        other.execute(statement, &[]).await.unwrap();
    }
    let session = rig.watch(1, VLC, "webcam");
    rig.clock.advance(Duration::from_secs(10));
    rig.recorder.flushed().await; // tried, and failed
    drop(session);
    assert!(
        rig.metrics
            .encode()
            .contains("louver_lost_total{reason=\"StoreFailed\"}")
    );
    other.execute("ROLLBACK", &[]).await.unwrap();
    assert_eq!(plain(rig.ask(None).await.total), counts(1, 1, 10, 1));
    rig.stop().await;
}

async fn a_full_queue_is_counted_and_delays_nobody(home: Home) {
    let rig = Rig::start(&home, NOON).await;
    // One thread runs everything here, so the writer takes nothing before the first await.
    let more = 904;
    let sessions: Vec<_> = (0..QUEUE + more).map(|_| rig.watch(1, VLC, "webcam")).collect();
    sessions.iter().for_each(SessionHandle::pause);
    rig.pass(10).await;
    sessions.iter().for_each(SessionHandle::resume);
    rig.pass(10).await;
    drop(sessions); // more ends than the queue holds: none is lost
    let lost = "louver_lost_total{reason=\"EventQueueFull\"} 904\n";
    assert!(rig.metrics.encode().contains(lost));
    let answer = rig.ask(None).await;
    assert_eq!(
        plain(answer.total),
        counts(QUEUE as u64, 1, QUEUE as u64 * 10, QUEUE as u64)
    );
    assert_eq!(answer.live.sessions, 0);
    rig.stop().await;
}

#[tokio::test]
async fn one_relay_writes_and_anybody_reads() {
    let home = Home::sqlite();
    let missing = Store::open(home.path(), Mode::ReadOnly, Options::default()).await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })));
    let rig = Rig::start(&home, NOON).await;
    let second = Store::open(home.path(), Mode::ReadWrite, Options::default()).await;
    assert!(matches!(second, Err(StoreError::InUse { .. })));
    let session = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    let reader = Store::open(home.path(), Mode::ReadOnly, Options::default())
        .await
        .unwrap();
    let question = rig.question();
    assert_eq!(stats(&reader, &question).await.unwrap().live.sessions, 1);
    drop(session);
    rig.stop().await;
    assert_eq!(
        plain(stats(&reader, &question).await.unwrap().total),
        counts(1, 1, 10, 1)
    );
    let mut connection = reader.reader().await.unwrap();
    assert!(connection.execute("DELETE FROM sessions", &[]).await.is_err());
    Rig::start(&home, NOON).await.stop().await; // the lock went with the first
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_with_what_to_do() {
    let home = Home::sqlite();
    fs::write(
        home.path().join("louver.db"),
        "no database, but long enough to be looked at",
    )
    .unwrap();
    for mode in [Mode::ReadWrite, Mode::ReadOnly] {
        let store = Store::open(home.path(), mode, Options::default()).await;
        let error = match store {
            Ok(store) => store.reader().await.err(),
            Err(error) => Some(error),
        };
        let told = error.expect("it cannot be read").to_string();
        assert!(told.contains("louver.db is no database"), "{told}");
        assert!(told.contains("move it away"), "{told}");
    }
}

#[tokio::test]
async fn every_connection_deletes_for_good() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, NOON).await;
    for mut connection in [
        rig.store.reader().await.unwrap(),
        rig.store.writer().await.unwrap(),
    ] {
        for (pragma, expected) in [("PRAGMA secure_delete", 1), ("PRAGMA temp_store", 2)] {
            let value = connection.number(pragma, &[]).await.unwrap();
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
    let rig = Rig::start_in(&dir, Options::default(), NOON).await;
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

/// What a full disk, a quota or a table without rights is to the writer.
async fn a_store_that_refuses_loses_no_session(home: Home) {
    let rig = Rig::start(&home, NOON).await;
    let mut stranger = home.stranger().await;
    let (refuse, allow): (&[&str], &[&str]) = match home.database {
        None => (
            &["CREATE TRIGGER full BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, 'disk full'); END"],
            &["DROP TRIGGER full"],
        ),
        Some(_) => (
            &[
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN RAISE EXCEPTION USING ERRCODE = ''disk_full''; END'",
                "CREATE TRIGGER no_room BEFORE INSERT ON sessions EXECUTE FUNCTION refuse()",
            ],
            &["DROP TRIGGER no_room ON sessions"],
        ),
    };
    for statement in refuse {
        stranger.execute(statement, &[]).await.unwrap();
    }
    for n in 1..=200 {
        drop(rig.watch(n, VLC, "webcam"));
        rig.clock.advance(Duration::from_secs(1));
    }
    rig.recorder.flushed().await;
    assert!(rig.store.is_failing());
    let metrics = rig.metrics.encode();
    assert!(metrics.contains("louver_sessions_unstored 200\n"), "{metrics}");
    assert_eq!(rig.ask(None).await.total.sessions, 0);
    for statement in allow {
        stranger.execute(statement, &[]).await.unwrap();
    }
    let answer = rig.ask(None).await;
    assert_eq!((answer.total.sessions, answer.total.viewer_days), (200, 200));
    assert!(!answer.store_is_failing && !rig.store.is_failing());
    assert!(rig.metrics.encode().contains("louver_sessions_unstored 0\n"));
    rig.stop().await;
}

/// Starts and stops a server of a test's own, as `scripts/postgres` does.
fn server(what: &str, dir: &Path) -> String {
    server_at(what, dir, None)
}

/// The same for a server that speaks TLS on a port.
fn server_at(what: &str, dir: &Path, port: Option<u16>) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
    let output = std::process::Command::new(script)
        .arg(what)
        .arg(dir)
        .envs(port.map(|port| ("PORT", port.to_string())))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Ends the server however the test ends.
struct Server<'d>(&'d Path);

impl Drop for Server<'_> {
    fn drop(&mut self) {
        server("stop", self.0);
    }
}

#[tokio::test]
async fn a_server_that_stops_and_starts_again_loses_no_session() {
    let dir = tempfile::Builder::new()
        .permissions(open_to_all())
        .tempdir()
        .unwrap();
    let address = server("start", dir.path());
    let _ended = Server(dir.path());
    let home = Home {
        dir: TempDir::new().unwrap(),
        database: Some(address),
    };
    let rig = Rig::start(&home, NOON).await;
    let stays = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    server("stop", dir.path());
    for n in 2..=50 {
        drop(rig.watch(n, VLC, "webcam"));
    }
    rig.pass(10).await;
    assert!(rig.store.is_failing());
    // Who starts a relay meanwhile gets one that shows video.
    let meanwhile = Store::open(home.path(), Mode::ReadWrite, home.options())
        .await
        .unwrap();
    drop(meanwhile);
    server("start", dir.path());
    rig.pass(10).await;
    assert_eq!(plain(rig.ask(None).await.total), counts(50, 50, 30, 1));
    drop(stays);
    rig.stop().await;
}

/// A certificate for this name that nobody else signed, with its key.
fn certificate(name: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let pem = |label: &str, der: &[u8]| {
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
    };
    (
        pem("CERTIFICATE", certificate.der()),
        pem("PRIVATE KEY", &key.serialize_der()),
    )
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_is_reached_by_tls_and_must_be_the_one_that_is_meant() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::Builder::new()
        .permissions(open_to_all())
        .tempdir()
        .unwrap();
    let (certificate, key) = certificate("localhost");
    let [crt, pem, other] = ["server.crt", "server.key", "other.crt"].map(|name| dir.path().join(name));
    fs::write(&crt, certificate).unwrap();
    fs::write(&pem, key).unwrap();
    fs::set_permissions(&pem, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&other, self::certificate("localhost").0).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    server_at("start", dir.path(), Some(port));
    let _ended = Server(dir.path());

    let open = async |host: &str, root: &Path| {
        let url = format!(
            "postgres://louver@{host}:{port}/postgres?sslmode=verify-full&sslrootcert={}",
            root.display()
        );
        let options = Options::default().in_database(&url).unwrap();
        Store::open(dir.path(), Mode::ReadWrite, options).await
    };
    let store = open("localhost", &crt).await.unwrap();
    let tls = "SELECT CAST(count(*) AS BIGINT) FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()";
    assert_eq!(number(&store, tls).await, 1);
    drop(store);
    for (host, root) in [("localhost", &other), ("127.0.0.1", &crt)] {
        let refused = open(host, root).await.err().expect("somebody else's certificate");
        assert!(refused.to_string().contains("certificate"), "{refused}");
    }
}

#[tokio::test]
async fn a_database_that_was_emptied_gets_who_watches_again() {
    let home = Home::postgres().await;
    let rig = Rig::start(&home, NOON).await;
    let session = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    let mut stranger = home.stranger().await;
    stranger.execute("DROP SCHEMA louver CASCADE", &[]).await.unwrap();
    until(6, async || rig.try_count().await == Some(1)).await;
    rig.pass(5).await;
    drop(session);
    assert_eq!(plain(rig.ask(None).await.total), counts(1, 1, 15, 1));
    rig.stop().await;
}

#[tokio::test]
async fn one_relay_writes_to_a_server_and_anybody_reads() {
    let home = Home::postgres().await;
    let rig = Rig::start(&home, NOON).await;
    let second = Store::open(home.path(), Mode::ReadWrite, home.options()).await;
    let refused = second.err().expect("a second relay would count everything twice");
    assert!(matches!(refused, StoreError::InUseThere));
    assert!(
        refused.to_string().contains("in use by another louver"),
        "{refused}"
    );
    let session = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    let reader = home.open(Mode::ReadOnly).await;
    let question = rig.question();
    assert_eq!(stats(&reader, &question).await.unwrap().live.sessions, 1);
    let mut connection = reader.reader().await.unwrap();
    assert!(connection.execute("DELETE FROM sessions", &[]).await.is_err());
    drop(session);
    rig.stop().await;
    assert_eq!(stats(&reader, &question).await.unwrap().live.sessions, 0);
    Rig::start(&home, NOON).await.stop().await; // the lock went with the first
}

#[cfg(unix)]
fn open_to_all() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}
