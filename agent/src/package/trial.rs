//! Whether the process of a package has been well here. What a package says of itself is judged before it is served; how its process
//! does is seen only where that runs.

use std::sync::Arc;

use tokio::sync::watch;

use super::decision::TrialStanding;

/// The trial of a package whose process runs here, shared by all copies of it: the one who runs the process tells, and the one who
/// keeps packages hears it.
#[derive(Clone)]
pub(crate) struct Trial(Arc<watch::Sender<TrialOutcome>>);

/// How a trial stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TrialOutcome {
    /// The process may still become well.
    Pending,
    /// The process was well.
    Passed,
    /// The process was not well in the time that it may take, and there is none of another version; why.
    Failed(String),
}

impl TrialOutcome {
    /// The same without a reason.
    pub(super) fn standing(&self) -> TrialStanding {
        match self {
            TrialOutcome::Pending => TrialStanding::Pending,
            TrialOutcome::Passed => TrialStanding::Passed,
            TrialOutcome::Failed(_) => TrialStanding::Failed,
        }
    }
}

impl Trial {
    /// A trial that has not begun.
    pub(super) fn pending() -> Trial {
        Trial(Arc::new(watch::Sender::new(TrialOutcome::Pending)))
    }

    /// That of a package which brings no process: there is nothing to be tried.
    pub(super) fn passed() -> Trial {
        Trial(Arc::new(watch::Sender::new(TrialOutcome::Passed)))
    }

    /// Tells that the process was well. That stays, whatever becomes of the process later.
    pub(crate) fn pass(&self) {
        self.0.send_if_modified(|outcome| std::mem::replace(outcome, TrialOutcome::Passed) != TrialOutcome::Passed);
    }

    /// Tells that the process was not well, and why; it may be well later.
    pub(crate) fn fail(&self, why: &str) {
        self.0.send_if_modified(|outcome| {
            let is_news = *outcome == TrialOutcome::Pending;
            if is_news {
                *outcome = TrialOutcome::Failed(why.to_owned());
            }
            is_news
        });
    }

    /// How it stands.
    pub(super) fn outcome(&self) -> TrialOutcome {
        self.0.borrow().clone()
    }

    /// Whether the process was well.
    pub(crate) fn has_passed(&self) -> bool {
        *self.0.borrow() == TrialOutcome::Passed
    }

    /// Resolves when it stands otherwise than `seen`.
    pub(super) async fn changed(&self, seen: &TrialOutcome) {
        if self.0.subscribe().wait_for(|outcome| outcome != seen).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
