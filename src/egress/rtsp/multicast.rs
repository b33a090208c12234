//! Multicast: one sender per stream, however many readers; what each reader has is a place in its session alone
//! (RFC 2326 section 12.39). Off unless configured.
//!
//! Receivers join the group themselves; we only send. Their reports go to the group, where we do not listen, so
//! a reader lives by its RTSP requests.
//!
//! Whoever is in a group takes a good-bye for its own: ffmpeg looks at no SSRC. So a stream that ends says it at once, and
//! no more when somebody was told of the group for the next stream; and a group that was given back is given to another
//! path as late as possible.

use std::collections::HashMap;
use std::collections::HashSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

use crate::base::tasks::Tasks;
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
pub struct Options {
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
    options: Options,
    sockets: Arc<UdpPair>,
    hub: Arc<Hub>,
    tasks: Tasks,
    numbers: Mutex<Numbers>,
    senders: Mutex<HashMap<u64, (Ipv4Addr, Weak<Sender>)>>,
}

/// Which group a path has: it keeps it, as long as there are enough, even while there is no such path.
#[derive(Default)]
struct Numbers {
    by_path: HashMap<PathName, u32>,
    /// Where the next free one is looked for: behind the one that was given last.
    next: u32,
}

impl Groups {
    pub(super) fn new(options: Options, sockets: Arc<UdpPair>, hub: Arc<Hub>, tasks: Tasks) -> Self {
        sockets.set_multicast(options.ttl);
        Self {
            options,
            sockets,
            hub,
            tasks,
            numbers: Mutex::default(),
            senders: Mutex::default(),
        }
    }
    /// A path's group; `None` if all are taken.
    pub(super) fn group(&self, path: &PathName) -> Option<Ipv4Addr> {
        let mut numbers = self.numbers.lock().expect(NOT_POISONED);
        let Numbers { by_path, next } = &mut *numbers;
        let number = match by_path.get(path) {
            Some(number) => *number,
            None => {
                let count = self.options.groups;
                if u32::try_from(by_path.len()).is_ok_and(|given| given >= count) {
                    by_path.retain(|path, _| self.hub.find(path.as_str()).is_some());
                }
                let taken: HashSet<u32> = by_path.values().copied().collect();
                let free = (*next..count).chain(0..*next).find(|n| !taken.contains(n))?;
                *next = (free + 1) % count;
                by_path.insert(path.clone(), free);
                free
            }
        };
        Some(Ipv4Addr::from_bits(self.options.first.to_bits() + number))
    }
    /// What SETUP tells of a track of the path's stream. From now on there may be somebody in the group who would end at a
    /// good-bye of the stream before.
    pub(super) fn told(&self, path: &PathName, stream: &Stream, track: TrackId) -> Option<Group> {
        let ports = self.ports(track)?;
        let group = self.group(path)?;
        for (id, (to, sender)) in &*self.senders.lock().expect(NOT_POISONED) {
            if let Some(former) = sender.upgrade().filter(|_| *to == group && *id != stream.id()) {
                former.said_bye.store(true, Ordering::Relaxed);
            }
        }
        Some(Group {
            destination: group.to_string(),
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
        let group = self.group(path)?;
        let mut senders = self.senders.lock().expect(NOT_POISONED);
        senders.retain(|_, (_, s)| s.strong_count() > 0);
        if let Some(sender) = senders.get(&stream.id()).and_then(|(_, s)| s.upgrade()) {
            return Some(sender);
        }
        let way = |n: usize| {
            let (rtp, rtcp) = self.ports(TrackId(u8::try_from(n).ok()?))?;
            let to = |port| SocketAddr::new(IpAddr::V4(group), port);
            Some(TrackWay::Udp(Ports::new(to(rtp), to(rtcp))))
        };
        let ways: Vec<_> = (0..stream.description().tracks.len()).map(way).collect();
        let way = Way::udp(Arc::clone(&self.sockets), Heard::new(now, None), &ways);
        let delivery = Delivery::new(Arc::clone(stream), way, at, now, None);
        let over = Arc::new(Notify::new());
        let slot = Slot::new(delivery, Output::RtspUdp, Arc::clone(&over));
        slot.set_idle(false);
        let gone = CancellationToken::new();
        let sender = Arc::new(Sender {
            slot: Arc::clone(&slot),
            // For one that ended already it was said, or another stream has the group.
            said_bye: AtomicBool::new(stream.has_ended()),
            _gone: gone.clone().drop_guard(),
        });
        senders.insert(stream.id(), (group, Arc::downgrade(&sender)));
        let told = (Arc::clone(stream), Arc::downgrade(&sender));
        self.tasks
            .spawn_unnamed(|stop| say_bye_in_time(told.0, told.1, over, gone, stop));
        fanouts.add(stream, slot);
        Some(sender)
    }
    fn ports(&self, track: TrackId) -> Option<(u16, u16)> {
        let rtp = self.options.port.checked_add(2 * u16::from(track.0))?;
        Some((rtp, rtp.checked_add(1)?))
    }
}

/// Says good-bye to the group as soon as the stream has ended: its readers look only now and then, and by then the group may
/// be another stream's.
async fn say_bye_in_time(
    stream: Arc<Stream>,
    sender: Weak<Sender>,
    over: Arc<Notify>,
    gone: CancellationToken,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = over.notified() => {}
            () = gone.cancelled() => return,
            () = stop.cancelled() => return,
        }
        if stream.has_ended() {
            return sender.upgrade().iter().for_each(|sender| sender.bye());
        }
    }
}

