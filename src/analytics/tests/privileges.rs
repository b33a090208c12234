//! Rights on the tables in PostgreSQL that are taken away while the relay runs, and given back.

use std::io;
use std::sync::Mutex;

use tracing::subscriber::DefaultGuard;

use super::*;
use crate::analytics::writer::HEARTBEAT;

/// What is logged on this thread, on which everything of such a test runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
    /// That it is said once that something fails, and once that it is over; without anything of a viewer.
    #[track_caller]
    fn says_once(&self, fails: &str, over: &str) {
        let text = self.text();
        for words in [fails, over] {
            assert_eq!(text.matches(words).count(), 1, "{words}\n{text}");
        }
        assert!(!text.contains("127.0.1.") && !text.contains("VLC"), "{text}");
    }
}

impl Home {
    /// A database in which the relay is somebody who has what was granted, and nothing by being the administrator.
    async fn of_a_role() -> (Self, Db, String) {
        let mut home = Self::postgres().await;
        let mut admin = home.stranger().await;
        let address = home.database.take().unwrap();
        let (before, rest) = address.split_once('@').unwrap();
        let database = rest.split(['/', '?']).nth(1).unwrap();
        let role = format!("role_{database}");
        let scheme = before.split("://").next().unwrap();
        home.database = Some(format!("{scheme}://{role}@{rest}"));
        execute(&mut admin, &format!("CREATE ROLE {role} LOGIN")).await;
        execute(
            &mut admin,
            &format!("GRANT CREATE ON DATABASE {database} TO {role}"),
        )
        .await;
        (home, admin, role)
    }
}

async fn execute(db: &mut Db, sql: &str) {
    let Db::Postgres(connection) = db else {
        panic!("these tests are about PostgreSQL");
    };
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(&mut **connection).await.unwrap();
}

