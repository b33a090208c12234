//! Whom a datagram belongs to: by the address it comes from, or, where a NAT has changed the port, by what was
//! just set up for that host.
//!
//! A port is learnt once per track and socket, within a few seconds of its set-up, only from the host of the
//! RTSP connection, and only if there is one session that it can mean. Nothing is learnt on loopback: there is
//! no NAT, but there may be other users.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::btree_map::Entry::Vacant;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::RwLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::egress::rtsp::record::Recording;
use crate::egress::rtsp::talk::Talk;
use crate::hub::Reporter;
use crate::hub::Stream;
use crate::media::TrackId;
use crate::proto::rtp;
use crate::proto::rtp::rtcp;
use crate::proto::rtp::rtcp::Rtcp;
use crate::proto::rtsp::server::backchannel_type;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// A port that differs from the announced one is learnt only so long after SETUP. Players open their firewall
/// between SETUP and PLAY, or right after it.
const LEARN: Duration = Duration::from_secs(10);
/// What players send to open a firewall is not longer than this: GStreamer sends 200 bytes by chance, FFmpeg a header
/// of RTP, live555 less.
const MAX_PUNCH: usize = 256;
/// Addresses that wait to be heard, per host: more tracks than any session has.
const MAX_WAITING: usize = 64;

/// Whom a datagram belongs to.
#[derive(Clone)]
pub(super) enum Route {
    /// A reader's track: what it sends says that it lives, and how it receives.
    Reader(Arc<Heard>, TrackId),
    /// A publisher's track.
    Publisher(Arc<Mutex<Recording>>, TrackId),
    /// A track by which a reader speaks.
    Talker(Arc<Mutex<Talk>>, TrackId),
}

impl Route {
    fn same_session(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Reader(a, _), Self::Reader(b, _)) => Arc::ptr_eq(a, b),
            (Self::Publisher(a, _), Self::Publisher(b, _)) => Arc::ptr_eq(a, b),
            (Self::Talker(a, _), Self::Talker(b, _)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// What a reader by UDP let us hear.
pub(super) struct Heard {
    since: Instant,
    /// Milliseconds after `since`, at the earliest 1; 0 for never.
    at: AtomicU64,
    /// How many of its addresses turned out to be others than it said.
    moves: AtomicU32,
    moved: Mutex<Vec<Moved>>,
    /// What it reads and the number of whoever it is, unless it shall not be counted.
    counted: Option<(Arc<Stream>, u64)>,
    /// What it says of our packets; made with its first report.
    reporter: OnceLock<Box<Reporter>>,
    /// It said good-bye by RTCP.
    left: AtomicBool,
}

/// Where packets of a track are to go instead.
#[derive(Clone, Copy)]
pub(super) struct Moved {
    pub(super) track: TrackId,
    pub(super) rtcp: bool,
    pub(super) to: SocketAddr,
}

impl Heard {
    /// A reader that was just set up.
    pub(super) fn new(now: Instant, counted: Option<(Arc<Stream>, u64)>) -> Arc<Self> {
        Arc::new(Self {
            counted,
            reporter: OnceLock::new(),
            left: AtomicBool::new(false),
            since: now,
            at: AtomicU64::new(0),
            moves: AtomicU32::new(0),
            moved: Mutex::default(),
        })
    }
    pub(super) fn now(&self, now: Instant) {
        let ms = now.saturating_duration_since(self.since).as_millis().max(1);
        self.at
            .store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
    /// RTCP of the reader: what it says of our packets, or that it leaves. False if it is no RTCP.
    pub(super) fn rtcp(&self, datagram: &[u8], now: Instant) -> bool {
        let Ok(packets) = rtcp::parse(datagram) else {
            return false;
        };
        for packet in packets {
            match (packet, &self.counted) {
                (Rtcp::ReceiverReport { reports, .. }, Some((stream, whose))) => {
                    let new = || Box::new(Reporter::new(Arc::clone(stream), *whose));
                    self.reporter.get_or_init(new).report(&reports, now);
                }
                (Rtcp::Bye, _) => self.left.store(true, Ordering::Relaxed),
                _ => {}
            }
        }
        true
    }
    /// Packets lost of a million, as it says; `None` if it does not.
    pub(super) fn lost_per_million(&self) -> Option<u64> {
        self.reporter.get()?.lost_per_million()
    }
    /// Whether it said good-bye.
    pub(super) fn left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }
    /// The moment, if there was one.
    pub(super) fn last(&self) -> Option<Instant> {
        match self.at.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(self.since + Duration::from_millis(ms)),
        }
    }
    /// How many addresses were learnt: changes when [`Heard::moved`] does.
    pub(super) fn moves(&self) -> u32 {
        self.moves.load(Ordering::Acquire)
    }
    /// The learnt addresses.
    pub(super) fn moved(&self) -> Vec<Moved> {
        self.moved.lock().expect(NOT_POISONED).clone()
    }
    /// A track is set up at other ports: what was learnt of it counts no more.
    pub(super) fn forget(&self, track: TrackId) {
        self.moved
            .lock()
            .expect(NOT_POISONED)
            .retain(|m| m.track != track);
    }
    fn move_to(&self, moved: Moved) {
        self.moved.lock().expect(NOT_POISONED).push(moved);
        self.moves.fetch_add(1, Ordering::Release);
    }
}

/// The addresses of one socket's peers.
#[derive(Default)]
pub(super) struct Routes {
    rtcp: bool,
    known: RwLock<Known>,
    /// Addresses that were announced and not heard yet, by host.
    waiting: Mutex<HashMap<IpAddr, Vec<Waiting>>>,
}

/// Two entries per reader: a tree, since it has less room to spare than a table.
#[derive(Default)]
struct Known {
    entries: BTreeMap<Key, Entry>,
    /// The addresses that NATs made of announced ones.
    learnt: BTreeMap<Key, SocketAddr>,
}

struct Entry {
    route: Route,
    heard: AtomicBool,
}

/// What tells one address from another, in less than a [`SocketAddr`] takes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    ip: [u8; 16],
    /// Of a link-local address.
    scope: u32,
    port: u16,
}

