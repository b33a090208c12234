//! Addresses: which ones are the same, where they are, and how much of one may be looked up elsewhere.
//!
//! IPv6 has several ways to wrap an IPv4 address, and a mask that is harmless on one is not on the other:
//! the first 48 bits of a 6to4 address are the whole IPv4 address. So everything is unwrapped first
//! ([`normalise`]), then classed, then masked. Pure functions; nothing here keeps or prints an address.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use zeroize::Zeroize;

/// The address that is meant: IPv4 out of its IPv6 wrappings, anything else as it is.
///
/// Unwraps mapped (`::ffff:0:0/96`, RFC 4291), 6to4 (`2002::/16`, RFC 3056), NAT64 (`64:ff9b::/96`, RFC
/// 6052, and prefixes within `64:ff9b:1::/48`, RFC 8215) and Teredo (`2001::/32`, RFC 4380). The deprecated compatible
/// form `::a.b.c.d` is not IPv4. A zone id is not part of an [`IpAddr`], so there is none to drop.
///
/// A NAT64 with a prefix out of its operator's own network looks like any network: its viewers are told apart by 64 bits,
/// in which a prefix of 96 bits has nothing of them.
pub fn normalise(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else {
        return ip.to_canonical();
    };
    match v6.octets() {
        [0x20, 0x02, a, b, c, d, ..] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        [0x00, 0x64, 0xff, 0x9b, 0, 1, ..] => translated(v6).map_or(IpAddr::V6(v6), IpAddr::V4),
        [0x20, 0x01, 0, 0, _, _, _, _, _, _, _, _, a, b, c, d] => IpAddr::V4(Ipv4Addr::new(!a, !b, !c, !d)),
        _ => IpAddr::V6(v6),
    }
}

/// The IPv4 address in one of `64:ff9b:1::/48`, where everybody may choose a prefix of 48, 56, 64 or 96 bits. Which it is
/// shows in the rest behind the IPv4 address, which is zero (RFC 6052, 2.2): the last octet of a host hardly ever is. `None`
/// where the ninth octet is not zero, as it is in all of them.
fn translated(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, _, _, _, _, _, a, b, zero, c, d, e, f, x, y, z] = v6.octets();
    if zero != 0 {
        return None;
    }
    Some(Ipv4Addr::from(match (e, f, [x, y, z]) {
        (0, 0, [0, 0, 0]) => [a, b, c, d],
        (_, 0, [0, 0, 0]) => [b, c, d, e],
        (_, _, [0, 0, 0]) => [c, d, e, f],
        _ => [f, x, y, z],
    }))
}

/// Where an address is, as far as the address alone tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// This machine or its own network: loopback, private, link-local, unique local.
    Local,
    /// Behind a provider's shared address (`100.64.0.0/10`, RFC 6598).
    Cgnat,
    /// Anywhere else.
    Public,
}

/// The class of an address, wrapped or not.
pub fn network(ip: IpAddr) -> Network {
    match normalise(ip) {
        IpAddr::V4(v4) => match v4.octets() {
            [100, second, ..] if second & 0xc0 == 64 => Network::Cgnat,
            _ if v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() => {
                Network::Local
            }
            _ => Network::Public,
        },
        IpAddr::V6(v6) => {
            let local =
                v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local();
            if local { Network::Local } else { Network::Public }
        }
    }
}

/// How much of an address is left for a look-up of its country.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mask {
    /// IPv4 /24, IPv6 /48.
    #[default]
    Usual,
    /// IPv4 /16, IPv6 /32.
    Strict,
}

/// The public prefix of an address, host bits zero; `None` for local and shared addresses, which have no
/// prefix worth keeping. Unwraps first, so that no wrapping carries host bits past the mask.
pub fn prefix(ip: IpAddr, mask: Mask) -> Option<IpAddr> {
    if network(ip) != Network::Public {
        return None;
    }
    let (v4_bits, v6_bits) = match mask {
        Mask::Usual => (24, 48),
        Mask::Strict => (16, 32),
    };
    Some(match normalise(ip) {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - v4_bits)))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - v6_bits)))),
    })
}

/// What counts as one address: an IPv4 address, or an IPv6 network of 64 bits (one host changes the rest at
/// will, RFC 8981). Goes into the HMAC and nowhere else.
pub(in crate::privacy) struct AddressUnit {
    family: u8,
    bytes: [u8; 8],
}

impl AddressUnit {
    pub(in crate::privacy) fn of(ip: IpAddr) -> Self {
        let mut bytes = [0; 8];
        let family = match normalise(ip) {
            IpAddr::V4(v4) => {
                bytes[..4].copy_from_slice(&v4.octets());
                4
            }
            IpAddr::V6(v6) => {
                bytes.copy_from_slice(&v6.octets()[..8]);
                6
            }
        };
        Self { family, bytes }
    }
    /// An address of this unit, with the rest zero.
    pub(in crate::privacy) fn ip(&self) -> IpAddr {
        let [a, b, c, d, ..] = self.bytes;
        match self.family {
            4 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(
                u128::from(u64::from_be_bytes(self.bytes)) << 64,
            )),
        }
    }
    /// 4 or 6.
    pub(in crate::privacy) fn family(&self) -> u8 {
        self.family
    }
    /// 4 bytes of IPv4 or 8 of IPv6.
    pub(in crate::privacy) fn bytes(&self) -> &[u8] {
        let len = if self.family == 4 { 4 } else { 8 };
        &self.bytes[..len]
    }
}

