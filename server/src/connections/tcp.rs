//! The socket below a stream: what it knows beside the stream's bytes.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

/// A stream over TCP.
pub(super) trait Tcp {
    /// Ready once there is something to read, or the end.
    fn poll_stirs(&self, context: &mut Context<'_>) -> Poll<()>;

    /// Whether the client has closed its side, or the connection is gone, whatever is still to be read before that.
    fn has_left(&self) -> bool;

    /// Has the connection reset when the stream is dropped: the client cannot take what it got for all.
    fn reset_when_dropped(&self);
}

impl Tcp for TcpStream {
    fn poll_stirs(&self, context: &mut Context<'_>) -> Poll<()> {
        // An error is found again by who reads.
        self.poll_read_ready(context).map(drop)
    }

    fn has_left(&self) -> bool {
        // The kernel said so when it happened (EPOLLRDHUP), and tokio remembers.
        let ready = pin!(self.ready(Interest::READABLE)).poll(&mut Context::from_waker(Waker::noop()));
        match ready {
            Poll::Ready(Ok(ready)) => ready.is_read_closed(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    fn reset_when_dropped(&self) {
        // A socket that cannot be told so has no connection any more.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}
