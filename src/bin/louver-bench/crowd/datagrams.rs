//! Several datagrams with one system call, through buffers that all readers share.

use std::io;
use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::MultiHeaders;
use nix::sys::socket::recvmmsg;

/// An access unit has some eight packets, a keyframe some 45.
const BATCH: usize = 16;
const ROOM: usize = 2048;

pub(crate) struct Datagrams {
    headers: MultiHeaders<()>,
    buffer: Box<[u8]>,
}

impl Datagrams {
    pub(crate) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffer: vec![0; BATCH * ROOM].into_boxed_slice(),
        }
    }
    /// Reads until nothing is left.
    pub(crate) fn read(&mut self, from: &UdpSocket, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let chunks = self.buffer.chunks_mut(ROOM);
            let mut slices: Vec<_> = chunks.map(|chunk| [IoSliceMut::new(chunk)]).collect();
            let headers = &mut self.headers;
            let flags = MsgFlags::MSG_DONTWAIT;
            let messages = match recvmmsg(from.as_raw_fd(), headers, slices.iter_mut(), flags, None) {
                Ok(messages) => messages,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            let mut n = 0;
            for message in messages {
                message.iovs().for_each(&mut each);
                n += 1;
            }
            if n < BATCH {
                return Ok(());
            }
        }
    }
}
