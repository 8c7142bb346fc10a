//! Another host that has claimed what this one would take: what is remembered of it from look to look.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    aws::Aws,
    fault::Fault,
    host::Host,
    succession::{Claim, Right, Silence, Standing, right, right_without_certificate},
};

/// What this host remembers of claims, its own and another's.
pub(super) struct Claimant {
    /// The epoch in which this host last held what is claimed, as one that answers.
    pub(super) held: Option<u64>,
    /// Whether another has followed since.
    pub(super) put_aside: bool,
    /// The epoch of the last claim in which another host said that it goes, and has asked the fleet for a successor.
    pub(super) asked_in: Option<u64>,
    /// After how long a claimant that does not answer is taken for dead.
    patience: Duration,
    silence: Silence,
    begun: Instant,
    /// When the last look began.
    looked: Instant,
}

/// How old what was seen may be when something is done upon it: a host that was stopped in between knows nothing of now. A look
/// has half of that.
const STALE: Duration = Duration::from_secs(60);

impl Claimant {
    pub(super) fn new(patience: Duration) -> Claimant {
        let (silence, begun) = (Silence::default(), Instant::now());
        Claimant { held: None, put_aside: false, asked_in: None, patience, silence, begun, looked: begun }
    }

    /// A look begins.
    pub(super) fn looks(&mut self) {
        self.looked = Instant::now();
    }

    /// What was seen may still be acted upon.
    ///
    /// # Errors
    /// When that is too long ago.
    pub(super) fn is_fresh(&self) -> Result<(), Fault> {
        match self.looked.elapsed() {
            age if age > STALE => Err(Fault::retry(
                "moving the names",
                format!("what was seen is {} s old: looking again", age.as_secs()),
            )),
            _ => Ok(()),
        }
    }

    /// Notes the claim that was read; whether it matters to `host` how the claimant stands. Where it makes no difference
    /// nobody is to be asked: one that is gone would only hold this host up.
    pub(super) fn read(&mut self, host: &Host, claim: &Claim, certified: bool) -> bool {
        if claim.instance == host.instance {
            if !claim.waiting {
                self.held = Some(claim.epoch);
            }
            self.put_aside = false;
            return false;
        }
        self.put_aside |= self.held.is_some();
        self.asked_in = claim.asked.then_some(claim.epoch).or(self.asked_in);
        let right = match certified {
            true => right(host, self.put_aside, Some(claim), Standing::Lives),
            false => right_without_certificate(host, Some(claim), Standing::Lives),
        };
        right == Right::StandAside
    }

    /// Notes whether the claimant answered while something else was reached: that is what tells its silence from our own
    /// deafness. It is gone when EC2 says so, or when it was silent for long.
    pub(super) fn asked(&mut self, claim: &Claim, answers: bool, as_ec2_has_it: Standing) -> Standing {
        let at = self.looked.saturating_duration_since(self.begun);
        self.silence.asked(&claim.instance, claim.epoch, answers, at);
        match self.silence.is_long(self.patience) {
            true => Standing::Gone,
            false => as_ec2_has_it,
        }
    }
}

/// Asks EC2 for the claimant; with the feature `fleet` only.
#[cfg(feature = "fleet")]
pub(super) async fn standing(aws: Option<Aws>, claim: &Claim) -> Standing {
    let Some(aws) = aws else { return Standing::Lives };
    let standing = crate::aws::instances::Instances::new(&aws).standing(&claim.instance).await;
    standing.unwrap_or_else(|fault| {
        tracing::debug!(%fault, "EC2 does not say how the claimant stands");
        Standing::Lives
    })
}

#[cfg(not(feature = "fleet"))]
pub(super) async fn standing(_: Option<Aws>, _: &Claim) -> Standing {
    Standing::Lives
}
