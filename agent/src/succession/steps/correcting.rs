//! What a host does to its fleet, from the turn that it takes to the last look before it ends a host.
//!
//! A look is some time ago by then, so what speaks for ending a host is looked at once more. Last comes the fleet, since
//! a person who lowers the target meanwhile may have the fleet end the owner.

use std::{net::IpAddr, time::Duration};

use super::{Context, Request, RequestOutcome, Steps, unexpected};
use crate::{
    claim::{Claim, Routing},
    fault::Fault,
    succession::decision::FleetAction,
};

/// What speaks for it is this old at most when a host is ended: one that was stopped meanwhile, or had to wait for an answer,
/// knows nothing of what has become of the others.
const FRESH: Duration = Duration::from_secs(20);

/// A correction that is under way.
#[derive(Clone, Debug)]
pub(in crate::succession) struct Correcting {
    at: CorrectionState,
}

#[derive(Clone, Debug)]
enum CorrectionState {
    Turn(FleetAction),
    EarlyTurn(u32),
    Replacement,
    Target(FleetAction, u32),
    Settle(FleetAction),
    /// This host leaves: the claim is read anew, since it may just be taking the names after one that goes, and an answer that
    /// was lost would leave it unaware that it has them.
    Claim(Since),
    Claimant(Since, Box<Claim>),
    Spare(Since, Option<u32>),
    /// None where it is replaced, so that nothing has to speak for it.
    End(Option<Since>),
    /// Another is ended, which has never answered.
    OverdueClaim(Since, String),
    OverdueOthers(Since, String, Option<u32>),
    OverdueAsk(Since, String, Option<u32>, IpAddr),
    OverdueSpare(Since, String, Option<u32>),
    Dismiss(Since, String),
    Left,
    Over,
}

/// When it was begun to look at what speaks for ending a host.
type Since = Duration;

impl Correcting {
    /// A correction by `step` that has not begun.
    pub(in crate::succession) fn new(step: FleetAction) -> Correcting {
        let at = match step {
            FleetAction::Lower { .. } | FleetAction::Dismiss { .. } | FleetAction::Leave => CorrectionState::Turn(step),
            FleetAction::BeReplaced => CorrectionState::Replacement,
            FleetAction::GiveBack { to } => CorrectionState::Target(step, to),
            FleetAction::AskEarly { to } => CorrectionState::EarlyTurn(to),
        };
        Correcting { at }
    }

    /// Whether this host has ended itself.
    pub(in crate::succession) fn has_left(&self) -> bool {
        matches!(self.at, CorrectionState::Left)
    }

    /// Whether it is about to, upon what it has just made sure of.
    #[cfg(test)]
    pub(in crate::succession) fn is_about_to_leave(&self) -> bool {
        matches!(self.at, CorrectionState::End(Some(_)))
    }
}

impl Steps for Correcting {
    fn next(&self, context: &Context<'_>) -> Result<Option<Request>, Fault> {
        Ok(Some(match &self.at {
            CorrectionState::Turn(_) => Request::TakeTurn,
            CorrectionState::EarlyTurn(_) => Request::TakeEarlyTurn,
            CorrectionState::Replacement => Request::SpendReplacement(context.memory.rules.policy.replacements),
            CorrectionState::Target(_, to) => Request::SetTarget(*to),
            CorrectionState::Settle(_) => Request::Settle,
            CorrectionState::Claim(_) | CorrectionState::OverdueClaim(..) => Request::ReadClaim,
            CorrectionState::Claimant(_, claim) => Request::AskClaimant(claim.clone()),
            CorrectionState::Spare(..) | CorrectionState::OverdueSpare(..) => Request::LookAtFleet,
            CorrectionState::OverdueOthers(..) => Request::ListOthers,
            CorrectionState::OverdueAsk(.., address) => Request::AskAt(*address),
            CorrectionState::End(None) => Request::End { replaced: true },
            CorrectionState::End(Some(since)) => {
                if let Some(Routing::Here(_)) = context.watched.leads {
                    return Err(leads_here());
                }
                still_fresh(LEAVING, *since, context.now)?;
                Request::End { replaced: false }
            }
            CorrectionState::Dismiss(since, instance) => {
                still_fresh(DISMISSING, *since, context.now)?;
                tracing::warn!(instance, "ending a host that has never answered: the fleet has one host too many");
                Request::Dismiss(instance.clone())
            }
            CorrectionState::Left | CorrectionState::Over => return Ok(None),
        }))
    }

