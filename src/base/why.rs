//! Why the system refused a file or an address, in words for people.

use std::fmt;
use std::io;

/// A kind of error of the system: what a person would say of it, without the number and without the file's name, which the
/// error around it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Why(pub io::ErrorKind);

impl From<&io::Error> for Why {
    fn from(error: &io::Error) -> Self {
        Self(error.kind())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // The library calls these an entity not found, and an entity that already exists.
            io::ErrorKind::NotFound => f.write_str("there is no such file or directory"),
            io::ErrorKind::AlreadyExists => f.write_str("it is there already"),
            io::ErrorKind::StorageFull => f.write_str("no room is left on the disk"),
            kind => kind.fmt(f),
        }
    }
}

/// The same for an address that cannot be listened on.
pub fn why_not_bound(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program uses it".to_owned(),
        io::ErrorKind::AddrNotAvailable => "it is no address of this machine".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not; ports below 1024 need rights".to_owned(),
        kind => Why(kind).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_called_so() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(
            Why::from(&missing).to_string(),
            "there is no such file or directory"
        );
        assert_eq!(
            Why(io::ErrorKind::PermissionDenied).to_string(),
            "permission denied"
        );
    }

    #[test]
    fn an_address_may_be_taken_or_another_machines() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let why = |at: std::net::SocketAddr| {
            let refused = std::net::TcpListener::bind(at).unwrap_err();
            why_not_bound(&refused)
        };
        assert_eq!(why(taken.local_addr().unwrap()), "another program uses it");
        assert_eq!(
            why("192.0.2.1:0".parse().unwrap()),
            "it is no address of this machine"
        );
    }
}
