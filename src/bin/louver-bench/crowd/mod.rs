//! Any number of RTSP readers on one thread, so that the generator leaves the other processors to the server.
//!
//! An epoll loop of our own instead of a task per reader: one system call per burst and reader, one buffer for all.

mod datagrams;
mod histogram;
mod reader;
mod watch;

use std::time::Duration;
use std::time::Instant;

use nix::sys::epoll::Epoll;
use nix::sys::epoll::EpollCreateFlags;
use nix::sys::epoll::EpollEvent;
use nix::sys::epoll::EpollFlags;
use nix::sys::epoll::EpollTimeout;
use socket2::SockRef;

pub(crate) use self::histogram::Histogram;
pub(crate) use self::reader::Mood;
pub(crate) use self::reader::Target;
pub(crate) use self::reader::Transport;
pub(crate) use self::watch::Tally;
use crate::Fault;
use crate::crowd::datagrams::Datagrams;
use crate::crowd::reader::Reader;
use crate::crowd::reader::Stage;

/// How long a reader may take until its first keyframe.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a server may take to close after TEARDOWN.
const FAREWELL: Duration = Duration::from_secs(2);
const SWEEP: Duration = Duration::from_millis(200);
/// What the system keeps of a connection that is not read: half a second of the stream.
const STUCK_BUFFER: usize = 64 << 10;
/// What one read may bring.
const BUFFER: usize = 512 << 10;

/// A reader got its first whole keyframe.
pub(crate) struct Joined {
    pub(crate) reader: usize,
    pub(crate) at: Instant,
    pub(crate) since_connect: Duration,
    pub(crate) since_play: Duration,
}

/// A reader is no more.
pub(crate) struct Gone {
    /// It had its keyframe.
    pub(crate) joined: bool,
    /// It counted for the tally.
    pub(crate) counted: bool,
    /// It got at least one packet.
    pub(crate) served: bool,
    /// It had stopped reading.
    pub(crate) stuck: bool,
    /// Why, unless it left by itself.
    pub(crate) why: Option<String>,
}

pub(crate) struct Crowd {
    epoll: Epoll,
    /// A socket's event carries twice the index, plus 1 for RTP.
    readers: Vec<Option<Reader>>,
    free: Vec<usize>,
    buffer: Box<[u8]>,
    datagrams: Datagrams,
    swept: Instant,
    /// The window is open: readers that count do so.
    pub(crate) counting: bool,
    pub(crate) tally: Tally,
    /// News, for the caller to take.
    pub(crate) joined: Vec<Joined>,
    pub(crate) gone: Vec<Gone>,
}

