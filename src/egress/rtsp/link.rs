//! The bytes of a connection: a plain TCP socket, or a layer over one (TLS, WebSocket, an HTTP tunnel).
//!
//! A plain socket is written to as it is, without a call through a pointer. A layer is written to by whoever has
//! something, without waiting; the connection's own task waits for it, when it is full.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::io::ReadHalf;
use tokio::io::WriteHalf;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::tcp::OwnedWriteHalf;

/// Buffers handed to one `writev`.
const MAX_SLICES: usize = 32;

/// A stream of bytes in both directions, whatever it is made of.
pub(super) trait Layer: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Layer for T {}

/// Both directions of a connection.
pub(super) enum Link {
    Plain(TcpStream),
    Layered(Box<dyn Layer>),
}

impl Link {
    /// One half to read, one to write.
    pub(super) fn split(self) -> (Input, Sink) {
        match self {
            Self::Plain(socket) => {
                let (input, sink) = socket.into_split();
                (Input::Plain(input), Sink::Plain(sink))
            }
            Self::Layered(layer) => {
                let (input, sink) = tokio::io::split(layer);
                let sink = Layered {
                    half: sink,
                    unflushed: false,
                };
                (Input::Layered(input), Sink::Layered(Mutex::new(sink)))
            }
        }
    }
}

/// Where requests come from.
pub(super) enum Input {
    Plain(OwnedReadHalf),
    Layered(ReadHalf<Box<dyn Layer>>),
}

impl AsyncRead for Input {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_read(cx, buf),
            Self::Layered(half) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

/// Where answers and media go.
pub(super) enum Sink {
    Plain(OwnedWriteHalf),
    Layered(Mutex<Layered>),
}

/// The writing half of a layer.
pub(super) struct Layered {
    half: WriteHalf<Box<dyn Layer>>,
    /// The layer took bytes that it has not handed to its socket yet.
    unflushed: bool,
}

impl Sink {
    /// Writes as much as is taken at once, in order; returns how many bytes. A layer that is full wakes `cx` when
    /// it has room.
    ///
    /// # Errors
    /// When the connection failed.
    pub(super) fn write<'a>(
        &self,
        cx: &mut Context<'_>,
        buffers: impl Iterator<Item = &'a Bytes> + Clone,
    ) -> io::Result<usize> {
        match self {
            // Straight to the kernel: what tokio knows about the socket is asked when it is full.
            Self::Plain(socket) => write_to_socket(buffers, |slices| match slices {
                [one] => SockRef::from(socket.as_ref()).send(one),
                many => SockRef::from(socket.as_ref()).send_vectored(many),
            }),
            Self::Layered(layer) => lock(layer).write(cx, buffers),
        }
    }
    /// The same for what waited for room, after which the socket may be waited for again.
    ///
    /// # Errors
    /// When the connection failed.
    pub(super) fn drain<'a>(
        &self,
        cx: &mut Context<'_>,
        buffers: impl Iterator<Item = &'a Bytes> + Clone,
    ) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => write_to_socket(buffers, |slices| socket.try_write_vectored(slices)),
            Self::Layered(layer) => lock(layer).write(cx, buffers),
        }
    }
    /// Whether a layer holds bytes that have not left yet.
    pub(super) fn is_unflushed(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Layered(layer) => lock(layer).unflushed,
        }
    }
    /// Says good-bye as far as that is possible without waiting.
    pub(super) fn close(&self) {
        if let Self::Layered(layer) = self {
            let mut cx = Context::from_waker(Waker::noop());
            let _nobody_left_to_tell = Pin::new(&mut lock(layer).half).poll_shutdown(&mut cx);
        }
    }
}

impl Layered {
    fn write<'a>(
        &mut self,
        cx: &mut Context<'_>,
        buffers: impl Iterator<Item = &'a Bytes>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        'all: for buffer in buffers {
            let mut rest = &buffer[..];
            while !rest.is_empty() {
                match Pin::new(&mut self.half).poll_write(cx, rest) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(n)) => {
                        (taken, rest) = (taken + n, &rest[n..]);
                        self.unflushed = true;
                    }
                    Poll::Ready(Err(e)) => return Err(e),
                    Poll::Pending => break 'all,
                }
            }
        }
        if self.unflushed {
            self.unflushed = match Pin::new(&mut self.half).poll_flush(cx) {
                Poll::Ready(done) => done.map(|()| false)?,
                Poll::Pending => true,
            };
        }
        Ok(taken)
    }
}

fn lock(layer: &Mutex<Layered>) -> MutexGuard<'_, Layered> {
    layer.lock().expect("no panic happens while the lock is held")
}

fn write_to_socket<'a>(
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
