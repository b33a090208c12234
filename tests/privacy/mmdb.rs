//! A writer of small databases in MaxMind's format, version 2.0: a binary tree of address bits with records of 24 bits, a
//! data section, and metadata behind a marker.

use std::net::Ipv6Addr;

/// Networks (IPv4 as `::a.b.c.d` with 96 more bits) and the code of their country.
pub struct Writer {
    /// Two records per node: 0 is unset, `Node` is another node, `Data` an index of `codes`.
    nodes: Vec<[Record; 2]>,
    codes: Vec<String>,
}

#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

impl Writer {
    pub fn new() -> Self {
        Self {
            nodes: vec![[Record::Nothing; 2]],
            codes: Vec::new(),
        }
    }

    /// Adds a network, as in `203.0.113.0/24` or `2001:db8::/32`.
    pub fn add(mut self, network: &str, code: &str) -> Self {
        let (address, bits) = network.split_once('/').unwrap();
        let bits: usize = bits.parse().unwrap();
        let (value, bits) = match address.parse().unwrap() {
            std::net::IpAddr::V4(v4) => (u128::from(u32::from(v4)), bits + 96),
            std::net::IpAddr::V6(v6) => (v6.to_bits(), bits),
        };
        let data = self.codes.len();
        self.codes.push(code.to_owned());
        let mut node = 0;
        for n in 0..bits {
            let side = usize::from(value >> (127 - n) & 1 == 1);
            if n + 1 == bits {
                self.nodes[node][side] = Record::Data(data);
            } else if let Record::Node(next) = self.nodes[node][side] {
                node = next;
            } else {
                self.nodes.push([Record::Nothing; 2]);
                let next = self.nodes.len() - 1;
                self.nodes[node][side] = Record::Node(next);
                node = next;
            }
        }
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        let mut data = Vec::new();
        let mut places = Vec::new();
        for code in &self.codes {
            places.push(data.len());
            map(&mut data, 1);
            text(&mut data, "country");
            map(&mut data, 1);
            text(&mut data, "iso_code");
            text(&mut data, code);
        }
        let count = self.nodes.len();
        let mut file = Vec::new();
        for record in self.nodes.iter().flatten() {
            let value = match record {
                Record::Nothing => count,
                Record::Node(n) => *n,
                Record::Data(n) => count + 16 + places[*n],
            };
            file.extend(&u32::try_from(value).unwrap().to_be_bytes()[1..]);
        }
        file.extend([0; 16]);
        file.extend(data);
        file.extend(b"\xab\xcd\xefMaxMind.com");
        map(&mut file, 9);
        for (name, kind, value) in [
            ("binary_format_major_version", 5, 2_u64),
            ("binary_format_minor_version", 5, 0),
            ("build_epoch", 9, 1_700_000_000),
            ("ip_version", 5, 6),
            ("node_count", 6, count as u64),
            ("record_size", 5, 24),
        ] {
            text(&mut file, name);
            number(&mut file, kind, value);
        }
        text(&mut file, "database_type");
        text(&mut file, "Test-Country");
        text(&mut file, "languages");
        file.extend([0, 4]); // an empty array: extended type 11
        text(&mut file, "description");
        map(&mut file, 0);
        file
    }
}

fn map(out: &mut Vec<u8>, pairs: u8) {
    out.push(7 << 5 | pairs);
}

fn text(out: &mut Vec<u8>, text: &str) {
    let len = u8::try_from(text.len()).unwrap();
    assert!(usize::from(len) < 29 + 255);
    if len < 29 {
        out.push(2 << 5 | len);
    } else {
        out.extend([2 << 5 | 29, len - 29]);
    }
    out.extend(text.as_bytes());
}

/// Unsigned: type 5 has up to 16 bits, 6 up to 32, 9 (extended) up to 64.
fn number(out: &mut Vec<u8>, kind: u8, value: u64) {
    let bytes = value.to_be_bytes();
    let bytes = &bytes[bytes.iter().position(|b| *b != 0).unwrap_or(8)..];
    let len = u8::try_from(bytes.len()).unwrap();
    if kind < 8 {
        out.push(kind << 5 | len);
    } else {
        out.extend([len, kind - 7]);
    }
    out.extend(bytes);
}

#[test]
fn a_network_of_ipv4_lies_below_96_zeros() {
    let v4: Ipv6Addr = "::203.0.113.0".parse().unwrap();
    assert_eq!(v4.to_bits() >> 32, 0);
    assert!(Writer::new().add("203.0.113.0/24", "FR").bytes().len() > 120 * 6);
}
