//! The web server: the page, pictures, the API.
//!
//! hyper speaks HTTP/1.1; the accept loop is ours, for the limits. No cookie is ever set. No URL, agent or
//! address is logged, counted by name or echoed: a viewer's address goes into the privacy door
//! (`web::site`) and nowhere else. TLS is not here.

pub mod api;
mod auth;
mod conn;
mod desk;
mod host;
mod mjpeg;
mod paper;
mod problem;
mod reply;
mod report;
mod rights;
mod route;
mod site;
mod snapshot;

use std::convert::Infallible;
use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::analytics::Recorder;
use crate::analytics::Store;
use crate::audit::Audit;
use crate::base::clock::SharedClock;
use crate::base::live::Live;
use crate::base::peer::PeerAddr;
use crate::base::proxies;
use crate::base::proxies::Proxies;
use crate::base::seats::Seats;
use crate::base::seats::Taken;
use crate::base::tasks::Tasks;
use crate::hub::Hub;
use crate::papers;
use crate::privacy::Door;
use crate::proto::rtsp::auth::Users;
use crate::rights::Rights;
use crate::telemetry::Limit;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

use conn::Deadline;
use site::Site;

/// Settings of the web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// TCP connections of a listener at one time; more are refused.
    pub max_connections: usize,
    /// Bytes of a request line with its headers; more are refused with 431.
    pub max_head: usize,
    /// Headers of a request; more are refused with 431.
    pub max_headers: usize,
    /// How long the head of a request may take, and how long a connection may be idle between requests.
    pub head_timeout: Duration,
    /// How long a peer may take nothing of an answer.
    pub write_timeout: Duration,
    /// How long somebody with wrong credentials waits for the 401.
    pub penalty: Duration,
    /// How long a snapshot waits for its picture.
    pub picture_timeout: Duration,
    /// Who is believed when it says on whose behalf it comes.
    pub proxies: Proxies,
    /// Whether those begin a connection with a PROXY header.
    pub proxy_protocol: bool,
    /// The port that the RTSP server is bound to, for the URLs that are shown; `None` shows none.
    pub rtsp_port: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 1000,
            max_head: 20 << 10,
            max_headers: 64,
            head_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(10),
            penalty: Duration::from_secs(2),
            picture_timeout: Duration::from_secs(5),
            proxies: Proxies::default(),
            proxy_protocol: false,
            rtsp_port: None,
        }
    }
}

/// What the web server works with.
#[derive(Clone)]
pub struct Context {
    pub hub: Arc<Hub>,
    pub door: Arc<Door>,
    pub recorder: Recorder,
    pub store: Store,
    pub audit: Audit,
    /// Consents, receipts and share links.
    pub rights: Rights,
    /// What the privacy notice is made of.
    pub papers: Live<papers::Options>,
    pub metrics: Arc<Metrics>,
    pub clock: SharedClock,
    /// Who may read here; `None`: this listener is open.
    pub users: Option<Arc<Users>>,
    /// As they are now: SIGHUP may change them.
    pub options: Live<Options>,
}

/// hyper's least.
const BUFFER_MIN: usize = 8 * 1024;

/// How long answers may still take when the program ends.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves a listener until `tasks` stops. Streams end then, other answers are finished.
pub fn start(tasks: &Tasks, listener: TcpListener, ctx: Context) {
    let site = Arc::new(Site::new(ctx, tasks, &listener));
    let conns = tasks.clone();
    tasks.spawn("web", |stop| accept(conns, listener, site, stop));
}

async fn accept(tasks: Tasks, listener: TcpListener, site: Arc<Site>, stop: CancellationToken) {
    let seats = Arc::new(Seats::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, peer)) = accepted else {
            // Mostly "too many open files": wait for some to close.
            site.metrics().limit(Limit::Descriptors);
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        match seats.take(site.options().max_connections) {
            Some(seat) => {
                let peer = PeerAddr::new(peer);
                let site = Arc::clone(&site);
                tasks.spawn("web conn", |stop| serve(site, stream, peer, seat, stop));
            }
            None => refuse(stream, site.metrics()),
        }
    }
}

/// Says no in a way that HTTP clients understand, without waiting for anything.
fn refuse(stream: TcpStream, metrics: &Metrics) {
    metrics.limit(Limit::HttpConnections);
    let answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\
                  Content-Length: 0\r\nConnection: close\r\n\r\n";
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(answer.as_bytes()); // the connection goes either way
    }
}

async fn serve(
    site: Arc<Site>,
    mut stream: TcpStream,
    mut peer: PeerAddr,
    seat: Taken,
    stop: CancellationToken,
) {
    let _open = Open::new(Arc::clone(site.metrics()), seat);
    conn::keep_fresh(&stream);
    let options = site.options();
    if options.proxy_protocol && options.proxies.trusts(&peer) {
        let announced = tokio::select! {
            announced = proxies::announced(&mut stream) => announced,
            () = stop.cancelled() => return,
        };
        match announced {
            Ok(behind) => peer = behind.unwrap_or(peer),
            Err(_) => return site.metrics().lose(Reason::BadInput, 1),
        }
    }
    let stream = Deadline::new(stream, options.write_timeout, Arc::clone(site.metrics()));
    let peer = Arc::new(peer);
    let metrics = Arc::clone(site.metrics());
    let service = service_fn(move |request| {
        let (site, peer) = (Arc::clone(&site), Arc::clone(&peer));
        async move { Ok::<_, Infallible>(site.answer(request, &peer).await) }
    });
    let conn = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .max_buf_size(options.max_head.max(BUFFER_MIN))
        .max_headers(options.max_headers)
        .serve_connection(TokioIo::new(stream), service);
    let mut conn = pin!(conn);
    let ended = tokio::select! {
        ended = conn.as_mut() => ended,
        () = stop.cancelled() => {
            conn.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN, conn).await.unwrap_or(Ok(()))
        }
    };
    // The error itself is not logged: it may quote what came.
    match ended {
        Err(e) if e.is_parse_too_large() => metrics.limit(Limit::RequestSize),
        Err(e) if e.is_parse() => metrics.lose(Reason::BadInput, 1),
        _ => {}
    }
}

/// A connection that is counted while it is open.
struct Open {
    metrics: Arc<Metrics>,
    _seat: Taken,
}

impl Open {
    fn new(metrics: Arc<Metrics>, seat: Taken) -> Self {
        metrics.connections.inc();
        Self { metrics, _seat: seat }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

#[cfg(test)]
mod tests;
