//! What others may see, and what they can find out from it.

use super::*;

on_both!(an_open_day_is_not_published_and_a_closed_one_never_changes);

async fn an_open_day_is_not_published_and_a_closed_one_never_changes(home: Home) {
    let rig = Rig::start(&home, NOON).await;
    let mut sessions: Vec<_> = (1..=12).map(|n| rig.watch(n, VLC, "webcam")).collect();
    sessions.extend((13..=16).map(|n| rig.watch(n, "Lavf60.16.100", "door")));
    rig.pass(600).await;
    let today = rig.published(None).await;
    assert_eq!(
        (today.total, today.by_path.len(), today.live.sessions),
        (Counts::default(), 0, 0)
    );
    drop(sessions);
    rig.pass(86_400).await;
    let closed = async {
        while rig.published(None).await.total == Counts::default() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(writer::HEARTBEAT * 5, closed).await.unwrap();
    let answer = rig.published(None).await;
    assert_eq!(
        plain(answer.total),
        counts(10, 10, 7200, 10),
        "twelve are ten, four are none"
    );
    assert_eq!(rig.published(Some("door")).await.total, Counts::default());
    let before = (answer.total, answer.by_path, answer.by_client);
    // Somebody comes late into that day: a clock that was wrong, or a store that failed for long.
    let mut stranger = home.stranger().await;
    let late = "INSERT INTO leaves (day, scope, dimension, value, sessions, viewers, watch_ms, peak)
        SELECT day, 'yard', dimension, value, 50, 50, 50, 50 FROM leaves WHERE scope = 'webcam' AND dimension = 'all'";
    assert_eq!(stranger.execute(late, &[]).await.unwrap(), 1);
    let answer = rig.published(None).await;
    assert_eq!(answer.total, before.0, "a total is what was published");
    rig.stop().await;
}

impl Rig {
    async fn published(&self, path: Option<&str>) -> Stats {
        self.recorder.flushed().await;
        let question = Question {
            since: None,
            until: None,
            path: path.map(Into::into),
            tier: Tier::Published,
            now: self.clock.wall(),
        };
        stats(&self.store, &question).await.unwrap()
    }
}
