//! How many connections each address has, so that none can take them all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{Counters, settings::Bounds};

/// Open connections by address.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Addresses {
    /// A place for one more connection from `address`, held until it is dropped; `None` at a bound.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, bounds: &Bounds, counters: &Arc<Counters>) -> Option<Place> {
        let key = payer(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = open.get(&key).copied().unwrap_or(0);
        if of_address >= bounds.connections_per_address || counters.open() >= bounds.connections as u64 {
            counters.turn_away();
            return None;
        }
        open.insert(key, of_address + 1);
        counters.opened();
        Some(Place { addresses: self.clone(), counters: counters.clone(), key })
    }
}

/// The place of one open connection.
#[derive(Debug)]
pub(crate) struct Place {
    addresses: Arc<Addresses>,
    counters: Arc<Counters>,
    key: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counters.closed();
        let mut open = self.addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

/// Whoever has one IPv6 address usually has the whole /64.
pub(crate) fn payer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_at_its_bound_is_refused_and_others_are_not() {
        let (addresses, counters) = (Arc::new(Addresses::default()), Arc::new(Counters::default()));
        let bounds = Bounds { connections: 4, connections_per_address: 2, ..Bounds::default() };
        let admit = |address: &str| addresses.admit(address.parse().unwrap(), &bounds, &counters);
        let first = admit("127.0.0.1").unwrap();
        let _mapped = admit("::ffff:127.0.0.1").unwrap();
        assert!(admit("127.0.0.1").is_none(), "the address is at its bound");
        let _six = admit("2001:db8::1").unwrap();
        let _same = admit("2001:db8::ffff").unwrap();
        assert!(admit("2001:db8:0:1::1").is_none(), "the server is at its bound");
        drop(first);
        assert!(admit("127.0.0.1").is_some());
        assert_eq!(counters.turned_away(), 2);
    }
}
