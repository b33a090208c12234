//! Binds every socket before anything is served, and says so on stdout.

use std::io;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::app::AppError;
use crate::base::tasks::Tasks;
use crate::base::tls::Identity;
use crate::base::why::why_not_bound;
use crate::config::Config;
use crate::egress::rtsp;
use crate::proto::rtsp::auth::Users;
use crate::web;

/// Where the program listens, for those who tell people.
#[derive(Clone, Debug, Default)]
pub(super) struct Bound {
    pub(super) rtsp: Vec<SocketAddr>,
    pub(super) rtsps: Vec<SocketAddr>,
    pub(super) http: Vec<SocketAddr>,
    /// RTP sockets; RTCP is one port higher.
    pub(super) rtp: Vec<SocketAddr>,
}

/// Why an address cannot be listened on. It is the operator's own.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen for HTTP on {0} ({why}); choose another in [http] listen", why = why_not_bound(.1))]
    Http(SocketAddr, io::Error),
    #[error("the system does not say which port it chose")]
    Unknown(#[source] io::Error),
}

/// Bound sockets that nobody serves yet.
pub(super) struct Listeners {
    rtsp: Vec<rtsp::Listener>,
    http: Vec<(TcpListener, Option<Arc<Users>>)>,
    bound: Bound,
}

/// Binds what the configuration names.
///
/// # Errors
/// When an address is taken or not ours: it and the key to change are in the text.
pub(super) async fn bind(
    config: &Config,
    users: Option<&Arc<Users>>,
    identity: Option<&Identity>,
) -> Result<Listeners, AppError> {
    let users_at = |at: &SocketAddr| users.filter(|_| config.auth.required.at(at)).cloned();
    let mut all = Listeners {
        rtsp: Vec::new(),
        http: Vec::new(),
        bound: Bound::default(),
    };
    for (n, at) in config.rtsp.listen.iter().enumerate() {
        // The configured UDP ports go to the first listener; the others take what is free.
        let ports = config
            .rtsp
            .udp_ports
            .map(|ports| if n == 0 { ports } else { (0, 0) });
        let listener = rtsp::Listener::bind(*at, ports, users_at(at)).await?;
        all.bound
            .rtsp
            .push(listener.local_addr().map_err(ListenError::Unknown)?);
        all.bound.rtp.extend(listener.udp_addr());
        all.rtsp.push(listener.proxied(config.rtsp.proxy_protocol));
    }
    for at in &config.rtsps.listen {
        let Some(identity) = identity else { break };
        // For SRTP; the configured pair belongs to RTSP without TLS.
        let ports = config.rtsp.udp_ports.map(|_| (0, 0));
        let listener = rtsp::Listener::bind(*at, ports, users_at(at)).await?;
        all.bound
            .rtsps
            .push(listener.local_addr().map_err(ListenError::Unknown)?);
        let listener = listener.proxied(config.rtsps.proxy_protocol);
        all.rtsp.push(listener.encrypted(identity.acceptor()));
    }
    for at in &config.http.listen {
        let listener = TcpListener::bind(at)
            .await
            .map_err(|e| ListenError::Http(*at, e))?;
        all.bound
            .http
            .push(listener.local_addr().map_err(ListenError::Unknown)?);
        all.http.push((listener, users_at(at)));
    }
    Ok(all)
}

impl Listeners {
    /// Where they listen.
    pub(super) fn bound(&self) -> Bound {
        self.bound.clone()
    }
    /// Begins to serve.
    pub(super) fn serve(self, tasks: &Tasks, rtsp: rtsp::Context, web: web::Context) {
        rtsp::start(tasks, self.rtsp, rtsp);
        for (listener, users) in self.http {
            web::start(tasks, listener, web::Context { users, ..web.clone() });
        }
    }
}

impl Bound {
    /// One line per socket on stdout, for scripts: `listening NAME ADDR`.
    pub(super) fn announce(&self) {
        let named = [
            ("rtsp", &self.rtsp),
            ("rtp", &self.rtp),
            ("rtsps", &self.rtsps),
            ("http", &self.http),
        ];
        let mut out = io::stdout().lock();
        for (name, addr) in named
            .iter()
            .flat_map(|(name, all)| all.iter().map(move |a| (name, a)))
        {
            // Whoever reads this may have gone; that is no reason not to serve.
            let _ = writeln!(out, "listening {name} {addr}");
        }
        let _ = out.flush();
    }
}
