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

/// A package whose process was not well is tried again after this time, where an older one has taken its place.
const FAILED_FOR: Duration = Duration::from_secs(3600);

/// How many refusals are remembered.
const MOST: usize = 32;

/// The refusals of this host, the latest ones.
#[derive(Default)]
pub(crate) struct Refusals(Vec<RememberedRefusal>);

struct RememberedRefusal {
    release: Release,
    fault: Fault,
    verdict: Verdict,
    /// Until when it counts; none: as long as the process runs.
    until: Option<Instant>,
}

impl Refusals {
    /// Remembers one, for [`REFUSED_FOR`].
    pub(crate) fn add(&mut self, release: Release, fault: Fault, verdict: Verdict, now: Instant) {
        self.remember(release, fault, verdict, Some(now + REFUSED_FOR));
    }

    /// Remembers one whose process was not well here, for [`FAILED_FOR`].
    pub(crate) fn add_failed(&mut self, release: Release, fault: Fault, verdict: Verdict, now: Instant) {
        self.remember(release, fault, verdict, Some(now + FAILED_FOR));
    }

    /// Remembers one whose reason is this host's version or configuration: neither changes as long as the process runs.
    pub(crate) fn add_for_good(&mut self, release: Release, fault: Fault, verdict: Verdict) {
        self.remember(release, fault, verdict, None);
    }

    fn remember(&mut self, release: Release, fault: Fault, verdict: Verdict, until: Option<Instant>) {
        self.0.retain(|refusal| !refusal.release.is(&release));
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(RememberedRefusal { release, fault, verdict, until });
    }

    /// Forgets one.
    pub(crate) fn lift(&mut self, release: &Release) {
        self.0.retain(|refusal| !refusal.release.is(release));
    }

    /// Why this release was refused, if that still counts.
    pub(crate) fn of(&self, release: &Release, now: Instant) -> Option<&Fault> {
        self.counting(now).find(|refusal| refusal.release.is(release)).map(|refusal| &refusal.fault)
    }

    /// The verdicts of all refusals that still count.
    pub(crate) fn verdicts(&self, now: Instant) -> Vec<Verdict> {
        self.counting(now).map(|refusal| refusal.verdict.clone()).collect()
    }

    fn counting(&self, now: Instant) -> impl Iterator<Item = &RememberedRefusal> {
        self.0.iter().filter(move |refusal| refusal.until.is_none_or(|until| now < until))
    }
}
