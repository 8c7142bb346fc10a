//! `spothost run`: the agent.

use std::{
    env, fs,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Args;

use super::{CANNOT_RUN, Configured, HostFolders, Log, Stop, TAKEN, runtime};
use crate::{
    config::Config,
    departure::supervisor::{self, SupervisedAgent},
    folders::Folders,
    listener::Inherited,
    run::{self, Departed, Undrained},
    status::Board,
};

/// systemd starts an agent again at once, as visitors wait; on a machine that does not let it run, that would be for ever.
const BEFORE_ANOTHER: Duration = Duration::from_secs(1);

/// How long another process may take to let the state folder go: one that was killed together with its supervisor.
const LETS_GO: Duration = Duration::from_secs(2);
/// How long what a host has begun may take, such as a write to its disk, so that it is not in its successor's way. Visitors are
/// answered meanwhile.
const AT_REST: Duration = Duration::from_secs(10);

/// Run as the host described in the configuration, until a signal or a spot interruption.
#[derive(Args)]
pub(super) struct RunCommand {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    kept: HostFolders,
    #[command(flatten)]
    log: Log,
}

impl RunCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("info");
        let folders = self.kept.folders();
        if supervisor::is_wanted() {
            match supervise(&folders) {
                Ok(code) => return Ok(code),
                Err(stop) => tracing::warn!("{}; so a restart waits for the drain", stop.said),
            }
        }
        let ended = host(&self.configured.load()?, &folders, Vec::new(), || ());
        if ended.as_ref().is_err_and(|stop| stop.code == CANNOT_RUN) && env::var_os("NOTIFY_SOCKET").is_some() {
            thread::sleep(BEFORE_ANOTHER);
        }
        ended
    }
}

/// Runs the host that `config` describes until it departs; `also` are further names that it answers to, and `listening` is
/// called once it has its ports.
pub(super) fn host(
    config: &Config,
    folders: &Folders,
    also: Vec<String>,
    listening: impl FnOnce(),
) -> Result<ExitCode, Stop> {
    for folder in [&folders.state, &folders.runtime] {
        let made = fs::create_dir_all(folder);
        made.map_err(|error| Stop::new(CANNOT_RUN, format!("making {}: {error}", folder.display())))?;
    }
    let supervised = SupervisedAgent::here();
    let supervised = supervised.map_err(|error| Stop::new(CANNOT_RUN, format!("being supervised: {error}")))?;
    let alone = alone(&folders.state)?;
    let inherited = Inherited::take();
    let inherited =
        inherited.map_err(|error| Stop::new(CANNOT_RUN, format!("taking what LISTEN_FDS passes on: {error}")))?;
    let runtime = runtime()?;
    let board = Board::new(config.domain.as_str());
    let departed = runtime.block_on(run::run(config, folders, also, inherited, board, supervised.is_some(), listening));
    let end = match departed.map_err(|fatal| Stop::new(CANNOT_RUN, fatal)) {
        Ok(Departed::Undrained(undrained)) => {
            let begun = Instant::now();
            runtime.shutdown_timeout(AT_REST);
            // A task that still waits for the disk might write to it later.
            let supervised = supervised.filter(|_| begun.elapsed() < AT_REST);
            return drain(undrained, supervised, alone, folders);
        }
        Ok(Departed::Gone(end)) => Ok(end),
        Err(stop) => Err(stop),
    };
    // A name that is being looked up or a disk that hangs does not hold up the end.
    runtime.shutdown_background();
    let end = end?;
    tracing::info!(requests_cut = end.drained.requests_cut, "gone");
    Ok(if end.taken { ExitCode::from(TAKEN) } else { ExitCode::SUCCESS })
}

/// Drains a former host, beside its successor where possible.
fn drain(
    undrained: Undrained,
    supervised: Option<SupervisedAgent>,
    alone: fs::File,
    folders: &Folders,
) -> Result<ExitCode, Stop> {
    // The last thing that only one process may have.
    drop(alone);
    let released = supervised.and_then(|supervised| {
        let released = supervised.release(&folders.runtime, undrained.most());
        released.inspect_err(|error| tracing::warn!(%error, "the successor has to wait for the drain")).ok()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Stop::new(CANNOT_RUN, format!("draining: {error}")))?;
    let drained = runtime.block_on(undrained.drain(released));
    tracing::info!(requests_cut = drained.requests_cut, "gone");
    Ok(ExitCode::SUCCESS)
}

fn supervise(folders: &Folders) -> Result<ExitCode, Stop> {
    let failed = |error| Stop::new(CANNOT_RUN, format!("supervising the agent: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(supervisor::supervise(&folders.runtime)).map_err(failed)
}

/// Holds the state folder for this process: two agents that write to one would take each other's packages away.
fn alone(state: &Path) -> Result<fs::File, Stop> {
    let path = state.join("lock");
    let failed = |error: String| Stop::new(CANNOT_RUN, format!("locking {}: {error}", path.display()));
    let file = fs::File::create(&path).map_err(|error| failed(error.to_string()))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() < LETS_GO => thread::sleep(Duration::from_millis(5)),
            Err(fs::TryLockError::WouldBlock) => {
                return Err(failed("another spothost runs with this state folder".to_owned()));
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error.to_string())),
        }
    }
}
