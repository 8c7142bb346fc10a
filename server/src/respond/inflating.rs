//! Inflating a response takes memory, so not everybody may have that at once.
//!
//! Each response that is inflated holds about 150 KiB (deflate's window, a piece, and what HTTP/2 keeps for a client that takes
//! nothing), where one that is sent as it lies holds none.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;

use crate::{
    quota::{Held, Quota},
    settings::Bounds,
};

/// As many responses as may be inflated at once.
pub(crate) fn quota(bounds: &Bounds) -> Arc<Quota> {
    Quota::new(bounds.inflated, bounds.inflated_per_address)
}

/// What a client may have of the responses that are inflated at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share<'a> {
    pub(crate) inflating: &'a Arc<Quota>,
    pub(crate) client: IpAddr,
}

/// The right to inflate one response, until it and all its pieces are gone.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    _held: Arc<Held>,
}

impl Share<'_> {
    /// One more; `None` at a bound.
    pub(crate) fn begin(self) -> Option<Permit> {
        Some(Permit { _held: Arc::new(self.inflating.take(self.client)?) })
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
        let inflating = Quota::new(2, 2);
        let begin = || Share { inflating: &inflating, client: IpAddr::from([192, 0, 2, 1]) }.begin();
        let (one, _two) = (begin().unwrap(), begin().unwrap());
        assert!(begin().is_none());
        let piece = one.of(vec![1, 2, 3]).slice(1..);
        drop(one);
        assert!(begin().is_none(), "a piece of it is still to be sent");
        drop(piece);
        assert!(begin().is_some());
    }
}
