//! What a keeper yields to those that are built from it.

use tokio::sync::watch;

/// The receiving side of a yield: the latest value wins, and a dependant wakes only when it really changed.
pub type Kept<T> = watch::Receiver<Option<T>>;

/// The yield of a keeper while it runs.
#[derive(Clone, Debug)]
pub struct Yield<H> {
    /// What it holds.
    pub held: Kept<H>,
    /// How its last round ended.
    pub ended: watch::Receiver<Ended>,
    /// Whether the host departs, and this keeper has done all that it does then.
    pub departed: watch::Receiver<bool>,
}

impl<H> Yield<H> {
    /// Resolves when something else is held, or another round has ended; never, where no keeper yields any more.
    pub(crate) async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.held.changed() => {}
            Ok(()) = self.ended.changed() => {}
            else => std::future::pending().await,
        }
    }
}

/// Where the runner puts what a keeper yields.
pub struct Yields<H> {
    held: watch::Sender<Option<H>>,
    ended: watch::Sender<Ended>,
    pub(super) departed: watch::Sender<bool>,
}

/// Both ends of what a keeper yields.
pub fn yields<H>() -> (Yields<H>, Yield<H>) {
    let (to_hold, held) = watch::channel(None);
    let (to_end, ended) = watch::channel(Ended::NotYet);
    let (to_depart, departed) = watch::channel(false);
    (Yields { held: to_hold, ended: to_end, departed: to_depart }, Yield { held, ended, departed })
}

/// How the last round of a keeper ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// None has.
    NotYet,
    /// All is as it should be.
    Well,
    /// Another host has the right to it.
    Aside,
    /// Another part has not yielded yet what it takes to look.
    Waiting,
    /// Something is not as it should be, and is no reason not to hold the rest.
    Despite,
    /// With a fault.
    Failed,
}

impl<H: PartialEq> Yields<H> {
    /// Yields that this is held.
    pub(crate) fn hold(&self, held: H) {
        self.held.send_if_modified(|now| {
            if now.as_ref() == Some(&held) {
                return false;
            }
            *now = Some(held);
            true
        });
    }

    pub(super) fn end(&self, ended: Ended) {
        self.ended.send_if_modified(|last| std::mem::replace(last, ended) != ended);
    }
}
