//! Counters and gauges of the program itself.
//!
//! A label can only be one of the enums below: there is no way to pass a string, so nothing about a viewer
//! can become one.

use std::fmt;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::EncodeLabelValue;
use prometheus_client::encoding::LabelValueEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How a reader is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Output {
    RtspTcp,
    RtspUdp,
    Mjpeg,
}

/// Why something was thrown away or turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Reason {
    /// A reader fell behind and jumped to the newest keyframe.
    ReaderLagged,
    /// A reader took nothing for too long and was closed.
    ReaderStuck,
    /// The kernel had no room for a datagram.
    SocketFull,
    /// The bounded queue to the session store was full.
    EventQueueFull,
    /// The session store could not be written; it is tried again.
    StoreFailed,
    /// Rows of sessions that were deleted and still lay in a file.
    NotGone,
    /// Times that deleting rows that were kept long enough began to fail; it is tried again.
    PurgeFailed,
    /// Bytes that were not the protocol they came by.
    BadInput,
    /// A limit on connections, sessions or sizes; which one is in [`Metrics::limits`].
    Limit,
    /// No or wrong credentials.
    Unauthorized,
    /// Packets of a publisher that never arrived.
    PublisherLoss,
    /// A publisher that kept its session without media was ended.
    PublisherSilent,
    /// A device that failed, was busy or was unplugged.
    Device,
    /// A log line that named an address was stopped.
    Redacted,
    /// An alert that did not reach who should get it.
    AlertNotSent,
}

/// A limit, by its key in `[limits]` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    RtspConnections,
    RtspConnectionsPerHost,
    HttpConnections,
    /// Not in the configuration: the system has no more descriptors for us.
    Descriptors,
    Sessions,
    SessionsPerConnection,
    KeptSessions,
    KeptSessionsPerHost,
    Tunnels,
    RequestSize,
    RequestHeaders,
    AnnounceSize,
    Tracks,
    PublishedPaths,
    /// Not in the configuration: networks that objected on one day.
    NetworksKeptOut,
}

impl Limit {
    /// Its key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RtspConnections => "rtsp_connections",
            Self::RtspConnectionsPerHost => "rtsp_connections_per_host",
            Self::HttpConnections => "http_connections",
            Self::Descriptors => "descriptors",
            Self::Sessions => "sessions",
            Self::SessionsPerConnection => "sessions_per_connection",
            Self::KeptSessions => "kept_sessions",
            Self::KeptSessionsPerHost => "kept_sessions_per_host",
            Self::Tunnels => "tunnels",
            Self::RequestSize => "request_size",
            Self::RequestHeaders => "request_headers",
            Self::AnnounceSize => "announce_size",
            Self::Tracks => "tracks",
            Self::NetworksKeptOut => "networks_kept_out",
            Self::PublishedPaths => "published_paths",
        }
    }
}

impl EncodeLabelValue for Limit {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.as_str())
    }
}

/// Labels of [`Metrics::limits`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByLimit {
    pub limit: Limit,
}

/// Labels of readers ([`Metrics::attach`]), [`Metrics::bytes_out`] and [`Metrics::units_out`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByOutput {
    pub output: Output,
}

/// Labels of [`Metrics::lost`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByReason {
    pub reason: Reason,
}

/// Everything the program counts. Cheap to clone handles; shared by all rooms.
pub struct Metrics {
    registry: Registry,
    /// Bursts that sources and publishers brought.
    pub bursts_in: Counter,
    /// Bytes of RTP that sources and publishers brought.
    pub bytes_in: Counter,
    /// Packets of publishers that no datagram can take, and that were cut anew where that is known.
    pub packets_oversize: Counter,
    /// Datagrams of publishers that came out of their order and were put back into it.
    pub packets_reordered: Counter,
    /// Readers attached now; `attach` counts them.
    readers: Family<ByOutput, Gauge>,
    /// Bursts (or pictures) delivered.
    pub units_out: Family<ByOutput, Counter>,
    /// Bytes delivered.
    pub bytes_out: Family<ByOutput, Counter>,
    /// What was thrown or turned away, and why.
    pub lost: Family<ByReason, Counter>,
    /// What was turned away at a limit, and at which.
    pub limits: Family<ByLimit, Counter>,
    /// TCP connections open now, of all servers.
    pub connections: Gauge,
    /// Sessions that changed and are not stored yet: they wait in memory when the store fails.
    pub sessions_unstored: Gauge,
    /// Paths that have a stream now.
    pub paths_ready: Gauge,
    /// Times that a source was (re)started.
    pub source_starts: Counter,
    /// Frames that capture read from devices.
    pub frames_captured: Counter,
    /// Frames that capture could not encode in time.
    pub frames_skipped: Counter<u64, AtomicU64>,
    /// Days' keys that were wiped and replaced.
    pub key_changes: Counter,
    /// Those that were wiped more than five minutes after their day.
    pub key_changes_late: Counter,
}

