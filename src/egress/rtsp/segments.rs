//! Sends the packets of a burst as datagrams.
//!
//! The walk of each datagram through the network stack is the cost of UDP, not the system call alone. On Linux
//! the kernel takes up to 64 datagrams of equal size as one (UDP_SEGMENT, udp(7)) and cuts them at the end of
//! that walk; fragments of a picture are equal in size but the last. Where that is refused, and on other
//! systems, it is one call per packet: for this burst, if the way to one reader takes no packets of that size, and for
//! good, if nobody's does.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;

use socket2::SockAddr;
use tokio::net::UdpSocket;

use crate::hub::burst::Burst;

/// Datagrams in one call: the kernel's limit is 64, and a receiver's small buffer likes fewer at once.
const MAX_SEGMENTS: usize = 32;
/// Payload of one call: what fits into one IP packet before it is cut.
const MAX_BYTES: usize = 65_000;

/// So many refusals, without a success among them, are not those of one reader's way.
const REFUSALS_MAX: u8 = 64;

/// Whether the kernel cuts datagrams for us, as far as it was tried.
#[derive(Default)]
pub(super) struct Segmenting(AtomicU8);

impl Segmenting {
    fn is_worth_trying(&self) -> bool {
        cfg!(target_os = "linux") && self.0.load(Ordering::Relaxed) < REFUSALS_MAX
    }
    fn was_refused(&self) {
        let before = self.0.load(Ordering::Relaxed); // shards may miss each other's: they are many enough
        self.0.store(before.saturating_add(1), Ordering::Relaxed);
    }
    fn worked(&self) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }
}

/// How far a call of [`send`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sent {
    /// Number of the burst's first packet that has not been sent.
    pub(super) next: usize,
    /// Bytes that were sent.
    pub(super) bytes: usize,
    /// Packets that the kernel refused for good.
    pub(super) unsent: u64,
    /// The kernel has no room for the packet `next` now.
    pub(super) full: bool,
}

/// Sends a burst to one reader, from packet `first` on, until `budget` bytes have left.
pub(super) fn send(
    socket: &UdpSocket,
    segmenting: &Segmenting,
    burst: &Burst,
    first: usize,
    budget: usize,
    to: SocketAddr,
) -> Sent {
    let address = SockAddr::from(to);
    let mut sent = Sent {
        next: first,
        bytes: 0,
        unsent: 0,
        full: false,
    };
    let mut rest = burst.from_packet(first);
    let mut refused = false;
    while sent.bytes < budget {
        let count = match !refused && segmenting.is_worth_trying() {
            true => run_length(rest.clone()),
            false => rest.clone().take(1).count(),
        };
        let run = rest.clone().take(count);
        let result = match count {
            0 => break,
            1 => run.clone().try_for_each(|p| send_one(socket, p, to)),
            _ => send_run(socket, run.clone(), &address),
        };
        match result {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock || is_no_room(&e) => {
                sent.full = true;
                break;
            }
            Err(e) if count > 1 && is_refusal(&e) => {
                segmenting.was_refused();
                refused = true;
                continue; // the same packets again, one by one
            }
            Ok(()) if count > 1 => segmenting.worked(),
            // A reader that went away shows up as a refused connection (ICMP); its session ends by its own rules.
            Err(e) if e.kind() != io::ErrorKind::ConnectionRefused => sent.unsent += count as u64,
            _ => {}
        }
        sent.bytes += run.map(<[u8]>::len).sum::<usize>();
        sent.next += count;
        rest.nth(count - 1);
    }
    sent
}

/// Sends one datagram.
///
/// # Errors
/// What the kernel says, `WouldBlock` if it has no room now.
pub(super) fn send_one(socket: &UdpSocket, packet: &[u8], to: SocketAddr) -> io::Result<()> {
    socket.try_send_to(packet, to).map(|_| ())
}

/// How many of these packets one call can take: equal in size, but the last may be smaller.
fn run_length<'a>(mut packets: impl Iterator<Item = &'a [u8]>) -> usize {
    let Some(size) = packets.next().map(<[u8]>::len) else {
        return 0;
    };
    let mut count = 1;
    for packet in packets {
        if count == MAX_SEGMENTS || packet.len() > size || (count + 1) * size > MAX_BYTES {
            break;
        }
        count += 1;
        if packet.len() < size {
            break;
        }
    }
    count
}

/// The queue of the network card is full; it is not the socket's, and nobody tells when it has room again.
fn is_no_room(e: &io::Error) -> bool {
    cfg!(unix) && e.raw_os_error() == Some(ENOBUFS)
}

