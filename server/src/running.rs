//! A server that runs, until it is drained.

use std::{num::NonZero, sync::Arc, thread, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_rustls::rustls;

use crate::{
    access::{Log, Writing},
    connections::{EVENT_INTERVAL, Handler, Listeners, Phase, Worker, run},
    counters::Counters,
    identity::Identity,
    port::{BindError, Port},
    quota::Quota,
    settings::Settings,
    tls,
};

/// A server that runs. Dropping it cuts everything: [`drain`](Self::drain) it instead.
#[derive(Debug)]
pub struct Running {
    phase: watch::Sender<Phase>,
    workers: Vec<oneshot::Receiver<u64>>,
    counters: Arc<Counters>,
    /// Writes what waits when it is dropped, which is after the workers are done.
    writing: Option<Writing>,
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A further thread's listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// TLS cannot be spoken at all.
    #[error("TLS cannot be configured: {0}; build the program with the cryptography that it names")]
    Tls(#[source] rustls::Error),
    /// The access log.
    #[error("the access log cannot be opened: {0}; make its folder writable, or write the log elsewhere")]
    Access(#[source] std::io::Error),
    /// A thread and its event loop.
    #[error("a thread cannot be started: {0}; raise the limits on threads and open files")]
    Thread(#[source] std::io::Error),
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Requests that were still under way at the hard deadline, and were cut.
    pub requests_cut: u64,
}

impl Running {
    pub(crate) fn start(
        http: Port,
        https: Port,
        settings: Arc<Settings>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
        identity: watch::Receiver<Option<Arc<Identity>>>,
    ) -> Result<Self, ServeError> {
        let threads = settings.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get);
        let (phase, phases) = watch::channel(Phase::Serving);
        let access = settings.access.as_ref().map(Log::start).transpose();
        let (log, writing) = access.map_err(ServeError::Access)?.unzip();
        let worker = Worker {
            tls: tls::configuration(identity).map_err(ServeError::Tls)?,
            connections: Quota::new(settings.bounds.connections, settings.bounds.connections_per_address),
            unread: Quota::new(settings.bounds.unread, settings.bounds.unread_per_address),
            log,
            settings,
            handler,
            counters: counters.clone(),
            phase: phases,
        };
        let mut listeners = Vec::with_capacity(threads);
        for _ in 1..threads {
            listeners.push(Listeners { http: http.one_more()?, https: https.one_more()? });
        }
        listeners.push(Listeners { http, https });
        let workers = listeners
            .into_iter()
            .enumerate()
            .map(|(number, listeners)| spawn(number, worker.clone(), listeners))
            .collect::<Result<_, _>>()?;
        Ok(Self { phase, workers, counters, writing })
    }

    /// From now on every response ends its connection: `Connection: close`, or GOAWAY. Connections are still accepted.
    pub fn linger(&self) {
        self.advance(Phase::Lingering);
    }

    /// Serves as ever again, after [`linger`](Self::linger). A drain is not taken back.
    pub fn resume(&self) {
        self.phase.send_if_modified(|phase| {
            let lingers = *phase == Phase::Lingering;
            if lingers {
                *phase = Phase::Serving;
            }
            lingers
        });
    }

    /// Lingers until `soft` has passed, then stops accepting, answers what was accepted (connections that wait in the
    /// kernel's queue too) and closes connections as they become idle; once `hard` has passed, cuts what is left. Both are
    /// counted from the call.
    pub async fn drain(mut self, soft: Duration, hard: Duration) -> Drained {
        let now = Instant::now();
        self.advance(Phase::Lingering);
        sleep_until(now + soft.min(hard)).await;
        self.advance(Phase::Closing);
        let mut requests_cut = 0;
        let workers = std::mem::take(&mut self.workers);
        for mut worker in workers {
            let done = match timeout_at(now + hard, &mut worker).await {
                Ok(done) => done,
                Err(_) => {
                    self.advance(Phase::Cutting);
                    worker.await
                }
            };
            requests_cut += done.unwrap_or(0);
        }
        self.writing = None;
        Drained { requests_cut }
    }

    /// What was served so far. The counters outlive the server.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let later = to > *phase;
            *phase = to.max(*phase);
            later
        });
    }
}

fn spawn(number: usize, worker: Worker, listeners: Listeners) -> Result<oneshot::Receiver<u64>, ServeError> {
    let (done, receiver) = oneshot::channel();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.event_interval(EVENT_INTERVAL).enable_all().build().map_err(ServeError::Thread)?;
    thread::Builder::new()
        .name(format!("serve-{number}"))
        .spawn(move || {
            let cut = runtime.block_on(run(worker, listeners));
            // No task waits if the server was dropped without a drain.
            let _ = done.send(cut);
        })
        .map_err(ServeError::Thread)?;
    Ok(receiver)
}
