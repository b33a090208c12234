//! Who may say on whose behalf they come, and what they say: `X-Forwarded-For`, `Forwarded` (RFC 7239), and the PROXY
//! protocol in its versions 1 and 2.
//!
//! Only hosts of configured networks are believed. Of a chain of hops, the right-most one that is not such a host is the
//! viewer: everything left of it was written by the viewer's side and may be invented. What is not understood, or
//! contradicts itself, is worth nothing: then the last hop that was understood is taken, in the end the connection's own.
//! Nothing of it is ever logged.
//!
//! Not here: taking headers out of requests (`web`), the configuration's words (`config`).

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::time::Duration;

use proxy_header::ParseConfig;
use proxy_header::ProxyHeader;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::base::peer::PeerAddr;

/// Hops that are looked at; a longer chain is somebody's joke.
const MOST_HOPS: usize = 32;

/// A proxy speaks first, and at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the second version begins.
const VERSION_2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of the first version, with its line end.
const MOST_OF_1: usize = 107;
/// Longest header of the second version that is read: addresses and some extensions.
const MOST_OF_2: usize = 4096;

/// A network, as in `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    first: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or an address alone. `None`: it is none, or has bits behind its mask. Mapped IPv4
    /// (`::ffff:10.0.0.0/104`) is IPv4.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().ok()?;
        let width = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        let network = Self { first, bits };
        let right = bits <= width && network.masked(first) == Some(value(first));
        right.then(|| network.unmapped())
    }
    fn unmapped(self) -> Self {
        match (self.first.to_canonical(), self.bits.checked_sub(96)) {
            (first, Some(bits)) if first.is_ipv4() && self.first.is_ipv6() => Self { first, bits },
            _ => self,
        }
    }
    /// How many addresses are in it, as the number of bits that are alike.
    pub fn bits(&self) -> u8 {
        self.bits
    }
    /// Whether it is of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }
    /// Whether an address is in it. Mapped IPv4 is IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.masked(ip.to_canonical()) == Some(value(self.first))
    }

    /// The first and the last address in it, as numbers.
    fn ends(&self) -> (u128, u128) {
        let width: u32 = if self.first.is_ipv4() { 32 } else { 128 };
        let free = width - u32::from(self.bits).min(width);
        let rest = u128::MAX.checked_shr(128 - free).unwrap_or(0);
        (value(self.first), value(self.first) | rest)
    }

    fn masked(&self, ip: IpAddr) -> Option<u128> {
        let width: u32 = if self.first.is_ipv4() { 32 } else { 128 };
        let free = width - u32::from(self.bits).min(width);
        let kept = u128::MAX.checked_shl(free).unwrap_or(0);
        (ip.is_ipv4() == self.first.is_ipv4()).then_some(value(ip) & kept)
    }
}

/// Where everybody is: all of IPv4, all of IPv6 that is given out, and what stands for all of IPv4 within IPv6: 6to4 and
/// the well-known prefix of NAT64.
const EVERYWHERE: [Cidr; 4] = [
    Cidr::v4(0, 0),
    Cidr::v6(0x2000 << 112, 3),
    Cidr::v6(0x2002 << 112, 16),
    Cidr::v6(0x0064_ff9b << 96, 96),
];

impl Cidr {
    const fn v4(first: u32, bits: u8) -> Self {
        let first = IpAddr::V4(Ipv4Addr::from_bits(first));
        Self { first, bits }
    }
    const fn v6(first: u128, bits: u8) -> Self {
        let first = IpAddr::V6(Ipv6Addr::from_bits(first));
        Self { first, bits }
    }
}