impl Zeroize for AddressUnit {
    fn zeroize(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_wrapping_of_an_ipv4_address_is_that_address() {
        for wrapped in [
            "203.0.113.7",
            "::ffff:203.0.113.7",
            "::FFFF:CB00:7107",
            "2002:cb00:7107::1",
            "2002:cb00:7107:1:2:3:4:5",
            "64:ff9b::cb00:7107",
            "64:ff9b::203.0.113.7",
            "64:ff9b:1::203.0.113.7",
            "64:ff9b:1:fffe::203.0.113.7",
            "64:ff9b:1:abcd:cb:71:700:0",
            "64:ff9b:1:abcb:0:7107::",
            "64:ff9b:1:cb00:71:700::",
            "2001:0:4136:e378:8000:63bf:34ff:8ef8",
        ] {
            assert_eq!(normalise(ip(wrapped)), ip("203.0.113.7"), "{wrapped}");
            assert_eq!(
                prefix(ip(wrapped), Mask::Usual),
                Some(ip("203.0.113.0")),
                "{wrapped}"
            );
            assert_eq!(
                prefix(ip(wrapped), Mask::Strict),
                Some(ip("203.0.0.0")),
                "{wrapped}"
            );
        }
    }

    #[test]
    fn what_only_looks_like_a_wrapping_stays_ipv6() {
        for other in [
            "::203.0.113.7",
            "64:ff9b:1:0:100:0:cb00:7107",
            "64:ff9b:2::cb00:7107",
            "2001:db8:1:2:3:4:5:6",
            "2003:cb00:7107::1",
        ] {
            assert_eq!(normalise(ip(other)), ip(other), "{other}");
        }
        assert_eq!(
            prefix(ip("2001:db8:1:2:3:4:5:6"), Mask::Usual),
            Some(ip("2001:db8:1::"))
        );
        assert_eq!(
            prefix(ip("2001:db8:1:2:3:4:5:6"), Mask::Strict),
            Some(ip("2001:db8::"))
        );
    }

    #[test]
    fn local_and_shared_addresses_have_a_class_and_no_prefix() {
        for (text, class) in [
            ("127.9.8.7", Network::Local),
            ("10.1.2.3", Network::Local),
            ("172.31.0.1", Network::Local),
            ("192.168.0.1", Network::Local),
            ("169.254.1.1", Network::Local),
            ("::1", Network::Local),
            ("fd00::1", Network::Local),
            ("fe80::1", Network::Local),
            ("2002:c0a8:1::1", Network::Local), // 6to4 of 192.168.0.1
            ("::ffff:10.0.0.1", Network::Local),
            ("100.64.0.1", Network::Cgnat),
            ("100.127.255.255", Network::Cgnat),
        ] {
            assert_eq!(network(ip(text)), class, "{text}");
            assert_eq!(prefix(ip(text), Mask::Usual), None, "{text}");
        }
        for text in [
            "100.128.0.1",
            "100.63.255.255",
            "172.32.0.1",
            "8.8.8.8",
            "2001:db8::1",
        ] {
            assert_eq!(network(ip(text)), Network::Public, "{text}");
        }
    }

    #[test]
    fn a_unit_is_one_ipv4_address_or_one_ipv6_network() {
        let unit = |text| {
            let u = AddressUnit::of(ip(text));
            (u.family(), u.bytes().to_vec())
        };
        assert_eq!(unit("203.0.113.7"), (4, vec![203, 0, 113, 7]));
        assert_eq!(unit("2002:cb00:7107::1"), unit("203.0.113.7"));
        assert_eq!(unit("2001:db8:1:2:3:4:5:6"), unit("2001:db8:1:2::"));
        assert_ne!(unit("2001:db8:1:2::"), unit("2001:db8:1:3::"));
    }

    proptest! {
        #[test]
        fn no_mask_lets_host_bits_through(bits: u128, strict: bool) {
            let mask = if strict { Mask::Strict } else { Mask::Usual };
            if let Some(kept) = prefix(IpAddr::V6(Ipv6Addr::from_bits(bits)), mask) {
                let (ones, width) = match kept {
                    IpAddr::V4(v4) => (32 - v4.to_bits().trailing_zeros(), if strict { 16 } else { 24 }),
                    IpAddr::V6(v6) => (128 - v6.to_bits().trailing_zeros(), if strict { 32 } else { 48 }),
                };
                prop_assert!(ones <= width, "{ones} bits are left");
            }
        }

        #[test]
        fn wrapping_changes_neither_unit_nor_class(v4: u32, interface: u64, local: u16) {
            // What ends so looks like the end of a shorter prefix within 64:ff9b:1::/48.
            prop_assume!(v4.trailing_zeros() < 24);
            let plain = IpAddr::V4(Ipv4Addr::from_bits(v4));
            let v4 = u128::from(v4);
            for wrapped in [
                0xffff_u128 << 32 | v4,
                0x2002_u128 << 112 | v4 << 80 | u128::from(interface),
                0x0064_ff9b_u128 << 96 | v4,
                0x0064_ff9b_0001_u128 << 80 | u128::from(local) << 64 | v4,
                0x2001_0000_u128 << 96 | u128::from(interface as u32) << 64 | (!v4 & 0xffff_ffff),
            ] {
                let wrapped = IpAddr::V6(Ipv6Addr::from_bits(wrapped));
                prop_assert_eq!(normalise(wrapped), plain);
                prop_assert_eq!(network(wrapped), network(plain));
                prop_assert_eq!(prefix(wrapped, Mask::Usual), prefix(plain, Mask::Usual));
                let (one, other) = (AddressUnit::of(wrapped), AddressUnit::of(plain));
                prop_assert_eq!(one.bytes(), other.bytes());
            }
        }

        #[test]
        fn normalising_twice_changes_nothing(bits: u128) {
            let once = normalise(IpAddr::V6(Ipv6Addr::from_bits(bits)));
            prop_assert_eq!(normalise(once), once);
        }
    }
}
