//! A request to an application, written as RFC 9112 has it: by hand, and with one call where its content is small.

use std::{
    io::{IoSlice, Write as _},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};
use hyper::body::Frame;
use tokio::time::Instant;

use super::{
    content::Outgoing,
    failure::Failure,
    fields::{self, write_line},
    stream::AppStream,
};
use crate::{connections::Client, semantics::trailers};

/// What this server says in an opening of its own. Over HTTP/2 there is no key, and the version need not be said (RFC 8441 §5).
const OWN_OPENING: [HeaderName; 2] = [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION];

/// A request on its way: its head and its content, as far as it was not sent.
#[derive(Debug, Default)]
pub(super) struct RequestWriter {
    is_head: bool,
    /// What goes before `data`: the head of the request, then the size of each chunk.
    lines: Vec<u8>,
    /// The content that is sent now.
    data: Bytes,
    /// What goes behind it.
    end: &'static [u8],
    /// How much of these three was sent.
    sent: usize,
    /// What comes after them.
    content: Outgoing,
    /// Whether the content is sent in chunks, as its length is not known (RFC 9112 §7.1).
    chunked: bool,
    /// Whether a byte was sent.
    begun: bool,
    /// Whether the application takes no more.
    refused: bool,
    /// Since when the application is waited for; none while the client is, which sends the content.
    since: Option<Instant>,
}

impl RequestWriter {
    /// A request with that content. Its target is passed byte for byte as it came, in origin form (RFC 9112 §3.2.1).
    pub(super) fn new(head: &Parts, client: Client, content: Outgoing) -> Self {
        let mut lines = Vec::with_capacity(1024);
        write_request_line(&head.method, head, &mut lines);
        fields::write_request(head, client, &[], &mut lines);
        if fields::takes_trailers(&head.headers) {
            lines.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
        }
        let chunked = write_framing(&head.method, &content, &mut lines);
        lines.extend_from_slice(b"\r\n");
        Self { is_head: head.method == Method::HEAD, lines, content, chunked, ..Self::default() }
    }

    /// A request that opens a WebSocket (RFC 6455 §4.1), with this key where the client has given none.
    pub(super) fn opening(head: &Parts, client: Client, key: Option<&HeaderValue>) -> Self {
        let mut lines = Vec::with_capacity(1024);
        write_request_line(&Method::GET, head, &mut lines);
        let others = if key.is_some() { &OWN_OPENING[..] } else { &[] };
        fields::write_request(head, client, others, &mut lines);
        if let Some(key) = key {
            write_line(header::SEC_WEBSOCKET_KEY.as_str(), key.as_bytes(), &mut lines);
            write_line(header::SEC_WEBSOCKET_VERSION.as_str(), b"13", &mut lines);
        }
        lines.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n\r\n");
        Self { lines, ..Self::default() }
    }

    /// Sends what there is and the application takes; ready once all of it was sent, or the application takes no more.
    ///
    /// # Errors
    /// The client's: its content breaks off, or is more than is passed.
    pub(super) fn poll_send(&mut self, stream: &mut AppStream, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while !self.refused {
            // The first content goes with the head, if it is there.
            let next = if self.data.is_empty() { self.poll_content(context)? } else { Poll::Ready(()) };
            if self.sent == self.length() {
                return next.map(Ok);
            }
            let parts = self.parts();
            match ready!(stream.poll_write_vectored(context, &parts.map(IoSlice::new))) {
                Ok(0) | Err(_) => self.refused = true,
                Ok(sent) => self.sent(sent),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Adds the next content to what is to be sent; pending if there is none yet.
    fn poll_content(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.content.is_empty() && !self.chunked {
            return Poll::Ready(Ok(()));
        }
        let frame = loop {
            let next = self.content.poll_next(context);
            self.since = next.is_ready().then(Instant::now);
            match ready!(next).transpose()?.map(Frame::into_data) {
                // An empty chunk would be the last one.
                Some(Ok(data)) if data.is_empty() => continue,
                frame => break frame,
            }
        };
        if self.sent == self.length() {
            self.lines.clear();
            self.sent = 0;
        }
        match frame {
            Some(Ok(data)) => self.add_data(data),
            Some(Err(frame)) => self.end_content(frame.into_trailers().ok()),
            None => self.end_content(None),
        }
        Poll::Ready(Ok(()))
    }

    fn add_data(&mut self, data: Bytes) {
        if self.chunked {
            // Writing to a vector cannot fail.
            let _ = write!(self.lines, "{:x}\r\n", data.len());
            self.end = b"\r\n";
        }
        self.data = data;
    }

    /// Only chunks have trailers behind them. Those that may not be there are left out (RFC 9110 §6.5.1), and those that no visitor
    /// says to an application.
    fn end_content(&mut self, trailers: Option<HeaderMap>) {
        self.content = Outgoing::Empty;
        if !std::mem::take(&mut self.chunked) {
            return;
        }
        self.lines.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.and_then(trailers::permitted).iter().flatten() {
            if !fields::ends_here(name) {
                write_line(name.as_str(), value.as_bytes(), &mut self.lines);
            }
        }
        self.lines.extend_from_slice(b"\r\n");
    }

    fn parts(&self) -> [&[u8]; 3] {
        let mut skip = self.sent;
        [&self.lines[..], &self.data, self.end].map(|part| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            &part[skipped..]
        })
    }

    fn length(&self) -> usize {
        self.lines.len() + self.data.len() + self.end.len()
    }

    fn sent(&mut self, bytes: usize) {
        self.begun = true;
        self.sent += bytes;
        if self.sent == self.length() && !self.data.is_empty() {
            self.lines.clear();
            (self.data, self.end, self.sent) = (Bytes::new(), b"", 0);
        }
    }

    /// Whether the method is HEAD.
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    /// Whether all of it was sent.
    pub(super) fn is_sent(&self) -> bool {
        !self.refused && self.content.is_empty() && !self.chunked && self.sent == self.length()
    }

    /// Whether a byte of it was sent.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Has it sent from its beginning: one without content, or of which no byte was sent.
    pub(super) fn rewind(&mut self) {
        (self.sent, self.begun, self.refused) = (0, false, false);
    }

    /// The application is waited for from now on.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Since when the application is waited for; none while the client is. A client that is slow to send content that is streamed is not
    /// the application's fault.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }
}

fn write_request_line(method: &Method, head: &Parts, out: &mut Vec<u8>) {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    // An absolute form may have a query and no path.
    if target.starts_with('?') {
        out.push(b'/');
    }
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Says how the content is framed (RFC 9112 §6), and that there is none where the method lets one expect it (RFC 9110 §8.6); whether it
/// is sent in chunks.
fn write_framing(method: &Method, content: &Outgoing, out: &mut Vec<u8>) -> bool {
    match content.length() {
        _ if content.is_empty() => {
            if [Method::POST, Method::PUT, Method::PATCH].contains(method) {
                out.extend_from_slice(b"content-length: 0\r\n");
            }
            false
        }
        Some(length) => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "content-length: {length}\r\n");
            false
        }
        None => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            true
        }
    }
}
