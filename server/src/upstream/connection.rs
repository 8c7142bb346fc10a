//! A connection to an application: hyper's client, driven by the task of the request that uses it, behind a stricter reader.
//!
//! No task of its own drives a connection, so that a request stays in one task, and nothing has to be woken between two.

use std::{
    fmt, io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};

use super::{content::Outgoing, failure::Failure};
use crate::{
    application::{ApplicationAddress, UnderWay},
    connections::{Found, Scan, TunnelStream},
    quota::Held,
};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a Unix socket whose queue is full is left alone.
const CROWDED: Duration = Duration::from_millis(5);
/// The most bytes of a response's head.
const HEAD: usize = 64 * 1024;
/// The most fields of one.
const FIELDS: usize = 256;

/// A connection to an application. It lies on the heap, where it stays from one request to the next.
pub(super) struct AppConnection {
    sender: http1::SendRequest<Outgoing>,
    driver: http1::Connection<TokioIo<Checked>, Outgoing>,
    state: Arc<ReaderState>,
    /// Whether the driver is done.
    ended: bool,
    /// The place of the request that uses it, until its response has come to its end.
    place: Option<Held>,
    /// That request, as an application of a package counts it.
    under_way: UnderWay,
}

/// What the reader of a connection, and who uses it, tell each other.
#[derive(Debug, Default)]
struct ReaderState {
    /// A request was sent whose response is not looked at yet, and whether it is HEAD.
    expects: AtomicBool,
    to_head: AtomicBool,
    /// Whether a byte of that response has come.
    came: AtomicBool,
    /// Whether the last response is whole, with nothing behind it.
    after: AtomicBool,
}

/// What is read of an application, with each byte looked at before hyper sees it.
pub(super) struct Checked {
    stream: Box<dyn TunnelStream>,
    scan: Scan,
    state: Arc<ReaderState>,
}

impl AppConnection {
    /// A new connection.
    ///
    /// # Errors
    /// [`Failure::Refused`] where nobody listens, [`Failure::ConnectTimeout`] where nobody accepts.
    pub(super) async fn open(address: &ApplicationAddress) -> Result<Box<Self>, Failure> {
        let stream = timeout(CONNECT, connect(address)).await.map_err(|_| Failure::ConnectTimeout)?;
        let stream = stream.map_err(|error| {
            let nobody = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound, io::ErrorKind::ConnectionReset];
            if !nobody.contains(&error.kind()) {
                tracing::warn!(%address, %error, "the application cannot be reached; see that this program may use its address");
            }
            Failure::Refused
        })?;
        let state = Arc::new(ReaderState::default());
        let checked = Checked { stream, scan: Scan::of_responses(), state: state.clone() };
        let mut builder = http1::Builder::new();
        builder.max_headers(FIELDS).max_buf_size(HEAD);
        let (sender, driver) = builder.handshake(TokioIo::new(checked)).await.map_err(|_| Failure::Refused)?;
        Ok(Box::new(Self { sender, driver, state, ended: false, place: None, under_way: UnderWay::default() }))
    }

    /// Sends a request, and waits for the head of its response.
    ///
    /// # Errors
    /// hyper's, with the request if nothing of it was sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        self.state.to_head.store(*request.method() == Method::HEAD, Relaxed);
        self.state.came.store(false, Relaxed);
        self.state.after.store(false, Relaxed);
        self.state.expects.store(true, Relaxed);
        let mut response = pin!(self.sender.try_send_request(request));
        std::future::poll_fn(|context| {
            if !self.ended {
                self.ended = self.driver.poll_without_shutdown(context).is_ready();
            }
            response.as_mut().poll(context)
        })
        .await
    }

    /// Has the connection read and write what it can.
    pub(super) fn poll_drive(&mut self, context: &mut Context<'_>) {
        if !self.ended {
            self.ended = self.driver.poll_without_shutdown(context).is_ready();
        }
    }

    /// Whether a byte of the last response has come.
    pub(super) fn has_begun_response(&self) -> bool {
        self.state.came.load(Relaxed)
    }

    /// Keeps the place of the request that it is used for.
    pub(super) fn keep(&mut self, place: Held) {
        self.place = Some(place);
    }

    /// A request begins to use it.
    pub(super) fn begin(&mut self, request: UnderWay) {
        self.under_way = request;
    }

    /// The request that it was used for is over, whose place is given up.
    pub(super) fn give_up_place(&mut self) {
        self.place = None;
        self.under_way = UnderWay::default();
    }

    /// The request that uses it, to be counted beyond the life of the connection.
    pub(super) fn take_under_way(&mut self) -> UnderWay {
        std::mem::take(&mut self.under_way)
    }

    /// Whether the last exchange is over and another may follow. The connection is driven for it.
    pub(super) fn is_idle(&mut self, context: &mut Context<'_>) -> bool {
        self.poll_drive(context);
        !self.ended && self.state.after.load(Relaxed) && self.sender.is_ready()
    }

    /// The stream, and what was read of it beyond the head, of an application that has switched to another protocol.
    pub(super) async fn into_stream(mut self: Box<Self>) -> (Checked, Bytes) {
        std::future::poll_fn(|context| {
            self.poll_drive(context);
            Poll::Ready(())
        })
        .await;
        let parts = self.driver.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }
}

async fn connect(address: &ApplicationAddress) -> io::Result<Box<dyn TunnelStream>> {
    match address {
        ApplicationAddress::Tcp(addresses) => {
            let stream = TcpStream::connect(&addresses[..]).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        ApplicationAddress::Unix(path) => loop {
            match UnixStream::connect(path).await {
                // Its queue is full: unlike TCP, Linux has nobody wait then (unix(7)).
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(CROWDED).await,
                connected => return Ok(Box::new(connected?)),
            }
        },
    }
}

impl fmt::Debug for AppConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AppConnection").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Checked {
    /// Looks at what was just read behind `before`.
    fn look(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let came = &buffer.filled()[before..];
        if came.is_empty() {
            return Ok(());
        }
        if self.state.expects.swap(false, Relaxed) {
            self.scan.expect(self.state.to_head.load(Relaxed));
        }
        self.state.came.store(true, Relaxed);
        let found = self.scan.look(came);
        self.state.after.store(self.scan.is_after(), Relaxed);
        match found {
            Found::Fine => Ok(()),
            Found::Fault(0) | Found::Broken(0) | Found::LongTarget(0) => Err(malformed()),
            // What is fine is passed on; the rest is a fault at the next reading.
            Found::Fault(at) | Found::Broken(at) | Found::LongTarget(at) => {
                buffer.set_filled(before + at);
                Ok(())
            }
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the application's response breaks the rules of HTTP")
}

impl AsyncRead for Checked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.scan.is_faulty() {
            return Poll::Ready(Err(malformed()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        Poll::Ready(this.look(buffer, before))
    }
}

impl AsyncWrite for Checked {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
