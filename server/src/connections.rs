//! One thread's connections: accepted, answered, watched, drained.

mod accept;
mod awaited;
mod drive;
mod early_hints;
mod exchange;
mod farewell;
mod flags;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
mod guarded;
mod handler;
mod http2;
mod lane;
mod parked;
mod place;
mod request_body;
mod scan;
mod session;
mod share;
mod spliced;
mod tcp;
mod tunnel;
pub(crate) mod websocket;
mod writable;

use std::sync::Arc;

use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::rustls::ServerConfig;

pub(crate) use self::lane::EVENT_INTERVAL;
pub(crate) use self::{
    early_hints::EarlyHints,
    handler::Later,
    tunnel::{Switch, Tunnel, TunnelStream},
};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::{
    fuzzing::requests,
    http2::fuzzing::{field_blocks, frames},
    scan::{Found, Scan},
    websocket::frames_of_websocket,
};
pub use self::{
    handler::{Answer, Client, Handler},
    request_body::RequestBody,
};

use crate::{access::Log, counters::Counters, port::Port, quota::Quota, settings::Settings};

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
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) settings: Arc<Settings>,
    /// Who answers.
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) counters: Arc<Counters>,
    /// Connections that are open.
    pub(crate) connections: Arc<Quota>,
    /// Bytes of content over HTTP/2 that may lie unread beyond what may on each connection.
    pub(crate) unread: Arc<Quota>,
    pub(crate) log: Option<Log>,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Worker").field("settings", &self.settings).finish_non_exhaustive()
    }
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// What the seam is for: what is served, and how it is answered, is behind [`Handler`](super::Handler).
    #[test]
    fn the_wire_knows_no_site() {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/connections")];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                let known = text.split(|character: char| !character.is_alphanumeric() && character != '_');
                let known: Vec<_> = known.filter(|word| ["Site", "Files"].contains(word)).collect();
                assert!(known.is_empty(), "{}: {known:?}", path.display());
                for room in ["respond", "site", "files"] {
                    let used =
                        [["crate", room].join("::"), format!("    {room}::")].iter().any(|path| text.contains(path));
                    assert!(!used, "{} uses {room}", path.display());
                }
                files += 1;
            }
        }
        assert!(files > 30, "{files}");
    }
}
