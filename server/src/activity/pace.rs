//! How fast a client moves bytes while it is waited for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes in one direction. Times are milliseconds since the connection was made.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Since when the client has not moved as many as it must.
    since: AtomicU64,
    /// How many it has moved since then.
    moved: AtomicU64,
    /// How many it must move to be given its time anew ([`Bounds::progress`](crate::Bounds::progress)).
    least: u64,
}

impl Pace {
    pub(crate) fn new(least: u64) -> Self {
        Self { since: AtomicU64::new(0), moved: AtomicU64::new(0), least }
    }

    /// The client is waited for from `now` on.
    pub(crate) fn begin(&self, now: u64) {
        self.since.store(now, Relaxed);
    }

    /// The client moved so many bytes; `now` is asked if that gives it its time anew.
    pub(crate) fn moved(&self, bytes: u64, now: impl FnOnce() -> u64) {
        let moved = self.moved.load(Relaxed) + bytes;
        if moved >= self.least {
            self.moved.store(0, Relaxed);
            self.since.store(now(), Relaxed);
        } else {
            self.moved.store(moved, Relaxed);
        }
    }

    /// Since when the client is too slow.
    pub(crate) fn since(&self) -> u64 {
        self.since.load(Relaxed)
    }
}
