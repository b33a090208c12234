//! Finds personal data in files: addresses, e-mail addresses, tokens, credentials. What was found is never shown, only
//! its kind and place.
//!
//! Files are read once, in pieces, whatever their size. Looked at are the bytes as they lie, so that deleted rows and
//! write-ahead logs of databases are searched like everything else; texts in UTF-16 and base64; IPv4 addresses mapped
//! into 16 bytes; and what is inside of gzip. Not found is what cannot be told from other bytes: an address as 4 bytes
//! (every number is one), in hexadecimal digits, hashed, or encrypted; a value that a database split over two pages.
//!
//! Not here: what is printed (`cli`). Pure but for `files`.

mod encoded;
mod files;
mod secrets;
mod stream;
mod text;

pub use crate::scan::files::Scan;
pub use crate::scan::files::ScanError;
pub use crate::scan::files::Summary;
pub use crate::scan::files::paths;
pub use crate::scan::stream::Stream;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Ipv4,
    Ipv6,
    Email,
    /// `user:password@` or `user@` in a URL.
    UrlCredentials,
    /// `Basic` and what decodes to `user:password`.
    BasicCredentials,
    /// `Bearer` and a token.
    BearerToken,
    /// A JSON web token.
    Jwt,
    /// The value of `token=`, `"password":` and the like.
    Secret,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Ipv4,
        Self::Ipv6,
        Self::Email,
        Self::UrlCredentials,
        Self::BasicCredentials,
        Self::BearerToken,
        Self::Jwt,
        Self::Secret,
    ];
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4 address",
            Self::Ipv6 => "IPv6 address",
            Self::Email => "e-mail address",
            Self::UrlCredentials => "credentials in a URL",
            Self::BasicCredentials => "Basic credentials",
            Self::BearerToken => "Bearer token",
            Self::Jwt => "JSON web token",
            Self::Secret => "value of a token or password",
        }
    }
}

/// How it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    Text,
    Utf16,
    Base64,
    /// 16 bytes of an IPv4 address mapped into IPv6.
    Bytes,
}

impl Form {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Utf16 => "UTF-16",
            Self::Base64 => "base64",
            Self::Bytes => "bytes",
        }
    }
}

/// One thing that was found. It has no part of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Found {
    /// Bytes from the start of the file, or of what was packed.
    pub offset: u64,
    pub kind: Kind,
    pub form: Form,
    /// Of this machine (loopback) or made for documents (RFC 5737, 3849, 2606): it names nobody.
    pub harmless: bool,
}

#[cfg(test)]
mod tests;
