//! SRTP and SRTCP (RFC 3711) with AES in counter mode and HMAC-SHA-1: what cameras and players use.
//!
//! Not here: how keys are agreed on (`proto::mikey`, and `a=crypto` in `proto::sdp`).

use std::collections::HashMap;
use std::fmt;

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::KeyIvInit;
use ctr::cipher::StreamCipher;
use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Bytes of a tag and an SRTCP index: what a packet grows by at most.
pub const OVERHEAD: usize = 14;
/// Bytes of a key with its salt, as both are written down together.
pub const KEY_LEN: usize = 30;
/// Synchronization sources that one receiver follows.
const SOURCES_MAX: usize = 8;
/// Packets behind the newest one whose repetition is noticed.
const WINDOW: u64 = 64;

/// What a packet cannot be opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SrtpError {
    #[error("the packet is too short for SRTP")]
    Short,
    #[error("the packet was made with another key, or changed on the way")]
    Tag,
    #[error("the packet was here before, or is too old to tell")]
    Replayed,
    #[error("the packets have too many sources")]
    Sources,
}

/// How long the tag of an RTP packet is. That of RTCP has 80 bits always.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`.
    #[default]
    Tag80,
    /// `AES_CM_128_HMAC_SHA1_32`.
    Tag32,
}

impl Suite {
    fn tag(self) -> usize {
        match self {
            Self::Tag80 => 10,
            Self::Tag32 => 4,
        }
    }
}

/// A master key with its salt. `Debug` shows neither; wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    pub suite: Suite,
    bytes: [u8; KEY_LEN],
}

