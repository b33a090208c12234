//! A16, A17: addresses in disguise, and hosts that name others' addresses.

use std::sync::Arc;

use louver::base::clock::ManualClock;
use louver::base::peer::PeerAddr;
use louver::base::proxies::Cidr;
use louver::base::proxies::Proxies;
use louver::privacy::Countries;
use louver::privacy::Door;
use louver::privacy::Options;
use louver::privacy::Pseudonym;
use louver::privacy::RawViewer;
use louver::privacy::address::Mask;
use louver::privacy::address::prefix;

use crate::mmdb::Writer;
use crate::rig::NOON;
use crate::rig::VLC;
use crate::rig::at;

/// One host, as sockets may give it.
const DISGUISES: &[&str] = &[
    "203.0.113.7:1",
    "[::ffff:203.0.113.7]:1",
    "[::FFFF:CB00:7107]:2",
    "[2002:cb00:7107::1]:3",
    "[2002:CB00:7107:aaaa:bbbb:cccc:dddd:eeee]:4",
    "[64:ff9b::203.0.113.7]:5",
    "[64:ff9b::cb00:7107]:6",
    "[64:ff9b:1::203.0.113.7]:8",
    "[64:ff9b:1:cb00:71:700::]:9",
    "[2001:0:4136:e378:8000:63bf:34ff:8ef8]:7",
];

/// The same host, as proxies may write it.
const WRITINGS: &[&str] = &[
    "203.0.113.7",
    " 203.0.113.7 ",
    "203.0.113.7:4711",
    "::ffff:203.0.113.7",
    "::FFFF:203.0.113.7",
    "[::ffff:203.0.113.7]",
    "[::ffff:cb00:7107]:4711",
    "2002:cb00:7107::1",
    "[64:ff9b::203.0.113.7]:4711",
];

fn door() -> Door {
    let database = Writer::new().add("203.0.113.0/24", "FR").bytes();
    let options = Options {
        countries: Some(Arc::new(Countries::new(database, Mask::Usual).unwrap())),
        ..Options::default()
    };
    Door::new(options, ManualClock::new(at(NOON)))
}

fn admit(door: &Door, peer: PeerAddr) -> Pseudonym {
    door.admit(RawViewer::new(peer, Some(VLC))).unwrap().begin()
}

fn peer(text: &str) -> PeerAddr {
    PeerAddr::new(text.parse().unwrap())
}

#[test]
fn a16_every_disguise_of_a_host_is_one_viewer_in_one_country() {
    let door = door();
    let plain = admit(&door, peer(DISGUISES[0]));
    for disguise in DISGUISES {
        assert!(admit(&door, peer(disguise)) == plain, "{disguise}");
    }
    let proxies = Proxies::new(vec![Cidr::parse("10.0.0.1").unwrap()]);
    for writing in WRITINGS {
        let behind = proxies.behind(&peer("10.0.0.1:9"), [*writing].into_iter(), [].into_iter());
        assert!(admit(&door, behind) == plain, "{writing}");
    }
    assert_eq!(door.viewers(), 1);
}

#[test]
fn a16_no_disguise_lets_more_than_the_mask_through() {
    for disguise in DISGUISES {
        let ip = disguise.parse::<std::net::SocketAddr>().unwrap().ip();
        assert_eq!(
            prefix(ip, Mask::Usual).unwrap().to_string(),
            "203.0.113.0",
            "{disguise}"
        );
        assert_eq!(
            prefix(ip, Mask::Strict).unwrap().to_string(),
            "203.0.0.0",
            "{disguise}"
        );
    }
}

#[test]
fn a16_zones_are_no_part_of_a_viewer() {
    let door = door();
    let one = admit(&door, peer("[fe80::1%2]:1"));
    assert!(admit(&door, peer("[fe80::1%3]:1")) == one);
}

#[test]
fn a17_strangers_name_no_addresses() {
    let door = door();
    let proxies = Proxies::new(vec![Cidr::parse("10.0.0.0/8").unwrap()]);
    let stranger = admit(&door, peer("192.0.2.5:1"));
    let fifty = vec!["203.0.113.7"; 50].join(", ");
    for (xff, forwarded) in [
        (vec!["203.0.113.7"], vec![]),
        (vec![fifty.as_str()], vec![]),
        (vec!["10.0.0.1", "203.0.113.7"], vec!["for=203.0.113.7"]),
        (vec![], vec!["for=\"[2001:db8::1]\""]),
    ] {
        let behind = proxies.behind(&peer("192.0.2.5:1"), xff.into_iter(), forwarded.into_iter());
        assert!(admit(&door, behind) == stranger);
    }
}

#[test]
fn a17_behind_a_proxy_nothing_that_the_viewer_wrote_itself_counts() {
    let door = door();
    let proxies = Proxies::new(vec![Cidr::parse("10.0.0.0/8").unwrap()]);
    let real = admit(&door, peer("198.51.100.9:1"));
    let many = format!("{}, 198.51.100.9", vec!["203.0.113.7"; 50].join(", "));
    for xff in [
        vec!["203.0.113.7, 198.51.100.9"],
        vec!["203.0.113.7", "198.51.100.9"],
        vec!["10.0.0.9, 198.51.100.9, 10.0.0.2"],
        vec![many.as_str()],
    ] {
        let behind = proxies.behind(&peer("10.0.0.1:1"), xff.into_iter(), [].into_iter());
        assert!(admit(&door, behind) == real);
    }
    // Two headers that contradict each other: nobody's word, the proxy stands for itself.
    let proxy = admit(&door, peer("10.0.0.1:1"));
    let behind = proxies.behind(
        &peer("10.0.0.1:1"),
        ["198.51.100.9"].into_iter(),
        ["for=203.0.113.7"].into_iter(),
    );
    assert!(admit(&door, behind) == proxy);
}
