//! SRTP for readers: a path's stream once more, with every packet sealed once for all who read it so.
//!
//! The server chooses the key, and tells it in SDP and in the answer to SETUP, so that one image serves all. A copy
//! begins with sequence numbers of its own. When these have begun anew, newcomers get another copy with another key:
//! they could not know how often they did. Not here: the ciphers (`proto::rtp::srtp`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio_util::sync::CancellationToken;

use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;
use crate::hub::Hub;
use crate::hub::Next;
use crate::hub::Path;
use crate::hub::PublishError;
use crate::hub::Publisher;
use crate::hub::Reader;
use crate::hub::Stream;
use crate::hub::burst::Burst;
use crate::hub::burst::BurstKind;
use crate::media::TrackId;
use crate::proto::mikey::Message;
use crate::proto::rtp::rtcp;
use crate::proto::rtp::rtcp::Rtcp;
use crate::proto::rtp::srtp::KEY_LEN;
use crate::proto::rtp::srtp::MasterKey;
use crate::proto::rtp::srtp::Suite;

/// A copy that nobody reads goes away after this time.
const LINGER: Duration = Duration::from_secs(10);

/// A sealed copy of a stream.
pub(super) struct Sealed {
    path: Arc<Path>,
    stream: Arc<Stream>,
    key: MasterKey,
    random: [u8; 20],
    ntp: u64,
}

impl Sealed {
    /// The unlisted path of the copy.
    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }
    /// The copy itself.
    pub(super) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }
    /// The key as MIKEY tells it, base64.
    pub(super) fn mikey(&self) -> String {
        let tracks = (0..self.stream.description().tracks.len()).map(|n| TrackId(n as u8));
        let sources: Vec<u32> = tracks.filter_map(|t| self.stream.ssrc(t)).collect();
        let message = Message {
            key: self.key.clone(),
            roll_over: 0,
        };
        message.to_base64(&sources, &self.random, self.ntp)
    }
    /// The key as `a=crypto` tells it.
    pub(super) fn inline(&self) -> String {
        STANDARD.encode(self.key.expose())
    }
}

/// The copies in use, by the stream they are of.
pub(super) struct SealedStreams {
    hub: Arc<Hub>,
    tasks: Tasks,
    clock: SharedClock,
    live: Mutex<HashMap<u64, Arc<Sealed>>>,
}

impl SealedStreams {
    /// None yet; they are made as they are asked for.
    pub(super) fn new(hub: Arc<Hub>, tasks: Tasks, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            hub,
            tasks,
            clock,
            live: Mutex::default(),
        })
    }
    /// The copy for who comes now.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn of(
        self: &Arc<Self>,
        path: &Arc<Path>,
        stream: &Arc<Stream>,
    ) -> Result<Arc<Sealed>, PublishError> {
        let mut live = self.live();
        if let Some(sealed) = live.get(&stream.id())
            && !sealed.stream.has_rolled_over()
        {
            return Ok(Arc::clone(sealed));
        }
        let (mut key, mut random) = ([0; KEY_LEN], [0; 20]);
        getrandom::fill(&mut key).map_err(|_| PublishError::NoRandomness)?;
        getrandom::fill(&mut random).map_err(|_| PublishError::NoRandomness)?;
        let key = MasterKey::new(Suite::Tag80, &key).expect("that is its length");
        let description = stream.description().as_ref().clone();
        let publisher = self.hub.derive_sealed(path.name(), description, &key)?;
        let sealed = Arc::new(Sealed {
            path: Arc::clone(publisher.path()),
            stream: Arc::clone(publisher.stream()),
            key,
            random,
            ntp: self.clock.ntp().0,
        });
        live.insert(stream.id(), Arc::clone(&sealed));
        drop(live);
        let (all, path, stream) = (Arc::clone(self), Arc::clone(path), Arc::clone(stream));
        let own = Arc::clone(&sealed);
        self.tasks.spawn("srtp", move |stop| async move {
            run(&path, &stream, publisher, &all.clock, stop).await;
            let mut live = all.live();
            if live
                .get(&stream.id())
                .is_some_and(|newest| Arc::ptr_eq(newest, &own))
            {
                live.remove(&stream.id());
            }
        });
        Ok(sealed)
    }
    fn live(&self) -> MutexGuard<'_, HashMap<u64, Arc<Sealed>>> {
        self.live.lock().expect("no panic happens while the lock is held")
    }
}

/// Copies until the stream ends or nobody has read for a while.
async fn run(
    path: &Arc<Path>,
    stream: &Arc<Stream>,
    mut publisher: Publisher,
    clock: &SharedClock,
    stop: CancellationToken,
) {
    let _demand = path.attach();
    let mut reader = Reader::new(Arc::clone(stream));
    let mut demand = publisher.path().demand();
    let mut until = clock.now() + LINGER;
    let mut anchored = vec![false; stream.description().tracks.len()];
    loop {
        let unread = demand.borrow_and_update().readers == 0;
        if !unread {
            until = clock.now() + LINGER;
        }
        tokio::select! {
            next = reader.next() => match next {
                Next::Burst(burst) => copy(stream, &burst, &mut publisher, &mut anchored),
                Next::Lagged { .. } => {}
                Next::Ended => return,
            },
            changed = demand.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(until.into()), if unread => return,
            () = stop.cancelled() => return,
        }
    }
}

fn copy(stream: &Stream, burst: &Burst, publisher: &mut Publisher, anchored: &mut [bool]) {
    if burst.kind == BurstKind::Report {
        for packet in burst.iter() {
            for report in rtcp::parse(packet).unwrap_or_default() {
                if let Rtcp::SenderReport { ntp, rtp_time, .. } = report {
                    publisher.anchor(burst.track, ntp, rtp_time);
                }
            }
        }
        return;
    }
    if let Some(anchored) = anchored.get_mut(usize::from(burst.track.0)).filter(|a| !**a)
        && let Some(ntp) = stream.ntp(burst.track, burst.rtp_time)
    {
        publisher.anchor(burst.track, ntp, burst.rtp_time);
        *anchored = true;
    }
    for packet in burst.iter() {
        // It was RTP when the stream took it.
        let _ = publisher.write_packet(burst.track, packet);
    }
    publisher.flush();
}
