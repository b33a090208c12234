//! A network with trouble in it, between an island and another network of the test's own: frames get lost and come
//! late, and a NAT changes ports. Done here and not by `tc netem` or `nft`, which many kernels lack; so the same frames
//! are hit each time, and a journal tells which.
//!
//! ```text
//! island: relay, 10.9.0.1 -- near [a program in a network between] far -- 10.9.0.2, readers
//! ```

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use nix::sys::socket::AddressFamily;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockProtocol;
use nix::sys::socket::SockType;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt;
use nix::sys::time::TimeVal;
use nix::sys::time::TimeValLike;

use crate::island;
use crate::island::Island;
use crate::peers::Peer;
use crate::relay::eventually;
use crate::relay::kill;

/// What happens to frames of IPv4, both ways.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// So many of 1000 are lost.
    pub lost: u32,
    /// So many of 1000 come 20 ms after the others, which come 5 ms after they were sent.
    pub late: u32,
    /// The far side's ports are changed, and only who was written to from there gets through to them.
    pub nat: bool,
}

/// What became of a packet of RTP that the relay sent by UDP.
#[derive(Clone, PartialEq, Eq)]
pub struct Sent {
    /// To which port.
    pub to: u16,
    pub sequence: u16,
    pub timestamp: u32,
    pub lost: bool,
    /// From its header on.
    pub packet: Vec<u8>,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            to,
            sequence,
            timestamp,
            ..
        } = self;
        write!(f, "packet {sequence} of {timestamp} to port {to}")
    }
}

/// The network of readers, and the trouble on the way to it.
pub struct Link {
    far: Child,
    journal: PathBuf,
    _between: Peer,
}

impl Link {
    pub fn start(island: &Island, trouble: Trouble) -> Self {
        let mut far = Command::new("unshare");
        far.args(["--net", "sh", "-c", "ip link set lo up && echo up && exec cat"]);
        let mut far = island::beside(island.pid(), &far);
        let mut far = far.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let _up = BufReader::new(far.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "up\n");
        let journal = island.scratch().join("journal");
        let veth = |ours: &str, pid: u32| {
            format!("ip link add {ours} type veth peer name eth0 netns {pid} && ip link set {ours} up && ")
        };
        let script = format!(
            "{}{} exec \"$@\"",
            veth("near", island.pid()),
            veth("far", far.id())
        );
        let mut between = Command::new("unshare");
        between
            .args(["--net", "sh", "-c", &script, "sh"])
            .arg(std::env::current_exe().unwrap());
        between.args([
            "--exact",
            "--nocapture",
            "link::carries_frames_where_a_test_wants_it",
        ]);
        let Trouble { lost, late, nat } = trouble;
        between
            .env(ARGS[0], &journal)
            .env(ARGS[1], format!("{lost} {late} {nat}"));
        let mut between = island::beside(island.pid(), &between);
        let between = Peer::spawn("the link", between.stdout(Stdio::null()));
        let link = Self {
            far,
            journal,
            _between: between,
        };
        eventually("the link is up", || link.journal.exists().then_some(()));
        let readers = READERS.to_string();
        for (pid, address) in [(island.pid(), RELAY), (link.far.id(), &readers)] {
            let script = format!("ip addr add {address}/24 dev eth0 && ip link set eth0 up gso_max_segs 1");
            let status = island::enter(pid, Command::new("sh").args(["-c", &script]))
                .status()
                .unwrap();
            assert!(status.success());
        }
        link
    }
    /// The same command on the far side.
    pub fn enter(&self, cmd: &Command) -> Command {
        island::enter(self.far.id(), cmd)
    }
    /// How many lines begin so: `nat`, or `lost` (what is not RTP by UDP).
    pub fn count(&self, what: &str) -> usize {
        let text = std::fs::read_to_string(&self.journal).unwrap();
        text.lines().filter(|l| l.starts_with(what)).count()
    }
    /// What the relay sent by UDP, in its order.
    pub fn sent(&self) -> Vec<Sent> {
        let text = std::fs::read_to_string(&self.journal).unwrap();
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        let numbers = whole.lines().filter_map(|l| l.strip_prefix("rtp "));
        let sent = |l: &str| -> Option<Sent> {
            let mut words = l.split(' ');
            Some(Sent {
                to: words.next()?.parse().ok()?,
                sequence: words.next()?.parse().ok()?,
                timestamp: words.next()?.parse().ok()?,
                lost: words.next()? == "lost",
                packet: bytes(words.next()?)?,
            })
        };
        numbers.map(|l| sent(l).unwrap()).collect()
    }
}