impl MasterKey {
    /// 16 bytes of key and 14 of salt. `None` for any other length.
    pub fn new(suite: Suite, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.try_into().ok()?;
        Some(Self { suite, bytes })
    }
    /// Key and salt, to be told to the other side.
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        &self.bytes
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({:?})", self.suite)
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// The keys of RTP, or those of RTCP, that are made of a master key (section 4.3).
struct Keys {
    cipher: [u8; 16],
    salt: [u8; 14],
    auth: Hmac<Sha1>,
}

impl Keys {
    /// `first` is the first of three labels.
    fn derive(master: &MasterKey, first: u8) -> Self {
        let (mut cipher, mut auth, mut salt) = ([0; 16], [0; 20], [0; 14]);
        derive(master, first, &mut cipher);
        derive(master, first + 1, &mut auth);
        derive(master, first + 2, &mut salt);
        let mac = Hmac::new_from_slice(&auth).expect("a key may have any length");
        auth.zeroize();
        Self {
            cipher,
            salt,
            auth: mac,
        }
    }
    /// Encrypts or decrypts in place (section 4.1.1).
    fn cipher(&self, ssrc: [u8; 4], index: u64, bytes: &mut [u8]) {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        iv[4..8].iter_mut().zip(ssrc).for_each(|(b, s)| *b ^= s);
        let index = index.to_be_bytes();
        iv[8..14].iter_mut().zip(&index[2..]).for_each(|(b, i)| *b ^= i);
        Ctr128BE::<Aes128>::new(&self.cipher.into(), &iv.into()).apply_keystream(bytes);
    }
    fn tag(&self, bytes: &[u8], behind: &[u8]) -> [u8; 20] {
        let mut mac = self.auth.clone();
        mac.update(bytes);
        mac.update(behind);
        mac.finalize().into_bytes().into()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.cipher.zeroize();
        self.salt.zeroize();
    }
}

fn derive(master: &MasterKey, label: u8, out: &mut [u8]) {
    let (key, salt) = master.bytes.split_at(16);
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    iv[7] ^= label;
    let key: [u8; 16] = key.try_into().expect("split there");
    out.fill(0);
    Ctr128BE::<Aes128>::new(&key.into(), &iv.into()).apply_keystream(out);
}

/// Bytes of an RTP header with its extension; the rest is encrypted.
fn header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let mut length = 12 + 4 * usize::from(first & 0xf);
    if first & 0x10 != 0 {
        let words = packet.get(length + 2..length + 4)?;
        length += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    (length <= packet.len()).then_some(length)
}

fn ssrc_at(packet: &[u8], at: usize) -> Option<[u8; 4]> {
    packet.get(at..at + 4)?.try_into().ok()
}

/// Seals packets of a stream: all its sources with one master key.
pub struct Sender {
    suite: Suite,
    rtp: Keys,
    rtcp: Keys,
    /// Per source: the newest index of RTP.
    sources: HashMap<[u8; 4], u64>,
    /// Number of the next RTCP packet.
    control: u32,
}

impl Sender {
    /// Begins with a roll-over counter of 0.
    pub fn new(master: &MasterKey) -> Self {
        Self {
            suite: master.suite,
            rtp: Keys::derive(master, 0),
            rtcp: Keys::derive(master, 3),
            sources: HashMap::new(),
            control: 0,
        }
    }
    /// Whether sequence numbers have begun anew: who comes now would have to be told the roll-over counter.
    pub fn has_rolled_over(&self) -> bool {
        self.sources.values().any(|index| index >> 16 > 0)
    }
    /// Adds a packet to `out`, sealed. Packets come nearly in order.
    ///
    /// # Errors
    /// When it is no RTP.
    pub fn rtp(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), SrtpError> {
        let (Some(header), Some(ssrc)) = (header_len(packet), ssrc_at(packet, 8)) else {
            return Err(SrtpError::Short);
        };
        let newest = self
            .sources
            .entry(ssrc)
            .or_insert_with(|| sequence(packet).into());
        let index = index_of(*newest, sequence(packet));
        *newest = index.max(*newest);
        let start = out.len();
        out.extend_from_slice(packet);
        self.rtp.cipher(ssrc, index, &mut out[start + header..]);
        let tag = self.rtp.tag(&out[start..], &roll_over(index));
        out.extend_from_slice(&tag[..self.suite.tag()]);
        Ok(())
    }
    /// The same for RTCP.
    ///
    /// # Errors
    /// When it is no RTCP.
    pub fn rtcp(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), SrtpError> {
        let ssrc = ssrc_at(packet, 4).ok_or(SrtpError::Short)?;
        let index = self.control;
        self.control = (self.control + 1) & 0x7fff_ffff;
        let start = out.len();
        out.extend_from_slice(packet);
        self.rtcp.cipher(ssrc, index.into(), &mut out[start + 8..]);
        out.extend_from_slice(&(0x8000_0000 | index).to_be_bytes());
        let tag = self.rtcp.tag(&out[start..], &[]);
        out.extend_from_slice(&tag[..Suite::Tag80.tag()]);
        Ok(())
    }
}

/// Opens packets of one sender.
pub struct Receiver {
    suite: Suite,
    rtp: Keys,
    rtcp: Keys,
    /// The roll-over counter that the sender began with.
    first: u32,
    sources: HashMap<[u8; 4], Window>,
    control: HashMap<[u8; 4], Window>,
}

/// The newest index, and which of those before it were there.
#[derive(Clone, Copy)]
struct Window {
    newest: u64,
    seen: u64,
}

impl Window {
    fn allows(&self, index: u64) -> bool {
        match self.newest.checked_sub(index) {
            None => true,
            Some(behind) => behind < WINDOW && self.seen >> behind & 1 == 0,
        }
    }
    fn note(&mut self, index: u64) {
        if let Some(ahead) = index.checked_sub(self.newest) {
            self.seen = if ahead < WINDOW { self.seen << ahead | 1 } else { 1 };
            self.newest = index;
        } else {
            self.seen |= 1 << (self.newest - index);
        }
    }
}

impl Receiver {
    /// `roll_over` is what the sender said of its counter, else 0.
    pub fn new(master: &MasterKey, roll_over: u32) -> Self {
        Self {
            suite: master.suite,
            rtp: Keys::derive(master, 0),
            rtcp: Keys::derive(master, 3),
            first: roll_over,
            sources: HashMap::new(),
            control: HashMap::new(),
        }
    }
    /// Opens an RTP packet in place.
    ///
    /// # Errors
    /// When it is not the sender's, or was here before. It means nothing then.
    pub fn rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        let body = packet
            .len()
            .checked_sub(self.suite.tag())
            .ok_or(SrtpError::Short)?;
        let (Some(header), Some(ssrc)) = (header_len(&packet[..body]), ssrc_at(&packet[..body], 8)) else {
            return Err(SrtpError::Short);
        };
        let known = self.sources.get(&ssrc).copied();
        let guess = u64::from(self.first) << 16 | u64::from(sequence(packet));
        let index = index_of(known.map_or(guess, |w| w.newest), sequence(packet));
        let tag = self.rtp.tag(&packet[..body], &roll_over(index));
        if !bool::from(tag[..self.suite.tag()].ct_eq(&packet[body..])) {
            return Err(SrtpError::Tag);
        }
        note(&mut self.sources, ssrc, index)?;
        packet.truncate(body);
        self.rtp.cipher(ssrc, index, &mut packet[header..]);
        Ok(())
    }
    /// Opens an RTCP packet in place.
    ///
    /// # Errors
    /// As [`Self::rtp`].
    pub fn rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        let body = packet
            .len()
            .checked_sub(Suite::Tag80.tag())
            .ok_or(SrtpError::Short)?;
        let end = body
            .checked_sub(4)
            .filter(|end| *end >= 8)
            .ok_or(SrtpError::Short)?;
        let (Some(ssrc), Some(word)) = (ssrc_at(packet, 4), ssrc_at(packet, end)) else {
            return Err(SrtpError::Short);
        };
        let tag = self.rtcp.tag(&packet[..body], &[]);
        if !bool::from(tag[..Suite::Tag80.tag()].ct_eq(&packet[body..])) {
            return Err(SrtpError::Tag);
        }
        let word = u32::from_be_bytes(word);
        let index = u64::from(word & 0x7fff_ffff);
        note(&mut self.control, ssrc, index)?;
        packet.truncate(end);
        if word >> 31 == 1 {
            self.rtcp.cipher(ssrc, index, &mut packet[8..]);
        }
        Ok(())
    }
}

