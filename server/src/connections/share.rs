//! How much one connection may write before others have their turn.
//!
//! Over TLS each byte is encrypted and copied here. A thousand clients with open windows, each of whom is written to until its
//! window is full, would let a visitor wait for seconds with a handshake that takes a fraction of a millisecond.

use std::{cell::Cell, io::IoSlice};

/// Bytes that all connections of a thread may write in one round: some milliseconds.
const ROUND: usize = 8 << 20;
/// The least that one may write in its turn: a TLS record (RFC 8446 §5.1).
const LEAST: usize = 16 * 1024;
/// The most.
const MOST: usize = 512 * 1024;

thread_local! {
    /// Turns of all connections of this thread in which they wrote.
    static TURNS: Cell<usize> = const { Cell::new(0) };
}

/// The share of one connection: the smaller, the more others wrote since its last turn.
#[derive(Debug, Default)]
pub(super) struct Share {
    turn: u64,
    /// Which of all turns the last one was.
    last: usize,
    left: usize,
}

impl Share {
    /// How many bytes may still be written in this turn of the connection.
    pub(super) fn left(&mut self, turn: u64) -> usize {
        if self.turn != turn {
            let now = TURNS.get().wrapping_add(1);
            TURNS.set(now);
            let writers = now.wrapping_sub(self.last).max(1);
            *self = Self { turn, last: now, left: (ROUND / writers).clamp(LEAST, MOST) };
        }
        self.left
    }

    /// So many bytes were written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}

/// As many of the first parts as are no longer than `left` together.
pub(super) fn first<'a, 'b>(parts: &'a [IoSlice<'b>], mut left: usize) -> &'a [IoSlice<'b>] {
    let fits = parts.iter().take_while(|part| match left.checked_sub(part.len()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    });
    &parts[..fits.count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_the_smaller_the_more_others_write() {
        let mut one = Share::default();
        one.left(1);
        assert_eq!(one.left(2), MOST, "nobody else writes");
        one.wrote(MOST - 1);
        assert_eq!(one.left(2), 1);
        one.wrote(16);
        assert_eq!((one.left(2), one.left(3)), (0, MOST), "until its next turn");

        for (others, expected) in [(63, ROUND / 64), (511, LEAST), (10_000, LEAST)] {
            let mut shares: Vec<Share> = (0..others).map(|_| Share::default()).collect();
            let turn = one.turn + 1;
            for share in &mut shares {
                share.left(1);
            }
            assert_eq!(one.left(turn), expected, "{others} others");
        }
    }

    #[test]
    fn only_whole_parts_are_taken() {
        let parts = [IoSlice::new(b"abc"), IoSlice::new(b""), IoSlice::new(b"de")];
        for (left, count) in [(0, 0), (2, 0), (3, 2), (4, 2), (5, 3), (6, 3)] {
            assert_eq!(first(&parts, left).len(), count, "{left}");
        }
    }
}
