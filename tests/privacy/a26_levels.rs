//! A3, A26, A27, A32: what rows say when they are held beside each other, beside another day's, or another relay's.

use std::collections::HashSet;
use std::time::Duration;

use louver::privacy::Level;
use louver::privacy::Options;

use crate::rig::Rig;
use crate::rig::VLC;

const ADDR: &str = "203.0.113.7:5000";

fn at_level(level: Level) -> Options {
    Options {
        level,
        ..Options::default()
    }
}

#[tokio::test]
async fn a26_at_level_anonymous_no_two_rows_share_a_number() {
    let rig = Rig::start(at_level(Level::Anonymous)).await;
    for path in ["webcam", "door", "webcam"] {
        rig.watch(ADDR, VLC, path).await;
    }
    rig.watch("203.0.113.8:5000", VLC, "door").await;
    assert_eq!(rig.column("viewer").await, vec![None; 4]);
    let ids: HashSet<_> = rig.column("id").await.into_iter().collect();
    assert_eq!(ids.len(), 4);
    rig.stop().await;
}

#[tokio::test]
async fn a26_at_the_usual_level_rows_of_one_viewer_share_one_number_within_the_day_and_none_across() {
    let rig = Rig::start(at_level(Level::Pseudonymous)).await;
    rig.watch(ADDR, VLC, "webcam").await;
    rig.watch(ADDR, VLC, "door").await;
    let today: HashSet<_> = rig.column("viewer").await.into_iter().collect();
    assert_eq!(today.len(), 1, "this is what the level is for");
    rig.clock.advance(Duration::from_secs(12 * 3600));
    rig.watch(ADDR, VLC, "webcam").await;
    let both: HashSet<_> = rig.column("viewer").await.into_iter().collect();
    assert_eq!(both.len(), 2);
    rig.stop().await;
}

#[tokio::test]
async fn a27_of_a_sensitive_path_no_row_is_written() {
    let rig = Rig::start(Options::default()).await;
    rig.door.keep_silent_about(["ward".to_owned()]);
    rig.watch(ADDR, VLC, "ward").await;
    assert_eq!(rig.column("id").await.len(), 0);
    assert_eq!(rig.door.viewers(), 0, "nor is the viewer in the map");
    rig.watch(ADDR, VLC, "garden").await;
    assert_eq!(rig.column("id").await.len(), 1);
    let files = rig.files();
    let ward = files
        .iter()
        .any(|(_, bytes)| bytes.windows(4).any(|w| w == b"ward"));
    assert!(!ward, "not even the name of the path is in a file");
    rig.stop().await;
}

#[tokio::test]
async fn a32_two_relays_of_one_configuration_have_nothing_in_common() {
    let (one, other) = (
        Rig::start(Options::default()).await,
        Rig::start(Options::default()).await,
    );
    for rig in [&one, &other] {
        rig.watch(ADDR, VLC, "webcam").await;
    }
    for column in ["viewer", "id"] {
        let (mut of_one, of_other) = (one.column(column).await, other.column(column).await);
        of_one.retain(|value| of_other.contains(value));
        assert!(of_one.is_empty(), "{column}");
    }
    one.stop().await;
    other.stop().await;
}

/// A3: the state of yesterday and a clock that says yesterday do not bring yesterday's numbers back.
#[tokio::test]
async fn a03_nothing_that_is_kept_makes_a_number_again() {
    let rig = Rig::start(Options::default()).await;
    rig.watch(ADDR, VLC, "webcam").await;
    let first = rig.column("viewer").await;
    let noon = crate::rig::at(crate::rig::NOON);
    // The same relay, told that it is the day before, and then again the same day.
    rig.clock.set_wall(noon - Duration::from_secs(86_400));
    rig.door.wipe_when_over();
    rig.clock.set_wall(noon);
    rig.watch(ADDR, VLC, "webcam").await;
    let both: HashSet<_> = rig.column("viewer").await.into_iter().collect();
    assert_eq!(both.len(), 2);
    // Another process on a copy of all that is on the disk: keys are no part of it, so there is nothing to hand over.
    let other = Rig::start(Options::default()).await;
    for (path, bytes) in rig.files() {
        let name = path.file_name().unwrap();
        std::fs::write(
            other.dir.path().join(format!("copy-of-{}", name.display())),
            bytes,
        )
        .unwrap();
    }
    other.watch(ADDR, VLC, "webcam").await;
    let again = other.column("viewer").await;
    assert!(again.iter().all(|number| !both.contains(number)) && !again.is_empty());
    assert!(first.iter().all(Option::is_some));
    rig.stop().await;
    other.stop().await;
}
