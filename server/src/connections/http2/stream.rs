//! One request and its response.

use std::{
    cell::RefCell,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use http::{HeaderMap, Response};
use tokio::time::Instant;

use super::{
    frame::ErrorCode,
    inbox::Inbox,
    priority::Priority,
    receive_window::{self, ConnectionWindow, StreamWindow},
    request::RequestHead,
    waits::Waits,
    window::Window,
};
use crate::{
    activity::Account,
    body::{Body, Segments},
    connections::{farewell::MOST_SCRAPPED, handler::Later},
    semantics::target::ExtendedConnect,
};

/// The most that is read of a request's content that no handler wants.
const MOST: u64 = MOST_SCRAPPED as u64;

/// A stream that is not closed (RFC 9113 §5.1).
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// What the client has room for.
    pub(super) window: Window,
    pub(super) priority: Priority,
    /// What still comes of the request; none if it has ended.
    pub(super) content: Option<Upload>,
    /// Where the handler reads it; none if it does not.
    pub(super) inbox: Option<Arc<Inbox>>,
    pub(super) state: State,
}

/// The content that will not be sent any more.
impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(inbox) = &self.inbox {
            inbox.cut();
        }
    }
}

/// How far a request is.
#[derive(Debug)]
pub(super) enum State {
    /// It was not looked at.
    Asked(RequestHead),
    /// Its handler works out the response.
    PendingResponse(PendingResponse),
    /// Its response is being sent.
    Answered(Sending),
    /// Nothing is left of it.
    Over,
}

/// A response that is not known yet.
pub(super) struct PendingResponse {
    respond: Later,
    waits: Waits,
}

/// What is left of a response.
#[derive(Debug)]
pub(super) struct Sending {
    /// What its body waits for, if that is a stream.
    pub(super) waits: Option<Waits>,
    pub(super) body: Body,
    /// What the body has given last, and is not sent yet.
    pub(super) piece: Segments,
    pub(super) account: Option<Account>,
}

/// The content of a request: its handler's, or else read to its end within bounds.
///
/// A response may end before its request does, and the stream is reset without an error then (§8.1). Widespread versions of
/// curl take that reset for a failure, and never show the response. Over HTTP/1.1 the connection is closed instead, in stages
/// (RFC 9112 §9.6).
#[derive(Debug)]
pub(super) struct Upload {
    announced: Option<u64>,
    came: u64,
    /// How much of that no handler wanted.
    scrapped: u64,
    /// What the client may send.
    window: StreamWindow,
    /// When the unwanted content is enough; none while the handler has the content.
    until: Option<Instant>,
    /// Whether it is one side of a tunnel, which ends with the other.
    tunnels: bool,
}

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
    pub(super) fn new(id: u32, window: Window, head: RequestHead, mut content: Option<Upload>) -> Self {
        if let Some(content) = &mut content {
            content.tunnels = head.request.extensions().get::<ExtendedConnect>().is_some();
        }
        let priority = Priority::of(head.request.headers());
        let inbox = content.as_ref().map(|_| Inbox::new(head.announced, head.expects()));
        Self { id, window, priority, content, inbox, state: State::Asked(head) }
    }

    /// The request, once, if it was not looked at.
    pub(super) fn asked(&mut self) -> Option<RequestHead> {
        if !matches!(self.state, State::Asked(_)) {
            return None;
        }
        match mem::replace(&mut self.state, State::Over) {
            State::Asked(head) => Some(head),
            _ => None,
        }
    }

    /// How much of its content is unread, in bytes.
    pub(super) fn unread(&self) -> usize {
        self.inbox.as_ref().map_or(0, |inbox| inbox.unread())
    }

    /// How many bytes beyond those of a first window may come to lie unread, where so many do: none, if no handler reads them.
    pub(super) fn reserved(&self, unread: usize) -> usize {
        match (&self.inbox, &self.content) {
            (None, _) => 0,
            (Some(_), None) => receive_window::beyond_first(unread),
            (Some(_), Some(content)) => content.window.reserved(unread, content.to_come()),
        }
    }

    /// Whether it is worth measuring a round trip for content that comes and is read.
    pub(super) fn wants_measure(&self) -> bool {
        self.inbox.is_some() && self.content.as_ref().is_some_and(Upload::wants_measure)
    }

    /// Whether nothing more is waited for of the request.
    pub(super) fn is_read(&self) -> bool {
        self.content.as_ref().is_none_or(Upload::is_enough)
    }

    /// Once the response is sent, a handler may read on, but for no longer than `time`, as only the handler still waits for it. Says until when.
    pub(super) fn let_go(&mut self, time: Duration) -> Option<Instant> {
        let State::Answered(answer) = &mut self.state else { return None };
        if !answer.is_sent() {
            return None;
        }
        answer.account = None;
        self.content.as_mut().map(|content| content.let_go(time))
    }

    /// The response comes later; until then the handler may read the content.
    pub(super) fn awaits(&mut self, respond: Later, context: &Context<'_>) {
        if let Some(content) = &mut self.content {
            content.until = None;
        }
        self.state = State::PendingResponse(PendingResponse { respond, waits: Waits::new(context) });
    }

    /// What the handler has its client told before the response.
    pub(super) fn hints(&self) -> Vec<HeaderMap> {
        match &self.state {
            State::PendingResponse(PendingResponse { respond, .. }) => respond.hints(),
            _ => Vec::new(),
        }
    }

    /// The response, once it is known.
    pub(super) fn poll_response(&mut self, context: &Context<'_>) -> Poll<Response<Body>> {
        match &mut self.state {
            State::PendingResponse(PendingResponse { respond, waits, .. }) => {
                waits.poll(context, |context| Pin::new(respond).poll(context))
            }
            _ => Poll::Pending,
        }
    }

    /// Says whether the response waits for the server or for its client.
    pub(super) fn note_waiting(&mut self, room: usize) {
        let room = room.min(self.window.room());
        if let State::Answered(answer) = &mut self.state
            && let (Some(waits), Some(account)) = (&answer.waits, &mut answer.account)
        {
            let has_room = room > 0 || answer.body.left() == Some(0);
            account.wait_for_server(has_room && !answer.piece.has_remaining() && !waits.is_woken());
        }
    }
}

