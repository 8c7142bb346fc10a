//! Connections of one thread that wait for their next request: a request never leaves its thread, and nothing is locked for it.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::connection::AppConnection;

/// How long a connection waits. Applications close theirs after 2 s (gunicorn) or 5 s (uvicorn, Node.js), and what is sent at that
/// moment is lost.
const IDLE: Duration = Duration::from_secs(1);
/// How many wait in a thread.
const MOST: usize = 64;

thread_local! {
    static WAITING: RefCell<HashMap<u64, Idle>> = RefCell::default();
}

/// The connections of one application that wait in this thread.
#[derive(Debug, Default)]
struct Idle {
    /// The last one is the one that has waited for the shortest time.
    connections: Vec<(Instant, Box<AppConnection>)>,
    /// Whether a task closes those that have waited for too long.
    swept: bool,
}

/// The connections to one application, of each thread apart.
#[derive(Debug)]
pub(super) struct Pool(u64);

impl Pool {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Relaxed))
    }

    /// A connection that waits, and is open as far as is known.
    pub(super) fn take(&self) -> Option<Box<AppConnection>> {
        loop {
            let next = WAITING.with_borrow_mut(|waiting| waiting.get_mut(&self.0)?.connections.pop());
            let (since, connection) = next?;
            if since.elapsed() < IDLE && connection.is_silent() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request, if it can have one.
    pub(super) fn leave(&self, mut connection: Box<AppConnection>) {
        if !connection.rest() {
            return;
        }
        let sweeps = WAITING.with_borrow_mut(|waiting| {
            let idle = waiting.entry(self.0).or_default();
            if idle.connections.len() < MOST {
                idle.connections.push((Instant::now(), connection));
            }
            !std::mem::replace(&mut idle.swept, true)
        });
        if sweeps {
            tokio::spawn(sweep(self.0));
        }
    }
}

/// Closes the connections of this thread that have waited for too long, until there are none.
async fn sweep(application: u64) {
    loop {
        sleep(IDLE).await;
        // What is closed is dropped out of the borrow.
        let (_closed, done) = WAITING.with_borrow_mut(|waiting| {
            let Some(idle) = waiting.get_mut(&application) else { return (Vec::new(), true) };
            let fresh = idle.connections.iter().position(|(since, _)| since.elapsed() < IDLE);
            let closed: Vec<_> = idle.connections.drain(..fresh.unwrap_or(idle.connections.len())).collect();
            let done = idle.connections.is_empty();
            if done {
                waiting.remove(&application);
            }
            (closed, done)
        });
        // The next that waits has another sweep.
        if done {
            return;
        }
    }
}
