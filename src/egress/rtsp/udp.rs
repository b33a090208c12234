//! The shared pair of UDP sockets: RTP on an even port, RTCP on the next, for all readers and publishers of
//! a listener.
//!
//! Datagrams find their session by the address they come from, and nothing keeps that address longer than
//! the session lives. Datagrams of strangers are counted and dropped.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;
use std::time::Instant;

use socket2::Domain;
use socket2::Protocol;
use socket2::Socket;
use socket2::Type;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::base::clock::SharedClock;
use crate::base::clock::sleep_until;
use crate::base::tasks::Tasks;
use crate::egress::rtsp::record::Recording;
use crate::egress::rtsp::routes::Route;
use crate::egress::rtsp::routes::Routes;
use crate::egress::rtsp::segments;
use crate::egress::rtsp::segments::Segmenting;
use crate::egress::rtsp::segments::Sent;
use crate::hub::burst::Burst;
use crate::media::TrackId;
use crate::proto::rtp;
use crate::proto::rtp::rtcp;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// Asked of the kernel: a keyframe at once from many publishers must fit.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Asked of the kernel: a keyframe at once to many readers must fit.
const SEND_BUFFER: usize = 4 << 20;
/// Attempts to find a free even port with a free odd one behind it.
const PORT_TRIES: u32 = 200;
/// Datagrams taken in one go before what they brought is published.
const BATCH: usize = 64;

/// Two sockets and who uses them.
pub(super) struct UdpPair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    rtp_routes: Routes,
    rtcp_routes: Routes,
    ports: (u16, u16),
    segmenting: Segmenting,
}

