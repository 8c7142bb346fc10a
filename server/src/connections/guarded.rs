//! The stream between a client and hyper: watches its pace, and closes it without losing what was sent.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::{
    farewell::Farewell,
    flags::RequestFlags,
    scan::{Found, Scan},
    share::{self, Share},
    tcp::Tcp,
};
use crate::{activity::Activity, settings::Bounds};

/// What ends a head that became faulty: no parser takes NUL, wherever it stands.
///
/// That hyper refuses the request, and not this stream, has its reason: what was asked before must be answered first, and only
/// hyper knows what it has still to write. Told of an end or an error amid a head, it drops that (`Conn::on_read_head_error`);
/// and what it has written cannot be told from what it has not, or from what it is about to. So it is handed a byte that ends
/// the head in the same way for all, which is less than a second writer beside it would be.
const POISON: &[u8] = b"\0\r\n\r\n";
/// What ends a head whose target became too long, so that it can be answered.
const LONG_TARGET_END: &[u8] = b" HTTP/1.1\r\n\r\n";

/// How much is read while a request waits for its answer, to see whether the client is there.
const AHEAD: usize = 512;
/// How often it is looked at whether the client is there while bytes of it are unread: its end is behind them.
const LOOK: Duration = Duration::from_millis(500);

/// A client's stream, in plain text.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    stream: S,
    activity: Arc<Activity>,
    /// What is looked at before hyper sees it, for what could be read in two ways.
    scan: Scan,
    /// What hyper is handed before anything else: what stands for bytes of the client's, or bytes it was handed before.
    instead: Bytes,
    /// What was read while nothing was to be read but the end, and not looked at.
    ahead: Bytes,
    flags: Arc<RequestFlags>,
    /// How many bytes were read in this turn of the task.
    read: (u64, usize),
    /// How many may be written in it.
    share: Share,
    farewell: Farewell,
    /// When it is looked at again whether the client is there.
    looks: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    /// An HTTP/1 stream.
    pub(crate) fn new(stream: S, activity: Arc<Activity>, bounds: &Bounds, flags: Arc<RequestFlags>) -> Self {
        Self {
            stream,
            activity,
            scan: Scan::new(bounds.target),
            instead: Bytes::new(),
            ahead: Bytes::new(),
            flags,
            read: (0, 0),
            share: Share::encrypted(),
            farewell: Farewell::default(),
            looks: None,
        }
    }

    /// One that is not encrypted here, and may write more in its turn.
    pub(super) fn plain(self) -> Self {
        Self { share: Share::plain(), ..self }
    }

    /// Takes back what hyper was handed and did not use. It is not looked at again.
    pub(super) fn put_back(&mut self, unused: Bytes) {
        debug_assert!(self.instead.is_empty(), "what was handed over is taken back before anything else is");
        // A copy, as the bytes are few and lie in a large buffer.
        self.instead = Bytes::copy_from_slice(&unused);
    }

    /// The client's stream for another protocol, and what came of that already; none if bytes came that were taken for a request.
    pub(super) fn switch(self, unused: &Bytes) -> Option<(S, Bytes)> {
        let fine = unused.is_empty() && self.instead.is_empty() && !self.scan.is_faulty();
        fine.then_some((self.stream, self.ahead))
    }

    /// The client's stream itself.
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Looks at what was just read behind `before`, and takes back what hyper must not see.
    fn look(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let scan = &mut self.scan;
        let (at, instead) = match scan.look(&buffer.filled()[before..]) {
            Found::Fine => {
                if scan.inside_head() {
                    self.activity.head_incomplete(scan.begun());
                }
                return;
            }
            Found::Fault(at) => (at, POISON),
            // No byte is wrong in every place of content: to hyper the client is done too early.
            Found::Broken(at) => (at, &b""[..]),
            Found::LongTarget(at) => {
                self.flags.cut_target(scan.begun());
                (at, LONG_TARGET_END)
            }
        };
        buffer.set_filled(before + at);
        self.instead = Bytes::from_static(instead);
        self.hand_over(buffer);
    }

    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let now = self.instead.split_to(self.instead.len().min(buffer.remaining()));
        buffer.put_slice(&now);
    }

    /// Whether so much was read in this turn that others should have theirs.
    fn had_its_share(&mut self) -> bool {
        let turn = self.activity.turn();
        if self.read.0 != turn {
            self.read = (turn, 0);
        }
        self.read.1 >= share::READ
    }

    /// Whether the connection is to end, and nothing of a request has come.
    fn may_close(&self) -> bool {
        self.scan.between_requests() && self.flags.closing() && !self.activity.busy()
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// The client's next bytes.
    fn poll_bytes(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let now = self.ahead.split_to(self.ahead.len().min(buffer.remaining()));
        buffer.put_slice(&now);
        Poll::Ready(Ok(()))
    }
}

