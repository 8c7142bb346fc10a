//! What must hold whatever a client of HTTP/1 sends; see [`crate::fuzzing`].

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Found, Scan, flags::RequestFlags, guarded::Guarded, tcp::Tcp};
use crate::{activity::Activity, body::Body, settings::Bounds};

/// A client that says so much at once, and takes all.
struct Client<'a> {
    left: &'a [u8],
    piece: usize,
}

/// The scan and hyper find the same requests in the same bytes: where content ends for one, it ends for the other.
pub(crate) fn requests(data: &[u8]) {
    let bounds = Bounds { target: 64, ..Bounds::default() };
    let whole = seen(data, data.len().max(1), &bounds);
    let single = seen(data, 1, &bounds);
    assert_eq!(whole, single, "in one piece, and in single bytes");
    let mut scan = Scan::new(bounds.target);
    let found = scan.look(data);
    let (lengths, ended_well) = whole;
    assert!(lengths.len() as u64 <= scan.begun(), "hyper sees {lengths:?} where {} begin", scan.begun());
    // These end a connection, or have hyper wait for what a client does not send.
    let ends = |word: &[u8]| data.windows(word.len()).any(|bytes| bytes.eq_ignore_ascii_case(word));
    let goes_on = ![&b"connection"[..], b"HTTP/1.0", b"CONNECT"].into_iter().any(ends);
    if found == Found::Fine && scan.between_requests() && ended_well && goes_on {
        assert_eq!(lengths.len() as u64, scan.begun(), "{lengths:?}");
        assert!(lengths.iter().all(Option::is_some), "{lengths:?}");
    }
}

/// How long the content of each request is to hyper, or none if it is broken; and whether the connection ended well.
fn seen(data: &[u8], piece: usize, bounds: &Bounds) -> (Vec<Option<usize>>, bool) {
    let lengths = Mutex::new(Vec::new());
    let service = service_fn(|request: Request<Incoming>| {
        let lengths = &lengths;
        async move {
            let length = length(request.into_body()).await;
            lengths.lock().unwrap_or_else(PoisonError::into_inner).push(length);
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    let activity = Arc::new(Activity::new(bounds));
    let stream =
        Guarded::new(Client { left: data, piece }, activity.clone(), bounds, Arc::new(RequestFlags::default()));
    let mut builder = http1::Builder::new();
    builder.half_close(true).header_read_timeout(None);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut context = Context::from_waker(Waker::noop());
    // A turn reads 64 KiB at most, and nothing is waited for: the client has said all, and takes all.
    let ended = (0..100 + data.len()).find_map(|_| {
        activity.begin_turn();
        match connection.as_mut().poll(&mut context) {
            Poll::Ready(end) => Some(end.is_ok()),
            Poll::Pending => None,
        }
    });
    let ended_well = ended.expect("hyper waits for something that does not come");
    let lengths = lengths.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (lengths, ended_well)
}

async fn length(mut content: Incoming) -> Option<usize> {
    let mut length = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut content).poll_frame(context)).await {
        length += frame.ok()?.data_ref().map_or(0, |data| data.len());
    }
    Some(length)
}

impl Tcp for Client<'_> {
    fn poll_stirs(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn has_left(&self) -> bool {
        false
    }

    fn reset_when_dropped(&self) {}
}

impl AsyncRead for Client<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = self.left.len().min(self.piece).min(buffer.remaining());
        let (now, left) = self.left.split_at(length);
        buffer.put_slice(now);
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
