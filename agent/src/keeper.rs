//! A keeper owns one resource: it looks, compares, corrects, and looks again.
//!
//! All keepers are run by one small runner, [`keep`]: a time limit around each look and each correction, the
//! result verified by looking again, back-off, panics caught and reported, one report on the board. What a keeper
//! holds is yielded as [`Kept`], which the keepers after it are built from: a wrong boot order does not compile.

mod judgement;
mod runner;
mod yields;

use std::{future::Future, time::Duration};

pub(crate) use self::runner::within;
pub use self::{
    judgement::Judgement,
    runner::keep,
    yields::{Ended, Kept, Yield, Yields, yields},
};
use crate::{
    fault::Fault,
    status::{Part, Role},
};

/// The owner of one resource.
pub trait Keeper: Send + 'static {
    /// What a look finds.
    type Observation: Send;
    /// What is to be corrected.
    type Drift: Send;
    /// What is held once all is as it should be.
    type Held: Clone + PartialEq + Send + Sync + 'static;

    /// Which part of the host this is.
    const PART: Part;
    /// The parts whose yield it is built from.
    const NEEDS: &'static [Part] = &[];

    /// Whether it goes on while the host departs.
    const GOES_ON: bool = false;
    /// Whether one look tells people how things are, so that `spothost check` takes it.
    const CHECKED: bool = true;
    /// The limit of one try of what it does when the host departs: a spot notice leaves two minutes for all of it.
    const DEPARTS_WITHIN: Duration = Duration::from_secs(30);

    /// How often to look, and how long a look and a correction may take.
    fn pace(&self) -> Pace;

    /// Looks, and changes nothing outside.
    fn observe(&mut self) -> impl Future<Output = Result<Self::Observation, Fault>> + Send;

    /// Compares what was seen with what should be. Pure.
    fn judge(&self, seen: Self::Observation) -> Judgement<Self::Held, Self::Drift>;

    /// Removes the drift. Safe to repeat, also by the next host after this one died in the middle of it.
    fn converge(&mut self, drift: Self::Drift) -> impl Future<Output = Result<(), Fault>> + Send;

    /// What is to be done as soon as the host departs, for whatever reason; nothing, if not said otherwise. It is tried until it
    /// is done, or the host stays after all, and is safe to repeat. What it changes outside is no more than what the departure
    /// is for.
    ///
    /// # Errors
    /// What was refused: it is tried again.
    fn depart(&mut self) -> impl Future<Output = Result<(), Fault>> + Send {
        async { Ok(()) }
    }

    /// What another part has not yielded yet and without which there is nothing to look at.
    fn lacks(&self) -> Option<String> {
        None
    }

    /// What is held before the first look: something kept from an earlier life of the process.
    fn remembered(&mut self) -> impl Future<Output = Option<Self::Held>> + Send {
        async { None }
    }

    /// Resolves when there is a reason to look before the time: something it was given has changed.
    fn woken(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Progress of a correction that can take long, in words for people.
    fn progress(&self) -> Option<Kept<String>> {
        None
    }

    /// What is held, as people are told it.
    fn holding(held: &Self::Held) -> String;

    /// The drift, as people are told it.
    fn drifting(drift: &Self::Drift) -> String;

    /// What the host is in the succession by what is held, and why, where this part says it.
    fn role(_held: &Self::Held) -> Option<(Role, &str)> {
        None
    }

    /// Notes of what is held that a person should know.
    fn notes(_held: &Self::Held) -> Vec<String> {
        Vec::new()
    }
}

/// How often a keeper looks, and how long its steps may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From the end of one round to the next look.
    pub look: Duration,
    /// The limit of one look.
    pub observe: Duration,
    /// The limit of one correction.
    pub converge: Duration,
    /// The longest pause between two tries of something that time may cure, at most the pause of the fault.
    pub longest_pause: Duration,
}
