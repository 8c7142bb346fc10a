//! One thread's connections: accepted, answered, watched, drained.

mod accept;
mod answering;
mod drive;
mod farewell;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
mod guarded;
mod http2;
mod lane;
mod parked;
mod place;
mod pulse;
mod scan;
mod session;
mod share;
mod spliced;
mod writable;

use std::sync::Arc;

use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::rustls::ServerConfig;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::{
    fuzzing::requests,
    http2::fuzzing::{field_blocks, frames},
    scan::{Found, Scan},
};
pub(crate) use self::{guarded::Marks, lane::EVENT_INTERVAL, pulse::Pulse};

use crate::{
    Counters, Settings, Site,
    access::Log,
    bound::Port,
    quota::Quota,
    respond::{Names, Places},
};

/// How far a drain has come; it only ever advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everything is answered.
    Serving,
    /// Everything is answered, and each response ends its connection.
    Lingering,
    /// Nothing is accepted any more; what was accepted is answered, what is idle is closed.
    Closing,
    /// Everything is cut.
    Cutting,
}

/// What the connections of a thread share.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) settings: Arc<Settings>,
    pub(crate) names: Arc<Names>,
    pub(crate) site: watch::Receiver<Option<Arc<Site>>>,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) counters: Arc<Counters>,
    /// Connections that are open.
    pub(crate) connections: Arc<Quota>,
    /// Where responses are inflated.
    pub(crate) inflating: Arc<Places>,
    pub(crate) log: Option<Log>,
    pub(crate) phase: watch::Receiver<Phase>,
}

/// The listeners of a thread.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) http: Port,
    pub(crate) https: Port,
}

/// Serves until a drain is over; returns how many requests were cut.
pub(crate) async fn run(worker: Worker, listeners: Listeners) -> u64 {
    let worker = Arc::new(worker);
    let mut ports = JoinSet::new();
    for (port, secure) in [(listeners.http, false), (listeners.https, true)] {
        match TcpListener::from_std(port.listener) {
            Ok(listener) => {
                ports.spawn(accept::accept(worker.clone(), listener, secure, port.lent));
            }
            Err(error) => {
                tracing::error!(address = %port.address, %error, "a thread cannot listen")
            }
        }
    }
    tokio::select! {
        cut = all_cut(ports) => cut,
        never = lane::call() => match never {},
    }
}

/// Waits until all of them are done; returns how many requests they cut together.
async fn all_cut(mut tasks: JoinSet<u64>) -> u64 {
    let mut cut = 0;
    while let Some(done) = tasks.join_next().await {
        cut += done.unwrap_or(0);
    }
    cut
}
