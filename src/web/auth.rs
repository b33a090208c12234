//! Basic credentials of a request (RFC 7617). What they are compared with is in `proto::rtsp::auth`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header;
use zeroize::Zeroizing;

use crate::proto::rtsp::auth::Action;
use crate::proto::rtsp::auth::Permit;
use crate::proto::rtsp::auth::Users;

/// Longest credentials that are looked at, in base64 characters.
const MAX: usize = 1024;

/// Whether the request has the credentials of one of the users. Takes as long for a wrong name as for a
/// wrong password, and tells nobody which it was.
pub(super) fn admits(users: &Users, headers: &HeaderMap) -> bool {
    given(headers).is_some_and(|(name, password)| users.check_basic(&name, &password))
}

/// Whether the user, whose credentials [`admits`] found good, may watch this path.
pub(super) fn may_watch(users: &Users, headers: &HeaderMap, path: &str) -> bool {
    given(headers).is_some_and(|(name, _)| users.may(&name, Action::Read, path))
}

/// What the user, whose credentials [`admits`] found good, was let in by.
pub(super) fn permit(users: &Arc<Users>, headers: &HeaderMap) -> Option<Permit> {
    users.permit(&given(headers)?.0)
}

/// The name that the request gives, whose credentials [`admits`] found good.
pub(super) fn name(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    given(headers).map(|(name, _)| name)
}

fn given(headers: &HeaderMap) -> Option<(Zeroizing<String>, Zeroizing<String>)> {
    basic(headers.get(header::AUTHORIZATION)?.as_bytes())
}

/// Name and password of an `Authorization` header; wiped when dropped.
fn basic(value: &[u8]) -> Option<(Zeroizing<String>, Zeroizing<String>)> {
    let value = std::str::from_utf8(value).ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > MAX {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let (name, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((Zeroizing::new(name.into()), Zeroizing::new(password.into())))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::proto::rtsp::auth::User;

    fn admits_header(value: &str) -> bool {
        let users = Users::new("louver", vec![User::new("viewer", "louver", "a:b")]);
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        admits(&users, &headers)
    }

    fn encoded(text: &str) -> String {
        STANDARD.encode(text)
    }

    #[test]
    fn the_right_credentials_are_admitted_and_nothing_else_is() {
        assert!(admits_header(&format!("Basic {}", encoded("viewer:a:b"))));
        assert!(admits_header(&format!("basic  {}", encoded("viewer:a:b"))));
        for wrong in [
            format!("Basic {}", encoded("viewer:a")),
            format!("Basic {}", encoded("viewer:")),
            format!("Basic {}", encoded("viewer")),
            format!("Basic {}", encoded("Viewer:a:b")),
            format!("Basic {}", encoded(":a:b")),
            format!("Digest {}", encoded("viewer:a:b")),
            format!("Bearer {}", encoded("viewer:a:b")),
            "Basic".into(),
            "Basic ???".into(),
            format!("Basic {}", "A".repeat(2000)),
        ] {
            assert!(!admits_header(&wrong), "{wrong}");
        }
        assert!(!admits(&Users::new("louver", vec![]), &HeaderMap::new()));
    }
}
