//! The writing half of an RTSP connection: answers and interleaved media, without ever waiting.
//!
//! What the socket does not take at once stays here, bounded: media writers stop at the first byte that does
//! not fit ([`TcpOut::write`] says so), and the connection's task sends the rest when the socket has room.

use std::collections::VecDeque;
use std::io;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use bytes::Buf;
use bytes::Bytes;
use socket2::SockRef;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

/// A peer that asks without reading the answers is closed beyond this many bytes.
const MAX_PENDING: usize = 1 << 20;
/// Buffers handed to one `writev`.
const MAX_SLICES: usize = 32;

/// Whether all was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrote {
    All,
    /// The socket is full; what is left is held and goes first.
    Full,
}

/// A socket and what it has not taken yet.
pub(super) struct TcpOut {
    socket: OwnedWriteHalf,
    pending: Mutex<VecDeque<Bytes>>,
    /// Copy of "there is something pending", to look at without the lock.
    full: AtomicBool,
    /// Wakes the connection's task, which then waits for the socket to have room.
    attention: Arc<Notify>,
}

impl TcpOut {
    pub(super) fn new(socket: OwnedWriteHalf, attention: Arc<Notify>) -> Self {
        Self {
            socket,
            pending: Mutex::default(),
            full: AtomicBool::new(false),
            attention,
        }
    }
    /// Waits until the socket has room.
    ///
    /// # Errors
    /// When the connection failed.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }
    /// Bytes that wait for room.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.pending().iter().map(Bytes::len).sum()
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
        let mut taken = match pending.is_empty() {
            // Straight to the kernel: what tokio knows about the socket is asked when it is full.
            true => write_now(buffers.clone(), |slices| match slices {
                [one] => SockRef::from(self.socket.as_ref()).send(one),
                many => SockRef::from(self.socket.as_ref()).send_vectored(many),
            })?,
            false => 0,
        };
        for buffer in buffers {
            if taken < buffer.len() {
                pending.push_back(buffer.slice(taken..));
            }
            taken = taken.saturating_sub(buffer.len());
        }
        if pending.is_empty() {
            return Ok(Wrote::All);
        }
        if pending.iter().map(Bytes::len).sum::<usize>() > MAX_PENDING {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.full.store(true, Ordering::Release);
        self.attention.notify_one();
        Ok(Wrote::Full)
    }
    /// Sends what is held, as far as the socket takes it; tells also how many bytes that was. For the
    /// connection's task.
    ///
    /// # Errors
    /// When the connection failed.
    pub(super) fn drain(&self) -> io::Result<(Wrote, usize)> {
        let mut pending = self.pending();
        let taken = write_now(pending.iter(), |slices| self.socket.try_write_vectored(slices))?;
        let mut rest = taken;
        while let Some(front) = pending.front_mut() {
            if rest < front.len() {
                front.advance(rest);
                return Ok((Wrote::Full, taken));
            }
            rest -= front.len();
            pending.pop_front();
        }
        *pending = VecDeque::new(); // its memory is not needed while the socket has room
        self.full.store(false, Ordering::Release);
        Ok((Wrote::All, taken))
    }
    fn pending(&self) -> MutexGuard<'_, VecDeque<Bytes>> {
        self.pending
            .lock()
            .expect("no panic happens while the lock is held")
    }
}

/// Writes as much as the socket takes; returns how many bytes.
fn write_now<'a>(
    buffers: impl Iterator<Item = &'a Bytes> + Clone,
    write: impl Fn(&[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut taken = 0;
    loop {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let (mut count, mut offered, mut skip) = (0, 0, taken);
        for buffer in buffers.clone() {
            if skip >= buffer.len() {
                skip -= buffer.len();
                continue;
            }
            if count == MAX_SLICES {
                break;
            }
            slices[count] = IoSlice::new(&buffer[skip..]);
            offered += buffer.len() - skip;
            (count, skip) = (count + 1, 0);
        }
        if count == 0 {
            return Ok(taken);
        }
        match write(&slices[..count]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) if n < offered => return Ok(taken + n),
            Ok(n) => taken += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(taken),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
