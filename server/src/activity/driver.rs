//! The task that drives a connection, and watches its deadlines.

use std::{
    sync::{Mutex, PoisonError},
    task::Waker,
};

use tokio::task;

/// Wakes that task where something else brings a deadline nearer: a handler may read content in a task of its own.
#[derive(Debug, Default)]
pub(crate) struct Driver(Mutex<Option<Driving>>);

#[derive(Debug)]
struct Driving {
    waker: Waker,
    /// None outside of any task.
    task: Option<task::Id>,
}

impl Driver {
    /// The task that runs drives the connection from now on.
    pub(crate) fn is(&self, waker: &Waker) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Driving { waker: waker.clone(), task: task::try_id() });
    }

    /// Has the deadlines looked at. In its own turn the task looks at them behind everything else.
    pub(crate) fn wake(&self) {
        if let Some(driving) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && (driving.task.is_none() || driving.task != task::try_id())
        {
            driving.waker.wake_by_ref();
        }
    }
}
