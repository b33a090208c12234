//! How much may be known: levels, consent, masks. Data without behaviour; the configuration says it, the door obeys, and
//! the field registry and the notice made of it tell. Not here: what a value costs a viewer (`fields`).

use crate::privacy::address::Mask;

/// How much the statistics know of a viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// No number of a viewer on any disk: only marks that say "for the first time today".
    Anonymous,
    /// A random number for each viewer of the day.
    #[default]
    Pseudonymous,
    /// What viewers consented to beyond that. Only with [`Consent::OptIn`].
    Identified,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 3] = [Self::Anonymous, Self::Pseudonymous, Self::Identified];

    /// The word of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Pseudonymous => "pseudonymous",
            Self::Identified => "identified",
        }
    }
}

/// Who is counted at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Consent {
    /// Nobody.
    Off,
    /// All who did not object: the mode for audience measurement that needs no consent.
    #[default]
    Exempt,
    /// Those who agreed.
    OptIn,
}

impl Consent {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Off, Self::Exempt, Self::OptIn];

    /// The word of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Exempt => "exempt",
            Self::OptIn => "opt-in",
        }
    }
}

/// What one relay does with what it could know of its viewers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub level: Level,
    pub consent: Consent,
    /// How much of an address the look-up of its country gets to see.
    pub mask: Mask,
    /// Whether there is a database to look countries up in.
    pub country: bool,
    /// Whether some hosts may say on whose behalf they come.
    pub proxies: bool,
}
