//! What a new connection is: RTSP, RTSP in TLS, in a WebSocket, half of an HTTP tunnel, or none of these.
//!
//! It is told by the first bytes, on one port. All that happens before RTSP begins has a deadline. Not here: RTSP
//! (`conn`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::base::peer::PeerAddr;
use crate::base::proxies;
use crate::egress::rtsp::Server;
use crate::egress::rtsp::link::Layer;
use crate::egress::rtsp::link::Link;
use crate::egress::rtsp::seat::Seat;
use crate::egress::rtsp::tunnel::Post;
use crate::egress::rtsp::tunnel::Tunnels;
use crate::egress::rtsp::websocket::WebSocket;
use crate::egress::rtsp::websocket::accept_key;
use crate::proto::rtsp::Limits;
use crate::proto::rtsp::http;
use crate::proto::rtsp::http::Cookie;
use crate::proto::rtsp::http::HttpError;
use crate::proto::rtsp::http::Speech;
use crate::proto::rtsp::http::Wish;
use crate::telemetry::Limit;
use crate::telemetry::Reason;

/// For a TLS handshake, and for an HTTP head once it has begun.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that has just been accepted.
pub(super) struct Arrival {
    pub(super) socket: TcpStream,
    pub(super) peer: PeerAddr,
    pub(super) seat: Seat,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) tunnels: Arc<Tunnels>,
}

/// A connection on which RTSP begins.
pub(super) struct Begun {
    pub(super) link: Link,
    /// Read already.
    pub(super) already: Vec<u8>,
    pub(super) peer: PeerAddr,
    pub(super) seat: Seat,
    /// What carries it.
    pub(super) carrier: Carrier,
}

/// What is between RTSP and TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Carrier {
    /// Nobody on the way reads it.
    pub(super) encrypted: bool,
    /// A tunnel or a WebSocket: who uses it wants all its media in it.
    pub(super) tunnelled: bool,
}

impl Arrival {
    /// For whom a trusted proxy says that it connects, and a place for that host. `None`: it said it badly, or the host
    /// has as many connections as it may.
    pub(super) async fn behind_proxy(mut self, server: &Server) -> Option<Self> {
        let context = &server.context;
        match proxies::announced(&mut self.socket).await {
            Ok(Some(peer)) => self.peer = peer,
            Ok(None) => {}
            Err(_) => {
                context.metrics.lose(Reason::BadInput, 1);
                return None;
            }
        }
        let most = context.options.get().limits.connections_per_host;
        let guest = server.guests.admit(&self.peer, most);
        if guest.is_none() {
            context.metrics.limit(Limit::RtspConnectionsPerHost);
        }
        self.seat = self.seat.of(guest?);
        Some(self)
    }

    /// Finds out what it is. `None`: there is nothing (more) to be done for it.
    pub(super) async fn begin(self, server: &Server) -> Option<Begun> {
        let encrypted = self.tls.is_some();
        let began = match self.tls.clone() {
            None => self.listen(server).await,
            Some(tls) => self.encrypted(&tls, server).await,
        };
        let mut begun = began.ok()??;
        begun.carrier.encrypted = encrypted;
        Some(begun)
    }

    async fn encrypted(self, tls: &TlsAcceptor, server: &Server) -> io::Result<Option<Begun>> {
        let handshake = tokio::time::timeout(PATIENCE, tls.accept(self.socket)).await;
        let Ok(Ok(stream)) = handshake else {
            server.context.metrics.lose(Reason::BadInput, 1);
            return Ok(None);
        };
        let rest = Rest {
            peer: self.peer,
            seat: self.seat,
            tunnels: self.tunnels,
        };
        rest.speak(stream, |s| Link::Layered(Box::new(s)), server).await
    }

    async fn listen(self, server: &Server) -> io::Result<Option<Begun>> {
        let rest = Rest {
            peer: self.peer,
            seat: self.seat,
            tunnels: self.tunnels,
        };
        rest.speak(self.socket, Link::Plain, server).await
    }
}

/// What an arrival is beside its stream.
struct Rest {
    peer: PeerAddr,
    seat: Seat,
    tunnels: Arc<Tunnels>,
}

