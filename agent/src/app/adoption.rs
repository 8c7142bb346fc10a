//! Applications that a program before this one has started, and that systemd has kept for this one: the one that is wanted goes on, the
//! others end. Where none goes on, the process of the package that is remembered begins at once, so that its visitors wait for it and are not
//! sent away.

use std::{io, os::unix::net::UnixListener, path::Path, sync::Arc};

use futures_util::future::join_all;
use spothost_server::{ListenMode, LiveSite};

use super::{
    RunningApplication, application_folder,
    endpoint::{self, Endpoint},
    launch_of,
    launcher::{Found, Launcher, RunnerClient},
    made,
    secrets::LaunchSecrets,
    supervised::Launch,
};
use crate::{
    config::{App, Config},
    folders::Folders,
    listener::StoredApplications,
    package::Package,
    process::output::Output,
    secrets::SecretSet,
    status::systemd,
};

/// What becomes of the applications of a program before this one.
#[derive(Default)]
pub struct Adoption {
    /// The package whose process goes on, or begins, and that process.
    pub(super) adopted: Option<(Package, RunningApplication)>,
    /// Whether this program leaves its processes to others.
    pub(super) left: super::Left,
}

impl Adoption {
    /// Looks at all that was stored: the process of `package` goes on if it is what that host would start now, all others end.
    pub async fn of(
        config: &Config,
        folders: &Folders,
        stored: StoredApplications,
        package: Option<&Package>,
    ) -> Adoption {
        let mut adoption = Adoption::default();
        let StoredApplications { connections, mut listeners } = stored;
        for found in join_all(connections.into_iter().map(Found::at)).await.into_iter().flatten() {
            if package.is_none() {
                tracing::warn!("ending the application of the previous agent: its package could not be read in time");
            }
            if adoption.adopted.is_none()
                && let (Some(app), Some(package)) = (&config.app, package)
            {
                adoption.adopt(found, &mut listeners, config, app, package);
            }
        }
        // They have no process.
        for (name, listener) in listeners {
            systemd::forget(&name);
            drop(listener);
        }
        endpoint::remove_deserted(&application_folder(folders));
        if adoption.adopted.is_none()
            && let (Some(app), Some(package)) = (&config.app, package)
            && let Err(error) = adoption.begin(config, folders, app, package)
        {
            tracing::warn!(%error, "the application does not begin before its keeper does");
        }
        adoption
    }

    /// Starts the process of `package`, if it brings one. It was the last good one: it has only to answer.
    fn begin(&mut self, config: &Config, folders: &Folders, app: &App, package: &Package) -> io::Result<()> {
        let Some(plan) = package.site.process().filter(|plan| plan.listen != ListenMode::Socket) else { return Ok(()) };
        let folder = application_folder(folders);
        made(&folder)?;
        let endpoint = Endpoint::in_folder(&folder, plan.listen)?.kept(self.left.clone());
        let launcher =
            Launcher::Runner(RunnerClient::new(app.place(), package.site.package_file()?, self.left.clone()));
        let secrets =
            if plan.needs.is_empty() { LaunchSecrets::known(SecretSet::default()) } else { LaunchSecrets::to_come() };
        let launch = Launch { ready: None, ..launch_of(&config.domain, Some(app), package, plan.clone(), secrets) };
        self.take(package, RunningApplication::start(launch, Arc::new(launcher), Arc::new(endpoint)));
        Ok(())
    }

    fn take(&mut self, package: &Package, running: RunningApplication) {
        let package = package.clone().with_application(running.endpoint.handle.application());
        self.adopted = Some((package, running));
    }

    /// The package as it is served: with its application, if that goes on.
    pub fn live(&self, package: &Package) -> Arc<LiveSite> {
        self.adopted.as_ref().map_or_else(|| package.live.clone(), |(adopted, _)| adopted.live.clone())
    }

    fn adopt(
        &mut self,
        mut found: Found,
        listeners: &mut Vec<(String, UnixListener)>,
        config: &Config,
        app: &App,
        package: &Package,
    ) {
        let Some(plan) = package.site.process() else { return };
        let Ok(file) = package.site.package_file() else { return };
        // Whether they are those of now is seen once those are read.
        let seal = found.process.command.seal.take();
        if seal.is_some() == plan.needs.is_empty() {
            tracing::info!("the application that runs was given other secrets than this package needs, and ends");
            return;
        }
        let secrets = LaunchSecrets::sealed(seal);
        let launch = launch_of(&config.domain, Some(app), package, plan.clone(), secrets);
        let listens = &found.process.command.listens;
        let at_path = |(_, listener): &(String, UnixListener)| {
            endpoint::path_of(listener).is_some_and(|path| path == Path::new(listens))
        };
        let place = match listeners.iter().position(at_path) {
            Some(index) => Ok(listeners.swap_remove(index)),
            None => Err(listens.parse::<u16>().unwrap_or_default()),
        };
        let Ok(endpoint) = Endpoint::adopted(place, self.left.clone()) else { return };
        if launch.command(found.folders(), Some(&endpoint.place)) != found.process.command {
            tracing::info!("ending the running application: it is of another version");
            return;
        }
        tracing::info!("the application goes on (process {} of its runner)", found.process.pid);
        let output = Output::new(|_| ());
        let Some((launcher, running)) = found.adopted(app.place(), file, self.left.clone(), &output) else { return };
        let running = RunningApplication::adopted(launch, Arc::new(launcher), Arc::new(endpoint), output, running);
        self.take(package, running);
    }
}
