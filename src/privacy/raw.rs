//! What a transport knows about a viewer, on its way to the door.
//!
//! Made where a connection is accepted, moved into [`crate::privacy::Door::admit`], and behind the door for as long as
//! the session lasts, whose socket knows the same. Nothing can print, compare, copy or send it. The agent string is not
//! even kept that long: it is reduced to a family and a major version at once.

use crate::base::peer::PeerAddr;
use crate::base::raw::Raw;
use crate::privacy::address::AddressUnit;
use crate::privacy::client;
use crate::privacy::client::Client;

/// Address and agent of a viewer. Moves in; does not come out.
///
/// ```compile_fail,E0277
/// # use louver::{base::peer::PeerAddr, privacy::RawViewer};
/// let raw = RawViewer::new(PeerAddr::new("192.0.2.1:5000".parse().unwrap()), None);
/// println!("{raw:?}"); // no Debug
/// ```
/// ```compile_fail,E0277
/// # use louver::{base::peer::PeerAddr, privacy::RawViewer};
/// let raw = RawViewer::new(PeerAddr::new("192.0.2.1:5000".parse().unwrap()), None);
/// serde_json::to_string(&raw); // no Serialize
/// ```
/// ```compile_fail,E0616
/// # use louver::{base::peer::PeerAddr, privacy::RawViewer};
/// let raw = RawViewer::new(PeerAddr::new("192.0.2.1:5000".parse().unwrap()), None);
/// let address = raw.unit; // a private field
/// ```
/// ```compile_fail,E0599
/// # use louver::{base::peer::PeerAddr, privacy::RawViewer};
/// let raw = RawViewer::new(PeerAddr::new("192.0.2.1:5000".parse().unwrap()), None);
/// let kept = raw.clone(); // no Clone
/// ```
/// ```compile_fail,E0382
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
    unit: Raw<AddressUnit>,
    client: Client,
    opted_out: bool,
    /// What the viewer shows as proof of having agreed. Wiped with the rest.
    token: Option<Raw<String>>,
    /// The number of what the viewer agreed to, once the proof was found good.
    agreement: Option<Raw<[u8; 16]>>,
}

impl RawViewer {
    /// Takes what identifies a viewer: the far end of the connection and, if it said so, the agent.
    ///
    /// An agent that contains `nostats` opts out: some players can set nothing but their agent.
    pub fn new(peer: PeerAddr, user_agent: Option<&str>) -> Self {
        let user_agent = user_agent.unwrap_or_default();
        Self {
            unit: Raw::new(AddressUnit::of(peer.expose_to_admit())),
            client: client::classify(user_agent),
            opted_out: client::wants_no_statistics(user_agent),
            token: None,
            agreement: None,
        }
    }

    /// Says that the viewer does not want to be counted (`DNT`, `Sec-GPC`, `?stats=off`, an RTSP header).
    /// Can be said several times; one `true` is enough.
    #[must_use]
    pub fn opt_out(mut self, wished: bool) -> Self {
        self.opted_out |= wished;
        self
    }

    /// Hands over what the viewer shows as proof of having agreed to be counted (`?consent=`, `X-Consent`). The door finds
    /// out whether it is one. Does not outweigh a wish not to be counted.
    #[must_use]
    pub fn consent(mut self, token: Option<String>) -> Self {
        self.token = token.map(Raw::new);
        self
    }

    pub(in crate::privacy) fn unit(&self) -> &AddressUnit {
        self.unit.expose_raw()
    }
    pub(in crate::privacy) fn client(&self) -> Client {
        self.client
    }
    pub(in crate::privacy) fn opted_out(&self) -> bool {
        self.opted_out
    }
    /// The proof, once: it is wiped after it was looked at.
    pub(in crate::privacy) fn take_token(&mut self) -> Option<Raw<String>> {
        self.token.take()
    }
    pub(in crate::privacy) fn agree(&mut self, agreement: Raw<[u8; 16]>) {
        self.agreement = Some(agreement);
    }
    pub(in crate::privacy) fn agreement(&self) -> Option<&[u8; 16]> {
        self.agreement.as_ref().map(Raw::expose_raw)
    }
}
