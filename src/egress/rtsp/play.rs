//! One playing session: what it reads, how it gets it, and its place in the fan-out.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;

use crate::analytics::Protocol;
use crate::analytics::Recorder;
use crate::analytics::SessionHandle;
use crate::analytics::Transport;
use crate::base::seats::Taken;
use crate::egress::rtsp::delivery::Begin;
use crate::egress::rtsp::delivery::Delivery;
use crate::egress::rtsp::delivery::Pumped;
use crate::egress::rtsp::fanout::Fanouts;
use crate::egress::rtsp::fanout::Slot;
use crate::egress::rtsp::multicast::Groups;
use crate::egress::rtsp::multicast::Sender;
use crate::egress::rtsp::routes::Heard;
use crate::egress::rtsp::routes::Route;
use crate::egress::rtsp::tcp::TcpOut;
use crate::egress::rtsp::udp::UdpPair;
use crate::egress::rtsp::way::Ports;
use crate::egress::rtsp::way::Way;
use crate::egress::sealed::Sealed;
use crate::hub::Attached;
use crate::hub::PathName;
use crate::hub::Reporter;
use crate::hub::Stream;
use crate::media::TrackId;
use crate::privacy::Receipt;
use crate::privacy::Viewer;
use crate::proto::rtp::rtcp;
use crate::proto::rtp::rtcp::Rtcp;
use crate::proto::rtsp::server::RtpInfo;
use crate::telemetry::AttachedReader;
use crate::telemetry::Output;

/// How one track goes out.
#[derive(Clone, Copy)]
pub(super) enum TrackWay {
    Tcp(u8, u8),
    Udp(Ports),
    /// To a group: one sender for all readers.
    Multicast,
}

/// Where a playing session stands.
enum State {
    /// Not begun, or paused.
    Silent,
    /// PLAY was answered; media follows the answer.
    Starting(u64),
    Playing,
}

/// A stream that brings nothing for so long gives its readers nothing to report on.
const AWAY: Duration = Duration::from_secs(2);

/// What a reader of a multicast group has.
struct InGroup {
    groups: Arc<Groups>,
    /// While it plays.
    sender: Option<Arc<Sender>>,
    session: Option<SessionHandle>,
}

/// One playing session.
pub(super) struct Play {
    reading: Attached,
    stream: Arc<Stream>,
    ways: Vec<Option<TrackWay>>,
    udp: Option<Arc<UdpPair>>,
    /// When it was set up.
    since: Instant,
    /// Kept by the UDP sockets: when the reader last sent something.
    heard: Option<Arc<Heard>>,
    state: State,
    slot: Option<Arc<Slot>>,
    /// What sends to the group, and the statistics session, where that is the way.
    group: Option<Box<InGroup>>,
    /// The number of whoever it is, for what they report; none of who opted out and reports to nobody.
    whose: Option<u64>,
    /// What it says of our packets by TCP; made with its first report.
    reporter: OnceLock<Box<Reporter>>,
    /// Opens the statistics session; taken when media begins.
    viewer: Option<Viewer>,
    /// The name it is counted under.
    path: Arc<str>,
    /// The copy that is read, where it is SRTP.
    sealed: Option<Arc<Sealed>>,
    /// It counts as a session for as long as it lives.
    place: Option<Taken>,
    /// It counts as a reader from its first PLAY on.
    attached: Option<AttachedReader>,
}

