//! How a reader gets its packets: which channel or address each track goes to.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::SocketAddrV6;
use std::sync::Arc;

use bytes::Bytes;

use crate::egress::rtsp::play::TrackWay;
use crate::egress::rtsp::routes::Heard;
use crate::egress::rtsp::segments::Sent;
use crate::egress::rtsp::tcp::TcpOut;
use crate::egress::rtsp::udp::UdpPair;
use crate::hub::burst::Burst;
use crate::hub::burst::BurstKind;
use crate::media::TrackId;

/// A transport, and per track where it goes (`None`: the reader has not asked for the track).
pub(super) enum Way {
    /// Interleaved channels: RTP, RTCP.
    Tcp {
        out: Arc<TcpOut>,
        channels: Box<[Option<(u8, u8)>]>,
        plain: Tracks,
    },
    /// Addresses.
    Udp {
        sockets: Arc<UdpPair>,
        ports: Box<[Option<Ports>]>,
        /// Tells when an address turns out to be another.
        heard: Arc<Heard>,
        /// How many of them are in `ports` already.
        moves: u32,
    },
    /// The reader has left: nothing of it is kept, above all not its socket.
    Gone,
}

/// Where a track goes by UDP. Smaller than two socket addresses: every reader has some per track.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    ip: IpAddr,
    rtp: u16,
    rtcp: u16,
    /// Which of our networks a link-local IPv6 address is on.
    scope: u32,
}

impl Ports {
    pub(super) fn new(rtp: SocketAddr, rtcp: SocketAddr) -> Self {
        Self {
            ip: rtp.ip(),
            rtp: rtp.port(),
            rtcp: rtcp.port(),
            scope: match rtp {
                SocketAddr::V6(v6) => v6.scope_id(),
                SocketAddr::V4(_) => 0,
            },
        }
    }
    pub(super) fn rtp(self) -> SocketAddr {
        self.at(self.rtp)
    }
    pub(super) fn rtcp(self) -> SocketAddr {
        self.at(self.rtcp)
    }
    fn at(self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V4(_) => SocketAddr::new(self.ip, port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, self.scope).into(),
        }
    }
}

/// What a TCP reader takes, a bit per track: enough to decide about a burst without looking any further.
#[derive(Clone, Copy, Default)]
pub(super) struct Tracks {
    /// Asked for.
    pub(super) taken: u64,
    /// Asked for on the channels that bursts have as they are.
    pub(super) usual: u64,
}

impl Tracks {
    fn of(channels: &[Option<(u8, u8)>]) -> Self {
        let mut tracks = Self::default();
        for (n, channels) in (0..).zip(channels) {
            let Some((rtp, rtcp)) = *channels else { continue };
            tracks.taken |= bit(TrackId(n));
            if n < LAST_BIT && (rtp, rtcp) == (2 * n, 2 * n + 1) {
                tracks.usual |= bit(TrackId(n));
            }
        }
        tracks
    }
}

/// Tracks from here on share a bit, and never count as usual.
const LAST_BIT: u8 = 63;

/// The bit of a track.
pub(super) fn bit(track: TrackId) -> u64 {
    1 << track.0.min(LAST_BIT)
}

