//! How many responses are inflated at once, so that those who ask for that cannot take all memory.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::{connections::payer, settings::Bounds};

/// Counts the responses that are being inflated: each holds about 150 KiB (deflate's window, a piece, and what HTTP/2 keeps
/// for a client that takes nothing), where one that is sent as it lies holds none.
#[derive(Debug)]
pub(crate) struct Inflating {
    under_way: Mutex<UnderWay>,
    most: usize,
    /// Of one address, so that nobody can take them all and read nothing.
    most_of_address: usize,
}

#[derive(Debug, Default)]
struct UnderWay {
    all: usize,
    of_address: HashMap<IpAddr, usize>,
}

/// The part of it that a client has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share<'a> {
    inflating: &'a Arc<Inflating>,
    client: IpAddr,
}

/// The right to inflate one response, until it and all its pieces are gone.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    inflating: Arc<Inflating>,
    payer: IpAddr,
}

impl Inflating {
    /// At most so many at once.
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self { under_way: Mutex::default(), most: bounds.inflated, most_of_address: bounds.inflated_per_address }
    }

    /// What that client may have of it.
    pub(crate) fn share(self: &Arc<Self>, client: IpAddr) -> Share<'_> {
        Share { inflating: self, client }
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share<'_> {
    /// One more; `None` at a bound.
    pub(crate) fn begin(self) -> Option<Permit> {
        let payer = payer(self.client);
        let mut under_way = self.inflating.under_way();
        let of_address = under_way.of_address.get(&payer).copied().unwrap_or(0);
        if under_way.all >= self.inflating.most || of_address >= self.inflating.most_of_address {
            return None;
        }
        under_way.all += 1;
        under_way.of_address.insert(payer, of_address + 1);
        Some(Permit { _held: Arc::new(Held { inflating: self.inflating.clone(), payer }) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut under_way = self.inflating.under_way();
        under_way.all -= 1;
        if let Some(count) = under_way.of_address.get_mut(&self.payer) {
            *count -= 1;
            if *count == 0 {
                under_way.of_address.remove(&self.payer);
            }
        }
    }
}

impl Permit {
    /// A piece that keeps the permit until it was sent.
    pub(crate) fn of(&self, piece: Vec<u8>) -> Bytes {
        Bytes::from_owner(Piece { piece, _permit: self.clone() })
    }
}

struct Piece {
    piece: Vec<u8>,
    _permit: Permit,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(inflated: usize, inflated_per_address: usize) -> Bounds {
        Bounds { inflated, inflated_per_address, ..Bounds::default() }
    }

    #[test]
    fn a_permit_lasts_as_long_as_its_pieces() {
        let inflating = Arc::new(Inflating::new(&bounds(2, 2)));
        let begin = || inflating.share(IpAddr::from([192, 0, 2, 1])).begin();
        let (one, two) = (begin().unwrap(), begin().unwrap());
        assert!(begin().is_none());
        let piece = one.of(vec![1, 2, 3]).slice(1..);
        drop(one);
        assert!(begin().is_none(), "a piece of it is still to be sent");
        drop(piece);
        let again = begin().unwrap();
        assert!(begin().is_none());
        drop((two, again));
        let left = inflating.under_way();
        assert!(left.all == 0 && left.of_address.is_empty());
    }

    #[test]
    fn whoever_has_a_share_leaves_the_rest_to_others() {
        let inflating = Arc::new(Inflating::new(&bounds(3, 2)));
        let begin = |client: &str| inflating.share(client.parse().unwrap()).begin();
        let _first = begin("2001:db8::1").unwrap();
        let second = begin("2001:db8::ffff").unwrap();
        assert!(begin("2001:db8::2").is_none(), "the /64 is at its bound");
        let _other = begin("192.0.2.1").unwrap();
        assert!(begin("192.0.2.2").is_none(), "the server is at its bound");
        drop(second);
        assert!(begin("192.0.2.2").is_some());
    }
}
