//! The stream between a client and hyper: watches its pace, and closes it without losing what was sent.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    farewell::Farewell,
    pulse::Pulse,
    scan::{Found, Scan},
    share::{self, Share},
};
use crate::{Site, settings::Bounds};

/// What ends a head that became faulty: no parser takes NUL, wherever it stands.
const POISON: &[u8] = b"\0\r\n\r\n";
/// What ends a head whose target became too long, so that it can be answered.
const LONG_TARGET_END: &[u8] = b" HTTP/1.1\r\n\r\n";

/// A client's stream, in plain text.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    stream: S,
    pulse: Arc<Pulse>,
    bounds: Bounds,
    /// What is looked at before hyper sees it, for what could be read in two ways.
    scan: Scan,
    /// What hyper is handed before anything else: what stands for bytes of the client's, or bytes it was handed before.
    instead: Bytes,
    marks: Arc<Marks>,
    /// How many bytes were read in this turn of the task.
    read: (u64, usize),
    /// How many may be written in it.
    share: Share,
    farewell: Farewell,
}

/// What the stream and the one who answers tell each other.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// The number of the request whose target was too long, and was cut; 0 for none. Bytes are looked at before the requests
    /// before them are answered, so it must be said which one is meant.
    long_target: AtomicU64,
    /// The connection is to end as soon as nothing is under way.
    closing: AtomicBool,
    /// The package that the last response comes from, where its file may be sent as it is.
    site: Mutex<Weak<Site>>,
}

impl Marks {
    /// Whether this is the number of the request whose target was too long.
    pub(crate) fn long_target(&self, request: u64) -> bool {
        self.long_target.load(Relaxed) == request
    }

    /// The next response comes from this package.
    pub(crate) fn serve_from(&self, site: Option<&Arc<Site>>) {
        *self.site.lock().unwrap_or_else(PoisonError::into_inner) = site.map(Arc::downgrade).unwrap_or_default();
    }

    /// The package that the last response comes from, unless it was replaced meanwhile.
    pub(crate) fn site(&self) -> Option<Arc<Site>> {
        self.site.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Relaxed);
    }
}

impl<S> Guarded<S> {
    /// An HTTP/1 stream.
    pub(crate) fn new(stream: S, pulse: Arc<Pulse>, bounds: &Bounds, marks: Arc<Marks>) -> Self {
        Self {
            stream,
            pulse,
            bounds: bounds.clone(),
            scan: Scan::new(bounds.target),
            instead: Bytes::new(),
            marks,
            read: (0, 0),
            share: Share::encrypted(),
            farewell: Farewell::default(),
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

    /// The client's stream itself.
    pub(super) fn socket(&self) -> &S {
        &self.stream
    }

    /// Looks at what was just read behind `before`, and takes back what hyper must not see.
    fn look(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let scan = &mut self.scan;
        let (at, instead) = match scan.look(&buffer.filled()[before..]) {
            Found::Fine => {
                if scan.inside_head() {
                    self.pulse.head_incomplete(scan.begun());
                }
                return;
            }
            Found::Fault(at) => (at, POISON),
            // No byte is wrong in every place of content: to hyper the client is done too early.
            Found::Broken(at) => (at, &b""[..]),
            Found::LongTarget(at) => {
                self.marks.long_target.store(scan.begun(), Relaxed);
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
        let turn = self.pulse.turn();
        if self.read.0 != turn {
            self.read = (turn, 0);
        }
        self.read.1 >= share::READ
    }

    /// Whether the connection is to end, and nothing of a request has come.
    fn may_close(&self) -> bool {
        self.scan.between_requests() && self.marks.closing.load(Relaxed) && !self.pulse.busy()
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
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
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
        let written = match offered > left {
            true => stream.poll_write_vectored(context, &share::first(parts, left)),
            false => stream.poll_write_vectored(context, parts),
        };
        self.wrote(written, offered)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        match &flushed {
            Poll::Ready(Ok(())) => self.pulse.took_all(),
            Poll::Pending => self.pulse.took_nothing(),
            Poll::Ready(Err(_)) => {}
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.farewell.poll(&mut this.stream, context, &this.pulse)
    }
}

impl<S> Guarded<S> {
    /// How many bytes may be written now; when it has had its share, the task comes again after others.
    fn may_write(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        let left = self.share.poll_left(context, self.pulse.turn());
        if left.is_pending() {
            // Nor is it idle: there is more to write.
            self.pulse.took_nothing();
        }
        left
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>, offered: usize) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => {
                self.share.wrote(*bytes, *bytes < offered);
                self.pulse.took(*bytes as u64, *bytes == offered, &self.bounds);
            }
            Poll::Pending => {
                self.share.wrote(0, true);
                self.pulse.took_nothing();
            }
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}
