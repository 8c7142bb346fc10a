//! Content that fails is sent as far as it came before the response breaks off.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Content whose error waits for one turn. hyper closes a connection at once when content fails, and drops the head and the
/// content that it has not written yet: a client without a byte of a response may repeat its request.
#[derive(Debug)]
pub(super) struct Parting<B> {
    content: B,
    error: Option<io::Error>,
}

impl<B> Parting<B> {
    pub(super) fn of(content: B) -> Self {
        Self { content, error: None }
    }
}

impl<B: Body<Data = Bytes, Error = io::Error> + Unpin> Body for Parting<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match ready!(Pin::new(&mut self.content).poll_frame(context)) {
            Some(Err(error)) => {
                self.error = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            other => Poll::Ready(other),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.error.is_none() && self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
