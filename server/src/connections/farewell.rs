//! How a connection is closed without losing what was sent.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::activity::Activity;

/// How much a client may still send on a connection that is being closed; a flood is not read to its end.
pub(super) const MOST_SCRAPPED: usize = 1 << 20;

/// Closes this side, then reads until the client closes its own: a socket that is dropped with unread bytes resets the
/// connection, and the client may lose a response it has not read yet (RFC 9112 §9.6). [`Activity`] bounds the time.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    shut: bool,
    /// Whether the client has closed its side.
    ended: bool,
    /// How many bytes came after this side was closed.
    scrapped: usize,
}

impl Farewell {
    /// The client has closed its side already.
    pub(super) fn ended(&mut self) {
        self.ended = true;
    }

    /// Whether this side is closed: all that was written is on its way.
    pub(super) fn is_shut(&self) -> bool {
        self.shut
    }

    /// Ready when the connection can be dropped.
    pub(super) fn poll<S>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        activity: &Activity,
    ) -> Poll<io::Result<()>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = Pin::new(stream);
        if !self.shut {
            ready!(stream.as_mut().poll_shutdown(context))?;
            self.shut = true;
            activity.closed();
        }
        while !self.ended && self.scrapped < MOST_SCRAPPED {
            let mut scrap = [0; 4096];
            let mut scrap = ReadBuf::new(&mut scrap);
            let read = ready!(stream.as_mut().poll_read(context, &mut scrap));
            self.scrapped += scrap.filled().len();
            self.ended = read.is_err() || scrap.filled().is_empty();
        }
        Poll::Ready(Ok(()))
    }
}
