//! The place that an open connection takes.

use std::{net::IpAddr, sync::Arc};

use super::Worker;
use crate::{Counters, quota::Held};

/// The place of one open connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    counters: Arc<Counters>,
    _held: Held,
}

impl Place {
    /// A place for one more connection from `address`; `None` at a bound.
    pub(super) fn take(worker: &Worker, address: IpAddr) -> Option<Self> {
        let counters = worker.counters.clone();
        let Some(held) = worker.connections.take(address) else {
            counters.turn_away();
            return None;
        };
        counters.opened();
        Some(Self { counters, _held: held })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counters.closed();
    }
}
