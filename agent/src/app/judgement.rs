//! What a look at packages and their processes calls for. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::supervised::ProcessState;

/// The pauses before a package whose process was not well is tried again.
const AGAIN: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(3600)];

/// The pause after a package was not well so many times before.
pub(super) fn pause_after(times: usize) -> Duration {
    AGAIN[times.min(AGAIN.len() - 1)]
}

/// What is seen of the package that is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Whether it is held as it should be.
    pub(super) is_held: bool,
    /// Whether a process runs, or one is about to.
    pub(super) runs: bool,
    /// Whether it brings a process.
    pub(super) brings_process: bool,
    /// Until when it is not tried again, if it was tried.
    pub(super) failed_until: Option<Instant>,
    /// Until when the process that runs, which a swap has ended and brought back, may take to have requests again. Another swap would
    /// leave visitors without one for as long again.
    pub(super) comes_back_until: Option<Instant>,
}

/// What a look calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// The package is served from now on: no process begins or ends for it.
    Take,
    /// It is held.
    Keep,
    /// It was not well, and is not tried again yet; or the process of before is coming back.
    Wait,
    /// It is to take the place of what is held.
    Swap,
}

impl Look {
    /// What it calls for.
    pub(super) fn call(&self, now: Instant) -> Call {
        if self.is_held {
            return Call::Keep;
        }
        if !self.brings_process && !self.runs {
            return Call::Take;
        }
        let waits_until = self.failed_until.max(self.comes_back_until);
        if waits_until.is_some_and(|until| now < until) { Call::Wait } else { Call::Swap }
    }
}

/// What a look at a process comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProcessVerdict {
    /// It runs, and was well: its package has passed its trial.
    Well,
    /// It runs.
    Runs,
    /// It may still begin.
    Begins,
    /// It does not run as it should.
    Lacks {
        /// What it lacks, in words.
        said: String,
        /// Whether its package has failed its trial by that. One that was not even started says nothing of the package.
        was_tried: bool,
    },
}

impl ProcessState {
    /// What it comes to; `may_begin` is whether the time to be well for the first time is not over.
    pub(super) fn verdict(self, may_begin: bool) -> ProcessVerdict {
        let was_tried = !may_begin && !matches!(self, ProcessState::Ended { started: false, .. } | ProcessState::Over);
        let said = match self {
            ProcessState::Runs { well: true, .. } => return ProcessVerdict::Well,
            ProcessState::Runs { .. } => return ProcessVerdict::Runs,
            ProcessState::Begins { ended: Some(why), .. } => format!("it has ended, and begins again: {why}"),
            ProcessState::Begins { unwell: false, .. } if may_begin => return ProcessVerdict::Begins,
            ProcessState::Begins { said, .. } => said.unwrap_or_else(|| "it does not answer".to_owned()),
            ProcessState::Ended { why, .. } => format!("it has ended: {why}"),
            ProcessState::Over => "it was ended".to_owned(),
        };
        ProcessVerdict::Lacks { said, was_tried }
    }
}