/// The relay's address there.
pub const RELAY: &str = "10.9.0.1";

/// Where the far side is.
pub const READERS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

impl Drop for Link {
    fn drop(&mut self) {
        kill(self.far.id(), "KILL");
        let _ = self.far.wait();
    }
}

/// Where the program below writes its journal, and what it does.
const ARGS: [&str; 2] = ["LINK_JOURNAL", "LINK_TROUBLE"];

#[test]
fn carries_frames_where_a_test_wants_it() {
    let [Ok(journal), Ok(trouble)] = ARGS.map(std::env::var) else {
        return; // Nobody wants it: this is a whole test run.
    };
    let words: Vec<_> = trouble.split(' ').collect();
    let [lost, late, nat] = words[..] else {
        panic!("{trouble}")
    };
    let (near, far) = (Arc::new(open("near")), Arc::new(open("far")));
    let nat = (nat == "true").then(Nat::default).map(Mutex::new).map(Arc::new);
    let way = |from_relay: bool| Way {
        from_relay,
        lost: lost.parse().unwrap(),
        late: late.parse().unwrap(),
        chance: if from_relay {
            88_172_645_463_325_252
        } else {
            2_463_534_242
        },
        nat: nat.clone(),
        journal: File::options().create(true).append(true).open(&journal).unwrap(),
    };
    let (there, back) = (way(true), way(false));
    let (near2, far2) = (Arc::clone(&near), Arc::clone(&far));
    std::thread::spawn(move || there.carry(&near, &far));
    back.carry(&far2, &near2);
}

/// Everything that an interface of this network sends and receives.
fn open(interface: &str) -> OwnedFd {
    let mut all = nix::ifaddrs::getifaddrs()
        .unwrap()
        .filter(|i| i.interface_name == interface);
    let address = all
        .find_map(|i| i.address?.as_link_addr().copied())
        .expect("an interface");
    let family = AddressFamily::Packet;
    let socket = nix::sys::socket::socket(family, SockType::Raw, SockFlag::empty(), SockProtocol::EthAll);
    let socket = socket.expect("the network is ours");
    nix::sys::socket::bind(socket.as_raw_fd(), &address).unwrap();
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(1)).unwrap();
    let _only_where_we_may = setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20));
    socket
}

/// One direction.
struct Way {
    from_relay: bool,
    lost: u32,
    late: u32,
    /// The state of a small generator (Marsaglia's xorshift): the same frames are hit each time.
    chance: u64,
    nat: Option<Arc<Mutex<Nat>>>,
    journal: File,
}