impl Key {
    fn of(address: &SocketAddr) -> Self {
        let (ip, scope) = match address {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
        };
        Self {
            ip: ip.octets(),
            scope,
            port: address.port(),
        }
    }
}

struct Waiting {
    announced: SocketAddr,
    route: Route,
    since: Instant,
}

impl Routes {
    pub(super) fn new(rtcp: bool) -> Self {
        Self {
            rtcp,
            ..Self::default()
        }
    }
    pub(super) fn knows(&self, address: &SocketAddr) -> bool {
        self.known
            .read()
            .expect(NOT_POISONED)
            .entries
            .contains_key(&Key::of(address))
    }
    /// Listens for a track's datagrams. False if the address is another's.
    pub(super) fn open(&self, announced: SocketAddr, route: &Route, now: Instant) -> bool {
        let mut known = self.known.write().expect(NOT_POISONED);
        let Vacant(place) = known.entries.entry(Key::of(&announced)) else {
            return false;
        };
        place.insert(Entry::new(route.clone()));
        if !announced.ip().is_loopback() {
            let mut waiting = self.waiting.lock().expect(NOT_POISONED);
            waiting.retain(|_, list| {
                list.retain(|w| now.saturating_duration_since(w.since) < LEARN);
                !list.is_empty()
            });
            let list = waiting.entry(announced.ip()).or_default();
            if list.len() < MAX_WAITING {
                let (route, since) = (route.clone(), now);
                list.push(Waiting {
                    announced,
                    route,
                    since,
                });
            }
        }
        true
    }
    /// Forgets an address, and what was learnt of it.
    pub(super) fn close(&self, announced: &SocketAddr) {
        let gone = {
            let mut known = self.known.write().expect(NOT_POISONED);
            let announced = Key::of(announced);
            let learnt = known.learnt.remove(&announced);
            let learnt = learnt.and_then(|learnt| known.entries.remove(&Key::of(&learnt)));
            [known.entries.remove(&announced), learnt]
        };
        self.stop_waiting(announced);
        drop(gone); // not under the lock: it may be the last of a publisher
    }
    /// Whom a datagram from there belongs to. A stranger's belongs to nobody.
    pub(super) fn find(&self, from: SocketAddr, datagram: &[u8], now: Instant) -> Option<Route> {
        let found = {
            let known = self.known.read().expect(NOT_POISONED);
            known.entries.get(&Key::of(&from)).map(|entry| {
                let first = !entry.heard.swap(true, Ordering::Relaxed);
                (entry.route.clone(), first)
            })
        };
        match found {
            Some((route, first)) => {
                if first {
                    self.stop_waiting(&from);
                }
                Some(route)
            }
            None => self.learn(from, datagram, now),
        }
    }
    /// Where somebody is who announced this address: a NAT may have changed it.
    pub(super) fn now_at(&self, announced: SocketAddr) -> SocketAddr {
        let known = self.known.read().expect(NOT_POISONED);
        let learnt = known.learnt.get(&Key::of(&announced));
        learnt.copied().unwrap_or(announced)
    }
    fn stop_waiting(&self, announced: &SocketAddr) {
        let mut waiting = self.waiting.lock().expect(NOT_POISONED);
        let gone = waiting.get_mut(&announced.ip()).and_then(|list| {
            let at = list.iter().position(|w| w.announced == *announced)?;
            Some(list.remove(at))
        });
        forget_if_idle(&mut waiting, announced.ip());
        drop(waiting);
        drop(gone);
    }
    fn learn(&self, from: SocketAddr, datagram: &[u8], now: Instant) -> Option<Route> {
        let found = {
            let mut waiting = self.waiting.lock().expect(NOT_POISONED);
            let list = waiting.get_mut(&from.ip())?;
            list.retain(|w| now.saturating_duration_since(w.since) < LEARN);
            let one = list.first()?.route.clone();
            if !list.iter().all(|w| w.route.same_session(&one)) {
                return None;
            }
            let at = list
                .iter()
                .position(|w| self.fits(&w.route, datagram, list.len()))?;
            let found = list.remove(at);
            forget_if_idle(&mut waiting, from.ip());
            found
        };
        let mut known = self.known.write().expect(NOT_POISONED);
        let announced = Key::of(&found.announced);
        if !known.entries.contains_key(&announced) {
            return None;
        }
        known.learnt.insert(announced, from);
        let entry = Entry::new(found.route.clone());
        entry.heard.store(true, Ordering::Relaxed);
        known.entries.insert(Key::of(&from), entry);
        if let Route::Reader(heard, track) = &found.route {
            heard.move_to(Moved {
                track: *track,
                rtcp: self.rtcp,
                to: from,
            });
        }
        Some(found.route)
    }
    /// Whether a datagram can be this track's. Readers open their firewall for one track after the other, in
    /// the order of set-up; a publisher's packets have the payload type of their track.
    fn fits(&self, route: &Route, datagram: &[u8], waiting: usize) -> bool {
        match route {
            Route::Reader(..) => datagram.len() <= MAX_PUNCH || self.rtcp,
            Route::Publisher(..) | Route::Talker(..) if self.rtcp => waiting == 1,
            Route::Talker(_, track) => {
                rtp::Header::parse(datagram).is_ok_and(|h| Some(h.payload_type) == backchannel_type(*track))
            }
            Route::Publisher(recording, track) => {
                recording.lock().expect(NOT_POISONED).sends(*track, datagram)
            }
        }
    }
}

