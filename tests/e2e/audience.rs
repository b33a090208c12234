//! Five hundred scripted viewers, two days and a power cut, against their own account of what they did.
//!
//! They come in waves, over RTSP by TCP and UDP and as MJPEG, from addresses of their own and as neighbours behind one;
//! some come back, some opted out, some only ask. Midnight of the configured zone falls into it, and the relay is
//! killed and started again. Then sessions, viewer-days, views, peaks and breakdowns must be what they say, exactly.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Barrier;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use serde_json::Value;

use crate::clips;
use crate::http;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

const VLC: &str = "LibVLC/3.0.21 (LIVE555 Streaming Media v2016.11.28)";
const FFMPEG: &str = "Lavf60.16.100";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

/// Who watches at the same time. Each is a thread.
const WAVE: usize = 50;

/// Waves before midnight, after it, and after the power cut: together 500 viewers.
const WAVES: [usize; 3] = [4, 4, 2];

/// How long before midnight the test begins. More than the waves before it take; then midnight is waited for.
const BEFORE_MIDNIGHT: Duration = Duration::from_secs(75);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Tcp,
    Udp,
    /// Closes the connection without a word.
    Gone,
    Mjpeg,
    /// Asks what there is and goes.
    Probe,
    /// Watches, and said not to be counted.
    OptedOut,
}

/// What one viewer does.
#[derive(Clone, Copy)]
struct Part {
    address: IpAddr,
    agent: &'static str,
    way: Way,
    /// Times that they come.
    times: usize,
}

impl Part {
    /// Number `n` of a wave. Within a wave nobody is twice, but by NAT.
    fn new(wave: usize, n: usize) -> Self {
        let host = |n: usize| IpAddr::V4(Ipv4Addr::new(127, 0, 10 + wave as u8, 1 + n as u8));
        let way = match n % 10 {
            0 | 3 | 5 => Way::Tcp,
            1 | 6 => Way::Udp,
            2 => Way::Gone,
            4 | 7 => Way::Mjpeg,
            8 => Way::Probe,
            _ => Way::OptedOut,
        };
        let agent = match way {
            Way::Mjpeg => FIREFOX,
            _ if n.is_multiple_of(4) => FFMPEG,
            _ => VLC,
        };
        Self {
            // The neighbours of a NAT: 10 and 11 have another player each, 20 and 26 the same one.
            address: match n {
                11 => host(10),
                26 => host(21),
                n => host(n),
            },
            agent,
            way,
            times: if n % 10 == 5 { 2 } else { 1 },
        }
    }
    fn counts(&self) -> bool {
        !matches!(self.way, Way::Probe | Way::OptedOut)
    }
    /// What makes a viewer: the address and the player.
    fn viewer(&self) -> (IpAddr, &'static str) {
        (self.address, self.agent)
    }
}

