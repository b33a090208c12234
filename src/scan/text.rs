//! What personal data look like in bytes of text. Pure, and bounded: each look goes no further than [`AHEAD`] and
//! [`BEHIND`].
//!
//! In binary files a value touches its neighbours (`rtsp192.0.2.1tcp` in a database), so letters around an address do
//! not make it something else. What is taken for an address without being one (a version with four numbers) is the
//! lesser mistake.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use crate::scan::Kind;
use crate::scan::secrets::header;
use crate::scan::secrets::json_value;
use crate::scan::secrets::jwt;
use crate::scan::secrets::value;

/// Bytes behind a place that are looked at.
pub(super) const BEHIND: usize = 512;
/// Bytes ahead of a place that are looked at.
pub(super) const AHEAD: usize = 2_048;

/// Longest local part and longest domain of an e-mail address (RFC 5321).
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;
/// Longest user part of a URL.
pub(super) const MAX_USER_PART: usize = 256;

/// Something that begins `back` bytes before a place and ends `len` bytes behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) kind: Kind,
    pub(super) harmless: bool,
    pub(super) back: usize,
    pub(super) len: usize,
}

impl Hit {
    pub(super) fn new(kind: Kind, len: usize) -> Self {
        Self {
            kind,
            harmless: false,
            back: 0,
            len,
        }
    }
}

/// Calls `found` for everything whose telling place lies in `places`, with where it begins. Returns where to go on,
/// which is behind the last find.
pub(super) fn find(
    bytes: &[u8],
    places: std::ops::Range<usize>,
    mut found: impl FnMut(usize, Kind, bool),
) -> usize {
    let mut at = places.start;
    while at < places.end {
        match look(bytes, at) {
            Some(hit) => {
                found(at - hit.back, hit.kind, hit.harmless);
                at += hit.len.max(1);
            }
            None => at += 1,
        }
    }
    at
}

fn look(bytes: &[u8], at: usize) -> Option<Hit> {
    match bytes[at] {
        b'0'..=b'9' => ipv4(bytes, at).or_else(|| ipv6(bytes, at)),
        b'e' | b'E' => jwt(bytes, at).or_else(|| ipv6(bytes, at)),
        b'b' | b'B' => header(bytes, at).or_else(|| ipv6(bytes, at)),
        b'a'..=b'f' | b'A'..=b'F' => ipv6(bytes, at),
        b':' => user_part(bytes, at)
            .or_else(|| json_value(bytes, at))
            .or_else(|| ipv6(bytes, at)),
        b'@' => email(bytes, at),
        b'=' => value(bytes, at),
        _ => None,
    }
}

pub(super) fn run(bytes: &[u8], from: usize, most: usize, of: impl Fn(u8) -> bool) -> &[u8] {
    let rest = &bytes[from.min(bytes.len())..bytes.len().min(from + most)];
    &rest[..rest.iter().position(|b| !of(*b)).unwrap_or(rest.len())]
}

fn before(bytes: &[u8], at: usize) -> Option<u8> {
    at.checked_sub(1).map(|n| bytes[n])
}

/// Four numbers up to 255 with points between. Digits may touch it on both sides.
fn ipv4(bytes: &[u8], at: usize) -> Option<Hit> {
    let digits = run(bytes, at, 4, |b| b.is_ascii_digit()).len();
    // Of a run of digits only the last three before a point can belong to it.
    if digits > 3 || bytes.get(at + digits) != Some(&b'.') {
        return None;
    }
    let touching = bytes[at.saturating_sub(4)..at].iter().rev();
    let touching = touching.take_while(|b| b.is_ascii_digit()).count();
    if touching > 0 && touching + digits <= 3 {
        return None; // within a number that was looked at from its beginning
    }
    if before(bytes, at) == Some(b'.') && at >= 2 && bytes[at - 2].is_ascii_digit() {
        return None;
    }
    let mut octets = [0_u8; 4];
    let mut next = at;
    for (n, octet) in octets.iter_mut().enumerate() {
        let word = run(bytes, next, 3, |b| b.is_ascii_digit());
        *octet = match n {
            3 => longest_octet(word)?,
            _ => octet_of(word)?,
        };
        next += if n == 3 { octet_len(word) } else { word.len() };
        if n < 3 {
            if bytes.get(next) != Some(&b'.') {
                return None;
            }
            next += 1;
        }
    }
    let goes_on = bytes.get(next) == Some(&b'.') && bytes.get(next + 1).is_some_and(u8::is_ascii_digit);
    let address = Ipv4Addr::from(octets);
    // Nobody's: wildcards and masks, and the version that browsers give.
    let product = before(bytes, at) == Some(b'/') && octets[1..] == [0, 0, 0];
    if goes_on || product || address.is_unspecified() || octets[0] == 255 {
        return None;
    }
    Some(Hit {
        harmless: harmless_v4(address),
        ..Hit::new(Kind::Ipv4, next - at)
    })
}

