//! One opening of a source with FFmpeg's libraries: a thread takes it apart, access units come out.
//!
//! For what retina does not speak: TLS, HTTP tunnels, other protocols, files, and cameras that it refuses.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

use super::address::Pull;
use super::address::Scheme;
use super::elementary;
use super::elementary::Shape;
use super::error::PullError;
use super::options::Transport;
use super::outlet::Item;
use crate::av::AvError;
use crate::av::demux::Coded;
use crate::av::demux::Demuxer;
use crate::av::demux::Opening;
use crate::base::clock::SharedClock;
use crate::base::time::MediaTime;
use crate::base::time::NtpTime;
use crate::base::time::Rate;
use crate::ingest::Context;
use crate::ingest::pace::nap;
use crate::media::AccessUnit;
use crate::media::Description;
use crate::media::TrackId;

/// Units that the thread may be ahead of the path; then it waits, and the network with it.
const AHEAD: usize = 64;
/// Units that are read to learn of a track what its container does not say.
const LOOK_AHEAD: usize = 300;
/// A file or a download that falls behind its own clock by more than this is not hurried afterwards.
const BEHIND: Duration = Duration::from_secs(1);

/// A longer step is none: the source's clock was set.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Most tracks that are relayed.
const MAX_TRACKS: u8 = 16;
/// Where distributions keep their list of authorities: Debian, Fedora, openSUSE, Alpine and Homebrew.
const AUTHORITIES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
];
/// How often tracks are told how they lie beside each other, microseconds.
const REPORT_EVERY: i64 = 5_000_000;

/// A source that plays.
pub(super) struct Session {
    description: Description,
    units: mpsc::Receiver<Result<Item, PullError>>,
    /// Ends the thread.
    _stop: DropGuard,
}

/// Opens the source and lets it play.
pub(super) async fn open(context: &Context, pull: &Pull) -> Result<Session, PullError> {
    let (units_in, units) = mpsc::channel(AHEAD);
    let (told, tell) = oneshot::channel();
    let stop = context.tasks.stopped().child_token();
    let guard = stop.clone().drop_guard();
    let thread = Thread {
        opening: opening(pull),
        clock: context.clock.clone(),
        paced: matches!(pull.scheme, Scheme::File | Scheme::Http | Scheme::Https),
        once: pull.scheme == Scheme::File && !pull.endless,
        stop,
        units: units_in,
    };
    let spawned = context.tasks.spawn_thread("demuxer", move |_| thread.run(told));
    spawned.map_err(|_| PullError::NoThread)?;
    let description = tell.await.map_err(|_| PullError::Ended)??;
    Ok(Session {
        description,
        units,
        _stop: guard,
    })
}

impl Session {
    /// What it sends.
    pub(super) fn description(&self) -> &Description {
        &self.description
    }
    /// What came; `None` when nothing has come yet.
    pub(super) fn try_next(&mut self) -> Option<Result<Item, PullError>> {
        self.next().now_or_never()
    }
    /// What comes next. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Item, PullError> {
        self.units.recv().await.unwrap_or(Err(PullError::Ended))
    }
}

/// What the libraries are told. Nothing that a source says may lead them to files of this machine.
fn opening(pull: &Pull) -> Opening {
    let mut options = vec![("protocol_whitelist", whitelist(pull.scheme).to_owned())];
    if matches!(pull.scheme, Scheme::Rtsp | Scheme::Rtsps) {
        match pull.options.transport {
            Transport::Auto => options.push(("rtsp_flags", "prefer_tcp".to_owned())),
            Transport::Tcp => options.push(("rtsp_transport", "tcp".to_owned())),
            Transport::Udp => options.push(("rtsp_transport", "udp".to_owned())),
            Transport::Http => options.push(("rtsp_transport", "http".to_owned())),
        }
        options.push(("allowed_media_types", "video+audio".to_owned()));
        options.push(("user_agent", pull.agent.clone()));
    }
    // RTSP in TLS comes here only where any certificate is taken.
    if matches!(pull.scheme, Scheme::Https | Scheme::Rtmps) && !pull.options.insecure {
        options.push(("tls_verify", "1".to_owned()));
        options.extend(authorities().map(|file| ("ca_file", file)));
    }
    if pull.scheme != Scheme::File {
        options.push(("analyzeduration", "3000000".to_owned()));
    }
    Opening {
        url: pull.with_credentials(),
        options,
    }
}

