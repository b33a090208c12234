//! A1: somebody with the whole disk tries every address.
//!
//! They know the program, the day and the player, and take everything they find for a key. A match of eight bytes
//! anywhere in the files counts. The same attack finds a planted hash, so it would find ours if there were one.
//! By default 2^13 addresses are tried, among them all that watched; `scripts/soak addresses` tries 2^24.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use louver::privacy::Options;
use md5::Md5;
use sha1::Sha1;
use sha2::Digest;
use sha2::Sha256;
use sha2::Sha512;

use crate::rig::Rig;
use crate::rig::VLC;

/// All that watched are in the network of this address, within the bits that are tried.
const FIRST: u32 = 0xcb00_7000; // 203.0.112.0

fn tried_bits() -> u32 {
    let wished = std::env::var("LOUVER_ATTACK_BITS").ok();
    wished.map_or(13, |bits| bits.parse::<u32>().unwrap().clamp(10, 24))
}

/// The addresses that one of several threads tries.
fn addresses(bits: u32, thread: u32, threads: u32) -> impl Iterator<Item = Ipv4Addr> {
    let first = FIRST >> bits << bits;
    let numbers = (thread..1_u32 << bits).step_by(threads as usize);
    numbers.map(move |n| Ipv4Addr::from_bits(first | n))
}

/// Every eight bytes that stand somewhere. A digest is looked up by its first three bytes in a table of bits before
/// anything is hashed again: nearly all fail there.
struct There {
    all: HashSet<[u8; 8]>,
    beginnings: Vec<u64>,
}

impl There {
    fn new(all: HashSet<[u8; 8]>) -> Self {
        let mut beginnings = vec![0; 1 << 18];
        for value in &all {
            let (word, bit) = Self::place(value);
            beginnings[word] |= bit;
        }
        Self { all, beginnings }
    }
    fn place(value: &[u8; 8]) -> (usize, u64) {
        let beginning = u32::from_be_bytes([0, value[0], value[1], value[2]]);
        (beginning as usize / 64, 1 << (beginning % 64))
    }
    fn has(&self, value: &[u8; 8]) -> bool {
        let (word, bit) = Self::place(value);
        self.beginnings[word] & bit != 0 && self.all.contains(value)
    }
}

/// All that stands in the files, read from binary and from hexadecimal digits.
fn everything(files: &[Vec<u8>]) -> There {
    let mut all = HashSet::new();
    for bytes in files {
        all.extend(bytes.windows(8).map(|w| <[u8; 8]>::try_from(w).unwrap()));
        for digits in bytes.windows(16).filter(|w| w.iter().all(u8::is_ascii_hexdigit)) {
            let nibble = |b: u8| char::from(b).to_digit(16).unwrap() as u8;
            let mut value = [0; 8];
            for (byte, pair) in value.iter_mut().zip(digits.chunks(2)) {
                *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
            }
            all.insert(value);
        }
    }
    There::new(all)
}

/// What may be a key: nothing, words, dates, whole files, and every number of 16 bytes that the store holds.
fn keys(files: &[Vec<u8>], blobs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let words = [
        "",
        "louver",
        "default",
        "secret",
        "salt",
        "2026-11-21",
        "20261121",
        "1795219200",
        "20778",
    ];
    let words = words.iter().map(|w| w.as_bytes().to_vec());
    let whole = files.iter().map(|f| Sha256::digest(f).to_vec());
    words.chain(whole).chain(blobs.iter().cloned()).collect()
}

/// The message as the source code has it: tenant, day, family of the address, address, player and version.
fn message(ip: Ipv4Addr) -> Vec<u8> {
    let mut message = b"rv1".to_vec();
    let day = 20_778_u32.to_be_bytes();
    for part in [b"default".as_slice(), &day] {
        message.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        message.extend(part);
    }
    message.push(4);
    message.extend([0, 4]);
    message.extend(ip.octets());
    message.extend([0, 3, 0, 0, 3]); // the first family of the table, version 3
    message
}

/// What an address could have become, without a key and with each.
fn made_of(ip: Ipv4Addr, keys: &[Hmac<Sha256>], found: &mut impl FnMut(&[u8])) {
    let (text, bytes) = (ip.to_string(), ip.octets());
    let with_agent = format!("{text}{VLC}");
    for plain in [text.as_bytes(), &bytes, with_agent.as_bytes()] {
        found(&Md5::digest(plain));
        found(&Sha1::digest(plain));
        found(&Sha256::digest(plain));
        found(&Sha512::digest(plain));
    }
    let message = message(ip);
    for key in keys {
        let mut mac = key.clone();
        mac.update(&message);
        found(&mac.finalize().into_bytes());
    }
}

fn attack(files: &[Vec<u8>], blobs: &[Vec<u8>], bits: u32) -> HashSet<Ipv4Addr> {
    let there = everything(files);
    let keys: Vec<Hmac<Sha256>> = keys(files, blobs)
        .iter()
        .map(|key| Hmac::new_from_slice(key).unwrap())
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let try_some = |thread: u32| {
        let mut matched = HashSet::new();
        for ip in addresses(bits, thread, threads) {
            made_of(ip, &keys, &mut |digest: &[u8]| {
                let half = |at: usize| <[u8; 8]>::try_from(&digest[at..at + 8]).unwrap();
                if there.has(&half(0)) || there.has(&half(8)) {
                    matched.insert(ip);
                }
            });
        }
        matched
    };
    std::thread::scope(|scope| {
        let try_some = &try_some;
        let all: Vec<_> = (0..threads).map(|n| scope.spawn(move || try_some(n))).collect();
        all.into_iter().flat_map(|some| some.join().unwrap()).collect()
    })
}

#[tokio::test]
async fn a01_trying_all_addresses_with_everything_on_the_disk_as_key_finds_nobody() {
    let rig = Rig::start(Options::default()).await;
    for n in 0..24_u32 {
        let ip = Ipv4Addr::from_bits(FIRST | (n * 31));
        rig.watch(&format!("{ip}:5000"), VLC, "webcam").await;
    }
    rig.stored().await;
    let mut blobs: Vec<Vec<u8>> = rig.column("id").await.into_iter().flatten().collect();
    let viewers: Vec<Vec<u8>> = rig.column("viewer").await.into_iter().flatten().collect();
    assert_eq!(viewers.len(), 24, "their numbers are still there to be attacked");
    blobs.extend(viewers);
    if tried_bits() < 16 {
        blobs.truncate(12); // the quick run
    }
    let mut files: Vec<Vec<u8>> = rig.files().into_iter().map(|(_, bytes)| bytes).collect();
    let found = attack(&files, &blobs, tried_bits());
    assert!(found.is_empty(), "{} addresses were found", found.len());

    // The attack is one: it finds a hash without a key, and one under a key that lies beside it.
    let victim = Ipv4Addr::from_bits(FIRST | 31);
    let mut keyed = Hmac::<Sha256>::new_from_slice(&blobs[0]).unwrap();
    keyed.update(&message(victim));
    for planted in [
        Md5::digest(victim.to_string()).to_vec(),
        keyed.finalize().into_bytes().to_vec(),
    ] {
        let hex: String = planted.iter().map(|b| format!("{b:02x}")).collect();
        files.push(format!("viewer={hex}\n").into_bytes());
        assert_eq!(
            attack(&files[files.len() - 1..], &blobs, 10),
            HashSet::from([victim])
        );
    }
    rig.stop().await;
}
