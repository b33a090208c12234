//! The name by which a request calls us: for the URLs we tell, and against DNS rebinding.
//!
//! A page of another site cannot read what an open listener on loopback answers, unless its own host name is
//! made to point to 127.0.0.1. Its requests then carry that name, so an open loopback listener answers to
//! `localhost` and to addresses only.

use std::net::IpAddr;
use std::net::Ipv6Addr;

use hyper::HeaderMap;
use hyper::Uri;
use hyper::header;

/// The host that a request names, without port: `None` when it names none, or something that is no host.
pub(super) fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let named = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(header::HOST)?.to_str().ok()?,
    };
    let host = match named.rfind(']') {
        Some(end) => &named[..=end],
        None => named.split_once(':').map_or(named, |(host, _port)| host),
    };
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    (!host.is_empty() && host.len() <= 253 && host.bytes().all(fits)).then(|| host.to_ascii_lowercase())
}

/// Whether this is a name that no other site can have.
pub(super) fn is_ours(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok()
        || v6.is_some_and(|h| h.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn host_of(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(value).unwrap());
        host(&Uri::from_static("/"), &headers)
    }

    #[test]
    fn the_port_is_not_part_of_the_host_and_odd_characters_make_it_none() {
        for (value, want) in [
            ("localhost:8080", Some("localhost")),
            ("Cam.Example.ORG", Some("cam.example.org")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("[2001:db8::1]:8080", Some("[2001:db8::1]")),
            ("", None),
            (":8080", None),
            ("a\"b", None),
            ("user@host", None),
            ("host/path", None),
        ] {
            assert_eq!(host_of(value).as_deref(), want, "{value}");
        }
        assert_eq!(host(&Uri::from_static("/"), &HeaderMap::new()), None);
        let whole = Uri::from_static("http://other:1/");
        assert_eq!(host(&whole, &HeaderMap::new()).as_deref(), Some("other"));
    }

    #[test]
    fn ours_are_localhost_and_addresses() {
        for ours in ["localhost", "cam.localhost", "127.0.0.1", "192.168.1.5", "[::1]"] {
            assert!(is_ours(ours), "{ours}");
        }
        for theirs in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.example",
            "notlocalhost",
            "[x]",
        ] {
            assert!(!is_ours(theirs), "{theirs}");
        }
    }
}
