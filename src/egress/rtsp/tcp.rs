//! The writing half of an RTSP connection: answers and interleaved media, without ever waiting.
//!
//! What the socket does not take at once stays here, bounded: media writers stop at the first byte that does
//! not fit ([`TcpOut::write`] says so), and the connection's task sends the rest when the socket has room.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use bytes::Buf;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::egress::rtsp::link::Sink;

/// A peer that asks without reading the answers is closed beyond this many bytes.
const MAX_PENDING: usize = 1 << 20;

/// Whether all was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrote {
    All,
    /// The socket is full; what is left is held and goes first.
    Full,
}

/// What the socket has not taken yet.
#[derive(Default)]
struct Pending {
    queue: VecDeque<Bytes>,
    /// Bytes that went while the connection's task waited for room, until it asks.
    drained: usize,
}

impl Pending {
    /// Forgets what has gone.
    fn advance(&mut self, mut taken: usize) {
        while let Some(front) = self.queue.front_mut() {
            if taken < front.len() {
                return front.advance(taken);
            }
            taken -= front.len();
            self.queue.pop_front();
        }
        self.queue = VecDeque::new(); // its memory is not needed while the socket has room
    }
}

/// A socket and what it has not taken yet.
pub(super) struct TcpOut {
    sink: Sink,
    pending: Mutex<Pending>,
    /// Copy of "there is something pending", to look at without the lock.
    full: AtomicBool,
    /// Wakes the connection's task, which then waits for the socket to have room.
    attention: Arc<Notify>,
}

impl TcpOut {
    pub(super) fn new(sink: Sink, attention: Arc<Notify>) -> Self {
        Self {
            sink,
            pending: Mutex::default(),
            full: AtomicBool::new(false),
            attention,
        }
    }
    /// Waits until the socket has room. A layer over a socket has some when it took something, and has
    /// taken it then.
    ///
    /// # Errors
    /// When the connection failed.
    pub(super) async fn writable(&self) -> io::Result<()> {
        if let Sink::Plain(socket) = &self.sink {
            return socket.writable().await;
        }
        std::future::poll_fn(|cx| {
            let mut pending = self.pending();
            let taken = self.sink.drain(cx, pending.queue.iter())?;
            pending.advance(taken);
            pending.drained += taken;
            let stuck = taken == 0 && self.is_held(&pending);
            if stuck { Poll::Pending } else { Poll::Ready(Ok(())) }
        })
        .await
    }
    /// Bytes that wait for room.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.pending().queue.iter().map(Bytes::len).sum()
    }
    /// Whether bytes wait for room.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }
    /// Writes buffers in order with as few system calls as possible. Whatever does not fit is held, so the
    /// order and the frames stay whole.
    ///
    /// # Errors
    /// When the connection failed, or too much is held already.
    pub(super) fn write<'a>(&self, buffers: impl Iterator<Item = &'a Bytes> + Clone) -> io::Result<Wrote> {
        let mut pending = self.pending();
        let mut taken = match self.is_held(&pending) {
            false => self.write_now(buffers.clone())?,
            true => 0,
        };
        for buffer in buffers {
            if taken < buffer.len() {
                pending.queue.push_back(buffer.slice(taken..));
            }
            taken = taken.saturating_sub(buffer.len());
        }
        if !self.is_held(&pending) {
            return Ok(Wrote::All);
        }
        // Said in any case: who came last may be a shard, and the connection's task ends what does not get on.
        self.full.store(true, Ordering::Release);
        self.attention.notify_one();
        if pending.queue.iter().map(Bytes::len).sum::<usize>() > MAX_PENDING {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Wrote::Full)
    }
    /// Sends what is held, as far as the socket takes it; tells also how many bytes that was. For the
    /// connection's task.
    ///
    /// # Errors
    /// When the connection failed.
    pub(super) fn drain(&self) -> io::Result<(Wrote, usize)> {
        let mut pending = self.pending();
        let mut cx = Context::from_waker(Waker::noop());
        let now = self.sink.drain(&mut cx, pending.queue.iter())?;
        pending.advance(now);
        let taken = now + std::mem::take(&mut pending.drained);
        if self.is_held(&pending) {
            return Ok((Wrote::Full, taken));
        }
        self.full.store(false, Ordering::Release);
        Ok((Wrote::All, taken))
    }
    /// Says good-bye as far as that is possible without waiting.
    pub(super) fn close(&self) {
        self.sink.close();
    }
    /// Whether something is still to go before anything new.
    fn is_held(&self, pending: &Pending) -> bool {
        !pending.queue.is_empty() || self.sink.is_unflushed()
    }
    /// Nobody waits for room here: who finds none tells the connection's task, which does.
    fn write_now<'a>(&self, buffers: impl Iterator<Item = &'a Bytes> + Clone) -> io::Result<usize> {
        self.sink.write(&mut Context::from_waker(Waker::noop()), buffers)
    }
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending
            .lock()
            .expect("no panic happens while the lock is held")
    }
}
