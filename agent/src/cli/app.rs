//! `spothost app`: the application of a host.

use std::{
    ffi::OsString,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Command, ExitCode},
};

use clap::{Args, Subcommand};
use listenfd::ListenFd;

use super::{
    BAD_CONFIGURATION, CANNOT_RUN, Configured, HostFolders, Log, NOT_AS_IT_SHOULD_BE, Runtime, Stop,
    published_at::aws_session, runtime, status, table,
};
use crate::{
    app::run_once,
    listener::packets,
    place::SecretsPlace,
    process::runner,
    status::{Part, PartPhase},
};

/// The units of all runners (systemd.unit(5)).
const UNITS: &str = "spothost-app@*.service";

/// Show the application of the package or its log, restart it, or run a command beside it.
///
/// Without a command this is the runner: systemd starts it for each connection to spothost-app.socket.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Exit codes:
  0   done; the application runs
  1   it does not run, or the command failed; `run` ends with the exit code of its command
  64  the configuration cannot be used
  71  the system refused"
)]
pub(super) struct AppCommand {
    #[command(subcommand)]
    action: Option<AppAction>,
    #[command(flatten)]
    log: Log,
}

#[derive(Subcommand)]
enum AppAction {
    /// Show how the application of this host is doing.
    Status {
        #[command(flatten)]
        runtime: Runtime,
    },
    /// Show the log of the application, from the journal.
    Log {
        /// Print new lines as the application writes them.
        #[arg(long, short)]
        follow: bool,
        /// Number of lines to print.
        #[arg(long, short = 'n', default_value_t = 50)]
        lines: u32,
    },
    /// Restart the application: end it, so that the agent starts it again; requests wait meanwhile.
    Restart,
    /// Run a command as the application runs: same program, environment, account and wall, but other folders.
    Run(RunOnceCommand),
}

#[derive(Args)]
struct RunOnceCommand {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    kept: HostFolders,
    /// The command, such as `python3 manage.py migrate`.
    #[arg(required = true, last = true)]
    words: Vec<String>,
}

impl AppCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        match &self.action {
            None => self.serve(),
            Some(AppAction::Status { runtime }) => show(runtime),
            Some(AppAction::Log { follow, lines }) => {
                let mut journal = vec!["--unit".into(), UNITS.into(), "--output".into(), "short-iso".into()];
                journal.extend([OsString::from("--lines"), lines.to_string().into()]);
                journal.push(if *follow { "--follow".into() } else { "--no-pager".into() });
                let error = Command::new("journalctl").args(journal).exec();
                Err(Stop::new(CANNOT_RUN, format!("starting journalctl: {error}")))
            }
            Some(AppAction::Restart) => {
                let error = Command::new("systemctl").args(["stop", UNITS]).exec();
                Err(Stop::new(CANNOT_RUN, format!("starting systemctl: {error}")))
            }
            Some(AppAction::Run(run)) => run.carry_out(),
        }
    }

    fn serve(&self) -> Result<ExitCode, Stop> {
        let connection = connection()?;
        self.log.start("info");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Stop::new(CANNOT_RUN, format!("starting: {error}")))?;
        let served = runtime.block_on(runner::serve(connection));
        served.map_err(|error| Stop::new(NOT_AS_IT_SHOULD_BE, format!("running an application: {error}")))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl RunOnceCommand {
    fn carry_out(&self) -> Result<ExitCode, Stop> {
        let config = self.configured.load()?;
        if config.app.is_none() {
            let said = format!("{} has no [app]: this host runs no application", self.configured.path().display());
            return Err(Stop::new(BAD_CONFIGURATION, said));
        }
        let run = async {
            let aws = match config.secrets() {
                Some(SecretsPlace::Secret(_)) => Some(aws_session().await?),
                _ => None,
            };
            Ok::<_, Stop>(run_once(&config, &self.kept.folders(), aws.as_ref(), self.words.clone()).await?)
        };
        let ended = runtime()?.block_on(run)?;
        match ended.code {
            Some(code) => Ok(ExitCode::from(code)),
            None => Err(Stop::new(NOT_AS_IT_SHOULD_BE, ended.why)),
        }
    }
}

/// Shows the application's part of the status.
fn show(runtime: &Runtime) -> Result<ExitCode, Stop> {
    let status = status::of_this_host(runtime)?;
    let Some(part) = status.parts.into_iter().find(|part| part.part == Part::Application) else {
        return Err(Stop::new(NOT_AS_IT_SHOULD_BE, "this host runs no application: its configuration has no [app]"));
    };
    let runs = part.phase == PartPhase::Kept;
    anstream::println!("{}", table::parts(std::slice::from_ref(&part)));
    status::show_troubles(&part);
    Ok(if runs { ExitCode::SUCCESS } else { ExitCode::from(NOT_AS_IT_SHOULD_BE) })
}

/// The connection that systemd has accepted.
fn connection() -> Result<OwnedFd, Stop> {
    let none = || {
        let said = "say `status`, `log`, `restart` or `run`; without a command, systemd starts this for each connection to \
                    spothost-app.socket, and there is none";
        Stop::new(2, said)
    };
    packets(&mut ListenFd::from_env(), 0).ok().flatten().ok_or_else(none)
}