impl Rig {
    /// How often the store failed.
    fn failures(&self) -> u64 {
        self.lost("StoreFailed")
    }
    fn lost(&self, reason: &str) -> u64 {
        let metrics = self.metrics.encode();
        let prefix = format!("louver_lost_total{{reason=\"{reason}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&prefix));
        line.map_or(0, |n| n.trim().parse().unwrap())
    }
    async fn until(&self, what: &str, done: impl AsyncFn() -> bool) {
        let waiting = async {
            while !done().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let done = tokio::time::timeout(HEARTBEAT * 10, waiting).await;
        assert!(done.is_ok(), "waited: {what}");
    }
}

const FAILS: &str = "Sessions cannot be stored now";
const OVER: &str = "The session store works again";

async fn loses_no_session_without(right: &str) {
    let (home, mut admin, role) = Home::of_a_role().await;
    let (log, _logged) = Log::start();
    let rig = Rig::start(&home, NOON).await;
    let stays = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    execute(&mut admin, &format!("REVOKE {right} FROM {role}")).await;
    for n in 2..=20 {
        drop(rig.watch(n, VLC, "webcam"));
        rig.recorder.flushed().await;
    }
    assert!(rig.store.is_failing() && rig.failures() >= 19, "{right}");
    execute(&mut admin, &format!("GRANT {right} TO {role}")).await;
    let answer = rig.ask(None).await;
    assert_eq!(plain(answer.total).sessions, 20, "{right}");
    assert!(!rig.store.is_failing());
    log.says_once(FAILS, OVER);
    drop(stays);
    rig.stop().await;
}

#[tokio::test]
async fn a_right_that_is_taken_and_given_back_loses_no_session_and_is_said_once() {
    for right in [
        "INSERT ON louver.sessions",
        "UPDATE ON louver.sessions",
        "INSERT ON louver.spans",
        "UPDATE ON louver.runs",
        "SELECT ON louver.runs",
        "ALL ON ALL TABLES IN SCHEMA louver",
        "USAGE ON SCHEMA louver",
    ] {
        loses_no_session_without(right).await;
    }
}

/// Sessions go on to be stored, which is not to be said in turns with what fails.
#[tokio::test]
async fn hours_that_cannot_be_added_up_stay_and_that_is_said_once() {
    let (home, mut admin, role) = Home::of_a_role().await;
    let (log, _logged) = Log::start();
    let rig = Rig::start(&home, NOON).await;
    let stays = rig.watch(1, VLC, "webcam");
    drop(rig.watch(2, VLC, "webcam"));
    rig.pass(10).await;
    execute(&mut admin, &format!("REVOKE INSERT ON louver.leaves FROM {role}")).await;
    rig.clock.advance(Duration::from_secs(2 * 3600));
    rig.until("the hour fails several times", async || rig.failures() >= 3)
        .await;
    drop(rig.watch(3, VLC, "webcam"));
    let answer = rig.ask(None).await;
    assert_eq!(answer.total.sessions, 3);
    assert!(!answer.store_is_failing, "the newest sessions are there");
    execute(&mut admin, &format!("GRANT INSERT ON louver.leaves TO {role}")).await;
    rig.until("the hour is added up", async || {
        number(&rig.store, "SELECT count(*) FROM leaves").await > 0
    })
    .await;
    assert_eq!(rig.ask(None).await.total.sessions, 3);
    rig.until("that is said", async || log.text().contains("added up again"))
        .await;
    log.says_once("cannot be added up and deleted now", "are added up again");
    assert!(!log.text().contains(FAILS), "{}", log.text());
    drop(stays);
    rig.stop().await;
}

/// `VACUUM` warns and does nothing where a table is another's.
#[tokio::test]
async fn tables_of_another_role_are_not_taken_for_written_anew() {
    let (home, mut admin, role) = Home::of_a_role().await;
    let (log, _logged) = Log::start();
    let rig = Rig::start(&home, NOON).await;
    drop(rig.watch(1, VLC, "webcam"));
    rig.pass(10).await;
    assert_eq!(rig.lost("NotGone"), 0);
    execute(&mut admin, "ALTER TABLE louver.sessions OWNER TO CURRENT_USER").await;
    execute(&mut admin, &format!("GRANT ALL ON louver.sessions TO {role}")).await;
    rig.clock.advance(Duration::from_secs(2 * 3600));
    rig.until("it is noticed", async || rig.lost("NotGone") == 1)
        .await;
    assert!(log.text().contains("belong to another role"), "{}", log.text());
    assert!(!rig.store.is_failing());
    execute(
        &mut admin,
        &format!("ALTER TABLE louver.sessions OWNER TO {role}"),
    )
    .await;
    let sessions = "SELECT CAST(pg_relation_filenode('sessions') AS BIGINT)";
    let before = number(&rig.store, sessions).await;
    rig.clock.advance(Duration::from_secs(3600));
    rig.until("the next hour writes it anew", async || {
        number(&rig.store, sessions).await != before
    })
    .await;
    assert_eq!(rig.lost("NotGone"), 1);
    rig.stop().await;
}

/// Somebody holds the list of migrations: the video begins, and the tables come later.
#[tokio::test]
async fn tables_that_cannot_be_looked_at_now_do_not_keep_the_relay_from_starting() {
    let (home, mut admin, _) = Home::of_a_role().await;
    Rig::start(&home, NOON).await.stop().await;
    execute(
        &mut admin,
        "BEGIN; LOCK TABLE louver._sqlx_migrations IN ACCESS EXCLUSIVE MODE",
    )
    .await;
    let rig = Rig::start(&home, NOON).await;
    drop(rig.watch(1, VLC, "webcam"));
    rig.recorder.flushed().await;
    assert!(rig.store.is_failing());
    execute(&mut admin, "ROLLBACK").await;
    assert_eq!(rig.ask(None).await.total.sessions, 1);
    rig.stop().await;
}

/// Nobody gave the relay a right on the database yet: the video begins, and the tables come once somebody does.
#[tokio::test]
async fn a_right_that_is_missing_at_the_very_start_does_not_keep_the_relay_from_starting() {
    let (home, mut admin, role) = Home::of_a_role().await;
    let database = role.strip_prefix("role_").unwrap();
    let (log, _logged) = Log::start();
    for (missing, given) in [
        (
            format!("REVOKE CREATE ON DATABASE {database} FROM {role}"),
            format!("GRANT CREATE ON DATABASE {database} TO {role}"),
        ),
        (
            format!("ALTER ROLE {role} NOLOGIN"),
            format!("ALTER ROLE {role} LOGIN"),
        ),
    ] {
        execute(&mut admin, "DROP SCHEMA IF EXISTS louver CASCADE").await;
        execute(&mut admin, &missing).await;
        let rig = Rig::start(&home, NOON).await;
        drop(rig.watch(1, VLC, "webcam"));
        rig.recorder.flushed().await;
        assert!(rig.store.is_failing(), "{missing}");
        execute(&mut admin, &given).await;
        assert_eq!(rig.ask(None).await.total.sessions, 1, "{missing}");
        rig.stop().await;
    }
    let told = log
        .text()
        .matches("cannot be opened now. It is tried again")
        .count();
    assert_eq!(told, 2, "{}", log.text());
}

/// Whoever runs these tests may read every file, so something that is none lies in its place.
#[tokio::test]
async fn a_file_that_cannot_be_opened_at_the_very_start_does_not_keep_the_relay_from_starting() {
    let home = Home::sqlite();
    let file = home.path().join("louver.db");
    fs::create_dir(&file).unwrap();
    let (log, _logged) = Log::start();
    let rig = Rig::start(&home, NOON).await;
    drop(rig.watch(1, VLC, "webcam"));
    rig.recorder.flushed().await;
    assert!(rig.store.is_failing());
    assert!(
        log.text().contains("let this user read and write it"),
        "{}",
        log.text()
    );
    fs::remove_dir(&file).unwrap();
    assert_eq!(rig.ask(None).await.total.sessions, 1);
    rig.stop().await;
}
