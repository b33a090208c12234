//! What becomes of sessions while they cannot be stored: a full disk, a lock, a file or a server that is gone. Each
//! session that ends meanwhile is in the statistics afterwards, it is said that some wait, and the video goes on without
//! one packet missing.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::sqlite::SqliteConnection;

use crate::canary::Canary;
use crate::clips;
use crate::http;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::peers::postgres::Postgres;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;
use crate::watchful::Watchful;

/// Who comes and goes before, and while the store is in trouble.
const BEFORE: u8 = 3;
const MEANWHILE: u8 = 20;

/// What happens to the store.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    /// Nothing can be stored until it is over.
    Lasts,
    /// The relay gets over it by itself, without what was stored before.
    Passes,
}

fn with_database(address: &str) -> Options {
    options().config(&format!("[stats]\ndatabase = \"{address}\""))
}

fn options() -> Options {
    Options::publish().config("[privacy]\nk = 1")
}

/// Where viewer `n` is.
fn host(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 73, 91, n)
}

/// Viewer `n` comes, watches a moment and leaves.
fn visit(relay: &Relay, n: u8) {
    Viewer::watch(
        Conn::open(host(n).into(), relay.addr("rtsp")),
        "cam",
        Transport::Tcp,
    )
    .leave();
}

/// What the statistics say; `None` while they cannot be asked.
fn stats(relay: &Relay) -> Option<Value> {
    let answer = http::get(relay.addr("http"), "/api/v1/stats");
    (answer.status == 200).then(|| serde_json::from_slice(&answer.body).unwrap())
}

/// Waits until so many sessions are stored, as many viewers, of which one watches; and nothing else waits.
#[track_caller]
fn until_stored(relay: &Relay, sessions: u8) {
    eventually(&format!("{sessions} sessions are stored"), || {
        let stats = stats(relay)?;
        let all = stats["sessions"] == sessions && stats["viewer_days"] == sessions;
        (all && stats["live"]["sessions"] == 1 && stats["store"] == "ok").then_some(())
    });
    eventually("no session waits", || {
        (relay.metric("louver_sessions_unstored ") == 0).then_some(())
    });
}

/// Sessions end while the store is in trouble, which `begin` makes, as often as it is called. Somebody watches all the
/// time.
fn sessions_are_stored_afterwards(
    options: Options,
    trouble: Trouble,
    begin: impl Fn(&Relay),
    end: impl FnOnce(&Relay),
) {
    let mut relay = Relay::start(options);
    for n in (1..=BEFORE).chain((1..=MEANWHILE).map(|n| 100 + n)) {
        relay.expect_no_trace_of(Canary::Addr(host(n)));
    }
    let _publisher = ffmpeg::publish_on(clips::h264(), &relay.rtsp("cam"), Transport::Tcp);
    relay.wait_for_state("cam", "ready");
    let over = AtomicBool::new(false);
    thread::scope(|s| {
        let watching = s.spawn(|| {
            let mut watchful = Watchful::of(&relay, "cam");
            while !over.load(Ordering::Acquire) {
                watchful.watch(Duration::from_millis(200));
            }
        });
        // However this ends, the one who watches must not be waited for in vain.
        let _over = Ends(&over);
        (1..=BEFORE).for_each(|n| visit(&relay, n));
        until_stored(&relay, BEFORE + 1);
        begin(&relay);
        (1..=MEANWHILE).for_each(|n| visit(&relay, 100 + n));
        if trouble == Trouble::Lasts {
            eventually("it is said that sessions wait", || {
                begin(&relay);
                let waiting = relay.metric("louver_sessions_unstored ");
                (waiting >= MEANWHILE.into() && relay.lost("StoreFailed") > 0).then_some(())
            });
            // Who can be asked at all says that something is missing.
            assert!(stats(&relay).is_none_or(|stats| stats["store"] == "failing"));
        }
        end(&relay);
        let before = if trouble == Trouble::Lasts { BEFORE } else { 0 };
        until_stored(&relay, before + 1 + MEANWHILE);
        over.store(true, Ordering::Release);
        watching.join().expect("not one packet is missing");
    });
    let log = relay.stop();
    if trouble == Trouble::Lasts {
        for words in ["Sessions cannot be stored now", "The session store works again"] {
            assert_eq!(log.matches(words).count(), 1, "{words}:\n{log}");
        }
    }
}