impl Rest {
    /// Reads until it is clear what this is. `plain` makes a link for RTSP that comes without HTTP.
    async fn speak<S: Layer + 'static>(
        self,
        mut stream: S,
        plain: impl FnOnce(S) -> Link,
        server: &Server,
    ) -> io::Result<Option<Begun>> {
        let mut bytes = Vec::new();
        let first = listen_for(&mut stream, &mut bytes);
        // As patient as with a connection that has no session.
        let speech = tokio::time::timeout(server.context.options.get().idle, first).await;
        match speech.unwrap_or_else(|late| Err(late.into()))? {
            Speech::Http => {}
            _ => return Ok(Some(self.begun(plain(stream), bytes, false))),
        }
        let mut stream: Box<dyn Layer> = Box::new(stream);
        let limits = Arc::clone(&server.context.options.get().limits.of_connection);
        let head = tokio::time::timeout(PATIENCE, head(&mut stream, &mut bytes, &limits)).await;
        let wish = match head.unwrap_or_else(|late| Err(late.into()))? {
            Ok(wish) => wish,
            Err(HttpError::TooLong) => {
                server.context.metrics.limit(Limit::RequestSize);
                return refuse(&mut stream, 431).await;
            }
            Err(_) => {
                server.context.metrics.lose(Reason::BadInput, 1);
                return refuse(&mut stream, 400).await;
            }
        };
        match wish {
            Wish::Get(cookie) => self.get(cookie, stream, server).await,
            Wish::Post(cookie) => self.post(&cookie, stream, bytes).await,
            Wish::WebSocket { key, protocol } => {
                let answer = http::switching(&accept_key(&key), protocol);
                stream.write_all(&answer).await?;
                stream.flush().await?;
                let socket = WebSocket::new(stream, bytes).await;
                Ok(Some(self.begun(
                    Link::Layered(Box::new(socket)),
                    Vec::new(),
                    true,
                )))
            }
            Wish::Other => refuse(&mut stream, 404).await,
        }
    }

    async fn get(
        self,
        cookie: Cookie,
        mut stream: Box<dyn Layer>,
        server: &Server,
    ) -> io::Result<Option<Begun>> {
        let most = server.context.options.get().limits.tunnels;
        let Some(half) = self.tunnels.open(cookie, self.peer.again(), most) else {
            server.context.metrics.limit(Limit::Tunnels);
            return refuse(&mut stream, 503).await;
        };
        stream.write_all(http::TUNNEL_ANSWER).await?;
        stream.flush().await?;
        let tunnel = half.paired(stream).await;
        Ok(tunnel.map(|t| self.begun(Link::Layered(Box::new(t)), Vec::new(), true)))
    }

    /// It has no answer: its body goes on for as long as the tunnel does.
    async fn post(
        self,
        cookie: &Cookie,
        stream: Box<dyn Layer>,
        already: Vec<u8>,
    ) -> io::Result<Option<Begun>> {
        let post = Post {
            stream,
            already,
            seat: self.seat,
        };
        match self.tunnels.join(cookie, &self.peer, post).await {
            Ok(()) => Ok(None),
            Err(mut post) => refuse(&mut post.stream, 408).await,
        }
    }

    fn begun(self, link: Link, already: Vec<u8>, tunnelled: bool) -> Begun {
        Begun {
            link,
            already,
            peer: self.peer,
            seat: self.seat,
            carrier: Carrier {
                encrypted: false,
                tunnelled,
            },
        }
    }
}

/// Reads until HTTP is told from RTSP.
async fn listen_for(stream: &mut (impl Layer + ?Sized), bytes: &mut Vec<u8>) -> io::Result<Speech> {
    loop {
        // Most of what is read first is a request of some hundred bytes.
        bytes.reserve_exact(1024);
        let closed = stream.read_buf(bytes).await? == 0;
        match http::speech(bytes) {
            Speech::Unclear if closed => return Err(io::ErrorKind::UnexpectedEof.into()),
            Speech::Unclear => {}
            clear => return Ok(clear),
        }
    }
}

/// Reads a whole head, which may be no HTTP; what was read behind it stays in `bytes`.
async fn head(
    stream: &mut Box<dyn Layer>,
    bytes: &mut Vec<u8>,
    limits: &Limits,
) -> io::Result<Result<Wish, HttpError>> {
    loop {
        match http::head(bytes, limits) {
            Ok(Some((wish, length))) => {
                bytes.drain(..length);
                return Ok(Ok(wish));
            }
            Ok(None) => {}
            Err(e) => return Ok(Err(e)),
        }
        if stream.read_buf(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Says no and closes.
async fn refuse(stream: &mut Box<dyn Layer>, status: u16) -> io::Result<Option<Begun>> {
    stream.write_all(&http::refusal(status)).await?;
    stream.shutdown().await?;
    Ok(None)
}
