//! MIKEY (RFC 3830) as RTSP carries it (RFC 4567): a key for SRTP in the clear, in `KeyMgmt` headers and in
//! `a=key-mgmt` lines, as GStreamer and others write it. Only TLS around it makes it secret.
//!
//! Read is what such a message may hold (pre-shared key, no encryption of its own, one key); all else is refused.
//! Not here: ciphers (`proto::rtp::srtp`).

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;

use crate::proto::rtp::srtp::KEY_LEN;
use crate::proto::rtp::srtp::MasterKey;
use crate::proto::rtp::srtp::Suite;

/// Bytes of a message at most; real ones have some hundred.
const MAX_BYTES: usize = 4096;
/// Sessions in a message at most.
const SESSIONS_MAX: usize = 32;
/// Padded or not: writers differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a message gives no key. Holds nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MikeyError {
    #[error("the key message is no base64, or too long")]
    NotBase64,
    #[error("the key message ends too early")]
    Short,
    #[error("the key message is of a kind that is not known: expected MIKEY with a key in the clear")]
    Kind,
    #[error("the key message asks for ciphers that are not known: expected AES-CM-128 with HMAC-SHA1")]
    Cipher,
    #[error("the key message has no key")]
    NoKey,
}

/// What a message is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub key: MasterKey,
    /// The roll-over counter of the sender's first source.
    pub roll_over: u32,
}

/// The payloads of a message (RFC 3830 section 6.1).
mod payload {
    pub(super) const LAST: u8 = 0;
    pub(super) const KEMAC: u8 = 1;
    pub(super) const TIME: u8 = 5;
    pub(super) const POLICY: u8 = 10;
    pub(super) const RAND: u8 = 11;
    pub(super) const KEY_DATA: u8 = 20;
}

/// Reads bytes from the front, or says that there are too few.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], MikeyError> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(MikeyError::Short)?;
        self.0 = rest;
        Ok(taken)
    }
    fn byte(&mut self) -> Result<u8, MikeyError> {
        Ok(self.take(1)?[0])
    }
    fn short(&mut self) -> Result<usize, MikeyError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]).into())
    }
}