fn octet_of(word: &[u8]) -> Option<u8> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The longest beginning of digits that is one number of an address.
fn longest_octet(word: &[u8]) -> Option<u8> {
    (1..=word.len()).rev().find_map(|n| octet_of(&word[..n]))
}

fn octet_len(word: &[u8]) -> usize {
    (1..=word.len())
        .rev()
        .find(|n| octet_of(&word[..*n]).is_some())
        .unwrap_or(0)
}

pub(super) fn harmless_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_documentation() || address.is_unspecified()
}

fn harmless_v6(address: Ipv6Addr) -> bool {
    let documentation = address.segments()[..2] == [0x2001, 0xdb8];
    let mapped = address.to_ipv4_mapped().is_some_and(harmless_v4);
    address.is_loopback() || documentation || mapped
}

/// Groups of hexadecimal digits with colons.
fn ipv6(bytes: &[u8], at: usize) -> Option<Hit> {
    let in_address = |b: u8| b.is_ascii_hexdigit() || b == b':';
    let first = bytes[at];
    if before(bytes, at).is_some_and(|b| in_address(b) && (first == b':' || b == b':')) {
        return None; // within a run that was looked at from its beginning
    }
    let group = run(bytes, at, 5, |b| b.is_ascii_hexdigit()).len();
    if group > 4 || bytes.get(at + group) != Some(&b':') {
        return None; // only the last four digits before a colon can belong to it
    }
    let word = run(bytes, at, 46, |b| in_address(b) || b == b'.');
    let (address, len) = longest_address(word)?;
    let word = &word[..len];
    let digits = word.iter().filter(|b| b.is_ascii_digit()).count();
    let colons = word.iter().filter(|b| **b == b':').count();
    let letter = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let alone = !letter(before(bytes, at)) && !letter(bytes.get(at + len).copied());
    // `a::b` may be a name in a program.
    let sure = digits >= 2 && colons >= 3;
    let plausible = len > 2 && (sure || (alone && (digits > 0 || colons > 2)));
    if !plausible || address.is_unspecified() {
        return None;
    }
    Some(Hit {
        harmless: harmless_v6(address),
        ..Hit::new(Kind::Ipv6, len)
    })
}

/// The longest beginning that is an address; what touches its end may look like a part of it.
fn longest_address(word: &[u8]) -> Option<(Ipv6Addr, usize)> {
    if word.iter().filter(|b| **b == b':').count() < 2 {
        return None;
    }
    let text = std::str::from_utf8(word).ok()?;
    let shortest = text.len().saturating_sub(16).max(2);
    (shortest..=text.len())
        .rev()
        .find_map(|n| Some((text[..n].parse().ok()?, n)))
}

/// `local@domain.tld`.
fn email(bytes: &[u8], at: usize) -> Option<Hit> {
    let is_local = |b: u8| b.is_ascii_alphanumeric() || b"._%+-'".contains(&b);
    let from = at.saturating_sub(MAX_LOCAL);
    let local = bytes[from..at].iter().rev().take_while(|b| is_local(**b)).count();
    let is_domain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    let domain = run(bytes, at + 1, MAX_DOMAIN, is_domain);
    let end = domain
        .iter()
        .rposition(|b| b.is_ascii_alphanumeric())
        .map_or(0, |n| n + 1);
    let domain = &domain[..end];
    let (name, tld) = domain.split_at(domain.iter().rposition(|b| *b == b'.')?);
    let tld = &tld[1..];
    let top = tld.len() >= 2 && tld.iter().take(2).all(u8::is_ascii_alphabetic);
    let good = local > 0 && top && !name.is_empty() && name[0].is_ascii_alphanumeric();
    if !good || at.checked_sub(local + 1).is_some_and(|n| bytes[n] == b'@') {
        return None;
    }
    Some(Hit {
        harmless: is_example(domain),
        back: local,
        ..Hit::new(Kind::Email, domain.len() + 1)
    })
}

/// Domains that RFC 2606 keeps for documents and tests.
fn is_example(domain: &[u8]) -> bool {
    let domain = domain.to_ascii_lowercase();
    let ends = [&b".example"[..], b".test", b".invalid", b".localhost"];
    let names = [&b"example.com"[..], b"example.org", b"example.net"];
    ends.iter().any(|end| domain.ends_with(end))
        || names
            .iter()
            .any(|name| domain == *name || domain.ends_with(&[b".", *name].concat()))
}

