//! What a keeper's look came to.

use std::convert::Infallible;

use crate::fault::Fault;

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement<H, D> {
    /// All is as it should be, and this is held.
    Kept(H),
    /// Something differs and can be corrected; meanwhile this is held, if anything.
    Drifted {
        /// What is to be corrected.
        drift: D,
        /// What may be used until then.
        meanwhile: Option<H>,
    },
    /// Nothing can be said before another part has yielded what this one needs.
    Waits(String),
    /// Another host has the right to it, as what is held says.
    StandsAside(H),
    /// It is not as it should be, and this program will not correct it; it goes on with what it holds.
    KeptDespite {
        /// What is held.
        held: H,
        /// What is not as it should be.
        fault: Fault,
    },
    /// This is held, but the look came to less than it should: it is made again as after any fault.
    Unseen {
        /// What is held.
        held: H,
        /// What kept the rest from being seen.
        fault: Fault,
    },
    /// It is not as it should be, and this program will not correct it. The look itself went well, so the next one
    /// comes at the usual pace: what a person mends is found at once.
    Refused(Fault),
}

impl<H, D> Judgement<H, D> {
    /// The same, with the drift as `carried` has it.
    pub fn map<E>(self, carried: impl FnOnce(D) -> E) -> Judgement<H, E> {
        let Ok(judged) = self.or_drift(|drift, meanwhile| Ok::<_, Infallible>((carried(drift), meanwhile)));
        judged
    }

    /// The same where nothing is to be corrected.
    ///
    /// # Errors
    /// What is to be corrected, and what is held meanwhile.
    pub(super) fn settled(self) -> Result<Judgement<H, Infallible>, (D, Option<H>)> {
        self.or_drift(|drift, meanwhile| Err((drift, meanwhile)))
    }

    /// The same, with what `told` makes of a drift and of what is held meanwhile.
    fn or_drift<E, X>(
        self,
        told: impl FnOnce(D, Option<H>) -> Result<(E, Option<H>), X>,
    ) -> Result<Judgement<H, E>, X> {
        Ok(match self {
            Judgement::Kept(held) => Judgement::Kept(held),
            Judgement::Drifted { drift, meanwhile } => {
                let (drift, meanwhile) = told(drift, meanwhile)?;
                Judgement::Drifted { drift, meanwhile }
            }
            Judgement::Waits(need) => Judgement::Waits(need),
            Judgement::StandsAside(held) => Judgement::StandsAside(held),
            Judgement::KeptDespite { held, fault } => Judgement::KeptDespite { held, fault },
            Judgement::Unseen { held, fault } => Judgement::Unseen { held, fault },
            Judgement::Refused(fault) => Judgement::Refused(fault),
        })
    }
}
