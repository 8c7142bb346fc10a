//! A connection between two requests, kept as little more than its socket.
//!
//! hyper holds two buffers of 8 KiB for each HTTP/1 connection, used or not, and a site has many connections that wait. So
//! when nothing was asked for a moment, hyper's part is taken away, and made anew once something happens. What is known of
//! the connection (its requests, deadlines, the place in the client's bytes) stays where it is, in [`Guarded`] and
//! [`Activity`](super::Activity).

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{Phase, guarded::Guarded, session::Session, spliced::Spliced};

/// A stream that can be waited for without a buffer.
pub(super) trait Quiet {
    /// Ready once there is something to read, or the end.
    fn poll_stirs(&self, context: &mut Context<'_>) -> Poll<()>;
}

impl Quiet for TcpStream {
    fn poll_stirs(&self, context: &mut Context<'_>) -> Poll<()> {
        // An error is found again by who reads.
        self.poll_read_ready(context).map(drop)
    }
}

impl Quiet for Spliced {
    fn poll_stirs(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket().poll_stirs(context)
    }
}

/// Whoever read it last was told that nothing is left, so no content waits in the TLS session.
impl Quiet for Session {
    fn poll_stirs(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket().poll_stirs(context)
    }
}

/// Waits until the client says something, its patience is used up, or a drain comes that far that idle connections are
/// closed.
pub(super) async fn park<S: Quiet>(stream: &Guarded<S>, phases: &mut watch::Receiver<Phase>, until: Instant) {
    tokio::select! {
        () = poll_fn(|context| stream.socket().poll_stirs(context)) => {}
        // An error means that the server was dropped without a drain.
        _ = timeout_at(until, phases.wait_for(|phase| *phase >= Phase::Closing)) => {}
    }
}