impl Way {
    pub(super) fn tcp(out: Arc<TcpOut>, tracks: &[Option<TrackWay>]) -> Self {
        let channel = |way: &Option<TrackWay>| match *way {
            Some(TrackWay::Tcp(rtp, rtcp)) => Some((rtp, rtcp)),
            _ => None,
        };
        let channels: Box<[_]> = tracks.iter().map(channel).collect();
        Self::Tcp {
            out,
            plain: Tracks::of(&channels),
            channels,
        }
    }
    pub(super) fn udp(sockets: Arc<UdpPair>, heard: Arc<Heard>, tracks: &[Option<TrackWay>]) -> Self {
        let ports = |way: &Option<TrackWay>| match *way {
            Some(TrackWay::Udp(ports)) => Some(ports),
            _ => None,
        };
        Self::Udp {
            sockets,
            ports: tracks.iter().map(ports).collect(),
            heard,
            moves: 0,
        }
    }
    /// What its reader says of loss. By TCP nothing can be lost on the way, whatever is reported.
    pub(super) fn lost_per_million(&self) -> Option<u64> {
        match self {
            Self::Udp { heard, .. } => heard.lost_per_million(),
            Self::Tcp { .. } | Self::Gone => None,
        }
    }
    /// Follows a reader whose packets come from other ports than it said. Costs a look at a number.
    pub(super) fn follow(&mut self) {
        let Self::Udp {
            ports, heard, moves, ..
        } = self
        else {
            return;
        };
        let now = heard.moves();
        if now == *moves {
            return;
        }
        *moves = now;
        for moved in heard.moved() {
            if let Some(Some(ports)) = ports.get_mut(usize::from(moved.track.0)) {
                *(if moved.rtcp {
                    &mut ports.rtcp
                } else {
                    &mut ports.rtp
                }) = moved.to.port();
            }
        }
    }
    /// Adds a track; false if it is to go by another transport than the others.
    pub(super) fn set(&mut self, track: TrackId, way: TrackWay) -> bool {
        let n = usize::from(track.0);
        match (&mut *self, way) {
            (Self::Tcp { channels, plain, .. }, TrackWay::Tcp(rtp, rtcp)) => {
                let Some(slot) = channels.get_mut(n) else {
                    return false;
                };
                *slot = Some((rtp, rtcp));
                *plain = Tracks::of(channels);
                true
            }
            (Self::Udp { ports, .. }, TrackWay::Udp(to)) => {
                let slot = ports.get_mut(n);
                slot.map(|p| *p = Some(to)).is_some()
            }
            _ => false,
        }
    }
    /// Stops a track.
    pub(super) fn clear(&mut self, track: TrackId) {
        let n = usize::from(track.0);
        match self {
            Self::Tcp { channels, plain, .. } => {
                channels.get_mut(n).into_iter().for_each(|c| *c = None);
                *plain = Tracks::of(channels);
            }
            Self::Udp { ports, .. } => ports.get_mut(n).into_iter().for_each(|p| *p = None),
            Self::Gone => {}
        }
    }
}

/// A burst as a reader with these channels gets it; `None` if it did not ask for the track.
pub(super) fn frame(channels: &[Option<(u8, u8)>], burst: &Burst) -> Option<Bytes> {
    let (rtp, rtcp) = (*channels.get(usize::from(burst.track.0))?)?;
    Some(match burst.is_on(rtp, rtcp) {
        true => burst.wire().clone(),
        false => burst.wire_on(rtp, rtcp),
    })
}

/// One RTCP packet of ours as such a reader gets it.
pub(super) fn control_frame(channels: &[Option<(u8, u8)>], track: TrackId, packet: &[u8]) -> Option<Bytes> {
    let (_, channel) = (*channels.get(usize::from(track.0))?)?;
    framed(channel, packet)
}

/// A packet between requests and answers; `None` if it is too long for that.
pub(super) fn framed(channel: u8, packet: &[u8]) -> Option<Bytes> {
    let length = u16::try_from(packet.len()).ok()?;
    let mut framed = vec![b'$', channel];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(packet);
    Some(framed.into())
}

/// Sends what is left of a burst from packet `first` on; `None` if the reader did not ask for the track.
pub(super) fn send_datagrams(
    sockets: &UdpPair,
    ports: &[Option<Ports>],
    burst: &Burst,
    first: usize,
    budget: usize,
) -> Option<Sent> {
    let to = (*ports.get(usize::from(burst.track.0))?)?;
    if burst.kind != BurstKind::Report {
        return Some(sockets.send_rtp(burst, first, budget, to.rtp()));
    }
    burst
        .iter()
        .for_each(|packet| sockets.send_rtcp(packet, to.rtcp()));
    Some(Sent {
        next: burst.packets(),
        bytes: 0,
        unsent: 0,
        full: false,
    })
}
