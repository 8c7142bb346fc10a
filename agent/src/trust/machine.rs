//! The machine whose stores are looked for.

use std::{
    env,
    ffi::OsString,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Folders and programs of a machine, as one person finds them.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The folder that is `/` to it.
    pub root: PathBuf,
    /// The person's home.
    pub home: PathBuf,
    /// Where its programs are looked for, as in the variable `PATH`.
    pub path: OsString,
}

impl Machine {
    /// This one, and the person who runs the process; none without a home.
    pub fn here() -> Option<Machine> {
        let path = env::var_os("PATH").unwrap_or_default();
        Some(Machine { root: PathBuf::from("/"), home: dirs::home_dir()?, path })
    }

    /// A folder or file below the root; `path` begins without a slash.
    pub(super) fn below(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The program of that name.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        let is_program =
            |path: &Path| path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
        env::split_paths(&self.path).map(|folder| folder.join(name)).find(|path| is_program(path))
    }

    /// A command of `program` that asks nothing of the terminal, and finds its own programs where this machine has them.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", &self.path).stdin(Stdio::null());
        command
    }
}
