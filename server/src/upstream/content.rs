//! The content of a request, as an application gets it.

use std::{
    future::poll_fn,
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Frame};
use tokio::task::JoinHandle;

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
        let mut memory = BytesMut::new();
        let mut file = None;
        let mut came = 0;
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
            Self::Stream(body) => Outgoing::Stream { body, left: most },
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

/// The content of a request, while it is sent to an application.
#[derive(Debug, Default)]
pub(super) enum Outgoing {
    #[default]
    Empty,
    Memory(Bytes),
    File {
        spill: Spill,
        sent: u64,
        reading: Option<JoinHandle<io::Result<Bytes>>>,
    },
    Stream {
        body: RequestBody,
        left: u64,
    },
}

impl Outgoing {
    /// The next bytes, or the trailers behind the last ones.
    ///
    /// # Errors
    /// [`Failure::TooLarge`] if more comes than is passed; [`Failure::Broken`] if the client leaves or breaks off;
    /// [`Failure::NoRoom`] if what lies on the disk cannot be read.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match self {
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
                let read = read.map_err(io::Error::other).flatten().map_err(|error| no_room(&error));
                if let Ok(bytes) = &read {
                    *sent += bytes.len() as u64;
                }
                Poll::Ready(Some(read.map(Frame::data)))
            }
            Self::Stream { body, left } => {
                let Some(frame) = ready!(Pin::new(body).poll_frame(context)) else { return Poll::Ready(None) };
                let frame = frame.map_err(|_| Failure::Broken)?;
                match left.checked_sub(frame.data_ref().map_or(0, Bytes::len) as u64) {
                    Some(rest) => *left = rest,
                    None => return Poll::Ready(Some(Err(Failure::TooLarge))),
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    /// Whether there is nothing of it, or nothing more.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Memory(bytes) => bytes.is_empty(),
            Self::File { spill, sent, .. } => *sent >= spill.length(),
            Self::Stream { body, .. } => body.is_end_stream(),
        }
    }

    /// How many bytes there are; none if that is not known.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Memory(bytes) => Some(bytes.len() as u64),
            Self::File { spill, sent, .. } => Some(spill.length().saturating_sub(*sent)),
            Self::Stream { body, .. } => body.size_hint().exact(),
        }
    }
}
