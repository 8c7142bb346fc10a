//! The memory of another host that has claimed the names, from look to look.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    aws::{Aws, Host, InstanceState},
    claim::{Claim, FailureDetector, Liveness, Takeover, could_know, liveness, takeover, takeover_without_certificate},
    fault::Fault,
    place::Location,
    probe::Heard,
};

/// This host's memory of claims, its own and another's.
pub(crate) struct PeerMemory {
    /// The epoch in which this host last held what is claimed, as one that answers.
    pub(crate) held: Option<u64>,
    /// Whether another has followed since.
    pub(crate) put_aside: bool,
    /// The epoch of the last claim in which another host said that it goes, and has asked the fleet for a successor.
    pub(crate) asked_in: Option<u64>,
    /// How many hosts the fleet here has at rest, as a claim said last: should the claim be lost, that is still better than
    /// what the fleet happens to have.
    pub(crate) target: Option<u32>,
    /// Whether the claim was read, and says nothing of that.
    untold: bool,
    /// After how long a claimant that does not answer is taken for dead.
    patience: Duration,
    detector: FailureDetector,
    begun: Instant,
    /// When the last look began.
    looked: Instant,
}

/// Maximum age of an observation when acting on it: a host that was stopped in between knows nothing of now. A look
/// has half of that.
const STALE: Duration = Duration::from_secs(60);

impl PeerMemory {
    pub(crate) fn new(patience: Duration) -> PeerMemory {
        PeerMemory::since(patience, Instant::now())
    }

    /// What a host that began then remembers.
    pub(crate) fn since(patience: Duration, begun: Instant) -> PeerMemory {
        let detector = FailureDetector::default();
        PeerMemory {
            held: None,
            put_aside: false,
            asked_in: None,
            target: None,
            untold: false,
            patience,
            detector,
            begun,
            looked: begun,
        }
    }

    /// A look begins.
    pub(crate) fn looks(&mut self) {
        self.looks_at(Instant::now());
    }

    /// A look begins `at` that moment.
    pub(crate) fn looks_at(&mut self, at: Instant) {
        self.looked = at;
    }

    /// The observation may still be acted on.
    ///
    /// # Errors
    /// When that is too long ago.
    pub(crate) fn is_fresh(&self) -> Result<(), Fault> {
        self.is_fresh_at(Instant::now())
    }

    /// The observation may still be acted on `at` that moment.
    ///
    /// # Errors
    /// When that is too long ago.
    pub(crate) fn is_fresh_at(&self, at: Instant) -> Result<(), Fault> {
        match at.saturating_duration_since(self.looked) {
            age if age > STALE => Err(Fault::retry(
                "moving the names",
                format!("the last look is {} s old: looking again", age.as_secs()),
            )),
            _ => Ok(()),
        }
    }

    /// Notes how many hosts the fleet of `host` has at rest, as the claim says that was read, if there is one.
    pub(crate) fn notes_target(&mut self, host: &Host, claim: Option<&Claim>) {
        let told = claim.and_then(|claim| claim.target_in(host.location().as_ref()));
        self.target = told.or(self.target);
        self.untold = told.is_none();
    }

    /// Whether nothing is known of how many hosts the fleet has at rest, so that this host has to say it in the claim that it
    /// makes.
    pub(crate) fn needs_target(&self) -> bool {
        self.untold && self.target.is_none()
    }

    /// Notes the claim that was read; whether it matters to `host` how the claimant stands. Where it makes no difference
    /// no host is to be asked: one that is gone would only hold this host up.
    pub(crate) fn read(&mut self, host: &Host, claim: &Claim, certified: bool) -> bool {
        if claim.instance == host.instance {
            if !claim.waiting {
                self.held = Some(claim.epoch);
            }
            self.put_aside = false;
            // The next claimant is to be heard anew.
            self.detector = FailureDetector::default();
            return false;
        }
        self.put_aside |= self.held.is_some();
        self.asked_in = claim.asked_in(host.location().as_ref()).or(self.asked_in);
        let takeover = if certified {
            takeover(host, self.put_aside, Some(claim), Liveness::Lives)
        } else {
            takeover_without_certificate(host, Some(claim), Liveness::Lives)
        };
        takeover == Takeover::StandAside
    }

    /// Notes whether the claimant answered while something else was reached: that is what tells its silence from our own
    /// deafness. How it stands follows from that, from what EC2 has `told` of it, and from how long it was silent.
    pub(crate) fn asked(&mut self, host: &Host, claim: &Claim, answers: bool, told: InstanceState) -> Liveness {
        let at = self.looked.saturating_duration_since(self.begun);
        self.detector.asked(&claim.instance, claim.epoch, answers, at);
        let elsewhere = !claim.may_be_in(host.location().as_ref());
        let limit = self.detector.limit(&claim.instance, self.patience, elsewhere);
        liveness(answers, told, self.detector.is_long(limit))
    }
}

/// Whether what is heard from the claimant's address is the claimant, which lives then. One that can only say that it waits
/// lives for hosts that could say no more in its place; for the others it is as good as silent.
pub(crate) fn is_alive(heard: Heard, certified: bool, told: InstanceState) -> bool {
    match heard {
        Heard::Site => true,
        // It has shown no certificate: of an instance that EC2 says has ended, that may be the next user of the address.
        Heard::Full => told != InstanceState::Ended,
        Heard::Waiting => !certified,
        Heard::Somebody | Heard::Nothing => false,
    }
}

/// Asks EC2 for the claimant, if it could know it.
pub(crate) async fn told(aws: Option<Aws>, host: &Host, claim: &Claim) -> InstanceState {
    let Some(aws) = aws else { return InstanceState::Unknown };
    let ec2 = host.account.as_deref().and_then(|account| Location::new(&aws.region(), account));
    if !could_know(ec2.as_ref(), claim) {
        return InstanceState::Unknown;
    }
    let told = crate::aws::instances::Instances::new(&aws).told(&claim.instance).await;
    told.unwrap_or_else(|fault| {
        tracing::debug!(%fault, "EC2 does not say how the claimant stands");
        InstanceState::Unknown
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::host::tests::host;

    #[test]
    fn number_at_rest_is_asked_for_only_until_a_claim_has_said_it() {
        let me = host("i-a", 1);
        let mut claimant = PeerMemory::new(Duration::from_secs(120));
        assert!(!claimant.needs_target(), "no claim was read yet");
        claimant.notes_target(&me, None);
        assert!(claimant.needs_target(), "there is none");
        let elsewhere = Host { region: "us-east-1".to_owned(), ..host("i-b", 2) };
        claimant.notes_target(&me, Some(&Claim { target: Some(7), ..Claim::of(&elsewhere, 3) }));
        assert_eq!((claimant.target, claimant.needs_target()), (None, true), "that is another fleet's number");
        claimant.notes_target(&me, Some(&Claim { target: Some(2), ..Claim::of(&host("i-c", 3), 4) }));
        assert_eq!((claimant.target, claimant.needs_target()), (Some(2), false));
        claimant.notes_target(&me, None);
        assert_eq!(
            (claimant.target, claimant.needs_target()),
            (Some(2), false),
            "a claim that is lost was read before"
        );
    }
}
