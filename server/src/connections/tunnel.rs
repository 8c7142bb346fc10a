//! What follows a switch of protocols: bytes both ways, bounded and with back-pressure, until either side ends or both are silent for
//! too long.

use std::{
    any::Any,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body as _, Frame};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, duplex, split},
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{Phase, RequestBody, websocket::Frames};
use crate::body::Body;

/// How much is read at once in each direction.
const PIECE: usize = 8 * 1024;
/// How long both sides may take to close once they were told to.
const CLOSING: Duration = Duration::from_secs(5);

/// A stream of bytes both ways, such as a handler opens for a client.
pub(crate) trait TunnelStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> TunnelStream for S {}

/// The other end of a switch of protocols: what a handler has opened, to be tied to the client's connection.
pub(crate) struct Tunnel {
    pub(crate) stream: Box<dyn TunnelStream>,
    /// What came of it already.
    pub(crate) first: Bytes,
    /// How long both sides may be silent.
    pub(crate) idle: Duration,
    /// What is held as long as it lasts.
    pub(crate) held: Box<dyn Any + Send + Sync>,
    /// Where what the client sends is read, if that is not its connection: over HTTP/2 it is the content of its request.
    pub(crate) content: Option<RequestBody>,
    /// Changes when the application that has opened it goes, though the server stays.
    pub(crate) parting: Option<watch::Receiver<()>>,
}

/// When a tunnel is to be closed in good order.
#[derive(Clone)]
struct CloseSignal {
    /// The server closes.
    phases: watch::Receiver<Phase>,
    /// The application goes.
    parting: Option<watch::Receiver<()>>,
}

impl CloseSignal {
    /// Waits until it is to be closed; false if the server was dropped instead.
    async fn comes(&mut self) -> bool {
        let Self { phases, parting } = self;
        let parts = async {
            let parted = match parting {
                Some(parting) => parting.changed().await.is_ok(),
                None => false,
            };
            if !parted {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            phase = phases.wait_for(|phase| *phase >= Phase::Closing) => phase.is_ok(),
            () = parts => true,
        }
    }
}

impl Tunnel {
    /// Ties both ends together, until either ends. When the server is to close, or the application goes, each side is told so by a Close frame of WebSocket
    /// (RFC 6455 §5.5.1) behind the last whole one.
    pub(super) async fn carry(
        self,
        client: impl AsyncRead + AsyncWrite + Unpin,
        early: Bytes,
        phases: watch::Receiver<Phase>,
    ) {
        let _held = self.held;
        let end = CloseSignal { phases, parting: self.parting };
        let quiet = Quiet::new();
        let (client_reads, client_writes) = split(client);
        let (app_reads, app_writes) = split(self.stream);
        let up = Direction { reads: client_reads, writes: app_writes, quiet: &quiet, close: Frames::close_masked() };
        let down = Direction { reads: app_reads, writes: client_writes, quiet: &quiet, close: Frames::close() };
        let both = async { tokio::try_join!(up.carry(early, end.clone()), down.carry(self.first, end.clone())) };
        let closed = async {
            let mut end = end.clone();
            // A server that was dropped cuts everything.
            if end.comes().await {
                let _ = timeout(CLOSING, end.phases.wait_for(|phase| *phase >= Phase::Cutting)).await;
            }
        };
        tokio::select! {
            _ = both => {}
            () = quiet.lasts(self.idle) => {}
            () = closed => {}
        }
    }
}

/// How much lies between a stream of HTTP/2 and its tunnel, in each direction.
const STREAM: usize = 16 * 1024;

impl Tunnel {
    /// The body of a response that ties the application to the stream of the request (RFC 8441 §5). The tunnel ends with it.
    pub(super) fn into_body(mut self, phases: watch::Receiver<Phase>) -> Body {
        let mut content = self.content.take().unwrap_or_default();
        content.is_patient();
        let (near, far) = duplex(STREAM);
        let (reads, mut writes) = split(near);
        let carries = tokio::spawn(self.carry(far, Bytes::new(), phases)).abort_handle();
        let sends = tokio::spawn(async move {
            while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut content).poll_frame(context)).await {
                let Ok(data) = frame.into_data() else { continue };
                if writes.write_all(&data).await.is_err() {
                    return;
                }
            }
            let _ = writes.shutdown().await;
        });
        Body::stream(FromTunnel { reads, tasks: [carries, sends.abort_handle()] })
    }
}

