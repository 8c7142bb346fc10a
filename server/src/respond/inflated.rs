//! A response that is inflated while it is sent.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Sleep, sleep};

use super::inflating::{Full, Room};
use crate::{
    body::{Segments, Source},
    site::Damaged,
};

/// Parts of what a deflate stream inflates to, and what stands between them.
#[derive(Debug)]
pub(crate) struct Inflated {
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

/// What came of looking for the next bytes to send.
enum Step {
    Piece(Bytes),
    /// Content that no request asked for.
    Skipped,
    /// Nothing yet: others inflate.
    NoRoom,
    Over,
}

impl Inflated {
    /// Parts of what `packed` inflates to, `size` bytes in all, which must lie inside and behind each other, and what stands
    /// between them.
    pub(crate) fn new(packed: Bytes, size: u64, room: Room, runs: VecDeque<Run>) -> Self {
        Self { packed, size, room, runs, waits: None }
    }

    /// How many bytes it gives.
    pub(crate) fn length(&self) -> u64 {
        self.runs.iter().map(Run::length).sum()
    }

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
        let piece = match self.room.next(&self.packed, self.size, part, most) {
            Ok(piece) => piece?,
            Err(Full) => return Ok(Step::NoRoom),
        };
        if part.is_empty() {
            self.runs.pop_front();
        }
        Ok(if piece.is_empty() { Step::Skipped } else { Step::Piece(piece) })
    }
}

impl Source for Inflated {
    fn poll_next(&mut self, context: &mut Context<'_>, most: usize) -> Poll<Option<io::Result<Segments>>> {
        for _ in 0..SKIP_AT_ONCE {
            match self.step(most) {
                Ok(Step::Skipped) => {}
                Ok(Step::Piece(piece)) => return Poll::Ready(Some(Ok(piece.into()))),
                Ok(Step::Over) => return Poll::Ready(None),
                Ok(Step::NoRoom) => {
                    let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(AGAIN)));
                    ready!(waits.as_mut().poll(context));
                    self.waits = None;
                }
                Err(damaged) => return Poll::Ready(Some(Err(io::Error::other(damaged)))),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
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
