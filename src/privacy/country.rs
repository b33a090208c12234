//! The country of an address, from a database file of the operator's, with the end of the address cut off first.
//!
//! None is shipped and none is fetched. A country that cannot be told from the masked address is not told. Not here:
//! reading the file (`app`).

use std::net::IpAddr;

use maxminddb::PathElement;
use maxminddb::Reader;

use crate::privacy::address;
use crate::privacy::address::Mask;
use crate::privacy::address::Network;

/// Where a viewer is, coarsely. A closed set: no text of a viewer's can become one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Country {
    /// In this network, or on this machine.
    Local,
    /// Behind a provider's shared address, of which no database knows the place.
    Cgnat,
    /// In a country of this ISO 3166-1 code.
    Code(Code),
    /// The database does not know.
    Unknown,
}

/// Two capital letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code([u8; 2]);

impl Country {
    /// The word in the store and in answers.
    pub fn name(&self) -> &str {
        match self {
            Self::Local => "local",
            Self::Cgnat => "cgnat",
            Self::Code(Code(letters)) => std::str::from_utf8(letters).expect("letters are ASCII"),
            Self::Unknown => "unknown",
        }
    }
}

/// A database of countries.
pub struct Countries {
    reader: Reader<Vec<u8>>,
    mask: Mask,
}

/// The file is no database of countries.
#[derive(Debug, thiserror::Error)]
#[error(
    "the file is no database in MaxMind's format (.mmdb); give the file of a database of countries or cities"
)]
pub struct NotADatabase;

impl Countries {
    /// Takes the bytes of a `.mmdb` file.
    ///
    /// # Errors
    /// When they are not in that format.
    pub fn new(bytes: Vec<u8>, mask: Mask) -> Result<Self, NotADatabase> {
        let reader = Reader::from_source(bytes).map_err(|_| NotADatabase)?;
        Ok(Self { reader, mask })
    }

    pub(in crate::privacy) fn of(&self, ip: IpAddr) -> Country {
        match address::network(ip) {
            Network::Local => return Country::Local,
            Network::Cgnat => return Country::Cgnat,
            Network::Public => {}
        }
        let code = address::prefix(ip, self.mask).and_then(|masked| self.look_up(masked));
        code.map_or(Country::Unknown, Country::Code)
    }

    fn look_up(&self, masked: IpAddr) -> Option<Code> {
        let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
        let found = self.reader.lookup(masked).ok()?;
        let code: &str = found.decode_path(&path).ok()??;
        match code.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Some(Code([*a, *b])),
            _ => None,
        }
    }
}
