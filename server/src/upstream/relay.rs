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

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinHandle},
    time::timeout,
};

use super::{
    Upstream,
    connection::AppConnection,
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
/// How much of a response lies in memory while its client takes it, where all together and its client's have room; more lies on disk.
const IN_MEMORY: usize = 1024 * 1024;

/// Content as it comes. The connection is kept for another request once all of it has.
pub(super) struct Relay {
    connection: Option<Box<AppConnection>>,
    incoming: Incoming,
    upstream: Arc<Upstream>,
}

impl Relay {
    pub(super) fn new(connection: Box<AppConnection>, incoming: Incoming, upstream: Arc<Upstream>) -> Self {
        Self { connection: Some(connection), incoming, upstream }
    }

    /// A response without content: the connection may have its next request.
    pub(super) async fn finish(mut self) {
        poll_fn(|context| {
            self.leave(context);
            Poll::Ready(())
        })
        .await;
    }

    /// The body of a response that is sent as it comes, with back-pressure.
    pub(super) fn stream(self) -> Body {
        Body::stream(Parting::of(self))
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
        let (mut gathered, mut bytes) = (VecDeque::new(), 0);
        // What has come in one piece needs no task.
        let end = poll_fn(|context| {
            loop {
                match self.poll(context) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => {
                            bytes += data.len();
                            gathered.push_back(data);
                        }
                        Err(trailers) => return Poll::Ready(Some(Ok(trailers.into_trailers().ok()))),
                    },
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                    Poll::Ready(None) => return Poll::Ready(Some(Ok(None))),
                    Poll::Pending => return Poll::Ready(None),
                }
                if self.incoming.is_end_stream() {
                    return Poll::Ready(Some(Ok(None)));
                }
                if bytes > GATHERED {
                    return Poll::Ready(None);
                }
            }
        })
        .await;
        if let Some(Ok(None)) = end {
            let parts: VecDeque<Segments> = gathered.into_iter().map(Into::into).collect();
            let body = if parts.len() > 1 {
                Body::many(parts)
            } else {
                parts.into_iter().next().map_or_else(Body::empty, Body::lying)
            };
            return Ok(body);
        }
        let queue = Arc::new(Queue::new(gathered, bytes));
        let task = match end {
            Some(Err(error)) => return Err(failure_of(&error)),
            Some(end) => {
                queue.end(end);
                None
            }
            None => Some(tokio::spawn(self.fill(queue.clone(), patience, spills, client)).abort_handle()),
        };
        Ok(Body::stream(Parting::of(Reader { queue, reading: None, task })))
    }

    /// Takes all content.
    async fn fill(mut self, queue: Arc<Queue>, patience: Duration, spills: Arc<Spills>, client: IpAddr) {
        let end = loop {
            match timeout(patience, poll_fn(|context| self.poll(context))).await {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => queue.push(data, &spills, client).await,
                    Err(trailers) => break Ok(trailers.into_trailers().ok()),
                },
                Ok(Some(Err(error))) => break Err(error),
                Ok(None) => break Ok(None),
                Err(_) => break Err(io::ErrorKind::TimedOut.into()),
            }
        };
        queue.end(end);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut next = Pin::new(&mut self.incoming).poll_frame(context);
        if next.is_pending()
            && let Some(connection) = &mut self.connection
        {
            connection.poll_drive(context);
            next = Pin::new(&mut self.incoming).poll_frame(context);
        }
        match ready!(next) {
            Some(Ok(frame)) => {
                // Where its length was said, nobody asks for more after the last byte.
                if frame.is_trailers() || self.incoming.is_end_stream() {
                    self.leave(context);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.connection = None;
                Poll::Ready(Some(Err(io::Error::other(error))))
            }
            None => {
                self.leave(context);
                Poll::Ready(None)
            }
        }
    }

    fn leave(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = self.connection.take() {
            self.upstream.pool.leave(connection, context);
        }
    }
}

/// Why the content of a response ended too early.
fn failure_of(error: &io::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.get_ref().map(|error| error as _);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData) {
            return Failure::Malformed;
        }
        cause = error.source();
    }
    Failure::Terminated
}

impl hyper::body::Body for Relay {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.poll(context)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
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
    fn new(gathered: VecDeque<Bytes>, bytes: usize) -> Self {
        let memory = gathered.into_iter().map(|data| (data, None)).collect();
        Self { content: Mutex::new(Queued { memory, bytes, ..Queued::default() }), taken: Notify::new() }
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

    /// Whether it has ended where its length was said: nobody asks for more then.
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
