//! Consents, receipts and erasures with a door, a recorder and a store, under a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::ConnectOptions;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;
use crate::analytics;
use crate::analytics::Mode;
use crate::analytics::Protocol;
use crate::analytics::Recorder;
use crate::analytics::SessionHandle;
use crate::analytics::Store;
use crate::analytics::Transport;
use crate::analytics::query;
use crate::analytics::query::Question;
use crate::analytics::query::Tier;
use crate::audit::Audit;
use crate::base::clock::Clock;
use crate::base::clock::ManualClock;
use crate::base::master::Master;
use crate::base::peer::PeerAddr;
use crate::base::tasks::Tasks;
use crate::privacy;
use crate::privacy::Clerk;
use crate::privacy::Door;
use crate::telemetry::Metrics;

const NOTICE: &str = "0102030405ff";
const HOUR: Duration = Duration::from_secs(3600);

struct Rig {
    door: Door,
    store: Store,
    recorder: Recorder,
    registry: Arc<Registry>,
    rights: Rights,
    clock: Arc<ManualClock>,
    tasks: Tasks,
    dir: Arc<TempDir>,
}

impl Rig {
    async fn start(consent: Consent) -> Self {
        let clock = ManualClock::new("2026-11-21T12:00:00Z".parse::<Timestamp>().unwrap().into());
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), consent, clock).await
    }

    /// A relay in a directory that there may have been one in.
    async fn start_in(dir: Arc<TempDir>, consent: Consent, clock: Arc<ManualClock>) -> Self {
        let master = Master::load_or_make(dir.path()).unwrap();
        let options = Options {
            consent,
            receipts: true,
            notice: NOTICE.into(),
            ..Options::default()
        };
        let registry = Registry::new(dir.path(), &master, options, clock.clone());
        let store = Store::open(dir.path(), Mode::ReadWrite, analytics::Options::default());
        let store = store.await.unwrap();
        let tasks = Tasks::new();
        let recorder = Recorder::start(&tasks, store.clone(), clock.clone(), Metrics::new());
        recorder.flushed().await;
        let rights = Rights::start(
            &tasks,
            registry.clone(),
            Shares::new(dir.path(), &master),
            recorder.clone(),
            Audit::none(),
            clock.clone(),
        );
        let options = privacy::Options {
            consent,
            clerk: Some(registry.clone()),
            ..privacy::Options::default()
        };
        Self {
            door: Door::new(options, clock.clone()),
            store,
            recorder,
            registry,
            rights,
            clock,
            tasks,
            dir,
        }
    }

    /// A session that has begun, and its receipt.
    fn begin(&self, host: u8, token: Option<&str>) -> (SessionHandle, Option<String>) {
        let peer = PeerAddr::new(format!("203.0.113.{host}:5000").parse().unwrap());
        let raw = privacy::RawViewer::new(peer, Some("VLC/3.0.20")).consent(token.map(str::to_owned));
        let viewer = self.door.admit_to("cam", raw);
        let receipt = viewer.as_ref().and_then(privacy::Viewer::receipt);
        let session = self.recorder.begin(viewer, "cam", Protocol::Rtsp, Transport::Tcp);
        (session, receipt.map(privacy::Receipt::into_header))
    }

    /// Moves the clock, and waits until the writer has added up the hour of this session, which is over.
    async fn pass(&self, time: Duration, receipt: &str) {
        let session = self.registry.session(receipt).unwrap();
        // What the writer has not heard of when it adds up waits for the next hour, which does not come.
        self.recorder.flushed().await;
        self.clock.advance(time);
        let added_up = async {
            while self
                .recorder
                .record(session)
                .await
                .unwrap()
                .is_none_or(|row| row.day.is_none())
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), added_up)
            .await
            .expect("the hour is added up");
    }

    async fn report(&self, tier: Tier) -> String {
        format!("{:?}", self.question(tier).await)
    }

    async fn question(&self, tier: Tier) -> query::Stats {
        let question = Question {
            since: None,
            until: None,
            path: None,
            tier,
            now: self.clock.wall(),
        };
        self.recorder.flushed().await;
        query::stats(&self.store, &question).await.unwrap()
    }

    async fn read(&self, receipt: &str) -> Option<analytics::Record> {
        self.rights.read(receipt).await.ok()
    }

    /// The relay erases by itself what it finds to be erased; it looks every now and then.
    async fn until_erased(&self, session: [u8; 16]) {
        let gone = async {
            while self.recorder.record(session).await.unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), gone).await;
        waited.expect("it is erased");
    }

    async fn stop(self) -> (Arc<TempDir>, Arc<ManualClock>) {
        assert!(self.tasks.shutdown(Duration::from_secs(60)).await);
        // Where the last write took too long, the connection is closed behind it; SQLite then takes its log away. Before
        // that nobody may put another file in the place of the database.
        let log = self.dir.path().join("louver.db-wal");
        let closed = async {
            while log.exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), closed).await;
        waited.expect("the database is closed");
        (self.dir, self.clock)
    }
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

