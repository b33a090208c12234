//! Why a pulled source gives nothing, in words that say what to do next. No address, user or password is in
//! them.

use std::io::ErrorKind;
use std::time::Duration;

use crate::av::AvError;
use crate::hub::PublishError;

/// Why a source was not opened, or ended.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error("the source cannot be reached; check its address, and that it is switched on")]
    Unreachable,
    #[error("the source does not answer; check its address, and that it is no other service's")]
    NoAnswer,
    #[error("the source ended; it is opened again")]
    Ended,
    #[error(
        "there is no such file; check its name (one without `/` before it begins where louver was started)"
    )]
    NoFile,
    #[error("what is there is nothing that can be shown; check that its name is that of a film or a stream")]
    NoMedia,
    #[error("the file ended; add `?loop=1` to play it for ever")]
    FileEnded,
    #[error("the source gave no frame for {} s; it is opened again", .0.as_secs())]
    Silent(Duration),
    #[error(
        "the source asks for a user and a password; put them into its address as in \
         `rtsp://USER:PASSWORD@HOST/PATH`, or into `user` and `password` of the path"
    )]
    NeedsCredentials,
    #[error(
        "the source refuses this user and password; correct them (after some failures many cameras lock the \
         user for half an hour)"
    )]
    Credentials,
    #[error("the source has no stream of this name; check the path of its address")]
    NotFound,
    #[error("the source refuses with status {0}")]
    Status(u16),
    #[error("the source refuses this transport; leave `transport` out, so that Louver finds one")]
    Transport,
    #[error("the source sends to and fro between addresses; give the last one")]
    Redirects,
    #[error("the source speaks in a way that is not understood")]
    Dialogue,
    #[error(
        "the source's certificate {why}; its SHA-256 fingerprint is {seen}: if the source shows the same, write \
         `fingerprint={seen}` behind the `#` of its address, or into its path (or `insecure=1`, which takes any)"
    )]
    Certificate { why: &'static str, seen: String },
    #[error(
        "the source's certificate is not the one with the `fingerprint` that is configured; its SHA-256 fingerprint \
         is {seen}: if it was renewed, write that one, else somebody may stand between"
    )]
    OtherCertificate { seen: String },
    #[error("the source does not speak TLS as it is spoken today; with `insecure=1` older ways are tried")]
    Tls,
    #[error(
        "this system has no list of authorities to check certificates with; install `ca-certificates`, or write \
         the source's `fingerprint`"
    )]
    NoAuthorities,
    #[error("the system has no port or randomness left for this source")]
    NoBridge,
    #[error("the source has no track that can be relayed")]
    NoTracks,
    #[error("the system has no thread for this source")]
    NoThread,
    #[error(transparent)]
    Av(#[from] AvError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl PullError {
    /// Why a source or a file was not opened, in the words that all sources have for it where there are some.
    pub(super) fn of_opening(error: AvError, is_file: bool) -> Self {
        let system = match &error {
            AvError::Os { error: system, .. } => system,
            AvError::Damaged(_) => return Self::NoMedia,
            _ => return error.into(),
        };
        match system.kind() {
            ErrorKind::NotFound if is_file => Self::NoFile,
            ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                Self::Unreachable
            }
            _ => error.into(),
        }
    }

    /// Another client of the protocol may have more luck.
    pub(super) fn is_of_the_dialogue(&self) -> bool {
        matches!(
            self,
            Self::Dialogue
                | Self::Status(_)
                | Self::Credentials
                | Self::NoTracks
                | Self::NoAnswer
                | Self::Ended
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_cannot_be_opened_is_told_with_what_to_do() {
        let told = |kind: ErrorKind, is_file| {
            let doing = "opening the source";
            let error = io::Error::from(kind);
            PullError::of_opening(AvError::Os { doing, error }, is_file).to_string()
        };
        assert!(told(ErrorKind::NotFound, true).starts_with("there is no such file; check its name"));
        let odd = PullError::of_opening(AvError::Damaged("opening the source"), true);
        assert!(odd.to_string().contains("nothing that can be shown"));
        assert!(told(ErrorKind::ConnectionRefused, false).contains("check its address"));
        assert_eq!(
            told(ErrorKind::PermissionDenied, true),
            "opening the source: permission denied"
        );
    }
}
