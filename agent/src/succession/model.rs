//! A model of the succession on virtual time: the real decisions, driven through drawn histories.
//!
//! Several hosts, a zone with Route 53's compare-and-swap, EC2, a fleet of either kind, leases, and visitors whose resolvers
//! keep answers. Each host has three keepers that run beside each other, every call of which is a step of its own; between
//! any two steps hosts are killed, stopped and continued, cut off, told that they are taken or should move, answers are lost,
//! and batches arrive late. After every step the rules are checked:
//!
//! 1. The name leads to a host that answers, as long as one lives that can move it, but for the time that finding out takes.
//! 2. The names are taken only by right: from an owner that has just been seen to answer only by a host that was launched
//!    after it and never passed over; and whoever believes to own them learns otherwise at its next look.
//! 3. Nothing that serves leaves before something else does, and the fleet comes back to its target.
//! 4. A host that is not ready never has the name.
//! 5. Where nothing is broken, no visitor's request fails.
//! 6. At most one successor is asked for early in an hour, by all hosts of a fleet together.
//! 7. A host goes when it is taken, whatever its clock says.
//! 8. The names do not change hands twice without a cause that a visitor could see. Hosts that answer visitors, and do not hear
//!    each other, do not take the names from each other in turns.
//!
//! Where there are two regions, each has a fleet with another number of hosts at rest, and an EC2 that knows nothing of the
//! other's; EC2 forgets what it knew, now and then.
//!
//! `SPOTHOST_SEED` repeats one history; `SPOTHOST_HISTORIES` says how many there are.

mod events;
mod fleet;
mod handover;
mod host;
mod names;
mod place;
mod rules;
mod tests;
mod world;
mod zone;

type Seconds = u64;

const TTL: Seconds = 60;
const LOOK: Seconds = 15;
const SILENCE: Seconds = 120;
const LINGER: Seconds = 900;
/// How long a host may take until it answers; the owner ends one that has never answered after twice that.
const GIVE_UP: Seconds = 1200;
/// How long a history is.
const END: Seconds = 3 * 3600;
/// After this nothing is broken any more: what is left to do has to be done by the end.
const CALM: Seconds = 90 * 60;
/// The longest that the slowest resolver keeps an answer.
const STUBBORN: Seconds = 600;
/// For how long two regions at most do not hear each other: less than the time that a host which was followed is in doubt.
const LONGEST_SPLIT: Seconds = 6 * SILENCE;
/// How long before its end a host is told, and how long before that it accepts nobody any more.
const NOTICE: Seconds = 120;
const LAST_ACCEPT: Seconds = 15;

/// What is left out on purpose, so that the rules are seen to catch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// A batch is applied whatever it was based on.
    NoFencing,
    /// The name moves before the host answers.
    NameFirst,
    /// A host leaves as soon as another claims.
    LeavesAtOnce,
    /// A host that was passed over takes the names back because it is younger.
    TakesBack,
    /// A host leaves whatever the fleet has.
    LeavesBelowTarget,
    /// A place that a departing host asked for is never given back, nor any host ended that never answers.
    KeepsPlaces,
    /// Each host that is told to move asks for a successor.
    NoGuard,
    /// A host leaves a fleet though it is the turn of another.
    NoTurn,
    /// Whoever EC2 does not know is gone, though it answers.
    UnknownIsGone,
    /// Who does not hear the host that has followed it takes that for dead, be it of another region.
    NeverDoubts,
    /// What another region's fleet has at rest is taken for one's own.
    TakesAnothersTarget,
}

/// What kind of history is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Everything goes wrong that can.
    Faults,
    /// The same, in two regions, which at times do not hear each other.
    Regions,
    /// Releases alone.
    Releases,
    /// Nothing happens but what a test does itself.
    Quiet,
}

/// A rule that was broken, and how.
#[derive(Debug)]
struct Broken(String);
