//! A TLS stream whose writes leave together: what HTTP/2 calls one write a frame becomes one system call a turn.
//!
//! h2 flushes its stream whenever a frame with content is queued, which would cost a system call for each of many small
//! responses. So frames are sealed into records at once, and the records are kept until the connection's task had its turn:
//! a flush wakes the task once more, and when h2 reads in that turn, as it does in each, the records leave.

use std::{
    io::{self, IoSlice, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::pulse::Pulse;

/// How many bytes of records are kept at most.
const KEPT: usize = 128 * 1024;

/// A TLS stream that keeps its records for a turn.
#[derive(Debug)]
pub(crate) struct Batched<S> {
    stream: Box<TlsStream<S>>,
    kept: usize,
    leaving: Leaving,
    pulse: Arc<Pulse>,
}

/// When the records leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// Nobody asked for it yet.
    Later,
    /// In the turn after this one, for which the task was woken.
    After(u64),
    /// As soon as the client takes more, which wakes the task.
    Blocked,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Batched<S> {
    pub(crate) fn new(mut stream: Box<TlsStream<S>>, pulse: Arc<Pulse>) -> Self {
        stream.get_mut().1.set_buffer_limit(Some(2 * KEPT));
        Self { stream, kept: 0, leaving: Leaving::Later, pulse }
    }

    /// Lets the records leave.
    fn leave(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.kept > 0 {
            self.leaving = Leaving::Blocked;
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.kept = 0;
        }
        self.leaving = Leaving::Later;
        Poll::Ready(Ok(()))
    }

    /// Whether it is time for the records to leave.
    fn due(&self) -> bool {
        match self.leaving {
            Leaving::Later => false,
            Leaving::After(turn) => turn != self.pulse.turn(),
            Leaving::Blocked => true,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Batched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.due()
            && let Poll::Ready(left) = self.leave(context)
        {
            left?;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Batched<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.kept >= KEPT {
            ready!(self.leave(context))?;
        }
        let written = self.stream.get_mut().1.writer().write_vectored(parts)?;
        self.kept += written;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.leaving {
            Leaving::Later if self.kept > 0 => {
                self.leaving = Leaving::After(self.pulse.turn());
                context.waker().wake_by_ref();
                Poll::Ready(Ok(()))
            }
            Leaving::Later | Leaving::After(_) => Poll::Ready(Ok(())),
            Leaving::Blocked => self.leave(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.leave(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
