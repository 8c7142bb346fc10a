//! The command line: one file a command.

use std::{
    env,
    io::IsTerminal as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{
    config::Config,
    fault::{Cause, Cure, Fault},
    folders::Folders,
};

mod app;
mod budget;
mod check;
mod diff;
mod doctor;
mod exec_application;
mod hosts;
mod init;
mod manual;
mod plan;
mod policy;
mod prune;
mod publish;
mod published_at;
mod releases;
mod rollback;
mod rollout;
mod run;
mod source_date;
mod status;
mod table;
mod timeline;
mod up;
mod upgrade;
mod vault;
mod wait;

/// Exit code of a command that found something not as it should be.
const NOT_AS_IT_SHOULD_BE: u8 = 1;
/// Exit code of a configuration or command line that cannot be used (`EX_USAGE` of sysexits).
const BAD_CONFIGURATION: u8 = 64;
/// Exit code of an agent that ended because its instance is about to be taken: starting it again would only cut visitors.
const TAKEN: u8 = 3;
/// Exit code of a publisher that a newer one was faster than.
const SUPERSEDED: u8 = 5;
/// Exit code where configuration or program of the hosts differ from those here.
const DIFFERS: u8 = 4;
/// Exit code of a site that cannot be published as it is (`EX_DATAERR`).
const BAD_SITE: u8 = 65;
/// Exit code of what may go well when it is tried again (`EX_TEMPFAIL`).
const TRY_AGAIN: u8 = 75;
/// Exit code of a machine that does not let the agent be one: a port that is taken (`EX_OSERR`).
const CANNOT_RUN: u8 = 71;

const CONFIGURATION: &str = "/etc/spothost/spothost.toml";

/// Turns a fresh spot instance into the host of one site, and keeps it one.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 110,
    after_help = "\
Exit codes:
  0   done
  1   something is wrong; the command says what
  2   wrong usage
  3   the instance is about to be taken
  4   configuration or program of the hosts differ from those here
  5   a newer version was published meanwhile
  64  the configuration cannot be used
  65  the site has problems
  71  the system refused: a port in use, a folder not writable
  75  try again

SPOTHOST_LOG sets the log level, such as `debug` or `spothost=trace`."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands. What each is for stands at its own type: a docstring here would take the place of all of it, and the long
/// help would never be shown.
#[derive(Subcommand)]
enum Command {
    Run(run::RunCommand),
    Up(up::UpCommand),
    Init(init::InitCommand),
    Plan(plan::PlanCommand),
    Check(check::CheckCommand),
    Doctor(doctor::DoctorCommand),
    Status(status::StatusCommand),
    Hosts(hosts::HostsCommand),
    Rollout(rollout::RolloutCommand),
    Budget(budget::BudgetCommand),
    Vault(vault::VaultCommand),
    Policy(policy::PolicyCommand),
    Publish(publish::PublishCommand),
    Releases(releases::ReleasesCommand),
    Rollback(rollback::RollbackCommand),
    Diff(diff::DiffCommand),
    Prune(prune::PruneCommand),
    Upgrade(upgrade::UpgradeCommand),
    App(app::AppCommand),
    #[command(hide = true)]
    Manual(manual::ManualCommand),
    #[command(hide = true, name = crate::process::child::EXEC)]
    ExecApplication(exec_application::ExecApplicationCommand),
}

/// Parses the command line, carries it out, and says with which code the process ends.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(run) => run.carry_out(),
        Command::Up(up) => up.carry_out(),
        Command::Init(init) => init.carry_out(),
        Command::Plan(plan) => plan.carry_out(),
        Command::Check(check) => check.carry_out(),
        Command::Doctor(doctor) => doctor.carry_out(),
        Command::Status(show) => show.carry_out(),
        Command::Hosts(hosts) => hosts.carry_out(),
        Command::Rollout(rollout) => rollout.carry_out(),
        Command::Budget(show) => show.carry_out(),
        Command::Vault(vault) => vault.carry_out(),
        Command::Policy(print) => print.carry_out(),
        Command::Publish(publish) => publish.carry_out(),
        Command::Releases(releases) => releases.carry_out(),
        Command::Rollback(rollback) => rollback.carry_out(),
        Command::Diff(diff) => diff.carry_out(),
        Command::Prune(prune) => prune.carry_out(),
        Command::Upgrade(upgrade) => upgrade.carry_out(),
        Command::App(app) => app.carry_out(),
        Command::Manual(manual) => manual.carry_out(),
        Command::ExecApplication(exec) => exec.carry_out(),
    };
    done.unwrap_or_else(|stop| {
        anstream::eprintln!("spothost: {}", stop.said);
        ExitCode::from(stop.code)
    })
}

/// Why a command was not carried out.
struct Stop {
    said: String,
    code: u8,
}

impl From<Fault> for Stop {
    /// What a person must set up first is one thing, what a person must mend another, and what time may cure a third.
    fn from(fault: Fault) -> Stop {
        let code = match (fault.cause, fault.cure) {
            (Cause::Credentials, _) => BAD_CONFIGURATION,
            (_, Cure::Operator) => NOT_AS_IT_SHOULD_BE,
            (_, Cure::Retry | Cure::Wait(_)) => TRY_AGAIN,
        };
        Stop::new(code, fault)
    }
}

