//! Which of a connection's streams have something new to say: the others are not asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire, Ordering::Release},
    },
    task::{Context, Poll, Wake, Waker},
};

/// What one stream waits for. A connection's task is woken for all of its streams; this tells it for which.
#[derive(Debug)]
pub(super) struct Waits(Arc<WokenStream>);

#[derive(Debug)]
struct WokenStream {
    woken: AtomicBool,
    task: Waker,
}

impl Wake for WokenStream {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, AcqRel) {
            self.task.wake_by_ref();
        }
    }
}

impl Waits {
    /// One that has not been asked yet, of this task.
    pub(super) fn new(context: &Context<'_>) -> Self {
        Self(Arc::new(WokenStream { woken: AtomicBool::new(true), task: context.waker().clone() }))
    }

    /// Whether asking is worth it.
    pub(super) fn is_woken(&self) -> bool {
        self.0.woken.load(Acquire)
    }

    /// Asks, if the stream was woken since it had nothing to say.
    pub(super) fn poll<T>(&mut self, context: &Context<'_>, ask: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        if !self.0.task.will_wake(context.waker()) {
            *self = Self::new(context);
        }
        if !self.0.woken.swap(false, AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(self.0.clone());
        let polled = ask(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.0.woken.store(true, Release);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_stream_is_asked_only_when_it_was_woken() {
        let task = Waker::from(Arc::new(Task));
        let context = Context::from_waker(&task);
        let mut waits = Waits::new(&context);
        let mut waker = None;
        let pending: Poll<()> = waits.poll(&context, |context| {
            waker = Some(context.waker().clone());
            Poll::Pending
        });
        assert!(pending.is_pending() && !waits.is_woken());
        let _: Poll<()> = waits.poll(&context, |_| panic!("it was not woken"));
        waker.unwrap().wake();
        assert!(waits.is_woken());
        assert!(waits.poll(&context, |_| Poll::Ready(())).is_ready());
        assert!(waits.is_woken(), "there may be more");
    }
}
