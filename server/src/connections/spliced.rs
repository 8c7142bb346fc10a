//! A plain stream that lets the kernel send what lies in a package, without copying it here.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use super::Marks;

/// From this length on, a system call of its own is cheaper than a copy.
const WORTH_IT: usize = 32 * 1024;
/// `MSG_MORE` of Linux: what follows goes into the same segments.
const MORE: i32 = 0x8000;

/// A TCP stream that knows from which package its responses come.
#[derive(Debug)]
pub(crate) struct Spliced {
    stream: TcpStream,
    marks: Arc<Marks>,
}

impl Spliced {
    pub(crate) fn new(stream: TcpStream, marks: Arc<Marks>) -> Self {
        Self { stream, marks }
    }

    /// Sends the first part from the package's file, if it is long and lies there.
    fn send_file(&self, context: &mut Context<'_>, part: &[u8]) -> Poll<Option<io::Result<usize>>> {
        let Some(site) = self.marks.site().filter(|_| part.len() >= WORTH_IT) else { return Poll::Ready(None) };
        let Some((file, offset)) = site.position(part) else { return Poll::Ready(None) };
        let send = || {
            let mut at = offset;
            Ok(rustix::fs::sendfile(&self.stream, file, Some(&mut at), part.len())?)
        };
        self.try_write(context, send).map(Some)
    }

    fn try_write(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match self.stream.try_io(Interest::WRITABLE, &mut write) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncRead for Spliced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Spliced {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let long = parts.iter().position(|part| part.len() >= WORTH_IT);
        match long {
            None => {}
            Some(0) => {
                if let Some(sent) = ready!(self.send_file(context, &parts[0])) {
                    return Poll::Ready(sent);
                }
            }
            // A write may take less than it is offered: the head goes first, and the file when hyper offers the rest.
            Some(at) if self.marks.site().is_some() => {
                let socket = SockRef::from(&self.stream);
                return self.try_write(context, || socket.send_vectored_with_flags(&parts[..at], MORE));
            }
            Some(_) => {}
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