impl Message {
    /// Reads the base64 of a header or an attribute.
    ///
    /// # Errors
    /// When it is no such message.
    pub fn from_base64(text: &str) -> Result<Self, MikeyError> {
        if text.len() > MAX_BYTES {
            return Err(MikeyError::NotBase64);
        }
        let bytes = BASE64.decode(text.trim()).map_err(|_| MikeyError::NotBase64)?;
        Self::parse(&bytes)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is none that we know.
    pub fn parse(bytes: &[u8]) -> Result<Self, MikeyError> {
        let mut rest = Rest(bytes);
        let header = rest.take(10)?;
        let (version, kind, map) = (header[0], header[1], header[9]);
        // Version 1, PSK or public key by its first message, a map of SRTP sessions.
        if version != 1 || kind != 0 || map != 0 {
            return Err(MikeyError::Kind);
        }
        let mut next = header[2];
        let sessions = usize::from(header[8]);
        if sessions > SESSIONS_MAX {
            return Err(MikeyError::Kind);
        }
        let map = rest.take(9 * sessions)?;
        let roll_over = map.get(5..9).and_then(|b| b.try_into().ok());
        let (mut suite, mut key) = (Suite::default(), None);
        while next != payload::LAST {
            let kind = next;
            next = rest.byte()?;
            match kind {
                payload::TIME => {
                    let length = if rest.byte()? == 2 { 4 } else { 8 };
                    rest.take(length)?;
                }
                payload::RAND => {
                    let length = rest.byte()?;
                    rest.take(length.into())?;
                }
                payload::POLICY => suite = policy(&mut rest)?,
                payload::KEMAC => key = Some(kemac(&mut rest)?),
                _ => return Err(MikeyError::Kind),
            }
        }
        let key = key.ok_or(MikeyError::NoKey)?;
        Ok(Self {
            key: MasterKey::new(suite, &key).ok_or(MikeyError::NoKey)?,
            roll_over: roll_over.map_or(0, u32::from_be_bytes),
        })
    }

    /// The base64 of a message with this key for these sources. `random` has 20 bytes; `ntp` is now.
    pub fn to_base64(&self, sources: &[u32], random: &[u8; 20], ntp: u64) -> String {
        let mut out = vec![1, 0, payload::TIME, 0];
        out.extend_from_slice(&random[..4]);
        let sources = &sources[..sources.len().min(SESSIONS_MAX)];
        out.extend([sources.len() as u8, 0]);
        for ssrc in sources {
            out.push(0); // the policy
            out.extend(ssrc.to_be_bytes());
            out.extend(self.roll_over.to_be_bytes());
        }
        out.extend([payload::RAND, 0]);
        out.extend(ntp.to_be_bytes());
        out.extend([payload::POLICY, 16]);
        out.extend_from_slice(&random[4..]);
        // GStreamer reads the length of the tag where the standard has the authentication key's, and so writes it.
        let tag = match self.key.suite {
            Suite::Tag80 => 10,
            Suite::Tag32 => 4,
        };
        let params = [(0, 1), (1, 16), (2, 1), (3, tag), (7, 1), (8, 1), (10, 1)];
        out.extend([payload::KEMAC, 0, 0, 0, 3 * params.len() as u8]);
        params
            .iter()
            .for_each(|(kind, value)| out.extend([*kind, 1, *value]));
        let key = self.key.expose();
        out.extend([payload::LAST, 0, 0, 4 + KEY_LEN as u8]);
        // One traffic key with its salt behind it, valid for ever.
        out.extend([payload::LAST, 2 << 4, 0, KEY_LEN as u8]);
        out.extend_from_slice(key);
        out.push(0); // no authentication code
        BASE64.encode(out)
    }
}

/// The base64 in a `KeyMgmt` header: `prot=mikey;uri="...";data="..."`.
///
/// # Errors
/// When there is no MIKEY in it, or none that we know.
pub fn of_header(value: &str) -> Result<Message, MikeyError> {
    let params = || value.split(';').filter_map(|p| p.split_once('='));
    let named = |name: &str| {
        let found = params().find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().trim_matches('"'))
    };
    match (named("prot"), named("data")) {
        (Some(prot), Some(data)) if prot.eq_ignore_ascii_case("mikey") => Message::from_base64(data),
        _ => Err(MikeyError::Kind),
    }
}

/// Which suite a policy means.
fn policy(rest: &mut Rest<'_>) -> Result<Suite, MikeyError> {
    let (_number, protocol) = (rest.byte()?, rest.byte()?);
    let length = rest.short()?;
    let mut params = Rest(rest.take(length)?);
    if protocol != 0 {
        return Err(MikeyError::Kind);
    }
    let mut suite = Suite::default();
    while !params.0.is_empty() {
        let (kind, length) = (params.byte()?, params.byte()?);
        let value = params
            .take(length.into())?
            .iter()
            .fold(0u32, |v, b| v << 8 | u32::from(*b));
        suite = match (kind, value) {
            // AES-CM and HMAC-SHA-1, all switched on; the length of the authentication key or, as GStreamer has
            // it, of the tag; which has a place of its own as well.
            (0, 1) | (1, 16) | (2, 1) | (3, 20 | 10) | (5 | 6, _) | (7 | 8 | 10, 1) | (9, _) | (11, 10) => {
                suite
            }
            (4, 14) | (13.., _) => suite,
            (3 | 11, 4) => Suite::Tag32,
            _ => return Err(MikeyError::Cipher),
        };
    }
    Ok(suite)
}

