//! A viewer's address as a thing that answers questions instead of giving itself away.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::net::SocketAddrV6;

use zeroize::Zeroize;

use crate::base::raw::Raw;

/// The far end of a connection.
///
/// No `Debug`, no `Display`, no `Eq`, no `Serialize`: an address cannot slip into a log, an error or an
/// answer. `Copy` is not there either; whoever needs it twice says so with [`PeerAddr::again`]. Wiped when it goes.
///
/// ```compile_fail,E0277
/// let peer = louver::base::peer::PeerAddr::new("192.0.2.1:5000".parse().unwrap());
/// println!("{peer:?}"); // no Debug
/// ```
/// ```compile_fail,E0277
/// let peer = louver::base::peer::PeerAddr::new("192.0.2.1:5000".parse().unwrap());
/// serde_json::to_string(&peer); // no Serialize
/// ```
/// ```compile_fail,E0599
/// let peer = louver::base::peer::PeerAddr::new("192.0.2.1:5000".parse().unwrap());
/// peer.clone(); // no Clone
/// ```
/// ```compile_fail,E0616
/// let peer = louver::base::peer::PeerAddr::new("192.0.2.1:5000".parse().unwrap());
/// let address = peer.0; // a private field
/// ```
pub struct PeerAddr(Raw<Address>);

/// A socket address that can be wiped.
struct Address(SocketAddr);

impl PeerAddr {
    /// Takes an address out of a socket.
    pub fn new(addr: SocketAddr) -> Self {
        let ip = addr.ip().to_canonical();
        Self(Raw::new(Address(match (ip, addr) {
            // The zone says on which of our interfaces a link-local host is: packets need it.
            (IpAddr::V6(ip), SocketAddr::V6(v6)) => {
                SocketAddr::V6(SocketAddrV6::new(ip, v6.port(), v6.flowinfo(), v6.scope_id()))
            }
            _ => SocketAddr::new(ip, addr.port()),
        })))
    }
    /// A second copy, for a second transport of the same peer.
    pub fn again(&self) -> Self {
        Self(Raw::new(Address(self.addr())))
    }
    /// The same host at another port (an RTSP client's RTP port).
    pub fn with_port(&self, port: u16) -> Self {
        let mut addr = self.addr();
        addr.set_port(port);
        Self(Raw::new(Address(addr)))
    }
    /// Whether a datagram's sender is this very peer.
    pub fn is(&self, other: &SocketAddr) -> bool {
        self.addr().port() == other.port() && self.same_host(other)
    }
    /// Whether a datagram comes from this peer's host.
    pub fn same_host(&self, other: &SocketAddr) -> bool {
        self.addr().ip() == other.ip().to_canonical()
    }
    /// Whether this is the same host as another peer.
    pub fn same_host_as(&self, other: &Self) -> bool {
        self.addr().ip() == other.addr().ip()
    }
    /// The only way to the socket address. `tests/architecture.rs` lists the files that may call it.
    pub fn expose_to_send(&self) -> SocketAddr {
        self.addr()
    }
    /// The only way to the host address, for the privacy door alone.
    pub fn expose_to_admit(&self) -> IpAddr {
        self.addr().ip()
    }

    fn addr(&self) -> SocketAddr {
        self.0.expose_raw().0
    }
}

impl Zeroize for Address {
    fn zeroize(&mut self) {
        match &mut self.0 {
            SocketAddr::V4(v4) => wipe(v4, SocketAddrV4::new(0.into(), 0)),
            SocketAddr::V6(v6) => wipe(v6, SocketAddrV6::new(0.into(), 0, 0, 0)),
        }
    }
}

/// Overwrites in a way that the compiler must take for used.
fn wipe<T>(place: &mut T, zero: T) {
    *place = zero;
    std::hint::black_box(place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_the_ipv4_host_and_a_zone_stays_with_the_address() {
        let mapped = PeerAddr::new("[::ffff:192.0.2.1]:5".parse().unwrap());
        assert_eq!(mapped.expose_to_send(), "192.0.2.1:5".parse().unwrap());
        assert!(mapped.same_host(&"192.0.2.1:9".parse().unwrap()));
        let zoned = PeerAddr::new("[fe80::1%3]:5".parse().unwrap());
        assert_eq!(
            zoned.with_port(6).expose_to_send(),
            "[fe80::1%3]:6".parse().unwrap()
        );
    }

    #[test]
    fn wiping_leaves_zeros_of_the_same_family() {
        for (addr, zero) in [("192.0.2.1:5", "0.0.0.0:0"), ("[2001:db8::1%3]:5", "[::]:0")] {
            let mut address = Address(addr.parse().unwrap());
            address.zeroize();
            assert_eq!(address.0, zero.parse().unwrap());
        }
    }
}