/// What happened on one day, as those say who did it.
#[derive(Default)]
struct Truth {
    sessions: u64,
    by_protocol: BTreeMap<&'static str, u64>,
    /// With the number of the relay's run: who comes after a restart is not known again.
    viewers: BTreeSet<(usize, IpAddr, &'static str)>,
    by_client: BTreeMap<&'static str, u64>,
    watched: Duration,
    /// The longest that each viewer watched at a time.
    longest: BTreeMap<(usize, IpAddr, &'static str), Duration>,
}

impl Truth {
    fn add(&mut self, run: usize, part: &Part, watched: Duration) {
        self.sessions += 1;
        let protocol = if part.way == Way::Mjpeg { "mjpeg" } else { "rtsp" };
        *self.by_protocol.entry(protocol).or_default() += 1;
        let (address, agent) = part.viewer();
        self.viewers.insert((run, address, agent));
        *self.by_client.entry(agent).or_default() += 1;
        self.watched += watched;
        let longest = self.longest.entry((run, address, agent)).or_default();
        *longest = watched.max(*longest);
    }
    /// Views at least and at most: of who watched for ten seconds, give or take what a busy machine adds.
    fn views(&self) -> RangeInclusive<u64> {
        let longer = |ms| self.longest.values().filter(|w| w.as_millis() >= ms).count() as u64;
        longer(10_900)..=longer(9_100)
    }
}

/// Comes, and stays until everybody of the wave is there and was counted.
fn come(relay: &Relay, part: &Part, there: &Barrier, counted: &Barrier) -> Duration {
    let mut watched = Duration::ZERO;
    if part.way == Way::Probe {
        let mut probe = Conn::open(part.address, relay.addr("rtsp")).header("User-Agent", part.agent);
        probe.ok("OPTIONS", &relay.rtsp("cam"), &[]);
        probe.ok("DESCRIBE", &relay.rtsp("cam"), &[]);
    } else if part.way == Way::Mjpeg {
        let path = "/live/cam/stream.mjpeg";
        let to = relay.addr("http");
        let mut stream = http::Stream::open(part.address, to, "GET", path, &[("User-Agent", part.agent)]);
        stream.next_part().expect("a first picture");
        let started = Instant::now();
        there.wait();
        counted.wait();
        return started.elapsed();
    } else {
        let transport = if part.way == Way::Udp {
            Transport::Udp
        } else {
            Transport::Tcp
        };
        for time in 1..=part.times {
            let mut conn = Conn::open(part.address, relay.addr("rtsp")).header("User-Agent", part.agent);
            if part.way == Way::OptedOut {
                conn = conn.header("DNT", "1");
            }
            let viewer = Viewer::watch(conn, "cam", transport);
            if time < part.times {
                watched += viewer.leave();
                continue;
            }
            there.wait();
            counted.wait();
            watched += match part.way {
                Way::Gone => viewer.watched(),
                _ => viewer.leave(),
            };
        }
        return watched;
    }
    there.wait();
    counted.wait();
    watched
}

/// One wave, from nobody to nobody.
fn wave(relay: &Relay, run: usize, number: usize, live: u64, truth: &Mutex<Truth>) {
    let (there, counted) = (Barrier::new(WAVE + 1), Barrier::new(WAVE + 1));
    let parts: Vec<Part> = (0..WAVE).map(|n| Part::new(number, n)).collect();
    let expected = live + parts.iter().filter(|part| part.counts()).count() as u64;
    thread::scope(|s| {
        for part in &parts {
            let (there, counted) = (&there, &counted);
            s.spawn(move || {
                let watched = come(relay, part, there, counted);
                if part.counts() {
                    let mut truth = truth.lock().unwrap();
                    truth.add(run, part, watched);
                    for _ in 1..part.times {
                        truth.add(run, part, Duration::ZERO);
                    }
                }
            });
        }
        there.wait();
        eventually("everybody of the wave is live", || {
            (relay.api("/api/v1/stats")["live"]["sessions"] == expected).then_some(())
        });
        counted.wait();
    });
    eventually("everybody of the wave has gone", || {
        (relay.api("/api/v1/stats")["live"]["sessions"] == live).then_some(())
    });
}

fn seconds_of_day() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 86_400
}

/// A zone in which it is midnight after so long: what has to be added to UTC, in POSIX's upside-down way.
pub fn zone_with_midnight_in(wait: Duration) -> String {
    let west = (seconds_of_day() + wait.as_secs()) % 86_400;
    // West of Greenwich by more than twelve hours is east by the rest.
    let (sign, offset) = if west > 43_200 {
        ("-", 86_400 - west)
    } else {
        ("", west)
    };
    format!(
        "<TST>{sign}{}:{:02}:{:02}",
        offset / 3600,
        offset / 60 % 60,
        offset % 60
    )
}

fn check(got: &Value, truth: &Truth, peak: u64) {
    assert_eq!(got["sessions"], truth.sessions, "{got:#}");
    assert_eq!(got["viewer_days"], truth.viewers.len(), "{got:#}");
    let views = got["views"].as_u64().unwrap();
    assert!(truth.views().contains(&views), "{:?}: {got:#}", truth.views());
    assert_eq!(got["peak_concurrent"], peak, "{got:#}");
    let of = |rows: &str, name: &str, value: &str| {
        let rows = got[rows].as_array().unwrap();
        rows.iter()
            .find(|row| row[name] == value)
            .map(|row| row["sessions"].as_u64().unwrap())
    };
    for (protocol, sessions) in &truth.by_protocol {
        assert_eq!(
            of("by_protocol", "protocol", protocol),
            Some(*sessions),
            "{got:#}"
        );
    }
    for (agent, client) in [(VLC, "VLC"), (FFMPEG, "FFmpeg"), (FIREFOX, "Firefox")] {
        let sessions = truth.by_client.get(agent).copied();
        assert_eq!(of("by_client", "client", client), sessions, "{client}: {got:#}");
    }
    let lengths = got["by_length"].as_array().unwrap().iter();
    let ended: u64 = lengths.filter_map(|row| row["sessions"].as_u64()).sum();
    assert!(
        ended >= truth.sessions - 1 && ended <= truth.sessions + 1,
        "{ended} ended: {got:#}"
    );
    let (seconds, watched) = (
        got["watch_seconds"].as_f64().unwrap(),
        truth.watched.as_secs_f64(),
    );
    let each = truth.sessions as f64 * 0.7;
    assert!(
        (seconds - watched).abs() <= each,
        "{seconds} s stored, {watched} s watched"
    );
}

#[test]
fn five_hundred_viewers_are_counted_as_they_say() {
    let zone = zone_with_midnight_in(BEFORE_MIDNIGHT);
    let midnight = SystemTime::now() + BEFORE_MIDNIGHT;
    let config = format!("[privacy]\nk = 1\ntime_zone = \"{zone}\"");
    let mut relay = Relay::start(Options::publish().config(&config));
    let publisher = ffmpeg::publish_on(clips::h264(), &relay.rtsp("cam"), Transport::Tcp);
    relay.wait_for_state("cam", "ready");
    let (first, second) = (Mutex::new(Truth::default()), Mutex::new(Truth::default()));
    let per_wave = (0..WAVE).filter(|n| Part::new(0, *n).counts()).count() as u64;

    for number in 0..WAVES[0] {
        wave(&relay, 0, number, 0, &first);
    }
    // One stays over midnight: a session of the first day, watched in both.
    let conn = Conn::open(Part::new(0, 0).address, relay.addr("rtsp")).header("User-Agent", FFMPEG);
    let mut stays = Viewer::watch(conn, "cam", Transport::Tcp);
    let left = midnight.duration_since(SystemTime::now()).unwrap_or_default();
    assert!(
        left > Duration::from_secs(12),
        "a view of the first day takes ten seconds: {left:?} left"
    );
    stays.until(left + Duration::from_secs(3));
    {
        first.lock().unwrap().add(0, &Part::new(0, 0), left);
        second.lock().unwrap().watched += Duration::from_secs(3);
        stays.leave();
    }
    for number in 0..WAVES[1] {
        wave(&relay, 0, number, 0, &second);
    }
    relay.kill9();
    drop(publisher);
    relay.restart();
    let _publisher = ffmpeg::publish_on(clips::h264(), &relay.rtsp("cam"), Transport::Tcp);
    relay.wait_for_state("cam", "ready");
    for number in 0..WAVES[2] {
        wave(&relay, 1, number, 0, &second);
    }

    let at = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let moment = |secs: u64| jiff::Timestamp::from_second(secs as i64).unwrap().to_string();
    let day = |from: u64, to: u64| relay.stats_between(&moment(from), &moment(to));
    let midnight = at(midnight);
    check(
        &day(midnight - 3600, midnight - 60),
        &first.lock().unwrap(),
        per_wave,
    );
    let got = day(midnight + 1, midnight + 3600);
    check(&got, &second.lock().unwrap(), per_wave);
    assert_eq!(got["restarts"], 1);
    relay.stop();
}