impl Way {
    fn carry(mut self, from: &OwnedFd, to: &OwnedFd) {
        let mut buf = vec![0; 1 << 16];
        let mut waiting: BTreeMap<(Instant, u64), Vec<u8>> = BTreeMap::new();
        for n in 0.. {
            if let Ok(length) = nix::sys::socket::recv(from.as_raw_fd(), &mut buf, MsgFlags::empty())
                && let Some((frame, delay)) = self.treat(buf[..length].to_vec())
            {
                waiting.insert((Instant::now() + delay, n), frame);
            }
            while let Some(first) = waiting.first_entry().filter(|e| e.key().0 <= Instant::now()) {
                // A network that goes away takes its frames with it.
                let _ = nix::sys::socket::send(to.as_raw_fd(), &first.remove(), MsgFlags::empty());
            }
        }
    }
    fn of_thousand(&mut self, n: u32) -> bool {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % 1000 < n.into()
    }
    /// The frame and its delay, or nothing of it. Only IPv4 is hit: the rest is how neighbours find each other.
    fn treat(&mut self, mut frame: Vec<u8>) -> Option<(Vec<u8>, Duration)> {
        let Some(mut segment) = Segment::of(&mut frame) else {
            return Some((frame, Duration::ZERO));
        };
        let rtp = segment.rtp().filter(|_| self.from_relay);
        if let Some(nat) = &self.nat {
            let mut nat = nat.lock().unwrap();
            let known = if self.from_relay {
                nat.inwards(&mut segment)
            } else {
                nat.outwards(&mut segment, &self.journal)
            };
            if !known {
                return None;
            }
        }
        segment.mend_checksum();
        let lost = self.of_thousand(self.lost);
        match rtp {
            Some((to, sequence, timestamp)) => {
                let fate = if lost { "lost" } else { "passed" };
                let packet = hex(&segment.bytes[8..]);
                writeln!(self.journal, "rtp {to} {sequence} {timestamp} {fate} {packet}").unwrap();
            }
            None if lost => writeln!(self.journal, "lost").unwrap(),
            None => {}
        }
        let late = self.of_thousand(self.late);
        (!lost).then_some((frame, Duration::from_millis(if late { 25 } else { 5 })))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// TCP or UDP in IPv4 in Ethernet.
struct Segment<'a> {
    tcp: bool,
    addresses: [u8; 8],
    bytes: &'a mut [u8],
}

impl<'a> Segment<'a> {
    fn of(frame: &'a mut [u8]) -> Option<Self> {
        const ETHERNET: usize = 14;
        if frame.get(12..ETHERNET)? != [8, 0] {
            return None;
        }
        let ip = &mut frame[ETHERNET..];
        let (header, length) = (usize::from(ip[0] & 0x0f) * 4, u16::from_be_bytes([ip[2], ip[3]]));
        let tcp = match ip[9] {
            6 => true,
            17 => false,
            _ => return None,
        };
        let addresses = ip[12..20].try_into().unwrap();
        // Short frames are filled up; that does not belong to them.
        let bytes = &mut ip[header..usize::from(length)];
        Some(Self {
            tcp,
            addresses,
            bytes,
        })
    }
    fn port(&self, destination: bool) -> u16 {
        let at = if destination { 2 } else { 0 };
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }
    fn set_port(&mut self, destination: bool, port: u16) {
        let at = if destination { 2 } else { 0 };
        self.bytes[at..at + 2].copy_from_slice(&port.to_be_bytes());
    }
    /// Port, sequence number and time stamp of a packet of RTP (RFC 3550) in a datagram; types 200 to 204 are RTCP.
    fn rtp(&self) -> Option<(u16, u16, u32)> {
        let payload = self.bytes.get(8..20).filter(|_| !self.tcp)?;
        if payload[0] >> 6 != 2 || (200..=204).contains(&payload[1]) {
            return None;
        }
        let sequence = u16::from_be_bytes([payload[2], payload[3]]);
        let timestamp = u32::from_be_bytes(payload[4..8].try_into().unwrap());
        Some((self.port(true), sequence, timestamp))
    }
    /// Interfaces of this kind leave it to whoever is last (RFC 1071).
    fn mend_checksum(&mut self) {
        let at = if self.tcp { 16 } else { 6 };
        self.bytes[at..at + 2].fill(0);
        let protocol = if self.tcp { 6 } else { 17 };
        let mut sum = protocol + self.bytes.len() as u32;
        for pair in self.addresses.chunks(2).chain(self.bytes.chunks(2)) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let sum = match !(sum as u16) {
            0 => 0xffff,
            sum => sum,
        };
        self.bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// As most routers at home do it: an inner port gets another one outside, and only ports that it has written to get
/// through to it. The relay sees one address for all of them.
#[derive(Default)]
struct Nat {
    outer: HashMap<(bool, u16), u16>,
    inner: HashMap<(bool, u16), u16>,
    open: HashSet<(bool, u16, u16)>,
}

impl Nat {
    fn outwards(&mut self, segment: &mut Segment<'_>, mut journal: &File) -> bool {
        let (tcp, ours, theirs) = (segment.tcp, segment.port(false), segment.port(true));
        let next = 40_000 + 7 * self.outer.len() as u16;
        let outer = *self.outer.entry((tcp, ours)).or_insert_with(|| {
            writeln!(journal, "nat {ours} {next}").unwrap();
            next
        });
        self.inner.insert((tcp, outer), ours);
        self.open.insert((tcp, outer, theirs));
        segment.set_port(false, outer);
        true
    }
    fn inwards(&self, segment: &mut Segment<'_>) -> bool {
        let (tcp, outer, theirs) = (segment.tcp, segment.port(true), segment.port(false));
        let open = self.open.contains(&(tcp, outer, theirs));
        if let Some(&inner) = self.inner.get(&(tcp, outer)).filter(|_| open) {
            segment.set_port(true, inner);
        }
        open
    }
}