impl<S: Tcp> Guarded<S> {
    /// Has the client see that it does not have all of a response whose end would be that of the connection, unless it has.
    pub(super) fn cut(&self) {
        if self.flags.until_close() && !self.farewell.is_shut() {
            self.stream.reset_when_dropped();
        }
    }
}

impl<S: AsyncRead + Tcp + Unpin> Guarded<S> {
    /// Ready with an error when the client has left while a handler works for it. hyper reads nothing meanwhile, so that a client
    /// which has asked and closed its side gets its file; but a closed side is all that tells of a client that has gone, and nginx
    /// and Go end the work for it, too.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if !self.activity.waits_for_server() || !self.flags.cancels() {
            self.looks = None;
            return Poll::Pending;
        }
        if self.scan.between_requests() && self.ahead.is_empty() && self.instead.is_empty() {
            ready!(self.poll_end(context));
        } else if !self.poll_look(context) {
            return Poll::Pending;
        }
        self.farewell.ended();
        Poll::Ready(io::ErrorKind::ConnectionAborted.into())
    }

    /// Ready when nothing more is to be read. What is read instead is kept for later.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; AHEAD];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
        if read.is_err() || buffer.filled().is_empty() {
            return Poll::Ready(());
        }
        self.ahead = Bytes::copy_from_slice(buffer.filled());
        // Comes again for what is behind it.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the client has closed its side behind content or a request that is not read. Looks now and then.
    fn poll_look(&mut self, context: &mut Context<'_>) -> bool {
        let looks = self.looks.get_or_insert_with(|| Box::pin(sleep(Duration::ZERO)));
        while looks.as_mut().poll(context).is_ready() {
            if self.stream.has_left() {
                return true;
            }
            looks.as_mut().reset(Instant::now() + LOOK);
        }
        false
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.instead.is_empty() {
            this.hand_over(buffer);
            return Poll::Ready(Ok(()));
        }
        if this.scan.is_faulty() {
            return Poll::Ready(Ok(()));
        }
        if this.had_its_share() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match this.poll_bytes(context, buffer) {
            Poll::Ready(read) => {
                read?;
                this.read.1 += buffer.filled().len() - before;
                if buffer.filled().len() == before {
                    this.farewell.ended();
                }
                this.look(buffer, before);
                Poll::Ready(Ok(()))
            }
            // To hyper an ended stream is a client that is done: it finishes what it has and closes.
            Poll::Pending if this.may_close() => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Tcp + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let left = ready!(self.may_write(context));
        let written = Pin::new(&mut self.stream).poll_write(context, &bytes[..bytes.len().min(left)]);
        self.wrote(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let left = ready!(self.may_write(context));
        let offered = parts.iter().map(|part| part.len()).sum();
        let stream = Pin::new(&mut self.stream);
        let written = if offered > left {
            stream.poll_write_vectored(context, &share::first(parts, left))
        } else {
            stream.poll_write_vectored(context, parts)
        };
        self.wrote(written, offered)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_left(context) {
            return Poll::Ready(Err(error));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        match &flushed {
            Poll::Ready(Ok(())) => self.activity.took_all(),
            Poll::Pending => self.activity.took_nothing(),
            Poll::Ready(Err(_)) => {}
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.farewell.poll(&mut this.stream, context, &this.activity)
    }
}

impl<S> Guarded<S> {
    /// How many bytes may be written now; when it has had its share, the task comes again after others.
    fn may_write(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        let left = self.share.poll_left(context, self.activity.turn());
        if left.is_pending() {
            // Nor is it idle: there is more to write.
            self.activity.took_nothing();
        }
        left
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>, offered: usize) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => {
                self.share.wrote(*bytes, *bytes < offered);
                self.activity.took(*bytes as u64, *bytes == offered);
            }
            Poll::Pending => {
                self.share.wrote(0, true);
                self.activity.took_nothing();
            }
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}
