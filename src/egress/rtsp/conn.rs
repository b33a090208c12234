//! Drives one RTSP connection: bytes to `proto::rtsp`, its questions to the hub, its answers to the socket.
//!
//! The task sleeps while all goes well: media of a reader is written by the fan-out shards. It wakes for
//! requests, for timers, and while the socket is full.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use std::time::Instant;

use tokio::io::AsyncRead;
use tokio::io::ReadBuf;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::base::peer::PeerAddr;
use crate::egress::rtsp::Server;
use crate::egress::rtsp::announce::Record;
use crate::egress::rtsp::counted;
use crate::egress::rtsp::few::Few;
use crate::egress::rtsp::front;
use crate::egress::rtsp::front::Begun;
use crate::egress::rtsp::link::Input as LinkInput;
use crate::egress::rtsp::multicast::Groups;
use crate::egress::rtsp::play::Play;
use crate::egress::rtsp::record::Recording;
use crate::egress::rtsp::seat::Seat;
use crate::egress::rtsp::setup::find;
use crate::egress::rtsp::talk::Talk;
use crate::egress::rtsp::tcp::TcpOut;
use crate::egress::rtsp::tcp::Wrote;
use crate::egress::rtsp::udp::UdpPair;
use crate::media::TrackId;
use crate::proto::rtsp::auth::Users;
use crate::proto::rtsp::server::Answer;
use crate::proto::rtsp::server::Ask;
use crate::proto::rtsp::server::Carrier;
use crate::proto::rtsp::server::Conn;
use crate::proto::rtsp::server::Event;
use crate::proto::rtsp::server::ForPeer;
use crate::proto::rtsp::server::Input;
use crate::proto::rtsp::server::Options;
use crate::proto::rtsp::server::Output;
use crate::proto::rtsp::server::Purpose;
use crate::proto::rtsp::server::Refusal;
use crate::proto::rtsp::server::SessionId;
use crate::proto::rtsp::server::backchannel_type;
use crate::telemetry::Reason;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// How often a reader of a group is looked after.
const LOOK: Duration = Duration::from_secs(1);
/// Taken from the socket in one go. A publisher's picture in one read is one burst.
const READ: usize = 64 << 10;

thread_local! {
    /// One for all connections of a thread: most of them are readers, which hardly ever send anything.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// A connection on which RTSP begins; `None` without unguessable numbers.
///
/// Boxed: a future keeps its arguments twice, and there are thousands of these.
pub(super) fn open(
    server: &Arc<Server>,
    begun: Begun,
    udp: Option<Arc<UdpPair>>,
    groups: Option<Arc<Groups>>,
    users: Option<Arc<Users>>,
) -> Option<(Box<Driver>, Seat)> {
    // Before anybody is let in: no change is missed.
    let recall = server.context.recall.next();
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).ok()?;
    let settings = server.context.options.get();
    let options = Options {
        server_ports: udp.as_ref().map(|u| u.ports()),
        multicast: groups.is_some(),
        idle: settings.idle,
        limits: Arc::clone(&settings.limits.of_connection),
        users,
        carrier: match begun.carrier {
            front::Carrier { tunnelled: true, .. } => Carrier::Tunnel,
            front::Carrier { encrypted: true, .. } => Carrier::Tls,
            _ => Carrier::Tcp,
        },
    };
    let ids = Box::new(|| getrandom::u64().unwrap_or_default());
    let mut core = Conn::new(server.context.clock.now(), options, nonce, ids);
    if let Err(error) = core.handle(server.context.clock.now(), Input::Bytes(&begun.already)) {
        server.count(&error);
    }
    // Through a tunnel comes who gets nothing else: a description must not send it to a group.
    let groups = groups.filter(|_| !begun.carrier.tunnelled && !begun.carrier.encrypted);
    let (input, output) = begun.link.split();
    let attention = Arc::new(Notify::new());
    let driver = Driver {
        server: Arc::clone(server),
        input,
        out: Arc::new(TcpOut::new(output, Arc::clone(&attention))),
        core,
        peer: begun.peer,
        udp,
        groups,
        attention,
        plays: Few::default(),
        records: Few::default(),
        talks: Few::default(),
        announced: None,
        recall,
    };
    Some((Box::new(driver), begun.seat))
}

