//! A viewer's address as a thing that answers questions instead of giving itself away.

use std::net::IpAddr;
use std::net::SocketAddr;

/// The far end of a connection.
///
/// No `Debug`, no `Display`, no `Eq`, no `Serialize`: an address cannot slip into a log, an error or an
/// answer. `Copy` is not there either; whoever needs it twice says so with [`PeerAddr::again`].
///
/// ```compile_fail
/// let peer = louver::base::peer::PeerAddr::new("192.0.2.1:5000".parse().unwrap());
/// println!("{peer:?}"); // no Debug
/// ```
pub struct PeerAddr(SocketAddr);

impl PeerAddr {
    /// Takes an address out of a socket.
    pub fn new(addr: SocketAddr) -> Self {
        Self(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }
    /// A second copy, for a second transport of the same peer.
    pub fn again(&self) -> Self {
        Self(self.0)
    }
    /// The same host at another port (an RTSP client's RTP port).
    pub fn with_port(&self, port: u16) -> Self {
        Self(SocketAddr::new(self.0.ip(), port))
    }
    /// Whether a datagram's sender is this very peer.
    pub fn is(&self, other: &SocketAddr) -> bool {
        self.0.port() == other.port() && self.same_host(other)
    }
    /// Whether a datagram comes from this peer's host.
    pub fn same_host(&self, other: &SocketAddr) -> bool {
        self.0.ip() == other.ip().to_canonical()
    }
    /// Whether this is the same host as another peer.
    pub fn same_host_as(&self, other: &Self) -> bool {
        self.0.ip() == other.0.ip()
    }
    /// The only way to the socket address. `tests/architecture.rs` lists the files that may call it.
    pub fn expose_to_send(&self) -> SocketAddr {
        self.0
    }
    /// The only way to the host address, for the privacy door alone.
    pub fn expose_to_admit(&self) -> IpAddr {
        self.0.ip()
    }
}
