//! What a response carries: bytes as they lie, or inflated piece by piece.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::inflating::{Full, Room};
use crate::{account::Account, site::Damaged};

/// The content of a response. Its length is always known.
#[derive(Debug)]
pub(crate) struct Body {
    content: Content,
    left: u64,
    account: Option<Account>,
}

#[derive(Debug)]
enum Content {
    Empty,
    Lying(Segments),
    Many(VecDeque<Segments>),
    Inflated(Box<Inflated>),
}

/// A response that is inflated while it is sent.
#[derive(Debug)]
struct Inflated {
    packed: Bytes,
    /// Of all that it inflates to.
    size: u64,
    room: Room,
    /// What is still to be sent.
    runs: VecDeque<Run>,
    /// Until it looks again whether there is room.
    waits: Option<Pin<Box<Sleep>>>,
}

/// What a response is made of, one after the other.
#[derive(Debug)]
pub(crate) enum Run {
    /// Bytes that are no content of the file, such as what stands between parts.
    Between(Bytes),
    /// A part of the file.
    Part(Range<u64>),
}

/// How many pieces are inflated and thrown away at once, before others get their turn.
const SKIP_AT_ONCE: usize = 8;
/// How long a response waits where there is no room for it, before it looks again.
const AGAIN: Duration = Duration::from_millis(50);

impl Body {
    pub(crate) fn empty() -> Self {
        Self::of(Content::Empty, 0)
    }

    /// Bytes that lie somewhere already.
    pub(crate) fn lying(segments: impl Into<Segments>) -> Self {
        let segments = segments.into();
        match segments.length() {
            0 => Self::empty(),
            length => Self::of(Content::Lying(segments), length),
        }
    }

    /// Several of them, one after the other.
    pub(crate) fn many(parts: VecDeque<Segments>) -> Self {
        let length = parts.iter().map(Segments::length).sum();
        Self::of(Content::Many(parts), length)
    }

    /// Parts of what `packed` inflates to, `size` bytes in all, which must lie inside and behind each other, and what stands
    /// between them.
    pub(crate) fn inflated((packed, size): (Bytes, u64), room: Room, runs: VecDeque<Run>) -> Self {
        let length = runs.iter().map(Run::length).sum();
        let inflated = Inflated { packed, size, room, runs, waits: None };
        Self::of(Content::Inflated(inflated.into()), length)
    }

    fn of(content: Content, left: u64) -> Self {
        Self { content, left, account: None }
    }

    /// Keeps the account until the content was handed over, or is dropped.
    pub(crate) fn charge(&mut self, account: Account) {
        self.account = Some(account);
    }

    /// Hands the account to whoever knows better when the content is handed over.
    pub(crate) fn discharge(&mut self) -> Option<Account> {
        self.account.take()
    }

    /// How many bytes are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes; of what is inflated no more than `most`, since what is inflated and not sent is memory. What lies
    /// somewhere is not cut.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>, most: usize) -> Poll<Option<io::Result<Segments>>> {
        if self.left == 0 {
            self.account = None;
            return Poll::Ready(None);
        }
        let next = ready!(self.next(context, most));
        let Some(Ok(segments)) = next else {
            self.account = None;
            return Poll::Ready(next);
        };
        let length = segments.length();
        self.left = self.left.saturating_sub(length);
        if let Some(account) = &mut self.account {
            account.add(length);
        }
        if self.left == 0 {
            self.account = None;
        }
        Poll::Ready(Some(Ok(segments)))
    }

    fn next(&mut self, context: &mut Context<'_>, most: usize) -> Poll<Option<io::Result<Segments>>> {
        Poll::Ready(match &mut self.content {
            Content::Empty => None,
            Content::Lying(segments) => Some(Ok(std::mem::take(segments))),
            Content::Many(parts) => parts.pop_front().map(Ok),
            Content::Inflated(inflated) => {
                for _ in 0..SKIP_AT_ONCE {
                    match inflated.step(most) {
                        Ok(Step::Skipped) => {}
                        Ok(Step::Piece(piece)) => return Poll::Ready(Some(Ok(piece.into()))),
                        Ok(Step::Over) => return Poll::Ready(None),
                        Ok(Step::NoRoom) => {
                            let waits = inflated.waits.get_or_insert_with(|| Box::pin(sleep(AGAIN)));
                            ready!(waits.as_mut().poll(context));
                            inflated.waits = None;
                        }
                        Err(damaged) => return Poll::Ready(Some(Err(io::Error::other(damaged)))),
                    }
                }
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }
}

/// What came of looking for the next bytes to send.
enum Step {
    Piece(Bytes),
    /// Content that nobody asked for.
    Skipped,
    /// Nothing yet: others inflate.
    NoRoom,
    Over,
}

impl Inflated {
    fn step(&mut self, most: usize) -> Result<Step, Damaged> {
        let part = match self.runs.front_mut() {
            None => return Ok(Step::Over),
            Some(Run::Between(bytes)) => {
                let now = bytes.split_to(bytes.len().min(most));
                if bytes.is_empty() {
                    self.runs.pop_front();
                }
                return Ok(Step::Piece(now));
            }
            Some(Run::Part(part)) => part,
        };
        let piece = match self.room.next((&self.packed, self.size), part, most) {
            Ok(piece) => piece?,
            Err(Full) => return Ok(Step::NoRoom),
        };
        if part.is_empty() {
            self.runs.pop_front();
        }
        Ok(if piece.is_empty() { Step::Skipped } else { Step::Piece(piece) })
    }
}

impl Run {
    fn length(&self) -> u64 {
        match self {
            Self::Between(bytes) => bytes.len() as u64,
            Self::Part(part) => part.end - part.start,
        }
    }

    /// Its bytes, of content that lies somewhere.
    pub(crate) fn of(self, content: &Segments) -> Segments {
        match self {
            Self::Between(bytes) => bytes.into(),
            Self::Part(part) => content.slice(part),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Segments;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Segments>, io::Error>>> {
        self.poll_next(context, usize::MAX).map(|next| next.map(|segments| segments.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Up to three pieces that are sent as one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segments([Bytes; 3]);

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
            let (mut rest, mut seen) = (segments(), Vec::new());
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
