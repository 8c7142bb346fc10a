//! `spothost manual`: manual pages and completions, from the same definitions as the command line itself.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{CANNOT_RUN, Cli, Stop};

/// Write manual pages and shell completions, for packagers.
#[derive(Args)]
pub(super) struct ManualCommand {
    /// Folder to write to: man/ and completions/ are made in it.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl ManualCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.write().map_err(|error| Stop::new(CANNOT_RUN, format!("writing to {}: {error}", self.dir.display())))?;
        Ok(ExitCode::SUCCESS)
    }

    fn write(&self) -> std::io::Result<()> {
        let man = self.dir.join("man");
        let completions = self.dir.join("completions");
        fs::create_dir_all(&man)?;
        fs::create_dir_all(&completions)?;
        clap_mangen::generate_to(Cli::command(), &man)?;
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            clap_complete::generate_to(shell, &mut Cli::command(), "spothost", &completions)?;
        }
        Ok(())
    }
}
