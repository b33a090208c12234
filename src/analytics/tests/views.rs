//! Views, lengths and what is no session.

use super::*;

on_both!(
    reconnects_are_one_view_and_short_looks_none,
    a_view_is_counted_while_it_lasts,
    lengths_and_who_stays_are_told,
    what_is_no_session_is_counted_beside,
    how_few_viewers_are_served_is_not_told_however_often_they_come,
);

async fn reconnects_are_one_view_and_short_looks_none(home: Home) {
    let rig = Rig::start(&home, NOON).await;
    for (viewer, watched, gap) in [
        (1, 6, 50), // 6 s, back after 50 s for 6 s: one view of two sessions
        (1, 6, 200),
        (1, 30, 61), // too late to be the same: another view
        (2, 9, 10),  // a look
        (3, 20, 0),
    ] {
        let session = rig.watch(viewer, VLC, "webcam");
        rig.pass(watched).await;
        drop(session);
        rig.pass(gap).await;
    }
    let answer = rig.ask(None).await;
    assert_eq!(
        answer.total,
        Counts {
            views: 3,
            ..counts(5, 3, 71, 1)
        }
    );
    let other = rig.watch(3, VLC, "door"); // at once, but elsewhere
    rig.pass(10).await;
    drop(other);
    assert_eq!(rig.ask(None).await.total.views, 4);
    rig.stop().await;
}

async fn a_view_is_counted_while_it_lasts(home: Home) {
    let rig = Rig::start(&home, NOON).await;
    let _sessions = [
        rig.watch(1, VLC, "webcam"),
        rig.watch(1, VLC, "webcam"),
        rig.watch(2, VLC, "webcam"),
    ];
    rig.pass(30).await;
    let counted = async {
        while rig.ask(None).await.total.views < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(writer::HEARTBEAT * 5, counted)
        .await
        .unwrap();
    assert_eq!(
        rig.ask(None).await.total.views,
        2,
        "two sessions of one viewer at a time are one view"
    );
    rig.stop().await;
}

async fn lengths_and_who_stays_are_told(home: Home) {
    let rig = Rig::start(&home, NOON).await;
    let mut sessions: Vec<_> = (1..=20).map(|n| rig.watch(n, VLC, "webcam")).collect();
    rig.pass(5).await;
    sessions.truncate(15); // five left after 5 s
    rig.pass(15).await;
    sessions.drain(..5).for_each(SessionHandle::stream_ended);
    rig.pass(100).await;
    sessions.truncate(5);
    let answer = rig.ask(None).await;
    let lengths: Vec<_> = answer
        .by_length
        .iter()
        .map(|c| (c.key, c.counts.map(|c| c.sessions)))
        .collect();
    assert_eq!(lengths, [(0, Some(5)), (1, Some(5)), (3, Some(5))]);
    let staying: Vec<_> = answer
        .staying
        .iter()
        .map(|p| (p.seconds, p.per_thousand))
        .collect();
    // Of 20, 5 left; of 10 who could, 5 left between 60 and 300 s.
    assert_eq!(staying, [(10, 750), (30, 750), (300, 375)]);
    rig.stop().await;
}

async fn what_is_no_session_is_counted_beside(home: Home) {
    let rig = Rig::start(&home, NOON).await;
    rig.recorder.tally("webcam", Kind::Attempts, 2);
    rig.recorder.tally("webcam", Kind::Online, 60_000);
    for n in 1..=10 {
        let session = rig.watch(n, VLC, "webcam");
        session.started_after(Duration::from_millis(60));
        session.arrived(Some(0), u64::from(n == 1));
    }
    let told = async {
        while rig.ask(None).await.health.attempts < 2
            || rig.ask(None).await.health.jumped_per_thousand.is_none()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(writer::HEARTBEAT * 5, told).await.unwrap();
    let health = rig.ask(None).await.health;
    assert_eq!(
        (health.online_seconds, health.jumped_per_thousand),
        (60, Some(100))
    );
    let [half, most] = health.startup_ms.unwrap();
    assert!((50..=100).contains(&half) && most <= 100, "{half} {most}");
    rig.stop().await;
}

async fn how_few_viewers_are_served_is_not_told_however_often_they_come(home: Home) {
    let rig = Rig::start(&home, NOON).await;
    let serve = |viewer, path| {
        let session = rig.watch(viewer, VLC, path);
        session.started_after(Duration::from_millis(60));
        session.arrived(Some(0), 1);
    };
    let stored = async |times| {
        let counted = async {
            let all = "SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM tallies WHERE kind = 'startup'";
            while number(&rig.store, all).await < times {
                rig.recorder.flushed().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), counted)
            .await
            .unwrap();
    };
    for viewer in [1, 2, 3, 4, 4, 4] {
        serve(viewer, "webcam");
        serve(viewer, "door");
    }
    stored(12).await;
    let few = rig.ask(None).await.health;
    assert_eq!(
        (few.startup_ms, few.loss_per_million, few.jumped_per_thousand),
        (None, None, None),
        "twelve sessions of four"
    );
    serve(5, "door");
    let known = async {
        while rig.ask(None).await.health.startup_ms.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), known)
        .await
        .unwrap();
    let five = rig.ask(None).await.health;
    assert!(five.loss_per_million.is_some() && five.jumped_per_thousand == Some(1000));
    assert!(rig.ask(Some("door")).await.health.startup_ms.is_some());
    assert_eq!(
        rig.ask(Some("webcam")).await.health.startup_ms,
        None,
        "four of the five"
    );
    rig.stop().await;
}
