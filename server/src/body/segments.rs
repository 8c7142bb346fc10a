//! Bytes in a few pieces.

use std::{io::IoSlice, ops::Range};

use bytes::{Buf, Bytes};

/// Up to three pieces that are sent as one.
#[derive(Clone, Debug, Default)]
pub struct Segments([Bytes; 3]);

impl Segments {
    pub(crate) fn new(head: Bytes, middle: Bytes, tail: Bytes) -> Self {
        Self([head, middle, tail])
    }

    /// Length of all pieces together.
    pub(crate) fn length(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }

    /// The first `length` bytes of all pieces; fewer, if there are no more.
    pub(crate) fn first(&self, mut length: usize) -> [&[u8]; 3] {
        self.0.each_ref().map(|piece| {
            let here = length.min(piece.len());
            length -= here;
            &piece[..here]
        })
    }

    /// A part, which must lie inside.
    pub(crate) fn slice(&self, part: Range<u64>) -> Self {
        let mut from = 0;
        Self(self.0.each_ref().map(|piece| {
            let length = piece.len() as u64;
            let start = part.start.saturating_sub(from).min(length);
            let end = part.end.saturating_sub(from).min(length);
            from += length;
            piece.slice(start as usize..end.max(start) as usize)
        }))
    }
}

impl From<Bytes> for Segments {
    fn from(bytes: Bytes) -> Self {
        Self([bytes, Bytes::new(), Bytes::new()])
    }
}

impl Buf for Segments {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.iter().find(|piece| !piece.is_empty()).map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (piece, slot) in self.0.iter().filter(|piece| !piece.is_empty()).zip(out) {
            *slot = IoSlice::new(piece);
            used += 1;
        }
        used
    }

    fn advance(&mut self, mut count: usize) {
        for piece in &mut self.0 {
            let here = count.min(piece.len());
            piece.advance(here);
            count -= here;
        }
        assert_eq!(count, 0, "advanced beyond the end");
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        match self.0.iter_mut().find(|piece| !piece.is_empty()) {
            // Hands out a view, where the default would copy.
            Some(piece) if piece.len() >= length => piece.split_to(length),
            _ => {
                assert!(length <= self.remaining(), "advanced beyond the end");
                let mut copy = bytes::BytesMut::with_capacity(length);
                bytes::BufMut::put(&mut copy, self.take(length));
                copy.freeze()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> Segments {
        Segments::new(Bytes::from_static(b"abc"), Bytes::from_static(b"defgh"), Bytes::from_static(b"ij"))
    }

    fn read(mut segments: Segments) -> Vec<u8> {
        segments.copy_to_bytes(segments.remaining()).to_vec()
    }

    #[test]
    fn every_slice_of_segments_is_the_slice_of_their_bytes() {
        let whole = b"abcdefghij";
        for start in 0..=10 {
            for end in start..=10 {
                assert_eq!(read(segments().slice(start..end)), &whole[start as usize..end as usize], "{start}..{end}");
                assert_eq!(segments().first(end as usize).concat(), &whole[..end as usize]);
            }
        }
    }

    #[test]
    fn segments_are_read_alike_in_every_step() {
        for step in 1..=10 {
            let mut rest = segments();
            let mut seen = Vec::new();
            while rest.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 8];
                let used = rest.chunks_vectored(&mut slices);
                let offered: usize = slices[..used].iter().map(|slice| slice.len()).sum();
                assert_eq!(offered, rest.remaining());
                let here = step.min(rest.chunk().len());
                seen.extend_from_slice(&rest.chunk()[..here]);
                rest.advance(here);
            }
            assert_eq!(seen, b"abcdefghij", "steps of {step}");
        }
    }
}
