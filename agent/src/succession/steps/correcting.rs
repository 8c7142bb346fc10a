//! What a host does to its fleet, from the turn that it takes to the last look before it ends a host.
//!
//! A look is some time ago by then, so what speaks for ending a host is looked at once more. Last comes the fleet, since
//! whoever lowers the target meanwhile may have the fleet end the owner.

use std::{net::IpAddr, time::Duration};

use super::{Context, Outcome, Request, Steps, unexpected};
use crate::{
    claim::{Claim, Routing},
    fault::Fault,
    succession::decision::Step,
};

/// What speaks for it is this old at most when a host is ended: one that was stopped meanwhile, or had to wait for an answer,
/// knows nothing of what has become of the others.
const FRESH: Duration = Duration::from_secs(20);

/// A correction that is under way.
#[derive(Clone, Debug)]
pub(in crate::succession) struct Correcting {
    at: At,
}

#[derive(Clone, Debug)]
enum At {
    Turn(Step),
    EarlyTurn(u32),
    Replacement,
    Target(Step, u32),
    Settle(Step),
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
    pub(in crate::succession) fn new(step: Step) -> Correcting {
        let at = match step {
            Step::Lower { .. } | Step::Dismiss { .. } | Step::Leave => At::Turn(step),
            Step::BeReplaced => At::Replacement,
            Step::GiveBack { to } => At::Target(step, to),
            Step::AskEarly { to } => At::EarlyTurn(to),
        };
        Correcting { at }
    }

    /// Whether this host has ended itself.
    pub(in crate::succession) fn has_left(&self) -> bool {
        matches!(self.at, At::Left)
    }

    /// Whether it is about to, upon what it has just made sure of.
    #[cfg(test)]
    pub(in crate::succession) fn is_about_to_leave(&self) -> bool {
        matches!(self.at, At::End(Some(_)))
    }
}

impl Steps for Correcting {
    fn next(&self, context: &Context<'_>) -> Result<Option<Request>, Fault> {
        Ok(Some(match &self.at {
            At::Turn(_) => Request::TakeTurn,
            At::EarlyTurn(_) => Request::TakeEarlyTurn,
            At::Replacement => Request::SpendReplacement(context.memory.rules.policy.replacements),
            At::Target(_, to) => Request::SetTarget(*to),
            At::Settle(_) => Request::Settle,
            At::Claim(_) | At::OverdueClaim(..) => Request::ReadClaim,
            At::Claimant(_, claim) => Request::AskClaimant(claim.clone()),
            At::Spare(..) | At::OverdueSpare(..) => Request::LookAtFleet,
            At::OverdueOthers(..) => Request::ListOthers,
            At::OverdueAsk(.., address) => Request::AskAt(*address),
            At::End(None) => Request::End { replaced: true },
            At::End(Some(since)) => {
                if let Some(Routing::Here(_)) = context.watched.leads {
                    return Err(leads_here());
                }
                still_fresh(LEAVING, *since, context.now)?;
                Request::End { replaced: false }
            }
            At::Dismiss(since, instance) => {
                still_fresh(DISMISSING, *since, context.now)?;
                tracing::warn!(instance, "has never answered, and the fleet has one host too many: it is ended");
                Request::Dismiss(instance.clone())
            }
            At::Left | At::Over => return Ok(None),
        }))
    }

    fn came(&mut self, outcome: Outcome, context: &mut Context<'_>) -> Result<(), Fault> {
        let at = std::mem::replace(&mut self.at, At::Over);
        self.at = match at {
            At::Claim(_) | At::Claimant(..) | At::Spare(..) | At::End(_) => leaving(at, outcome, context)?,
            At::OverdueClaim(..)
            | At::OverdueOthers(..)
            | At::OverdueAsk(..)
            | At::OverdueSpare(..)
            | At::Dismiss(..) => dismissing(at, outcome, context)?,
            _ => preparing(at, outcome, context)?,
        };
        Ok(())
    }
}

/// What comes before a host is ended, or instead: the turn, and the target.
fn preparing(at: At, outcome: Outcome, context: &mut Context<'_>) -> Result<At, Fault> {
    Ok(match (at, outcome) {
        (At::Turn(step @ (Step::Lower { to } | Step::Dismiss { to: Some(to) })), Outcome::Done) => At::Target(step, to),
        (At::Turn(Step::Dismiss { to: None }), Outcome::Done) => overdue(context),
        (At::Turn(_), Outcome::Done) => leave(context)?,
        (At::EarlyTurn(to), Outcome::Done) => At::Target(Step::AskEarly { to }, to),
        (At::Replacement, Outcome::Done) => At::End(None),
        (At::Target(step @ (Step::Lower { .. } | Step::Dismiss { .. }), _), Outcome::Done) => At::Settle(step),
        (At::Target(Step::GiveBack { .. }, _), Outcome::Done) => {
            context.memory.given_back = context.memory.claimed(context.watched).0;
            At::Over
        }
        (At::Target(..), Outcome::Done) => At::Over,
        (At::Settle(Step::Dismiss { .. }), Outcome::Fleet(Some(_))) => overdue(context),
        (At::Settle(_), Outcome::Fleet(Some(after))) if after.members > after.target => leave(context)?,
        (At::Settle(_), Outcome::Fleet(Some(_))) => At::Over,
        (_, outcome) => return Err(unexpected("changing the fleet", outcome)),
    })
}