/// One connection and what it reads or publishes.
pub(super) struct Driver {
    pub(super) server: Arc<Server>,
    input: LinkInput,
    pub(super) out: Arc<TcpOut>,
    core: Conn,
    pub(super) peer: PeerAddr,
    pub(super) udp: Option<Arc<UdpPair>>,
    pub(super) groups: Option<Arc<Groups>>,
    /// Told by the fan-out when a stream that is read here has ended, or the socket failed or is full.
    pub(super) attention: Arc<Notify>,
    pub(super) plays: Few<Box<Play>>,
    pub(super) records: Few<Record>,
    /// Sessions whose reader may speak.
    pub(super) talks: Few<Arc<Mutex<Talk>>>,
    /// A stream that was announced and has no session yet.
    pub(super) announced: Option<Arc<Mutex<Recording>>>,
    /// Users or rules have changed since they were asked, or the server stops.
    recall: CancellationToken,
}

impl Driver {
    /// Serves until either side has enough of it. An error is the peer's going away or its not reading: there is
    /// nobody left to tell.
    pub(super) async fn run(&mut self, stop: &CancellationToken) -> io::Result<()> {
        // While it runs, `recall` tells of the stop too.
        while !stop.is_cancelled() {
            let Some(wake) = self.outputs().await? else {
                return Ok(());
            };
            self.flush_and_begin()?;
            let wake = self.stuck_at().map_or(wake, |at| at.min(wake));
            let wake = self.look_at().map_or(wake, |at| at.min(wake));
            let wake = self.reports_due().map_or(wake, |at| at.min(wake));
            let wake = self.silent_at().map_or(wake, |at| at.min(wake));
            tokio::select! {
                read = read(&mut self.input, &mut self.core, &self.server) => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
                // Boxed: rare, and its size would be every connection's.
                ready = async { Box::pin(self.out.writable()).await }, if self.out.is_full() => {
                    ready?;
                    self.catch_up()?;
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    self.tick()?;
                    if self.plays.values().any(|play| play.is_in_group()) && self.ended() {
                        return Ok(());
                    }
                }
                // If the socket is full, the next turn waits for room.
                () = self.attention.notified() => {
                    if self.ended() || self.is_taken_over() {
                        return Ok(());
                    }
                }
                () = self.recall.cancelled() => {
                    if stop.is_cancelled() {
                        return Ok(());
                    }
                    self.recall = self.server.context.recall.next();
                    let now = self.now();
                    if let Err(error) = self.core.handle(now, Input::RightsChanged) {
                        self.server.count(&error);
                    }
                }
            }
        }
        Ok(())
    }
    pub(super) fn now(&self) -> Instant {
        self.server.context.clock.now()
    }
    /// Does all that the protocol wants done. The instant to wake at, or `None` to close.
    async fn outputs(&mut self) -> io::Result<Option<Instant>> {
        loop {
            match self.core.poll() {
                Output::Send(bytes) => {
                    self.out.write([bytes.into()].iter())?;
                }
                Output::Ask(ask) => {
                    // Boxed: rare, and its size would be every connection's.
                    let answer = Box::pin(self.answer(ask)).await.unwrap_or_else(Answer::Refused);
                    let now = self.now();
                    self.core.answer(now, answer);
                }
                Output::Event(event) => self.event(event),
                Output::Interleaved {
                    session,
                    track,
                    rtcp,
                    packet,
                } => {
                    if let Some(record) = self.records.get(session) {
                        record
                            .recording
                            .lock()
                            .expect(NOT_POISONED)
                            .packet(track, rtcp, &packet);
                    } else if let Some(talk) = self.talks.get(session)
                        && backchannel_type(track).is_some()
                    {
                        self.spoken(talk, track, rtcp, &packet);
                    } else if let Some(play) = self.plays.get(session) {
                        play.report(&packet, self.now());
                    }
                }
                Output::WaitUntil(at) => return Ok(Some(at)),
                Output::Close => return Ok(None),
            }
        }
    }
    /// What a reader by TCP says.
    fn spoken(&self, talk: &Mutex<Talk>, track: TrackId, is_rtcp: bool, packet: &[u8]) {
        let takes = {
            let mut talk = talk.lock().expect(NOT_POISONED);
            talk.takes(track, is_rtcp, packet, self.now())
        };
        if let Some(recording) = takes {
            let mut recording = recording.lock().expect(NOT_POISONED);
            recording.packet(TrackId(0), is_rtcp, packet);
            recording.flush();
        }
    }
    /// After the protocol had its say: lets go what a read brought, starts what PLAY asked for.
    fn flush_and_begin(&mut self) -> io::Result<()> {
        for record in self.records.values() {
            record.recording.lock().expect(NOT_POISONED).flush();
        }
        let now = self.now();
        let Server { context, fanouts, .. } = &*self.server;
        for play in self.plays.values_mut() {
            play.begin(now, &self.out, fanouts, &context.recorder, &self.attention)?;
        }
        Ok(())
    }
    fn catch_up(&self) -> io::Result<()> {
        let now = self.now();
        let (wrote, taken) = self.out.drain()?;
        if taken > 0 {
            self.plays.values().for_each(|play| play.took_something(now));
        }
        if wrote == Wrote::Full {
            return Ok(());
        }
        self.plays
            .values()
            .try_for_each(|play| play.catch_up(now, &self.server.fanouts))
    }
    fn tick(&mut self) -> io::Result<()> {
        let now = self.now();
        if self.stuck_at().is_some_and(|at| now >= at) {
            self.server.context.metrics.lose(Reason::ReaderStuck, 1);
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.end_silent(now) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.report(now)?;
        let plays = self.plays.iter().filter_map(|(id, play)| {
            let heard = play.sign_of_life(now).max(self.spoke(id))?;
            Some((id, heard))
        });
        let records = self.records.iter().map(|(id, record)| {
            let recording = record.recording.lock().expect(NOT_POISONED);
            (id, recording.heard())
        });
        let heard: Vec<_> = plays.chain(records).collect();
        for (id, heard) in heard {
            self.core.alive(now, id, heard);
        }
        if let Err(error) = self.core.handle(now, Input::Tick) {
            self.server.count(&error);
        }
        Ok(())
    }
    fn spoke(&self, session: SessionId) -> Option<Instant> {
        self.talks.get(session)?.lock().expect(NOT_POISONED).heard()
    }
    fn let_speak(&self, session: SessionId, may: bool) {
        let talk = self.talks.get(session);
        talk.into_iter()
            .for_each(|talk| talk.lock().expect(NOT_POISONED).set_running(may));
    }
    /// When to look whether a stream has ended that nobody tells us of: one that goes to a group.
    fn look_at(&self) -> Option<Instant> {
        let in_group = self.plays.values().any(|play| play.is_in_group());
        in_group.then(|| self.now() + LOOK)
    }
    /// When a reader whose socket is full has been patient enough with us.
    fn stuck_at(&self) -> Option<Instant> {
        let full = self.out.is_full();
        let last = full.then(|| self.plays.values().filter_map(|play| play.stuck_since()).max())??;
        Some(last + self.server.context.options.get().stuck)
    }

    /// Ends sessions whose stream has ended. Whether the connection ends with them: nothing else is done here.
    fn ended(&mut self) -> bool {
        let plays = self.plays.iter().filter(|(_, play)| play.bye_if_ended());
        let over: Vec<SessionId> = plays.map(|(id, _)| id).collect();
        let now = self.now();
        for session in &over {
            self.end(*session);
            if let Err(error) = self.core.handle(now, Input::StreamEnded(*session)) {
                self.server.count(&error);
            }
        }
        let rests = self.plays.is_empty() && self.records.is_empty() && self.announced.is_none();
        !over.is_empty() && rests
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Paused { session } => {
                self.let_speak(session, false);
                self.plays
                    .get_mut(session)
                    .into_iter()
                    .for_each(|play| play.pause());
                if let Some(record) = self.records.get(session) {
                    record.recording.lock().expect(NOT_POISONED).set_running(false);
                }
            }
            Event::TornDown { session } => self.end(session),
            Event::Dismissed { session, path } => {
                self.end(session);
                if let Some(path) = self.server.context.hub.find(&path) {
                    tracing::info!(path = %path.name(), "A session was ended: its user may not have it any more.");
                }
            }
            Event::TimedOut { session } => {
                self.plays
                    .get(session)
                    .into_iter()
                    .for_each(|play| play.end_as_last_seen());
                self.end(session);
            }
            Event::TrackTornDown { session, track } if backchannel_type(track).is_some() => {
                self.end_talk(session, Some(track));
            }
            Event::TrackTornDown { session, track } => {
                self.plays
                    .get_mut(session)
                    .into_iter()
                    .for_each(|play| play.drop_track(track));
            }
            Event::Limited(limit) => self.server.context.metrics.limit(counted(limit)),
            Event::Forbidden { path } => {
                self.server.context.metrics.lose(Reason::Unauthorized, 1);
                let told = self.server.refusals.tell(self.now());
                if let (Some(path), Some(more)) = (self.server.context.hub.find(&path), told) {
                    tracing::warn!(path = %path.name(), more, "A user was refused: it may not do that here.");
                }
            }
            Event::Unauthorized { path } => {
                self.server.context.metrics.lose(Reason::Unauthorized, 1);
                let Some(more) = self.server.refusals.tell(self.now()) else {
                    return;
                };
                match self.server.context.hub.find(&path) {
                    Some(path) => {
                        tracing::warn!(path = %path.name(), more, "A peer was refused: wrong credentials.");
                    }
                    None => tracing::warn!(more, "A peer was refused on an unknown path: wrong credentials."),
                }
            }
        }
    }
    /// The connection is over: sessions that need none are kept for another one.
    pub(super) fn give_up(&mut self) {
        for session in self.core.give_up() {
            if let Some(play) = self.plays.remove(session.id()) {
                self.server.keeper.keep(session, play, self.peer.again());
            }
        }
    }
    fn claim(&mut self, session: SessionId) -> Answer {
        let kept = self.server.keeper.claim(session, &self.peer);
        let kept = kept.map(|(kept, play)| {
            play.answer_to(&self.attention);
            self.plays.insert(session, play);
            Box::new(kept)
        });
        Answer::Kept(kept)
    }
    fn end(&mut self, session: SessionId) {
        self.plays.remove(session);
        self.end_talk(session, None);
        if let Some(record) = self.records.remove(session) {
            self.close_routes(&record);
            self.announced = None;
        }
    }
    async fn answer(&mut self, ask: Ask) -> Result<Answer, Refusal> {
        match ask {
            Ask::Describe(target) => {
                let server = Arc::clone(&self.server);
                let (path, stream) = find(&server, &target).await?;
                self.describe(&target, &path, &stream)
            }
            Ask::Announce(target, body) => self.announce(&target, &body),
            Ask::Setup(setup) if setup.purpose == Purpose::Record => self.setup_record(&setup),
            Ask::Setup(setup) => self.setup_play(setup).await,
            Ask::Play { session } => {
                let (now, patience) = (self.now(), self.server.context.options.get().patience);
                let play = self.plays.get_mut(session).ok_or(Refusal::Internal)?;
                let rtp_info = play.prepare(now, patience).await;
                let receipt = play.receipt();
                self.let_speak(session, true);
                Ok(match receipt {
                    Some(receipt) => Answer::PlayingNoted {
                        rtp_info,
                        receipt: ForPeer(receipt.into_header()),
                    },
                    None => Answer::Playing { rtp_info },
                })
            }
            Ask::Claim { session } => Ok(self.claim(session)),
            Ask::Record { session } => {
                let record = self.records.get(session).ok_or(Refusal::Internal)?;
                record.recording.lock().expect(NOT_POISONED).set_running(true);
                for (_, rtp, rtcp) in &record.routes {
                    self.udp.iter().for_each(|udp| udp.punch(*rtp, *rtcp));
                }
                Ok(Answer::Recording)
            }
        }
    }
}

/// Waits for bytes and gives them to the protocol; how many they were, 0 at their end.
///
/// The socket is polled, not waited on and then tried: a read that does not fill the buffer has emptied the
/// socket, and polling knows that without another call.
async fn read(input: &mut LinkInput, core: &mut Conn, server: &Server) -> io::Result<usize> {
    std::future::poll_fn(|cx| {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *input).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            let now = server.context.clock.now();
            if !bytes.is_empty()
                && let Err(error) = core.handle(now, Input::Bytes(bytes))
            {
                server.count(&error);
            }
            Poll::Ready(Ok(bytes.len()))
        })
    })
    .await
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.out.close();
        self.end_talks();
        for record in self.records.values() {
            self.close_routes(record);
        }
    }
}