/// A11, and the whole life of a receipt: while it plays, added up but not yet stored, and stored.
#[tokio::test]
async fn a_receipt_shows_and_erases_one_session_and_reports_stay_the_same() {
    let rig = Rig::start(Consent::Exempt).await;
    let mut crowd: Vec<_> = (1..=6).map(|host| rig.begin(host, None)).collect();
    let receipts: Vec<String> = crowd
        .iter_mut()
        .filter_map(|(_, receipt)| receipt.take())
        .collect();
    assert_eq!(receipts.len(), 6);
    rig.recorder.flushed().await;
    let playing = rig.read(&receipts[0]).await.unwrap();
    assert!(
        playing.open && playing.began.is_some() && playing.path == "cam",
        "{playing:?}"
    );

    // While it plays.
    let before = (rig.report(Tier::Console).await, rig.report(Tier::Published).await);
    rig.rights.erase(secret(&receipts[0])).await.unwrap();
    assert_eq!(rig.read(&receipts[0]).await, None, "gone for its holder too");
    assert!(
        rig.rights.erase(secret(&receipts[0])).await.is_err(),
        "and nothing is left to erase"
    );
    assert_eq!(
        before,
        (rig.report(Tier::Console).await, rig.report(Tier::Published).await)
    );
    rig.clock.advance(Duration::from_secs(30));
    drop(crowd);

    // Once its hour was added up: a row that k others share.
    rig.pass(2 * HOUR, &receipts[1]).await;
    let row = rig.read(&receipts[1]).await.unwrap();
    assert!(
        row.day.is_some() && row.length.is_some() && !row.open && row.protocol.is_none(),
        "{row:?}"
    );
    assert_eq!(
        rig.read(&receipts[0]).await,
        None,
        "who was erased before got no row"
    );
    let before = (rig.report(Tier::Console).await, rig.report(Tier::Published).await);
    rig.rights.erase(secret(&receipts[1])).await.unwrap();
    assert_eq!(rig.read(&receipts[1]).await, None);
    assert!(rig.read(&receipts[2]).await.is_some(), "others stay");
    assert_eq!(
        before,
        (rig.report(Tier::Console).await, rig.report(Tier::Published).await)
    );
    rig.stop().await;
}

#[tokio::test]
async fn who_waits_for_others_like_them_can_be_seen_and_erased_too() {
    let rig = Rig::start(Consent::Exempt).await;
    let (session, receipt) = rig.begin(1, None);
    rig.clock.advance(Duration::from_secs(30));
    drop(session);
    let receipt = receipt.unwrap();
    rig.pass(2 * HOUR, &receipt).await;
    assert!(rig.read(&receipt).await.is_some(), "in memory, alone of its kind");
    rig.rights.erase(secret(&receipt)).await.unwrap();
    assert_eq!(rig.read(&receipt).await, None);
    rig.stop().await;
}

/// A18: every flipped bit, other relays, other kinds; all get the same answer, and tries are limited.
#[tokio::test]
async fn forged_receipts_are_unknown_and_tries_are_limited_but_not_for_who_has_a_right_one() {
    let rig = Rig::start(Consent::Exempt).await;
    let (_session, receipt) = rig.begin(1, None);
    let receipt = receipt.unwrap();
    rig.recorder.flushed().await;
    let (mut unknown, mut too_many) = (0, 0);
    for at in 0..receipt.len() {
        for bit in 0..7 {
            let mut bytes = receipt.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(forged) = String::from_utf8(bytes) else {
                continue;
            };
            if forged.eq_ignore_ascii_case(&receipt) {
                continue;
            }
            match rig.rights.read(&forged).await {
                Err(RightsError::Unknown) => unknown += 1,
                Err(RightsError::TooMany) => too_many += 1,
                other => panic!("{forged}: {:?}", other.err()),
            }
        }
    }
    assert!(unknown >= 100 && too_many > 100, "{unknown} {too_many}");
    assert!(rig.read(&receipt).await.is_some(), "who has one is let through");
    let elsewhere = Rig::start(Consent::Exempt).await;
    assert!(elsewhere.read(&receipt).await.is_none());
    elsewhere.stop().await;
    rig.stop().await;
}

