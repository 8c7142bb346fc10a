//! `spothost run`: the agent.

use std::{env, fs, path::Path, process::ExitCode, time::Duration};

use clap::Args;

use super::{CANNOT_RUN, Configured, Kept, Log, Stop, TAKEN, runtime};
use crate::{
    boot::{self, Folders},
    config::Config,
    listener::lent,
    status::Board,
};

/// systemd starts an agent again at once, as visitors wait; on a machine that does not let it run, that would be for ever.
const BEFORE_ANOTHER: Duration = Duration::from_secs(1);

/// Be the host that the configuration describes.
#[derive(Args)]
pub(super) struct Run {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    log: Log,
}

impl Run {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("info");
        let ended = host(&self.configured.load()?, &self.kept.folders(), Vec::new());
        if ended.as_ref().is_err_and(|stop| stop.code == CANNOT_RUN) && env::var_os("NOTIFY_SOCKET").is_some() {
            std::thread::sleep(BEFORE_ANOTHER);
        }
        ended
    }
}

/// Runs the host that `config` describes until it departs; `also` are further names that it answers to.
pub(super) fn host(config: &Config, folders: &Folders, also: Vec<String>) -> Result<ExitCode, Stop> {
    for folder in [&folders.state, &folders.runtime] {
        let made = fs::create_dir_all(folder);
        made.map_err(|error| Stop::new(CANNOT_RUN, format!("making {}: {error}", folder.display())))?;
    }
    let _alone = alone(&folders.state)?;
    let lent = lent();
    let lent = lent.map_err(|error| Stop::new(CANNOT_RUN, format!("taking what LISTEN_FDS passes on: {error}")))?;
    let runtime = runtime()?;
    let end = runtime.block_on(boot::run(config, folders, also, lent, Board::new(config.domain.as_str())));
    // A name that is being looked up or a disk that hangs does not hold up the end.
    runtime.shutdown_background();
    let end = end.map_err(|fatal| Stop::new(CANNOT_RUN, fatal))?;
    tracing::info!(requests_cut = end.drained.requests_cut, "gone");
    Ok(if end.taken { ExitCode::from(TAKEN) } else { ExitCode::SUCCESS })
}

/// Holds the state folder for this process: two agents that write to one would take each other's packages away.
fn alone(state: &Path) -> Result<fs::File, Stop> {
    let path = state.join("lock");
    let failed = |error: String| Stop::new(CANNOT_RUN, format!("locking {}: {error}", path.display()));
    let file = fs::File::create(&path).map_err(|error| failed(error.to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(failed("another spothost runs with this state folder".to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(failed(error.to_string())),
    }
}
