//! Sources that are pulled: RTSP cameras with retina, and with FFmpeg's libraries whatever else they open.
//!
//! One task per path opens the source, reads it, judges it by the age of its last frame, and opens it again
//! for ever. The path's stream and its readers stay meanwhile. Not here: publishers (`egress::rtsp`).

mod address;
mod back_off;
mod demux;
mod describe;
mod elementary;
mod error;
mod options;
mod outlet;
mod redirect;
mod rtsp;
mod tls;

use std::time::Duration;
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::hub::Demand;
use crate::hub::PathState;
use crate::ingest::Context;
use crate::media::Description;
use crate::telemetry::Reason;

pub use address::AddressError;
pub use address::Pull;
pub(super) use address::Scheme;
pub use error::PullError;
pub use options::OptionError;
pub use options::Options;
pub use options::Transport;

use back_off::BackOff;
use outlet::Item;
use outlet::Outlet;
use rtsp::Way;

/// A source that is pulled on demand is left this long after its last reader.
const LINGER: Duration = Duration::from_secs(10);
/// An opening that lasted for this long was fine.
const WORKED: Duration = Duration::from_secs(5);
/// An opening that retina gave up before this had lasted is tried with FFmpeg's libraries next.
const TOO_SHORT: Duration = Duration::from_secs(60);
/// Wrong credentials are not tried more often than this: cameras lock users out.
const CREDENTIALS_PAUSE: Duration = Duration::from_secs(30);
/// A source that ends as soon as it has begun is asked again no more often than this.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// How often readers hear of us while the source is away.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Most redirections in a row.
const MAX_REDIRECTS: usize = 5;
/// After so many failures in a row, FFmpeg's libraries are no longer preferred.
const PREFERENCE_LASTS: u32 = 3;

/// Feeds the path from the source until `stop`.
pub(crate) async fn run(context: Context, pull: Pull, stop: CancellationToken) {
    let options = pull.options.clone();
    let mut puller = Puller {
        outlet: Outlet::new(&context),
        demand: context.path.demand(),
        back_off: BackOff::new(options.retry_first, options.retry_max),
        context,
        pull,
        options,
        said: String::new(),
        client: Client::Retina,
        way: Way::Tcp,
        failures: 0,
    };
    tokio::select! {
        () = puller.run() => {}
        () = stop.cancelled() => {}
    }
}

/// Who speaks to the source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Client {
    Retina,
    Libav,
}

struct Puller {
    context: Context,
    pull: Pull,
    options: Options,
    outlet: Outlet,
    demand: watch::Receiver<Demand>,
    back_off: BackOff,
    /// The error that was logged last.
    said: String,
    /// Who had more luck so far.
    client: Client,
    /// The transport that worked last.
    way: Way,
    failures: u32,
}

/// A source that plays.
enum Opened {
    Packets(Box<rtsp::Session>),
    Units(demux::Session),
}

impl Opened {
    fn description(&self) -> &Description {
        match self {
            Self::Packets(session) => session.description(),
            Self::Units(session) => session.description(),
        }
    }
    fn try_next(&mut self) -> Option<Result<Item, PullError>> {
        match self {
            Self::Packets(session) => session.try_next(),
            Self::Units(session) => session.try_next(),
        }
    }
    async fn next(&mut self) -> Result<Item, PullError> {
        match self {
            Self::Packets(session) => session.next().await,
            Self::Units(session) => session.next().await,
        }
    }
}

/// Why an opening is over.
enum Over {
    Failed(PullError),
    /// Nobody has watched for a while.
    Unwanted,
}

