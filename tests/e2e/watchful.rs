//! A viewer who notices every packet that is missing.

use std::time::Duration;
use std::time::Instant;

use crate::peers::Transport;
use crate::relay::Relay;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

/// Counts the packets of the first track.
pub struct Watchful {
    viewer: Viewer,
    next: Option<u16>,
    packets: u32,
}

impl Watchful {
    /// Watches this path by TCP, from an address of its own.
    pub fn of(relay: &Relay, path: &str) -> Self {
        Self::on(Conn::open([127, 0, 0, 2].into(), relay.addr("rtsp")), path)
    }
    /// Watches this path on this connection.
    pub fn on(conn: Conn, path: &str) -> Self {
        Self {
            viewer: Viewer::watch(conn, path, Transport::Tcp),
            next: None,
            packets: 0,
        }
    }
    /// Watches for so long; not one packet may be missing.
    #[track_caller]
    pub fn watch(&mut self, time: Duration) {
        let (until, before) = (Instant::now() + time, self.packets);
        while Instant::now() < until || self.packets < before + 10 {
            assert!(self.viewer.receive(), "the viewer was cut off");
            for (channel, packet) in self.viewer.conn.taken.drain(..) {
                let sequence = u16::from_be_bytes([packet[2], packet[3]]);
                if channel == 0 {
                    assert_eq!(sequence, self.next.unwrap_or(sequence), "a packet is missing");
                    self.next = Some(sequence.wrapping_add(1));
                    self.packets += 1;
                }
            }
        }
    }
    /// Watches until the relay ends it.
    #[track_caller]
    pub fn until_cut_off(&mut self) {
        let until = Instant::now() + crate::relay::DEADLINE;
        while self.viewer.receive() {
            self.viewer.conn.taken.clear();
            assert!(Instant::now() < until, "nobody ended it");
        }
    }
}
