//! A swap, step by step: which process begins and ends when, and what becomes of both where a step fails or the swap is cut off. Pure.
//!
//! ```text
//! beside:    Measure ► Prepare ► StartBeside ► Await ► Switch
//!                                                └ not well ► EndNew
//! in place:  Measure ► Prepare ► Drain ► EndOld ► StartInPlace ► Await ► Switch
//!                                                                  └ not well ► EndNew ► BringBack
//! ```

use spothost_server::{ListenMode, SwapMode};

use crate::fault::Fault;

/// What a swap begins from.
#[derive(Clone, Copy, Debug)]
pub(super) struct SwapOrigin {
    /// Whether a package is held: visitors are served its files.
    pub(super) serves: bool,
    /// What runs of it.
    pub(super) process: HeldProcess,
}

/// The process of the package that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldProcess {
    /// The package brings none.
    None,
    /// It was ended, though the package is held; how it listens.
    Lost { listen: ListenMode },
    /// It is kept running; how it listens, and whether it has a process id now.
    Kept { listen: ListenMode, has_pid: bool },
}

/// What a swap is to come to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// A package without a process.
    Files,
    /// The package whose process runs already: a program before this one has started it, or it is held and has lost its process.
    Same,
    /// A package with a process of its own.
    Process { listen: ListenMode, swap: SwapMode },
}

/// One step of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SwapStep {
    /// Serve the package with the process that runs.
    Adopt,
    /// Start the process of the held package again, at a listener of its own.
    Restore,
    /// Ask whether memory allows another process beside the one that runs.
    Measure,
    /// Unpack the program of the package.
    Prepare,
    /// Start the new process at a listener of its own.
    StartBeside,
    /// Let new requests to the old process wait, and those under way end.
    Drain,
    /// End the old process.
    EndOld,
    /// Start the new process at the listener of the old one.
    StartInPlace,
    /// Wait until the new process is well.
    Await,
    /// Serve the package with the new process, if it brings one; an old one that still runs ends after its last request.
    Switch { in_place: bool },
    /// End the new process.
    EndNew,
    /// Let the old process, which was not ended, have requests again.
    Resume,
    /// Start the old process again at its listener.
    BringBack,
}

/// What came of a step.
#[derive(Clone, Debug)]
pub(super) enum SwapOutcome {
    /// It was done.
    Done,
    /// Whether memory allows another process.
    Measured(bool),
    /// It was not done.
    Failed(Fault),
}

/// One swap.
#[derive(Debug)]
pub(super) struct SwapRun {
    standing: SwapOrigin,
    wanted: Wanted,
    in_place: bool,
    at: At,
}

/// Where a swap is.
#[derive(Debug)]
enum At {
    Step(SwapStep),
    /// The new process is to end; why.
    Unwell(Fault),
    /// The old process is being ended, though the swap was cut off.
    EndOldInVain(Fault),
    /// The old process goes on, or is started again; why.
    Resumes(Fault),
    BringsBack(Fault),
    Over(Result<(), Fault>),
}

impl SwapRun {
    /// A swap from `standing` to what is `wanted`.
    pub(super) fn new(standing: SwapOrigin, wanted: Wanted) -> SwapRun {
        let mut run = SwapRun { standing, wanted, in_place: false, at: At::Over(Ok(())) };
        run.at = match (wanted, standing.process) {
            (Wanted::Files, _) => At::Step(SwapStep::Switch { in_place: false }),
            (_, HeldProcess::Lost { .. }) => At::Step(SwapStep::Restore),
            (Wanted::Same, _) => At::Step(SwapStep::Adopt),
            (Wanted::Process { .. }, HeldProcess::Kept { listen, has_pid }) => run.measured(Some(listen), has_pid),
            (Wanted::Process { .. }, HeldProcess::None) => run.measured(None, false),
        };
        run
    }