/// Whether these networks together are everybody: half of the internet or more, however it is cut into pieces.
pub fn are_everybody(networks: &[Cidr]) -> bool {
    EVERYWHERE.iter().any(|all| {
        let (first, last) = all.ends();
        let same = networks.iter().filter(|n| n.is_ipv4() == all.is_ipv4());
        let mut parts: Vec<(u128, u128)> = same
            .map(Cidr::ends)
            .filter(|(from, to)| *from <= last && *to >= first)
            .map(|(from, to)| (from.max(first), to.min(last)))
            .collect();
        parts.sort_unstable();
        let (mut covered, mut next) = (0, first);
        for (from, to) in parts {
            if to >= next {
                covered += to - from.max(next) + 1;
                next = to + 1; // the last address of all is in none of them
            }
        }
        covered > (last - first) / 2
    })
}

fn value(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The hosts that are believed. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Cidr>);

impl Proxies {
    /// Hosts of these networks.
    pub fn new(networks: Vec<Cidr>) -> Self {
        Self(networks)
    }
    /// Whether this peer is believed.
    pub fn trusts(&self, peer: &PeerAddr) -> bool {
        self.believes(peer.expose_to_admit())
    }
    fn believes(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip))
    }

    /// Who stands behind an HTTP request: the values of all its `X-Forwarded-For` and `Forwarded` headers, in their order.
    /// The peer itself when it is not believed, or when the two headers name different hosts.
    pub fn behind<'h>(
        &self,
        peer: &PeerAddr,
        x_forwarded_for: impl Iterator<Item = &'h str>,
        forwarded: impl Iterator<Item = &'h str>,
    ) -> PeerAddr {
        if self.0.is_empty() || !self.trusts(peer) {
            return peer.again();
        }
        let named: Vec<Option<IpAddr>> = x_forwarded_for.flat_map(|v| v.split(',')).map(hop).collect();
        let standard: Vec<Option<IpAddr>> = forwarded
            .flat_map(|v| split(v, ','))
            .map(|element| for_of(element).and_then(|text| hop(&text)))
            .collect();
        let found = match (named.is_empty(), standard.is_empty()) {
            (true, true) => None,
            (false, true) => self.viewer(&named),
            (true, false) => self.viewer(&standard),
            (false, false) => self
                .viewer(&named)
                .filter(|ip| self.viewer(&standard) == Some(*ip)),
        };
        found.map_or_else(|| peer.again(), |ip| PeerAddr::new(SocketAddr::new(ip, 0)))
    }

    /// The right-most hop that is not believed. `None`: what is next to us was not understood.
    fn viewer(&self, hops: &[Option<IpAddr>]) -> Option<IpAddr> {
        let mut last = None;
        for hop in hops.iter().rev().take(MOST_HOPS) {
            let ip = (*hop)?;
            if !self.believes(ip) {
                return Some(ip);
            }
            last = Some(ip);
        }
        last
    }
}

/// Reads the PROXY header that a believed host must begin with, and nothing behind it. `None`: it comes on its own behalf
/// (a health check of the proxy).
///
/// # Errors
/// When there is no such header, or none in time.
pub async fn announced(stream: &mut TcpStream) -> io::Result<Option<PeerAddr>> {
    let read = tokio::time::timeout(PATIENCE, header(stream)).await;
    let bytes = read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let refused = || io::Error::from(io::ErrorKind::InvalidData);
    let (header, length) = ProxyHeader::parse(&bytes, ParseConfig::default()).map_err(|_| refused())?;
    if length != bytes.len() {
        return Err(refused());
    }
    Ok(header.proxied_address().map(|found| PeerAddr::new(found.source)))
}

async fn header(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; VERSION_2.len()];
    stream.read_exact(&mut bytes).await?;
    if bytes == VERSION_2 {
        bytes.resize(16, 0);
        stream.read_exact(&mut bytes[12..]).await?;
        let rest = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        if rest > MOST_OF_2 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.resize(16 + rest, 0);
        stream.read_exact(&mut bytes[16..]).await?;
        return Ok(bytes);
    }
    if !bytes.starts_with(b"PROXY ") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // Byte by byte: what comes behind the line is not ours to take.
    while !bytes.ends_with(b"\r\n") {
        if bytes.len() == MOST_OF_1 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.push(stream.read_u8().await?);
    }
    Ok(bytes)
}

