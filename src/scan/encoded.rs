//! Text in other clothes: UTF-16, base64, and addresses as bytes. Pure.

use std::net::Ipv4Addr;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::general_purpose::GeneralPurposeConfig;

use crate::scan::Form;
use crate::scan::Kind;
use crate::scan::text;

/// Shortest text that can hold anything: `1.2.3.4`.
const SHORTEST: usize = 7;
/// As many characters of base64.
const SHORTEST_BASE64: usize = 10;

/// Base64 as it comes out of the middle of something: no padding, and bits left over.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Something found: where it begins, what, how it was written, and whether it names nobody.
pub(super) type Hit = (usize, Kind, Form, bool);

/// Printable characters with a zero between each two, which is UTF-16 in either order.
pub(super) fn utf16(bytes: &[u8], found: &mut impl FnMut(Hit)) {
    let printable = |at: usize| bytes.get(at).is_some_and(|b| (0x20..0x7f).contains(b));
    let mut text = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !printable(at) || bytes.get(at + 1) != Some(&0) {
            at += 1;
            continue;
        }
        let start = at;
        text.clear();
        text.push(bytes[at]);
        while bytes.get(at + 1) == Some(&0) && printable(at + 2) {
            at += 2;
            text.push(bytes[at]);
        }
        if text.len() >= SHORTEST {
            text::find(&text, 0..text.len(), |n, kind, harmless| {
                found((start + 2 * n, kind, Form::Utf16, harmless));
            });
        }
        at += 1;
    }
}

/// Runs of base64, from each of the four characters at which a group can begin.
pub(super) fn base64(bytes: &[u8], found: &mut impl FnMut(Hit)) {
    let is = |b: &u8| b.is_ascii_alphanumeric() || b"+/-_".contains(b);
    let mut at = 0;
    while at < bytes.len() {
        let len = bytes[at..].iter().take_while(|b| is(b)).count();
        if len >= SHORTEST_BASE64 {
            let standard: Vec<u8> = bytes[at..at + len].iter().map(|b| to_standard(*b)).collect();
            for phase in 0..4.min(len) {
                decoded(&standard[phase..], at + phase, found);
            }
        }
        at += len + 1;
    }
}

fn to_standard(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}

fn decoded(run: &[u8], start: usize, found: &mut impl FnMut(Hit)) {
    // A last character alone is no byte.
    let whole = run.len() - usize::from(run.len() % 4 == 1);
    let Ok(bytes) = BASE64.decode(&run[..whole]) else {
        return;
    };
    let printable = |b: &u8| (0x20..0x7f).contains(b) || *b == b'\n';
    let mut at = 0;
    while at < bytes.len() {
        let len = bytes[at..].iter().take_while(|b| printable(b)).count();
        if len >= SHORTEST {
            let text = &bytes[at..at + len];
            text::find(text, 0..len, |n, kind, harmless| {
                found((start + (at + n) / 3 * 4, kind, Form::Base64, harmless));
            });
        }
        at += len + 1;
    }
}

/// Ten zeros, two ones, and an address (RFC 4291 section 2.5.5.2).
pub(super) fn mapped(bytes: &[u8], found: &mut impl FnMut(Hit)) {
    const PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    for at in 0..bytes.len().saturating_sub(15) {
        // The last byte of the prefix is the rarest: most places are done after it.
        if bytes[at + 11] != 0xff || bytes[at..at + 12] != PREFIX {
            continue;
        }
        let octets = [bytes[at + 12], bytes[at + 13], bytes[at + 14], bytes[at + 15]];
        if octets[0] != 0 && octets[0] != 255 {
            let harmless = text::harmless_v4(Ipv4Addr::from(octets));
            found((at, Kind::Ipv4, Form::Bytes, harmless));
        }
    }
}
