//! Responses of 103 that a handler gives before its own (RFC 8297).

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

/// The most that are sent before one response.
const MOST: usize = 10;

/// Where a handler leaves the fields of 103, for a client that may be sent them.
#[derive(Clone, Debug, Default)]
pub(crate) struct EarlyHints(Arc<Mutex<Hints>>);

#[derive(Debug, Default)]
struct Hints {
    waiting: Vec<HeaderMap>,
    given: usize,
}

impl EarlyHints {
    /// Has these fields sent, unless there were too many before.
    pub(crate) fn give(&self, fields: HeaderMap) {
        let mut hints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hints.given < MOST {
            hints.given += 1;
            hints.waiting.push(fields);
        }
    }

    /// What is to be sent now.
    pub(super) fn take(&self) -> Vec<HeaderMap> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting)
    }
}
