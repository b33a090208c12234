//! Multicast: one sender per stream, however many readers; what each reader has is a place in its session alone
//! (RFC 2326 section 12.39). Off unless configured.
//!
//! Receivers join the group themselves; we only send. Their reports go to the group, where we do not listen, so
//! a reader lives by its RTSP requests.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::egress::rtsp::delivery::Delivery;
use crate::egress::rtsp::fanout::Fanouts;
use crate::egress::rtsp::fanout::Slot;
use crate::egress::rtsp::play::TrackWay;
use crate::egress::rtsp::routes::Heard;
use crate::egress::rtsp::udp::UdpPair;
use crate::egress::rtsp::way::Ports;
use crate::egress::rtsp::way::Way;
use crate::hub::Hub;
use crate::hub::PathName;
use crate::hub::Stream;
use crate::media::TrackId;
use crate::proto::rtsp::server::Group;
use crate::telemetry::Output;

const NOT_POISONED: &str = "no panic happens while the lock is held";

/// Settings of multicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multicast {
    /// The first group; each path that is asked for has one.
    pub first: Ipv4Addr,
    /// How many groups there are.
    pub groups: u32,
    /// RTP port of the first track, even; RTCP is the next, and so on with the other tracks.
    pub port: u16,
    /// How many routers packets pass, at most.
    pub ttl: u8,
}

/// The groups of a listener and who sends to them.
pub(super) struct Groups {
    options: Multicast,
    sockets: Arc<UdpPair>,
    hub: Arc<Hub>,
    /// Which group a path has: it keeps it, as long as there are enough, even while there is no such path.
    numbers: Mutex<HashMap<PathName, u32>>,
    senders: Mutex<HashMap<u64, Weak<Sender>>>,
}

impl Groups {
    pub(super) fn new(options: Multicast, sockets: Arc<UdpPair>, hub: Arc<Hub>) -> Self {
        sockets.set_multicast(options.ttl);
        Self {
            options,
            sockets,
            hub,
            numbers: Mutex::default(),
            senders: Mutex::default(),
        }
    }
    /// A path's group; `None` if all are taken.
    pub(super) fn group(&self, path: &PathName) -> Option<Ipv4Addr> {
        let mut numbers = self.numbers.lock().expect(NOT_POISONED);
        let number = match numbers.get(path) {
            Some(number) => *number,
            None => {
                let all = 0..self.options.groups;
                if numbers.len() >= all.len() {
                    numbers.retain(|path, _| self.hub.find(path.as_str()).is_some());
                }
                let free = all
                    .into_iter()
                    .find(|n| !numbers.values().any(|taken| taken == n))?;
                numbers.insert(path.clone(), free);
                free
            }
        };
        Some(Ipv4Addr::from_bits(self.options.first.to_bits() + number))
    }
    /// What SETUP tells of a track.
    pub(super) fn told(&self, path: &PathName, track: TrackId) -> Option<Group> {
        let ports = self.ports(track)?;
        Some(Group {
            destination: self.group(path)?.to_string(),
            ports,
            ttl: self.options.ttl,
        })
    }
    /// The description for players that go by its addresses (`?vlcmulticast`).
    pub(super) fn describe(&self, sdp: &str, path: &PathName) -> Option<String> {
        let (group, ttl) = (self.group(path)?, self.options.ttl);
        let tracks = sdp.lines().filter_map(|l| l.strip_prefix("a=control:trackID="));
        let mut tracks = tracks.filter_map(|n| n.parse().ok());
        let mut line = |line: &str| {
            Some(match line.strip_prefix("m=") {
                Some(media) => {
                    let (rtp, _) = self.ports(TrackId(tracks.next()?))?;
                    let (kind, rest) = media.split_once(" 0 ")?;
                    format!("m={kind} {rtp} {rest}\r\n")
                }
                None if line.starts_with("c=") => format!("c=IN IP4 {group}/{ttl}\r\n"),
                None => format!("{line}\r\n"),
            })
        };
        sdp.lines().map(&mut line).collect()
    }
    /// Sends a stream to its group for as long as somebody has the result.
    pub(super) fn sender(
        &self,
        stream: &Arc<Stream>,
        path: &PathName,
        at: u64,
        now: Instant,
        fanouts: &Arc<Fanouts>,
    ) -> Option<Arc<Sender>> {
        let group = IpAddr::V4(self.group(path)?);
        let mut senders = self.senders.lock().expect(NOT_POISONED);
        senders.retain(|_, s| s.strong_count() > 0);
        if let Some(sender) = senders.get(&stream.id()).and_then(Weak::upgrade) {
            return Some(sender);
        }
        let way = |n: usize| {
            let (rtp, rtcp) = self.ports(TrackId(u8::try_from(n).ok()?))?;
            let to = |port| SocketAddr::new(group, port);
            Some(TrackWay::Udp(Ports::new(to(rtp), to(rtcp))))
        };
        let ways: Vec<_> = (0..stream.description().tracks.len()).map(way).collect();
        let way = Way::udp(Arc::clone(&self.sockets), Heard::new(now, None), &ways);
        let delivery = Delivery::new(Arc::clone(stream), way, at, now, None);
        let slot = Slot::new(delivery, Output::RtspUdp, Arc::default());
        slot.set_idle(false);
        fanouts.add(stream, Arc::clone(&slot));
        let sender = Arc::new(Sender {
            slot,
            said_bye: AtomicBool::new(false),
        });
        senders.insert(stream.id(), Arc::downgrade(&sender));
        Some(sender)
    }
    fn ports(&self, track: TrackId) -> Option<(u16, u16)> {
        let rtp = self.options.port.checked_add(2 * u16::from(track.0))?;
        Some((rtp, rtp.checked_add(1)?))
    }
}

