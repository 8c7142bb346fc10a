//! What a request carries, for a handler that wants it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::{awaited::AwaitedContent, http2::RequestContent};
use crate::activity::{Activity, ContentState};

/// The content of a request, as a stream: no more is read from the client than is asked for here, but for what fits a buffer.
///
/// The client is told to send what it waits to be asked for (`Expect: 100-continue`, RFC 9110 §10.1.1) when the stream is
/// polled first. An error means that the client left, or broke the framing or its own `Content-Length`.
#[derive(Debug, Default)]
pub struct RequestBody(Transport);

#[derive(Debug, Default)]
enum Transport {
    #[default]
    Empty,
    /// On the heap: requests without content are many, and moved about.
    Http1(Box<Http1>),
    Http2(RequestContent),
}

/// That of HTTP/1.
#[derive(Debug)]
struct Http1 {
    incoming: Incoming,
    awaited: AwaitedContent,
    /// Whether its end is known to the connection.
    over: bool,
}

impl RequestBody {
    /// No content.
    pub fn empty() -> Self {
        Self::default()
    }

    pub(super) fn http1(incoming: Incoming, activity: &Arc<Activity>) -> Self {
        if incoming.is_end_stream() {
            activity.content_is(ContentState::Read);
            return Self::empty();
        }
        activity.content_is(ContentState::Unread);
        let awaited = AwaitedContent::new(activity.clone());
        Self(Transport::Http1(Box::new(Http1 { incoming, awaited, over: false })))
    }

    pub(super) fn http2(content: RequestContent) -> Self {
        Self(Transport::Http2(content))
    }

    /// The client may take any time to send: it speaks another protocol.
    pub(super) fn is_patient(&mut self) {
        match &mut self.0 {
            Transport::Empty => {}
            Transport::Http1(content) => content.awaited.is_patient(),
            Transport::Http2(content) => content.is_patient(),
        }
    }

    /// The next bytes or the trailers, in an order of their own.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Transport::Empty => Poll::Ready(None),
            Transport::Http1(content) => content.poll(context),
            Transport::Http2(content) => content.poll(context),
        }
    }
}

impl Http1 {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.incoming).poll_frame(context);
        let came = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        self.awaited.set(polled.is_pending(), came);
        match &polled {
            Poll::Ready(Some(Err(_))) => self.end(ContentState::Broken),
            Poll::Ready(None) => self.end(ContentState::Read),
            // Where the length was announced, nothing tells the end but the last byte.
            Poll::Ready(Some(Ok(_))) if self.incoming.is_end_stream() => self.end(ContentState::Read),
            _ => {}
        }
        polled.map(|next| next.map(|frame| frame.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))))
    }

    fn end(&mut self, content: ContentState) {
        self.over = true;
        self.awaited.activity.content_is(content);
    }
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.poll(context)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Transport::Empty => true,
            Transport::Http1(content) => content.over || content.incoming.is_end_stream(),
            Transport::Http2(content) => content.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Transport::Empty => SizeHint::with_exact(0),
            Transport::Http1(content) => content.incoming.size_hint(),
            Transport::Http2(content) => content.left().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
