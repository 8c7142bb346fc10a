//! A model of applications on virtual time: the real judgements of package, swap, supervision and adoption, driven through drawn
//! histories.
//!
//! Two hosts follow one bucket. On each an agent follows the newest package, swaps processes at runners, and is killed, stopped in
//! good order, or started anew; systemd keeps connections to runners for the next agent. Publishers publish versions that are well, that
//! die, that are never well, that fail their `[gate]`, that are no packages, or that bring no process; they go back, and withdraw all.
//! Processes crash, runners are killed, disks are full, hosts lack what any process needs, S3 is away, and its answers are lost. After
//! each step the rules are checked:
//!
//! 1. Once files are served with an application, that application answers, and no other.
//! 2. A process that nobody wants ends.
//! 3. What waits for an application is answered once the site that is served has one that runs.
//! 4. Where a version is never well, the one before goes on.
//! 5. No verdict against a version comes from what a host lacks, and none for one that was not well.
//! 6. Once a version has passed its trial on a host, the last good one of that host is one that has, and lies on its disk.
//! 7. Where nothing else fails, a swap leaves visitors without a process no longer than its steps may take.
//! 8. In the end each host serves the newest version, if that is well, and one process runs for it.
//!
//! `SPOTHOST_SEED` repeats one history; `SPOTHOST_HISTORIES` says how many there are.

mod agent;
mod host;
mod tests;
mod world;

/// Since the history began.
type Milliseconds = u64;

const SECOND: Milliseconds = 1_000;
/// How long a history is.
const END: Milliseconds = 12 * 60 * SECOND;
/// After this nothing is broken any more, and nothing published.
const CALM: Milliseconds = 5 * 60 * SECOND;
/// What packages and hosts say of their processes.
const READY: Milliseconds = 10 * SECOND;
const GRACE: Milliseconds = 3 * SECOND;
const DRAIN: Milliseconds = 5 * SECOND;
const HOLD: Milliseconds = 30 * SECOND;
/// How often it is looked for packages.
const LOOK: Milliseconds = 10 * SECOND;
/// A request that can be answered is answered within this.
const ANSWERED: Milliseconds = 2 * SECOND;
/// How long the steps of a swap in place may take at most, with the way back, and a moment.
const LONGEST_GAP: Milliseconds = DRAIN + 2 * GRACE + 2 * READY + 10 * SECOND;

/// What is left out on purpose, so that the rules are seen to catch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// A new version is served whether its process is well or not.
    SwitchesUnwell,
    /// The old process is not started again where the new one was not well.
    NeverBringsBack,
    /// A swap that is cut off stays so.
    NeverUnwinds,
    /// What waits for the old process is not told of the new one.
    ForgetsHeld,
    /// The old process does not end.
    LeavesOld,
    /// A process that runs goes on, whatever version it is of.
    AdoptsAny,
    /// Nobody looks what an agent before this one has left.
    AdoptsNone,
    /// A version whose process was not well is told to be bad.
    TellsLocal,
    /// A version on trial is noted as the last good one.
    NotesAtOnce,
    /// What was not asked of a process is taken for granted.
    TrustsAnswers,
}

/// A rule that was broken, and how.
#[derive(Debug)]
struct Broken(String);

type Held<T> = Result<T, Broken>;