    fn came(&mut self, outcome: RequestOutcome, context: &mut Context<'_>) -> Result<(), Fault> {
        let at = std::mem::replace(&mut self.at, CorrectionState::Over);
        self.at = match at {
            CorrectionState::Claim(_)
            | CorrectionState::Claimant(..)
            | CorrectionState::Spare(..)
            | CorrectionState::End(_) => leaving(at, outcome, context)?,
            CorrectionState::OverdueClaim(..)
            | CorrectionState::OverdueOthers(..)
            | CorrectionState::OverdueAsk(..)
            | CorrectionState::OverdueSpare(..)
            | CorrectionState::Dismiss(..) => dismissing(at, outcome, context)?,
            _ => preparing(at, outcome, context)?,
        };
        Ok(())
    }
}

/// What comes before a host is ended, or instead: the turn, and the target.
fn preparing(
    at: CorrectionState,
    outcome: RequestOutcome,
    context: &mut Context<'_>,
) -> Result<CorrectionState, Fault> {
    Ok(match (at, outcome) {
        (
            CorrectionState::Turn(step @ (FleetAction::Lower { to } | FleetAction::Dismiss { to: Some(to) })),
            RequestOutcome::Done,
        ) => CorrectionState::Target(step, to),
        (CorrectionState::Turn(FleetAction::Dismiss { to: None }), RequestOutcome::Done) => overdue(context),
        (CorrectionState::Turn(_), RequestOutcome::Done) => leave(context)?,
        (CorrectionState::EarlyTurn(to), RequestOutcome::Done) => {
            CorrectionState::Target(FleetAction::AskEarly { to }, to)
        }
        (CorrectionState::Replacement, RequestOutcome::Done) => CorrectionState::End(None),
        (
            CorrectionState::Target(step @ (FleetAction::Lower { .. } | FleetAction::Dismiss { .. }), _),
            RequestOutcome::Done,
        ) => CorrectionState::Settle(step),
        (CorrectionState::Target(FleetAction::GiveBack { .. }, _), RequestOutcome::Done) => {
            context.memory.given_back = context.memory.claimed(context.watched).0;
            CorrectionState::Over
        }
        (CorrectionState::Target(..), RequestOutcome::Done) => CorrectionState::Over,
        (CorrectionState::Settle(FleetAction::Dismiss { .. }), RequestOutcome::Fleet(Some(_))) => overdue(context),
        (CorrectionState::Settle(_), RequestOutcome::Fleet(Some(after))) if after.members > after.target => {
            leave(context)?
        }
        (CorrectionState::Settle(_), RequestOutcome::Fleet(Some(_))) => CorrectionState::Over,
        (_, outcome) => return Err(unexpected("changing the fleet", outcome)),
    })
}

/// This host ends itself.
fn leaving(at: CorrectionState, outcome: RequestOutcome, context: &Context<'_>) -> Result<CorrectionState, Fault> {
    Ok(match (at, outcome) {
        (CorrectionState::Claim(since), RequestOutcome::Claim(None)) => CorrectionState::Spare(since, None),
        (CorrectionState::Claim(_), RequestOutcome::Claim(Some(claim)))
            if Some(&claim.instance) == context.watched.instance.as_ref() =>
        {
            return Err(leads_here());
        }
        (CorrectionState::Claim(_), RequestOutcome::Claim(Some(claim))) if claim.departing => {
            return Err(Fault::retry(LEAVING, format!("{} says that it is leaving", claim.instance)));
        }
        (CorrectionState::Claim(since), RequestOutcome::Claim(Some(claim))) => {
            CorrectionState::Claimant(since, Box::new(claim))
        }
        (CorrectionState::Claimant(since, claim), RequestOutcome::Answers(true)) => {
            CorrectionState::Spare(since, claim.target_in(context.watched.location.as_ref()))
        }
        (CorrectionState::Claimant(_, claim), RequestOutcome::Answers(false)) => {
            return Err(Fault::retry(LEAVING, format!("{} does not answer any more", claim.instance)));
        }
        (CorrectionState::Spare(since, claimed), RequestOutcome::Fleet(fleet)) => {
            if !context.memory.spares_one(fleet, context.watched, claimed) {
                return Err(Fault::retry(LEAVING, "the fleet needs this host by now"));
            }
            CorrectionState::End(Some(since))
        }
        (CorrectionState::End(_), RequestOutcome::Done) => CorrectionState::Left,
        (_, outcome) => return Err(unexpected(LEAVING, outcome)),
    })
}