struct Ends<'e>(&'e AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

const BALLAST: &str = "ballast";

/// Leaves no room on a disk.
fn fill(disk: &Path) {
    let mut ballast = File::options();
    let ballast = ballast.create(true).append(true);
    let mut ballast = ballast.open(disk.join(BALLAST)).unwrap();
    for size in [1 << 16, 1 << 10, 1] {
        while ballast.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_loses_no_session() {
    sessions_are_stored_afterwards(
        options().disk(8 << 10),
        Trouble::Lasts,
        // More than once: what fails gives back the room of the write-ahead log.
        |relay| fill(&relay.disk()),
        |relay| std::fs::remove_file(relay.disk().join(BALLAST)).unwrap(),
    );
}

#[test]
fn a_disk_that_is_full_already_does_not_keep_the_relay_from_starting() {
    let mut before = Relay::start(options());
    before.signal("TERM");
    before.wait(Duration::from_secs(5)).expect("it ends");
    let data = before.data_dir().display().to_string();
    let full = format!("cp -r {data}/. \"$0\"; cat /dev/zero >\"$0/{BALLAST}\" 2>/dev/null");
    let relay = Relay::start(options().disk(8 << 10).first(&full));
    let _publisher = ffmpeg::publish_on(clips::h264(), &relay.rtsp("cam"), Transport::Tcp);
    relay.wait_for_state("cam", "ready");
    let mut watchful = Watchful::of(&relay, "cam");
    visit(&relay, 1);
    watchful.watch(Duration::from_secs(1));
    eventually("it is said that sessions wait", || {
        (relay.metric("louver_sessions_unstored ") >= 2).then_some(())
    });
    std::fs::remove_file(relay.disk().join(BALLAST)).unwrap();
    until_stored(&relay, 2);
    watchful.watch(Duration::from_millis(200));
    relay.stop();
}

/// The very first start, on a disk without room for the secret of the installation: it ends and says what to do, and leaves
/// nothing that the next start, which has room, would take for a secret or stumble over.
#[test]
fn a_first_start_without_room_says_what_to_do_and_the_next_one_is_as_if_it_had_not_been() {
    let first = format!(
        "cat /dev/zero >\"$0/{BALLAST}\" 2>/dev/null\n\"$@\" >/dev/null; echo \"the first one ended with $?\" >&2\n\
         ls \"$0\" | sed 's/^/left: /' >&2; rm \"$0/{BALLAST}\""
    );
    let relay = Relay::start(options().disk(8 << 10).first(&first));
    let log = relay.log();
    for words in [
        "the first one ended with 1",
        "no room is left on the disk",
        "make room there",
    ] {
        assert!(log.contains(words), "{words}:\n{log}");
    }
    assert!(!log.contains("left: master"), "{log}");
    eventually("there is a whole secret", || {
        let secret = std::fs::read(relay.disk().join("master.key")).ok()?;
        (secret.len() == 32).then_some(())
    });
    relay.stop();
}

#[test]
fn a_locked_file_loses_no_session() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let lock = std::cell::RefCell::new(None);
    sessions_are_stored_afterwards(
        options(),
        Trouble::Lasts,
        |relay| {
            if lock.borrow().is_some() {
                return;
            }
            let file = SqliteConnectOptions::new().filename(relay.data_dir().join("louver.db"));
            let locked = runtime.block_on(async {
                let mut db =
                    SqliteConnection::connect_with(&file.busy_timeout(Duration::from_secs(30))).await?;
                sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut db).await?;
                Ok::<_, sqlx::Error>(db)
            });
            *lock.borrow_mut() = Some(locked.unwrap());
        },
        |_| {
            let db = lock.borrow_mut().take().unwrap();
            runtime.block_on(db.close()).unwrap();
        },
    );
}

