//! A handler that waits for content.

use std::sync::Arc;

use crate::activity::Activity;

/// Whether a handler waits for content that the client has not sent.
#[derive(Debug)]
pub(super) struct AwaitedContent {
    pub(super) activity: Arc<Activity>,
    is: bool,
}

impl AwaitedContent {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        Self { activity, is: false }
    }

    /// Whether content is waited for after so many bytes came.
    pub(super) fn set(&mut self, awaited: bool, came: usize) {
        if came > 0 {
            self.activity.sent(came as u64);
        }
        if self.is != awaited {
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
