//! RTSP over WebSocket (RFC 6455; ONVIF's `rtsp.onvif.org`): the payloads of messages are the connection's bytes.
//!
//! Messages are cut anywhere, as TCP cuts; ours are what is written in one go. Not here: the handshake (`front`).

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Buf;
use bytes::Bytes;
use futures::Sink;
use futures::Stream;
use sha1::Digest;
use sha1::Sha1;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::egress::rtsp::link::Layer;

/// Bytes of a peer's message at most: a burst of a publisher's packets is far smaller.
const MESSAGE_MAX: usize = 1 << 20;
/// Bytes that wait for the socket; more are not taken.
const BUFFER_MAX: usize = 256 << 10;

/// A WebSocket as a stream of bytes.
pub(super) struct WebSocket {
    inner: WebSocketStream<Box<dyn Layer>>,
    /// What is left of the newest message.
    rest: Bytes,
}

impl WebSocket {
    /// A connection whose handshake is done; `already` was read behind it.
    pub(super) async fn new(socket: Box<dyn Layer>, already: Vec<u8>) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX))
            .read_buffer_size(16 << 10)
            .write_buffer_size(0)
            .max_write_buffer_size(BUFFER_MAX);
        let inner = WebSocketStream::from_partially_read(socket, already, Role::Server, Some(config)).await;
        Self {
            inner,
            rest: Bytes::new(),
        }
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => {
                    return Poll::Ready(Ok(()));
                }
                Some(Err(e)) => return Poll::Ready(Err(io_error(e))),
                // ONVIF says binary; what is text holds bytes as well.
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Text(text))) => self.rest = text.into(),
                Some(Ok(_)) => {} // pings are answered, and a close is, by the library
            }
        }
        let n = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest[..n]);
        self.rest.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = &buf[..buf.len().min(BUFFER_MAX / 2)];
        ready!(Pin::new(&mut self.inner).poll_ready(cx)).map_err(io_error)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.inner).start_send(message).map_err(io_error)?;
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx).map_err(io_error)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx).map_err(io_error)
    }
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2).
pub(super) fn accept_key(key: &str) -> String {
    const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Only the kind goes on: an error of the library may quote the peer.
fn io_error(e: Error) -> io::Error {
    match e {
        Error::Io(e) => e,
        _ => io::ErrorKind::InvalidData.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standard_has_the_answer_of_the_standard() {
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