/// Remembers a packet whose tag was right.
fn note(sources: &mut HashMap<[u8; 4], Window>, ssrc: [u8; 4], index: u64) -> Result<(), SrtpError> {
    if sources.len() >= SOURCES_MAX && !sources.contains_key(&ssrc) {
        return Err(SrtpError::Sources);
    }
    let window = sources.entry(ssrc).or_insert(Window {
        newest: index,
        seen: 0,
    });
    if !window.allows(index) {
        return Err(SrtpError::Replayed);
    }
    window.note(index);
    Ok(())
}

fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

/// The index with this sequence number that is nearest to the newest (section 3.3.1).
fn index_of(newest: u64, sequence: u16) -> u64 {
    let ahead = sequence.wrapping_sub(newest as u16).cast_signed();
    newest.checked_add_signed(ahead.into()).unwrap_or(sequence.into())
}

fn roll_over(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|n| u8::from_str_radix(&text[n..n + 2], 16).unwrap())
            .collect()
    }

    fn key(suite: Suite) -> MasterKey {
        // RFC 3711 appendix B.3.
        let bytes = hex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6");
        MasterKey::new(suite, &bytes).unwrap()
    }

    #[test]
    fn keys_are_derived_as_in_the_standard() {
        let mut out = [0; 16];
        derive(&key(Suite::Tag80), 0, &mut out);
        assert_eq!(out[..], hex("C61E7A93744F39EE10734AFE3FF7A087"));
        let mut out = [0; 14];
        derive(&key(Suite::Tag80), 2, &mut out);
        assert_eq!(out[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
        let mut out = [0; 20];
        derive(&key(Suite::Tag80), 1, &mut out);
        assert_eq!(out[..], hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    #[test]
    fn the_cipher_is_that_of_the_standard() {
        // RFC 3711 appendix B.2: the key stream for SSRC 0 and index 0.
        let keys = Keys {
            cipher: hex("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap(),
            salt: hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap(),
            auth: Hmac::new_from_slice(&[]).unwrap(),
        };
        let mut stream = [0; 32];
        keys.cipher([0; 4], 0, &mut stream);
        assert_eq!(
            stream[..],
            hex("E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB")
        );
    }

    fn rtp(sequence: u16) -> Vec<u8> {
        // One contributing source and an extension of one word: none of that is encrypted.
        let mut packet = vec![0x91, 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
        packet.extend([7; 100]);
        packet
    }

    #[test]
    fn what_is_sealed_can_be_opened_over_the_end_of_sequence_numbers() {
        for suite in [Suite::Tag80, Suite::Tag32] {
            let (mut sender, mut receiver) = (Sender::new(&key(suite)), Receiver::new(&key(suite), 0));
            assert!(!sender.has_rolled_over());
            for n in 65_500..65_600u32 {
                let plain = rtp(n as u16);
                let mut sealed = Vec::new();
                sender.rtp(&plain, &mut sealed).unwrap();
                assert_eq!(sealed.len(), plain.len() + suite.tag());
                assert_eq!(sealed[..24], plain[..24], "the header stays");
                assert_ne!(sealed[24..124], plain[24..]);
                receiver.rtp(&mut sealed).unwrap();
                assert_eq!(sealed, plain);
            }
            assert!(sender.has_rolled_over());
        }
    }

    #[test]
    fn packets_out_of_order_are_opened_once_each() {
        let (mut sender, mut receiver) = (
            Sender::new(&key(Suite::Tag80)),
            Receiver::new(&key(Suite::Tag80), 0),
        );
        let sealed: Vec<Vec<u8>> = (0..100)
            .map(|n| {
                let mut out = Vec::new();
                sender.rtp(&rtp(n), &mut out).unwrap();
                out
            })
            .collect();
        let mut open = |n: usize| receiver.rtp(&mut sealed[n].clone());
        assert_eq!(open(5), Ok(()));
        assert_eq!(open(3), Ok(()));
        assert_eq!(open(3), Err(SrtpError::Replayed));
        assert_eq!(open(5), Err(SrtpError::Replayed));
        assert_eq!(open(99), Ok(()));
        assert_eq!(open(4), Err(SrtpError::Replayed), "too old to tell");
        assert_eq!(open(98), Ok(()));
    }

    #[test]
    fn a_changed_or_short_packet_is_refused() {
        let mut sender = Sender::new(&key(Suite::Tag80));
        let mut receiver = Receiver::new(&key(Suite::Tag80), 0);
        let (mut media, mut control) = (Vec::new(), Vec::new());
        sender.rtp(&rtp(1), &mut media).unwrap();
        let report = [&[0x80, 201, 0, 1, 1, 2, 3, 4][..], &[5; 24]].concat();
        sender.rtcp(&report, &mut control).unwrap();
        for n in 0..media.len() {
            let mut changed = media.clone();
            changed[n] ^= 1;
            assert!(receiver.rtp(&mut changed).is_err(), "byte {n}");
            assert!(receiver.rtp(&mut media[..n].to_vec()).is_err(), "{n} bytes");
        }
        for n in 0..control.len() {
            let mut changed = control.clone();
            changed[n] ^= 1;
            assert!(receiver.rtcp(&mut changed).is_err(), "byte {n}");
            assert!(receiver.rtcp(&mut control[..n].to_vec()).is_err(), "{n} bytes");
        }
        receiver.rtcp(&mut control).unwrap();
        assert_eq!(control, report);
    }

    #[test]
    fn a_sender_may_begin_with_a_roll_over_counter_that_it_tells() {
        let mut sender = Sender::new(&key(Suite::Tag80));
        let mut out = Vec::new();
        sender.rtp(&rtp(65_535), &mut out).unwrap();
        out.clear();
        sender.rtp(&rtp(0), &mut out).unwrap();
        assert_eq!(
            Receiver::new(&key(Suite::Tag80), 0).rtp(&mut out.clone()),
            Err(SrtpError::Tag)
        );
        assert_eq!(Receiver::new(&key(Suite::Tag80), 1).rtp(&mut out), Ok(()));
    }
}
