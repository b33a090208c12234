//! One TCP connection's byte stream with a deadline for writing.
//!
//! Every wait for a peer must end: hyper limits how long a request's head may take, this limits how long a
//! peer may take nothing of an answer.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::time::Sleep;

use crate::telemetry::Metrics;
use crate::telemetry::Reason;

/// Bytes of an answer that may wait in the kernel, unsent: a slow viewer's picture is this much out of date.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES: u32 = 64 * 1024;

/// A peer that is silent for so long is asked whether it is still there: one that waits for pictures which
/// do not come would be missed by no write.
const SILENCE: Duration = Duration::from_secs(30);

/// Keeps the kernel from piling up pictures that a slow viewer has not been sent yet, and finds out about
/// peers that are gone.
pub(super) fn keep_fresh(stream: &tokio::net::TcpStream) {
    let _ = stream.set_nodelay(true); // a speed-up; the answer is right without it
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(SILENCE));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
}

/// A stream on which a write that makes no progress for `patience` fails.
pub(super) struct Deadline<S> {
    inner: S,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    metrics: Arc<Metrics>,
}

impl<S> Deadline<S> {
    /// Puts the deadline on a stream; a connection that misses it is counted.
    pub(super) fn new(inner: S, patience: Duration, metrics: Arc<Metrics>) -> Self {
        Self {
            inner,
            patience,
            waiting: None,
            metrics,
        }
    }
    /// Lets progress through and turns a wait that is too long into an error.
    fn check<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        let patience = self.patience;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if waiting.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.waiting = None;
        self.metrics.lose(Reason::ReaderStuck, 1);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Deadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deadline<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.check(cx, result)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.check(cx, result)
    }
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_misses_the_deadline_and_is_counted() {
        let metrics = Metrics::new();
        let (near, _far) = tokio::io::duplex(8);
        let mut near = Deadline::new(near, Duration::from_millis(20), Arc::clone(&metrics));
        let error = near.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(metrics.encode().contains("reason=\"ReaderStuck\"} 1"));
    }

    #[tokio::test]
    async fn a_peer_that_takes_a_little_now_and_then_may_stay() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut near = Deadline::new(near, Duration::from_millis(500), Metrics::new());
        let reads = async {
            let mut eight = [0; 8];
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                far.read_exact(&mut eight).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(near.write_all(&[0; 64]), reads);
        written.unwrap();
    }
}
