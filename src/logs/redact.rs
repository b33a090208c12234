//! Finds in a line of text what could name a viewer, and takes it out. Pure.
//!
//! Found are IPv4 and IPv6 addresses, user parts of URLs, Bearer and Basic credentials, and values of keys
//! named like secrets. It is the second line of defence: no room logs any of these, so a hit is a bug there.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const MARK: &str = "[redacted]";

/// Ends of names whose value is a secret: `access_token=`, `Password=`, `user_agent=`.
const SECRET_NAMES: [&str; 8] = [
    "token",
    "password",
    "passwd",
    "secret",
    "username",
    "user_agent",
    "user-agent",
    "authorization",
];

/// The line without what could name a viewer, and how many such things were in it.
pub fn line(text: &str) -> (String, u64) {
    let mut out = String::with_capacity(text.len());
    let mut hits = 0;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(escape) = ansi_escape(rest) {
            out.push_str(&rest[..escape]);
            rest = &rest[escape..];
            continue;
        }
        if let Some(found) = find(&out, rest) {
            out.push_str(&rest[..found.keep]);
            out.push_str(MARK);
            hits += 1;
            rest = &rest[found.keep + found.drop..];
            continue;
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    (out, hits)
}

/// Something at the start of the rest: `keep` bytes that stay, then `drop` bytes that go.
struct Found {
    keep: usize,
    drop: usize,
}

fn find(before: &str, rest: &str) -> Option<Found> {
    ipv4(before, rest)
        .or_else(|| ipv6(before, rest))
        .or_else(|| user_part(before, rest))
        .or_else(|| credentials(before, rest))
        .or_else(|| secret_value(before, rest))
}

/// Length of a colour code at the start. It would hide where a word begins.
fn ansi_escape(rest: &str) -> Option<usize> {
    let code = rest.strip_prefix("\u{1b}[")?;
    let end = code.find(|c: char| c.is_ascii_alphabetic())?;
    Some(2 + end + 1)
}

/// The character before, unless a colour code lies between.
fn last_char(before: &str) -> Option<char> {
    let last = before.chars().next_back()?;
    let code = before.rfind('\u{1b}').map(|at| &before[at..]);
    match code {
        Some(code) if ansi_escape(code) == Some(code.len()) => None,
        _ => Some(last),
    }
}

fn run(text: &str, of: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !of(c)).unwrap_or(text.len())]
}

fn ipv4(before: &str, rest: &str) -> Option<Found> {
    if !rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if last_char(before).is_some_and(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let word = run(rest, |c| c.is_ascii_digit() || c == '.').trim_end_matches('.');
    // Leading zeros, which the parser refuses, still are somebody's address.
    let parts: Vec<&str> = word.split('.').collect();
    let is_address = parts.len() == 4 && parts.iter().all(|p| p.parse::<u8>().is_ok());
    debug_assert!(is_address || word.parse::<Ipv4Addr>().is_err());
    is_address.then_some(Found {
        keep: 0,
        drop: word.len(),
    })
}

fn ipv6(before: &str, rest: &str) -> Option<Found> {
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    if !rest.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':')
        || last_char(before).is_some_and(in_word)
    {
        return None;
    }
    let word = run(rest, |c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'));
    let after = rest[word.len()..].chars().next();
    let word = word.trim_end_matches(['.', ':']);
    // `a::b` may be a module of ours; an address has a digit, or more groups than that.
    let digit = word.contains(|c: char| c.is_ascii_digit());
    let plausible = word.len() > 2 && (digit || word.matches(':').count() > 2) && !after.is_some_and(in_word);
    let address = plausible && (word.parse::<Ipv6Addr>().is_ok() || without_port(word));
    address.then_some(Found {
        keep: 0,
        drop: word.len(),
    })
}

/// `1:2:3:4:5:6:7:8:5000`, which nobody should write but somebody will.
fn without_port(word: &str) -> bool {
    word.rsplit_once(':')
        .is_some_and(|(host, _)| host.parse::<Ipv6Addr>().is_ok())
}

/// `anna:pw@` after `//`, or anywhere in a word.
fn user_part(before: &str, rest: &str) -> Option<Found> {
    let starts = match last_char(before) {
        None => true,
        Some(c) => c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '(' | '<' | '=' | '['),
    };
    let word = run(rest, |c| {
        !c.is_whitespace() && !matches!(c, '/' | '"' | '\'' | '?' | '#' | '<' | '>' | '\u{1b}')
    });
    let at = word.rfind('@')?;
    let is_user = before.ends_with("//") || word[..at].contains(':');
    (starts && is_user && at > 0 && &word[..at] != MARK).then_some(Found { keep: 0, drop: at })
}

/// `Bearer abc`, `Basic YTpi`.
fn credentials(before: &str, rest: &str) -> Option<Found> {
    if last_char(before).is_some_and(char::is_alphanumeric) {
        return None;
    }
    let is_value = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\'' | ',' | ')' | '\u{1b}');
    if let Some(value) = strip_prefix_ignoring_case(rest, "bearer ") {
        let value = run(value, is_value);
        return (!value.is_empty() && value != MARK).then_some(Found {
            keep: 7,
            drop: value.len(),
        });
    }
    let value = run(strip_prefix_ignoring_case(rest, "basic ")?, is_value);
    let decoded = STANDARD.decode(value).ok()?;
    decoded.contains(&b':').then_some(Found {
        keep: 6,
        drop: value.len(),
    })
}

