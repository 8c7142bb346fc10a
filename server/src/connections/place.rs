//! The place that an open connection takes.

use std::{net::IpAddr, sync::Arc};

use super::Worker;
use crate::{counters::Counters, quota::Held, trusted_proxy};

/// How many connections beyond the bound for all may come from this machine: a probe of its health must be answered
/// however many strangers there are.
const RESERVE: usize = 16;

/// The place of one open connection, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    counters: Arc<Counters>,
    _held: Held,
}

impl ConnectionPermit {
    /// A place for one more connection from `peer` to `local`; `None` at a bound.
    pub(super) fn take(worker: &Worker, peer: IpAddr, local: Option<IpAddr>) -> Option<Self> {
        let counters = worker.counters.clone();
        let reserve = if is_this_machine(peer, local) { RESERVE } else { 0 };
        let held = if trusted_proxy::holds(&worker.settings.trusted_proxies, peer) {
            worker.connections.take_shared(peer)
        } else {
            worker.connections.take(peer, reserve)
        };
        let Some(held) = held else {
            counters.turn_away();
            return None;
        };
        counters.opened();
        Some(Self { counters, _held: held })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.counters.closed();
    }
}

/// Whether the other side is this machine, asking itself from the address that it asks. No stranger can be: answers to an
/// address of this machine never leave it.
fn is_this_machine(peer: IpAddr, local: Option<IpAddr>) -> bool {
    local.is_some_and(|local| local.to_canonical() == peer.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_asks_itself_from_the_address_that_it_asks() {
        let table = [
            ("127.0.0.1", Some("127.0.0.1"), true),
            ("::ffff:127.0.0.1", Some("::ffff:127.0.0.1"), true),
            ("::1", Some("::1"), true),
            ("10.0.0.7", Some("::ffff:10.0.0.7"), true),
            ("10.0.0.8", Some("10.0.0.7"), false),
            ("10.0.0.8", None, false),
        ];
        for (peer, local, expected) in table {
            let local = local.map(|local| local.parse().unwrap());
            assert_eq!(is_this_machine(peer.parse().unwrap(), local), expected, "{peer} at {local:?}");
        }
    }
}
