//! How many responses are inflated at once, so that those who ask for that cannot take all memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;

/// Counts the responses that are being inflated: each holds about 150 KiB (deflate's window, a piece, and what HTTP/2 keeps
/// for a client that takes nothing), where one that is sent as it lies holds none.
#[derive(Debug)]
pub(crate) struct Inflating {
    under_way: AtomicUsize,
    most: usize,
}

/// The right to inflate one response, until it and all its pieces are gone.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held(Arc<Inflating>);

impl Inflating {
    /// At most so many at once.
    pub(crate) fn new(most: usize) -> Self {
        Self { under_way: AtomicUsize::new(0), most }
    }

    /// One more; `None` at the bound.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Permit> {
        if self.under_way.fetch_add(1, Relaxed) >= self.most {
            self.under_way.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Permit { _held: Arc::new(Held(self.clone())) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
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

    #[test]
    fn a_permit_lasts_as_long_as_its_pieces() {
        let inflating = Arc::new(Inflating::new(2));
        let (one, two) = (inflating.begin().unwrap(), inflating.begin().unwrap());
        assert!(inflating.begin().is_none());
        let piece = one.of(vec![1, 2, 3]).slice(1..);
        drop(one);
        assert!(inflating.begin().is_none(), "a piece of it is still to be sent");
        drop(piece);
        let again = inflating.begin().unwrap();
        assert!(inflating.begin().is_none());
        drop((two, again));
        assert_eq!(inflating.under_way.load(Relaxed), 0);
    }
}
