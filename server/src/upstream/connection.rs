//! A connection to an application: one request is written, and its response read, by the task that answers the client. Nothing drives
//! it beside that, and nothing has to be woken between two parts of it.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use hyper::body::Frame;
use tokio::{
    io::ReadBuf,
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{
    failure::Failure,
    fields,
    lines::Malformed,
    request::RequestWriter,
    response::{ResponseHead, ResponseReader},
    stream::AppStream,
};
use crate::{
    application::{ApplicationAddress, UnderWay},
    connections::{EarlyHints, TunnelStream},
    quota::Held,
};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How much is read at once, unless more content than that is known to come.
const PIECE: usize = 16 * 1024;
/// How much of that is read at once.
const LARGE_PIECE: u64 = 128 * 1024;

thread_local! {
    /// Where all connections of this thread read to: one that waits keeps no room.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
}

/// A connection to an application. It lies on the heap, where it stays from one request to the next.
#[derive(Debug)]
pub(super) struct AppConnection {
    stream: AppStream,
    request: RequestWriter,
    response: ResponseReader,
    /// What was read and not used yet.
    came: Bytes,
    /// Where content is read to that is known to be large.
    large: BytesMut,
    /// Whether a byte of the response has come.
    begun: bool,
    /// Comes no later than the application is late.
    late: Option<Pin<Box<Sleep>>>,
    /// The place of the request that uses it, until its response has come to its end.
    place: Option<Held>,
    /// That request, as an application of a package counts it.
    under_way: UnderWay,
}

impl AppConnection {
    /// A new connection.
    ///
    /// # Errors
    /// As [`Failure::to_connect`] says, [`Failure::ConnectTimeout`] where no process accepts.
    pub(super) async fn open(address: &ApplicationAddress) -> Result<Box<Self>, Failure> {
        let stream = timeout(CONNECT, AppStream::connect(address)).await.map_err(|_| Failure::ConnectTimeout)?;
        let stream = stream.map_err(|error| Failure::to_connect(address, &error))?;
        Ok(Box::new(Self {
            stream,
            request: RequestWriter::default(),
            response: ResponseReader::new(),
            came: Bytes::new(),
            large: BytesMut::new(),
            begun: false,
            late: None,
            place: None,
            under_way: UnderWay::default(),
        }))
    }

    /// Sends a request, and waits for the head of its response, at most for `patience` while the application is waited for. Heads of 103
    /// are given to `hints`; no other 1xx says anything to a client.
    ///
    /// # Errors
    /// Why there is none: [`Failure::Terminated`], [`Failure::Malformed`], [`Failure::Late`], or what is the client's fault.
    pub(super) async fn ask(
        &mut self,
        request: RequestWriter,
        now: Instant,
        patience: Duration,
        hints: Option<&EarlyHints>,
    ) -> Result<Box<ResponseHead>, Failure> {
        self.response.expect(request.is_head());
        self.request = request;
        self.request.begin(now);
        self.begun = false;
        poll_fn(|context| {
            let head = self.poll_head(context, hints);
            if head.is_pending() && self.poll_late(context, patience) {
                return Poll::Ready(Err(Failure::Late));
            }
            head
        })
        .await
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        hints: Option<&EarlyHints>,
    ) -> Poll<Result<Box<ResponseHead>, Failure>> {
        // A response may come before all of its request was sent.
        let _ = self.request.poll_send(&mut self.stream, context)?;
        loop {
            if self.came.is_empty() && ready!(self.poll_read(context)).unwrap_or(0) == 0 {
                return Poll::Ready(Err(Failure::Terminated));
            }
            self.begun = true;
            let Some(head) = self.response.read_head(&mut self.came)? else { continue };
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Ok(head));
            }
            if let Some(hints) = hints.filter(|_| head.status == StatusCode::EARLY_HINTS) {
                hints.give(fields::of_response(*head));
            }
        }
    }

    /// Whether the application was waited for longer than `patience`.
    fn poll_late(&mut self, context: &mut Context<'_>, patience: Duration) -> bool {
        let Some(until) = self.request.since().map(|since| since + patience) else { return false };
        let late = self.late.get_or_insert_with(|| Box::pin(sleep_until(until)));
        // It is only ever brought nearer: as most responses come in time, setting it anew for each would be work for nothing.
        if late.deadline() > until {
            late.as_mut().reset(until);
        }
        while late.as_mut().poll(context).is_ready() {
            if until <= Instant::now() {
                return true;
            }
            late.as_mut().reset(until);
        }
        false
    }

    /// The next content of the response, or its trailers; none at its end. What is left of the request is sent meanwhile.
    ///
    /// # Errors
    /// [`Failure::Terminated`] or [`Failure::Malformed`], or what is the client's fault.
    pub(super) fn poll_content(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        loop {
            if let Some(frame) = self.response.read_content(&mut self.came)? {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.response.is_over() {
                return Poll::Ready(None);
            }
            if !self.request.is_sent() {
                let _ = self.request.poll_send(&mut self.stream, context)?;
            }
            match ready!(self.poll_read(context)) {
                Ok(0) if self.response.end() => return Poll::Ready(None),
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(Failure::Terminated))),
                Ok(_) => {}
            }
        }
    }

    /// Reads what has come; how many bytes that were, 0 at the end of the connection. `came` has to be empty.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let left = self.response.left().unwrap_or(0);
        if left > PIECE as u64 {
            return self.poll_read_large(left, context);
        }
        ROOM.with_borrow_mut(|room| {
            let mut buffer = ReadBuf::new(room);
            ready!(self.stream.poll_read(context, &mut buffer))?;
            self.came = Bytes::copy_from_slice(buffer.filled());
            Poll::Ready(Ok(self.came.len()))
        })
    }

    /// Reads to where the content stays, as a copy of much would cost more than room for it. There is room for a byte more than has to
    /// come: what does not fill it is known to be all that has come, and the kernel is not asked again.
    fn poll_read_large(&mut self, left: u64, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.large.capacity() < PIECE {
            self.large = BytesMut::with_capacity(usize::try_from(left.min(LARGE_PIECE)).unwrap_or(PIECE) + 1);
        }
        let read = ready!(self.stream.poll_read_buf(context, &mut self.large))?;
        self.came = self.large.split().freeze();
        Poll::Ready(Ok(read))
    }

    /// Whether the response has come to its end.
    pub(super) fn is_over(&self) -> bool {
        self.response.is_over()
    }

    /// How many bytes of content are still to come, where their number was said.
    pub(super) fn left(&self) -> Option<u64> {
        self.response.left()
    }

    /// The request, for another connection: one that may be sent again, or of which this one took nothing.
    pub(super) fn take_request(&mut self) -> RequestWriter {
        let mut request = std::mem::take(&mut self.request);
        request.rewind();
        request
    }

    /// Whether nothing of the request was sent.
    pub(super) fn has_taken_nothing(&self) -> bool {
        !self.request.has_begun()
    }

    /// Whether a byte of the last response has come.
    pub(super) fn has_begun_response(&self) -> bool {
        self.begun
    }

    /// Keeps the place of the request that it is used for.
    pub(super) fn keep(&mut self, place: Held) {
        self.place = Some(place);
    }

    /// A request begins to use it.
    pub(super) fn begin(&mut self, request: UnderWay) {
        self.under_way = request;
    }

    /// The request that uses it, to be counted beyond the life of the connection.
    pub(super) fn take_under_way(&mut self) -> UnderWay {
        std::mem::take(&mut self.under_way)
    }

    /// Gives up what was for the last request; whether another may follow it.
    pub(super) fn rest(&mut self) -> bool {
        self.place = None;
        self.under_way = UnderWay::default();
        self.large = BytesMut::new();
        let is_persistent = self.response.is_over() && self.response.is_persistent();
        is_persistent && self.request.is_sent() && self.came.is_empty()
    }

    /// Whether nothing came between two requests: neither bytes, of which no response could begin, nor its end.
    pub(super) fn is_silent(&self) -> bool {
        self.stream.is_silent()
    }

    /// The stream, and what was read of it beyond the head, of an application that has switched to another protocol.
    pub(super) fn into_stream(self) -> (Box<dyn TunnelStream>, Bytes) {
        (self.stream.into_tunnel(), self.came)
    }
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}
