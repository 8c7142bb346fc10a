//! What this host itself has refused, and for how long it does not try again.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    documents::{Release, Verdict},
    fault::Fault,
};

/// A refused package is fetched again after this time, should the reason have been on our side. It is not where its
/// verdict lies beside it: that holds until a person lifts it.
pub(super) const REFUSED_FOR: Duration = Duration::from_secs(300);

/// How many refusals are remembered.
const MOST: usize = 32;

/// The refusals of this host, the latest ones.
#[derive(Default)]
pub(super) struct Refusals(Vec<RememberedRefusal>);

struct RememberedRefusal {
    release: Release,
    fault: Fault,
    verdict: Verdict,
    at: Instant,
}

impl Refusals {
    /// Remembers one.
    pub(super) fn add(&mut self, release: Release, fault: Fault, verdict: Verdict) {
        self.0.retain(|refusal| !refusal.release.is(&release));
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(RememberedRefusal { release, fault, verdict, at: Instant::now() });
    }

    /// Forgets one.
    pub(super) fn lift(&mut self, release: &Release) {
        self.0.retain(|refusal| !refusal.release.is(release));
    }

    /// Why this release was refused, if that still counts.
    pub(super) fn of(&self, release: &Release) -> Option<&Fault> {
        self.counting().find(|refusal| refusal.release.is(release)).map(|refusal| &refusal.fault)
    }

    /// The verdicts of all refusals that still count.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        self.counting().map(|refusal| refusal.verdict.clone()).collect()
    }

    fn counting(&self) -> impl Iterator<Item = &RememberedRefusal> {
        self.0.iter().filter(|refusal| refusal.at.elapsed() < REFUSED_FOR)
    }
}
