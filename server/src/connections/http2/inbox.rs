//! The content of one request on its way from its connection to the handler that reads it.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::Frame;

use crate::{activity::Activity, connections::awaited::AwaitedContent};

/// How much is given to a handler at once: what has left the window may lie in memory for as long as the handler works at it.
const PIECE: usize = 64 * 1024;

/// What came and was not read: never more than the stream's window. The handler may read it in a task of its own.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<InboxState>);

#[derive(Debug, Default)]
struct InboxState {
    /// What came last, in one buffer, however small the frames were.
    unread: BytesMut,
    /// What came before that, and how many bytes all of it are.
    before: VecDeque<Bytes>,
    bytes: usize,
    trailers: Option<HeaderMap>,
    end: ContentEnd,
    /// How much the request says is still to be read.
    left: Option<u64>,
    /// Whether the client waits to be asked for the content, and whether it is to be asked.
    expects: bool,
    asks: bool,
    /// Whether the handler reads no more.
    dropped: bool,
    reader: Option<Waker>,
    connection: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ContentEnd {
    /// More is to come.
    #[default]
    Open,
    Whole,
    /// The stream was reset or its connection lost.
    Cut,
    /// The handler knows.
    Told,
}

/// What the connection sees of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) unread: usize,
    pub(super) dropped: bool,
    /// Whether the client is to be told to go on (RFC 9110 §10.1.1); said once.
    pub(super) asks: bool,
}

impl Inbox {
    /// That of a request which announces so many bytes, and sends them only if it is asked to.
    pub(super) fn new(announced: Option<u64>, expects: bool) -> Arc<Self> {
        Arc::new(Self(Mutex::new(InboxState { left: announced, expects, ..InboxState::default() })))
    }

    fn state(&self) -> MutexGuard<'_, InboxState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes content; `false` if no handler reads it.
    pub(super) fn push(&self, content: &[u8]) -> bool {
        let mut state = self.state();
        if state.dropped {
            return false;
        }
        if !content.is_empty() {
            state.expects = false;
            state.push(content);
            state.wake_reader();
        }
        true
    }

    /// The content is whole.
    pub(super) fn end(&self, trailers: Option<HeaderMap>) {
        self.close(ContentEnd::Whole, trailers);
    }

    /// There will be no more of it, whole or not.
    pub(super) fn cut(&self) {
        self.close(ContentEnd::Cut, None);
    }

    fn close(&self, end: ContentEnd, trailers: Option<HeaderMap>) {
        let mut state = self.state();
        if state.end == ContentEnd::Open {
            state.end = end;
            state.trailers = trailers.filter(|_| !state.dropped);
            state.wake_reader();
        }
    }

    /// How much of it is unread.
    pub(super) fn unread(&self) -> usize {
        self.state().bytes
    }

    /// Looks what has become of it; the task comes again when more has.
    pub(super) fn look(&self, context: &Context<'_>) -> Look {
        let mut state = self.state();
        if !state.connection.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.connection = Some(context.waker().clone());
        }
        Look { unread: state.bytes, dropped: state.dropped, asks: std::mem::take(&mut state.asks) }
    }
}

impl InboxState {
    fn push(&mut self, content: &[u8]) {
        if !self.unread.is_empty() && self.unread.len() + content.len() > PIECE {
            self.before.push_back(std::mem::take(&mut self.unread).freeze());
        }
        self.unread.extend_from_slice(content);
        self.bytes += content.len();
    }

    /// The next piece, if anything is unread.
    fn pop(&mut self) -> Option<Bytes> {
        // All of it: what is split off keeps the rest of its memory.
        let piece = self.before.pop_front().unwrap_or_else(|| std::mem::take(&mut self.unread).freeze());
        self.bytes -= piece.len();
        (!piece.is_empty()).then_some(piece)
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn wake_connection(&self) {
        if let Some(connection) = &self.connection {
            connection.wake_by_ref();
        }
    }
}

/// The handler's side.
#[derive(Debug)]
pub(crate) struct RequestContent {
    inbox: Arc<Inbox>,
    awaited: AwaitedContent,
}

impl RequestContent {
    pub(super) fn new(inbox: Arc<Inbox>, activity: Arc<Activity>) -> Self {
        Self { inbox, awaited: AwaitedContent::new(activity) }
    }

    /// The client may take any time to send.
    pub(in crate::connections) fn is_patient(&mut self) {
        self.awaited.is_patient();
    }

    /// What came and was not read, then the trailers.
    pub(in crate::connections) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut state = self.inbox.state();
        if let Some(content) = state.pop() {
            state.left = state.left.map(|left| left.saturating_sub(content.len() as u64));
            // The client may be told of more room.
            state.wake_connection();
            self.awaited.set(false, content.len());
            return Poll::Ready(Some(Ok(Frame::data(content))));
        }
        self.awaited.set(state.end == ContentEnd::Open, 0);
        match state.end {
            ContentEnd::Open => {
                state.reader = Some(context.waker().clone());
                if std::mem::take(&mut state.expects) {
                    state.asks = true;
                    state.wake_connection();
                }
                Poll::Pending
            }
            ContentEnd::Whole => {
                state.end = ContentEnd::Told;
                Poll::Ready(state.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            ContentEnd::Cut => {
                state.end = ContentEnd::Told;
                let why = "the stream was reset or the connection ended before the content did";
                Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, why))))
            }
            ContentEnd::Told => Poll::Ready(None),
        }
    }

    /// Whether all of it was read.
    pub(in crate::connections) fn is_over(&self) -> bool {
        let state = self.inbox.state();
        let whole = state.end == ContentEnd::Whole && state.trailers.is_none();
        state.bytes == 0 && (whole || state.end == ContentEnd::Told)
    }

    /// How much is still to be read, if the request says so.
    pub(in crate::connections) fn left(&self) -> Option<u64> {
        self.inbox.state().left
    }
}

impl Drop for RequestContent {
    fn drop(&mut self) {
        let mut state = self.inbox.state();
        state.dropped = true;
        state.before = VecDeque::new();
        state.unread = BytesMut::new();
        state.bytes = 0;
        state.trailers = None;
        state.wake_connection();
    }
}
