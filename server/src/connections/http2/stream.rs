//! One request and its response.

use std::{cell::RefCell, mem};

use tokio::time::Instant;

use super::{frame::ErrorCode, priority::Priority, request::Head, window::Window};
use crate::{
    account::Account,
    connections::farewell::MOST_SCRAPPED,
    respond::{Body, body::Segments},
};

/// The most that is read of a request's content, which no page wants.
const MOST: u64 = MOST_SCRAPPED as u64;

/// A stream that is not closed (RFC 9113 §5.1).
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// What the client has room for.
    pub(super) window: Window,
    pub(super) priority: Priority,
    /// What still comes of the request; none if it has ended.
    pub(super) content: Option<Content>,
    pub(super) state: State,
}

/// How far a request is.
#[derive(Debug)]
pub(super) enum State {
    /// It waits for its response.
    Asked(Head),
    /// Its response is being sent.
    Answered(Answer),
    /// Nothing is left of it.
    Over,
}

/// What is left of a response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Body,
    /// What the body has given last, and is not sent yet.
    pub(super) piece: Segments,
    pub(super) account: Option<Account>,
}

/// The content of a request: read to its end within bounds.
///
/// A response may end before its request does, and the stream is reset without an error then (§8.1). Widespread versions of
/// curl take that reset for a failure, and never show the response. Over HTTP/1.1 the connection is closed instead, in stages
/// (RFC 9112 §9.6).
#[derive(Debug)]
pub(super) struct Content {
    announced: Option<u64>,
    came: u64,
    /// What the client may still send.
    room: u32,
    /// When that is enough.
    pub(super) until: Instant,
}

/// What the client may send before it is told of more room (§6.9.2).
pub(super) const ROOM: u32 = 65_535;

thread_local! {
    /// Room for the streams of a connection, which one that waits does not keep.
    static SPARE: RefCell<Vec<Stream>> = const { RefCell::new(Vec::new()) };
}

/// More room than for so many is given back.
const MOST_SPARE: usize = 32;

/// Room for streams where there was none.
pub(super) fn room() -> Vec<Stream> {
    SPARE.take()
}

/// Leaves room that is not needed any more to the next one.
pub(super) fn leave(room: Vec<Stream>) {
    if room.is_empty() && room.capacity() <= MOST_SPARE {
        SPARE.set(room);
    }
}

impl Stream {
    /// A request that has come, with the content that is to follow.
    pub(super) fn new(id: u32, window: Window, head: Head, content: Option<Content>) -> Self {
        let priority = Priority::of(head.request.headers());
        Self { id, window, priority, content, state: State::Asked(head) }
    }

    /// The request, once, if it waits for its response.
    pub(super) fn asked(&mut self) -> Option<Head> {
        if !matches!(self.state, State::Asked(_)) {
            return None;
        }
        match mem::replace(&mut self.state, State::Over) {
            State::Asked(head) => Some(head),
            _ => None,
        }
    }

    /// Whether nothing more is waited for of the request.
    pub(super) fn is_read(&self) -> bool {
        self.content.as_ref().is_none_or(Content::is_enough)
    }
}

impl Content {
    pub(super) fn new(announced: Option<u64>, until: Instant) -> Self {
        Self { announced, came: 0, room: ROOM, until }
    }

    /// Takes `content`, which counts `length` with its padding.
    ///
    /// # Errors
    /// The stream error, of content that is longer than announced (§8.1.1) or than there was room for (§6.9.1).
    pub(super) fn take(&mut self, content: usize, length: usize) -> Result<(), ErrorCode> {
        self.came += content as u64;
        if self.announced.is_some_and(|announced| self.came > announced) {
            return Err(ErrorCode::Protocol);
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.room = self.room.checked_sub(length).ok_or(ErrorCode::FlowControl)?;
        Ok(())
    }

    /// Whether it may end here.
    pub(super) fn may_end(&self) -> bool {
        self.announced.is_none_or(|announced| announced == self.came)
    }

    /// How much more room the client is to be told of.
    pub(super) fn more_room(&mut self) -> Option<u32> {
        let more = ROOM - self.room;
        (more > ROOM / 2 && self.came < MOST).then(|| {
            self.room = ROOM;
            more
        })
    }

    /// Whether enough was read of it.
    fn is_enough(&self) -> bool {
        self.came >= MOST || Instant::now() >= self.until
    }
}
