//! Hours that are added up, and rows that are gone for good.

use super::*;
use crate::analytics::recorder::random_id;
use crate::telemetry::Reason;

on_both!(
    an_hour_later_leaves_say_the_same_and_rows_are_gone,
    a_session_of_days_is_counted_once_and_watched_every_day,
    what_was_kept_long_enough_goes,
    no_exact_time_is_kept_longer_than_two_minutes_after_its_hour,
    a_row_can_be_deleted_and_what_was_added_up_stays,
    each_purge_that_deleted_something_is_told_once_in_numbers_of_nobody,
);

/// Forty viewers, one after the other, and one who stays. Returns the numbers of viewers and sessions.
async fn forty(rig: &Rig) -> (Vec<[u8; 16]>, SessionHandle) {
    let mut numbers = Vec::new();
    for n in 0..40_u8 {
        let peer = PeerAddr::new(format!("127.0.2.{n}:1").parse().unwrap());
        let viewer = rig.door.admit(RawViewer::new(peer, Some(VLC))).unwrap();
        numbers.push(viewer.begin().day_id());
        let path = if n % 2 == 0 { "webcam" } else { "door" };
        let session = rig
            .recorder
            .begin(Some(viewer), path, Protocol::Rtsp, Transport::Udp);
        numbers.extend(session.id());
        rig.pass(10).await;
    }
    let stays = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    (numbers, stays)
}

async fn an_hour_later_leaves_say_the_same_and_rows_are_gone(home: Home) {
    let rig = Rig::start(&home, "2026-11-19T12:00:00Z").await;
    let (_, stays) = forty(&rig).await;
    rig.clock.advance(Duration::from_secs(2 * 3600 - 410));
    let before = rig.ask(None).await;
    assert_eq!(plain(before.total), counts(41, 41, 2 * 3600, 1));
    assert!(before.total.views >= 40, "{:?}", before.total);
    rig.hours_added_up("2026-11-19T13:00:00Z").await;
    let after = rig.ask(None).await;
    let facts = |stats: &Stats| {
        let tables = [
            &stats.by_path,
            &stats.by_client,
            &stats.by_transport,
            &stats.by_protocol,
        ];
        let row = |c: &query::Cell<String>| (c.key.clone(), c.counts.map(plain));
        let tables = tables.map(|table| table.iter().map(row).collect::<Vec<_>>());
        let hours: Vec<_> = stats.by_hour.iter().map(|c| c.counts.map(plain)).collect();
        (
            plain(stats.total),
            tables,
            hours,
            (stats.by_length.clone(), stats.staying.clone()),
        )
    };
    assert_eq!(facts(&after), facts(&before));
    assert_eq!(
        rig.store_counts().await,
        (1, 1),
        "only who is still there has a row"
    );
    drop(stays);
    rig.stop().await;
}

async fn a_session_of_days_is_counted_once_and_watched_every_day(home: Home) {
    let rig = Rig::start(&home, "2026-11-19T12:00:00Z").await;
    let session = rig.watch(1, VLC, "webcam");
    rig.pass(10).await;
    rig.clock.advance(Duration::from_secs(2 * 86_400 - 10)); // the 21st, noon
    rig.hours_added_up("2026-11-21T11:00:00Z").await;
    let unknown = "SELECT count(*) FROM sessions WHERE viewer IS NULL AND counted = 1";
    assert_eq!(number(&rig.store, unknown).await, 1);
    rig.clock.advance(Duration::from_secs(86_400));
    rig.hours_added_up("2026-11-22T11:00:00Z").await;
    drop(session);
    let answer = rig.ask(None).await;
    assert_eq!(
        answer.total,
        Counts {
            views: 1,
            ..counts(1, 1, 3 * 86_400, 1)
        }
    );
    let days = "SELECT count(*) FROM leaves WHERE dimension = 'all' AND scope = ''";
    assert_eq!(number(&rig.store, days).await, 4);
    rig.stop().await;
}