impl Puller {
    async fn run(&mut self) {
        loop {
            self.until_wanted().await;
            let began = self.context.clock.now();
            let over = match self.open().await {
                Ok(opened) => self.play(opened).await,
                Err(e) => (Over::Failed(e), 0),
            };
            self.outlet.pause();
            let lasted = self.context.clock.now().saturating_duration_since(began);
            let (error, frames) = match over {
                (Over::Unwanted, _) => {
                    self.outlet.end();
                    self.context.path.report(PathState::Waiting, None);
                    continue;
                }
                (Over::Failed(error), frames) => (error, frames),
            };
            if matches!(error, PullError::FileEnded) {
                self.outlet.end();
                self.context
                    .path
                    .report(PathState::Offline, Some(error.to_string()));
                return;
            }
            self.learn(&error, lasted, frames);
            self.wait(&error, frames, lasted).await;
        }
    }
    /// Waits until somebody watches, where that is asked for.
    async fn until_wanted(&mut self) {
        if !self.options.on_demand || is_wanted(&self.demand.borrow()) {
            return;
        }
        self.context.path.report(PathState::Waiting, None);
        if self.demand.wait_for(is_wanted).await.is_err() {
            std::future::pending::<()>().await; // the path is gone, and so are we soon
        }
        self.back_off.reset();
    }
    /// Opens the source with whoever had luck the last time, then with the other.
    async fn open(&mut self) -> Result<Opened, PullError> {
        self.context.metrics.source_starts.inc();
        let mut pull = self.pull.clone();
        for _ in 0..MAX_REDIRECTS {
            if !self.is_for_retina(&pull) {
                return self.open_by_libav(&pull).await;
            }
            let error = match self.open_by_retina(&pull).await {
                Ok(opened) => return Ok(opened),
                Err(e) => e,
            };
            if matches!(error, PullError::Status(300..=399)) && pull.scheme == Scheme::Rtsp {
                let asked = tokio::time::timeout(self.options.silence, redirect::location(&pull)).await;
                if let Ok(Some(moved)) = asked {
                    pull = moved;
                    continue;
                }
            }
            let older_tls = matches!(error, PullError::Tls) && self.options.insecure;
            if !error.is_of_the_dialogue() && !older_tls {
                return Err(error);
            }
            let Ok(opened) = self.open_by_libav(&pull).await else {
                return Err(error);
            };
            self.client = Client::Libav;
            return Ok(opened);
        }
        Err(PullError::Redirects)
    }
    fn is_for_retina(&self, pull: &Pull) -> bool {
        // In TLS media has no other way than TCP.
        let tunnelled = pull.scheme == Scheme::Rtsp && self.options.transport == Transport::Http;
        pull.is_rtsp() && !tunnelled && self.client == Client::Retina
    }
    async fn open_by_retina(&mut self, pull: &Pull) -> Result<Opened, PullError> {
        let bridged = self.bridged(pull).await?;
        let pull = bridged.as_ref().unwrap_or(pull);
        let ways: &[Way] = match (pull.options.transport, self.way) {
            (Transport::Tcp, _) => &[Way::Tcp],
            (Transport::Udp, _) => &[Way::Udp],
            (_, Way::Tcp) => &[Way::Tcp, Way::Udp],
            (_, Way::Udp) => &[Way::Udp, Way::Tcp],
        };
        let mut refused = PullError::Transport;
        for way in ways {
            match tokio::time::timeout(self.options.silence, rtsp::open(pull, *way)).await {
                Ok(Ok(session)) => {
                    self.way = *way;
                    return Ok(Opened::Packets(Box::new(session)));
                }
                // Some cameras do not say that they refuse TCP: they answer as if UDP had been asked for.
                Ok(Err(e @ (PullError::Transport | PullError::Dialogue))) => refused = e,
                Ok(Err(e)) => return Err(e),
                Err(_) => return Err(PullError::NoAnswer),
            }
        }
        Err(refused)
    }
    /// Where a source in TLS is reached; `None` for others.
    async fn bridged(&self, pull: &Pull) -> Result<Option<Pull>, PullError> {
        if pull.scheme != Scheme::Rtsps {
            return Ok(None);
        }
        let bridge = tls::bridge(&self.context, pull);
        match tokio::time::timeout(self.options.silence, bridge).await {
            Ok(bridged) => bridged.map(Some),
            Err(_) => Err(PullError::NoAnswer),
        }
    }
    async fn open_by_libav(&self, pull: &Pull) -> Result<Opened, PullError> {
        let bridged = match self.bridged(pull).await {
            // Its own TLS speaks to the oldest cameras, and compares nothing.
            Err(PullError::Tls) if self.options.insecure => None,
            bridged => bridged?,
        };
        let pull = bridged.as_ref().unwrap_or(pull);
        // What it must see before it can tell the tracks comes on top of the dialogue.
        let patience = self.options.silence + Duration::from_secs(5);
        let opening = demux::open(&self.context, pull);
        match tokio::time::timeout(patience, opening).await {
            Ok(opened) => {
                let session = opened?;
                if pull.scheme == Scheme::Rtsp {
                    tracing::info!(path = %self.context.name, "The source is read with FFmpeg's libraries.");
                }
                Ok(Opened::Units(session))
            }
            Err(_) => Err(PullError::NoAnswer),
        }
    }
    /// Reads an open source until it is gone; also tells how many frames came.
    async fn play(&mut self, mut opened: Opened) -> (Over, u64) {
        self.outlet.announce(opened.description().clone());
        self.tell_tracks(opened.description());
        let mut frames = 0;
        let mut last = self.context.clock.now();
        let mut wanted = last;
        loop {
            let came = match opened.try_next() {
                Some(came) => Some(came),
                None => {
                    self.outlet.flush();
                    let patience = self.patience(last).min(Duration::from_secs(1));
                    tokio::time::timeout(patience, opened.next()).await.ok()
                }
            };
            let lives = match came {
                None => Ok(false),
                Some(Ok(item)) => self.outlet.take(item),
                Some(Err(e)) => Err(e),
            };
            let now = self.context.clock.now();
            match lives {
                Ok(true) => (frames, last) = (frames + 1, now),
                Ok(false) if self.patience(last).is_zero() => {
                    return (Over::Failed(PullError::Silent(self.options.silence)), frames);
                }
                Ok(false) => {}
                Err(e) => return (Over::Failed(e), frames),
            }
            if frames == 1 {
                self.said.clear();
            }
            if !self.options.on_demand || is_wanted(&self.demand.borrow()) {
                wanted = now;
            } else if now.saturating_duration_since(wanted) > LINGER {
                return (Over::Unwanted, frames);
            }
        }
    }
    /// How long the next frame may take.
    fn patience(&self, last: Instant) -> Duration {
        let age = self.context.clock.now().saturating_duration_since(last);
        self.options.silence.saturating_sub(age)
    }
    fn tell_tracks(&self, description: &Description) {
        let codecs: Vec<_> = description.tracks.iter().map(|t| t.codec.to_string()).collect();
        tracing::info!(path = %self.context.name, codecs = codecs.join(", "), "The source is open.");
    }
    /// Chooses who tries next, by how the last opening went.
    fn learn(&mut self, error: &PullError, lasted: Duration, frames: u64) {
        if frames > 0 && lasted > WORKED {
            self.back_off.reset();
        }
        self.failures = if frames > 0 { 0 } else { self.failures + 1 };
        let refused = matches!(error, PullError::Dialogue) && lasted < TOO_SHORT;
        // It plays and gives nothing: perhaps to the other.
        let mute = matches!(error, PullError::Silent(_)) && frames == 0;
        match self.client {
            Client::Retina if (refused || mute) && self.pull.is_rtsp() => self.client = Client::Libav,
            Client::Libav if self.failures >= PREFERENCE_LASTS => {
                (self.client, self.failures) = (Client::Retina, 0);
            }
            _ => {}
        }
    }
    /// Says why the source is gone, and waits for the next attempt.
    async fn wait(&mut self, error: &PullError, frames: u64, lasted: Duration) {
        let text = error.to_string();
        if text != self.said {
            tracing::warn!(path = %self.context.name, "Pulling is interrupted: {text}.");
            self.said.clone_from(&text);
        }
        self.context.metrics.lose(Reason::Device, 1);
        let mut pause = self.back_off.next(random());
        match error {
            PullError::Credentials | PullError::NeedsCredentials => pause = pause.max(CREDENTIALS_PAUSE),
            // A download that ends has more when it is asked for again; a still picture not at once.
            PullError::Ended if frames > 0 && self.ends_often() => {
                pause = AT_MOST_EVERY.saturating_sub(lasted)
            }
            _ => {}
        }
        let until = self.context.clock.now() + pause;
        loop {
            let left = until.saturating_duration_since(self.context.clock.now());
            let next = self.context.clock.wall() + left;
            self.context.path.report_attempt(text.clone(), next);
            self.outlet.report_while_away();
            let deserted = self.outlet.is_open();
            tokio::select! {
                () = tokio::time::sleep(left) => return,
                () = tokio::time::sleep(REPORT_EVERY) => {}
                _ = self.demand.wait_for(|d| !is_wanted(d)), if deserted => self.outlet.end(),
            }
        }
    }
    /// Whether an end is nothing unusual.
    fn ends_often(&self) -> bool {
        self.pull.endless || matches!(self.pull.scheme, Scheme::Http | Scheme::Https)
    }
}

fn is_wanted(demand: &Demand) -> bool {
    *demand != Demand::default()
}

/// Any number, for jitter; without randomness there is no jitter.
fn random() -> u8 {
    let mut random = [0];
    let _ = getrandom::fill(&mut random);
    random[0]
}
