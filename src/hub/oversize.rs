//! What becomes of a publisher's packets that no datagram can take.
//!
//! Over TCP a packet may have 64 KB. Readers over TCP would get it, readers over UDP never. Not here: the cutting,
//! which is [`Repacketizer`]'s.

use crate::hub::name::PathName;
use crate::media::Track;
use crate::proto::rtp::Repacketizer;

/// The largest packet, header included, that goes in one datagram of IPv4 through 1500 bytes of Ethernet. FFmpeg
/// sends packets of this size. Larger ones are cut anew.
pub(super) const MAX_PACKET: usize = 1472;

/// What is done with the packets of a track.
#[derive(Debug)]
pub(super) enum Cut {
    /// All had a size that can travel so far, and were passed on.
    NotNeeded,
    /// All are cut anew from the first large one on, so that they stay in order.
    Anew(Box<Repacketizer>),
    /// Nothing knows how: they are passed on, and readers over UDP miss the large ones.
    No,
}

impl Cut {
    /// What is done from the first large packet on.
    pub(super) fn new(track: &Track, max_payload: usize, path: &PathName) -> Self {
        let (cut, done) = match Repacketizer::new(track, max_payload) {
            Some(repacketizer) => (Self::Anew(Box::new(repacketizer)), "cut anew"),
            None => (Self::No, "passed on, but readers over UDP miss them"),
        };
        tracing::info!(
            path = %path,
            codec = %track.codec,
            "The publisher sends packets larger than a datagram; they are {done}."
        );
        cut
    }
}
