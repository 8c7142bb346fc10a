//! A plain stream that lets the kernel send what lies mapped from a file, without copying it here.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{flags::RequestFlags, tcp::Tcp, writable::poll_writable};

/// From this length on, a system call of its own is cheaper than a copy.
const WORTH_IT: usize = 32 * 1024;

/// A client that has taken so much from files is one that reads.
const PROVEN: usize = 512 * 1024;

/// How much may wait unsent for a client that reads: with the bound for others, `UNSENT` of the listener, the kernel would
/// ask for a file in so small pieces that a response of a megabyte costs more than twice as much.
const UNSENT_IF_PROVEN: u32 = 512 * 1024;

/// A TCP stream that knows where its responses lie.
#[derive(Debug)]
pub(crate) struct Spliced {
    stream: TcpStream,
    flags: Arc<RequestFlags>,
    /// Whether the content of the response that is sent lies in the file: what is left of it is sent from there too.
    from_file: bool,
    /// How much has been sent from files, up to [`PROVEN`].
    taken: usize,
}

impl Spliced {
    pub(crate) fn new(stream: TcpStream, flags: Arc<RequestFlags>) -> Self {
        Self { stream, flags, from_file: false, taken: 0 }
    }

    /// Whether these bytes are worth sending from the file: they lie there, are many, and begin with a page. If they do not,
    /// every piece of the kernel's straddles two pages, and a copy is cheaper.
    fn worth_it(&self, part: &[u8]) -> bool {
        const PAGE: u64 = 4096;
        part.len() >= WORTH_IT
            && self
                .flags
                .mapped()
                .is_some_and(|mapped| mapped.position(part).is_some_and(|(_, offset)| offset % PAGE == 0))
    }

    /// Sends bytes from the package's file; `None` if they do not lie there.
    fn send_file(&self, context: &mut Context<'_>, part: &[u8]) -> Poll<Option<io::Result<usize>>> {
        let Some(mapped) = self.flags.mapped() else { return Poll::Ready(None) };
        let Some((file, offset)) = mapped.position(part) else { return Poll::Ready(None) };
        let send = || {
            let mut at = offset;
            Ok(rustix::fs::sendfile(&self.stream, file, Some(&mut at), part.len())?)
        };
        poll_writable(&self.stream, context, send).map(Some)
    }

    fn has_taken(&mut self, sent: usize) {
        if self.taken < PROVEN {
            self.taken = self.taken.saturating_add(sent);
            if self.taken >= PROVEN {
                // Without it everything is sent all the same, in smaller pieces.
                let _ = SockRef::from(&self.stream).set_tcp_notsent_lowat(UNSENT_IF_PROVEN);
            }
        }
    }

    /// Sends what stands before a file's bytes, in one segment with the first of them (`MSG_MORE`).
    ///
    /// Not with `TCP_CORK`: with it the kernel holds back what is no full segment after each piece of the file, and a
    /// response of a megabyte costs twice as much.
    fn send_before_file(&self, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let send = || {
            Ok(sendmsg(
                &self.stream,
                parts,
                &mut SendAncillaryBuffer::default(),
                SendFlags::MORE | SendFlags::NOSIGNAL,
            )?)
        };
        poll_writable(&self.stream, context, send)
    }
}

impl Tcp for Spliced {
    fn poll_stirs(&self, context: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_stirs(context)
    }

    fn has_left(&self) -> bool {
        self.stream.has_left()
    }

    fn reset_when_dropped(&self) {
        self.stream.reset_when_dropped();
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
        match parts.iter().position(|part| part.len() >= WORTH_IT) {
            Some(0) if self.from_file || self.worth_it(&parts[0]) => {
                self.from_file = true;
                if let Some(sent) = ready!(self.send_file(context, &parts[0])) {
                    self.has_taken(*sent.as_ref().unwrap_or(&0));
                    return Poll::Ready(sent);
                }
            }
            // A write may take less than it is offered: the head goes first, and the file when hyper offers the rest.
            Some(at) if at > 0 && self.worth_it(&parts[at]) => {
                self.from_file = true;
                return self.send_before_file(context, &parts[..at]);
            }
            _ => {}
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.from_file = false;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
