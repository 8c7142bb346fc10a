//! The content of an application's response: as it comes, or taken off the application at its own speed.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::Frame;
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinHandle},
    time::timeout,
};

use super::{
    Upstream,
    connection::AppConnection,
    event_stream::EventStream,
    failure::Failure,
    parting::Parting,
    spill::{Spill, Spills},
};
use crate::{
    body::{Body, Segments},
    quota::Held,
};

/// How much of a response that has not ended is looked for at once.
const GATHERED: usize = 64 * 1024;
/// A response that is known to be no longer is waited for, if the rest of it comes soon.
const WHOLE: u64 = 128 * 1024;
/// How soon that is.
const SOON: Duration = Duration::from_millis(20);
/// Smaller pieces are joined: each would cost more memory than it holds, were they many.
const SMALL: usize = 4 * 1024;
/// How much of a response lies in memory while its client takes it, where all together and its client's have room; more lies on disk.
const IN_MEMORY: usize = 1024 * 1024;

/// Content as it comes. The connection is kept for another request once all of it has.
#[derive(Debug)]
pub(super) struct Relay {
    /// None once the response is over.
    connection: Option<Box<AppConnection>>,
    upstream: Arc<Upstream>,
}

/// The content of a response that has come so far.
#[derive(Debug, Default)]
struct Gathered {
    content: VecDeque<Bytes>,
    /// What is behind these, of pieces that are small.
    small: BytesMut,
    /// How many bytes all of them are.
    bytes: usize,
    trailers: Option<HeaderMap>,
}

impl Relay {
    pub(super) fn new(connection: Box<AppConnection>, upstream: Arc<Upstream>) -> Self {
        Self { connection: Some(connection), upstream }
    }

    /// A response without content: the connection may have its next request.
    pub(super) fn finish(mut self) {
        if let Some(connection) = self.connection.take().filter(|connection| connection.is_over()) {
            self.upstream.pool.leave(connection);
        }
    }

    /// The body of a response that is sent as it comes, with back-pressure; where something is said of that, until `parting` changes.
    pub(super) fn stream(self, parting: Option<watch::Receiver<()>>) -> Body {
        let content = Parting::of(self);
        match parting {
            Some(parting) => Body::stream(EventStream::of(content, parting)),
            None => Body::stream(content),
        }
    }

    /// The body of a response that is taken off the application as fast as it gives it. If it stays silent for `patience`, the
    /// response is cut.
    ///
    /// # Errors
    /// [`Failure::Malformed`] or [`Failure::Terminated`] if it is at fault while nothing of it was sent.
    pub(super) async fn buffer(
        mut self,
        patience: Duration,
        spills: Arc<Spills>,
        client: IpAddr,
    ) -> Result<Body, Failure> {
        let mut gathered = Gathered::default();
        // What has come in one piece, or soon will have, needs no task.
        let mut all = poll_fn(|context| Poll::Ready(self.poll_gather(&mut gathered, context))).await;
        let mut held = None;
        if all.is_pending() && self.is_short(&gathered) {
            held = spills.hold(client, usize::try_from(WHOLE).unwrap_or(usize::MAX));
            if held.is_some() {
                let soon = timeout(SOON, poll_fn(|context| self.poll_gather(&mut gathered, context))).await;
                all = soon.map_or(Poll::Pending, Poll::Ready);
            }
        }
        let is_whole = all?.is_ready();
        gathered.join();
        if is_whole && gathered.trailers.is_none() && gathered.bytes <= GATHERED {
            return Ok(gathered.into_body());
        }
        let trailers = gathered.trailers.take();
        let queue = Arc::new(Queue::new(gathered, held));
        let task = if is_whole {
            queue.end(Ok(trailers));
            None
        } else {
            Some(tokio::spawn(self.fill(queue.clone(), patience, spills, client)).abort_handle())
        };
        Ok(Body::stream(Parting::of(Reader { queue, reading: None, task })))
    }

