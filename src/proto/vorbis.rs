//! The headers of Vorbis as SDP has them (RFC 5215 section 3.2).
//!
//! Not here: its packets; see [`rtp`](super::rtp).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The number that packets refer to the headers by. Any would do.
const IDENT: [u8; 3] = [0xfe, 0xcd, 0xba];

/// An `a=fmtp` for the three headers as Matroska and Ogg have them, laced; `None` if they are not that. The comments
/// are left out: players do without, and they say who made the file with what.
pub fn fmtp(laced: &[u8]) -> Option<String> {
    let [ident, _comments, setup] = headers(laced)?;
    let length = u16::try_from(ident.len() + setup.len()).ok()?.to_be_bytes();
    let mut packed = vec![0, 0, 0, 1];
    packed.extend(IDENT);
    packed.extend(length);
    // How many headers, less one; the lengths of all but the last.
    packed.extend([2, u8::try_from(ident.len()).ok().filter(|n| *n < 128)?, 0]);
    packed.extend(ident);
    packed.extend(setup);
    Some(format!("configuration={}", STANDARD.encode(packed)))
}

/// How many channels the first of these headers tells of (Vorbis I specification, section 4.2.2).
pub fn channels(laced: &[u8]) -> Option<u8> {
    let [ident, ..] = headers(laced)?;
    ident.get(11).copied().filter(|n| *n > 0)
}

/// Takes Xiph's lacing apart: how many headers less one, the lengths of all but the last, the headers.
fn headers(laced: &[u8]) -> Option<[&[u8]; 3]> {
    let (2, mut rest) = laced.split_first().map(|(n, rest)| (*n, rest))? else {
        return None;
    };
    let mut length = || {
        let mut total = 0;
        loop {
            let (byte, behind) = rest.split_first()?;
            (total, rest) = (total + usize::from(*byte), behind);
            if *byte < 255 {
                return Some(total);
            }
        }
    };
    let (first, second) = (length()?, length()?);
    let (ident, rest) = rest.split_at_checked(first)?;
    let (comments, setup) = rest.split_at_checked(second)?;
    Some([ident, comments, setup])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_headers_become_a_configuration_without_comments() {
        let mut laced = vec![2, 3, 255, 1];
        laced.extend(b"idn");
        laced.extend([b'c'; 256]);
        laced.extend(b"setup");
        let fmtp = fmtp(&laced).unwrap();
        let packed = STANDARD
            .decode(fmtp.strip_prefix("configuration=").unwrap())
            .unwrap();
        assert_eq!(packed, b"\0\0\0\x01\xfe\xcd\xba\0\x08\x02\x03\0idnsetup");
        assert_eq!(super::fmtp(&laced[..200]), None, "cut off");
        assert_eq!(super::fmtp(&[1, 3, 1, 2, 3]), None, "two headers");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            fmtp(&bytes);
        }
    }
}
