//! The content of an HTTP/2 request, which no page wants to know: read to its end all the same, within bounds.
//!
//! A response may end before its request does, and the stream is reset without an error then (RFC 9113 §8.1). Widespread
//! versions of curl take that reset for a failure, and never show the response. Over HTTP/1.1 the connection is closed instead,
//! in stages (RFC 9112 §9.6).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body as _, Incoming};
use tokio::time::{Sleep, sleep};

/// Bytes that are read and thrown away; as many as over HTTP/1.1.
const MOST: usize = 1 << 20;

/// What still comes of a request that is answered.
#[derive(Debug)]
pub(crate) struct Unread {
    content: Incoming,
    left: usize,
    until: Pin<Box<Sleep>>,
}

impl Unread {
    /// What comes of `content` within `patience`; none if nothing comes.
    pub(crate) fn of(content: Incoming, patience: Duration) -> Option<Self> {
        (!content.is_end_stream()).then(|| Self { content, left: MOST, until: Box::pin(sleep(patience)) })
    }

    /// Ready when there is nothing more to be read, or when that is enough.
    pub(crate) fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let Some(Ok(frame)) = ready!(Pin::new(&mut self.content).poll_frame(context)) else {
                return Poll::Ready(());
            };
            let length = frame.data_ref().map_or(0, bytes::Bytes::len);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => return Poll::Ready(()),
            }
        }
    }
}
