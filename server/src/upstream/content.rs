//! The content of a request, as an application gets it.

use std::{
    future::poll_fn,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    failure::Failure,
    spill::{Spill, Spills},
};
use crate::connections::RequestBody;

/// How much content of a request lies in memory.
const IN_MEMORY: usize = 64 * 1024;

/// The content of a request: none, all of it, or what comes while the application reads it.
#[derive(Debug, Default)]
pub(super) enum UpstreamContent {
    #[default]
    None,
    Memory(Bytes),
    File(Spill),
    Stream(RequestBody),
}

impl UpstreamContent {
    /// Reads all content that comes, so that a client takes its own time and not that of the application. What its trailers say is
    /// dropped (RFC 9110 §6.5.1).
    ///
    /// # Errors
    /// [`Failure::TooLarge`] for more than `most` bytes, without a look at what is announced to be more; [`Failure::Broken`] if the
    /// client leaves or breaks off; [`Failure::NoRoom`] if the disk has no room.
    pub(super) async fn read(
        mut body: RequestBody,
        most: u64,
        spills: &Arc<Spills>,
        client: IpAddr,
    ) -> Result<Self, Failure> {
        if body.is_end_stream() {
            return Ok(Self::None);
        }
        check_announced(&body, most)?;
        let (mut memory, mut file, mut came) = (BytesMut::new(), None, 0);
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let Ok(data) = frame.map_err(|_| Failure::Broken)?.into_data() else { continue };
            came += data.len() as u64;
            if came > most {
                return Err(Failure::TooLarge);
            }
            // All that came in one piece is not copied.
            if memory.is_empty() && file.is_none() && body.is_end_stream() {
                return Ok(Self::Memory(data));
            }
            memory.extend_from_slice(&data);
            if memory.len() > IN_MEMORY {
                let spill = match &file {
                    Some(spill) => spill,
                    None => &*file.insert(spills.open(client).await.map_err(|error| no_room(&error))?),
                };
                spill.append(memory.split().freeze()).await.map_err(|error| no_room(&error))?;
            }
        }
        match file {
            None => Ok(Self::Memory(memory.freeze())),
            Some(spill) => {
                if !memory.is_empty() {
                    spill.append(memory.freeze()).await.map_err(|error| no_room(&error))?;
                }
                Ok(Self::File(spill))
            }
        }
    }

    /// The content as it comes.
    ///
    /// # Errors
    /// [`Failure::TooLarge`] if it is announced to be more than `most` bytes.
    pub(super) fn stream(body: RequestBody, most: u64) -> Result<Self, Failure> {
        if body.is_end_stream() {
            return Ok(Self::None);
        }
        check_announced(&body, most)?;
        Ok(Self::Stream(body))
    }

    /// Whether there is any.
    pub(super) fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The body of a request with it. No more than `most` bytes of a stream are passed.
    pub(super) fn into_body(self, most: u64) -> Outgoing {
        match self {
            Self::None => Outgoing::Empty,
            Self::Memory(bytes) => Outgoing::Memory(bytes),
            Self::File(spill) => Outgoing::File { spill, sent: 0, reading: None },
            Self::Stream(body) => Outgoing::Stream { body, left: most, turn: WhoseTurn::of_the_application() },
        }
    }
}

fn check_announced(body: &RequestBody, most: u64) -> Result<(), Failure> {
    if body.size_hint().lower() > most { Err(Failure::TooLarge) } else { Ok(()) }
}

fn no_room(error: &io::Error) -> Failure {
    if error.kind() != io::ErrorKind::QuotaExceeded {
        tracing::warn!(%error, "the content of a request cannot be kept on disk; make room in the folder for temporary files");
    }
    Failure::NoRoom
}

/// The body of a request to an application.
#[derive(Debug)]
pub(super) enum Outgoing {
    Empty,
    Memory(Bytes),
    File { spill: Spill, sent: u64, reading: Option<JoinHandle<io::Result<Bytes>>> },
    Stream { body: RequestBody, left: u64, turn: WhoseTurn },
}

/// Who is waited for while content is streamed: since when the application, or else its client.
#[derive(Clone, Debug)]
pub(super) struct WhoseTurn(Arc<Mutex<Option<Instant>>>);

impl WhoseTurn {
    fn of_the_application() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }

    /// From now on the application is waited for, since that moment, or else its client.
    pub(super) fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Since when the application is waited for; none while its client is.
    pub(super) fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outgoing {
    /// Whose turn it is, where content is passed as it comes.
    pub(super) fn turn(&self) -> Option<WhoseTurn> {
        match self {
            Self::Stream { turn, .. } => Some(turn.clone()),
            _ => None,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Memory(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::File { spill, sent, .. } if *sent >= spill.length() => Poll::Ready(None),
            Self::File { spill, sent, reading } => {
                let read = ready!(Pin::new(reading.get_or_insert_with(|| spill.read(*sent))).poll(context));
                *reading = None;
                let read = read.map_err(io::Error::other).flatten();
                if let Ok(bytes) = &read {
                    *sent += bytes.len() as u64;
                }
                Poll::Ready(Some(read.map(Frame::data)))
            }
            Self::Stream { body, left, turn } => loop {
                let next = Pin::new(&mut *body).poll_frame(context);
                turn.set(next.is_ready().then(Instant::now));
                let Some(frame) = ready!(next) else { return Poll::Ready(None) };
                let Ok(data) = frame?.into_data() else { continue };
                match left.checked_sub(data.len() as u64) {
                    Some(rest) => *left = rest,
                    None => return Poll::Ready(Some(Err(io::ErrorKind::FileTooLarge.into()))),
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Memory(bytes) => bytes.is_empty(),
            Self::File { spill, sent, .. } => *sent >= spill.length(),
            Self::Stream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Memory(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::File { spill, sent, .. } => SizeHint::with_exact(spill.length().saturating_sub(*sent)),
            Self::Stream { body, .. } => body.size_hint(),
        }
    }
}
