//! The RTSP server: readers and publishers over TCP and UDP.
//!
//! What RTSP means is in `proto::rtsp`; here are the sockets. One task per connection (`conn`), one set of
//! fan-out shards per stream that has readers (`fanout`), one pair of UDP sockets per listener (`udp`).

mod announce;
mod conn;
mod delivery;
mod describe;
mod fanout;
mod few;
mod front;
mod guests;
mod keeper;
mod link;
pub mod multicast;
mod play;
mod publishers;
mod recall;
mod record;
mod refusals;
mod reorder;
mod reports;
mod routes;
mod seat;
mod segments;
mod setup;
mod talk;
mod tcp;
mod tunnel;
mod udp;
mod way;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::analytics::Recorder;
use crate::base::clock::SharedClock;
use crate::base::live::Live;
use crate::base::peer::PeerAddr;
use crate::base::proxies::Proxies;
use crate::base::seats::Seats;
use crate::base::seats::Taken;
use crate::base::tasks::Tasks;
use crate::base::why::why_not_bound;
use crate::egress::sealed::SealedStreams;
use crate::egress::ts::Renditions;
use crate::hub::Hub;
use crate::privacy::Door;
use crate::proto::rtsp;
use crate::proto::rtsp::auth::Users;
use crate::proto::rtsp::server::ConnError;
use crate::proto::rtsp::server::Refusal;
use crate::telemetry::Limit;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

pub use crate::egress::rtsp::recall::Recall;
use fanout::Fanouts;
use front::Arrival;
use guests::Guests;
use keeper::Keeper;
use multicast::Groups;
use publishers::Publishers;
use refusals::Refusals;
use seat::Seat;
use talk::Floors;
use tunnel::Tunnels;
use udp::UdpPair;

/// Settings of the RTSP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A session (or a connection without one) that is silent for this long ends.
    pub idle: Duration,
    /// A reader whose socket takes nothing for this long is closed.
    pub stuck: Duration,
    /// How long DESCRIBE and PLAY wait for a stream to begin.
    pub patience: Duration,
    /// Whether strangers may publish to paths that have no configured source.
    pub publish: bool,
    /// Whether a second publisher takes the path over instead of being refused.
    pub takeover: bool,
    /// Groups that streams are sent to when readers ask for it.
    pub multicast: Option<multicast::Options>,
    /// How long readers of a publisher that has left wait for the next; zero: they end with it.
    pub keep_readers: Duration,
    pub limits: Limits,
    /// Whose PROXY headers are believed, on listeners that expect them.
    pub proxies: Proxies,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(65),
            stuck: Duration::from_secs(10),
            patience: Duration::from_secs(5),
            publish: true,
            takeover: false,
            multicast: None,
            keep_readers: Duration::ZERO,
            limits: Limits::default(),
            proxies: Proxies::default(),
        }
    }
}

impl Options {
    /// A publisher that sends no media for so long is ended, whatever else it says: half as long again as a session may say
    /// nothing at all, so that who says nothing ends by that. Who pauses has as long (RFC 2326 section 10.6).
    fn silence(&self) -> Duration {
        self.idle + self.idle / 2
    }
}

/// How much there may be of what peers bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more are closed at once.
    pub connections: usize,
    /// Connections of one host at a time; 0: no limit.
    pub connections_per_host: usize,
    /// Sessions of all connections.
    pub sessions: usize,
    /// Sessions that outlive their connection.
    pub kept: usize,
    /// And of one host: more than a household loses at once, too few to be worth a stranger's trouble.
    pub kept_per_host: usize,
    /// RTSP in HTTP: tunnels of a listener, those that wait for their POST among them.
    pub tunnels: usize,
    /// What one connection may ask for.
    pub of_connection: Arc<rtsp::Limits>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_host: 0,
            sessions: 20_000,
            kept: 4096,
            kept_per_host: 64,
            tunnels: 4096,
            of_connection: Arc::default(),
        }
    }
}

/// The same limit in the words of `/metrics`.
fn counted(limit: rtsp::Limit) -> Limit {
    match limit {
        rtsp::Limit::RequestSize => Limit::RequestSize,
        rtsp::Limit::RequestHeaders => Limit::RequestHeaders,
        rtsp::Limit::AnnounceSize => Limit::AnnounceSize,
        rtsp::Limit::Tracks => Limit::Tracks,
        rtsp::Limit::SessionsPerConnection => Limit::SessionsPerConnection,
    }
}

