//! Connections of one thread that wait for their next request: a request never leaves its thread, and nothing is locked for it.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::connection::AppConnection;

/// How long a connection waits. Applications close theirs after 2 s (gunicorn) or 5 s (uvicorn, Node.js), and what is sent at that
/// moment is lost.
const IDLE: Duration = Duration::from_secs(1);
/// How many wait in a thread, however many were in use at once. A few clients of HTTP/2 ask for hundreds of responses at a time: with room
/// for fewer, most of their requests would each make a connection and close it.
const MOST: usize = 512;

thread_local! {
    static WAITING: RefCell<HashMap<u64, Idle>> = RefCell::default();
}

/// The connections of one application that wait in this thread.
#[derive(Debug, Default)]
struct Idle {
    /// The last one is the one that has waited for the shortest time.
    connections: VecDeque<(Instant, Box<AppConnection>)>,
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
            let next = WAITING.with_borrow_mut(|waiting| waiting.get_mut(&self.0)?.connections.pop_back());
            let (since, connection) = next?;
            if since.elapsed() < IDLE && connection.is_silent() {
                return Some(connection);
            }
        }
    }

    /// Closes the connection that has waited for the longest time, as one is made for a request that may not have it: else the application
    /// would have more of them than there are requests at once, and those that keep a process for each could not take the new one.
    pub(super) fn make_way(&self) {
        // What is closed is dropped out of the borrow.
        let _closed = WAITING.with_borrow_mut(|waiting| waiting.get_mut(&self.0)?.connections.pop_front());
    }

    /// Keeps a connection for the next request, if it can have one.
    pub(super) fn leave(&self, mut connection: Box<AppConnection>) {
        if !connection.rest() {
            return;
        }
        let sweeps = WAITING.with_borrow_mut(|waiting| {
            let idle = waiting.entry(self.0).or_default();
            if idle.connections.len() < MOST {
                idle.connections.push_back((Instant::now(), connection));
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::application::ApplicationAddress;

    /// An application that takes connections, and never answers.
    struct Application {
        listener: UnixListener,
        address: ApplicationAddress,
        accepted: Vec<UnixStream>,
        _folder: tempfile::TempDir,
    }

    impl Application {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("socket");
            let listener = UnixListener::bind(&path).unwrap();
            Self { listener, address: ApplicationAddress::Unix(path), accepted: Vec::new(), _folder: folder }
        }

        async fn connect(&self) -> Box<AppConnection> {
            AppConnection::open(&self.address).await.unwrap()
        }

        /// Takes the next connection, and says which of those it has taken are closed.
        fn closed(&mut self) -> Vec<usize> {
            self.accepted.push(self.listener.accept().unwrap().0);
            let is_closed = |stream: &UnixStream| {
                stream.set_nonblocking(true).unwrap();
                matches!(std::io::Read::read(&mut &*stream, &mut [0]), Ok(0))
            };
            (0..self.accepted.len()).filter(|at| is_closed(&self.accepted[*at])).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_wait_as_were_in_use_up_to_the_bound_and_no_longer_than_a_second() {
        let application = Application::new();
        let pool = Pool::new();
        let mut used = Vec::new();
        for _ in 0..MOST + 10 {
            used.push(application.connect().await);
        }
        used.drain(..).for_each(|connection| pool.leave(connection));
        used.extend(std::iter::from_fn(|| pool.take()));
        assert_eq!(used.len(), MOST);
        pool.leave(used.remove(0));
        tokio::time::advance(IDLE).await;
        assert!(pool.take().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_takes_the_place_of_the_one_that_waits_longest() {
        let mut application = Application::new();
        let pool = Pool::new();
        let first = application.connect().await;
        let second = application.connect().await;
        pool.leave(first);
        pool.leave(second);
        assert!(application.closed().is_empty() && application.closed().is_empty());
        // Requests that may have none of these, one after the other.
        for made in 2..6 {
            pool.make_way();
            let connection = application.connect().await;
            assert_eq!(application.closed(), (0..made - 1).collect::<Vec<_>>());
            pool.leave(connection);
        }
        assert_eq!(std::iter::from_fn(|| pool.take()).count(), 2);
        pool.make_way();
    }
}