impl UdpPair {
    /// Binds both sockets; `(0, 0)` lets the system choose an even port and the odd one behind it.
    ///
    /// # Errors
    /// When the ports are taken.
    pub(super) fn bind(ip: IpAddr, ports: (u16, u16)) -> io::Result<Self> {
        let (rtp, rtcp) = if ports.0 == 0 {
            bind_any_pair(ip)?
        } else {
            (
                bind_one(SocketAddr::new(ip, ports.0))?,
                bind_one(SocketAddr::new(ip, ports.1))?,
            )
        };
        let ports = (rtp.local_addr()?.port(), rtcp.local_addr()?.port());
        Ok(Self {
            rtp,
            rtcp,
            rtp_routes: Routes::new(false),
            rtcp_routes: Routes::new(true),
            ports,
            segmenting: Segmenting::default(),
        })
    }
    /// Our RTP and RTCP ports.
    pub(super) fn ports(&self) -> (u16, u16) {
        self.ports
    }
    /// Groups are sent to through the interface that we are bound to, or else the system's choice.
    pub(super) fn set_multicast(&self, ttl: u8) {
        for socket in [&self.rtp, &self.rtcp] {
            let at = socket.local_addr().map(|a| a.ip());
            let socket = socket2::SockRef::from(socket);
            let _ = socket.set_multicast_ttl_v4(ttl.into());
            let _ = socket.set_multicast_loop_v4(true);
            if let Ok(IpAddr::V4(at)) = at
                && !at.is_unspecified()
            {
                let _ = socket.set_multicast_if_v4(&at);
            }
        }
    }
    /// Our RTP address, to be told to the operator.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.rtp.local_addr()
    }
    /// Waits until the kernel has said for the first time that it takes datagrams.
    #[cfg(test)]
    pub(super) async fn has_room(&self) {
        self.rtp.writable().await.expect("the socket is bound");
    }
    /// Listens for a track's datagrams. False if another session has one of these ports.
    pub(super) fn open_route(&self, rtp: SocketAddr, rtcp: SocketAddr, route: &Route, now: Instant) -> bool {
        if self.rtcp_routes.knows(&rtcp) || !self.rtp_routes.open(rtp, route, now) {
            return false;
        }
        let opened = self.rtcp_routes.open(rtcp, route, now);
        if !opened {
            self.rtp_routes.close(&rtp);
        }
        opened
    }
    /// Listens at these addresses, RTP and RTCP, instead of those where a track was before, perhaps in part the same. False
    /// if another session has one of them: then all is as it was.
    pub(super) fn move_route(
        &self,
        routes: &mut Vec<(TrackId, SocketAddr, SocketAddr)>,
        (track, rtp, rtcp): (TrackId, SocketAddr, SocketAddr),
        route: &Route,
        now: Instant,
    ) -> bool {
        let of_it = |(known, ..): &mut (TrackId, _, _)| *known == track;
        let mut before: Vec<_> = routes.extract_if(.., of_it).collect();
        for (_, rtp, rtcp) in &before {
            self.close_route(rtp, rtcp);
        }
        let moved = self.open_route(rtp, rtcp, route, now);
        if moved {
            routes.push((track, rtp, rtcp));
        } else {
            before.retain(|(_, rtp, rtcp)| self.open_route(*rtp, *rtcp, route, now));
            routes.extend(before);
        }
        moved
    }
    /// Forgets a track's addresses.
    pub(super) fn close_route(&self, rtp: &SocketAddr, rtcp: &SocketAddr) {
        self.rtp_routes.close(rtp);
        self.rtcp_routes.close(rtcp);
    }
    /// Sends a burst of RTP to one reader, from packet `first` on, with as few system calls as the kernel
    /// allows, until `budget` bytes have left.
    pub(super) fn send_rtp(&self, burst: &Burst, first: usize, budget: usize, to: SocketAddr) -> Sent {
        segments::send(&self.rtp, &self.segmenting, burst, first, budget, to)
    }
    /// Sends one RTCP packet to one reader. It is not sent again if the kernel has no room: the next one says more.
    pub(super) fn send_rtcp(&self, packet: &[u8], to: SocketAddr) {
        let _ = segments::send_one(&self.rtcp, packet, to);
    }
    /// Sends a publisher an empty RTP packet and an empty report, which open its firewall for ours and ours for
    /// its packets.
    pub(super) fn punch(&self, rtp: SocketAddr, rtcp: SocketAddr) {
        let mut empty = [0; rtp::HEADER_LEN];
        empty[0] = 0x80; // version 2
        let _ = self.rtp.try_send_to(&empty, rtp);
        self.send_rtcp(&rtcp::empty_receiver_report(0), rtcp);
    }
    /// Sends one RTCP packet to where a publisher's RTCP comes from: a NAT may have made that another address.
    pub(super) fn report_to(&self, packet: &[u8], announced: SocketAddr) {
        self.send_rtcp(packet, self.rtcp_routes.now_at(announced));
    }
    /// Starts listening.
    pub(super) fn start(self: &Arc<Self>, tasks: &Tasks, clock: &SharedClock, metrics: &Arc<Metrics>) {
        for rtcp in [false, true] {
            let (pair, clock, metrics) = (Arc::clone(self), clock.clone(), Arc::clone(metrics));
            tasks.spawn("rtp-in", move |stop| async move {
                pair.listen(rtcp, &clock, &metrics, stop).await
            });
        }
    }

    async fn listen(&self, is_rtcp: bool, clock: &SharedClock, metrics: &Metrics, stop: CancellationToken) {
        let (socket, routes) = if is_rtcp {
            (&self.rtcp, &self.rtcp_routes)
        } else {
            (&self.rtp, &self.rtp_routes)
        };
        let mut buffer = vec![0; 65_536];
        let mut held = Held::default();
        loop {
            tokio::select! {
                ready = socket.readable() => if ready.is_err() { return },
                () = sleep_until(held.next()) => held.give(clock.now()),
                () = stop.cancelled() => return,
            }
            let mut written: Vec<Arc<Mutex<Recording>>> = Vec::new();
            for _ in 0..BATCH {
                // Errors other than "nothing there" tell of a reader that has gone (ICMP): its session ends
                // by its own rules.
                let Ok((length, from)) = socket.try_recv_from(&mut buffer) else {
                    break;
                };
                let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                let now = clock.now();
                let datagram = &buffer[..length];
                let (recording, track) = match routes.find(from, datagram, now) {
                    Some(Route::Publisher(recording, track)) => (recording, track),
                    Some(Route::Talker(talk, track)) => {
                        let takes = {
                            let mut talk = talk.lock().expect(NOT_POISONED);
                            talk.takes(track, is_rtcp, datagram, now)
                        };
                        let Some(recording) = takes else { continue };
                        (recording, TrackId(0))
                    }
                    Some(Route::Reader(heard, _)) => {
                        heard.now(now);
                        if is_rtcp && !heard.rtcp(datagram, now) {
                            metrics.lose(Reason::BadInput, 1);
                        }
                        continue;
                    }
                    None => {
                        metrics.lose(Reason::BadInput, 1);
                        continue;
                    }
                };
                recording
                    .lock()
                    .expect(NOT_POISONED)
                    .datagram(track, is_rtcp, datagram);
                if !written.iter().any(|r| Arc::ptr_eq(r, &recording)) {
                    written.push(recording);
                }
            }
            for recording in written {
                let until = {
                    let mut recording = recording.lock().expect(NOT_POISONED);
                    recording.flush();
                    recording.held_until()
                };
                held.note(&recording, until);
            }
        }
    }
}

/// Publishers of whose datagrams some wait for others that may never come, and until when.
#[derive(Default)]
struct Held(Vec<(Instant, Weak<Mutex<Recording>>)>);

impl Held {
    /// When somebody has waited long enough.
    fn next(&self) -> Option<Instant> {
        self.0.iter().map(|(until, _)| *until).min()
    }
    fn note(&mut self, recording: &Arc<Mutex<Recording>>, until: Option<Instant>) {
        let own = Arc::downgrade(recording);
        self.0.retain(|(_, known)| !known.ptr_eq(&own));
        self.0.extend(until.map(|until| (until, own)));
    }
    /// Publishes what has waited long enough.
    fn give(&mut self, now: Instant) {
        let due: Vec<_> = self.0.extract_if(.., |(until, _)| *until <= now).collect();
        for recording in due.iter().filter_map(|(_, recording)| recording.upgrade()) {
            let until = {
                let mut recording = recording.lock().expect(NOT_POISONED);
                recording.give_old(now);
                recording.held_until()
            };
            self.note(&recording, until);
        }
    }
}

fn bind_any_pair(ip: IpAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let first = bind_one(SocketAddr::new(ip, 0))?;
        let port = first.local_addr()?.port();
        if port % 2 != 0 || port == u16::MAX {
            continue;
        }
        match bind_one(SocketAddr::new(ip, port + 1)) {
            Ok(second) => return Ok((first, second)),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn bind_one(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // The kernel gives what its limits allow; less is not an error.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    UdpSocket::from_std(socket.into())
}
