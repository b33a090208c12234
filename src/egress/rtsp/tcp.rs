//! The writing half of an RTSP connection: answers and interleaved media, without ever waiting.
//!
//! What the socket does not take at once stays here, bounded: media writers stop at the first byte that does
//! not fit ([`TcpOut::write`] says so), and the connection's task sends the rest when the socket has room.

use std::collections::VecDeque;
use std::io;
use std::io::IoSlice;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use bytes::Buf;
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// A peer that asks without reading the answers is closed beyond this many bytes.
const MAX_PENDING: usize = 1 << 20;
/// Buffers handed to one `writev`.
pub(super) const MAX_SLICES: usize = 32;

/// Whether all was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrote {
    All,
    /// The socket is full; what is left is held and goes first.
    Full,
}

/// A socket and what it has not taken yet.
pub(super) struct TcpOut {
    socket: TcpStream,
    pending: Mutex<VecDeque<Bytes>>,
    /// Copy of "there is something pending", to look at without the lock.
    full: AtomicBool,
    /// Wakes the connection's task, which waits for the socket to have room.
    filled: Notify,
}

impl TcpOut {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            pending: Mutex::default(),
            full: AtomicBool::new(false),
            filled: Notify::new(),
        }
    }
    /// The socket, to read from and to wait on.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }
    /// Bytes that wait for room.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let pending = self
            .pending
            .lock()
            .expect("no panic happens while the lock is held");
        pending.iter().map(Bytes::len).sum()
    }
    /// Whether bytes wait for room.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }
    /// Returns when the socket became full since the last call.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
    /// Writes buffers in order with as few system calls as possible. Whatever does not fit is held, so the
    /// order and the frames stay whole.
    ///
    /// # Errors
    /// When the connection failed, or too much is held already.
    pub(super) fn write(&self, buffers: &mut VecDeque<Bytes>) -> io::Result<Wrote> {
        let mut pending = self
            .pending
            .lock()
            .expect("no panic happens while the lock is held");
        if pending.is_empty() {
            self.write_now(buffers)?;
        }
        if buffers.is_empty() && pending.is_empty() {
            return Ok(Wrote::All);
        }
        pending.append(buffers);
        if pending.iter().map(Bytes::len).sum::<usize>() > MAX_PENDING {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.full.store(true, Ordering::Release);
        self.filled.notify_one();
        Ok(Wrote::Full)
    }
    /// Sends what is held, as far as the socket takes it; tells also how many bytes that was. For the
    /// connection's task.
    ///
    /// # Errors
    /// When the connection failed.
    pub(super) fn drain(&self) -> io::Result<(Wrote, usize)> {
        let mut pending = self
            .pending
            .lock()
            .expect("no panic happens while the lock is held");
        let taken = self.write_now(&mut pending)?;
        if pending.is_empty() {
            self.full.store(false, Ordering::Release);
            return Ok((Wrote::All, taken));
        }
        Ok((Wrote::Full, taken))
    }
    /// Takes from `buffers` what the socket takes; returns how many bytes.
    fn write_now(&self, buffers: &mut VecDeque<Bytes>) -> io::Result<usize> {
        let mut total = 0;
        while !buffers.is_empty() {
            let slices: [IoSlice<'_>; MAX_SLICES] =
                std::array::from_fn(|n| IoSlice::new(buffers.get(n).map_or(&[][..], |b| &b[..])));
            let count = buffers.len().min(MAX_SLICES);
            let mut written = match self.socket.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(total),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            total += written;
            while let Some(front) = buffers.front_mut() {
                if written < front.len() {
                    front.advance(written);
                    break;
                }
                written -= front.len();
                buffers.pop_front();
            }
        }
        Ok(total)
    }
}
