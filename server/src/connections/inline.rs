//! Runs what HTTP/2 would spawn for each stream.

use std::task::{Context, Waker};

use hyper::rt::Executor;

/// Polls a stream's future once where it is, and spawns it only if it is not done then.
///
/// Responses are worked out without waiting, so nearly all are done at once, and a task for each would cost more than they
/// do. What is left waits for the client to take more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inline;

impl<F> Executor<F> for Inline
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut future = Box::pin(future);
        // A task is polled as soon as it is spawned, and leaves its own waker then.
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_pending() {
            tokio::spawn(future);
        }
    }
}
