//! What secrets look like in bytes of text: credentials in headers, web tokens, values with the name of one. Pure, and
//! bounded as all of [`text`](crate::scan::text).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::scan::Kind;
use crate::scan::text::AHEAD;
use crate::scan::text::Hit;
use crate::scan::text::MAX_USER_PART;
use crate::scan::text::run;

/// Ends of names whose value is a secret.
const SECRET_NAMES: [&[u8]; 10] = [
    b"token",
    b"password",
    b"passwd",
    b"passphrase",
    b"secret",
    b"api_key",
    b"api-key",
    b"apikey",
    b"session_id",
    b"jwt",
];
/// More than the longest of them.
const MAX_NAME: usize = 24;
/// What stands for a value in documents and schemas.
const WORDS: [&[u8]; 6] = [b"string", b"null", b"none", b"true", b"false", b"undefined"];
/// Shortest value that is told.
const SHORTEST: usize = 4;
/// Blanks on each side of a colon, and backslashes before a quote.
const MAX_GAP: usize = 64;
const MAX_ESCAPES: usize = 8;

/// `Bearer TOKEN`, `Basic BASE64`.
pub(super) fn header(bytes: &[u8], at: usize) -> Option<Hit> {
    let rest = &bytes[at..];
    let is = |word: &[u8]| {
        rest.get(..word.len())
            .is_some_and(|r| r.eq_ignore_ascii_case(word))
    };
    let value = |from: usize| {
        run(bytes, at + from, AHEAD - 16, |b| {
            b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b)
        })
    };
    if is(b"bearer ") || is(b"bearer%20") {
        let from = if is(b"bearer ") { 7 } else { 9 };
        let token = value(from);
        let has_digit = token.iter().any(u8::is_ascii_digit);
        return (token.len() >= 8 && (has_digit || token.len() >= 20))
            .then(|| Hit::new(Kind::BearerToken, from + token.len()));
    }
    if is(b"basic ") && is_user_and_password(value(6)) {
        return Some(Hit::new(Kind::BasicCredentials, 6 + value(6).len()));
    }
    None
}

/// Whether base64 has `user:password`. Without the padding that belongs to it, it can be any word: then what comes out must
/// be text.
fn is_user_and_password(value: &[u8]) -> bool {
    if let Ok(padded) = STANDARD.decode(value) {
        return padded.contains(&b':');
    }
    let digits = run(value, 0, value.len(), |b| {
        b.is_ascii_alphanumeric() || b"+/".contains(&b)
    });
    let decoded = STANDARD_NO_PAD.decode(digits).unwrap_or_default();
    let text = std::str::from_utf8(&decoded).unwrap_or_default();
    text.contains(':') && !text.contains(char::is_control)
}

/// `eyJ...` with two points: header and body of a JSON web token.
pub(super) fn jwt(bytes: &[u8], at: usize) -> Option<Hit> {
    if !bytes[at..].starts_with(b"eyJ") {
        return None;
    }
    let part = |from: usize| {
        run(bytes, from, AHEAD / 2 - 8, |b| {
            b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
        })
        .len()
    };
    let head = part(at);
    let body = part(at + head + 1);
    let dot = bytes.get(at + head) == Some(&b'.') && bytes.get(at + head + 1 + body) == Some(&b'.');
    (dot && head >= 10 && body >= 4).then(|| Hit::new(Kind::Jwt, head + 1 + body))
}

/// `token=VALUE`; the place is the sign between.
pub(super) fn value(bytes: &[u8], at: usize) -> Option<Hit> {
    secret_name(bytes, at)?;
    let value = run(bytes, at + 1, MAX_USER_PART, |b| {
        b.is_ascii_graphic() && !b"&;,\"'<>[]{}()".contains(&b)
    });
    (value.len() >= SHORTEST && !hides(value)).then(|| Hit::new(Kind::Secret, 1 + value.len()))
}

/// `"token": "VALUE"`, as JSON and what looks like it has it, also inside of another text (`\"token\":\"VALUE\"`); the place
/// is the colon. Sentences are no secrets, nor is what documents and schemas write in the place of one.
pub(super) fn json_value(bytes: &[u8], at: usize) -> Option<Hit> {
    let blanks = |b: &u8| b.is_ascii_whitespace();
    let gap = bytes[at.saturating_sub(MAX_GAP)..at]
        .iter()
        .rev()
        .take_while(|b| blanks(b))
        .count();
    let ends = (at - gap).checked_sub(1)?;
    let quote = *bytes.get(ends).filter(|b| matches!(b, b'"' | b'\''))?;
    let escapes = bytes[ends.saturating_sub(MAX_ESCAPES)..ends]
        .iter()
        .rev()
        .take_while(|b| **b == b'\\')
        .count();
    let name = secret_name(bytes, ends - escapes)?;
    let from = at + 1 + run(bytes, at + 1, MAX_GAP, |b| blanks(&b)).len();
    let from = from + run(bytes, from, MAX_ESCAPES, |b| b == b'\\').len();
    if bytes.get(from) != Some(&quote) {
        return None;
    }
    let value = run(bytes, from + 1, MAX_USER_PART, |b| {
        (b.is_ascii_graphic() || b == b' ' || b >= 0x80) && b != quote && b != b'\\'
    });
    let begins = value.first().is_some_and(|b| !b"[<{$%".contains(b));
    let word = value.contains(&b' ')
        || value.eq_ignore_ascii_case(name)
        || WORDS.iter().any(|word| value.eq_ignore_ascii_case(word));
    let found = value.len() >= SHORTEST && begins && !word && !hides(value);
    found.then(|| Hit::new(Kind::Secret, from + 1 + value.len() - at))
}

/// The name of a secret that ends before a place.
fn secret_name(bytes: &[u8], end: usize) -> Option<&'static [u8]> {
    let name = bytes[end.saturating_sub(MAX_NAME)..end].to_ascii_lowercase();
    SECRET_NAMES.into_iter().find(|n| name.ends_with(n))
}

/// Whether something was taken out of there before.
fn hides(value: &[u8]) -> bool {
    value.iter().all(|b| *b == b'*' || *b == b'.')
}
