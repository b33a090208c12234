//! The door under a clock that a test moves.

use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::base::clock::ManualClock;
use crate::base::peer::PeerAddr;

fn at(text: &str) -> SystemTime {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

fn raw(addr: &str, agent: &str) -> RawViewer {
    RawViewer::new(PeerAddr::new(addr.parse().unwrap()), Some(agent))
}

fn door(zone: &str, now: &str) -> (Door, Arc<ManualClock>) {
    let clock = ManualClock::new(at(now));
    let options = Options {
        time_zone: TimeZone::get(zone).unwrap(),
        ..Options::default()
    };
    (Door::new(options, clock.clone()), clock)
}

fn admit(door: &Door, addr: &str, agent: &str) -> Viewer {
    door.admit(raw(addr, agent)).unwrap()
}

fn id(door: &Door) -> [u8; 16] {
    admit(door, "203.0.113.7:5000", "VLC/3.0.20").day_id()
}

#[test]
fn the_same_viewer_has_the_same_id_all_day_whatever_the_port() {
    let (door, clock) = door("UTC", "2026-11-21T00:00:00Z");
    let first = id(&door);
    clock.advance(Duration::from_secs(86_399));
    assert!(admit(&door, "203.0.113.7:6000", "VLC/3.0.21").day_id() == first);
    assert!(admit(&door, "[2002:cb00:7107::1]:1", "VLC/3.0.20").day_id() == first);
    assert_eq!(door.viewers(), 1);
}

#[test]
fn another_address_player_or_version_is_another_viewer() {
    let (door, _) = door("UTC", "2026-11-21T12:00:00Z");
    let first = id(&door);
    assert!(admit(&door, "203.0.113.8:5000", "VLC/3.0.20").day_id() != first);
    assert!(admit(&door, "203.0.113.7:5000", "Lavf60").day_id() != first);
    assert!(admit(&door, "203.0.113.7:5000", "VLC/4.0").day_id() != first);
    assert!(
        admit(&door, "[2001:db8:1:2::1]:1", "x").day_id()
            == admit(&door, "[2001:db8:1:2:9::1]:1", "y").day_id()
    );
    assert_eq!(door.viewers(), 5);
}

#[test]
fn two_doors_give_one_viewer_two_ids() {
    let (one, _) = door("UTC", "2026-11-21T12:00:00Z");
    let (two, _) = door("UTC", "2026-11-21T12:00:00Z");
    assert!(id(&one) != id(&two));
}

#[test]
fn at_midnight_of_the_zone_everybody_is_new() {
    for (zone, before, seconds) in [
        ("UTC", "2026-11-21T23:59:59Z", 1),
        ("Europe/Berlin", "2026-11-21T22:59:59Z", 1),
        ("Asia/Kolkata", "2026-11-21T18:29:59Z", 1),
        ("America/New_York", "2026-11-22T04:59:59Z", 1),
    ] {
        let (door, clock) = door(zone, before);
        let day = admit(&door, "203.0.113.7:1", "").day();
        let yesterday = id(&door);
        clock.advance(Duration::from_secs(seconds));
        assert!(id(&door) != yesterday, "{zone}");
        assert_eq!(
            admit(&door, "203.0.113.7:1", "").day(),
            day.tomorrow().unwrap(),
            "{zone}"
        );
    }
}

#[test]
fn days_of_23_and_25_hours_are_one_day() {
    // Berlin loses an hour on 2026-03-29 and gains one on 2026-10-25.
    for (midnight, hours) in [("2026-03-28T23:00:00Z", 23), ("2026-10-24T22:00:00Z", 25)] {
        let (door, clock) = door("Europe/Berlin", midnight);
        let first = id(&door);
        assert_eq!(door.wipe_when_over(), Duration::from_secs(hours * 3600));
        clock.advance(Duration::from_secs(hours * 3600 - 1));
        assert!(id(&door) == first);
        clock.advance(Duration::from_secs(1));
        assert!(id(&door) != first);
    }
}

#[test]
fn a_day_that_was_left_never_comes_back() {
    let (door, clock) = door("UTC", "2026-11-21T12:00:00Z");
    let first = id(&door);
    clock.set_wall(at("2026-11-24T12:00:00Z"));
    let ahead = id(&door);
    clock.set_wall(at("2026-11-21T12:00:00Z"));
    let back = id(&door);
    assert!(first != ahead && ahead != back && first != back);
    clock.set_wall(at("2026-11-21T11:00:00Z"));
    assert!(id(&door) == back, "a step within the day changes nothing");
}

#[test]
fn the_map_is_wiped_at_midnight_even_when_nobody_comes() {
    let (door, clock) = door("UTC", "2026-11-21T23:59:50Z");
    id(&door);
    assert_eq!(door.wipe_when_over(), Duration::from_secs(10));
    assert_eq!(door.viewers(), 1);
    clock.advance(Duration::from_secs(10));
    assert_eq!(door.wipe_when_over(), Duration::from_secs(86_400));
    assert_eq!(door.viewers(), 0);
}

#[test]
fn who_opts_out_leaves_nothing() {
    let (door, _) = door("UTC", "2026-11-21T12:00:00Z");
    assert!(door.admit(raw("203.0.113.7:1", "VLC/3").opt_out(true)).is_none());
    assert!(
        door.admit(raw("203.0.113.7:1", "VLC/3 nostats").opt_out(false))
            .is_none()
    );
    assert!(
        door.admit(raw("203.0.113.7:1", "VLC/3").opt_out(true).opt_out(false))
            .is_none()
    );
    assert_eq!(door.viewers(), 0);
    assert!(door.admit(raw("203.0.113.7:1", "VLC/3").opt_out(false)).is_some());
}

#[test]
fn a_full_map_keeps_its_size_and_says_so() {
    let options = Options {
        most_viewers: 2,
        ..Options::default()
    };
    let door = Door::new(options, ManualClock::new(at("2026-11-21T12:00:00Z")));
    let ids: Vec<_> = (1..=5)
        .map(|n| admit(&door, &format!("203.0.113.{n}:1"), "").day_id())
        .collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    assert!(ids[2] == ids[3] && ids[3] == ids[4]);
    assert_eq!((door.viewers(), door.overflowed()), (2, 3));
    assert!(
        admit(&door, "203.0.113.1:9", "").day_id() == ids[0],
        "who is in keeps their id"
    );
}

#[test]
fn clocks_before_1970_and_after_all_calendars_do_not_stop_the_door() {
    for wall in [
        SystemTime::UNIX_EPOCH - Duration::from_secs(1 << 33),
        SystemTime::UNIX_EPOCH,
    ] {
        let door = Door::new(Options::default(), ManualClock::new(wall));
        assert!(id(&door) == id(&door));
    }
}