/// The key in a KEMAC payload that neither encrypts nor authenticates.
fn kemac(rest: &mut Rest<'_>) -> Result<Vec<u8>, MikeyError> {
    let encryption = rest.byte()?;
    let length = rest.short()?;
    let mut data = Rest(rest.take(length)?);
    let authentication = rest.byte()?;
    if encryption != 0 || authentication != 0 {
        return Err(MikeyError::Kind);
    }
    let (next, kind) = (data.byte()?, data.byte()? >> 4);
    if next != payload::LAST && next != payload::KEY_DATA {
        return Err(MikeyError::Kind);
    }
    let length = data.short()?;
    let mut key = data.take(length)?.to_vec();
    // 2: a traffic key, with its salt behind it here. 3: the salt has a length of its own.
    match kind {
        2 => {}
        3 => {
            let length = data.short()?;
            key.extend_from_slice(data.take(length)?);
        }
        _ => return Err(MikeyError::Kind),
    }
    Ok(key)
}

/// The body of a fuzz target: what is read can be written, and reads the same.
#[cfg(any(fuzzing, test))]
pub fn fuzz(data: &[u8]) {
    let Ok(message) = Message::parse(data) else { return };
    let text = message.to_base64(&[1, 2], &[7; 20], 1 << 40);
    assert!(
        Message::from_base64(&text) == Ok(message),
        "what was written reads the same"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(suite: Suite) -> Message {
        Message {
            key: MasterKey::new(suite, &std::array::from_fn::<u8, KEY_LEN, _>(|n| n as u8)).unwrap(),
            roll_over: 3,
        }
    }

    #[test]
    fn what_is_written_is_read_again_padded_or_not_and_in_a_header() {
        for suite in [Suite::Tag80, Suite::Tag32] {
            let text = message(suite).to_base64(&[0x0102_0304], &[9; 20], 1 << 63);
            assert!(Message::from_base64(&text) == Ok(message(suite)));
            assert!(Message::from_base64(text.trim_end_matches('=')) == Ok(message(suite)));
            let header = format!("prot=mikey; uri=\"rtsp://h/a\"; data=\"{text}\"");
            assert!(of_header(&header) == Ok(message(suite)));
        }
        assert_eq!(
            of_header("prot=other;data=\"AAAA\"").err(),
            Some(MikeyError::Kind)
        );
    }

    #[test]
    fn a_key_and_its_salt_may_come_apart() {
        // Header without sessions, then KEMAC with a traffic key of 16 and a salt of 14 bytes.
        let mut bytes = vec![
            1,
            0,
            1,
            0,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            4 + 16 + 2 + 14,
            0,
            3 << 4,
            0,
            16,
        ];
        bytes.extend([1; 16]);
        bytes.extend([0, 14]);
        bytes.extend([2; 14]);
        bytes.push(0);
        let Ok(read) = Message::parse(&bytes) else {
            panic!("a key")
        };
        assert_eq!(read.key.expose()[..], [[1; 16].as_slice(), &[2; 14]].concat());
        assert_eq!((read.key.suite, read.roll_over), (Suite::Tag80, 0));
    }

    #[test]
    fn a_message_that_is_cut_or_of_another_kind_is_refused() {
        let text = message(Suite::Tag80).to_base64(&[1], &[9; 20], 5);
        let bytes = BASE64.decode(text).unwrap();
        for end in 0..bytes.len() {
            assert!(Message::parse(&bytes[..end]).is_err(), "{end} bytes");
        }
        for (at, value) in [(0, 2), (1, 3), (9, 1)] {
            let mut other = bytes.clone();
            other[at] = value;
            assert_eq!(Message::parse(&other).err(), Some(MikeyError::Kind), "byte {at}");
        }
        assert_eq!(Message::from_base64("*").err(), Some(MikeyError::NotBase64));
        assert_eq!(
            Message::from_base64(&"A".repeat(MAX_BYTES + 1)).err(),
            Some(MikeyError::NotBase64)
        );
    }
}