/// What the server works with.
#[derive(Clone)]
pub struct Context {
    pub hub: Arc<Hub>,
    pub door: Arc<Door>,
    pub recorder: Recorder,
    pub metrics: Arc<Metrics>,
    pub clock: SharedClock,
    /// As they are now: SIGHUP may change them.
    pub options: Live<Options>,
    /// Told when users or rules have changed: connections look whether they may go on.
    pub recall: Recall,
}

/// One bound listener: RTSP on TCP with its pair of UDP ports.
pub struct Listener {
    tcp: TcpListener,
    udp: Option<Arc<UdpPair>>,
    users: Option<Arc<Users>>,
    /// RTSPS: all that comes here is TLS.
    tls: Option<TlsAcceptor>,
    tunnels: Arc<Tunnels>,
    /// Trusted proxies begin with a PROXY header.
    proxied: bool,
}

impl Listener {
    /// Binds the sockets; nothing is served yet. `udp_ports`: `None` for no UDP, `(0, 0)` for any pair.
    ///
    /// # Errors
    /// When an address is taken or not ours; the error's text says which of TCP and UDP it was.
    pub async fn bind(
        at: SocketAddr,
        udp_ports: Option<(u16, u16)>,
        users: Option<Arc<Users>>,
    ) -> Result<Self, BindError> {
        let tcp = TcpListener::bind(at).await.map_err(|e| BindError::Tcp(at, e))?;
        let udp = udp_ports.map(|ports| UdpPair::bind(at.ip(), ports).map_err(|e| BindError::Udp(ports, e)));
        Ok(Self {
            tcp,
            udp: udp.transpose()?.map(Arc::new),
            users,
            tls: None,
            tunnels: Tunnels::new(),
            proxied: false,
        })
    }
    /// Makes it a listener for RTSPS.
    #[must_use]
    pub fn encrypted(mut self, tls: TlsAcceptor) -> Self {
        self.tls = Some(tls);
        self
    }
    /// Makes it a listener to which trusted proxies begin with a PROXY header.
    #[must_use]
    pub fn proxied(mut self, proxied: bool) -> Self {
        self.proxied = proxied;
        self
    }
    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
    /// The address of its RTP socket.
    pub fn udp_addr(&self) -> Option<SocketAddr> {
        self.udp.as_ref()?.local_addr().ok()
    }
}

