//! Where the tools of these tests are, and how to run one.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

/// A file below the folder that `tests/run` fills.
///
/// Panics when it is not there: a test without its tool must not pass.
pub fn tool(path: &str) -> PathBuf {
    let home = env::var_os("SPOTHOST_TEST_HOME").map_or_else(default_home, PathBuf::from);
    let tool = home.join(path);
    assert!(tool.exists(), "{} is missing; tests/run puts it there", tool.display());
    tool
}

/// The same default as in `tests/run`.
fn default_home() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cache"));
    cache.join("spothost/test-tools")
}

/// What a command printed, with its exit code, for assertions that say what happened.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Panics with what it said unless it succeeded.
    pub fn succeeded(self) -> Ran {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }
}

/// Runs it to its end.
pub fn run(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|problem| panic!("{command:?} did not start: {problem}"));
    Ran {
        code: status.code(),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}
