//! Something that was refused, and that visitors do not hang on: it is told, and tried again after a while.

use std::time::Duration;

use tokio::time::Instant;

use crate::fault::Fault;

/// The last refusal, for as long as it is of interest.
pub(super) struct LastRefusal {
    pause: Duration,
    last: Option<(Instant, Fault)>,
}

impl LastRefusal {
    /// None yet; after one it is tried again once `pause` is over.
    pub(super) fn pausing(pause: Duration) -> LastRefusal {
        LastRefusal { pause, last: None }
    }

    /// Notes that it was refused, now.
    pub(super) fn note(&mut self, fault: Fault) {
        self.last = Some((Instant::now(), fault));
    }

    /// Notes that it was not.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// The refusal, as long as the action is not to be tried again.
    pub(super) fn lasts(&self) -> Option<&Fault> {
        self.last.as_ref().filter(|(at, _)| at.elapsed() < self.pause).map(|(_, fault)| fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusal_lasts_until_its_pause_is_over_or_it_is_forgotten() {
        let mut refusal = LastRefusal::pausing(Duration::from_secs(60));
        assert_eq!(refusal.lasts(), None);
        let fault = Fault::retry("making a health check", "LimitsExceeded");
        refusal.note(fault.clone());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(refusal.lasts(), Some(&fault));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(refusal.lasts(), None);
        refusal.note(fault);
        refusal.forget();
        assert_eq!(refusal.lasts(), None);
    }
}
