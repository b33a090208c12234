//! Countries: looked up with the end of the address cut off, and never more than two letters.

use std::sync::Arc;

use louver::base::clock::ManualClock;
use louver::base::peer::PeerAddr;
use louver::privacy::Countries;
use louver::privacy::Door;
use louver::privacy::Options;
use louver::privacy::RawViewer;
use louver::privacy::address::Mask;

use crate::mmdb::Writer;

fn country(database: Vec<u8>, mask: Mask, addr: &str) -> String {
    let options = Options {
        countries: Some(Arc::new(Countries::new(database, mask).unwrap())),
        ..Options::default()
    };
    let door = Door::new(options, ManualClock::new(std::time::SystemTime::UNIX_EPOCH));
    let raw = RawViewer::new(PeerAddr::new(addr.parse().unwrap()), None);
    let country = door.admit(raw).unwrap().begin().country().unwrap();
    country.name().to_owned()
}

fn database() -> Vec<u8> {
    Writer::new()
        .add("203.0.113.0/24", "FR")
        .add("198.51.0.0/16", "DE")
        .add("2001:db8:1::/48", "JP")
        .add("2001:db9::/32", "BR")
        .bytes()
}

#[test]
fn a_country_is_found_by_what_the_mask_leaves() {
    for (addr, usual, strict) in [
        ("203.0.113.77:1", "FR", "unknown"), // 203.0.0.0 is in no network of the file
        ("198.51.100.9:1", "DE", "DE"),
        ("[2001:db8:1:2:3:4:5:6]:1", "JP", "unknown"),
        ("[2001:db9:1::1]:1", "BR", "BR"),
        ("[2002:cb00:7107::1]:1", "FR", "unknown"), // 6to4 of 203.0.113.7
        ("[::ffff:203.0.113.7]:1", "FR", "unknown"),
        ("192.168.1.1:1", "local", "local"),
        ("[::1]:1", "local", "local"),
        ("100.64.1.1:1", "cgnat", "cgnat"),
        ("8.8.8.8:1", "unknown", "unknown"),
    ] {
        assert_eq!(country(database(), Mask::Usual, addr), usual, "{addr}");
        assert_eq!(country(database(), Mask::Strict, addr), strict, "{addr}");
    }
}

#[test]
fn a_network_smaller_than_the_mask_is_never_told_from_its_neighbours() {
    // A database that tries to tell single hosts apart: 203.0.113.7 alone is "XX".
    let sharp = || Writer::new().add("203.0.113.7/32", "XX").bytes();
    assert_eq!(country(sharp(), Mask::Usual, "203.0.113.7:1"), "unknown");
}

#[test]
fn what_a_database_calls_a_country_is_two_letters_or_unknown() {
    for odd in ["", "fr", "FRA", "F1", "é", "203.0.113.7"] {
        let odd_one = Writer::new().add("203.0.113.0/24", odd).bytes();
        assert_eq!(country(odd_one, Mask::Usual, "203.0.113.7:1"), "unknown", "{odd}");
    }
}

#[test]
fn what_is_no_database_is_refused() {
    for bytes in [Vec::new(), b"not a database".to_vec(), vec![0; 4096]] {
        assert!(Countries::new(bytes, Mask::Usual).is_err());
    }
    let mut cut = database();
    cut.truncate(cut.len() / 2);
    assert!(Countries::new(cut, Mask::Usual).is_err());
}

#[test]
fn without_a_database_no_country_is_told() {
    let door = Door::new(
        Options::default(),
        ManualClock::new(std::time::SystemTime::UNIX_EPOCH),
    );
    let raw = RawViewer::new(PeerAddr::new("203.0.113.7:1".parse().unwrap()), None);
    assert!(door.admit(raw).unwrap().begin().country().is_none());
}