/// The kernel, the driver or a tunnel on the way cannot cut datagrams.
fn is_refusal(e: &io::Error) -> bool {
    REFUSALS.iter().any(|errno| e.raw_os_error() == Some(*errno))
}

#[cfg(target_os = "linux")]
use linux::ENOBUFS;
#[cfg(target_os = "linux")]
use linux::REFUSALS;
#[cfg(target_os = "linux")]
use linux::send_run;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::io::IoSlice;

    use nix::errno::Errno;
    use socket2::MsgHdr;
    use socket2::SockAddr;
    use socket2::SockRef;
    use tokio::io::Interest;
    use tokio::net::UdpSocket;

    use super::MAX_SEGMENTS;

    pub(super) const ENOBUFS: i32 = Errno::ENOBUFS as i32;
    pub(super) const REFUSALS: [i32; 5] = [
        Errno::EIO as i32,
        Errno::EINVAL as i32,
        Errno::EOPNOTSUPP as i32,
        Errno::ENOPROTOOPT as i32,
        Errno::EMSGSIZE as i32,
    ];

    /// One call for packets of equal size; the vector skips the interleaved prefixes between them.
    pub(super) fn send_run<'a>(
        socket: &UdpSocket,
        packets: impl Iterator<Item = &'a [u8]>,
        to: &SockAddr,
    ) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); MAX_SEGMENTS];
        let mut count = 0;
        let mut size = 0;
        for (slice, packet) in slices.iter_mut().zip(packets) {
            size = size.max(packet.len() as u16); // run_length keeps the sum below 65,000
            *slice = IoSlice::new(packet);
            count += 1;
        }
        let control = segment_size(size);
        let message = MsgHdr::new()
            .with_addr(to)
            .with_buffers(&slices[..count])
            .with_control(&control);
        let call = || SockRef::from(socket).sendmsg(&message, 0).map(|_| ());
        socket.try_io(Interest::WRITABLE, call)
    }

    const WORD: usize = size_of::<usize>();

    /// The control message UDP_SEGMENT as the kernel reads it (cmsg(3)): its length as a word, level and type
    /// as 32-bit integers, then 16 bits of value, padded to a word.
    fn segment_size(size: u16) -> [u8; 2 * WORD + 8] {
        const SOL_UDP: i32 = 17;
        const UDP_SEGMENT: i32 = 103;
        let mut control = [0; 2 * WORD + 8];
        control[..WORD].copy_from_slice(&(WORD + 8 + 2).to_ne_bytes());
        control[WORD..WORD + 4].copy_from_slice(&SOL_UDP.to_ne_bytes());
        control[WORD + 4..WORD + 8].copy_from_slice(&UDP_SEGMENT.to_ne_bytes());
        control[WORD + 8..WORD + 10].copy_from_slice(&size.to_ne_bytes());
        control
    }
}

#[cfg(not(target_os = "linux"))]
use elsewhere::ENOBUFS;
#[cfg(not(target_os = "linux"))]
use elsewhere::REFUSALS;
#[cfg(not(target_os = "linux"))]
use elsewhere::send_run;

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::io;

    use socket2::SockAddr;
    use tokio::net::UdpSocket;

    /// Of the BSDs and macOS.
    pub(super) const ENOBUFS: i32 = 55;
    pub(super) const REFUSALS: [i32; 0] = [];

    /// Never called: a run is one packet here.
    pub(super) fn send_run<'a>(
        _: &UdpSocket,
        _: impl Iterator<Item = &'a [u8]>,
        _: &SockAddr,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reader_whose_way_takes_no_cut_datagrams_costs_the_others_nothing() {
        let segmenting = Segmenting::default();
        for _ in 0..1000 {
            segmenting.was_refused();
            segmenting.worked(); // for somebody else
            assert!(segmenting.is_worth_trying());
        }
        for _ in 0..1000 {
            segmenting.was_refused();
        }
        assert!(!segmenting.is_worth_trying(), "nobody's way does");
    }

    #[test]
    fn a_run_is_equal_packets_and_one_smaller_at_its_end() {
        let sizes = |sizes: &[usize]| -> usize {
            let packets: Vec<Vec<u8>> = sizes.iter().map(|n| vec![0; *n]).collect();
            run_length(packets.iter().map(Vec::as_slice))
        };
        assert_eq!(sizes(&[]), 0);
        assert_eq!(sizes(&[25, 4, 1400, 1400]), 2);
        assert_eq!(sizes(&[1400, 1400, 300, 1400]), 3);
        assert_eq!(sizes(&[300, 1400]), 1);
        assert_eq!(sizes(&[1400; 100]), MAX_SEGMENTS);
        assert_eq!(sizes(&[30_000; 5]), 2);
    }
}
