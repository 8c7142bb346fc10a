//! How much one connection may write before others have their turn.
//!
//! Over TLS each byte is encrypted and copied here. A thousand clients with open windows, each of whom is written to until its
//! window is full, would let a visitor wait for seconds with a handshake that takes a fraction of a millisecond.

use std::{
    cell::Cell,
    io::IoSlice,
    task::{Context, Poll},
};

use super::lane::{self, Ticket};

/// Bytes that all connections of a thread may write in one round: some milliseconds.
const ROUND: usize = 8 << 20;
/// The least that one may write in its turn: a TLS record (RFC 8446 §5.1).
const LEAST: usize = 16 * 1024;
/// The most.
const MOST: usize = 512 * 1024;
/// Less than that is not begun any more.
const PAGE: usize = 4096;
/// So many bytes cost as much to write in plain text, where the kernel copies them or sends them from the file, as one over
/// TLS.
const PLAIN: usize = 8;

thread_local! {
    /// Turns of all connections of this thread in which they wrote.
    static TURNS: Cell<usize> = const { Cell::new(0) };
}

/// The share of one connection: the smaller, the more others wrote since its last turn.
#[derive(Debug)]
pub(super) struct Share {
    /// How many bytes count as one.
    scale: usize,
    turn: u64,
    /// Which of all turns the last one was.
    last: usize,
    size: usize,
    left: usize,
    /// Whether there was more to write than the client took.
    more: bool,
    /// Where it waits for its next turn.
    ticket: Option<Ticket>,
}

impl Share {
    pub(super) fn encrypted() -> Self {
        Self { scale: 1, turn: 0, last: 0, size: 0, left: 0, more: false, ticket: None }
    }

    pub(super) fn plain() -> Self {
        Self { scale: PLAIN, ..Self::encrypted() }
    }

    /// How many bytes may be written now, a page at least; if that is none, the task comes again when others had their turn.
    pub(super) fn poll_left(&mut self, context: &Context<'_>, turn: u64) -> Poll<usize> {
        if self.ticket.is_some_and(|ticket| !lane::was_called(ticket)) {
            return Poll::Pending;
        }
        let called = self.ticket.take().is_some();
        // Where many write, the kernel may have room for all of them at once.
        let out_of_turn = self.turn != turn && self.more && !called && self.size < MOST * self.scale;
        if !out_of_turn && self.left(turn) >= PAGE {
            return Poll::Ready(self.left);
        }
        self.ticket = Some(lane::wait(context.waker(), self.size / self.scale));
        Poll::Pending
    }

    /// How many bytes may still be written in this turn of the connection.
    fn left(&mut self, turn: u64) -> usize {
        if self.turn != turn {
            let now = TURNS.get().wrapping_add(1);
            TURNS.set(now);
            let writers = now.wrapping_sub(self.last).max(1);
            let size = (ROUND / writers).clamp(LEAST, MOST) * self.scale;
            *self = Self { turn, last: now, size, left: size, ..*self };
        }
        self.left
    }

    /// So many bytes were written; `more` says whether there are others.
    pub(super) fn wrote(&mut self, bytes: usize, more: bool) {
        self.left = self.left.saturating_sub(bytes);
        self.more = more;
    }
}

/// How much of what a client sends is looked at in one turn: small requests and frames cost far more than their bytes.
pub(super) const READ: usize = 64 * 1024;

/// At most so many parts are written at once if they are more than may be written.
const PARTS: usize = 16;

/// The first bytes of all parts, `left` at most. The last of them ends with a page of its part: a file that is sent from where
/// it lies goes on with a whole page then.
pub(super) fn first<'a>(parts: &'a [IoSlice<'_>], mut left: usize) -> Vec<IoSlice<'a>> {
    let mut first = Vec::with_capacity(parts.len().min(PARTS));
    for part in parts.iter().take(PARTS) {
        if part.len() > left {
            first.push(IoSlice::new(&part[..left / PAGE * PAGE]));
            break;
        }
        left -= part.len();
        first.push(IoSlice::new(part));
    }
    first
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn share_is_the_smaller_the_more_others_write() {
        let mut one = Share::encrypted();
        one.left(1);
        assert_eq!(one.left(2), MOST, "nobody else writes");
        one.wrote(MOST - 1, true);
        assert_eq!(one.left(2), 1);
        one.wrote(16, true);
        assert_eq!((one.left(2), one.left(3)), (0, MOST), "until its next turn");

        for (others, expected) in [(63, ROUND / 64), (511, LEAST), (10_000, LEAST)] {
            let mut shares: Vec<Share> = (0..others).map(|_| Share::encrypted()).collect();
            let turn = one.turn + 1;
            for share in &mut shares {
                share.left(1);
            }
            assert_eq!(one.left(turn), expected, "{others} others");
        }
        assert_eq!(Share::plain().left(1), LEAST * PLAIN, "a first turn tells nothing of how many there are");
    }

    #[test]
    fn whoever_had_its_share_waits_to_be_called_and_not_twice() {
        let context = Context::from_waker(Waker::noop());
        let mut one = Share::encrypted();
        let Poll::Ready(left) = one.poll_left(&context, 1) else { panic!("nothing was written yet") };
        one.wrote(left, true);
        let waits = |one: &mut Share, turn| one.poll_left(&context, turn).is_pending().then_some(one.ticket).flatten();
        let ticket = waits(&mut one, 1);
        assert!(ticket.is_some());
        assert_eq!([waits(&mut one, 1), waits(&mut one, 2)], [ticket; 2], "it came for another reason");
        lane::call_some();
        (0..100).for_each(|_| assert!(Share::encrypted().left(1) > 0));
        assert!(one.poll_left(&context, 3).is_ready());
        assert!(waits(&mut one, 4).is_some(), "there is room for more, but it was not called");
        lane::call_some();
        assert!(one.poll_left(&context, 5).is_ready());
        one.wrote(1, false);
        assert!(one.poll_left(&context, 6).is_ready(), "another response");
    }

    #[test]
    fn a_part_that_is_too_long_is_cut_after_a_page() {
        let long = vec![0; 3 * PAGE];
        let parts = [IoSlice::new(b"head"), IoSlice::new(b""), IoSlice::new(&long), IoSlice::new(b"trailer")];
        for (left, expected) in [
            (PAGE, &[4, 0, 0][..]),
            (PAGE + 4, &[4, 0, PAGE]),
            (3 * PAGE, &[4, 0, 2 * PAGE]),
            (3 * PAGE + 4, &[4, 0, 3 * PAGE, 0]),
            (3 * PAGE + 11, &[4, 0, 3 * PAGE, 7]),
        ] {
            let lengths: Vec<usize> = first(&parts, left).iter().map(|part| part.len()).collect();
            assert_eq!(lengths, expected, "{left}");
        }
        assert_eq!(first(&[IoSlice::new(b"x"); 2 * PARTS], PAGE).len(), PARTS);
    }
}
