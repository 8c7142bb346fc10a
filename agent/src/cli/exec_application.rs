//! `spothost exec-application`: the step between the agent and the program of a package.

use std::{
    ffi::OsString,
    fs,
    io::ErrorKind,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode, id},
};

use clap::Args;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::Stop;
use crate::process::{
    child::{NOT_BEGUN, NOT_EXECUTABLE, NOT_FOUND},
    wall::Wall,
};

/// Become the program of a package. Only the agent and the runner call this.
///
/// Only the process itself knows its process id, which `LISTEN_PID` has to name (sd_listen_fds(3)); a shell between would have another.
#[derive(Args)]
pub(super) struct ExecApplicationCommand {
    /// The process that it does not outlive.
    #[arg(long, value_name = "PID")]
    parent: i32,
    /// The file by which the process becomes a member of its control group.
    #[arg(long, value_name = "FILE")]
    cgroup: Option<PathBuf>,
    /// Begin only where the metadata of the instance are out of reach.
    #[arg(long)]
    walled: bool,
    /// The program, and its arguments.
    #[arg(required = true, last = true)]
    words: Vec<OsString>,
}

impl ExecApplicationCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        let Some((program, arguments)) = self.words.split_first() else {
            return Err(Stop::new(NOT_BEGUN, "there is no program"));
        };
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| Stop::new(NOT_BEGUN, error))?;
        // One that has ended before that was asked for gives no signal any more.
        if getppid().map(Pid::as_raw_pid) != Some(self.parent) {
            return Err(Stop::new(NOT_BEGUN, "the process that started this one has ended"));
        }
        if let Some(cgroup) = &self.cgroup {
            let joined = fs::write(cgroup, "0");
            joined.map_err(|error| Stop::new(NOT_BEGUN, format!("joining {}: {error}", cgroup.display())))?;
        }
        if self.walled
            && let Some(fault) = Wall::tried().fault()
        {
            return Err(Stop::new(NOT_BEGUN, fault));
        }
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