/// A host of which nothing is waited for is not remembered.
fn forget_if_idle(waiting: &mut HashMap<IpAddr, Vec<Waiting>>, host: IpAddr) {
    if waiting.get(&host).is_some_and(Vec::is_empty) {
        waiting.remove(&host);
    }
}

impl Entry {
    fn new(route: Route) -> Self {
        Self {
            route,
            heard: AtomicBool::new(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }
    const PUNCH: [u8; 4] = [0xce, 0xfa, 0xed, 0xfe];

    fn reader(route: Option<Route>) -> Option<TrackId> {
        match route {
            Some(Route::Reader(_, track)) => Some(track),
            _ => None,
        }
    }

    #[test]
    fn a_reader_behind_a_nat_is_found_by_the_packets_that_open_its_firewall() {
        let now = crate::base::clock::SystemClock::shared().now();
        let (routes, heard) = (Routes::new(false), Heard::new(now, None));
        for (n, port) in [5000, 5002].into_iter().enumerate() {
            let route = Route::Reader(Arc::clone(&heard), TrackId(n as u8));
            assert!(routes.open(SocketAddr::new([192, 0, 2, 1].into(), port), &route, now));
        }
        assert!(
            reader(routes.find(at("192.0.2.2:61000"), &PUNCH, now)).is_none(),
            "another host"
        );
        assert!(
            reader(routes.find(at("192.0.2.1:61000"), &[0; 500], now)).is_none(),
            "no punch"
        );
        assert_eq!(
            reader(routes.find(at("192.0.2.1:61000"), &PUNCH, now)),
            Some(TrackId(0))
        );
        assert_eq!(
            reader(routes.find(at("192.0.2.1:61007"), &PUNCH, now)),
            Some(TrackId(1))
        );
        assert!(
            reader(routes.find(at("192.0.2.1:61009"), &PUNCH, now)).is_none(),
            "all are known"
        );
        assert_eq!(heard.moves(), 2);
        let to: Vec<_> = heard.moved().iter().map(|m| m.to.port()).collect();
        assert_eq!(to, [61000, 61007]);
        assert_eq!(routes.now_at(at("192.0.2.1:5002")), at("192.0.2.1:61007"));
        assert_eq!(routes.now_at(at("192.0.2.9:5002")), at("192.0.2.9:5002"));
        // What was learnt goes with the session.
        routes.close(&at("192.0.2.1:5000"));
        assert!(!routes.knows(&at("192.0.2.1:61000")) && !routes.knows(&at("192.0.2.1:5000")));
        assert!(routes.knows(&at("192.0.2.1:61007")));
    }

    #[test]
    fn no_address_outlives_its_session() {
        let now = crate::base::clock::SystemClock::shared().now();
        let routes = Routes::new(false);
        let nobody = || {
            let waiting = routes.waiting.lock().unwrap();
            let known = routes.known.read().unwrap();
            waiting.is_empty() && known.entries.is_empty() && known.learnt.is_empty()
        };
        for heard_from in [None, Some("192.0.2.1:5000"), Some("192.0.2.1:61000")] {
            let route = Route::Reader(Heard::new(now, None), TrackId(0));
            assert!(routes.open(at("192.0.2.1:5000"), &route, now));
            if let Some(from) = heard_from {
                assert!(reader(routes.find(at(from), &PUNCH, now)).is_some());
            }
            routes.close(&at("192.0.2.1:5000"));
            assert!(nobody(), "heard from {heard_from:?}");
        }
    }

    #[test]
    fn a_port_is_not_learnt_when_it_could_be_anothers_or_is_late_or_on_loopback() {
        let now = crate::base::clock::SystemClock::shared().now();
        let later = now + LEARN;
        let open = |routes: &Routes, address: &str| {
            assert!(routes.open(
                at(address),
                &Route::Reader(Heard::new(now, None), TrackId(0)),
                now
            ));
        };
        let two = Routes::new(false);
        open(&two, "192.0.2.1:5000");
        open(&two, "192.0.2.1:6000");
        assert!(
            reader(two.find(at("192.0.2.1:61000"), &PUNCH, now)).is_none(),
            "whose?"
        );
        // The one that sent from where it said is out of the question.
        assert!(reader(two.find(at("192.0.2.1:5000"), &PUNCH, now)).is_some());
        assert!(reader(two.find(at("192.0.2.1:61000"), &PUNCH, now)).is_some());
        let late = Routes::new(false);
        open(&late, "192.0.2.1:5000");
        assert!(
            reader(late.find(at("192.0.2.1:61000"), &PUNCH, later)).is_none(),
            "late"
        );
        let here = Routes::new(false);
        open(&here, "127.0.0.1:5000");
        assert!(
            reader(here.find(at("127.0.0.1:61000"), &PUNCH, now)).is_none(),
            "loopback"
        );
        assert!(!here.open(
            at("127.0.0.1:5000"),
            &Route::Reader(Heard::new(now, None), TrackId(0)),
            now
        ));
    }
}