/// A stream on its way to a group.
pub(super) struct Sender {
    slot: Arc<Slot>,
    /// It was said, or may not be said any more.
    said_bye: AtomicBool,
    _gone: DropGuard,
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
    use std::time::Duration;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::base::clock::Clock;
    use crate::base::clock::ManualClock;
    use crate::base::time::Rate;
    use crate::hub;
    use crate::hub::Publisher;
    use crate::media::Codec;
    use crate::media::Description;
    use crate::media::MediaKind;
    use crate::media::Track;
    use crate::telemetry::Metrics;

    fn groups(count: u32) -> Groups {
        groups_of(count, &hub())
    }
    fn clock() -> Arc<ManualClock> {
        ManualClock::new(UNIX_EPOCH)
    }
    fn hub() -> Arc<Hub> {
        Hub::new(hub::Options::default(), clock(), Metrics::new())
    }
    fn groups_of(count: u32, hub: &Arc<Hub>) -> Groups {
        let options = Options {
            first: Ipv4Addr::new(239, 1, 2, 254),
            groups: count,
            port: 6000,
            ttl: 3,
        };
        let sockets = UdpPair::bind(Ipv4Addr::LOCALHOST.into(), (0, 0)).unwrap();
        Groups::new(options, Arc::new(sockets), Arc::clone(hub), Tasks::new())
    }

    #[tokio::test]
    async fn each_path_has_a_group_of_its_own_and_keeps_it() {
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
        let stream = published(&hub, "c");
        let told = groups.told(&name("c"), stream.stream(), TrackId(2)).unwrap();
        assert_eq!(
            (told.destination.as_str(), told.ports, told.ttl),
            ("239.1.3.0", (6004, 6005), 3)
        );
    }

    fn name(text: &str) -> PathName {
        PathName::parse(text).unwrap()
    }
    /// Sound.
    fn published(hub: &Arc<Hub>, path: &str) -> Publisher {
        let track = Track {
            id: TrackId(0),
            kind: MediaKind::Audio,
            codec: Codec::Pcmu,
            payload_type: 0,
            rate: Rate::VIDEO,
            encoding: "PCMU".into(),
            channels: None,
            fmtp: None,
        };
        let tracks = vec![track];
        hub.publish(&name(path), Description { tracks }).unwrap()
    }

    #[tokio::test]
    async fn a_group_is_given_to_another_path_as_late_as_possible() {
        let hub = hub();
        let groups = groups_of(3, &hub);
        let given = |path: &str| {
            hub.configure(&name(path), "publish:");
            let first = groups.options.first.to_bits();
            groups.group(&name(path)).unwrap().to_bits() - first
        };
        assert_eq!([given("a"), given("b"), given("c")], [0, 1, 2]);
        hub.remove("a");
        assert_eq!(given("d"), 0);
        hub.remove("d");
        hub.remove("b");
        assert_eq!(given("e"), 1, "the one that was given just now is left alone");
        assert_eq!(given("f"), 0);
    }

    #[tokio::test]
    async fn a_stream_that_ends_says_good_bye_before_anybody_looks() {
        let hub = hub();
        let groups = groups_of(1, &hub);
        let publisher = published(&hub, "a");
        let fanouts = Fanouts::new(Tasks::new(), clock(), Metrics::new());
        let stream = publisher.stream();
        let sender = groups
            .sender(stream, &name("a"), 0, clock().now(), &fanouts)
            .unwrap();
        assert!(!sender.said_bye.load(Ordering::Relaxed));
        drop(publisher);
        let said = async {
            while !sender.said_bye.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
        };
        let patience = Duration::from_secs(60);
        assert!(
            tokio::time::timeout(patience, said).await.is_ok(),
            "nobody said it"
        );
    }

    #[tokio::test]
    async fn nobody_who_was_told_of_a_group_hears_the_good_bye_of_the_stream_before() {
        let hub = hub();
        let groups = groups_of(1, &hub);
        let fanouts = Fanouts::new(Tasks::new(), clock(), Metrics::new());
        let send = |stream: &Arc<Stream>| {
            groups
                .sender(stream, &name("a"), 0, clock().now(), &fanouts)
                .unwrap()
        };
        let first = published(&hub, "a");
        let stream = Arc::clone(first.stream());
        let former = send(&stream);
        assert!(!former.said_bye.load(Ordering::Relaxed));
        groups.told(&name("a"), &stream, TrackId(0)).unwrap();
        assert!(!former.said_bye.load(Ordering::Relaxed), "it is the same stream");
        drop(first);
        let second = published(&hub, "a");
        groups.told(&name("a"), second.stream(), TrackId(0)).unwrap();
        assert!(
            former.said_bye.load(Ordering::Relaxed),
            "nothing was awaited: it was not said"
        );
        // A reader of the first stream that plays once more begins nothing that could end.
        drop(former);
        assert!(send(&stream).said_bye.load(Ordering::Relaxed));
        assert!(!send(second.stream()).said_bye.load(Ordering::Relaxed));
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
