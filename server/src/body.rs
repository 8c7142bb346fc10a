//! What a response carries: bytes as they lie, or what a source gives piece by piece.

mod mapped;
mod segments;

use std::{
    collections::VecDeque,
    error::Error,
    fmt, io,
    pin::Pin,
    sync::Weak,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Frame, SizeHint};

pub(crate) use self::{mapped::Mapped, segments::Segments};
use crate::{access::Passage, activity::Account, semantics::trailers};

/// The content of a response: bytes, or a stream that gives them while they are sent.
pub struct Body {
    content: Payload,
    /// How many bytes are still to come; none if that is not known.
    left: Option<u64>,
    account: Option<Account>,
    mapped: Option<Weak<dyn Mapped>>,
    /// Whether the server made it, and knows its response to be framed; a handler's is looked at.
    own: bool,
    /// How its request was passed to an application, if it was.
    passage: Option<Box<Passage>>,
}

enum Payload {
    Empty,
    Lying(Segments),
    Many(VecDeque<Segments>),
    Sourced(Box<dyn Source>),
    /// A handler's, who may have nothing to say for as long as it likes.
    Streamed(Pin<Box<FrameStream>>),
    /// What follows it when all was given.
    Trailers(Box<HeaderMap>),
}

/// A handler's stream, whatever its error.
type FrameStream = dyn hyper::body::Body<Data = Bytes, Error = io::Error> + Send;

/// Gives content while it is sent. It is asked for more only when there is room for it.
pub(crate) trait Source: Send {
    /// The next bytes, `most` of them if it would have to keep or make them until then; none when there are no more.
    fn poll_next(&mut self, context: &mut Context<'_>, most: usize) -> Poll<Option<io::Result<Segments>>>;
}

impl Body {
    /// No content.
    pub fn empty() -> Self {
        Self::of(Payload::Empty, Some(0))
    }

    /// A stream, polled only when the client has room for more. Where neither its `size_hint` nor the response's
    /// `Content-Length` says how long it is, it is sent in chunks (RFC 9112 §7.1), or in frames without a length (RFC 9113 §6.1).
    ///
    /// An error of the stream, or another length, ends the response so that the client sees that it is not whole: HTTP/1.1
    /// without the last chunk, HTTP/1.0 with a reset of the connection, HTTP/2 with RST_STREAM of INTERNAL_ERROR.
    ///
    /// Trailers end a stream. HTTP/2 sends them always; HTTP/1.1 in chunks alone, to a client that said `TE: trailers`, and those
    /// that the response's `Trailer` names (RFC 9110 §6.5.1, §6.6.2). Fields that may not be trailers are left out.
    pub fn stream<B>(stream: B) -> Self
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let length = stream.size_hint().exact();
        Self::of(Payload::Streamed(Box::pin(Streamed(Box::pin(stream)))), length)
    }

    /// No content, of a response that is not to say so.
    pub(crate) fn unknown() -> Self {
        Self::of(Payload::Empty, None)
    }

    /// Bytes that lie somewhere already.
    pub(crate) fn lying(segments: impl Into<Segments>) -> Self {
        let segments = segments.into();
        match segments.length() {
            0 => Self::empty(),
            length => Self::of(Payload::Lying(segments), Some(length)),
        }
    }

    /// Several of them, one after the other.
    pub(crate) fn many(parts: VecDeque<Segments>) -> Self {
        let length = parts.iter().map(Segments::length).sum();
        Self::of(Payload::Many(parts), Some(length))
    }

    /// What a source gives: so many bytes, if that is known.
    pub(crate) fn sourced(source: impl Source + 'static, length: Option<u64>) -> Self {
        Self::of(Payload::Sourced(Box::new(source)), length)
    }

    fn of(content: Payload, left: Option<u64>) -> Self {
        Self { content, left, account: None, mapped: None, own: false, passage: None }
    }

    /// Says that its response has no fields that frame it.
    pub(crate) fn make_own(&mut self) {
        self.own = true;
    }

    /// Whether its response is known to have no fields that frame it.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    /// Says where its bytes lie mapped from a file. They are found there by their address.
    pub(crate) fn lies_in(&mut self, mapped: Weak<dyn Mapped>) {
        self.mapped = Some(mapped);
    }

    /// Where its bytes lie, if that was said.
    pub(crate) fn mapped(&mut self) -> Option<Weak<dyn Mapped>> {
        self.mapped.take()
    }

    /// Says how its request was passed to an application.
    pub(crate) fn passed(&mut self, passage: Passage) {
        self.passage = Some(Box::new(passage));
    }