/// `://user:password@host`; the place is the colon.
fn user_part(bytes: &[u8], at: usize) -> Option<Hit> {
    if !bytes[at..].starts_with(b"://") || !before(bytes, at)?.is_ascii_alphanumeric() {
        return None;
    }
    let part = run(bytes, at + 3, MAX_USER_PART, |b| {
        b.is_ascii_graphic() && !b"/\"'<>?#`".contains(&b)
    });
    let len = part.iter().rposition(|b| *b == b'@')?;
    // Placeholders of documents, and what was taken out before.
    let hidden = part[..len].starts_with(b"[redacted]") || part[..len].starts_with(b"***");
    (len > 0 && !hidden).then(|| Hit::new(Kind::UrlCredentials, 4 + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, Kind, bool)> {
        let mut all = Vec::new();
        find(text.as_bytes(), 0..text.len(), |at, kind, harmless| {
            all.push((at, kind, harmless));
        });
        all
    }

    #[test]
    fn each_kind_is_found_at_its_place_also_where_it_touches_others() {
        for (text, at, kind) in [
            ("from 8.8.4.4:5000", 5, Kind::Ipv4),
            ("rtsp8.8.4.4tcp", 4, Kind::Ipv4),
            ("8.8.4.42026-05-01", 0, Kind::Ipv4),
            ("ip=010.001.002.003", 3, Kind::Ipv4),
            ("x 2a00:1450:4001::8a!", 2, Kind::Ipv6),
            ("[2a00:1450:4001:82b::200e]:554", 1, Kind::Ipv6),
            ("rtsp2a00:1450::8atcp", 4, Kind::Ipv6),
            ("fe80::1%eth0", 0, Kind::Ipv6),
            ("::ffff:8.8.4.4", 0, Kind::Ipv6),
            ("<anna.b+x@mail.uni-koeln.de>", 1, Kind::Email),
            ("rtsp://anna:p@w@cam/1", 4, Kind::UrlCredentials),
            ("http://anna@cam.example.com/", 4, Kind::UrlCredentials),
            ("Authorization: Bearer abc.def-12", 15, Kind::BearerToken),
            ("basic YW5uYTpwdw==", 0, Kind::BasicCredentials),
            ("x=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", 2, Kind::Jwt),
            ("GET /live?access_token=abcd", 22, Kind::Secret),
        ] {
            let all = found(text);
            assert_eq!(all, [(at, kind, false)], "{text}");
        }
    }

    #[test]
    fn what_names_nobody_is_found_as_harmless() {
        for text in [
            "127.0.1.9",
            "192.0.2.1",
            "203.0.113.7",
            "::1 ",
            "2001:db8:1:2:3:4:5:6",
            "::ffff:192.0.2.1",
            "a@example.org",
            "bob@host.invalid",
        ] {
            let all = found(text);
            assert!(all.len() == 1 && all[0].2, "{text}: {all:?}");
        }
    }

    #[test]
    fn ordinary_text_has_none() {
        for text in [
            "2026-01-02T03:04:05.678901Z  INFO louver::egress::rtsp: A reader joined. session=7",
            "libavcodec 61.19.101, SQLite 3.50.4, took 1.5 ms, 10:20:30 in all, 0.0.0.0:8554, 255.255.255.0",
            "av::decode: dead::beef: a::b: x :: y std::fs::File 1.2.3.4.5 1.3.6.1.4.1.311",
            "Basic credentials were wrong. password=**** token= Bearer of news, bearer certificate",
            "Mozilla/5.0 Chrome/148.0.0.0 Safari/537.36",
            "AA:BB:CC:DD:EE:FF at 12:34, 00:11:22:33, ends in @ or a@b or @example.com",
            "rtsp://[redacted]@cam/1 https://docs.example.org/@x",
            "",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_address_is_found_whatever_letters_touch_it(
            a in 1_u32..0xff00_0000,
            b in proptest::prelude::any::<u128>(),
            left in "[g-z]{0,9}",
            right in "[g-z ]{0,9}",
        ) {
            for address in [Ipv4Addr::from(a).to_string(), Ipv6Addr::from(b | 0xffff_0000_ffff_u128 << 80).to_string()] {
                let text = format!("{left}{address}{right}");
                let all = found(&text);
                proptest::prop_assert!(all.iter().any(|f| f.0 == left.len()), "{text}: {all:?}");
            }
        }
    }
}
