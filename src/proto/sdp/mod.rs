//! Session descriptions: the tracks a publisher announces, and what we tell readers (RFC 8866, RFC 3551).
//!
//! Reading is lenient, since cameras are not, and keeps only what a [`Description`] has; whatever else a
//! publisher says of itself (names, addresses, `a=ssrc` with its `cname:user@host`) stops here. Writing is
//! strict, since players are not lenient either. Not here: joining control URLs, which is the RTSP server's.

mod choice;
mod codec;
mod parse;

use std::fmt::Write;

pub use choice::choose;
pub use parse::Keying;
pub use parse::MAX_BYTES;
pub use parse::MAX_TRACKS;
pub use parse::keys;
pub use parse::parse;

use crate::media::Description;
use crate::media::Track;

/// Why a session description cannot be used. Lines count from 1. Nothing of the text is quoted: it may hold
/// credentials.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SdpError {
    /// Longer than [`MAX_BYTES`].
    #[error("sdp: {bytes} bytes, expected at most {MAX_BYTES}; announce fewer tracks")]
    TooLong { bytes: usize },
    /// More media than [`MAX_TRACKS`].
    #[error("sdp: line {line}: more than {MAX_TRACKS} tracks; announce fewer")]
    TooManyTracks { line: usize },
    /// A line that says what cannot be.
    #[error("sdp: line {line}: {what}, expected {expected}")]
    Line {
        line: usize,
        what: &'static str,
        expected: &'static str,
    },
    /// Nothing that could be relayed.
    #[error("sdp: no track, expected at least one m=audio, m=video or m=application line over RTP")]
    NoTracks,
}

/// The description for readers: one `m=` per track, in order, with `a=control:trackID=N` for track N.
///
/// `session_id` must differ between streams; the addresses are 0.0.0.0, since the reader knows where it asked
/// and anything else leads it astray. The order of the lines is what players were seen to insist on.
pub fn write(description: &Description, session_id: u64) -> String {
    let mut out = format!(
        "v=0\r\no=- {session_id} 1 IN IP4 0.0.0.0\r\ns=Louver\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
         a=control:*\r\na=range:npt=now-\r\n"
    );
    for track in &description.tracks {
        write_track(&mut out, track).expect("a String takes all that is written");
    }
    out
}

/// The same for SRTP: `mikey` is for `a=key-mgmt` (RFC 4567), `inline` for `a=crypto` (RFC 4568), each base64.
pub fn write_sealed(description: &Description, session_id: u64, mikey: &str, inline: &str) -> String {
    let keys = format!(
        "a=key-mgmt:mikey {mikey}\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{inline}\r\na=control:trackID="
    );
    write(description, session_id)
        .replace(" 0 RTP/AVP ", " 0 RTP/SAVP ")
        .replace("a=control:trackID=", &keys)
}

/// A description for a reader that may speak: by these tracks, and what it had before comes from us. The directions
/// are the reader's, as ONVIF has them.
pub fn with_backchannel(sdp: &str, speaks: &[Track]) -> String {
    let ours = |line: &str| match line.starts_with("a=control:trackID=") {
        true => format!("{line}\r\na=recvonly\r\n"),
        false => format!("{line}\r\n"),
    };
    let mut out: String = sdp.lines().map(ours).collect();
    for track in speaks {
        write_track(&mut out, track).expect("a String takes all that is written");
        out.push_str("a=sendonly\r\n");
    }
    out
}

fn write_track(out: &mut String, track: &Track) -> std::fmt::Result {
    let pt = track.payload_type;
    write!(out, "m={} 0 RTP/AVP {pt}\r\n", track.kind.as_str())?;
    if !track.encoding.is_empty() {
        write!(out, "a=rtpmap:{pt} {}/{}", track.encoding, track.rate.hz())?;
        if let Some(channels) = track.channels {
            write!(out, "/{channels}")?;
        }
        out.push_str("\r\n");
    }
    // After rtpmap: FFmpeg forgot parameters that came before it.
    if let Some(fmtp) = &track.fmtp {
        write!(out, "a=fmtp:{pt} {fmtp}\r\n")?;
    }
    // A plain number at the end: some cameras' and recorders' clients read nothing else.
    write!(out, "a=control:trackID={}\r\n", track.id.0)
}

#[cfg(test)]
mod tests;