/// What an application sends to a client over HTTP/2.
struct FromTunnel {
    reads: ReadHalf<DuplexStream>,
    tasks: [AbortHandle; 2],
}

impl hyper::body::Body for FromTunnel {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let read = ready!(poll_piece(&mut self.reads, context))?;
        Poll::Ready((!read.is_empty()).then(|| Ok(Frame::data(read.into()))))
    }
}

impl Drop for FromTunnel {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tunnel").field("idle", &self.idle).finish_non_exhaustive()
    }
}

/// A tunnel on its way from a handler's response to the connection.
#[derive(Clone, Debug)]
pub(crate) struct Switch(Arc<Mutex<Option<Tunnel>>>);

impl Switch {
    pub(crate) fn to(tunnel: Tunnel) -> Self {
        Self(Arc::new(Mutex::new(Some(tunnel))))
    }

    pub(crate) fn take(&self) -> Option<Tunnel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Since when nothing came from either side.
struct Quiet {
    made: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
}

impl Quiet {
    fn new() -> Self {
        Self { made: Instant::now(), last: AtomicU64::new(0) }
    }

    fn broken(&self) {
        self.last.store(u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Until it has lasted for so long.
    async fn lasts(&self, idle: Duration) {
        loop {
            let until = self.made + Duration::from_millis(self.last.load(Relaxed)) + idle;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// One direction of a tunnel.
struct Direction<'a, R, W> {
    reads: R,
    writes: W,
    quiet: &'a Quiet,
    /// The frame that tells the reader that there will be no more.
    close: Vec<u8>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Direction<'_, R, W> {
    /// Carries `first` and what follows it to the end, which is passed on. Where the other side takes no more, this direction ends: that
    /// side says the rest by its own end.
    ///
    /// # Errors
    /// The reading side's: it is gone without an end, in both directions.
    async fn carry(mut self, first: Bytes, mut end: CloseSignal) -> io::Result<()> {
        let mut frames = Frames::default();
        if !first.is_empty() {
            frames.pass(&first);
            if self.write(&first).await.is_err() {
                return Ok(());
            }
        }
        let mut told = false;
        loop {
            let read = tokio::select! {
                biased;
                true = end.comes(), if !told && frames.are_whole() => {
                    told = true;
                    let close = std::mem::take(&mut self.close);
                    if self.write(&close).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                read = poll_fn(|context| poll_piece(&mut self.reads, context)) => read?,
            };
            if read.is_empty() {
                // Where that fails, the other side is gone already.
                let _ = self.writes.shutdown().await;
                return Ok(());
            }
            self.quiet.broken();
            // Behind a Close there are no more frames.
            if !told {
                frames.pass(&read);
                if self.write(&read).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writes.write_all(bytes).await?;
        self.writes.flush().await
    }
}

/// The next bytes, or none at the end. Room for them is on the stack while they are waited for: most tunnels are idle.
fn poll_piece(reads: &mut (impl AsyncRead + Unpin), context: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    let mut bytes = [0; PIECE];
    let mut buffer = ReadBuf::new(&mut bytes);
    ready!(Pin::new(reads).poll_read(context, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().to_vec()))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn tunnel() -> (Tunnel, DuplexStream) {
        let (stream, app) = duplex(1024);
        let first = Bytes::from_static(b"first ");
        (
            Tunnel {
                stream: Box::new(stream),
                first,
                idle: Duration::from_secs(60),
                held: Box::new(()),
                content: None,
                parting: None,
            },
            app,
        )
    }

    async fn read(stream: &mut DuplexStream, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        stream.read_exact(&mut read).await.unwrap();
        read
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_go_both_ways_and_so_does_the_end_of_one() {
        let (tunnel, mut app) = tunnel();
        let (mut client, server) = duplex(1024);
        let (_phase, phases) = watch::channel(Phase::Serving);
        let carried = tokio::spawn(tunnel.carry(server, Bytes::from_static(b"early "), phases));
        client.write_all(b"up").await.unwrap();
        client.shutdown().await.unwrap();
        app.write_all(b"down").await.unwrap();
        let mut up = Vec::new();
        app.read_to_end(&mut up).await.unwrap();
        assert_eq!(up, b"early up");
        assert_eq!(read(&mut client, 10).await, b"first down");
        app.write_all(b", and more").await.unwrap();
        assert_eq!(read(&mut client, 10).await, b", and more", "the other direction goes on");
        drop(app);
        carried.await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_that_is_silent_ends() {
        let (tunnel, mut app) = tunnel();
        let (mut client, server) = duplex(1024);
        let (_phase, phases) = watch::channel(Phase::Serving);
        let begun = Instant::now();
        let carried = tokio::spawn(tunnel.carry(server, Bytes::new(), phases));
        tokio::time::sleep(Duration::from_secs(50)).await;
        app.write_all(b"x").await.unwrap();
        assert_eq!(read(&mut client, 7).await, b"first x");
        carried.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 110);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_closes_both_sides_between_two_frames() {
        let (tunnel, mut app) = tunnel();
        let tunnel = Tunnel { first: Bytes::new(), ..tunnel };
        let (mut client, server) = duplex(1024);
        let (phase, phases) = watch::channel(Phase::Serving);
        let carried = tokio::spawn(tunnel.carry(server, Bytes::new(), phases));
        // Half a frame.
        app.write_all(b"\x81\x04ab").await.unwrap();
        assert_eq!(read(&mut client, 4).await, b"\x81\x04ab");
        phase.send_replace(Phase::Closing);
        let up = read(&mut app, 8).await;
        assert_eq!(up[..2], [0x88, 0x82], "masked");
        assert_eq!([up[6] ^ up[2], up[7] ^ up[3]], [0x03, 0xe9]);
        app.write_all(b"cd").await.unwrap();
        assert_eq!(read(&mut client, 6).await, b"cd\x88\x02\x03\xe9");
        app.write_all(b"\x81\x01e").await.unwrap();
        drop(app);
        let mut behind = Vec::new();
        client.read_to_end(&mut behind).await.unwrap();
        assert_eq!(behind, b"", "behind a Close there is nothing");
        drop(client);
        carried.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_the_end_of_a_frame_that_came_with_the_switch() {
        let (tunnel, mut app) = tunnel();
        let tunnel = Tunnel { first: Bytes::from_static(b"\x81\x04ab"), ..tunnel };
        let (mut client, server) = duplex(1024);
        let (phase, phases) = watch::channel(Phase::Serving);
        let carried = tokio::spawn(tunnel.carry(server, Bytes::from_static(b"\x81\x82\0\0\0\0h"), phases));
        assert_eq!(read(&mut client, 4).await, b"\x81\x04ab");
        assert_eq!(read(&mut app, 7).await, b"\x81\x82\0\0\0\0h");
        phase.send_replace(Phase::Closing);
        app.write_all(b"cd").await.unwrap();
        client.write_all(b"i").await.unwrap();
        assert_eq!(read(&mut client, 6).await, b"cd\x88\x02\x03\xe9");
        assert_eq!(read(&mut app, 3).await, b"i\x88\x82");
        drop((app, client));
        carried.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_that_goes_closes_both_sides_while_the_server_stays() {
        let (tunnel, mut app) = tunnel();
        let (part, parting) = watch::channel(());
        let tunnel = Tunnel { first: Bytes::new(), parting: Some(parting), ..tunnel };
        let (mut client, server) = duplex(1024);
        let (_phase, phases) = watch::channel(Phase::Serving);
        let begun = Instant::now();
        let carried = tokio::spawn(tunnel.carry(server, Bytes::new(), phases));
        app.write_all(b"\x81\x01a").await.unwrap();
        assert_eq!(read(&mut client, 3).await, b"\x81\x01a");
        part.send_replace(());
        assert_eq!(read(&mut client, 4).await, b"\x88\x02\x03\xe9");
        assert_eq!(read(&mut app, 8).await[..2], [0x88, 0x82]);
        // Neither side answers: they have had their time.
        carried.await.unwrap();
        assert_eq!(begun.elapsed(), CLOSING);
    }

    struct Reset;

    impl AsyncRead for Reset {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }

    #[tokio::test]
    async fn a_client_that_is_gone_without_an_end_ends_both_directions() {
        let (tunnel, mut app) = tunnel();
        let client = tokio::io::join(Reset, tokio::io::sink());
        let (_phase, phases) = watch::channel(Phase::Serving);
        timeout(Duration::from_secs(5), tunnel.carry(client, Bytes::new(), phases)).await.unwrap();
        assert_eq!(app.read(&mut [0]).await.unwrap(), 0, "the application sees the end");
    }
}
