//! Days that are added up, and rows that are gone for good.

use super::*;

#[tokio::test]
async fn days_are_added_up_and_their_rows_are_gone_for_good() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), "2026-11-19T12:00:00Z").await;
    let mut ids = Vec::new();
    let mut session_ids = Vec::new();
    for n in 0..40_u8 {
        let peer = PeerAddr::new(format!("127.0.2.{n}:1").parse().unwrap());
        let viewer = rig.door.admit(RawViewer::new(peer, Some(VLC))).unwrap();
        ids.push(viewer.begin().day_id());
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

#[tokio::test]
async fn somebody_who_reads_delays_the_purge_but_does_not_stop_it() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::start(dir.path(), "2026-11-19T12:00:00Z").await;
    let peer = PeerAddr::new("127.0.2.1:1".parse().unwrap());
    let viewer = rig.door.admit(RawViewer::new(peer, Some(VLC))).unwrap();
    let id = viewer.begin().day_id();
    drop(
        rig.recorder
            .begin(Some(viewer), "webcam", Protocol::Rtsp, Transport::Udp),
    );
    rig.stop().await;

    let mut reader = SqliteConnection::connect_with(&writable(dir.path()))
        .await
        .unwrap();
    let mut reading = reader.begin().await.unwrap();
    let rows = sqlx::query("SELECT * FROM sessions")
        .fetch_all(&mut *reading)
        .await;
    assert_eq!(rows.unwrap().len(), 1);
    let rig = Rig::start(dir.path(), "2026-11-21T00:00:01Z").await;
    let gone = async {
        while rig.store_counts().await != (0, 0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    assert!(found(dir.path(), &id), "who reads still has the old pages");
    reading.rollback().await.unwrap();
    let purged = async {
        while found(dir.path(), &id) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), purged)
        .await
        .unwrap();
    rig.stop().await;
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