    /// The step that is next; none when the swap is over.
    pub(super) fn next(&self) -> Option<SwapStep> {
        match &self.at {
            At::Step(step) => Some(*step),
            At::Unwell(_) => Some(SwapStep::EndNew),
            At::EndOldInVain(_) => Some(SwapStep::EndOld),
            At::Resumes(_) => Some(SwapStep::Resume),
            At::BringsBack(_) => Some(SwapStep::BringBack),
            At::Over(_) => None,
        }
    }

    /// How it ended; a fault if it is not over.
    pub(super) fn ended(self) -> Result<(), Fault> {
        match self.at {
            At::Over(ended) => ended,
            _ => Err(cut()),
        }
    }

    /// Takes the outcome of the step.
    pub(super) fn came(&mut self, outcome: SwapOutcome) {
        let at = std::mem::replace(&mut self.at, At::Over(Ok(())));
        self.at = match (at, outcome) {
            (At::Step(step), SwapOutcome::Failed(fault)) => self.failed(step, fault),
            (At::Step(SwapStep::Measure), SwapOutcome::Measured(allows_another)) => {
                self.in_place = !allows_another;
                At::Step(SwapStep::Prepare)
            }
            (At::Step(step), _) => self.after(step),
            (At::Unwell(fault) | At::EndOldInVain(fault), _) if self.in_place => At::BringsBack(fault),
            (At::Unwell(fault) | At::EndOldInVain(fault) | At::Resumes(fault) | At::BringsBack(fault), _) => {
                At::Over(Err(fault))
            }
            (over @ At::Over(_), _) => over,
        };
    }

    /// It is given up, whatever step was under way: the steps that follow leave the package that is held with its process.
    pub(super) fn cut_off(&mut self) {
        let At::Step(step) = self.at else { return };
        self.at = match step {
            SwapStep::Await => At::Unwell(cut()),
            SwapStep::Drain => At::Resumes(cut()),
            // It was asked to end.
            SwapStep::EndOld => At::EndOldInVain(cut()),
            SwapStep::StartInPlace => At::BringsBack(cut()),
            // Nothing has changed yet.
            _ => At::Over(Err(cut())),
        };
    }

    /// The first step with a package that brings a process of its own, where one is held that listens so.
    fn measured(&mut self, held: Option<ListenMode>, has_pid: bool) -> At {
        let Wanted::Process { listen, swap } = self.wanted else { return At::Over(Ok(())) };
        if held == Some(listen) {
            // One that does not run takes no memory.
            if swap == SwapMode::Auto && has_pid {
                return At::Step(SwapStep::Measure);
            }
            self.in_place = swap == SwapMode::InPlace;
        }
        At::Step(SwapStep::Prepare)
    }

    fn after(&mut self, step: SwapStep) -> At {
        At::Step(match step {
            SwapStep::Restore => {
                let HeldProcess::Lost { listen } = self.standing.process else { return At::Over(Ok(())) };
                return self.measured(Some(listen), true);
            }
            SwapStep::Measure => SwapStep::Prepare,
            SwapStep::Prepare if self.in_place => SwapStep::Drain,
            SwapStep::Prepare => SwapStep::StartBeside,
            // Where nothing is served before, files are served while the process begins, and requests to it wait.
            SwapStep::StartBeside if !self.standing.serves => SwapStep::Switch { in_place: false },
            SwapStep::StartBeside | SwapStep::StartInPlace => SwapStep::Await,
            SwapStep::Drain => SwapStep::EndOld,
            SwapStep::EndOld => SwapStep::StartInPlace,
            SwapStep::Await => SwapStep::Switch { in_place: self.in_place },
            _ => return At::Over(Ok(())),
        })
    }

    fn failed(&self, step: SwapStep, fault: Fault) -> At {
        match step {
            SwapStep::Await => At::Unwell(fault),
            SwapStep::StartInPlace => At::BringsBack(fault),
            _ => At::Over(Err(fault)),
        }
    }
}

fn cut() -> Fault {
    Fault::retry("swapping the application", "it was cut off")
}