    /// Gathers content; ready once all of it has come.
    fn poll_gather(&mut self, gathered: &mut Gathered, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while gathered.bytes <= GATHERED || self.is_short(gathered) {
            match ready!(self.poll(context)) {
                Some(frame) => gathered.add(frame?),
                None => return Poll::Ready(Ok(())),
            }
        }
        Poll::Pending
    }

    /// Whether the response is over, or known to be no longer than is waited for.
    fn is_short(&self, gathered: &Gathered) -> bool {
        let left = self.connection.as_ref().map_or(Some(0), |connection| connection.left());
        left.is_some_and(|left| gathered.bytes as u64 + left <= WHOLE)
    }

    /// Takes all content.
    async fn fill(mut self, queue: Arc<Queue>, patience: Duration, spills: Arc<Spills>, client: IpAddr) {
        loop {
            let mut gathered = Gathered::default();
            let over = timeout(patience, poll_fn(|context| self.poll_some(&mut gathered, context))).await;
            for data in gathered.content.drain(..) {
                queue.push(data, &spills, client).await;
            }
            match over {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => return queue.end(Ok(gathered.trailers)),
                Ok(Err(failure)) => return queue.end(Err(failure.into())),
                Err(_) => return queue.end(Err(io::ErrorKind::TimedOut.into())),
            }
        }
    }

    /// Gathers what content there is, some at least; ready with whether the response is over.
    fn poll_some(&mut self, gathered: &mut Gathered, context: &mut Context<'_>) -> Poll<Result<bool, Failure>> {
        let over = loop {
            match self.poll(context) {
                Poll::Ready(Some(Ok(frame))) => gathered.add(frame),
                Poll::Ready(Some(Err(failure))) => break Err(failure),
                Poll::Ready(None) => break Ok(true),
                Poll::Pending if gathered.bytes == 0 => return Poll::Pending,
                Poll::Pending => break Ok(false),
            }
            if gathered.bytes >= GATHERED {
                break Ok(false);
            }
        };
        gathered.join();
        Poll::Ready(over)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        let next = ready!(connection.poll_content(context));
        // Where its length was said, the connection asks for no more after the last byte.
        let is_over = connection.is_over();
        if let Some(Err(_)) = next {
            self.connection = None;
        } else if is_over && let Some(connection) = self.connection.take() {
            self.upstream.pool.leave(connection);
        }
        Poll::Ready(next)
    }
}

impl Gathered {
    fn add(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => {
                self.bytes += data.len();
                if data.len() < SMALL && self.bytes > data.len() {
                    self.small.extend_from_slice(&data);
                } else {
                    self.join();
                    self.content.push_back(data);
                }
            }
            Err(trailers) => self.trailers = trailers.into_trailers().ok(),
        }
    }

    /// Adds the small pieces as one.
    fn join(&mut self) {
        if !self.small.is_empty() {
            self.content.push_back(self.small.split().freeze());
        }
    }

    fn into_body(mut self) -> Body {
        match self.content.len() {
            0 | 1 => self.content.pop_front().map_or_else(Body::empty, Body::lying),
            _ => Body::many(self.content.into_iter().map(Segments::from).collect()),
        }
    }
}

impl From<Failure> for io::Error {
    /// Why the content of a response ends too early.
    fn from(failure: Failure) -> Self {
        Self::other(failure.error())
    }
}

impl hyper::body::Body for Relay {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.poll(context).map_err(io::Error::from)
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }
}

/// Content between the task that takes it off an application, and the client that is sent it.
#[derive(Debug)]
struct Queue {
    content: Mutex<Queued>,
    /// Told when content was taken.
    taken: Notify,
}

/// Content in its order: first what lies in memory, then what lies on disk.
#[derive(Debug, Default)]
struct Queued {
    memory: VecDeque<(Bytes, Option<Held>)>,
    /// How many bytes these are.
    bytes: usize,
    spill: Option<Arc<Spill>>,
    /// How many bytes of the spill may be read, and were.
    written: u64,
    read: u64,
    /// How the content ends, once all of it came: with trailers, perhaps.
    end: Option<io::Result<Option<HeaderMap>>>,
    reader: Option<Waker>,
}