/// This host ends itself.
fn leaving(at: At, outcome: Outcome, context: &Context<'_>) -> Result<At, Fault> {
    Ok(match (at, outcome) {
        (At::Claim(since), Outcome::Claim(None)) => At::Spare(since, None),
        (At::Claim(_), Outcome::Claim(Some(claim))) if Some(&claim.instance) == context.watched.instance.as_ref() => {
            return Err(leads_here());
        }
        (At::Claim(_), Outcome::Claim(Some(claim))) if claim.departing => {
            return Err(Fault::retry(LEAVING, format!("{} says that it goes", claim.instance)));
        }
        (At::Claim(since), Outcome::Claim(Some(claim))) => At::Claimant(since, Box::new(claim)),
        (At::Claimant(since, claim), Outcome::Answers(true)) => {
            At::Spare(since, claim.target_in(context.watched.location.as_ref()))
        }
        (At::Claimant(_, claim), Outcome::Answers(false)) => {
            return Err(Fault::retry(LEAVING, format!("{} does not answer any more", claim.instance)));
        }
        (At::Spare(since, claimed), Outcome::Fleet(fleet)) => {
            if !context.memory.spares_one(fleet, context.watched, claimed) {
                return Err(Fault::retry(LEAVING, "the fleet needs this host by now"));
            }
            At::End(Some(since))
        }
        (At::End(_), Outcome::Done) => At::Left,
        (_, outcome) => return Err(unexpected(LEAVING, outcome)),
    })
}

/// Another host is ended, which has never answered.
fn dismissing(at: At, outcome: Outcome, context: &mut Context<'_>) -> Result<At, Fault> {
    Ok(match (at, outcome) {
        (At::OverdueClaim(since, instance), Outcome::Claim(claim)) => {
            // A host that could see nothing for a while may have been followed meanwhile, and by that very one.
            let (owner, claimed) = claim.map(|claim| (claim.instance, claim.target)).unzip();
            if owner.is_none() || owner != context.watched.instance {
                return Err(Fault::retry(DISMISSING, "the names lead to another host by now"));
            }
            At::OverdueOthers(since, instance, claimed.flatten())
        }
        (At::OverdueOthers(since, instance, claimed), Outcome::Others(others)) => {
            match others.into_iter().find(|(other, _)| *other == instance) {
                None => At::Over,
                Some((_, Some(address))) => At::OverdueAsk(since, instance, claimed, address),
                Some((_, None)) => At::OverdueSpare(since, instance, claimed),
            }
        }
        (At::OverdueAsk(since, instance, claimed, _), Outcome::Answers(false)) => {
            At::OverdueSpare(since, instance, claimed)
        }
        (At::OverdueAsk(_, instance, ..), Outcome::Answers(true)) => {
            seen([(instance, true)].into(), context);
            At::Over
        }
        (At::OverdueSpare(since, instance, claimed), Outcome::Fleet(fleet)) => {
            if !context.memory.spares_one(fleet, context.watched, claimed) {
                return Err(Fault::retry(DISMISSING, "the fleet needs it by now"));
            }
            At::Dismiss(since, instance)
        }
        (At::Dismiss(..), Outcome::Done) => {
            seen(Vec::new(), context);
            At::Over
        }
        (_, outcome) => return Err(unexpected(DISMISSING, outcome)),
    })
}

const LEAVING: &str = "leaving the fleet";
const DISMISSING: &str = "ending a host that has never answered";

/// Begins to make sure that this host may end itself.
fn leave(context: &Context<'_>) -> Result<At, Fault> {
    match &context.watched.leads {
        Some(Routing::Here(_)) => Err(leads_here()),
        Some(Routing::Elsewhere(_)) => Ok(At::Claim(context.now)),
        // One that answers may be the only one, though it could not take the names for long: while Route 53 was away, say.
        None if context.watched.answers => Ok(At::Claim(context.now)),
        None => Ok(At::Spare(context.now, None)),
    }
}

/// Begins to make sure that the host which is overdue may be ended.
fn overdue(context: &Context<'_>) -> At {
    match context.memory.overdue(context.now) {
        Some(instance) => At::OverdueClaim(context.now, instance.to_owned()),
        None => At::Over,
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
        return Err(Fault::retry(doing, "it took too long to see what speaks for it"));
    }
    Ok(())
}
