//! A thing that is counted as long as it lasts.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::Counters;

/// One more of what a gauge counts, until this is dropped.
#[derive(Debug)]
pub(crate) struct Gauge {
    counters: Arc<Counters>,
    count: fn(&Counters) -> &AtomicU64,
}

impl Gauge {
    /// One more of what `count` finds.
    pub(super) fn one_more(counters: &Arc<Counters>, count: fn(&Counters) -> &AtomicU64) -> Self {
        count(counters).fetch_add(1, Relaxed);
        Self { counters: counters.clone(), count }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.count)(&self.counters).fetch_sub(1, Relaxed);
    }
}
