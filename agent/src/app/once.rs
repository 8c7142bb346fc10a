//! A command that is run once beside the application: with its program, environment, account and wall.

use std::{path::Path, sync::Arc};

use super::{
    launch_of,
    launcher::{RunnerClient, RunnerPlace},
    missing,
    secrets::{LaunchSecrets, read},
};
use crate::{
    aws::Aws,
    config::{App, Config},
    fault::Fault,
    folders::Folders,
    process::wire::HowEnded,
    secrets::SecretSet,
};

/// Where the socket of the runners lies outside of the agent's unit, which has it at another place.
const OUTSIDE: &str = "/run/spothost-app/runner.sock";

/// Runs a command to its end, beside the application of the last good package of that host, with its secrets, as `aws` has them, and with
/// the standard input, output and error of this process.
///
/// # Errors
/// Why it was not run.
pub async fn run_once(
    config: &Config,
    folders: &Folders,
    aws: Option<&Aws>,
    words: Vec<String>,
) -> Result<HowEnded, Fault> {
    const DOING: &str = "running a command beside the application";
    let app = config.app.clone().unwrap_or_default();
    let package = folders.package_cache(&config.package).last_good().await;
    let package =
        package.ok_or_else(|| Fault::operator(DOING, "this host has no package yet", "wait until it serves one"))?;
    let Some(plan) = package.site.process().cloned() else {
        return Err(Fault::operator(DOING, "the package brings no application", "publish one that does"));
    };
    let secrets = match config.secrets() {
        _ if plan.needs.is_empty() => SecretSet::default(),
        None => return Err(missing(None, plan.needs.iter())),
        Some(place) => {
            let read = read(place, aws).await?;
            read.set.only(&plan.needs).map_err(|names| missing(Some(place), names.iter()))?
        }
    };
    let launch = launch_of(&config.domain, Some(&app), &package, plan, LaunchSecrets::known(secrets));
    let is_usual = app.socket == App::default().socket;
    let socket = if is_usual && Path::new(OUTSIDE).exists() { OUTSIDE.into() } else { app.socket };
    let file = package.site.package_file().map_err(|error| Fault::retry(DOING, error))?;
    let runner = RunnerClient::new(RunnerPlace { socket, memory: app.memory }, file, Arc::default());
    let mut command = launch.command(&runner.prepared().await?, None);
    command.words = words;
    launch.secrets.put_into(&mut command);
    runner.run(&command).await
}