async fn what_was_kept_long_enough_goes(home: Home) {
    let rig = Rig::start(&home, "2026-11-19T12:00:00Z").await;
    let (_, stays) = forty(&rig).await;
    drop(stays);
    rig.recorder.tally("webcam", Kind::Attempts, 3);
    let rows = "SELECT count(*) FROM visits WHERE viewer IS NOT NULL";
    let any = "SELECT count(*) FROM visits";
    let hours = "SELECT count(*) FROM leaves WHERE dimension = 'hour'";
    let later = |days: u64| Duration::from_secs(days * 86_400);

    rig.clock.advance(later(1));
    rig.hours_added_up("2026-11-20T11:00:00Z").await;
    let shared = number(&rig.store, rows).await;
    assert!(
        shared >= 40,
        "alike for all but the one of 10 s on another path: {shared}"
    );
    rig.clock.advance(later(1));
    rig.hours_added_up("2026-11-21T11:00:00Z").await;
    assert_eq!(
        number(&rig.store, rows).await,
        0,
        "viewers are forgotten a day later"
    );
    assert_eq!(number(&rig.store, any).await, shared);
    rig.clock.advance(later(7));
    rig.hours_added_up("2026-11-28T11:00:00Z").await;
    assert_eq!(number(&rig.store, any).await, 0, "rows go after seven days");
    assert!(number(&rig.store, hours).await > 0);
    rig.clock.advance(later(90));
    rig.hours_added_up("2027-02-26T11:00:00Z").await;
    assert_eq!(number(&rig.store, hours).await, 0, "hours go after ninety days");
    let day = "SELECT hour FROM tallies WHERE kind = 'attempts' AND n = 3";
    assert_eq!(
        number(&rig.store, day).await % 86_400,
        0,
        "counts of hours become one of their day"
    );
    rig.clock.advance(later(670));
    rig.hours_added_up("2028-12-27T11:00:00Z").await;
    assert_eq!(
        number(
            &rig.store,
            "SELECT count(*) FROM leaves WHERE dimension <> 'closed'"
        )
        .await,
        0
    );
    assert_eq!(number(&rig.store, "SELECT count(*) FROM tallies").await, 0);
    rig.stop().await;
}

/// As the privacy notice says of times.
async fn no_exact_time_is_kept_longer_than_two_minutes_after_its_hour(home: Home) {
    let rig = Rig::start(&home, "2026-11-19T12:00:00Z").await;
    let (_, stays) = forty(&rig).await;
    rig.pass(3600 - 410 + 119).await;
    assert_eq!(rig.store_counts().await, (41, 41), "late ends may still come");
    rig.pass(1).await;
    rig.hours_added_up("2026-11-19T13:00:00Z").await;
    assert_eq!(rig.store_counts().await, (1, 1), "who stays");
    let exact = "SELECT count(*) FROM sessions
        WHERE started_ms % 3600000 <> 0 OR viewed_ms >= 0 OR ended_ms IS NOT NULL";
    assert_eq!(number(&rig.store, exact).await, 0);
    assert_eq!(
        number(
            &rig.store,
            "SELECT count(*) FROM spans WHERE started_ms % 3600000 <> 0"
        )
        .await,
        0
    );
    assert_eq!(number(&rig.store, "SELECT count(*) FROM visits").await, 40);
    assert_eq!(
        number(&rig.store, "SELECT count(*) FROM visits WHERE hour % 3600 <> 0").await,
        0
    );
    drop(stays);
    rig.stop().await;
}

async fn a_row_can_be_deleted_and_what_was_added_up_stays(home: Home) {
    let rig = Rig::start(&home, "2026-11-19T12:00:00Z").await;
    let (numbers, stays) = forty(&rig).await;
    drop(stays);
    rig.clock.advance(Duration::from_secs(86_400));
    rig.hours_added_up("2026-11-20T11:00:00Z").await;
    let before = rig.ask(None).await;
    let rows = number(&rig.store, "SELECT count(*) FROM visits").await;
    assert!(
        rig.recorder.erase(numbers[1]).await.unwrap(),
        "the first session has a row"
    );
    assert!(!rig.recorder.erase(numbers[1]).await.unwrap(), "and then none");
    assert!(!rig.recorder.erase(random_id()).await.unwrap());
    assert_eq!(number(&rig.store, "SELECT count(*) FROM visits").await, rows - 1);
    let after = rig.ask(None).await;
    assert_eq!((after.total, after.by_path), (before.total, before.by_path));
    rig.stop().await;
}