/// Another host is ended, which has never answered.
fn dismissing(
    at: CorrectionState,
    outcome: RequestOutcome,
    context: &mut Context<'_>,
) -> Result<CorrectionState, Fault> {
    Ok(match (at, outcome) {
        (CorrectionState::OverdueClaim(since, instance), RequestOutcome::Claim(claim)) => {
            // A host that could see nothing for a while may have been followed meanwhile, and by that very one.
            let (owner, claimed) = claim.map(|claim| (claim.instance, claim.target)).unzip();
            if owner.is_none() || owner != context.watched.instance {
                return Err(Fault::retry(DISMISSING, "the names lead to another host by now"));
            }
            CorrectionState::OverdueOthers(since, instance, claimed.flatten())
        }
        (CorrectionState::OverdueOthers(since, instance, claimed), RequestOutcome::Others(others)) => {
            match others.into_iter().find(|(other, _)| *other == instance) {
                None => CorrectionState::Over,
                Some((_, Some(address))) => CorrectionState::OverdueAsk(since, instance, claimed, address),
                Some((_, None)) => CorrectionState::OverdueSpare(since, instance, claimed),
            }
        }
        (CorrectionState::OverdueAsk(since, instance, claimed, _), RequestOutcome::Answers(false)) => {
            CorrectionState::OverdueSpare(since, instance, claimed)
        }
        (CorrectionState::OverdueAsk(_, instance, ..), RequestOutcome::Answers(true)) => {
            seen([(instance, true)].into(), context);
            CorrectionState::Over
        }
        (CorrectionState::OverdueSpare(since, instance, claimed), RequestOutcome::Fleet(fleet)) => {
            if !context.memory.spares_one(fleet, context.watched, claimed) {
                return Err(Fault::retry(DISMISSING, "the fleet needs it by now"));
            }
            CorrectionState::Dismiss(since, instance)
        }
        (CorrectionState::Dismiss(..), RequestOutcome::Done) => {
            seen(Vec::new(), context);
            CorrectionState::Over
        }
        (_, outcome) => return Err(unexpected(DISMISSING, outcome)),
    })
}

const LEAVING: &str = "leaving the fleet";
const DISMISSING: &str = "ending a host that has never answered";

/// Begins to make sure that this host may end itself.
fn leave(context: &Context<'_>) -> Result<CorrectionState, Fault> {
    match &context.watched.leads {
        Some(Routing::Here(_)) => Err(leads_here()),
        Some(Routing::Elsewhere(_)) => Ok(CorrectionState::Claim(context.now)),
        // One that answers may be the only one, though it could not take the names for long: while Route 53 was away, say.
        None if context.watched.answers => Ok(CorrectionState::Claim(context.now)),
        None => Ok(CorrectionState::Spare(context.now, None)),
    }
}

/// Begins to make sure that the host which is overdue may be ended.
fn overdue(context: &Context<'_>) -> CorrectionState {
    match context.memory.overdue(context.now) {
        Some(instance) => CorrectionState::OverdueClaim(context.now, instance.to_owned()),
        None => CorrectionState::Over,
    }
}

fn seen(others: Vec<(String, bool)>, context: &mut Context<'_>) {
    let running = context.memory.running(context.now);
    context.memory.newcomers.seen(others, running);
}

fn leads_here() -> Fault {
    Fault::retry(LEAVING, "the names lead here again")
}

fn still_fresh(doing: &str, since: Since, now: Duration) -> Result<(), Fault> {
    if now.saturating_sub(since) > FRESH {
        return Err(Fault::retry(doing, "the look that allowed it is too old by now"));
    }
    Ok(())
}