/// The system's list of whom to believe, for libraries that do not look for it themselves.
fn authorities() -> Option<String> {
    let named = std::env::var("SSL_CERT_FILE").ok();
    let usual = AUTHORITIES.iter().map(|file| (*file).to_owned());
    named
        .into_iter()
        .chain(usual)
        .find(|file| std::path::Path::new(file).is_file())
}

fn whitelist(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Rtsp | Scheme::Rtsps => "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,httpproxy",
        Scheme::Http | Scheme::Https => "http,https,httpproxy,tcp,tls,crypto",
        Scheme::Rtmp | Scheme::Rtmps => "rtmp,rtmps,rtmpt,rtmpts,tcp,tls,http,https",
        Scheme::Srt => "srt,udp",
        Scheme::Udp => "udp",
        Scheme::File => "file",
    }
}

/// The thread's side.
struct Thread {
    opening: Opening,
    clock: SharedClock,
    /// It comes as fast as it is read, and must be held to its own clock.
    paced: bool,
    /// A file that is not played again.
    once: bool,
    stop: CancellationToken,
    units: mpsc::Sender<Result<Item, PullError>>,
}

impl Thread {
    fn run(self, told: oneshot::Sender<Result<Description, PullError>>) {
        let is_file = self.opening.url.starts_with("file:");
        let opened = Demuxer::open(&self.opening, self.stop.clone());
        let opened = opened.map_err(|error| PullError::of_opening(error, is_file));
        let described = opened.and_then(Taken::new);
        let mut taken = match described {
            Ok(taken) => taken,
            Err(e) => {
                let _ = told.send(Err(e)); // nobody there: the source is not wanted any more
                return;
            }
        };
        if told.send(Ok(taken.description.clone())).is_err() {
            return;
        }
        let end = self.feed(&mut taken);
        let _ = self.units.blocking_send(Err(end));
    }
    /// Hands units over until the source ends.
    fn feed(&self, taken: &mut Taken) -> PullError {
        let mut pace = None;
        let mut reported: Vec<Option<i64>> = vec![None; taken.shapes.len()];
        while !self.stop.is_cancelled() {
            let coded = match taken.next() {
                Ok(Some(coded)) => coded,
                Ok(None) if self.once => return PullError::FileEnded,
                Ok(None) => return PullError::Ended,
                Err(e) => return e.into(),
            };
            if self.paced
                && let Some(time) = coded.dts.or(coded.pts)
            {
                nap(wait(&mut pace, time, self.clock.now()), &self.stop);
            }
            let Some((unit, micros)) = taken.unit(&coded) else {
                continue;
            };
            // What tells tracks of one origin how they lie beside each other.
            let due = |last: i64| !(0..REPORT_EVERY).contains(&micros.saturating_sub(last));
            let report = reported[coded.stream]
                .is_none_or(due)
                .then(|| Item::Report(unit.track, ntp_of(micros), unit.pts.rtp()));
            if self.units.blocking_send(Ok(Item::Unit(unit))).is_err() {
                break;
            }
            if let Some(report) = report {
                reported[coded.stream] = Some(micros);
                let _ = self.units.blocking_send(Ok(report)); // a failure shows with the next unit
            }
        }
        PullError::Ended
    }
}

/// How long to wait until `time` (microseconds of the source) is due. `pace` is a moment on both clocks.
fn wait(pace: &mut Option<(Instant, i64)>, time: i64, now: Instant) -> Duration {
    let (began, origin) = *pace.get_or_insert((now, time));
    let at = u64::try_from(time.saturating_sub(origin)).map(Duration::from_micros);
    let due = at.ok().and_then(|at| began.checked_add(at)).filter(|due| {
        let (late, early) = (
            now.saturating_duration_since(*due),
            due.saturating_duration_since(now),
        );
        late <= BEHIND && early <= LONGEST_WAIT
    });
    match due {
        Some(due) => due.saturating_duration_since(now),
        None => {
            *pace = Some((now, time));
            Duration::ZERO
        }
    }
}

/// A wall clock that begins with the source's times: only its steps count (see
/// [`Splice`](crate::hub::splice::Splice)).
fn ntp_of(micros: i64) -> NtpTime {
    let seconds = micros.div_euclid(1_000_000).cast_unsigned();
    let fraction = (micros.rem_euclid(1_000_000).cast_unsigned() << 32) / 1_000_000;
    NtpTime(seconds << 32 | fraction)
}