    /// How its request was passed to an application, if that was said.
    pub(crate) fn passage(&mut self) -> Option<Passage> {
        self.passage.take().map(|passage| *passage)
    }

    /// Keeps the account until the content was handed over, or is dropped.
    pub(crate) fn charge(&mut self, account: Account) {
        self.account = Some(account);
    }

    /// Hands the account to HTTP/2, which knows better when the content is handed over.
    pub(crate) fn discharge(&mut self) -> Option<Account> {
        self.account.take()
    }

    /// How many bytes are still to come, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        self.left
    }

    /// Whether all content was given. A stream may have trailers behind the last byte.
    pub(crate) fn is_over(&self) -> bool {
        self.left == Some(0) && !matches!(&self.content, Payload::Streamed(stream) if !stream.is_end_stream())
    }

    /// What follows the content, once all of that was given.
    pub(crate) fn trailers(&mut self) -> Option<HeaderMap> {
        match std::mem::replace(&mut self.content, Payload::Empty) {
            Payload::Trailers(trailers) => Some(*trailers),
            other => {
                self.content = other;
                None
            }
        }
    }

    /// Whether it is a handler's stream.
    pub(crate) fn is_streamed(&self) -> bool {
        matches!(self.content, Payload::Streamed(_))
    }

    /// A stream must be as long as that.
    pub(crate) fn expect(&mut self, length: u64) {
        self.left = Some(length);
    }

    /// All content that lies in one place, if that is what there is; none of it is left then.
    pub(crate) fn take_lying(&mut self) -> Option<Segments> {
        let Payload::Lying(segments) = &mut self.content else { return None };
        self.left = Some(0);
        Some(std::mem::take(segments))
    }

    /// The next bytes; of what a source makes no more than `most`, since what is made and not sent is memory. What lies
    /// somewhere is not cut.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>, most: usize) -> Poll<Option<io::Result<Segments>>> {
        if self.is_over() {
            self.account = None;
            return Poll::Ready(None);
        }
        let mut follow = None;
        let next = match &mut self.content {
            Payload::Empty => None,
            Payload::Lying(segments) => Some(Ok(std::mem::take(segments))),
            Payload::Many(parts) => parts.pop_front().map(Ok),
            Payload::Sourced(source) => ready!(source.poll_next(context, most)),
            Payload::Streamed(stream) => {
                let next = stream.as_mut().poll_frame(context);
                if let Some(account) = &mut self.account {
                    account.wait_for_server(next.is_pending());
                }
                match ready!(next).map(|frame| frame.map(Frame::into_data)) {
                    Some(Ok(Ok(data))) => Some(Ok(data.into())),
                    Some(Ok(Err(trailers))) => {
                        follow = trailers.into_trailers().ok().and_then(trailers::permitted);
                        None
                    }
                    Some(Err(error)) => Some(Err(error)),
                    None => None,
                }
            }
            Payload::Trailers(_) => None,
        };
        let length = match &next {
            Some(Ok(segments)) => segments.length(),
            _ => 0,
        };
        let next = match (next, self.left) {
            (Some(Ok(_)), Some(left)) if length > left => {
                Some(Err(io::Error::other("the content is longer than it says")))
            }
            (None, Some(1..)) => Some(Err(io::Error::other("the content is shorter than it says"))),
            (next, _) => next,
        };
        match &next {
            Some(Ok(_)) => self.left = self.left.map(|left| left - length),
            Some(Err(_)) => {}
            None => self.left = Some(0),
        }
        if let Some(account) = &mut self.account {
            account.add(length);
        }
        if self.is_over() || !matches!(next, Some(Ok(_))) {
            self.content = follow.map_or(Payload::Empty, |trailers| Payload::Trailers(Box::new(trailers)));
            self.account = None;
        }
        Poll::Ready(next)
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::lying(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::lying(Bytes::from(text))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Body").field("left", &self.left).finish_non_exhaustive()
    }
}

/// A stream of somebody else's making.
struct Streamed<B>(Pin<Box<B>>);

impl<B> hyper::body::Body for Streamed<B>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            match ready!(self.0.as_mut().poll_frame(context)) {
                // An empty chunk would end the content (RFC 9112 §7.1).
                Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
                next => return Poll::Ready(next.map(|frame| frame.map_err(io::Error::other))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

impl hyper::body::Body for Body {
    type Data = Segments;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Segments>, io::Error>>> {
        let next = ready!(self.poll_next(context, usize::MAX));
        let next = next.map(|segments| segments.map(Frame::data));
        Poll::Ready(next.or_else(|| self.trailers().map(|trailers| Ok(Frame::trailers(trailers)))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over() && !matches!(self.content, Payload::Trailers(_))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
