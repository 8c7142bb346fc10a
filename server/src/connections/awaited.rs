//! A handler that waits for content.

use std::sync::Arc;

use crate::activity::Activity;

/// Whether a handler waits for content that the client has not sent.
#[derive(Debug)]
pub(super) struct AwaitedContent {
    pub(super) activity: Arc<Activity>,
    is: bool,
    /// Whether the client may take any time.
    patient: bool,
}

impl AwaitedContent {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        Self { activity, is: false, patient: false }
    }

    /// From now on the client may take any time.
    pub(super) fn is_patient(&mut self) {
        self.set(false, 0);
        self.patient = true;
    }

    /// Whether content is waited for after so many bytes came.
    pub(super) fn set(&mut self, awaited: bool, came: usize) {
        if came > 0 {
            self.activity.sent(came as u64);
        }
        if self.is != awaited && !self.patient {
            self.is = awaited;
            self.activity.wait_for_content(awaited);
        }
    }
}

impl Drop for AwaitedContent {
    fn drop(&mut self) {
        self.set(false, 0);
    }
}