#[tokio::test]
async fn numbers_of_viewers_and_sessions_are_in_no_file_after_the_purge() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, "2026-11-19T12:00:00Z").await;
    let (numbers, stays) = forty(&rig).await;
    drop(stays);
    rig.recorder.flushed().await;
    assert!(
        numbers.iter().all(|n| found(home.path(), n)),
        "the search finds what is there"
    );
    rig.stop().await;
    let rig = Rig::start(&home, "2026-11-28T12:00:00Z").await;
    rig.hours_added_up("2026-11-28T11:00:00Z").await;
    let gone = async {
        while numbers.iter().any(|n| found(home.path(), n)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    assert!(!rig.metrics.encode().contains("NotGone"));
    assert_eq!(rig.store_counts().await, (0, 0));
    rig.stop().await;
}

#[tokio::test]
async fn somebody_who_reads_delays_the_purge_but_does_not_stop_it() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, "2026-11-19T12:00:00Z").await;
    let peer = PeerAddr::new("127.0.2.1:1".parse().unwrap());
    let viewer = rig.door.admit(RawViewer::new(peer, Some(VLC))).unwrap();
    let id = viewer.begin().day_id();
    drop(
        rig.recorder
            .begin(Some(viewer), "webcam", Protocol::Rtsp, Transport::Udp),
    );
    rig.stop().await;

    let mut reader = home.stranger().await;
    reader.begin_reading().await.unwrap();
    assert_eq!(
        reader.number("SELECT count(*) FROM sessions", &[]).await.unwrap(),
        1
    );
    let rig = Rig::start(&home, "2026-11-21T00:00:01Z").await;
    let gone = async {
        while rig.store_counts().await != (0, 0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    assert!(found(home.path(), &id), "who reads still has the old pages");
    reader.commit().await.unwrap();
    let purged = async {
        while found(home.path(), &id) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), purged)
        .await
        .unwrap();
    rig.stop().await;
}

async fn each_purge_that_deleted_something_is_told_once_in_numbers_of_nobody(home: Home) {
    let bytes = match home.database {
        None => Bytes::Gone,
        Some(_) => Bytes::WrittenAnew,
    };
    let rig = Rig::start(&home, "2026-11-19T12:00:00Z").await;
    let (_, stays) = forty(&rig).await; // and one more
    drop(stays);
    for (days, kind) in [(1, "sessions"), (1, "viewer numbers"), (7, "visits")] {
        rig.clock.advance(Duration::from_secs(days * 86_400));
        let told = rig.told_of_purge().await;
        assert_eq!(told.rows, [(kind, 40)], "in multiples of k");
        assert_eq!(told.bytes, bytes);
    }
    // One who came again and again.
    for _ in 0..10 {
        drop(rig.watch(1, VLC, "webcam"));
    }
    rig.pass(10).await;
    rig.clock.advance(Duration::from_secs(3 * 3600));
    assert_eq!(rig.told_of_purge().await.rows, [("sessions", 0)]);
    assert_eq!(rig.metrics.lost_so_far(Reason::PurgeFailed), 0);
    rig.stop().await;
}

#[tokio::test]
async fn a_purge_that_the_database_refuses_is_counted_once_until_it_is_done() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, "2026-11-19T12:00:00Z").await;
    for n in 1..=5 {
        drop(rig.watch(n, VLC, "webcam"));
    }
    rig.pass(10).await;
    let mut stranger = home.stranger().await;
    let refuse = "CREATE TRIGGER stay BEFORE DELETE ON sessions BEGIN SELECT RAISE(ABORT, 'no'); END";
    stranger.execute(refuse, &[]).await.unwrap();
    rig.clock.advance(Duration::from_secs(3 * 3600));
    let tried_again = async {
        while rig.metrics.lost_so_far(Reason::StoreFailed) < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(60), tried_again).await;
    assert!(done.is_ok(), "it is tried again");
    assert_eq!(
        rig.metrics.lost_so_far(Reason::PurgeFailed),
        1,
        "an alert is made of it"
    );
    assert!(rig.purged.lock().unwrap().is_empty());
    stranger.execute("DROP TRIGGER stay", &[]).await.unwrap();
    assert_eq!(rig.told_of_purge().await.rows, [("sessions", 5)]);
    rig.stop().await;
}

impl Rig {
    /// Waits until a purge is told of.
    async fn told_of_purge(&self) -> Purged {
        let told = async {
            loop {
                let told = std::mem::take(&mut *self.purged.lock().unwrap());
                match told.as_slice() {
                    [] => tokio::time::sleep(Duration::from_millis(50)).await,
                    [one] => return one.clone(),
                    more => panic!("one purge is told {} times", more.len()),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), told).await.unwrap()
    }

    /// Waits until all before this moment is in leaves.
    async fn hours_added_up(&self, until: &str) {
        let until = i64::try_from(
            at(until)
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_secs(),
        )
        .unwrap();
        let looked = async {
            while number(
                &self.store,
                "SELECT coalesce(max(day), 0) FROM leaves WHERE dimension = 'closed'",
            )
            .await
                < until / 86_400 - 1
                || number(
                    &self.store,
                    "SELECT coalesce(min(started_ms), 9000000000000000) FROM spans",
                )
                .await
                    < until * 1000
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(writer::HEARTBEAT * 10, looked)
            .await
            .unwrap();
    }
}
