//! A18: neither answers nor times tell an outsider whether a user, a share, a consent or a session exists.
//!
//! By construction: a token is looked up only once its MAC was found right, in constant time, and hashes of passwords are
//! made and compared for all users there are. The times here are of the calls themselves, without network and penalty,
//! which would hide a difference. That answers are the same byte by byte is in `tests/e2e`.

use std::hint::black_box;
use std::time::Duration;
use std::time::Instant;

use louver::base::clock::ManualClock;
use louver::base::master::Master;
use louver::privacy::Clerk;
use louver::privacy::Consent;
use louver::proto::rtsp::auth::Claim;
use louver::proto::rtsp::auth::User;
use louver::proto::rtsp::auth::Users;
use louver::proto::rtsp::auth::Verdict;
use louver::proto::rtsp::url::Url;
use louver::rights::Options;
use louver::rights::Registry;
use louver::rights::Shares;

use crate::rig::NOON;
use crate::rig::at;

/// Calls that are timed together, since one is short for a clock; and how often, in turns.
const CALLS: u32 = 20;
const TURNS: usize = 301;
/// More than this, and one is found out with a few tries.
const FACTOR: u32 = 3;

/// The medians of both do not differ by more than [`FACTOR`]. A machine that had other things to do is asked again.
#[track_caller]
fn as_long(what: &str, known: impl Fn(), unknown: impl Fn()) {
    let timed = |call: &dyn Fn()| {
        let begun = Instant::now();
        (0..CALLS).for_each(|_| call());
        begun.elapsed()
    };
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut times: [Vec<Duration>; 2] = Default::default();
        for turn in 0..TURNS {
            for n in [turn % 2, 1 - turn % 2] {
                let call: &dyn Fn() = if n == 0 { &known } else { &unknown };
                times[n].push(timed(call));
            }
        }
        let [known, unknown] = times.map(|mut times| {
            times.sort_unstable();
            times[TURNS / 2]
        });
        if known.max(unknown) < known.min(unknown) * FACTOR {
            return;
        }
        seen.push((known, unknown));
    }
    panic!("{what}: what is there and what is not takes {seen:?}");
}

/// The same token with another MAC.
fn forged(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

/// A token of the same form whose body is of nobody.
fn invented(token: &str) -> String {
    let kind = &token[..3];
    let digits = token[3..].bytes().enumerate().map(|(at, digit)| match digit {
        b'.' => '.',
        _ => char::from_digit((at as u32 * 7 + u32::from(digit)) % 16, 16).unwrap(),
    });
    format!("{kind}{}", digits.collect::<String>())
}

#[test]
fn a18_no_time_tells_whether_there_is_a_user_of_a_name() {
    let all: Vec<User> = (0..30)
        .map(|n| User::new(&format!("user-{n:02}"), "louver", "right"))
        .collect();
    let users = Users::new("louver", all);
    assert!(users.check_basic("user-07", "right") && !users.check_basic("user-77", "right"));
    as_long(
        "Basic",
        || assert!(!users.check_basic(black_box("user-07"), "wrong")),
        || assert!(!users.check_basic(black_box("user-77"), "wrong")),
    );
    let url = Url::parse("rtsp://localhost/cam").unwrap();
    for length in [32, 64] {
        let check = |name: &str| {
            let authorization = format!(
                "Digest username=\"{name}\", realm=\"louver\", nonce=\"n\", uri=\"rtsp://localhost/cam\", response=\"{}\"",
                "0".repeat(length)
            );
            let claim = Claim {
                method: "DESCRIBE",
                url: &url,
                authorization: Some(&authorization),
                check_uri: true,
            };
            assert_eq!(users.check(&claim, "n"), Verdict::Wrong);
        };
        as_long("Digest", || check("user-07"), || check("user-77"));
    }
}

#[test]
fn a18_no_time_tells_whether_there_is_a_share_a_consent_or_a_session() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::load_or_make(dir.path()).unwrap();
    let shares = Shares::new(dir.path(), &master);
    let (now, zone) = (at(NOON), jiff::tz::TimeZone::UTC);
    let (share, _) = shares
        .make("cam", 7, Duration::from_secs(86_400), &zone, now)
        .unwrap();
    assert!(shares.open(&share, now).unwrap().is_some());
    let (false_share, no_share) = (forged(&share), invented(&share));
    as_long(
        "a share",
        || assert!(shares.open(black_box(&false_share), now).unwrap().is_none()),
        || assert!(shares.open(black_box(&no_share), now).unwrap().is_none()),
    );

    let options = Options {
        consent: Consent::OptIn,
        receipts: true,
        ..Options::default()
    };
    let registry = Registry::new(dir.path(), &master, options, ManualClock::new(now));
    let (consent, _) = registry.give(None).unwrap();
    assert!(registry.agreed(&consent, "cam").is_some());
    let (false_consent, no_consent) = (forged(&consent), invented(&consent));
    as_long(
        "a consent that is shown",
        || assert!(registry.agreed(black_box(&false_consent), "cam").is_none()),
        || assert!(registry.agreed(black_box(&no_consent), "cam").is_none()),
    );
    as_long(
        "a consent that is taken back",
        || assert!(registry.withdraw(black_box(&false_consent)).is_err()),
        || assert!(registry.withdraw(black_box(&no_consent)).is_err()),
    );
    assert!(registry.agreed(&consent, "cam").is_some(), "nothing came of it");

    let receipt = registry.receipt(&[7; 16]).unwrap().into_header();
    let (false_receipt, no_receipt) = (forged(&receipt), invented(&receipt));
    as_long(
        "a receipt",
        || assert!(registry.erase(black_box(&false_receipt)).is_err()),
        || assert!(registry.erase(black_box(&no_receipt)).is_err()),
    );
    assert!(registry.erase(&receipt).is_ok());
}

#[test]
fn a18_a_hundred_thousand_guesses_open_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::load_or_make(dir.path()).unwrap();
    let shares = Shares::new(dir.path(), &master);
    let options = Options {
        consent: Consent::OptIn,
        receipts: true,
        ..Options::default()
    };
    let now = at(NOON);
    let registry = Registry::new(dir.path(), &master, options, ManualClock::new(now));
    let receipt = registry.receipt(&[7; 16]).unwrap().into_header();
    let day = Duration::from_secs(86_400);
    let (share, _) = shares.make("cam", 7, day, &jiff::tz::TimeZone::UTC, now).unwrap();
    let (consent, _) = registry.give(None).unwrap();
    let guesses = |token: &str| {
        let body = token.rsplit_once('.').unwrap().0.to_owned();
        (0..33_334_u32).map(move |n| format!("{body}.{:032x}", u128::from(n) * 0x9e37_79b9_7f4a_7c15_f39c))
    };
    assert!(guesses(&share).all(|guess| shares.open(&guess, now).unwrap().is_none()));
    assert!(guesses(&receipt).all(|guess| registry.erase(&guess).is_err()));
    assert!(guesses(&consent).all(|guess| registry.agreed(&guess, "cam").is_none()));
}