impl Crowd {
    pub(crate) fn new() -> Result<Self, Fault> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            readers: vec![],
            free: vec![],
            buffer: vec![0; BUFFER].into_boxed_slice(),
            datagrams: Datagrams::new(),
            swept: Instant::now(),
            counting: false,
            tally: Tally::default(),
            joined: vec![],
            gone: vec![],
        })
    }
    /// Lets a reader begin to join. A failure is told in `gone`.
    pub(crate) fn join(&mut self, to: &Target, transport: Transport, counted: bool) {
        let index = self.free.pop().unwrap_or(self.readers.len());
        let begun = Reader::begin(to, transport, counted).and_then(|reader| {
            let token = 2 * index as u64;
            let event = |flags, token| EpollEvent::new(flags, token);
            self.epoll.add(&reader.tcp, event(EpollFlags::EPOLLOUT, token))?;
            if let Some((rtp, _)) = &reader.udp {
                self.epoll.add(rtp, event(EpollFlags::EPOLLIN, token + 1))?;
            }
            Ok(reader)
        });
        if index == self.readers.len() {
            self.readers.push(None);
        }
        match begun {
            Ok(reader) => self.readers[index] = Some(reader),
            Err(e) => {
                self.free.push(index);
                self.gone.push(Gone {
                    joined: false,
                    counted,
                    served: false,
                    stuck: false,
                    why: Some(e.to_string()),
                });
            }
        }
    }
    /// Lets everybody read until then.
    pub(crate) fn run_until(&mut self, until: Instant) -> Result<(), Fault> {
        while Instant::now() < until {
            self.turn(until)?;
        }
        Ok(())
    }
    /// Waits for sockets to be ready, not beyond `until`, and reads them.
    pub(crate) fn turn(&mut self, until: Instant) -> Result<(), Fault> {
        let mut events = [EpollEvent::empty(); 256];
        let now = Instant::now();
        let wait = until.saturating_duration_since(now).min(SWEEP);
        let millis = u16::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let n = match self.epoll.wait(&mut events, EpollTimeout::from(millis)) {
            Err(nix::errno::Errno::EINTR) => 0,
            n => n?,
        };
        for event in &events[..n] {
            let index = usize::try_from(event.data() / 2).expect("it was an index");
            if let Err(e) = self.ready(index, event.data() % 2 == 1) {
                self.remove(index, Some(e.to_string()));
            }
        }
        if now - self.swept > SWEEP {
            self.swept = now;
            self.sweep(now);
        }
        Ok(())
    }
    fn ready(&mut self, index: usize, rtp: bool) -> Result<(), Fault> {
        // The reader may have gone since the event.
        let Some(reader) = &mut self.readers[index] else {
            return Ok(());
        };
        let had_picture = reader.watch.has_picture;
        let tally = Some(&mut self.tally).filter(|_| self.counting && reader.counted);
        if rtp {
            reader.read_rtp(&mut self.datagrams, tally)?;
        } else if reader.mood == Mood::Stuck {
            // It listens to nothing; so this is a reset.
            return Err("the server closed".into());
        } else if reader.stage == Stage::Connecting {
            reader.connected()?;
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN, 2 * index as u64);
            self.epoll.modify(&reader.tcp, &mut event)?;
        } else {
            reader.read(&mut self.buffer, tally)?;
        }
        if !had_picture && reader.watch.has_picture {
            let at = Instant::now();
            self.joined.push(Joined {
                reader: index,
                at,
                since_connect: at - reader.start,
                since_play: at - reader.play,
            });
        }
        Ok(())
    }
    /// Keeps sessions alive and gives up those that wait in vain.
    fn sweep(&mut self, now: Instant) {
        for index in 0..self.readers.len() {
            let Some(reader) = &mut self.readers[index] else {
                continue;
            };
            let waited = now.saturating_duration_since(reader.since);
            if !reader.watch.has_picture && now.saturating_duration_since(reader.start) > PATIENCE {
                self.remove(index, Some("no keyframe within 20 s".into()));
            } else if reader.stage == Stage::Leaving && waited > FAREWELL {
                self.remove(index, None);
            } else if let Err(e) = reader.keep_alive(now) {
                self.remove(index, Some(e.to_string()));
            }
        }
    }
    fn remove(&mut self, index: usize, why: Option<String>) {
        if let Some(reader) = self.readers[index].take() {
            self.free.push(index);
            self.gone.push(Gone {
                joined: reader.watch.has_picture,
                counted: reader.counted,
                served: reader.watch.has_media,
                stuck: reader.mood != Mood::Reading,
                why: why.filter(|_| reader.stage != Stage::Leaving),
            });
        }
    }
    /// Lets a reader say goodbye; it is gone when the server closed.
    pub(crate) fn leave(&mut self, index: usize) {
        if let Some(reader) = &mut self.readers[index]
            && let Err(e) = reader.leave()
        {
            self.remove(index, Some(e.to_string()));
        }
    }
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.readers.len() - self.free.len()
    }
    /// How many have not yet been told that they play, and how many have no keyframe yet.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let readers = || self.readers.iter().flatten();
        (
            readers()
                .filter(|r| !matches!(r.stage, Stage::Playing | Stage::Leaving))
                .count(),
            readers().filter(|r| !r.watch.has_picture).count(),
        )
    }
    /// How many that count got nothing in the window.
    pub(crate) fn starved(&self) -> usize {
        let counted = self.readers.iter().flatten().filter(|r| r.counted);
        counted.filter(|r| r.watch.packets == 0).count()
    }
    /// Lets the first so many readers read no more, or read what is left. They do not count from then on.
    pub(crate) fn set_mood(&mut self, readers: usize, mood: Mood) -> Result<(), Fault> {
        let flags = match mood {
            Mood::Stuck => EpollFlags::empty(),
            Mood::Reading | Mood::Recovering => EpollFlags::EPOLLIN,
        };
        for (index, reader) in self.readers.iter_mut().enumerate().take(readers) {
            let Some(reader) = reader else { continue };
            let token = 2 * index as u64;
            reader.counted = false;
            reader.mood = mood;
            if mood == Mood::Stuck {
                // How much more the system takes for it would depend on how fast it read before.
                SockRef::from(&reader.tcp).set_recv_buffer_size(STUCK_BUFFER)?;
            }
            self.epoll
                .modify(&reader.tcp, &mut EpollEvent::new(flags, token))?;
            if let Some((rtp, _)) = &reader.udp {
                self.epoll.modify(rtp, &mut EpollEvent::new(flags, token + 1))?;
            }
        }
        Ok(())
    }
}
