//! A command that is run once beside the application: with its program, environment, account and wall.

use std::{path::Path, sync::Arc};

use super::{
    launcher::{Launcher, RunnerPlace},
    supervised::Launch,
    version,
};
use crate::{
    config::{App, Config},
    fault::Fault,
    folders::Folders,
    process::wire::HowEnded,
};

/// Where the socket of the runners lies outside of the agent's unit, which has it at another place.
const OUTSIDE: &str = "/run/spothost-app/runner.sock";

/// Runs a command to its end, beside the application of the last good package of that host, with the standard input, output and error of
/// this process.
///
/// # Errors
/// Why it was not run.
pub async fn run_once(config: &Config, folders: &Folders, words: Vec<String>) -> Result<HowEnded, Fault> {
    const DOING: &str = "running a command beside the application";
    let app = config.app.clone().unwrap_or_default();
    let package = folders.package_cache(&config.package).last_good().await;
    let package =
        package.ok_or_else(|| Fault::operator(DOING, "this host has no package yet", "wait until it serves one"))?;
    let Some(plan) = package.site.process().cloned() else {
        return Err(Fault::operator(DOING, "the package brings no application", "publish one that does"));
    };
    let is_usual = app.socket == App::default().socket;
    let socket = if is_usual && Path::new(OUTSIDE).exists() { OUTSIDE.into() } else { app.socket };
    let file = package.site.package_file().map_err(|error| Fault::retry(DOING, error))?;
    let launcher = Arc::new(Launcher::runner(RunnerPlace { socket, memory: app.memory }, file, Arc::default()));
    let prepared = launcher.prepared().await?;
    let launch = Launch {
        checks: Arc::default(),
        name: config.domain.clone(),
        version: version(&package).to_owned(),
        processes: app.processes,
        ready: None,
        plan,
    };
    let mut command = launch.command(&prepared, None);
    command.words = words;
    launcher.run(&command).await
}
