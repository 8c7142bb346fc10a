//! The TLS session of a connection: what came is looked at where it lies, and nothing is sealed before it can leave.
//!
//! tokio-rustls, which shakes hands, would seal what it is given and keep what the kernel does not take. A thousand clients
//! that stop reading would each have that, and the kernel's buffers too.

use std::{
    io::{self, BufRead, IoSlice, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{rustls::ServerConnection, server::TlsStream};

use super::{tcp::Tcp, writable::poll_writable};

/// Bytes that are encrypted between two questions to the kernel whether it takes more. Once it does, it takes that much at least.
const UNASKED: usize = 32 * 1024;

/// A session whose handshake is over.
#[derive(Debug)]
pub(super) struct Session {
    socket: TcpStream,
    tls: Box<ServerConnection>,
    /// Bytes that were sealed since the kernel was asked.
    unasked: usize,
    /// Whether the client was told that nothing more comes.
    shut: bool,
}

/// The socket, as rustls wants to read and write it.
struct Socket<'a, 'b>(&'a mut TcpStream, &'a mut Context<'b>);

impl Session {
    pub(super) fn new(stream: TlsStream<TcpStream>) -> Self {
        let (socket, mut tls) = stream.into_inner();
        // What is written is taken when nothing waits, and in so large pieces.
        tls.set_buffer_limit(Some(UNASKED));
        Self { socket, tls: Box::new(tls), unasked: 0, shut: false }
    }

    /// Takes all that is to be sealed, however much.
    pub(super) fn unbounded(mut self) -> Self {
        self.tls.set_buffer_limit(None);
        self
    }

    /// What the client and the server agreed to speak (RFC 7301).
    pub(super) fn protocol(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// What came and was not used yet.
    pub(super) fn received(&mut self) -> &[u8] {
        // There is none, or the client is done, or was cut off: the reader that waits for more is woken.
        self.tls.reader().into_first_chunk().unwrap_or_default()
    }

    /// So many bytes of it were used.
    pub(super) fn used(&mut self, bytes: usize) {
        self.tls.reader().consume(bytes);
    }

    /// Waits for more; ready with how many bytes were read, 0 for the end.
    pub(super) fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.tls.read_tls(&mut Socket(&mut self.socket, context)) {
            Ok(0) => Poll::Ready(Ok(0)),
            Ok(bytes) => {
                if let Err(error) = self.tls.process_new_packets() {
                    // An alert says so to the client, if it can be sent at once.
                    let _ = self.poll_send(context, |_| {});
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
                Poll::Ready(Ok(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Ready when the kernel takes more. What is sealed before that would be kept here.
    pub(super) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unasked < UNASKED {
            return Poll::Ready(Ok(()));
        }
        // Tokio knows only that it did so at the last write.
        let ask = || if takes_more(&self.socket) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) };
        ready!(poll_writable(&self.socket, context, ask))?;
        self.unasked = 0;
        Poll::Ready(Ok(()))
    }

    /// Seals these bytes, to be sent with the next [`poll_send`](Self::poll_send); returns how many were taken.
    pub(super) fn seal(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = self.tls.writer().write_vectored(parts)?;
        self.unasked += taken;
        Ok(taken)
    }

    /// Sends what is sealed; ready when all of it is. `sent` is told of each part.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>, mut sent: impl FnMut(u64)) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Socket(&mut self.socket, context)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(bytes) => sent(bytes as u64),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether a socket takes more now.
fn takes_more(socket: &TcpStream) -> bool {
    let mut asked = [PollFd::new(socket, PollFlags::OUT)];
    // One that is broken says so when it is written to.
    !matches!(poll(&mut asked, Some(&Timespec::default())), Ok(0))
}

impl Tcp for Session {
    fn poll_stirs(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_stirs(context)
    }

    fn has_left(&self) -> bool {
        self.socket.has_left()
    }

    fn reset_when_dropped(&self) {
        self.socket.reset_when_dropped();
    }
}

impl AsyncRead for Session {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let received = self.received();
            if !received.is_empty() {
                let length = received.len().min(buffer.remaining());
                buffer.put_slice(&received[..length]);
                self.used(length);
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_more(context))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Session {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(context, |_| {}))?;
        ready!(self.poll_room(context))?;
        let taken = self.seal(parts)?;
        // What does not leave now leaves before anything else.
        let _ = self.poll_send(context, |_| {})?;
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(context, |_| {})
    }

    /// Says that nothing more comes (RFC 8446 §6.1), and closes this side.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            self.shut = true;
            self.tls.send_close_notify();
        }
        ready!(self.poll_send(context, |_| {}))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// What is not ready is an error of its own kind in [`Read`] and [`Write`].
fn done<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Socket<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        done(Pin::new(&mut *self.0).poll_read(self.1, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl Write for Socket<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        done(Pin::new(&mut *self.0).poll_write(self.1, bytes))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        done(Pin::new(&mut *self.0).poll_write_vectored(self.1, parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
