//! How a reader gets its packets: which channel or address each track goes to.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::egress::rtsp::play::TrackWay;
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
    },
    /// Addresses: RTP, RTCP.
    Udp {
        sockets: Arc<UdpPair>,
        ports: Box<[Option<(SocketAddr, SocketAddr)>]>,
    },
    /// The reader has left: nothing of it is kept, above all not its socket.
    Gone,
}

impl Way {
    pub(super) fn tcp(out: Arc<TcpOut>, tracks: &[Option<TrackWay>]) -> Self {
        let channel = |way: &Option<TrackWay>| match *way {
            Some(TrackWay::Tcp(rtp, rtcp)) => Some((rtp, rtcp)),
            _ => None,
        };
        Self::Tcp {
            out,
            channels: tracks.iter().map(channel).collect(),
        }
    }
    pub(super) fn udp(sockets: Arc<UdpPair>, tracks: &[Option<TrackWay>]) -> Self {
        let ports = |way: &Option<TrackWay>| match *way {
            Some(TrackWay::Udp(rtp, rtcp)) => Some((rtp, rtcp)),
            _ => None,
        };
        Self::Udp {
            sockets,
            ports: tracks.iter().map(ports).collect(),
        }
    }
    /// Adds a track; false if it is to go by another transport than the others.
    pub(super) fn set(&mut self, track: TrackId, way: TrackWay) -> bool {
        let n = usize::from(track.0);
        match (self, way) {
            (Self::Tcp { channels, .. }, TrackWay::Tcp(rtp, rtcp)) => {
                let slot = channels.get_mut(n);
                slot.map(|c| *c = Some((rtp, rtcp))).is_some()
            }
            (Self::Udp { ports, .. }, TrackWay::Udp(rtp, rtcp)) => {
                let slot = ports.get_mut(n);
                slot.map(|p| *p = Some((rtp, rtcp))).is_some()
            }
            _ => false,
        }
    }
    /// Stops a track.
    pub(super) fn clear(&mut self, track: TrackId) {
        let n = usize::from(track.0);
        match self {
            Self::Tcp { channels, .. } => channels.get_mut(n).into_iter().for_each(|c| *c = None),
            Self::Udp { ports, .. } => ports.get_mut(n).into_iter().for_each(|p| *p = None),
            Self::Gone => {}
        }
    }
    /// Whether the reader asked for a track.
    pub(super) fn takes(&self, track: TrackId) -> bool {
        let n = usize::from(track.0);
        match self {
            Self::Tcp { channels, .. } => matches!(channels.get(n), Some(Some(_))),
            Self::Udp { ports, .. } => matches!(ports.get(n), Some(Some(_))),
            Self::Gone => false,
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
    let length = u16::try_from(packet.len()).ok()?;
    let mut framed = vec![b'$', channel];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(packet);
    Some(framed.into())
}

/// Sends what is left of a burst from packet `first` on; `None` if the reader did not ask for the track.
pub(super) fn send_datagrams(
    sockets: &UdpPair,
    ports: &[Option<(SocketAddr, SocketAddr)>],
    burst: &Burst,
    first: usize,
    budget: usize,
) -> Option<Sent> {
    let (rtp, rtcp) = (*ports.get(usize::from(burst.track.0))?)?;
    if burst.kind != BurstKind::Report {
        return Some(sockets.send_rtp(burst, first, budget, rtp));
    }
    burst.iter().for_each(|packet| sockets.send_rtcp(packet, rtcp));
    Some(Sent {
        next: burst.packets(),
        bytes: 0,
        unsent: 0,
        full: false,
    })
}
