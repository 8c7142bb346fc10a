//! A bound for all clients together, and one for each, so that no client can have everything.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A cap on how many of a thing there are, in all and for one client.
#[derive(Debug)]
pub(crate) struct Quota {
    taken: Mutex<Shares>,
    most: usize,
    most_of_client: usize,
}

#[derive(Debug, Default)]
struct Shares {
    all: usize,
    of_client: HashMap<IpAddr, usize>,
}

/// Some of the things, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    quota: Arc<Quota>,
    client: IpAddr,
    many: usize,
}

impl Quota {
    pub(crate) fn new(most: usize, most_of_client: usize) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), most, most_of_client })
    }

    /// One more, where all together may have `reserve` beyond their bound; `None` at a bound.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr, reserve: usize) -> Option<Held> {
        self.take_within(address, 1, self.most.saturating_add(reserve), self.most_of_client)
    }

    /// One more for an address that many clients share: `None` at the bound of all alone.
    pub(crate) fn take_shared(self: &Arc<Self>, address: IpAddr) -> Option<Held> {
        self.take_within(address, 1, self.most, usize::MAX)
    }

    /// So many more; `None` if they go beyond a bound.
    pub(crate) fn take_many(self: &Arc<Self>, address: IpAddr, many: usize) -> Option<Held> {
        self.take_within(address, many, self.most, self.most_of_client)
    }

    fn take_within(self: &Arc<Self>, address: IpAddr, many: usize, most: usize, of_one: usize) -> Option<Held> {
        let client = client(address);
        let mut taken = self.taken();
        let all = taken.all.saturating_add(many);
        if all > most || many > of_one {
            return None;
        }
        let of_client = taken.of_client.entry(client).or_default();
        // A client that has nothing gets what is asked for, so that nothing is left behind here of one that gets nothing.
        if of_client.saturating_add(many) > of_one {
            return None;
        }
        *of_client += many;
        taken.all = all;
        Some(Held { quota: self.clone(), client, many })
    }

    /// Whether nothing is taken, nor kept of clients that have nothing.
    #[cfg(test)]
    pub(crate) fn is_unused(&self) -> bool {
        let taken = self.taken();
        taken.all == 0 && taken.of_client.is_empty()
    }

    fn taken(&self) -> MutexGuard<'_, Shares> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Holds these, too, which are of the same quota and client.
    pub(crate) fn join(&mut self, mut more: Self) {
        self.many += std::mem::take(&mut more.many);
    }

    /// Gives back all but so many, of which one at least.
    fn keep(&mut self, many: usize) {
        let rest = self.many.saturating_sub(many);
        if rest > 0 {
            self.many -= rest;
            drop(Self { quota: self.quota.clone(), client: self.client, many: rest });
        }
    }
}

/// What one of a client's connections holds of a quota: more at one time than at another.
#[derive(Debug)]
pub(crate) struct Reservation {
    quota: Arc<Quota>,
    client: IpAddr,
    held: Option<Held>,
}

impl Reservation {
    /// Nothing yet.
    pub(crate) fn new(quota: Arc<Quota>, client: IpAddr) -> Self {
        Self { quota, client, held: None }
    }

    /// Nothing, of a quota that there is for it alone.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn alone() -> Self {
        Self::new(Quota::new(usize::MAX, usize::MAX), Ipv6Addr::LOCALHOST.into())
    }

    /// How many it holds.
    pub(crate) fn held(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.many)
    }

    /// Takes so many more, or none at a bound: whether it did.
    pub(crate) fn add(&mut self, many: usize) -> bool {
        let Some(more) = self.quota.take_many(self.client, many) else { return false };
        match &mut self.held {
            Some(held) => held.join(more),
            none => *none = Some(more),
        }
        true
    }

    /// Gives back all but so many.
    pub(crate) fn keep(&mut self, many: usize) {
        match &mut self.held {
            Some(held) if many > 0 => held.keep(many),
            held => *held = None,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.quota.taken();
        taken.all -= self.many;
        if let Entry::Occupied(mut count) = taken.of_client.entry(self.client) {
            *count.get_mut() -= self.many;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// A client that has one IPv6 address usually has the whole /64.
pub(crate) fn client(address: IpAddr) -> IpAddr {
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
    fn many_are_taken_at_once_or_none_and_given_back_together() {
        let quota = Quota::new(10, 6);
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let mut held = quota.take_many(address(1), 4).unwrap();
        assert!(quota.take_many(address(1), 3).is_none(), "the address has room for two");
        held.join(quota.take_many(address(1), 2).unwrap());
        let other = quota.take_many(address(2), 4).unwrap();
        assert!(quota.take_many(address(3), 1).is_none() && quota.take_many(address(3), usize::MAX).is_none());
        drop(held);
        assert!(quota.take_many(address(1), 6).is_some());
        drop(other);
        assert!(quota.is_unused());
    }

    #[test]
    fn a_reservation_grows_and_shrinks_within_the_bounds() {
        let quota = Quota::new(10, 6);
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let [mut one, mut same, mut other] = [1, 1, 2].map(|last| Reservation::new(quota.clone(), address(last)));
        assert!(one.add(4) && !same.add(3) && one.add(1) && other.add(5));
        assert_eq!([one.held(), same.held(), other.held()], [5, 0, 5]);
        assert!(!one.add(1), "all are at their bound");
        one.keep(9);
        one.keep(2);
        assert_eq!(one.held(), 2);
        assert!(same.add(3) && !same.add(2), "the address has room for one");
        one.keep(0);
        other.keep(0);
        assert!(!quota.is_unused() && same.add(3));
        drop(same);
        assert!(quota.is_unused());
    }

    #[test]
    fn a_reserve_is_for_those_who_may_use_it() {
        let quota = Quota::new(1, 9);
        let address = IpAddr::from([192, 0, 2, 1]);
        let _stranger = quota.take(address, 0).unwrap();
        let own: Vec<_> = (0..3).map_while(|_| quota.take(address, 2)).collect();
        assert_eq!((own.len(), quota.take(address, 0).is_none()), (2, true));
    }

    #[test]
    fn an_address_that_many_share_may_have_all_there_is() {
        let quota = Quota::new(4, 2);
        let address = IpAddr::from([192, 0, 2, 1]);
        let shared: Vec<_> = (0..9).map_while(|_| quota.take_shared(address)).collect();
        assert_eq!(shared.len(), 4);
        drop(shared);
        assert!(quota.is_unused());
    }

    #[test]
    fn whoever_is_at_his_bound_leaves_the_rest_to_others() {
        let quota = Quota::new(4, 2);
        let take = |address: &str| quota.take(address.parse().unwrap(), 0);
        let first = take("127.0.0.1").unwrap();
        let mapped = take("::ffff:127.0.0.1").unwrap();
        assert!(take("127.0.0.1").is_none(), "the address is at its bound");
        let six = take("2001:db8::1").unwrap();
        let same = take("2001:db8::ffff").unwrap();
        assert!(take("2001:db8::2").is_none(), "the /64 is at its bound");
        assert!(take("2001:db8:0:1::1").is_none(), "all are");
        drop(first);
        let again = take("127.0.0.1").unwrap();
        drop((mapped, six, same, again));
        assert!(quota.is_unused(), "nothing is kept of clients that have nothing");
    }
}