impl Stop {
    fn new(code: u8, said: impl std::fmt::Display) -> Stop {
        Stop { said: said.to_string(), code }
    }
}

/// Where the configuration is.
#[derive(Args)]
struct Configured {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = CONFIGURATION, global = true)]
    config: PathBuf,
}

impl Configured {
    fn load(&self) -> Result<Config, Stop> {
        Config::load(&self.config).map_err(|error| Stop::new(BAD_CONFIGURATION, error))
    }

    fn path(&self) -> &Path {
        &self.config
    }
}

/// Where a host keeps its files; systemd says it, and these flags say otherwise.
#[derive(Args)]
struct HostFolders {
    /// Folder for data kept across restarts: the last good package, a local CA.
    #[arg(long, value_name = "DIR", env = "STATE_DIRECTORY", default_value = "/var/lib/spothost", global = true)]
    state_dir: PathBuf,
    #[command(flatten)]
    runtime: Runtime,
}

/// Where the state file is.
#[derive(Args)]
struct Runtime {
    /// Folder for runtime files, such as the state file of `spothost status`.
    #[arg(long, value_name = "DIR", env = "RUNTIME_DIRECTORY", default_value = "/run/spothost", global = true)]
    runtime_dir: PathBuf,
}

impl HostFolders {
    fn folders(&self) -> Folders {
        let state = first(&self.state_dir);
        Folders { local_ca: state.join("local-ca"), state, runtime: first(&self.runtime.runtime_dir) }
    }
}

/// systemd names several folders with colons between them (`systemd.exec(5)`); ours is the first.
fn first(folders: &Path) -> PathBuf {
    let text = folders.to_string_lossy();
    PathBuf::from(text.split(':').next().unwrap_or_default())
}

/// How the log is written.
#[derive(Args)]
struct Log {
    /// Write the log as JSON, one event per line.
    #[arg(long, global = true)]
    log_json: bool,
}

impl Log {
    /// Logs to standard error: no colour but on a terminal, no time where journald has it.
    fn start(&self, default: &str) {
        let filter = EnvFilter::try_from_env("SPOTHOST_LOG").unwrap_or_else(|_| EnvFilter::new(default));
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
        let log = log.with_ansi(std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none());
        match (self.log_json, env::var_os("JOURNAL_STREAM").is_some()) {
            (true, _) => log.json().init(),
            (false, true) => log.without_time().init(),
            (false, false) => log.init(),
        }
    }
}

/// Bytes of a thread's stack, as much as a process begins with. What is not used takes no memory; a build without optimisation
/// uses more than the two megabytes that threads are given otherwise.
const STACK: usize = 8 << 20;

/// An address with a port, as an argument.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address and a port are needed, such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}

/// The runtime of the keepers. The servers have threads of their own, so few are needed here.
fn runtime() -> Result<tokio::runtime::Runtime, Stop> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let built = builder.worker_threads(2).thread_stack_size(STACK).enable_all().build();
    built.map_err(|error| Stop::new(CANNOT_RUN, format!("starting threads: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// Every command below `command`, with its own name behind those that lead to it.
    fn each(command: &clap::Command, path: &str, look: &mut impl FnMut(&str, &clap::Command)) {
        for below in command.get_subcommands() {
            let path = format!("{path} {}", below.get_name());
            look(&path, below);
            each(below, &path, look);
        }
    }

    #[test]
    fn every_command_says_in_one_line_what_it_is_for() {
        each(&Cli::command(), "spothost", &mut |path, command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!((20..110).contains(&about.len()), "{path}: {about:?}");
        });
    }

    #[test]
    fn long_help_of_a_command_is_shown() {
        for (name, shown) in [
            ("doctor", "the role has to allow, harmlessly"),
            ("doctor", "Exit codes: 0 nothing is wrong"),
            ("init", "It creates nothing at AWS"),
            ("policy", "customer-managed KMS key"),
            ("upgrade", "For spothost-upgrade.timer"),
            ("vault", "compare-and-swap"),
            ("publish", "Exit codes: 0 published"),
            ("up", "Ctrl-C"),
        ] {
            let mut all = Cli::command();
            let command = all.find_subcommand_mut(name).expect(name);
            let help = command.render_long_help().to_string();
            let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(shown), "{name} says nothing of {shown:?}:\n{help}");
        }
    }

    /// Flags of a command are taken behind its verbs, too: people cannot be expected to know on which side a flag belongs.
    #[test]
    fn verb_takes_every_option_of_its_command() {
        each(&Cli::command(), "spothost", &mut |path, command| {
            let options = command.get_opts().filter(|_| command.has_subcommands());
            for option in options {
                assert!(option.is_global_set(), "{path} lists --{}, and its verbs refuse it", option.get_id());
            }
        });
        for line in
            ["vault show --config x --state-dir y --runtime-dir z --log-json", "vault --state-dir y verify --json"]
        {
            let parsed = Cli::try_parse_from(std::iter::once("spothost").chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {:?}", parsed.err().map(|error| error.to_string()));
        }
    }

    #[test]
    fn first_of_several_folders_is_ours() {
        assert_eq!(first(Path::new("/var/lib/a:/var/lib/b")), Path::new("/var/lib/a"));
        assert_eq!(first(Path::new("/var/lib/a")), Path::new("/var/lib/a"));
    }
}