#[tokio::test]
async fn only_who_shows_a_consent_that_counts_is_counted() {
    let rig = Rig::start(Consent::OptIn).await;
    let counted = |token: Option<&str>| rig.begin(1, token).0.id().is_some();
    let give = |path: Option<&str>| {
        let given = rig.rights.give(path.map(str::to_owned));
        async { given.await.unwrap().token }
    };
    let (here, elsewhere, everywhere) = (give(Some("cam")).await, give(Some("dam")).await, give(None).await);
    assert!(!counted(None) && !counted(Some("")) && !counted(Some("c1.00.00")));
    assert!(counted(Some(&here)) && counted(Some(&everywhere)) && counted(Some(&here.to_uppercase())));
    assert!(!counted(Some(&elsewhere)), "for another path");
    let receipt = rig.registry.receipt(&[1; 16]).unwrap().into_header();
    assert!(!counted(Some(&receipt)), "a receipt is no consent");
    rig.clock.advance(180 * 24 * HOUR);
    assert!(counted(Some(&here)), "the last day");
    rig.clock.advance(24 * HOUR);
    assert!(!counted(Some(&here)), "replayed when it was over");
    // Another notice: what was agreed to is not what is done.
    let anew = Options {
        consent: Consent::OptIn,
        notice: "0102030405fe".into(),
        ..Options::default()
    };
    let master = Master::load(rig.dir.path()).unwrap();
    let other = Registry::new(rig.dir.path(), &master, anew, rig.clock.clone());
    let fresh = give(None).await;
    assert!(rig.registry.agreed(&fresh, "cam").is_some() && other.agreed(&fresh, "cam").is_none());
    // No proof, no consent.
    std::fs::remove_file(rig.dir.path().join("consents")).unwrap();
    assert!(!counted(Some(&fresh)));
    rig.stop().await;
}

#[tokio::test]
async fn consent_is_not_given_where_it_is_not_asked_for_and_not_without_end() {
    let rig = Rig::start(Consent::Exempt).await;
    assert!(matches!(
        rig.rights.give(None).await.err(),
        Some(RightsError::NotAsked)
    ));
    rig.stop().await;
    let rig = Rig::start(Consent::OptIn).await;
    let mut refused = 0;
    for _ in 0..210 {
        refused += u32::from(matches!(
            rig.rights.give(None).await.err(),
            Some(RightsError::TooMany)
        ));
    }
    assert_eq!(refused, 10);
    rig.stop().await;
}

#[tokio::test]
async fn who_takes_a_consent_back_is_erased_and_counted_no_more_and_others_are_not_touched() {
    let rig = Rig::start(Consent::OptIn).await;
    let mut tokens = Vec::new();
    for _ in 0..6 {
        tokens.push(rig.rights.give(None).await.unwrap().token);
    }
    let sessions: Vec<_> = tokens.iter().map(|token| rig.begin(1, Some(token))).collect();
    let receipts: Vec<String> = sessions
        .iter()
        .filter_map(|(_, receipt)| receipt.clone())
        .collect();
    rig.clock.advance(Duration::from_secs(30));
    drop(sessions);
    rig.pass(2 * HOUR, &receipts[1]).await;
    let (_open, open_receipt) = rig.begin(1, Some(&tokens[0]));
    let peer = PeerAddr::new("203.0.113.1:5000".parse().unwrap());
    let raw = privacy::RawViewer::new(peer, None).consent(Some(tokens[0].to_string()));
    let waits = rig.door.admit_to("cam", raw).unwrap();
    rig.recorder.flushed().await;
    assert!(
        rig.read(&receipts[0]).await.is_some(),
        "six who agreed share a row's words"
    );
    let before = rig.question(Tier::Console).await;
    assert_eq!(before.live.sessions, 1);

    assert_eq!(rig.rights.withdraw(tokens[0].clone()).await.unwrap(), 2);
    let after = rig.question(Tier::Console).await;
    assert_eq!(after.live.sessions, 0, "it plays on, and is counted no more");
    assert_eq!((before.total, before.by_path), (after.total, after.by_path));
    rig.clock.advance(Duration::from_secs(600));
    let later = rig.question(Tier::Console).await;
    assert_eq!(after.total.watch_seconds, later.total.watch_seconds);
    assert!(rig.read(&receipts[0]).await.is_none() && rig.read(&open_receipt.unwrap()).await.is_none());
    assert!(rig.read(&receipts[1]).await.is_some());
    assert!(rig.begin(1, Some(&tokens[0])).0.id().is_none(), "no more");
    assert!(!waits.may_begin(), "who was let in before and begins now");
    assert!(rig.begin(1, Some(&tokens[1])).0.id().is_some());
    let size = || std::fs::metadata(rig.dir.path().join("erased")).unwrap().len();
    let once = size();
    assert_eq!(
        rig.rights.withdraw(tokens[0].clone()).await.unwrap(),
        0,
        "twice is once"
    );
    assert_eq!(size(), once, "and fills no disk");
    let forged = secret("c1.00.00");
    assert!(matches!(
        rig.rights.withdraw(forged).await.err(),
        Some(RightsError::Unknown)
    ));
    rig.stop().await;
}

