//! RTSP in two HTTP connections: what we send goes into the answer to a GET, what the peer sends comes as base64 in
//! POSTs with the same cookie (Apple's "Tunneling RTSP over HTTP").
//!
//! `Content-Length` of a POST means nothing here: players write 32767 and send for ever, or close and open the next
//! POST. Either half may come first. Not here: the grammar (`proto::rtsp::http`).

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;

use crate::base::peer::PeerAddr;
use crate::egress::rtsp::link::Layer;
use crate::egress::rtsp::seat::Seat;
use crate::proto::rtsp::http::Base64Stream;
use crate::proto::rtsp::http::Cookie;

/// How long one half waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);
/// POSTs that wait for their tunnel to take them.
const POSTS_MAX: usize = 2;
/// Taken from a POST in one go.
const READ: usize = 16 << 10;

/// The way from the peer to us.
pub(super) struct Post {
    pub(super) stream: Box<dyn Layer>,
    /// What was read behind its head.
    pub(super) already: Vec<u8>,
    /// It counts as a connection for as long as it lives.
    pub(super) seat: Seat,
}

/// A GET that is there, and how its POSTs reach it.
struct Waiting {
    posts: mpsc::Sender<Post>,
    peer: PeerAddr,
}

/// The tunnels of one listener.
pub(super) struct Tunnels {
    by_cookie: Mutex<HashMap<Cookie, Waiting>>,
    /// Counts GETs, for POSTs that came first.
    come: watch::Sender<u64>,
}

impl Tunnels {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            by_cookie: Mutex::default(),
            come: watch::Sender::new(0),
        })
    }
    /// Registers the way to a peer, if there are fewer than `most`. `None`: there are not, or the cookie is taken.
    pub(super) fn open(self: &Arc<Self>, cookie: Cookie, peer: PeerAddr, most: usize) -> Option<Half> {
        let (posts, coming) = mpsc::channel(POSTS_MAX);
        let mut all = self.all();
        if all.len() >= most || all.contains_key(&cookie) {
            return None;
        }
        all.insert(cookie.clone(), Waiting { posts, peer });
        drop(all);
        self.come.send_modify(|n| *n += 1);
        Some(Half {
            tunnels: Arc::clone(self),
            cookie,
            coming,
        })
    }
    /// Hands a POST to its GET, which may be about to come. The POST comes back if there is none for it.
    pub(super) async fn join(&self, cookie: &Cookie, peer: &PeerAddr, post: Post) -> Result<(), Post> {
        let posts = async {
            let mut come = self.come.subscribe();
            loop {
                if let Some(posts) = self.posts(cookie, peer) {
                    return Some(posts);
                }
                come.changed().await.ok()?;
            }
        };
        match tokio::time::timeout(PATIENCE, posts).await {
            Ok(Some(posts)) => posts.try_send(post).map_err(TrySendError::into_inner),
            _ => Err(post),
        }
    }
    /// Only the host that opened a tunnel may speak in it.
    fn posts(&self, cookie: &Cookie, peer: &PeerAddr) -> Option<mpsc::Sender<Post>> {
        let all = self.all();
        let waiting = all.get(cookie)?;
        let same = waiting.peer.same_host(&peer.expose_to_send());
        same.then(|| waiting.posts.clone())
    }
    fn all(&self) -> MutexGuard<'_, HashMap<Cookie, Waiting>> {
        self.by_cookie
            .lock()
            .expect("no panic happens while the lock is held")
    }
}

/// The way to a peer, registered for as long as this lives.
pub(super) struct Half {
    tunnels: Arc<Tunnels>,
    cookie: Cookie,
    coming: mpsc::Receiver<Post>,
}

impl Half {
    /// Waits for the first POST; `None` if it does not come in time.
    pub(super) async fn paired(mut self, get: Box<dyn Layer>) -> Option<Tunnel> {
        let post = tokio::time::timeout(PATIENCE, self.coming.recv()).await.ok()??;
        let mut tunnel = Tunnel {
            get,
            half: self,
            post: None,
            decoder: Base64Stream::default(),
            decoded: Vec::new(),
            at: 0,
        };
        tunnel.take(post).ok()?;
        Some(tunnel)
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.tunnels.all().remove(&self.cookie);
    }
}

/// Both ways together: a stream of bytes.
pub(super) struct Tunnel {
    get: Box<dyn Layer>,
    half: Half,
    post: Option<(Box<dyn Layer>, Seat)>,
    decoder: Base64Stream,
    /// Decoded and not read yet, from `at` on.
    decoded: Vec<u8>,
    at: usize,
}

impl Tunnel {
    /// Goes on with another POST.
    fn take(&mut self, post: Post) -> io::Result<()> {
        // A group that the last POST left unfinished is never finished.
        self.decoder = Base64Stream::default();
        self.post = Some((post.stream, post.seat));
        self.decode(&post.already)
    }
    fn decode(&mut self, bytes: &[u8]) -> io::Result<()> {
        let decoded = self.decoder.decode(bytes, &mut self.decoded);
        decoded.map_err(|_| io::ErrorKind::InvalidData.into())
    }
    /// Reads from the POST that is there, or the next one.
    fn poll_posts(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some((stream, _)) = &mut self.post {
                let mut bytes = [0; READ];
                let mut bytes = ReadBuf::new(&mut bytes);
                match Pin::new(stream).poll_read(cx, &mut bytes) {
                    Poll::Ready(Ok(())) if !bytes.filled().is_empty() => {
                        return Poll::Ready(self.decode(bytes.filled()));
                    }
                    Poll::Ready(_) => self.post = None, // the next one may come
                    Poll::Pending => {}
                }
            }
            let Some(next) = ready!(self.half.coming.poll_recv(cx)) else {
                return Poll::Pending; // never: we hold the sender's entry
            };
            self.take(next)?;
            if !self.decoded.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
    /// The peer ends a tunnel by closing its GET; what else it sends there means nothing.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut bytes = [0; 256];
            let mut bytes = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.get).poll_read(cx, &mut bytes)) {
                Ok(()) if !bytes.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.at == this.decoded.len() {
            this.decoded.clear();
            this.at = 0;
            if this.poll_end(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_posts(cx))?;
        }
        let n = (this.decoded.len() - this.at).min(buf.remaining());
        buf.put_slice(&this.decoded[this.at..this.at + n]);
        this.at += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get).poll_shutdown(cx)
    }
}