impl Sending {
    /// Whether all its content is sent.
    pub(super) fn is_sent(&self) -> bool {
        !self.piece.has_remaining() && self.body.is_over()
    }

    /// Whether its content is as long as it says, and no more than its end is waited for.
    pub(super) fn is_given(&self) -> bool {
        !self.piece.has_remaining() && self.body.left() == Some(0)
    }

    /// Whether its body has nothing to give now.
    pub(super) fn is_waiting(&self) -> bool {
        !self.piece.has_remaining() && self.waits.as_ref().is_some_and(|waits| !waits.is_woken())
    }

    /// What is to be sent next; see [`Body::poll_next`].
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>, most: usize) -> Poll<Option<io::Result<Segments>>> {
        match &mut self.waits {
            None => self.body.poll_next(context, most),
            Some(waits) => {
                let next = waits.poll(context, |context| self.body.poll_next(context, most));
                if let Some(account) = &mut self.account {
                    account.wait_for_server(next.is_pending());
                }
                next
            }
        }
    }
}

impl std::fmt::Debug for PendingResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Awaited").field("waits", &self.waits).finish_non_exhaustive()
    }
}

impl Upload {
    pub(super) fn new(announced: Option<u64>, until: Instant) -> Self {
        Self { announced, came: 0, scrapped: 0, window: StreamWindow::new(), until: Some(until), tunnels: false }
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
        self.window.take(length)
    }

    /// Whether it may end here.
    pub(super) fn may_end(&self) -> bool {
        self.announced.is_none_or(|announced| announced == self.came)
    }

    /// Counts that many bytes of content that no handler wants.
    pub(super) fn scrap(&mut self, content: usize) {
        self.scrapped += content as u64;
    }

    /// How much to enlarge the client's window, given how much of what it sent is unread.
    pub(super) fn more_room(&mut self, unread: usize) -> Option<u32> {
        if self.scrapped < MOST { self.window.more(unread) } else { None }
    }

    /// How many bytes a larger window could be of use for: none of unwanted content, nor of a tunnel, which passes back how slowly it
    /// is read.
    fn of_use(&self) -> u64 {
        if self.scrapped > 0 || self.tunnels { 0 } else { self.to_come() }
    }

    /// How many bytes are still to come; the most that there can be, if that is not known.
    fn to_come(&self) -> u64 {
        self.announced.map_or(u64::MAX, |announced| announced.saturating_sub(self.came))
    }

    fn wants_measure(&self) -> bool {
        self.window.wants_measure(self.of_use())
    }

    /// A round trip begins that is measured.
    pub(super) fn measure(&mut self) {
        self.window.measure();
    }

    /// That round trip is over, and so much is not read yet. What is added to the window is reserved on the connection.
    pub(super) fn measured(&mut self, unread: usize, connection: &mut ConnectionWindow) {
        self.window.measured(unread, self.of_use(), connection);
    }

    /// The rest of the content is unwanted: it is waited for so long from now on, unless it is already. Says until when.
    pub(super) fn let_go(&mut self, time: Duration) -> Instant {
        *self.until.get_or_insert_with(|| Instant::now() + time)
    }

    /// Whether enough was read of it.
    fn is_enough(&self) -> bool {
        self.tunnels || self.scrapped >= MOST || self.until.is_some_and(|until| Instant::now() >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_larger_window_is_for_a_tunnel_or_for_what_nobody_wants() {
        let upload = || {
            let mut upload = Upload::new(None, Instant::now());
            upload.take(20_000, 20_000).unwrap();
            upload
        };
        assert!(upload().wants_measure());
        let tunnel = Upload { tunnels: true, ..upload() };
        let mut unwanted = upload();
        unwanted.scrap(1);
        assert!(!tunnel.wants_measure() && !unwanted.wants_measure());
    }
}
