//! A host while it runs: it takes its ports, serves as its keepers decide, and ends.

use std::time::Duration;

use spothost_server::{Drained, Listen};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    app::Adoption,
    boot::{self, KeeperRunner, Wiring},
    clock,
    config::Config,
    departure::{Departing, Signals, supervisor},
    folders::Folders,
    keeper::{Keeper, Kept, Yield, keep, yields},
    listener::Inherited,
    status::{self, Board, Shutdown, systemd},
};

mod draining;
mod remembered;
mod serving;

pub use draining::Undrained;

use draining::{LONGEST_SOFT, drain, give_back, serve_until_gone};
use remembered::Remembered;
use serving::{bind, count, feeds, serve, show_something, tell_metrics};

/// How long the end waits for records that a host takes with it.
const TAKE_AWAY: Duration = Duration::from_secs(10);

/// How long the end waits for the processes of packages: as long as a package may say, and a moment.
const PROCESSES_END: Duration = Duration::from_secs(125);

/// Why a host cannot be one at all; the only kind of failure that ends the process.
#[derive(Debug)]
pub struct Fatal(String);

impl std::fmt::Display for Fatal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fatal {}

/// Runs the host until it departs. It answers to `also` too, and uses the `inherited` sockets; `listening` is called
/// once it has its ports. Where it may drain `beside` a successor it returns without having drained.
///
/// # Errors
/// Only what keeps it from ever being one: ports that are taken, folders that cannot be made.
pub async fn run(
    config: &Config,
    folders: &Folders,
    also: Vec<String>,
    inherited: Inherited,
    board: Board,
    beside: bool,
    listening: impl FnOnce(),
) -> Result<Departed, Fatal> {
    let signals = Signals::catch().map_err(|error| Fatal(format!("catching signals: {error}")))?;
    let bound = bind(config, inherited.visitors)?;
    let listen = Listen { http: bound.http(), https: bound.https() };
    let a_process = !inherited.applications.connections.is_empty();
    let remembered = Remembered::of(config, folders, a_process).await;
    let adoption = Adoption::of(config, folders, inherited.applications, remembered.package.as_ref()).await;
    let (feeds, fed) = feeds(config, remembered, &adoption)?;

    let departing = Departing::new(board.clone());
    let departs = departing.watch();
    let (drained_by_now, drains) = watch::channel(false);
    let shown = feeds.identity.clone();
    let mut runner = AtWork { board: board.clone(), departs: departs.clone() };
    let decided = boot::wire(
        Wiring {
            config,
            folders,
            https: listen.https,
            adoption,
            feeds: Some(feeds),
            signals: Some(signals),
            departing,
            drained: drains,
            status: board.watch(),
        },
        &mut runner,
    )
    .await;

    show_something(config, &shown).await?;
    let running = serve(config, also, bound, fed)?;
    tracing::info!(http = %listen.http, https = %listen.https, "listening");
    supervisor::accepts(&folders.runtime);
    listening();
    let file = folders.status_file();
    let writer = tokio::spawn({
        let file = file.clone();
        let changes = board.watch();
        async move { status::write_changes(&file, changes).await }
    });
    systemd::ready();
    tokio::spawn(systemd::follow(board.clone()));
    tokio::spawn(count(running.counters(), board.clone()));
    if let Some(address) = config.serve.metrics {
        tokio::spawn(tell_metrics(address, running.counters()));
    }

    let (going, hurried) = serve_until_gone(&running, decided.standpoint, departs, beside).await;
    let (_, hard) = going.deadlines(clock::now());
    let until = Instant::now() + hard.min(LONGEST_SOFT);
    let mut running = Some(running);
    let mut drained = None;
    if !(beside && going.is_followed_here())
        && let Some(running) = running.take()
    {
        drained = Some(drain(running, &going, hurried).await);
    }
    drained_by_now.send_replace(true);
    if let Some(mut away) = decided.away {
        let _ = timeout(TAKE_AWAY, away.wait_for(|away| *away)).await;
    }
    if let Some(mut processes) = decided.processes {
        let _ = timeout(PROCESSES_END, processes.wait_for(|ended| *ended)).await;
    }
    if let Some(handed_over) = decided.handed_over {
        give_back(&going, handed_over).await;
    }
    board.gone();
    writer.abort();
    // It may be writing; the last word is this one.
    let _ = writer.await;
    let last = board.watch().borrow().clone();
    if let Err(error) = status::write(&file, &last) {
        tracing::debug!(%error, "the last status was not written");
    }
    Ok(match (running, drained) {
        (Some(running), _) => Departed::Undrained(Undrained { running, until }),
        (None, drained) => {
            let drained = drained.unwrap_or(Drained { requests_cut: 0 });
            Departed::Gone(End { drained, taken: going.is_the_end() })
        }
    })
}

/// The end of a host.
pub enum Departed {
    /// It has drained.
    Gone(End),
    /// It serves, and does nothing else of a host any more.
    Undrained(Undrained),
}

/// How a host ended.
#[derive(Clone, Debug)]
pub struct End {
    /// What the drain came to.
    pub drained: Drained,
    /// Whether the instance is about to be taken, so that the agent must not be started again.
    pub taken: bool,
}

/// The keepers of a host that runs, each in a task of its own.
struct AtWork {
    board: Board,
    departs: watch::Receiver<Option<Shutdown>>,
}

impl KeeperRunner for AtWork {
    async fn keep<K: Keeper>(&mut self, keeper: K) -> Yield<K::Held> {
        let departs = if K::GOES_ON { watch::channel(None).1 } else { self.departs.clone() };
        let (to, kept) = yields();
        tokio::spawn(keep(keeper, self.board.place(K::PART, K::NEEDS), to, departs));
        kept
    }

    fn beside(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    async fn found<T: Clone + Send + Sync>(&mut self, found: Kept<T>) -> Kept<T> {
        found
    }
}
