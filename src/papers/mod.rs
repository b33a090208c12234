//! The papers: what the relay tells about itself, made of its running configuration and of the field register.
//!
//! The privacy notice (English, French), the record of processing (Art. 30 GDPR), a skeleton of an impact assessment, a
//! self-assessment along the criteria for audience measurement without consent, and a report of a breach. All of them
//! are made of the same [`Options`], so a setting cannot say one thing here and another there; a test flips each. They
//! say what the program does; whether that is lawful where it is used, its operator has to judge. No name is invented:
//! where the configuration names nobody, the paper says that the name is missing.
//!
//! Not here: JSON (`web::api`), files, the clock.

mod breach;
mod check;
mod document;
mod dpia;
mod french;
mod notice;
mod options;
mod record;
mod selfassessment;

pub use crate::papers::breach::breach_report;
pub use crate::papers::check::Finding;
pub use crate::papers::check::Grade;
pub use crate::papers::check::Machine;
pub use crate::papers::check::self_check;
pub use crate::papers::document::Block;
pub use crate::papers::document::Document;
pub use crate::papers::dpia::dpia;
pub use crate::papers::notice::notice;
pub use crate::papers::options::Change;
pub use crate::papers::options::Options;
pub use crate::papers::record::record;
pub use crate::papers::selfassessment::self_assessment;

/// Languages of the notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lang {
    #[default]
    En,
    Fr,
}

impl Lang {
    /// Reads `en`, `fr`, `fr-CA` and the like; `None` for others.
    pub fn parse(text: &str) -> Option<Self> {
        let first = text.split(['-', '_']).next().unwrap_or_default();
        match first.to_ascii_lowercase().as_str() {
            "en" => Some(Self::En),
            "fr" => Some(Self::Fr),
            _ => None,
        }
    }
    /// The tag of RFC 5646.
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Fr => "fr",
        }
    }
    /// The text of this language.
    pub(crate) fn say<'t>(self, en: &'t str, fr: &'t str) -> &'t str {
        match self {
            Self::En => en,
            Self::Fr => fr,
        }
    }
}

#[cfg(test)]
mod tests;