/// Why the server cannot listen. The addresses are the operator's own.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen for RTSP on {0} ({why}); choose another in [rtsp] or [rtsps] listen", why = why_not_bound(.1))]
    Tcp(SocketAddr, #[source] io::Error),
    #[error("cannot use UDP ports {} and {} ({}); choose another pair in [rtsp] udp_ports", .0.0, .0.1, why_not_bound(.1))]
    Udp((u16, u16), #[source] io::Error),
}

/// What all connections share.
struct Server {
    context: Context,
    fanouts: Arc<Fanouts>,
    keeper: Arc<Keeper>,
    publishers: Arc<Publishers>,
    floors: Arc<Floors>,
    groups: Option<Arc<Groups>>,
    renditions: Arc<Renditions>,
    sealed: Arc<SealedStreams>,
    connections: Arc<Seats>,
    sessions: Arc<Seats>,
    refusals: Refusals,
    guests: Arc<Guests>,
    tasks: Tasks,
}

/// Serves all listeners until `tasks` stop.
pub fn start(tasks: &Tasks, listeners: Vec<Listener>, context: Context) {
    let fanouts = Fanouts::new(tasks.child(), context.clock.clone(), Arc::clone(&context.metrics));
    let renditions = Renditions::new(Arc::clone(&context.hub), tasks.child(), context.clock.clone());
    let sealed = SealedStreams::new(Arc::clone(&context.hub), tasks.child(), context.clock.clone());
    let (clock, metrics) = (context.clock.clone(), Arc::clone(&context.metrics));
    let keeper = Keeper::new(context.options.clone(), clock, metrics);
    let keeping = Arc::clone(&keeper);
    tasks.spawn("rtsp-kept", move |stop| async move { keeping.run(stop).await });
    let (hub, clock) = (Arc::clone(&context.hub), context.clock.clone());
    let publishers = Publishers::new(context.options.clone(), Arc::clone(&hub), clock.clone());
    let speaking = Options {
        takeover: true,
        keep_readers: talk::PATIENCE,
        ..Options::default()
    };
    let speakers = Publishers::new(Live::new(speaking), Arc::clone(&hub), clock.clone());
    for ending in [Arc::clone(&publishers), Arc::clone(&speakers)] {
        tasks.spawn(
            "rtsp-publishers",
            move |stop| async move { ending.run(stop).await },
        );
    }
    let floors = Floors::new(hub, speakers, clock, Arc::clone(&context.metrics));
    // One sender for the readers of all listeners.
    let udp = listeners.iter().find_map(|l| l.udp.as_ref());
    let groups = context.options.get().multicast.zip(udp);
    let groups = groups.map(|(options, udp)| {
        let (udp, hub) = (Arc::clone(udp), Arc::clone(&context.hub));
        Arc::new(Groups::new(options, udp, hub, tasks.child()))
    });
    let server = Arc::new(Server {
        context,
        fanouts,
        keeper,
        publishers,
        floors,
        groups,
        renditions,
        sealed,
        connections: Arc::default(),
        sessions: Arc::default(),
        refusals: Refusals::default(),
        guests: Arc::default(),
        tasks: tasks.child(),
    });
    let recall = server.context.recall.clone();
    tasks.spawn("rtsp recall", move |stop| async move {
        stop.cancelled().await;
        recall.call();
    });
    for listener in listeners {
        if let Some(udp) = &listener.udp {
            udp.start(tasks, &server.context.clock, &server.context.metrics);
        }
        let server = Arc::clone(&server);
        tasks.spawn(
            "rtsp",
            move |stop| async move { server.accept(listener, stop).await },
        );
    }
}

impl Server {
    /// Counts what made a connection end.
    fn count(&self, error: &ConnError) {
        match error.limit() {
            Some(limit) => self.context.metrics.limit(counted(limit)),
            None => self.context.metrics.lose(Reason::BadInput, 1),
        }
    }
    /// A place for one more session.
    fn session(&self) -> Result<Taken, Refusal> {
        let most = self.context.options.get().limits.sessions;
        self.sessions.take(most).ok_or_else(|| {
            self.context.metrics.limit(Limit::Sessions);
            Refusal::Limit
        })
    }
    async fn accept(self: Arc<Self>, listener: Listener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.tcp.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((socket, from)) = accepted else {
                // Out of descriptors, most likely: those who are here go on, the next one waits a little.
                self.context.metrics.limit(Limit::Descriptors);
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let options = self.context.options.get();
            let Some(place) = self.connections.take(options.limits.connections) else {
                self.context.metrics.limit(Limit::RtspConnections);
                continue;
            };
            tcp_options(&socket);
            let peer = PeerAddr::new(from);
            let proxied = listener.proxied && options.proxies.trusts(&peer);
            // A proxy has many connections; each is counted for whom it is.
            let most = if proxied {
                0
            } else {
                options.limits.connections_per_host
            };
            let Some(guest) = self.guests.admit(&peer, most) else {
                self.context.metrics.limit(Limit::RtspConnectionsPerHost);
                continue;
            };
            let arrival = Arrival {
                socket,
                peer,
                seat: Seat::new(place, Arc::clone(&self.context.metrics)).of(guest),
                tls: listener.tls.clone(),
                tunnels: Arc::clone(&listener.tunnels),
            };
            let (server, udp, users) = (Arc::clone(&self), listener.udp.clone(), listener.users.clone());
            let groups = self.groups.clone();
            // Boxed: soon over, and its size would be every connection's.
            let begun = Box::pin(async move {
                let arrival = match proxied {
                    true => arrival.behind_proxy(&server).await?,
                    false => arrival,
                };
                let begun = arrival.begin(&server).await?;
                conn::open(&server, begun, udp, groups, users)
            });
            self.tasks.spawn_unnamed(move |stop| async move {
                let begun = tokio::select! {
                    begun = begun => begun,
                    () = stop.cancelled() => return,
                };
                let Some((mut conn, _seat)) = begun else {
                    return;
                };
                let _nobody_left_to_tell = conn.run(&stop).await;
                if !stop.is_cancelled() {
                    conn.give_up();
                }
            });
        }
    }
}

/// What a reader has not taken of a stream, and the kernel has not sent: more is kept by nobody, since it would
/// only be old when it is sent.
const UNSENT: u32 = 128 << 10;

/// A burst leaves at once; what a reader does not take shows up here and not in kernel buffers.
fn tcp_options(socket: &tokio::net::TcpStream) {
    let _ = socket.set_nodelay(true);
    let socket = socket2::SockRef::from(socket);
    let _ = socket.set_send_buffer_size(512 << 10);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(Duration::from_secs(15)));
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
}

#[cfg(test)]
mod tests;
