//! What must never be found: in no file, log, metric or answer, in no encoding.
//!
//! A canary is a thing about a viewer that is unusual enough not to occur by chance.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use md5::Md5;
use sha2::Digest;
use sha2::Sha256;

/// A thing about a viewer.
#[derive(Clone, Debug)]
pub enum Canary {
    /// A source address. Searched as text, number, bytes, hex, base64, and as plain hashes (2^32 guesses undo them).
    Addr(Ipv4Addr),
    /// An address that is too ordinary for its bytes to be searched: only its text is.
    PlainAddr(Ipv4Addr),
    /// An agent string, a user name, a query, a password, a referer.
    Text(String),
}

impl Canary {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
    /// Looked for at the end of every test: the addresses that the harness' own viewers use, and its peers' agents.
    pub fn always() -> Vec<Self> {
        let mut all: Vec<Self> = (2..=40)
            .map(|n| Self::PlainAddr(Ipv4Addr::new(127, 0, 0, n)))
            .collect();
        all.extend(["Lavf5", "Lavf6", "LibVLC/", "GStreamer/1", "retina/"].map(Self::text));
        all
    }
    /// The canary in every form that a program may write it, with the name of the form.
    fn forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        match self {
            Self::PlainAddr(a) => vec![("text", a.to_string().into_bytes())],
            Self::Text(t) => {
                let mut forms = vec![("text", t.clone().into_bytes())];
                forms.extend(encodings(t.as_bytes()));
                forms.extend(hashes(t.as_bytes()));
                forms.push(("percent", percent(t).into_bytes()));
                forms.push(("lower case", t.to_lowercase().into_bytes()));
                forms
            }
            Self::Addr(a) => {
                let (text, octets) = (a.to_string(), a.octets());
                let number = u32::from(*a);
                let mut reversed = octets;
                reversed.reverse();
                let mapped = a.to_ipv6_mapped().segments();
                let mut forms = vec![
                    ("text", text.clone().into_bytes()),
                    ("bytes", octets.to_vec()),
                    ("bytes, reversed", reversed.to_vec()),
                    ("integer", number.to_string().into_bytes()),
                    ("integer, reversed", number.swap_bytes().to_string().into_bytes()),
                    (
                        "IPv6, mapped",
                        format!("{:x}:{:x}", mapped[6], mapped[7]).into_bytes(),
                    ),
                    (
                        "reversed name",
                        format!("{}.{}.{}.{}", octets[3], octets[2], octets[1], octets[0]).into(),
                    ),
                    ("dashes", text.replace('.', "-").into_bytes()),
                    (
                        "array",
                        format!("{}, {}, {}, {}", octets[0], octets[1], octets[2], octets[3]).into(),
                    ),
                    (
                        "first three numbers",
                        format!("{}.{}.{}.", octets[0], octets[1], octets[2]).into(),
                    ),
                ];
                forms.extend(encodings(text.as_bytes()));
                forms.extend(hashes(text.as_bytes()));
                forms.extend(hashes(&octets));
                forms.push(("hex of the bytes", hex(&octets).into_bytes()));
                forms
            }
        }
    }
}

/// Hex and base64, whatever stands before it.
fn encodings(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![
        ("hex", hex(bytes).into_bytes()),
        ("upper hex", hex(bytes).to_uppercase().into_bytes()),
    ];
    for before in 0..3 {
        // Only the characters that depend on nothing but our bytes.
        let padded = [vec![0; before], bytes.to_vec()].concat();
        let (start, end) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded);
            // Shorter ones occur by chance.
            if end - start >= 6 {
                forms.push(("base64", text[start..end].into()));
            }
        }
    }
    forms
}

