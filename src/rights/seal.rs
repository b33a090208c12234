//! Texts that only this installation can make: a kind, what is sealed, and a MAC over both.
//!
//! `c1.BODY.MAC`, in hex: players and people change the case of URLs, and nothing in it needs escaping. The key is made
//! of the installation's secret, one for each kind, so that one kind never passes for another. MACs are compared in
//! constant time. Not here: what a body means.

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use sha2::Sha256;
use zeroize::Zeroize;
use zeroize::Zeroizing;

use crate::base::master::Master;

/// Bytes of a MAC: nobody guesses 128 bits.
const MAC_LEN: usize = 16;

/// Makes and opens texts of one kind.
pub(super) struct Seal {
    kind: &'static str,
    key: Zeroizing<[u8; 32]>,
}

impl Seal {
    /// Of this kind; `label` names the key.
    pub(super) fn new(master: &Master, label: &'static str, kind: &'static str) -> Self {
        let key = master.key(label);
        Self { kind, key }
    }

    /// The text for a body.
    pub(super) fn close(&self, body: &[u8]) -> String {
        let mac = self.mac(body).finalize().into_bytes();
        format!("{}.{}.{}", self.kind, hex(body), hex(&mac[..MAC_LEN]))
    }

    /// The body of a text of this kind that this installation made.
    pub(super) fn open<const N: usize>(&self, text: &str) -> Option<[u8; N]> {
        let mut parts = text.trim().split('.');
        let (kind, body, mac) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || !kind.eq_ignore_ascii_case(self.kind) {
            return None;
        }
        let mut body: [u8; N] = unhex(body)?;
        let mac: [u8; MAC_LEN] = unhex(mac)?;
        if self.mac(&body).verify_truncated_left(&mac).is_err() {
            body.zeroize();
            return None;
        }
        Some(body)
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        keyed(&self.key, &[self.kind.as_bytes(), b".", body])
    }
}

/// `HMAC-SHA-256(key, parts one after the other)`, not finished.
fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is taken");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

/// What stands for something secret in a file, or closes a line of one: half of an HMAC.
pub(super) fn digest(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 16] {
    let whole = keyed(key, parts).finalize().into_bytes();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
}

/// Lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Exactly so many bytes, in either case.
pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(kind: &'static str) -> Seal {
        Seal::new(&Master::of(1), "test", kind)
    }

    #[test]
    fn what_was_sealed_opens_in_either_case_and_after_any_flipped_bit_does_not() {
        let body = *b"sixteen bytes...";
        let text = seal("t1").close(&body);
        assert_eq!(seal("t1").open(&text), Some(body));
        assert_eq!(seal("t1").open(&text.to_uppercase()), Some(body));
        let bytes = text.as_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.to_vec();
                other[at] ^= 1 << bit;
                let Ok(other) = String::from_utf8(other) else {
                    continue;
                };
                if !other.eq_ignore_ascii_case(&text) {
                    assert_eq!(seal("t1").open::<16>(&other), None, "{other}");
                }
            }
        }
    }

    #[test]
    fn another_kind_another_secret_and_another_length_do_not_open() {
        let text = seal("t1").close(&[7; 16]);
        let renamed = text.replacen("t1", "t2", 1);
        assert_eq!(seal("t2").open::<16>(&renamed), None);
        assert_eq!(Seal::new(&Master::of(2), "test", "t1").open::<16>(&text), None);
        assert_eq!(Seal::new(&Master::of(1), "other", "t1").open::<16>(&text), None);
        assert_eq!(seal("t1").open::<15>(&text), None);
        for wrong in [
            "",
            ".",
            "..",
            "t1..",
            "t1.é.é",
            &format!("{text}.00"),
            &text[..text.len() - 2],
        ] {
            assert_eq!(seal("t1").open::<16>(wrong), None, "{wrong}");
        }
    }
}