impl Play {
    /// Reads a stream as SRTP.
    pub(super) fn new_sealed(
        sealed: Arc<Sealed>,
        path: Arc<str>,
        viewer: Option<Viewer>,
        now: Instant,
    ) -> Self {
        let (reading, stream) = (sealed.path().attach(), Arc::clone(sealed.stream()));
        let mut play = Self::new(reading, stream, path, viewer, now);
        play.sealed = Some(sealed);
        play
    }
    /// The copy that is read, where it is SRTP.
    pub(super) fn sealed(&self) -> Option<&Arc<Sealed>> {
        self.sealed.as_ref()
    }
    /// What makes its viewer able to see and erase the session that will begin; not for one that began.
    pub(super) fn receipt(&self) -> Option<Receipt> {
        self.viewer.as_ref()?.receipt()
    }
    /// `reading` is the path or rendition whose `stream` is read, `path` the name it is counted under.
    pub(super) fn new(
        reading: Attached,
        stream: Arc<Stream>,
        path: Arc<str>,
        viewer: Option<Viewer>,
        now: Instant,
    ) -> Self {
        let ways = vec![None; stream.description().tracks.len()];
        Self {
            reading,
            stream,
            ways,
            udp: None,
            heard: None,
            since: now,
            state: State::Silent,
            slot: None,
            group: None,
            whose: viewer.as_ref().map(Viewer::reader_number),
            reporter: OnceLock::new(),
            viewer,
            path,
            sealed: None,
            place: None,
            attached: None,
        }
    }
    /// Takes its place among all sessions.
    pub(super) fn sitting(mut self, place: Taken) -> Self {
        self.place = Some(place);
        self
    }
    /// The path that is read.
    pub(super) fn path_name(&self) -> &PathName {
        self.reading.path().name()
    }
    pub(super) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }
    /// Whether any track was set up.
    pub(super) fn has_tracks(&self) -> bool {
        self.ways.iter().any(Option::is_some)
    }
    /// The socket took some of what it was too full for.
    pub(super) fn took_something(&self, now: Instant) {
        self.slot
            .iter()
            .for_each(|slot| slot.delivery().note_progress(now));
    }
    /// Whether a track may go this way: who has begun goes on by the same transport.
    pub(super) fn may_go(&self, way: &TrackWay) -> bool {
        let joined = self.group.as_ref().is_some_and(|group| group.session.is_some());
        match (&self.slot, joined) {
            (Some(slot), _) => slot.delivery().goes_like(way),
            (None, true) => matches!(way, TrackWay::Multicast),
            (None, false) => true,
        }
    }
    /// Adds or replaces a track's way. False if another session has its UDP ports: then all is as it was.
    pub(super) fn set_way(
        &mut self,
        track: TrackId,
        way: TrackWay,
        udp: Option<&Arc<UdpPair>>,
        now: Instant,
    ) -> bool {
        let n = usize::from(track.0);
        if n >= self.ways.len() {
            return false;
        }
        // First, since its new ports may be among the old ones.
        self.close_route(n);
        if let (TrackWay::Udp(ports), Some(udp)) = (way, udp) {
            if !self.open_route(track, ports, udp, now) {
                if let (Some(TrackWay::Udp(old)), Some(udp)) = (self.ways[n], self.udp.clone()) {
                    self.open_route(track, old, &udp, now);
                }
                return false;
            }
            self.udp = Some(Arc::clone(udp));
        }
        if !matches!(way, TrackWay::Multicast) {
            self.group = None;
        }
        if !matches!(way, TrackWay::Udp(_)) {
            (self.udp, self.heard) = (None, None);
        }
        self.ways[n] = Some(way);
        if let Some(slot) = &self.slot {
            slot.delivery().add_track(track, way);
        }
        true
    }
    fn open_route(&mut self, track: TrackId, ports: Ports, udp: &UdpPair, now: Instant) -> bool {
        let counted = self.whose.map(|whose| (Arc::clone(&self.stream), whose));
        let heard = self.heard.get_or_insert_with(|| Heard::new(self.since, counted));
        heard.forget(track);
        let route = Route::Reader(Arc::clone(heard), track);
        udp.open_route(ports.rtp(), ports.rtcp(), &route, now)
    }
    /// Decides where the session (re)starts and tells what comes first on each track. Waits for a keyframe
    /// at most as long as `patience`, then begins anywhere.
    pub(super) async fn prepare(&mut self, now: Instant, patience: Duration) -> Vec<RtpInfo> {
        let at = match (&self.state, &self.slot) {
            (State::Playing, Some(slot)) => slot.delivery().at(),
            _ => {
                self.reading.path().wish_keyframe();
                let found = tokio::time::timeout(patience, self.stream.joinable()).await;
                let at = found.ok().flatten().unwrap_or_else(|| self.stream.ring().end());
                self.state = State::Starting(at);
                at
            }
        };
        let sender = self.group.as_ref().and_then(|g| g.sender.as_ref());
        let at = sender.map_or(at, |sender| sender.at());
        let positions = self.stream.positions(at, now);
        let chosen = positions
            .iter()
            .filter(|p| matches!(self.ways.get(usize::from(p.track.0)), Some(Some(_))));
        chosen
            .map(|p| RtpInfo {
                track: p.track,
                sequence: p.sequence,
                rtp_time: p.rtp_time,
            })
            .collect()
    }
    /// Begins to send, if PLAY was just answered.
    ///
    /// # Errors
    /// When the connection failed.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        out: &Arc<TcpOut>,
        fanouts: &Arc<Fanouts>,
        recorder: &Recorder,
        over: &Arc<Notify>,
    ) -> io::Result<()> {
        let State::Starting(at) = self.state else {
            return Ok(());
        };
        self.state = State::Playing;
        let tcp = matches!(self.ways.iter().flatten().next(), Some(TrackWay::Tcp(..)));
        let (output, transport) = if tcp {
            (Output::RtspTcp, Transport::Tcp)
        } else {
            (Output::RtspUdp, Transport::Udp)
        };
        self.attached.get_or_insert_with(|| fanouts.attach(output));
        if self.group.is_some() {
            self.join(at, now, fanouts, recorder);
            return Ok(());
        }
        if let Some(slot) = &self.slot {
            slot.delivery().resume_at(at);
            return self.catch_up(now, fanouts);
        }
        let way = match (&self.udp, &self.heard) {
            (Some(udp), Some(heard)) if !tcp => Way::udp(Arc::clone(udp), Arc::clone(heard), &self.ways),
            _ => Way::tcp(Arc::clone(out), &self.ways),
        };
        let (viewer, path) = (self.viewer.take(), Arc::clone(&self.path));
        let attempt = recorder.attempt(viewer, path, Protocol::Rtsp, transport, self.since);
        let begin: Begin = Box::new(move || attempt.begin());
        let delivery = Delivery::new(Arc::clone(&self.stream), way, at, now, Some(begin));
        let slot = Slot::new(delivery, output, Arc::clone(over));
        self.slot = Some(Arc::clone(&slot));
        let sent = self.catch_up(now, fanouts);
        fanouts.add(&self.stream, slot); // also looks for what came meanwhile
        sent
    }
    /// The way is a group, from now on.
    pub(super) fn set_group(&mut self, groups: &Arc<Groups>) {
        self.group.get_or_insert_with(|| {
            Box::new(InGroup {
                groups: Arc::clone(groups),
                sender: None,
                session: None,
            })
        });
    }
    /// Whether somebody has to look now and then whether the stream has ended: no shard tells it.
    pub(super) fn is_in_group(&self) -> bool {
        self.group.is_some()
    }
    fn join(&mut self, at: u64, now: Instant, fanouts: &Arc<Fanouts>, recorder: &Recorder) {
        let Some(group) = &mut self.group else { return };
        let name = self.reading.path().name();
        group.sender = group.groups.sender(&self.stream, name, at, now, fanouts);
        match &group.session {
            Some(session) => session.resume(),
            None => {
                let (viewer, path) = (self.viewer.take(), Arc::clone(&self.path));
                group.session = Some(recorder.begin(viewer, path, Protocol::Rtsp, Transport::Udp));
            }
        }
    }
    /// Sends what the ring has, now that there is room; back to the fan-out when all is sent.
    ///
    /// # Errors
    /// When the connection failed.
    pub(super) fn catch_up(&self, now: Instant, fanouts: &Fanouts) -> io::Result<()> {
        let (State::Playing, Some(slot)) = (&self.state, &self.slot) else {
            return Ok(());
        };
        let mut delivery = slot.delivery();
        if delivery.pump(now, u64::MAX, &[])? != Pumped::Full {
            slot.set_idle(false);
            // A burst may have come after the look into the ring, when the shard still passed us over.
            if delivery.pump(now, u64::MAX, &[])? == Pumped::Full {
                slot.set_idle(true);
            }
        }
        fanouts.count(slot.output, delivery.take_tally());
        Ok(())
    }
    pub(super) fn pause(&mut self) {
        self.state = State::Silent;
        if let Some(group) = &mut self.group {
            group.sender = None;
            group.session.iter().for_each(|session| session.pause());
        }
        if let Some(slot) = &self.slot {
            let delivery = slot.delivery();
            slot.set_idle(true);
            delivery.pause();
        }
    }
    pub(super) fn drop_track(&mut self, track: TrackId) {
        self.close_route(usize::from(track.0));
        self.ways
            .get_mut(usize::from(track.0))
            .into_iter()
            .for_each(|way| *way = None);
        if let Some(slot) = &self.slot {
            slot.delivery().drop_track(track);
        }
    }
    /// When anything last showed that the reader is there: RTCP by UDP, or a TCP socket that takes what we send.
    /// While the source is away, readers by UDP are not expected to speak: some report on what they receive and say
    /// nothing else.
    pub(super) fn sign_of_life(&self, now: Instant) -> Option<Instant> {
        let away = now
            .checked_sub(AWAY)
            .is_some_and(|at| self.stream.is_silent_since(at));
        if away { Some(now) } else { self.last_seen() }
    }
    /// The session ended because nothing was heard of its reader: it counts up to the last sign of life.
    pub(super) fn end_as_last_seen(&self) {
        if let (Some(slot), Some(at)) = (&self.slot, self.last_seen()) {
            slot.delivery().end_at(at);
        }
    }
    /// Another task is told from now on of the stream's end.
    pub(super) fn answer_to(&self, attention: &Arc<Notify>) {
        self.slot.iter().for_each(|slot| slot.tell(attention));
    }
    /// When the reader last gave a sign of life.
    pub(super) fn last_seen(&self) -> Option<Instant> {
        match &self.udp {
            Some(_) => self.heard.as_ref()?.last(),
            None => self.slot.as_ref().map(|slot| slot.delivery().progress()),
        }
    }
    /// When a full socket last took something; `None` if it is not full or not ours.
    pub(super) fn stuck_since(&self) -> Option<Instant> {
        Some(self.slot.as_ref()?.delivery().progress())
    }
    /// What a reader by TCP says of our packets.
    pub(super) fn report(&self, packet: &[u8], now: Instant) {
        let Some(whose) = self.whose else {
            return;
        };
        let new = || Box::new(Reporter::new(Arc::clone(&self.stream), whose));
        for packet in rtcp::parse(packet).unwrap_or_default() {
            if let Rtcp::ReceiverReport { reports, .. } = packet {
                self.reporter.get_or_init(new).report(&reports, now);
            }
        }
    }
    /// Whether the reader said good-bye by RTCP.
    pub(super) fn has_left(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.left())
    }
    /// Says good-bye if the stream has ended; true if so.
    pub(super) fn bye_if_ended(&self) -> bool {
        let ended = self.stream.watch().borrow().ended;
        if ended && let Some(slot) = &self.slot {
            slot.delivery().bye();
        }
        if ended && let Some(sender) = self.group.as_ref().and_then(|g| g.sender.as_ref()) {
            sender.bye();
        }
        ended
    }
    fn close_route(&self, n: usize) {
        if let (Some(Some(TrackWay::Udp(ports))), Some(udp)) = (self.ways.get(n), &self.udp) {
            udp.close_route(&ports.rtp(), &ports.rtcp());
        }
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        (0..self.ways.len()).for_each(|n| self.close_route(n));
        if let Some(slot) = &self.slot {
            slot.set_idle(true);
            slot.leave();
            slot.delivery().end();
        }
    }
}
