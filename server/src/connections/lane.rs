//! Where connections wait that have written their share and have more to write.
//!
//! If each came again by itself, the thread's queue would hold all of them, and a client that asks for a page would wait at each
//! of his steps until all had written. From here a few come at a time, and between them the thread looks who else is there.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    convert::Infallible,
    rc::Rc,
    task::Waker,
};

use tokio::{sync::Notify, task::yield_now};

/// Bytes that are written before the thread looks for others, if one does not write more at once: about a millisecond.
const AT_A_TIME: usize = 1 << 20;
/// So many are called at most.
const MOST_AT_A_TIME: usize = 32;
/// After so many tasks the thread looks for others. More than are called at a time, or those would pile up in its queue.
pub(crate) const EVENT_INTERVAL: u32 = 2 * MOST_AT_A_TIME as u32;

thread_local! {
    static LANE: Rc<Lane> = Rc::default();
}

/// Those who wait on one thread.
#[derive(Debug, Default)]
struct Lane {
    waiting: RefCell<VecDeque<Waiting>>,
    /// How many were called so far.
    called: Cell<u64>,
    begun: Notify,
}

/// One's place among all who ever waited on the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

#[derive(Debug)]
struct Waiting {
    task: Waker,
    /// About how many bytes it will write.
    bytes: usize,
}

impl Lane {
    /// Calls some of the waiting writers; `false` if none waits.
    fn call_some(&self) -> bool {
        let mut left = AT_A_TIME;
        let mut called = 0;
        while left > 0
            && called < MOST_AT_A_TIME
            && let Some(next) = self.waiting.borrow_mut().pop_front()
        {
            left = left.saturating_sub(next.bytes);
            called += 1;
            self.called.set(self.called.get() + 1);
            next.task.wake();
        }
        called > 0
    }

    fn wait(&self, task: Waker, bytes: usize) -> Ticket {
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back(Waiting { task, bytes });
        self.begun.notify_one();
        Ticket(self.called.get() + waiting.len() as u64)
    }

    fn was_called(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.called.get()
    }
}

/// Lets the task come again when others had their turn; it will write about so many bytes then.
pub(super) fn wait(task: &Waker, bytes: usize) -> Ticket {
    LANE.with(|lane| lane.wait(task.clone(), bytes))
}

/// Whether the writer of this place was called. One that comes for another reason has to wait all the same, or would have more than
/// one place.
pub(super) fn was_called(ticket: Ticket) -> bool {
    LANE.with(|lane| lane.was_called(ticket))
}

/// Calls those who wait on this thread, for as long as it is polled.
pub(super) async fn call() -> Infallible {
    let lane = LANE.with(Rc::clone);
    loop {
        if lane.call_some() {
            // Comes back when the thread has looked for others.
            yield_now().await;
        } else {
            lane.begun.notified().await;
        }
    }
}

/// Calls some of those who wait.
#[cfg(test)]
pub(super) fn call_some() {
    LANE.with(|lane| lane.call_some());
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn as_many_are_called_as_write_a_megabyte_but_no_crowd() {
        for (each, expected) in [(1, 32), (16 << 10, 32), (100 << 10, 11), (1 << 20, 1), (8 << 20, 1)] {
            let lane = Lane::default();
            let calls = Arc::new(Calls::default());
            for _ in 0..1000 {
                lane.wait(Waker::from(calls.clone()), each);
            }
            assert!(lane.call_some());
            assert_eq!(calls.0.load(Relaxed), expected, "{each} bytes each");
        }
        assert!(!Lane::default().call_some());
    }

    #[test]
    fn each_is_called_in_its_place() {
        let lane = Lane::default();
        let places: Vec<Ticket> = (0..60).map(|_| lane.wait(Waker::noop().clone(), 16 << 10)).collect();
        assert!(places.iter().all(|place| !lane.was_called(*place)));
        lane.call_some();
        let late = lane.wait(Waker::noop().clone(), 1);
        let called = places.iter().filter(|place| lane.was_called(**place)).count();
        assert_eq!((called, lane.was_called(places[31]), lane.was_called(places[32])), (32, true, false));
        lane.call_some();
        assert!(lane.was_called(places[59]) && lane.was_called(late));
    }

    #[tokio::test]
    async fn whoever_waits_comes_again_and_others_before() {
        let calls = Arc::new(Calls::default());
        let mut calling = Box::pin(call());
        for _ in 0..1000 {
            wait(&Waker::from(calls.clone()), 16 << 10);
        }
        let mut others = 0;
        while calls.0.load(Relaxed) < 1000 {
            tokio::select! {
                biased;
                never = &mut calling => match never {},
                () = yield_now() => others += 1,
            }
        }
        assert!(others >= 1000 / 32 / 2, "others came only {others} times");
    }
}
