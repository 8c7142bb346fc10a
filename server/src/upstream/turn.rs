//! A future whose parts wake each other without waking its task.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicU8,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    task::{Context, Poll, Wake, Waker},
};

/// A future that is polled again at once where a part of it was woken by another: hyper's client and who uses it are such parts. The
/// task, which has the client's connection to poll as well, is woken by what comes from outside alone.
pub(crate) struct Turn<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    woken: Arc<Woken>,
}

struct Woken {
    state: AtomicU8,
    task: Mutex<Waker>,
}

const WAITING: u8 = 0;
const POLLED: u8 = 1;
const WOKEN: u8 = 2;

/// How often it is polled in one turn of the task.
const MOST: usize = 16;

impl<T> Turn<T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        let woken = Woken { state: AtomicU8::new(WOKEN), task: Mutex::new(Waker::noop().clone()) };
        Self { future: Box::pin(future), woken: Arc::new(woken) }
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, AcqRel) == WAITING {
            self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
        }
    }
}

impl<T> Future for Turn<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        {
            let mut task = self.woken.task.lock().unwrap_or_else(PoisonError::into_inner);
            if !task.will_wake(context.waker()) {
                task.clone_from(context.waker());
            }
        }
        let waker = Waker::from(self.woken.clone());
        let mut inner = Context::from_waker(&waker);
        for _ in 0..MOST {
            // Nothing has happened: the task was polled for something else.
            if self.woken.state.load(Acquire) == WAITING {
                return Poll::Pending;
            }
            self.woken.state.store(POLLED, Release);
            if let Poll::Ready(done) = self.future.as_mut().poll(&mut inner) {
                // What wakes it from now on wakes nothing: it is done.
                self.woken.state.store(POLLED, Release);
                return Poll::Ready(done);
            }
            let waits = self.woken.state.compare_exchange(POLLED, WAITING, AcqRel, Acquire);
            if waits.is_ok() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicUsize};

    use super::*;

    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, AcqRel);
        }
    }

    #[test]
    fn parts_wake_each_other_and_only_what_comes_from_outside_wakes_the_task() {
        let task = Arc::new(Task(AtomicUsize::new(0)));
        let (waker, woken) = (Waker::from(task.clone()), || task.0.load(Acquire));
        let mut context = Context::from_waker(&waker);
        let outside = Arc::new(Mutex::new(None::<Waker>));
        let (keeps, mut polls) = (outside.clone(), 0);
        let mut turn = Turn::new(poll_fn(move |context| {
            polls += 1;
            *keeps.lock().unwrap() = Some(context.waker().clone());
            match polls {
                // One part wakes the other.
                1 | 2 => context.waker().wake_by_ref(),
                4 => return Poll::Ready(polls),
                _ => {}
            }
            Poll::Pending
        }));
        assert!(Pin::new(&mut turn).poll(&mut context).is_pending());
        assert_eq!(woken(), 0);
        assert!(Pin::new(&mut turn).poll(&mut context).is_pending(), "it is not polled for nothing");
        let waker = outside.lock().unwrap().clone().unwrap();
        waker.wake_by_ref();
        assert_eq!(woken(), 1);
        assert_eq!(Pin::new(&mut turn).poll(&mut context), Poll::Ready(4));
        waker.wake();
        assert_eq!(woken(), 1, "it is done");
    }
}
