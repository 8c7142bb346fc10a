//! A connection between two requests, kept as little more than its socket.
//!
//! hyper holds two buffers of 8 KiB for each HTTP/1 connection, used or not, and a site has many connections that wait. So
//! when nothing was asked for a moment, hyper's part is taken away, and made anew once something happens. What is known of
//! the connection (its requests, deadlines, the place in the client's bytes) stays where it is, in [`Guarded`] and
//! [`Activity`](super::Activity).

use std::future::poll_fn;

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{Phase, guarded::Guarded, tcp::Tcp};

/// Waits until the client says something, its patience is used up, or a drain comes that far that idle connections are
/// closed. The last read of the stream returned that nothing is left, so no content waits in a TLS session.
pub(super) async fn park<S: Tcp>(stream: &Guarded<S>, phases: &mut watch::Receiver<Phase>, until: Instant) {
    tokio::select! {
        () = poll_fn(|context| stream.stream().poll_stirs(context)) => {}
        // An error means that the server was dropped without a drain.
        _ = timeout_at(until, phases.wait_for(|phase| *phase >= Phase::Closing)) => {}
    }
}