/// `token=abc`, `password="a b"`, `secret: "x"`.
fn secret_value(before: &str, rest: &str) -> Option<Found> {
    let after = rest.strip_prefix(['=', ':'])?;
    let name = last_word(before);
    if !SECRET_NAMES.iter().any(|n| ends_with_ignoring_case(name, n)) {
        return None;
    }
    let (escape, after) = after.split_at(ansi_escape(after).unwrap_or(0));
    let mut value = after;
    if rest.starts_with(':') {
        // Prose has colons too; a value is quoted there.
        value = after.trim_start_matches(' ');
        value.strip_prefix('"')?;
    }
    let keep = 1 + escape.len() + (after.len() - value.len());
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (keep, drop) = match quote {
        Some(quote) => (keep + 1, quoted(&value[1..], quote)),
        None => (
            keep,
            run(value, |c| !c.is_whitespace() && !"&\"',;)]}\u{1b}".contains(c)).len(),
        ),
    };
    let value = &rest[keep..keep + drop];
    (!value.is_empty() && !MARK.starts_with(value) && value != MARK).then_some(Found { keep, drop })
}

/// The last word, whatever colours it has.
fn last_word(before: &str) -> &str {
    let mut before = before;
    while let Some(at) = before.rfind('\u{1b}') {
        if ansi_escape(&before[at..]) != Some(before.len() - at) {
            break;
        }
        before = &before[..at];
    }
    let start = before.rfind(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
    &before[start.map_or(0, |s| s + before[s..].chars().next().map_or(1, char::len_utf8))..]
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.unwrap_or(text.len())
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    text.len()
        .checked_sub(end.len())
        .and_then(|at| text.get(at..))
        .is_some_and(|t| t.eq_ignore_ascii_case(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_viewer_is_taken_out() {
        let cases = [
            ("peer=127.9.8.7:5000 joined", "peer=[redacted]:5000 joined"),
            ("from 192.0.2.1.", "from [redacted]."),
            ("ip010.001.002.003", "ip[redacted]"),
            ("[2001:db8::1]:554", "[[redacted]]:554"),
            ("at fe80::1%eth0", "at [redacted]%eth0"),
            ("1:2:3:4:5:6:7:8:5000 came", "[redacted] came"),
            ("peer=::1,", "peer=[redacted],"),
            ("fe80::dead:beef: refused", "[redacted]: refused"),
            ("::ffff:192.0.2.1", "[redacted]"),
            ("rtsp://anna:p@w@cam/1", "rtsp://[redacted]@cam/1"),
            ("rtsp://anna@cam/1", "rtsp://[redacted]@cam/1"),
            ("as anna:secret@cam", "as [redacted]@cam"),
            (
                "Authorization: Bearer abc.def-1",
                "Authorization: Bearer [redacted]",
            ),
            (
                "authorization: \"Basic YW5uYTpwdw==\"",
                "authorization: \"[redacted]\"",
            ),
            ("sent basic YW5uYTpwdw==", "sent basic [redacted]"),
            (
                "GET /live?access_token=abc&x=1",
                "GET /live?access_token=[redacted]&x=1",
            ),
            ("Password=\"a \\\" b\" x", "Password=\"[redacted]\" x"),
            (
                "User { username: \"anna\", n: 1 }",
                "User { username: \"[redacted]\", n: 1 }",
            ),
            ("user_agent=\"LibVLC/3.0.24\"", "user_agent=\"[redacted]\""),
            (
                "\u{1b}[3mtoken\u{1b}[0m\u{1b}[2m=\u{1b}[0mabc",
                "\u{1b}[3mtoken\u{1b}[0m\u{1b}[2m=\u{1b}[0m[redacted]",
            ),
            ("\u{1b}[2m=\u{1b}[0m192.0.2.1", "\u{1b}[2m=\u{1b}[0m[redacted]"),
            ("\u{1b}[2m=\u{1b}[0mfe80::1", "\u{1b}[2m=\u{1b}[0m[redacted]"),
        ];
        for (text, clean) in cases {
            assert_eq!(line(text), (clean.to_owned(), 1), "{text}");
        }
    }

    #[test]
    fn ordinary_lines_pass_and_so_does_what_was_redacted_before() {
        for text in [
            "2026-01-02T03:04:05.678901Z  INFO louver::egress::rtsp: A reader joined. session=7",
            "libavcodec 61.19.101, SQLite 3.50.4, louver 0.1.0, took 1.5 ms, 10:20:30 in all.",
            "av::decode: dead::beef: a::b: x :: y",
            "Basic credentials were wrong. The password: not typed.",
            "No password= given; token=[redacted] Bearer [redacted]",
            "webcam:/dev/video0?size=1280x720&fps=30 at 12:34",
            "1.2.3.4.5 is no address, nor is 1.2.3 or 300.1.1.1",
            "ends in \u{1b}[ or ä@ö",
            "",
        ] {
            assert_eq!(line(text), (text.to_owned(), 0), "{text}");
        }
    }

    #[test]
    fn redacting_twice_changes_nothing() {
        let text = "a:b@c 192.0.2.1 [fe80::1]:5 password=\"x\" Bearer y rtsp://u@h/";
        let (once, hits) = line(text);
        assert_eq!(hits, 6);
        assert_eq!(line(&once), (once.clone(), 0));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived_and_any_address_is_found(
            text in ".{0,60}",
            a in proptest::prelude::any::<u32>(),
            b in proptest::prelude::any::<u128>(),
        ) {
            line(&text);
            for address in [Ipv4Addr::from(a).to_string(), Ipv6Addr::from(b).to_string()] {
                let (clean, hits) = line(&format!("peer {address} came"));
                proptest::prop_assert_eq!(hits, 1);
                proptest::prop_assert!(!clean.contains(&address));
            }
        }
    }
}