/// A demuxer and what becomes of its streams.
struct Taken {
    demuxer: Demuxer,
    description: Description,
    /// For each stream its track, if it is relayed.
    shapes: Vec<Option<(TrackId, Rate, Shape)>>,
    /// Read while finding out what the streams are.
    early: VecDeque<Coded>,
}

impl Taken {
    fn new(mut demuxer: Demuxer) -> Result<Self, PullError> {
        let mut early: VecDeque<Coded> = VecDeque::new();
        let streams = demuxer.streams().to_vec();
        let open = |early: &VecDeque<Coded>| {
            let seen = |n| early.iter().any(|c: &Coded| c.stream == n);
            (streams.iter().enumerate()).any(|(n, s)| elementary::needs_a_unit(s) && !seen(n))
        };
        while open(&early) && early.len() < LOOK_AHEAD {
            match demuxer.read()? {
                Some(coded) => early.push_back(coded),
                None => break,
            }
        }
        let mut description = Description::default();
        let mut shapes = Vec::new();
        for (n, stream) in streams.iter().enumerate() {
            let first = early.iter().find(|c| c.stream == n).map(Coded::data);
            let id = TrackId(u8::try_from(description.tracks.len()).unwrap_or(u8::MAX));
            let made = elementary::track(stream, id, first).filter(|_| id.0 < MAX_TRACKS);
            shapes.push(made.map(|(track, shape)| {
                let rate = track.rate;
                description.tracks.push(track);
                (id, rate, shape)
            }));
        }
        match description.tracks.is_empty() {
            true => Err(PullError::NoTracks),
            false => Ok(Self {
                demuxer,
                description,
                shapes,
                early,
            }),
        }
    }
    fn next(&mut self) -> Result<Option<Coded>, AvError> {
        match self.early.pop_front() {
            Some(coded) => Ok(Some(coded)),
            None => self.demuxer.read(),
        }
    }
    /// What is relayed of a unit, and its time in microseconds.
    fn unit(&self, coded: &Coded) -> Option<(AccessUnit, i64)> {
        let (track, rate, shape) = self.shapes.get(coded.stream)?.as_ref()?;
        let micros = coded.pts.or(coded.dts)?;
        let unit = AccessUnit {
            track: *track,
            pts: MediaTime::new(micros, Rate::MICROS).rescale(*rate),
            keyframe: coded.keyframe,
            data: shape.unit(coded.data())?,
        };
        Some((unit, micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_held_to_its_own_clock_and_not_hurried_after_a_pause() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = None;
        assert_eq!(wait(&mut pace, 5_000_000, at(0)), Duration::ZERO);
        assert_eq!(wait(&mut pace, 5_040_000, at(10)), Duration::from_millis(30));
        assert_eq!(
            wait(&mut pace, 5_080_000, at(90)),
            Duration::ZERO,
            "a little late"
        );
        assert_eq!(wait(&mut pace, 5_120_000, at(100)), Duration::from_millis(20));
        // The machine slept: from here on at the right pace, not faster.
        assert_eq!(wait(&mut pace, 5_160_000, at(9_000)), Duration::ZERO);
        assert_eq!(wait(&mut pace, 5_200_000, at(9_000)), Duration::from_millis(40));
        // Its clock was set.
        assert_eq!(wait(&mut pace, 1_000, at(9_100)), Duration::ZERO);
        assert_eq!(wait(&mut pace, i64::MAX, at(9_100)), Duration::ZERO);
        assert_eq!(wait(&mut pace, i64::MIN, at(9_100)), Duration::ZERO);
        assert_eq!(wait(&mut pace, 900_000_000, at(9_100)), Duration::ZERO);
        assert_eq!(wait(&mut pace, 900_040_000, at(9_100)), Duration::from_millis(40));
    }

    #[test]
    fn a_source_on_the_network_cannot_name_files_of_this_machine() {
        for scheme in [Scheme::Rtsp, Scheme::Http, Scheme::Rtmp, Scheme::Srt, Scheme::Udp] {
            assert!(!whitelist(scheme).contains("file"), "{scheme:?}");
        }
    }
}