#[test]
fn a_file_that_vanishes_loses_nobody_who_comes_after() {
    sessions_are_stored_afterwards(
        options(),
        Trouble::Passes,
        |relay| {
            for name in ["louver.db", "louver.db-wal", "louver.db-shm"] {
                std::fs::remove_file(relay.data_dir().join(name)).unwrap();
            }
        },
        |_| {},
    );
}

#[test]
fn a_server_that_is_away_loses_no_session() {
    let server = Postgres::start();
    sessions_are_stored_afterwards(
        with_database(&server.address),
        Trouble::Lasts,
        |_| server.stop(),
        |_| server.start_again(),
    );
}

#[test]
fn a_locked_table_loses_no_session() {
    let server = Postgres::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let lock = std::cell::RefCell::new(None);
    sessions_are_stored_afterwards(
        with_database(&server.address),
        Trouble::Lasts,
        |_| {
            if lock.borrow().is_some() {
                return;
            }
            let locked = runtime.block_on(async {
                let mut db = PgConnection::connect(&server.address).await?;
                sqlx::raw_sql("BEGIN; LOCK TABLE louver.sessions IN ACCESS EXCLUSIVE MODE")
                    .execute(&mut db)
                    .await?;
                Ok::<_, sqlx::Error>(db)
            });
            *lock.borrow_mut() = Some(locked.unwrap());
        },
        |_| {
            let db = lock.borrow_mut().take().unwrap();
            runtime.block_on(db.close()).unwrap();
        },
    );
}

#[test]
fn a_full_tablespace_loses_no_session() {
    let server = Postgres::with_small_disk(4 << 10);
    let small = server.small().display().to_string();
    // One statement each: it is refused in a transaction with others.
    server.execute(&format!("CREATE TABLESPACE small LOCATION '{small}'"));
    server.execute("ALTER ROLE louver SET default_tablespace = small");
    let disk = server.small_from_outside();
    sessions_are_stored_afterwards(
        with_database(&server.address),
        Trouble::Lasts,
        |_| {
            // Few rows have room in a page: who comes now needs another one.
            server.execute("ALTER TABLE louver.sessions SET (fillfactor = 10)");
            fill(&disk);
        },
        |_| std::fs::remove_file(disk.join(BALLAST)).unwrap(),
    );
    let log = String::from_utf8_lossy(&server.log()).into_owned();
    assert!(log.contains("No space left on device"), "{log}");
}

#[test]
fn a_right_that_is_taken_away_loses_no_session() {
    let server = Postgres::start();
    server.execute("CREATE ROLE relay LOGIN");
    server.execute("GRANT CREATE ON DATABASE postgres TO relay");
    sessions_are_stored_afterwards(
        with_database(&server.address_of("relay")),
        Trouble::Lasts,
        |_| server.execute("REVOKE INSERT ON louver.spans FROM relay"),
        |_| server.execute("GRANT INSERT ON louver.spans TO relay"),
    );
}

#[test]
fn tables_that_vanish_lose_nobody_who_comes_after() {
    let server = Postgres::start();
    sessions_are_stored_afterwards(
        with_database(&server.address),
        Trouble::Passes,
        |_| server.execute("DROP SCHEMA louver CASCADE"),
        |_| {},
    );
}

#[test]
fn a_second_relay_on_the_same_database_does_not_start() {
    let server = Postgres::start();
    let first = Relay::start(with_database(&server.address));
    let dir = tempfile::tempdir().unwrap();
    let out = Command::new("timeout")
        .arg("30")
        .arg(crate::relay::louver().get_program())
        .args(["run", "--config"])
        .arg(first.config_file())
        .arg("--data-dir")
        .arg(dir.path())
        .arg("publish:")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success(), "{said}");
    assert!(said.contains("in use by another louver"), "{said}");
    first.stop();
}
