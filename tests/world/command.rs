//! The built program, and one run of it from beginning to end.

use std::{env, ffi::OsStr, path::PathBuf, process::Output};

use tokio::process::Command;

/// The built `spothost`: what `SPOTHOST_BIN` names, else the debug build beside this test.
///
/// # Panics
/// When there is none, with the command that makes one.
pub fn binary() -> PathBuf {
    let path = match env::var_os("SPOTHOST_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let test = env::current_exe().expect("a test knows where it is");
            // …/debug/deps/test-0123 → …/debug/spothost
            let folder = test.ancestors().nth(2).expect("tests lie in a target folder");
            folder.join("spothost")
        }
    };
    assert!(path.is_file(), "{} is missing: run tests/run, or `cargo build -p spothost` first", path.display());
    path
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

impl Ended {
    /// Runs `spothost` with `arguments` in `environment` and nothing else but a `PATH`, until it ends.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn of<A: AsRef<OsStr>>(arguments: &[A], environment: &[(String, String)]) -> Ended {
        let output = clean(environment).args(arguments).kill_on_drop(true).output().await;
        output.expect("the built program starts").into()
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// The program with that environment alone, so that nothing of the machine it runs on reaches it.
pub(crate) fn clean(environment: &[(String, String)]) -> Command {
    let mut command = Command::new(binary());
    command.env_clear();
    for kept in ["PATH", "LLVM_PROFILE_FILE"] {
        if let Some(value) = env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}