impl Queue {
    /// What was gathered, with the memory that is held for it.
    fn new(gathered: Gathered, held: Option<Held>) -> Self {
        let mut memory: VecDeque<_> = gathered.content.into_iter().map(|data| (data, None)).collect();
        if let Some((_, last)) = memory.back_mut() {
            *last = held;
        }
        let queued = Queued { memory, bytes: gathered.bytes, ..Queued::default() };
        Self { content: Mutex::new(queued), taken: Notify::new() }
    }

    fn content(&self) -> MutexGuard<'_, Queued> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds content: to memory, or to the disk, or, where there is no room, once some was taken.
    async fn push(&self, data: Bytes, spills: &Arc<Spills>, client: IpAddr) {
        loop {
            let spill = {
                let mut content = self.content();
                if content.written == content.read {
                    content.spill = None;
                    (content.written, content.read) = (0, 0);
                }
                // One piece always may lie there, so that each response goes on.
                let first = content.bytes == 0;
                if content.spill.is_none() && (first || content.bytes + data.len() <= IN_MEMORY) {
                    let held = spills.hold(client, data.len());
                    if first || held.is_some() {
                        content.bytes += data.len();
                        content.memory.push_back((data, held));
                        return content.wake();
                    }
                }
                content.spill.clone()
            };
            if self.spill(spill, &data, spills, client).await.is_ok() {
                return;
            }
            self.taken.notified().await;
        }
    }

    /// Adds content to the disk.
    async fn spill(
        &self,
        spill: Option<Arc<Spill>>,
        data: &Bytes,
        spills: &Arc<Spills>,
        client: IpAddr,
    ) -> io::Result<()> {
        let spill = match spill {
            Some(spill) => spill,
            None => {
                let spill = Arc::new(spills.open(client).await?);
                self.content().spill = Some(spill.clone());
                spill
            }
        };
        spill.append(data.clone()).await?;
        let mut content = self.content();
        content.written = spill.length();
        content.wake();
        Ok(())
    }

    fn end(&self, end: io::Result<Option<HeaderMap>>) {
        let mut content = self.content();
        content.end = Some(end);
        content.wake();
    }
}

impl Queued {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// What a client is sent of a queue. The task that fills it ends with this.
#[derive(Debug)]
struct Reader {
    queue: Arc<Queue>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    task: Option<AbortHandle>,
}

impl hyper::body::Body for Reader {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        loop {
            if let Some(reading) = &mut this.reading {
                let read = ready!(Pin::new(reading).poll(context)).map_err(io::Error::other).flatten();
                this.reading = None;
                if let Ok(bytes) = &read {
                    this.queue.content().read += bytes.len() as u64;
                    this.queue.taken.notify_one();
                }
                return Poll::Ready(Some(read.map(Frame::data)));
            }
            let mut content = this.queue.content();
            if let Some((data, _)) = content.memory.pop_front() {
                content.bytes -= data.len();
                this.queue.taken.notify_one();
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if let Some(spill) = content.spill.clone().filter(|_| content.read < content.written) {
                let at = content.read;
                drop(content);
                this.reading = Some(spill.read(at));
                continue;
            }
            return match content.end.take() {
                None => {
                    content.reader = Some(context.waker().clone());
                    Poll::Pending
                }
                Some(end) => {
                    content.end = Some(Ok(None));
                    Poll::Ready(end.map(|trailers| trailers.map(Frame::trailers)).transpose())
                }
            };
        }
    }

    /// Whether it has ended where its length was said: the connection asks for no more then.
    fn is_end_stream(&self) -> bool {
        let content = self.queue.content();
        let all = content.memory.is_empty() && content.read == content.written && self.reading.is_none();
        all && matches!(content.end, Some(Ok(None)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