fn hashes(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (sha, md) = (Sha256::digest(bytes), Md5::digest(bytes));
    vec![
        ("SHA-256", sha[..16].to_vec()),
        ("SHA-256 in hex", hex(&sha[..16]).into_bytes()),
        ("MD5", md.to_vec()),
        ("MD5 in hex", hex(&md).into_bytes()),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn percent(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Every file in a directory and below, if there is one.
pub fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut seen = vec![];
    let mut dirs: Vec<_> = dir.exists().then(|| dir.to_path_buf()).into_iter().collect();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                seen.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    seen
}

/// That no canary is in any of these places.
#[track_caller]
pub fn assert_none(canaries: &[Canary], seen: &[(String, Vec<u8>)]) {
    let found = scan(canaries, seen);
    assert!(found.is_empty(), "traces of viewers:\n{}", found.join("\n"));
}

/// Every place where a canary was found, as `CANARY is in PLACE as FORM`.
pub fn scan(canaries: &[Canary], places: &[(String, Vec<u8>)]) -> Vec<String> {
    let needles: Vec<_> = canaries
        .iter()
        .flat_map(|c| c.forms().into_iter().map(move |(form, n)| (c, form, n)))
        .collect();
    // One pass for all needles: by their first two bytes, the few that can start here.
    let mut starts = vec![vec![]; 1 << 16];
    for (n, (_, _, needle)) in needles.iter().enumerate() {
        starts[usize::from(u16::from_be_bytes([needle[0], needle[1]]))].push(n);
    }
    let mut found = vec![];
    for (place, bytes) in places {
        let mut told = HashSet::new();
        for (at, pair) in bytes.windows(2).enumerate() {
            for n in &starts[usize::from(u16::from_be_bytes([pair[0], pair[1]]))] {
                let (canary, form, needle) = &needles[*n];
                if is_here(bytes, at, needle) && told.insert(*n) {
                    let around = &bytes[at.saturating_sub(80)..bytes.len().min(at + needle.len() + 60)];
                    let around = String::from_utf8_lossy(around);
                    found.push(format!("{canary:?} is in {place} as {form}: ...{around}..."));
                }
            }
        }
    }
    found
}

/// Whether the needle starts at `at`; `127.0.0.2` is not in `127.0.0.21`, nor in `1127.0.0.2`.
fn is_here(bytes: &[u8], at: usize, needle: &[u8]) -> bool {
    if !bytes[at..].starts_with(needle) {
        return false;
    }
    let is_number = needle[0].is_ascii_digit() && needle.contains(&b'.');
    let digit = |b: Option<&u8>| b.is_some_and(u8::is_ascii_digit);
    let goes_on = needle.last() != Some(&b'.') && digit(bytes.get(at + needle.len()));
    !(is_number && (goes_on || digit(at.checked_sub(1).and_then(|n| bytes.get(n)))))
}

#[test]
fn the_scan_finds_an_address_in_every_form_and_nothing_else() {
    let canary = [
        Canary::Addr(Ipv4Addr::new(127, 9, 8, 7)),
        Canary::text("Canary-Agent/1.0"),
    ];
    let found = |bytes: &[u8]| !scan(&canary, &[("here".to_owned(), bytes.to_vec())]).is_empty();
    let base64 = STANDARD_NO_PAD.encode("user=1;agent=Canary-Agent/1.0;x");
    for planted in [
        "from 127.9.8.7:5000",
        "7f090807",
        "2131298311",
        "::ffff:7f09:807",
        "canary-agent/1.0",
        &base64,
    ] {
        assert!(found(planted.as_bytes()), "{planted}");
    }
    assert!(found(&[1, 127, 9, 8, 7, 0]));
    assert!(found(&[1, 7, 8, 9, 127, 0]));
    assert!(found(&Sha256::digest("127.9.8.7")));
    assert!(!found(b"127.0.0.1 127.9.8 Canary-Agent 127.19.8.7"));
    let plain = [Canary::PlainAddr(Ipv4Addr::new(127, 0, 0, 2))];
    assert!(scan(&plain, &[("here".to_owned(), b"127.0.0.21 1127.0.0.2".to_vec())]).is_empty());
    assert_eq!(
        scan(&plain, &[("here".to_owned(), b"127.0.0.21 127.0.0.2".to_vec())]).len(),
        1
    );
}