/// A hop as proxies write it: `192.0.2.1`, `192.0.2.1:5`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5`. Zones are not
/// for others' networks.
fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let port =
        |port: &str| port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
    let ip: IpAddr = if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let v6: Ipv6Addr = address.parse().ok().filter(|_| port(rest))?;
        v6.into()
    } else if let Ok(ip) = text.parse() {
        ip
    } else {
        let (address, _) = text.split_once(':').filter(|(a, _)| port(&text[a.len()..]))?;
        let v4: Ipv4Addr = address.parse().ok()?;
        v4.into()
    };
    Some(ip.to_canonical())
}

/// The value of `for` in an element of `Forwarded`, without its quotes.
fn for_of(element: &str) -> Option<String> {
    let pairs = split(element, ';').map(str::trim);
    let mut values = pairs.filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| unquoted(value.trim()))
    });
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn unquoted(value: &str) -> String {
    match value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
        Some(quoted) => quoted.replace('\\', ""),
        None => value.to_owned(),
    }
}

/// Parts between separators that are not in quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        if escaped {
            escaped = false;
        } else if c == '\\' && quoted {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        }
        c == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(networks: &[&str]) -> Proxies {
        Proxies::new(networks.iter().map(|n| Cidr::parse(n).unwrap()).collect())
    }

    fn behind(peer: &str, xff: &[&str], forwarded: &[&str]) -> String {
        let peer = PeerAddr::new(peer.parse().unwrap());
        let found = proxies(&["10.0.0.0/8", "2001:db8:ff::/48"]).behind(
            &peer,
            xff.iter().copied(),
            forwarded.iter().copied(),
        );
        found.expose_to_admit().to_string()
    }

    #[test]
    fn networks_are_read_and_hold_what_they_should() {
        let ten = Cidr::parse("10.0.0.0/8").unwrap();
        assert!(ten.contains("10.255.0.1".parse().unwrap()));
        assert!(ten.contains("::ffff:10.1.1.1".parse().unwrap()));
        assert!(!ten.contains("11.0.0.1".parse().unwrap()));
        assert!(!ten.contains("::a00:1".parse().unwrap()));
        let all = Cidr::parse("::/0").unwrap();
        assert!(all.contains("2001:db8::1".parse().unwrap()) && all.bits() == 0);
        let one = Cidr::parse("192.0.2.7").unwrap();
        assert!(one.contains("192.0.2.7".parse().unwrap()) && !one.contains("192.0.2.6".parse().unwrap()));
        for wrong in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "ten",
            "",
            "::1/129",
        ] {
            assert_eq!(Cidr::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn mapped_networks_are_those_of_ipv4() {
        let mapped = |text| Cidr::parse(text).unwrap();
        assert_eq!(mapped("::ffff:10.0.0.0/104"), mapped("10.0.0.0/8"));
        assert_eq!(mapped("::ffff:0:0/96").bits(), 0);
        assert!(mapped("::ffff:192.0.2.7").contains("192.0.2.7".parse().unwrap()));
        assert_eq!(Cidr::parse("::ffff:10.0.0.1/104"), None);
        assert!(!mapped("::/80").is_ipv4());
    }

    #[test]
    fn everybody_is_everybody_in_pieces_too() {
        let everybody = |networks: &[&str]| are_everybody(&proxies(networks).0);
        for all in [
            &["0.0.0.0/0"][..],
            &["::/0"],
            &["2000::/3"],
            &["0.0.0.0/1", "128.0.0.0/1"],
            &["128.0.0.0/1", "10.0.0.0/8"],
            &["::/1", "8000::/1"],
            &["64.0.0.0/2", "::ffff:128.0.0.0/98"],
            &["::ffff:0.0.0.0/97", "::ffff:128.0.0.0/97"],
            &["2000::/5", "2800::/5"],
            &["2002::/16"],
            &["64:ff9b::/96"],
        ] {
            assert!(everybody(all), "{all:?}");
        }
        let eighths: Vec<String> = (0..128).map(|n| format!("{}.0.0.0/8", 2 * n)).collect();
        let eighths: Vec<&str> = eighths.iter().map(String::as_str).collect();
        assert!(everybody(&eighths) && !everybody(&eighths[1..]));
        for some in [
            &[][..],
            &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
            &["64.0.0.0/2", "64.0.0.0/3", "96.0.0.0/3"],
            &["2001:db8::/32", "2002:a00::/24", "64:ff9b::a00:0/104"],
            &["ff00::/8"],
        ] {
            assert!(!everybody(some), "{some:?}");
        }
    }

    #[test]
    fn the_right_most_hop_that_is_no_proxy_of_ours_is_the_viewer() {
        for (xff, expected) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            (&["1.1.1.1, 203.0.113.7, 10.2.3.4"], "203.0.113.7"),
            (&["1.1.1.1", "203.0.113.7", "10.2.3.4"], "203.0.113.7"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["2001:DB8::1"], "2001:db8::1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7, 2001:db8:ff::1, 10.0.0.9"], "203.0.113.7"),
            (&["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
        ] {
            assert_eq!(behind("10.0.0.1:5", xff, &[]), expected, "{xff:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_passed_over() {
        for xff in [
            "1.1.1.1, unknown",
            "1.1.1.1, 010.0.0.1",
            "1.1.1.1, fe80::1%eth0",
            "1.1.1.1, [fe80::1%1]",
            "1.1.1.1, 203.0.113.7:99999",
            "1.1.1.1, ",
            "1.1.1.1, 1.2.3",
            "1.1.1.1, [1.2.3.4]",
        ] {
            assert_eq!(behind("10.0.0.1:5", &[xff], &[]), "10.0.0.1", "{xff}");
        }
    }

    #[test]
    fn the_standard_header_says_the_same() {
        for (forwarded, expected) in [
            ("for=203.0.113.7;proto=http;by=10.0.0.2", "203.0.113.7"),
            ("For=\"203.0.113.7:4711\"", "203.0.113.7"),
            (
                "for=1.1.1.1, proto=https;FOR=\"[2001:db8::1]:4711\"",
                "2001:db8::1",
            ),
            ("for=1.1.1.1, for=203.0.113.7, for=10.7.7.7", "203.0.113.7"),
            ("for=1.1.1.1, for=unknown", "10.0.0.1"),
            ("for=1.1.1.1, for=_hidden", "10.0.0.1"),
            ("for=1.1.1.1, proto=http", "10.0.0.1"),
            ("for=1.1.1.1;for=2.2.2.2", "10.0.0.1"),
            ("for=\"1.1.1.1, for=2.2.2.2\"", "10.0.0.1"),
        ] {
            assert_eq!(behind("10.0.0.1:5", &[], &[forwarded]), expected, "{forwarded}");
        }
    }

    #[test]
    fn two_headers_that_agree_are_one_and_two_that_do_not_are_none() {
        assert_eq!(
            behind("10.0.0.1:5", &["203.0.113.7"], &["for=203.0.113.7"]),
            "203.0.113.7"
        );
        assert_eq!(
            behind("10.0.0.1:5", &["203.0.113.7"], &["for=1.1.1.1"]),
            "10.0.0.1"
        );
    }

    #[test]
    fn strangers_are_not_believed_and_nobody_is_by_default() {
        assert_eq!(behind("192.0.2.1:5", &["203.0.113.7"], &[]), "192.0.2.1");
        let peer = PeerAddr::new("10.0.0.1:5".parse().unwrap());
        let found = Proxies::default().behind(&peer, ["203.0.113.7"].into_iter(), [].into_iter());
        assert_eq!(found.expose_to_admit().to_string(), "10.0.0.1");
    }

    #[test]
    fn of_a_long_chain_only_the_end_is_looked_at() {
        let chain = vec!["10.1.1.1"; 50].join(", ");
        assert_eq!(
            behind("10.0.0.1:5", &[&format!("203.0.113.7, {chain}")], &[]),
            "10.1.1.1"
        );
    }
}
