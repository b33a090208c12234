//! How many connections each host has, so that one cannot take all. A host is known here only while it has one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::Mutex;

use crate::base::peer::PeerAddr;

const NOT_POISONED: &str = "no panic happens while the lock is held";

/// Hosts that are connected.
#[derive(Default)]
pub(super) struct Guests(Mutex<HashMap<IpAddr, usize>>);

/// One connection's place; given back when dropped. No `Debug`: it knows an address.
pub(super) struct Guest {
    guests: Arc<Guests>,
    host: IpAddr,
}

impl Guests {
    /// A place for one more connection of this host; `None` if it has as many as it may. 0 is no limit.
    pub(super) fn admit(self: &Arc<Self>, peer: &PeerAddr, most: usize) -> Option<Option<Guest>> {
        if most == 0 {
            return Some(None);
        }
        let host = network(peer.expose_to_send().ip());
        let mut hosts = self.0.lock().expect(NOT_POISONED);
        let count = hosts.entry(host).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        let guests = Arc::clone(self);
        Some(Some(Guest { guests, host }))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut hosts = self.guests.0.lock().expect(NOT_POISONED);
        let left = hosts.get_mut(&self.host).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left == 0 {
            hosts.remove(&self.host);
        }
    }
}

/// A household has 64 bits of IPv6 addresses, and changes within them.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_so_many_connections_and_is_forgotten_with_the_last() {
        let guests = Arc::new(Guests::default());
        let admit = |from: &str| guests.admit(&PeerAddr::new(from.parse().unwrap()), 2);
        let first = admit("192.0.2.1:5").unwrap();
        let second = admit("192.0.2.1:6").unwrap();
        assert!(admit("192.0.2.1:7").is_none());
        let other = admit("192.0.2.2:7").unwrap();
        drop(first);
        let third = admit("192.0.2.1:8").unwrap();
        let network = [
            admit("[2001:db8::1]:1").unwrap(),
            admit("[2001:db8::2]:1").unwrap(),
        ];
        assert!(admit("[2001:db8::3]:1").is_none());
        drop((second, third, other, network));
        assert!(guests.0.lock().unwrap().is_empty());
        assert!(
            guests
                .admit(&PeerAddr::new("192.0.2.1:5".parse().unwrap()), 0)
                .is_some_and(|g| g.is_none())
        );
    }
}