/// A stream on its way to a group.
pub(super) struct Sender {
    slot: Arc<Slot>,
    said_bye: AtomicBool,
}

impl Sender {
    /// The number of the next burst.
    pub(super) fn at(&self) -> u64 {
        self.slot.delivery().at()
    }
    /// Says good-bye to the group, once.
    pub(super) fn bye(&self) {
        if !self.said_bye.swap(true, Ordering::Relaxed) {
            self.slot.delivery().bye();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.slot.set_idle(true);
        self.slot.leave();
        self.slot.delivery().end();
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::base::clock::ManualClock;
    use crate::hub;
    use crate::telemetry::Metrics;

    fn groups(count: u32) -> Groups {
        groups_of(count, &hub())
    }
    fn hub() -> Arc<Hub> {
        let clock = ManualClock::new(UNIX_EPOCH);
        Hub::new(hub::Options::default(), clock, Metrics::new())
    }
    fn groups_of(count: u32, hub: &Arc<Hub>) -> Groups {
        let options = Multicast {
            first: Ipv4Addr::new(239, 1, 2, 254),
            groups: count,
            port: 6000,
            ttl: 3,
        };
        let sockets = UdpPair::bind(Ipv4Addr::LOCALHOST.into(), (0, 0)).unwrap();
        Groups::new(options, Arc::new(sockets), Arc::clone(hub))
    }

    #[tokio::test]
    async fn each_path_has_a_group_of_its_own_and_keeps_it() {
        let name = |text: &str| PathName::parse(text).unwrap();
        let hub = hub();
        for path in ["a", "b", "c"] {
            hub.configure(&name(path), "publish:");
        }
        let groups = groups_of(3, &hub);
        assert_eq!(groups.group(&name("a")), Some(Ipv4Addr::new(239, 1, 2, 254)));
        assert_eq!(groups.group(&name("b")), Some(Ipv4Addr::new(239, 1, 2, 255)));
        assert_eq!(groups.group(&name("a")), Some(Ipv4Addr::new(239, 1, 2, 254)));
        assert_eq!(groups.group(&name("c")), Some(Ipv4Addr::new(239, 1, 3, 0)));
        assert_eq!(groups.group(&name("d")), None, "there are no more");
        hub.remove("b");
        hub.configure(&name("d"), "publish:");
        assert_eq!(groups.group(&name("d")), Some(Ipv4Addr::new(239, 1, 2, 255)));
        assert_eq!(groups.group(&name("b")), None, "now it is another's");
        let told = groups.told(&name("c"), TrackId(2)).unwrap();
        assert_eq!(
            (told.destination.as_str(), told.ports, told.ttl),
            ("239.1.3.0", (6004, 6005), 3)
        );
    }

    #[tokio::test]
    async fn the_description_names_group_and_ports() {
        let sdp = "v=0\r\nc=IN IP4 0.0.0.0\r\nm=video 0 RTP/AVP 96\r\na=control:trackID=0\r\n\
                   m=audio 0 RTP/AVP 8\r\na=control:trackID=3\r\n";
        assert_eq!(
            groups(1).describe(sdp, &PathName::parse("a").unwrap()).unwrap(),
            "v=0\r\nc=IN IP4 239.1.2.254/3\r\nm=video 6000 RTP/AVP 96\r\na=control:trackID=0\r\n\
             m=audio 6006 RTP/AVP 8\r\na=control:trackID=3\r\n"
        );
    }
}
