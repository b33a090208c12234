//! What a transport knows about a viewer, on its way to the door.
//!
//! Made where a connection is accepted, moved into [`crate::privacy::Door::admit`], gone after that.
//! Nothing here can print, compare, copy or send it. The agent string is not even kept that long: it is
//! reduced to a family and a major version at once.

use std::net::IpAddr;

use zeroize::Zeroize;

use crate::base::peer::PeerAddr;
use crate::privacy::address::AddressUnit;
use crate::privacy::client;
use crate::privacy::client::Client;

/// Address and agent of a viewer. Moves in; does not come out.
///
/// ```compile_fail
/// # use louver::{base::peer::PeerAddr, privacy::RawViewer};
/// let raw = RawViewer::new(PeerAddr::new("192.0.2.1:5000".parse().unwrap()), None);
/// println!("{raw:?}"); // no Debug
/// ```
/// ```compile_fail
/// # use louver::{base::peer::PeerAddr, privacy::RawViewer};
/// let raw = RawViewer::new(PeerAddr::new("192.0.2.1:5000".parse().unwrap()), None);
/// let kept = raw.clone(); // no Clone
/// ```
/// ```compile_fail
/// # use louver::{base::peer::PeerAddr, base::clock::SystemClock, privacy::{Door, Options, RawViewer}};
/// let raw = RawViewer::new(PeerAddr::new("192.0.2.1:5000".parse().unwrap()), None);
/// let door = Door::new(Options::default(), SystemClock::shared());
/// door.admit(raw);
/// door.admit(raw); // moved: the first call ended it
/// ```
/// ```
/// # use louver::{base::peer::PeerAddr, base::clock::SystemClock, privacy::{Door, Options, RawViewer}};
/// let raw = RawViewer::new(PeerAddr::new("192.0.2.1:5000".parse().unwrap()), Some("VLC/3.0.20"));
/// let door = Door::new(Options::default(), SystemClock::shared());
/// assert!(door.admit(raw).is_some());
/// ```
pub struct RawViewer {
    unit: AddressUnit,
    client: Client,
    opted_out: bool,
}

impl RawViewer {
    /// Takes what identifies a viewer: the far end of the connection and, if it said so, the agent.
    ///
    /// An agent that contains `nostats` opts out: some players can set nothing but their agent.
    pub fn new(peer: PeerAddr, user_agent: Option<&str>) -> Self {
        Self::of(peer.expose_to_admit(), user_agent.unwrap_or_default())
    }

    /// Says that the viewer does not want to be counted (`DNT`, `Sec-GPC`, `?stats=off`, an RTSP header).
    /// Can be said several times; one `true` is enough.
    #[must_use]
    pub fn opt_out(mut self, wished: bool) -> Self {
        self.opted_out |= wished;
        self
    }

    fn of(ip: IpAddr, user_agent: &str) -> Self {
        Self {
            unit: AddressUnit::of(ip),
            client: client::classify(user_agent),
            opted_out: client::wants_no_statistics(user_agent),
        }
    }

    pub(in crate::privacy) fn unit(&self) -> &AddressUnit {
        &self.unit
    }
    pub(in crate::privacy) fn client(&self) -> Client {
        self.client
    }
    pub(in crate::privacy) fn opted_out(&self) -> bool {
        self.opted_out
    }
}

impl Drop for RawViewer {
    fn drop(&mut self) {
        self.unit.zeroize();
    }
}
