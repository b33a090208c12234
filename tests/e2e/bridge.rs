//! TCP on one side, RTSP over WebSocket on the other: any player or publisher becomes one that uses WebSocket.

use std::net::SocketAddr;

use futures::SinkExt;
use futures::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Runs until dropped.
pub struct Bridge {
    pub addr: SocketAddr,
    _runtime: Runtime,
}

impl Bridge {
    /// Takes connections, each of which becomes a WebSocket to `relay`.
    pub fn start(relay: SocketAddr, protocol: Option<&'static str>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(async move {
            loop {
                let (peer, _) = listener.accept().await.unwrap();
                tokio::spawn(relay_one(peer, relay, protocol));
            }
        });
        Self {
            addr,
            _runtime: runtime,
        }
    }
}

async fn relay_one(mut peer: TcpStream, relay: SocketAddr, protocol: Option<&str>) {
    let mut stream = TcpStream::connect(relay).await.unwrap();
    let header = protocol.map_or(String::new(), |p| format!("Sec-WebSocket-Protocol: {p}\r\n"));
    let request = format!(
        "GET /mystream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    assert_eq!(
        answer.contains("Sec-WebSocket-Protocol: rtsp.onvif.org"),
        protocol.is_some()
    );
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    let mut bytes = vec![0; 64 << 10];
    loop {
        tokio::select! {
            read = peer.read(&mut bytes) => {
                let n = read.unwrap_or(0);
                if n == 0 || socket.send(Message::Binary(bytes[..n].to_vec().into())).await.is_err() {
                    let _ = socket.close(None).await;
                    return;
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Binary(part))) => if peer.write_all(&part).await.is_err() { return },
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}
