//! How a connection is doing, so that a slow client is seen.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::settings::{Bounds, Patience};

/// What the reading, answering and writing sides of one connection know of its progress.
///
/// They all run in one task, so relaxed atomics are enough; times are milliseconds since the connection was made, 0 for
/// never.
#[derive(Debug)]
pub(crate) struct Pulse {
    made: Instant,
    /// How often the connection's task had its turn.
    turn: AtomicU64,
    requests: AtomicU64,
    in_flight: AtomicU32,
    /// Since when nothing is under way.
    idle: AtomicU64,
    /// Since when a head is incomplete.
    head: AtomicU64,
    /// The number of the request whose head that is: those before it may still have to be answered.
    incomplete: AtomicU64,
    /// Since when [`Bounds::progress`] bytes have not been taken.
    stalled: AtomicU64,
    taken: AtomicU64,
    /// Whether the client did not take all that was written last.
    pending: AtomicBool,
    /// Since when this side is closed.
    closed: AtomicU64,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            made: Instant::now(),
            turn: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            idle: AtomicU64::new(0),
            head: AtomicU64::new(0),
            incomplete: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            pending: AtomicBool::new(false),
            closed: AtomicU64::new(0),
        }
    }

    /// The connection's task has its next turn.
    pub(crate) fn begin_turn(&self) {
        self.turn.store(self.turn() + 1, Relaxed);
    }

    /// Which turn it is.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Relaxed)
    }

    /// A request's head is complete.
    pub(crate) fn began(&self) {
        let now = self.now();
        if self.requests.fetch_add(1, Relaxed) + 1 >= self.incomplete.load(Relaxed) {
            self.head.store(0, Relaxed);
        }
        if self.in_flight.fetch_add(1, Relaxed) == 0 {
            self.stalled.store(now, Relaxed);
        }
    }

    /// A response's content was handed over to the end.
    pub(crate) fn ended(&self) {
        if self.in_flight.fetch_sub(1, Relaxed) == 1 {
            self.idle.store(self.now(), Relaxed);
        }
    }

    /// Bytes of this request's head came, but not its end.
    pub(crate) fn head_incomplete(&self, request: u64) {
        if self.incomplete.swap(request, Relaxed) != request {
            self.head.store(self.now(), Relaxed);
        }
    }

    /// No head is incomplete: one that was had no request in it.
    pub(crate) fn no_head(&self) {
        self.head.store(0, Relaxed);
    }

    /// The client took `bytes`; `all` says whether that is all it was offered.
    pub(crate) fn took(&self, bytes: u64, all: bool, bounds: &Bounds) {
        let taken = self.taken.load(Relaxed) + bytes;
        if taken >= bounds.progress {
            self.taken.store(0, Relaxed);
            self.stalled.store(self.now(), Relaxed);
        } else {
            self.taken.store(taken, Relaxed);
        }
        self.set_pending(!all);
    }

    /// The client takes nothing now.
    pub(crate) fn took_nothing(&self) {
        self.set_pending(true);
    }

    /// The client took all it was offered.
    pub(crate) fn took_all(&self) {
        self.set_pending(false);
    }

    /// This side is closed; what still comes is read and thrown away.
    pub(crate) fn closed(&self) {
        self.closed.store(self.now(), Relaxed);
    }

    /// How many requests have begun.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// How many requests would be cut with the connection.
    pub(crate) fn under_way(&self) -> u64 {
        if self.closed.load(Relaxed) != 0 {
            return 0;
        }
        let unwritten = u32::from(self.pending.load(Relaxed));
        u64::from(self.in_flight.load(Relaxed).max(unwritten))
    }

    /// Whether a request is being answered, or its response being taken.
    pub(crate) fn busy(&self) -> bool {
        self.in_flight.load(Relaxed) > 0 || self.pending.load(Relaxed)
    }

    /// Whether the connection is not one that was just made and is about to ask something.
    pub(crate) fn settled(&self) -> bool {
        self.requests() > 0 || Instant::now() >= self.settles()
    }

    /// When a connection that was made and asks nothing may be closed.
    pub(crate) fn settles(&self) -> Instant {
        const ABOUT_TO_ASK: Duration = Duration::from_secs(1);
        self.made + ABOUT_TO_ASK
    }

    /// When a connection that waits for its next request gives its buffers back; `None` if it does not wait for that.
    pub(crate) fn rests(&self, patience: &Patience) -> Option<Instant> {
        let elsewhere = self.closed.load(Relaxed) != 0 || self.head.load(Relaxed) != 0;
        let waits = self.requests() > 0 && !self.busy() && !elsewhere;
        waits.then(|| self.made + Duration::from_millis(self.idle.load(Relaxed)) + patience.rest)
    }

    /// When the client's patience is used up if nothing happens until then.
    pub(crate) fn deadline(&self, patience: &Patience) -> Instant {
        let (since, allowed) = self.waiting_for(patience);
        self.made + Duration::from_millis(since) + allowed
    }

    fn waiting_for(&self, patience: &Patience) -> (u64, Duration) {
        match (self.closed.load(Relaxed), self.head.load(Relaxed)) {
            (closed @ 1.., _) => (closed, patience.close),
            _ if self.busy() => (self.stalled.load(Relaxed), patience.write),
            (_, head @ 1..) => (head, patience.head),
            _ if self.requests() == 0 => (0, patience.first),
            _ => (self.idle.load(Relaxed), patience.idle),
        }
    }

    fn set_pending(&self, pending: bool) {
        if pending && !self.busy() {
            self.stalled.store(self.now(), Relaxed);
        }
        self.pending.store(pending, Relaxed);
    }

    /// Never 0, which stands for never.
    fn now(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(pulse: &Pulse) -> u64 {
        (pulse.deadline(&Patience::default()) - Instant::now()).as_millis() as u64
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_state_of_a_connection_has_its_own_deadline() {
        let (pulse, bounds) = (Pulse::new(), Bounds::default());
        assert_eq!(pulse.rests(&Patience::default()), None, "nothing was asked yet");
        assert_eq!(left(&pulse), 9_000, "before the first request");
        pass(3).await;
        pulse.head_incomplete(1);
        pass(4).await;
        pulse.head_incomplete(1);
        assert_eq!(left(&pulse), 6_000, "a head counts from its first byte");
        pulse.began();
        assert_eq!(left(&pulse), 22_000, "a response");
        pass(10).await;
        pulse.took(100, true, &bounds);
        assert_eq!(left(&pulse), 12_000, "a trickle is no progress");
        pulse.took(bounds.progress, false, &bounds);
        assert_eq!(left(&pulse), 22_000, "progress");
        pulse.ended();
        pass(5).await;
        assert_eq!((left(&pulse), pulse.under_way()), (17_000, 1), "handed over, but not taken");
        pulse.took(10, true, &bounds);
        assert_eq!((left(&pulse), pulse.under_way()), (55_000, 0), "idle");
        assert!(pulse.rests(&Patience::default()).is_some_and(|rests| rests <= Instant::now()), "long enough to rest");
        pulse.head_incomplete(3);
        pulse.began();
        pulse.ended();
        assert_eq!(left(&pulse), 10_000, "a head that began before the requests before it were answered");
        assert_eq!(pulse.rests(&Patience::default()), None, "a head is coming");
        pulse.began();
        assert_eq!(pulse.rests(&Patience::default()), None, "a response is under way");
        pulse.ended();
        pulse.closed();
        assert_eq!(left(&pulse), 2_000, "closing");
    }
}
