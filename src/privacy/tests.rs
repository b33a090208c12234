//! The door under a clock that a test moves.

use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::base::clock::ManualClock;
use crate::base::peer::PeerAddr;
use crate::base::raw::Raw;

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

fn admit(door: &Door, addr: &str, agent: &str) -> Pseudonym {
    door.admit(raw(addr, agent)).unwrap().begin()
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
fn who_only_asks_leaves_nothing_either() {
    let (door, _) = door("UTC", "2026-11-21T12:00:00Z");
    let viewer = door.admit(raw("203.0.113.7:1", "VLC/3")).unwrap();
    assert_eq!(door.viewers(), 0, "no session began yet");
    viewer.begin();
    assert_eq!(door.viewers(), 1);
}

#[test]
fn who_stays_past_midnight_is_somebody_new_by_the_same_address() {
    let (door, clock) = door("UTC", "2026-11-21T23:59:59Z");
    let stays = door.admit(raw("203.0.113.7:1", "VLC/3")).unwrap();
    let yesterday = stays.begin();
    clock.advance(Duration::from_secs(1));
    let today = stays.begin();
    assert!(today.day_id() != yesterday.day_id());
    assert_eq!(today.day(), yesterday.day().tomorrow().unwrap());
    assert!(today.day_id() == admit(&door, "203.0.113.7:9", "VLC/3").day_id());
    assert_eq!(door.viewers(), 1, "nobody of yesterday is left");
}

#[test]
fn a_key_is_of_its_day_alone_and_no_two_are_alike() {
    let (one, clock) = door("UTC", "2026-11-21T12:00:00Z");
    let (other, _) = door("UTC", "2026-11-21T12:00:00Z");
    let first = one.stolen_key();
    assert!(first.len() == 32 && first != other.stolen_key() && first.iter().any(|b| *b != first[0]));
    clock.advance(Duration::from_secs(86_400));
    one.wipe_when_over();
    assert!(one.stolen_key() != first);
}

#[test]
fn a_change_in_time_is_not_late_and_one_after_sleep_is() {
    let (door, clock) = door("UTC", "2026-11-21T23:59:59Z");
    let rotations = |changed, late, back| Rotations { changed, late, back };
    assert_eq!(door.rotations(), rotations(0, 0, 0));
    clock.advance(Duration::from_secs(2));
    door.wipe_when_over();
    assert_eq!(door.rotations(), rotations(1, 0, 0));
    // The machine slept over midnight: whoever comes first finds a new key, before anybody told the door.
    clock.set_wall(at("2026-11-23T08:00:00Z"));
    let first = id(&door);
    assert_eq!(door.rotations(), rotations(2, 1, 0));
    door.wipe_when_over();
    assert!(id(&door) == first);
    clock.set_wall(at("2026-11-22T23:00:00Z"));
    assert!(id(&door) != first);
    assert_eq!(door.rotations(), rotations(3, 1, 1));
}

#[test]
fn somebody_with_the_clock_set_back_gets_no_old_number() {
    let (door, clock) = door("UTC", "2026-11-21T12:00:00Z");
    let mut seen = Vec::new();
    for day in ["21", "22", "21", "22", "21"] {
        clock.set_wall(at(&format!("2026-11-{day}T12:00:00Z")));
        let now = id(&door);
        assert!(!seen.contains(&now));
        seen.push(now);
    }
}

#[test]
fn at_level_anonymous_no_number_is_for_the_store() {
    let of = |level| {
        let options = Options {
            level,
            ..Options::default()
        };
        let door = Door::new(options, ManualClock::new(at("2026-11-21T12:00:00Z")));
        admit(&door, "203.0.113.7:1", "VLC/3")
    };
    assert!(of(Level::Anonymous).stored_id().is_none());
    let usual = of(Level::Pseudonymous);
    assert!(usual.stored_id() == Some(usual.day_id()));
}

#[test]
fn each_mode_of_consent_counts_whom_it_may() {
    struct Believes;
    impl Clerk for Believes {
        fn agreed(&self, token: &str, path: &str) -> Option<Raw<[u8; 16]>> {
            assert_eq!(path, "cam");
            (token == "good").then(|| Raw::new([7; 16]))
        }
        fn receipt(&self, _: &[u8; 16]) -> Option<Receipt> {
            None
        }
    }
    let counted = |consent, token: Option<&str>, opted_out| {
        let options = Options {
            consent,
            clerk: Some(Arc::new(Believes)),
            ..Options::default()
        };
        let door = Door::new(options, ManualClock::new(at("2026-11-21T12:00:00Z")));
        let raw = raw("203.0.113.7:1", "VLC/3");
        let raw = raw.consent(token.map(str::to_owned)).opt_out(opted_out);
        door.admit_to("cam", raw).is_some()
    };
    for (consent, token, opted_out, expected) in [
        (Consent::Off, None, false, false),
        (Consent::Off, Some("good"), false, false),
        (Consent::Exempt, None, false, true),
        (Consent::Exempt, Some("good"), true, false),
        (Consent::OptIn, None, false, false),
        (Consent::OptIn, Some("bad"), false, false),
        (Consent::OptIn, Some("good"), false, true),
        (Consent::OptIn, Some("good"), true, false),
    ] {
        assert_eq!(
            counted(consent, token, opted_out),
            expected,
            "{consent:?} {opted_out}"
        );
    }
}

#[test]
fn who_agreed_is_told_apart_by_the_agreement_and_recognised_on_other_days_only_at_level_identified() {
    struct Agreed;
    impl Clerk for Agreed {
        fn agreed(&self, token: &str, _: &str) -> Option<Raw<[u8; 16]>> {
            Some(Raw::new([u8::try_from(token.len()).ok()?; 16]))
        }
        fn receipt(&self, _: &[u8; 16]) -> Option<Receipt> {
            None
        }
    }
    for (level, linked) in [(Level::Pseudonymous, false), (Level::Identified, true)] {
        let options = Options {
            level,
            consent: Consent::OptIn,
            clerk: Some(Arc::new(Agreed)),
            ..Options::default()
        };
        let clock = ManualClock::new(at("2026-11-21T12:00:00Z"));
        let door = Door::new(options, clock.clone());
        let number = |addr, token: &str| {
            let raw = raw(addr, "VLC/3").consent(Some(token.to_owned()));
            door.admit_to("cam", raw).unwrap().begin().day_id()
        };
        let first = number("203.0.113.7:1", "a");
        assert!(
            first == number("198.51.100.1:1", "a"),
            "the same by another network"
        );
        assert!(
            first != number("203.0.113.7:1", "bb"),
            "another by the same network"
        );
        assert_eq!(door.viewers(), 0, "no address is in the map");
        clock.advance(Duration::from_secs(24 * 3600));
        assert_eq!(first == number("203.0.113.7:1", "a"), linked, "{level:?}");
    }
}

#[test]
fn a_network_that_was_kept_out_is_not_counted_until_the_day_ends() {
    let (door, clock) = door("UTC", "2026-11-21T12:00:00Z");
    let waiting = door.admit(raw("203.0.113.7:1", "VLC/3")).unwrap();
    assert!(waiting.may_begin());
    assert!(door.keep_out(raw("203.0.113.7:9", "browser")));
    assert!(!waiting.may_begin(), "also not who was let in before");
    assert!(door.admit(raw("203.0.113.7:2", "mpv")).is_none());
    assert!(door.admit(raw("203.0.113.8:2", "mpv")).is_some());
    assert!(door.keep_out(raw("[2001:db8::1]:9", "browser")));
    assert!(
        door.admit(raw("[2001:db8::ffff]:2", "mpv")).is_none(),
        "the same /64"
    );
    assert!(door.admit(raw("[2001:db8:0:1::1]:2", "mpv")).is_some());
    clock.advance(Duration::from_secs(12 * 3600));
    assert!(door.admit(raw("203.0.113.7:2", "mpv")).is_some(), "another day");
}

#[test]
fn networks_that_are_kept_out_are_bounded() {
    let (door, _) = door("UTC", "2026-11-21T12:00:00Z");
    let ask = |n: u32| {
        let addr = std::net::Ipv4Addr::from(0x0900_0000 + n);
        door.keep_out(raw(&format!("{addr}:1"), ""))
    };
    assert!((0..10_000).all(ask));
    assert!(!ask(10_000), "no more");
    assert!(ask(9_999), "who is in stays in");
}

#[test]
fn a_session_has_one_number_and_one_receipt_of_it() {
    struct Notary;
    impl Clerk for Notary {
        fn agreed(&self, _: &str, _: &str) -> Option<Raw<[u8; 16]>> {
            None
        }
        fn receipt(&self, session: &[u8; 16]) -> Option<Receipt> {
            Some(Receipt::new(format!("{session:?}")))
        }
    }
    let options = Options {
        clerk: Some(Arc::new(Notary)),
        ..Options::default()
    };
    let door = Door::new(options, ManualClock::new(at("2026-11-21T12:00:00Z")));
    let viewer = door.admit(raw("203.0.113.7:1", "VLC/3")).unwrap();
    let receipt = viewer.receipt().unwrap().into_header();
    assert_eq!(viewer.receipt().unwrap().into_header(), receipt);
    assert_eq!(format!("{:?}", viewer.take_session().unwrap()), receipt);
    assert!(viewer.take_session().is_none() && viewer.receipt().is_none());
}

#[test]
fn nobody_who_watches_a_sensitive_path_gets_in() {
    let (door, _) = door("UTC", "2026-11-21T12:00:00Z");
    door.keep_silent_about(["ward".to_owned()]);
    assert!(door.admit_to("ward", raw("203.0.113.7:1", "VLC/3")).is_none());
    assert!(door.admit_to("garden", raw("203.0.113.7:1", "VLC/3")).is_some());
    door.keep_silent_about([]);
    assert!(door.admit_to("ward", raw("203.0.113.7:1", "VLC/3")).is_some());
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
