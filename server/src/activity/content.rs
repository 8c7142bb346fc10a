//! What has become of the content of a request.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// What became of a request's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentState {
    /// There is none left to come, or what comes does not concern the next request.
    Read,
    /// Some is still to come: the next request would have to be looked for behind it.
    Unread,
    /// It is not framed as it must be, or ended early.
    Broken,
}

/// That of the last request of a connection: [`ContentState::Read`] before the first one.
#[derive(Debug, Default)]
pub(crate) struct LastContent(AtomicU8);

impl LastContent {
    pub(crate) fn set(&self, content: ContentState) {
        self.0.store(content as u8, Relaxed);
    }

    pub(crate) fn get(&self) -> ContentState {
        const READ: u8 = ContentState::Read as u8;
        const UNREAD: u8 = ContentState::Unread as u8;
        match self.0.load(Relaxed) {
            READ => ContentState::Read,
            UNREAD => ContentState::Unread,
            _ => ContentState::Broken,
        }
    }
}
