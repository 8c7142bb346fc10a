//! The content of an event stream, which ends when the process that sends it is replaced.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;

/// Content of an event stream (HTML §9.2), passed until its application goes. Then it ends whole: its client drops an event that is not
/// complete, and connects again, which leads it to the process that follows. Cut off, the stream would be an error to some clients.
pub(super) struct EventStream<B> {
    /// None once the application has gone; with it the connection to the application closes.
    content: Option<B>,
    /// Resolves when the application goes.
    parts: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<B> EventStream<B> {
    /// That content, until `parting` changes.
    pub(super) fn of(content: B, mut parting: watch::Receiver<()>) -> Self {
        let parts = async move {
            if parting.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        Self { content: Some(content), parts: Box::pin(parts) }
    }
}

impl<B: Body + Unpin> Body for EventStream<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        // Asked first: a stream that always has something to send would not end otherwise.
        if self.content.is_some() && self.parts.as_mut().poll(context).is_ready() {
            self.content = None;
        }
        match &mut self.content {
            Some(content) => Pin::new(content).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.content.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.content.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