/// A reader that counts as attached while this lives.
pub struct AttachedReader(Gauge);

impl Drop for AttachedReader {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Counts one more reader that gets media this way, or would if it did not pause.
    pub fn attach(&self, output: Output) -> AttachedReader {
        let gauge = self.readers.get_or_create_owned(&ByOutput { output });
        gauge.inc();
        AttachedReader(gauge)
    }
    /// All counters at zero, registered under their names.
    pub fn new() -> Arc<Self> {
        let mut m = Self {
            registry: Registry::with_prefix("louver"),
            bursts_in: Counter::default(),
            bytes_in: Counter::default(),
            packets_oversize: Counter::default(),
            packets_reordered: Counter::default(),
            readers: Family::default(),
            units_out: Family::default(),
            bytes_out: Family::default(),
            lost: Family::default(),
            limits: Family::default(),
            connections: Gauge::default(),
            sessions_unstored: Gauge::default(),
            paths_ready: Gauge::default(),
            source_starts: Counter::default(),
            frames_captured: Counter::default(),
            frames_skipped: Counter::default(),
            key_changes: Counter::default(),
            key_changes_late: Counter::default(),
        };
        let r = &mut m.registry;
        r.register(
            "bursts_in",
            "Bursts that sources and publishers brought",
            m.bursts_in.clone(),
        );
        r.register(
            "bytes_in",
            "Bytes of RTP that sources and publishers brought",
            m.bytes_in.clone(),
        );
        r.register(
            "packets_oversize",
            "Packets of publishers that no datagram can take, and that were cut anew where it is known how",
            m.packets_oversize.clone(),
        );
        r.register(
            "packets_reordered",
            "Datagrams of publishers that were put back into their order",
            m.packets_reordered.clone(),
        );
        r.register(
            "key_changes",
            "Keys of pseudonyms that were wiped and replaced",
            m.key_changes.clone(),
        );
        r.register(
            "key_changes_late",
            "Keys of pseudonyms that outlived their day by more than five minutes",
            m.key_changes_late.clone(),
        );
        r.register("readers", "Readers attached now", m.readers.clone());
        r.register(
            "units_out",
            "Bursts or pictures delivered to readers",
            m.units_out.clone(),
        );
        r.register("bytes_out", "Bytes delivered to readers", m.bytes_out.clone());
        r.register("lost", "Things thrown or turned away, by reason", m.lost.clone());
        r.register(
            "limit_reached",
            "Things turned away at a limit, by its key in the configuration",
            m.limits.clone(),
        );
        r.register("connections", "TCP connections open now", m.connections.clone());
        r.register(
            "sessions_unstored",
            "Sessions that changed and wait in memory for the session store",
            m.sessions_unstored.clone(),
        );
        r.register(
            "paths_ready",
            "Paths that have a stream now",
            m.paths_ready.clone(),
        );
        r.register(
            "source_starts",
            "Times that a source was started",
            m.source_starts.clone(),
        );
        r.register(
            "frames_captured",
            "Frames that capture read from devices",
            m.frames_captured.clone(),
        );
        r.register(
            "frames_skipped",
            "Frames that capture could not encode in time",
            m.frames_skipped.clone(),
        );
        Arc::new(m)
    }
    /// Counts something thrown or turned away.
    pub fn lose(&self, reason: Reason, n: u64) {
        self.lost.get_or_create(&ByReason { reason }).inc_by(n);
    }
    /// How much was counted so.
    pub fn lost_so_far(&self, reason: Reason) -> u64 {
        self.lost.get(&ByReason { reason }).map_or(0, |n| n.get())
    }
    /// Counts something turned away at a limit.
    pub fn limit(&self, limit: Limit) {
        self.lose(Reason::Limit, 1);
        self.limits.get_or_create(&ByLimit { limit }).inc();
    }
    /// The text of `/metrics` (OpenMetrics).
    pub fn encode(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_openmetrics_text_with_closed_labels() {
        let m = Metrics::new();
        m.lose(Reason::ReaderLagged, 3);
        let readers = [(); 2].map(|()| m.attach(Output::RtspUdp));
        m.limit(Limit::AnnounceSize);
        let text = m.encode();
        assert!(
            text.contains("louver_limit_reached_total{limit=\"announce_size\"} 1"),
            "{text}"
        );
        assert!(text.contains("louver_lost_total{reason=\"Limit\"} 1"), "{text}");
        assert!(
            text.contains("louver_lost_total{reason=\"ReaderLagged\"} 3"),
            "{text}"
        );
        assert!(text.contains("louver_readers{output=\"RtspUdp\"} 2"), "{text}");
        assert!(text.ends_with("# EOF\n"));
        drop(readers);
        assert!(m.encode().contains("louver_readers{output=\"RtspUdp\"} 0"));
    }
}
