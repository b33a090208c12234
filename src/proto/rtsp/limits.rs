//! How much one peer may ask for. The numbers are the operator's.

/// Bounds of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a request line with its headers.
    pub head: usize,
    /// Headers of one request.
    pub headers: usize,
    /// Bytes of a body: an announced SDP, or a list of parameters.
    pub body: usize,
    /// Tracks of one session, and of an announced stream; not more than [`crate::proto::sdp::MAX_TRACKS`].
    pub tracks: usize,
    /// Sessions of one connection.
    pub sessions: usize,
}

impl Limits {
    /// What holds where nothing is said.
    pub const DEFAULT: Self = Self {
        head: 20 << 10,
        headers: 64,
        body: 64 << 10,
        tracks: 16,
        sessions: 8,
    };

    /// Bytes kept while a request is being answered: a whole message, and what frames come with it.
    pub fn backlog(&self) -> usize {
        2 * (self.head + self.body)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A limit that was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    RequestSize,
    RequestHeaders,
    AnnounceSize,
    Tracks,
    SessionsPerConnection,
}
