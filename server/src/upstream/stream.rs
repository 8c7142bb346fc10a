//! The socket of a connection to an application.

use std::{
    io::{self, IoSlice},
    path::Path,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::sleep,
};

use crate::{application::ApplicationAddress, connections::TunnelStream};

/// How long a Unix socket whose queue is full is left alone.
const CROWDED: Duration = Duration::from_millis(5);

/// A stream to an application on this machine.
#[derive(Debug)]
pub(super) struct AppStream {
    socket: AppSocket,
    /// Whether the kernel takes what is written first, without being asked whether it does: it has connected the socket at once, while the
    /// runtime learns only when it waits next that the socket may be written to.
    is_ready: bool,
}

#[derive(Debug)]
enum AppSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AppStream {
    /// A new connection, however long that takes.
    ///
    /// # Errors
    /// What the operating system says of the address.
    pub(super) async fn connect(address: &ApplicationAddress) -> io::Result<Self> {
        match address {
            ApplicationAddress::Tcp(addresses) => {
                let stream = TcpStream::connect(&addresses[..]).await?;
                stream.set_nodelay(true)?;
                Ok(Self { socket: AppSocket::Tcp(stream), is_ready: false })
            }
            ApplicationAddress::Unix(path) => loop {
                match connect_unix(path) {
                    // Its queue is full: unlike TCP, Linux lets no client wait then (unix(7)).
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(CROWDED).await,
                    connected => return Ok(Self { socket: AppSocket::Unix(connected?), is_ready: true }),
                }
            },
        }
    }

    /// As [`AsyncRead::poll_read`] has it.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            AppSocket::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            AppSocket::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }

    /// Whether neither bytes nor the end have come, as the kernel says: the runtime learns what has come only when it waits next.
    pub(super) fn is_silent(&self) -> bool {
        let mut byte = [0_u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = match &self.socket {
            AppSocket::Tcp(stream) => recv(stream, &mut byte[..], flags),
            AppSocket::Unix(stream) => recv(stream, &mut byte[..], flags),
        };
        matches!(peeked, Err(Errno::AGAIN))
    }

    /// The same as [`poll_read`](Self::poll_read), behind what lies in `buffer`; how many bytes were read.
    pub(super) fn poll_read_buf(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            AppSocket::Tcp(stream) => pin!(stream.read_buf(buffer)).poll(context),
            AppSocket::Unix(stream) => pin!(stream.read_buf(buffer)).poll(context),
        }
    }

    /// As [`AsyncWrite::poll_write_vectored`] has it.
    pub(super) fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            AppSocket::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            AppSocket::Unix(stream) => {
                if std::mem::take(&mut self.is_ready)
                    && let Ok(written) = rustix::io::writev(&*stream, parts)
                {
                    return Poll::Ready(Ok(written));
                }
                // What failed is found again, unless it is to be waited for.
                Pin::new(stream).poll_write_vectored(context, parts)
            }
        }
    }

    /// The stream, for a tunnel.
    pub(super) fn into_tunnel(self) -> Box<dyn TunnelStream> {
        match self.socket {
            AppSocket::Tcp(stream) => Box::new(stream),
            AppSocket::Unix(stream) => Box::new(stream),
        }
    }
}

/// A Unix socket that is connected to `path`.
fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    UnixStream::from_std(socket.into())
}
