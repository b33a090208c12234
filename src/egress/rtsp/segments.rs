//! Sends the packets of a burst as datagrams.
//!
//! The walk of each datagram through the network stack is the cost of UDP, not the system call alone. On Linux
//! the kernel takes up to 64 datagrams of equal size as one (UDP_SEGMENT, udp(7)) and cuts them at the end of
//! that walk; fragments of a picture are equal in size but the last. Where that is refused, and on other
//! systems, it is one call per packet.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use tokio::net::UdpSocket;

use crate::hub::burst::Burst;

/// Datagrams in one call: the kernel's limit is 64, and a receiver's small buffer likes fewer at once.
const MAX_SEGMENTS: usize = 32;
/// Payload of one call: what fits into one IP packet before it is cut.
const MAX_BYTES: usize = 65_000;

/// Sends a burst to one reader; returns how many packets the kernel had no room for.
pub(super) fn send(socket: &UdpSocket, segmenting: &AtomicBool, burst: &Burst, to: SocketAddr) -> u64 {
    #[cfg(target_os = "linux")]
    if segmenting.load(Ordering::Relaxed) {
        return linux::send(socket, segmenting, burst, to);
    }
    let _ = segmenting;
    burst.iter().map(|packet| send_one(socket, packet, to)).sum()
}

/// Sends one datagram; returns 1 if the kernel had no room for it.
pub(super) fn send_one(socket: &UdpSocket, packet: &[u8], to: SocketAddr) -> u64 {
    u64::from(is_lost(&socket.try_send_to(packet, to).map(|_| ())))
}

/// A reader that went away shows up as a refused connection (ICMP); its session ends by its own rules.
fn is_lost(sent: &io::Result<()>) -> bool {
    matches!(sent, Err(e) if e.kind() != io::ErrorKind::ConnectionRefused)
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

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::io::IoSlice;
    use std::net::SocketAddr;
    use std::os::fd::AsRawFd;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering;

    use nix::errno::Errno;
    use nix::sys::socket::ControlMessage;
    use nix::sys::socket::MsgFlags;
    use nix::sys::socket::SockaddrStorage;
    use nix::sys::socket::sendmsg;
    use tokio::io::Interest;
    use tokio::net::UdpSocket;

    use super::MAX_SEGMENTS;
    use super::is_lost;
    use super::run_length;
    use super::send_one;
    use crate::hub::burst::Burst;

    pub(super) fn send(socket: &UdpSocket, segmenting: &AtomicBool, burst: &Burst, to: SocketAddr) -> u64 {
        let mut unsent = 0;
        let mut rest = burst.iter();
        loop {
            let count = run_length(rest.clone());
            let mut run = rest.clone().take(count);
            match count {
                0 => return unsent,
                1 => unsent += run.map(|packet| send_one(socket, packet, to)).sum::<u64>(),
                _ => {
                    let sent = send_run(socket, run.clone(), to);
                    if sent.as_ref().is_err_and(is_refusal) {
                        segmenting.store(false, Ordering::Relaxed);
                        unsent += run.map(|packet| send_one(socket, packet, to)).sum::<u64>();
                    } else if is_lost(&sent) {
                        unsent += run.by_ref().count() as u64;
                    }
                }
            }
            rest.nth(count - 1);
        }
    }

    /// One call for packets of equal size; the vector skips the interleaved prefixes between them.
    fn send_run<'a>(
        socket: &UdpSocket,
        packets: impl Iterator<Item = &'a [u8]>,
        to: SocketAddr,
    ) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); MAX_SEGMENTS];
        let mut count = 0;
        let mut size = 0;
        for (slice, packet) in slices.iter_mut().zip(packets) {
            size = size.max(packet.len() as u16); // run_length keeps the sum below 65,000
            *slice = IoSlice::new(packet);
            count += 1;
        }
        let to = SockaddrStorage::from(to);
        let control = [ControlMessage::UdpGsoSegments(&size)];
        socket.try_io(Interest::WRITABLE, || {
            sendmsg(
                socket.as_raw_fd(),
                &slices[..count],
                &control,
                MsgFlags::MSG_DONTWAIT,
                Some(&to),
            )
            .map(|_| ())
            .map_err(io::Error::from)
        })
    }

    /// The kernel, the driver or a tunnel on the way cannot cut datagrams.
    fn is_refusal(e: &io::Error) -> bool {
        let refusals = [
            Errno::EIO,
            Errno::EINVAL,
            Errno::EOPNOTSUPP,
            Errno::ENOPROTOOPT,
            Errno::EMSGSIZE,
        ];
        refusals
            .iter()
            .any(|errno| e.raw_os_error() == Some(*errno as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
