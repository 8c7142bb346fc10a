//! `spothost exec-application`: the step between the agent and the program of a package.

use std::{
    ffi::OsString,
    io::ErrorKind,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode, id},
};

use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::{CANNOT_RUN, Stop};

/// Exit codes of a shell for a program that is not there, and for one that cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Become the program of a package: the agent calls this, and nobody else has to.
///
/// Only the process itself knows its process id, which `LISTEN_PID` has to name (sd_listen_fds(3)); a shell between would have another.
#[derive(Args)]
pub(super) struct ExecApplicationCommand {
    /// The program, and its arguments.
    #[arg(required = true, last = true)]
    words: Vec<OsString>,
}

impl ExecApplicationCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        let Some((program, arguments)) = self.words.split_first() else {
            return Err(Stop::new(CANNOT_RUN, "there is no program"));
        };
        // It does not outlive the agent, whatever ends that.
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| Stop::new(CANNOT_RUN, error))?;
        let mut command = Command::new(program);
        command.args(arguments);
        if std::env::var_os("LISTEN_FDS").is_some() {
            command.env("LISTEN_PID", id().to_string());
        }
        let error = command.exec();
        let code = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
        Err(Stop::new(code, format!("executing {}: {error}", program.display())))
    }
}
