//! The socket of a connection to an application.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
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
pub(super) enum AppStream {
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
                Ok(Self::Tcp(stream))
            }
            ApplicationAddress::Unix(path) => loop {
                match UnixStream::connect(path).await {
                    // Its queue is full: unlike TCP, Linux has nobody wait then (unix(7)).
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(CROWDED).await,
                    connected => return Ok(Self::Unix(connected?)),
                }
            },
        }
    }

    /// As [`AsyncRead::poll_read`] has it.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }

    /// The same behind what lies in `buffer`; how many bytes were read.
    pub(super) fn poll_read_buf(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => pin!(stream.read_buf(buffer)).poll(context),
            Self::Unix(stream) => pin!(stream.read_buf(buffer)).poll(context),
        }
    }

    /// As [`AsyncWrite::poll_write_vectored`] has it.
    pub(super) fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    /// The stream, for a tunnel.
    pub(super) fn into_tunnel(self) -> Box<dyn TunnelStream> {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            Self::Unix(stream) => Box::new(stream),
        }
    }
}