/// A21, as far as there are backups: the database of before is put back.
#[tokio::test]
async fn a_backup_that_is_put_back_is_erased_again_at_the_start() {
    let rig = Rig::start(Consent::Exempt).await;
    let sessions: Vec<_> = (1..=6).map(|host| rig.begin(host, None)).collect();
    let receipts: Vec<String> = sessions
        .iter()
        .filter_map(|(_, receipt)| receipt.clone())
        .collect();
    rig.clock.advance(Duration::from_secs(30));
    drop(sessions);
    rig.pass(2 * HOUR, &receipts[1]).await;
    assert!(rig.read(&receipts[0]).await.is_some());
    let (dir, clock) = rig.stop().await;
    let (file, backup) = (dir.path().join("louver.db"), dir.path().join("backup"));
    std::fs::copy(&file, &backup).unwrap();

    let rig = Rig::start_in(dir, Consent::Exempt, clock).await;
    rig.rights.erase(secret(&receipts[0])).await.unwrap();
    let (dir, clock) = rig.stop().await;
    std::fs::copy(&backup, &file).unwrap();

    let rig = Rig::start_in(dir, Consent::Exempt, clock).await;
    assert!(rig.read(&receipts[1]).await.is_some(), "the backup is there");
    let id = rig.registry.session(&receipts[0]);
    assert!(id.is_none(), "it is known to be erased");
    let session: [u8; 16] = {
        let hex = receipts[0].split('.').nth(1).unwrap();
        seal::unhex(hex).unwrap()
    };
    rig.until_erased(session).await;
    rig.stop().await;
}

/// What the operator's command erases goes without anybody asking the relay.
#[tokio::test]
async fn what_a_command_erases_goes_from_the_store_of_a_running_relay() {
    let rig = Rig::start(Consent::Exempt).await;
    let (_session, receipt) = rig.begin(1, None);
    let receipt = receipt.unwrap();
    rig.recorder.flushed().await;
    let id = rig.registry.session(&receipt).unwrap();
    let master = Master::load(rig.dir.path()).unwrap();
    let command = Registry::new(rig.dir.path(), &master, Options::default(), rig.clock.clone());
    command.erase(&receipt).unwrap();
    assert!(rig.read(&receipt).await.is_none(), "at once for who asks");
    rig.until_erased(id).await;
    rig.stop().await;
}

#[tokio::test]
async fn nothing_of_tokens_and_receipts_is_in_any_file() {
    let rig = Rig::start(Consent::OptIn).await;
    let token = rig.rights.give(None).await.unwrap().token;
    let (session, receipt) = rig.begin(1, Some(&token));
    let receipt = receipt.unwrap();
    rig.recorder.flushed().await;
    rig.rights.erase(secret(&receipt)).await.unwrap();
    rig.rights.withdraw(token.clone()).await.unwrap();
    drop(session);
    let mac = |text: &str| text.rsplit_once('.').unwrap().1.to_owned();
    let id = token.split('.').nth(1).unwrap()[..32].to_owned();
    let raw: [u8; 16] = seal::unhex(&id).unwrap();
    let (dir, _clock) = rig.stop().await;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for needle in [
            id.as_bytes(),
            &raw,
            mac(&token).as_bytes(),
            mac(&receipt).as_bytes(),
        ] {
            let found = bytes.windows(needle.len()).any(|w| w == needle);
            assert!(!found, "{} has some of it", path.display());
        }
    }
}

/// What viewers are told while the store fails is true, and what they wish is done once it works.
#[tokio::test]
async fn what_is_erased_while_the_store_fails_is_gone_once_it_works() {
    let rig = Rig::start(Consent::OptIn).await;
    let token = rig.rights.give(None).await.unwrap().token;
    let (mine, receipt) = rig.begin(1, Some(&token));
    let receipt = receipt.unwrap();
    let session = mine.id().unwrap();
    rig.recorder.flushed().await;
    assert!(rig.read(&receipt).await.is_some());
    let file = SqliteConnectOptions::new().filename(rig.dir.path().join("louver.db"));
    let mut other = file.connect().await.unwrap();
    let away = sqlx::raw_sql("ALTER TABLE sessions RENAME TO elsewhere");
    away.execute(&mut other).await.unwrap();
    drop(mine);
    let told = rig.rights.erase(secret(&receipt)).await;
    assert!(
        matches!(told, Err(RightsError::NotNow)),
        "not \"nothing of that\": {told:?}"
    );
    assert_eq!(rig.rights.withdraw(token).await.unwrap(), 0, "none yet");
    let back = sqlx::raw_sql("ALTER TABLE elsewhere RENAME TO sessions");
    back.execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    rig.until_erased(session).await;
    rig.stop().await;
}
