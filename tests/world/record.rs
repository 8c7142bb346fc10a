//! What the calls of the tests' hosts needed of IAM, one line a call, for the test that holds it against the policies.

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    sync::{Mutex, OnceLock},
};

use serde::{Deserialize, Serialize};

use crate::Need;

/// What one call needed, of whom, and under which configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// The configuration, TOML.
    pub configuration: String,
    /// `host`, `publisher` or `operator`.
    pub who: String,
    /// Bucket of the user data, if that asked.
    pub ground: Option<String>,
    /// What it needed.
    pub needs: Vec<Need>,
}

impl Recorded {
    /// Adds it to what this run of this test binary has recorded.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self) {
        static FILE: OnceLock<Mutex<File>> = OnceLock::new();
        let file = FILE.get_or_init(|| {
            let path = folder().join(format!("{}.jsonl", this_binary()));
            fs::create_dir_all(folder()).expect("a folder for what is recorded");
            Mutex::new(File::create(path).expect("a file for what is recorded"))
        });
        let line = serde_json::to_string(self).expect("JSON");
        writeln!(file.lock().expect("no writer panics"), "{line}").expect("a line is written");
    }

    /// What the last run of the test binary of that name has recorded; none when there was no run.
    pub fn last_run(binary: &str) -> Option<Vec<Recorded>> {
        let text = fs::read_to_string(folder().join(format!("{binary}.jsonl"))).ok()?;
        Some(text.lines().map(|line| serde_json::from_str(line).expect("a recorded call")).collect())
    }
}

/// Beside the test binaries, so that each build has its own.
fn folder() -> PathBuf {
    let test = env::current_exe().expect("a test knows where it is");
    // …/debug/deps/test-0123 → …/debug/calls
    test.ancestors().nth(2).expect("tests lie in a target folder").join("calls")
}

fn this_binary() -> String {
    let test = env::current_exe().expect("a test knows where it is");
    let name = test.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.rsplit_once('-').map_or(name.clone(), |(name, _)| name.to_owned())
}
