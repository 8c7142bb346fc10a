//! One order at the CA (RFC 8555 §7.1): proven, finalized, fetched.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeStatus, ChallengeType, Error, Identifier, Order, OrderStatus, RetryPolicy,
};

use super::{
    challenge::{Challenges, Proof},
    document::is_whole,
    refusal::{kind_of, refused, words},
    steps::{FailureKind, OrderProgress, StepFailure},
    transport::Transport,
};
use crate::{
    aws::zone::Zone,
    fault::{Cure, Fault},
};

/// How a pending order is looked at again; a `Retry-After` of the CA goes before.
const POLLING: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(100)).timeout(Duration::from_secs(120));
/// How often a call is made anew whose nonce the CA refused, beside the three times that instant-acme makes it: a CA
/// that has lost its nonces refuses many.
pub(super) const NONCES: u32 = 12;

/// Makes a call anew as long as all that the CA refuses is its nonce. A macro, because a closure that lends what it
/// captures to a future cannot be sent between threads yet.
macro_rules! insist {
    ($call:expr) => {{
        let mut again = 0;
        loop {
            match $call {
                Err(error) if again < NONCES && error.is_of_the_nonce() => again += 1,
                made => break made,
            }
        }
    }};
}
pub(super) use insist;

/// An account that is ready to order.
#[derive(Clone)]
pub(super) struct AccountSession {
    pub(super) account: Account,
    pub(super) transport: Transport,
}

impl AccountSession {
    /// Reads the order at `url`; none when the CA does not know it.
    pub(super) async fn read(&self, url: &str) -> Result<Option<Order>, StepFailure> {
        match insist!(self.account.order(url.to_owned()).await) {
            Ok(order) => Ok(Some(order)),
            Err(Error::Api(problem))
                if kind_of_problem(&problem) != "accountDoesNotExist"
                    && kind_of_problem(&problem) != "rateLimited"
                    && problem.status.is_none_or(|status| (400..500).contains(&status)) =>
            {
                tracing::info!(url, %problem, "the pending order is gone");
                Ok(None)
            }
            Err(error) => Err(self.refused("reading the pending order", &error)),
        }
    }

    /// Proves the names of the order by records in `zone`. The records are left in `published`, for the caller to remove.
    pub(super) async fn prove<'z>(
        &self,
        order: &mut Order,
        zone: &'z Zone,
        published: &mut Option<Challenges<'z>>,
    ) -> Result<(), StepFailure> {
        let proofs = insist!(proofs(order).await);
        let proofs = proofs.map_err(|halt| self.halted("reading the authorizations of the order", halt))?;
        if proofs.is_empty() {
            return self.validate(order).await;
        }
        let challenges = Challenges::new(zone, proofs);
        challenges.publish().await?;
        let proven = self.validate(order).await;
        // Whatever came of it, what we published is of no use any more.
        *published = Some(challenges);
        proven
    }

    async fn validate(&self, order: &mut Order) -> Result<(), StepFailure> {
        let told = insist!(tell(order).await);
        told.map_err(|halt| self.halted("telling the CA that the challenge is ready", halt))?;
        let status = insist!(order.poll_ready(&POLLING).await);
        match status.map_err(|error| self.refused("waiting for the CA to look at the challenge", &error))? {
            OrderStatus::Invalid => Err(self.authorization_failed(order).await),
            _ => Ok(()),
        }
    }

    /// Why the CA does not believe that the names are ours.
    async fn authorization_failed(&self, order: &mut Order) -> StepFailure {
        let mut reasons = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if let Ok(state) = authorization.refresh().await {
                let problems = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
                reasons.extend(problems.map(words));
            }
        }
        let said = if reasons.is_empty() { "the order is invalid".to_owned() } else { reasons.join("; ") };
        let remedy = "see that the zone is the one that the domain is delegated to, and that CAA records allow the CA";
        let fault = Fault { remedy: Some(remedy.to_owned()), ..Fault::retry("proving the names to the CA", said) };
        StepFailure { fault, kind: FailureKind::AuthorizationFailed }
    }

    /// Sends the request for the certificate. An answer that was lost is settled by reading the order again, so that
    /// never two are issued for one order.
    pub(super) async fn finalize(&self, order: &mut Order, csr: &[u8]) -> Result<(), StepFailure> {
        const DOING: &str = "finalizing the order";
        let Err(error) = insist!(order.finalize_csr(csr).await) else {
            return Ok(());
        };
        let first = self.refused(DOING, &error);
        if matches!(error, Error::Api(_)) && first.fault.cure != Cure::Retry {
            return Err(first);
        }
        tracing::info!(fault = %first.fault, "reading the order again");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let state = insist!(order.refresh().await.map(|state| state.status));
        match state.map_err(|error| self.refused("reading the order again", &error))? {
            OrderStatus::Processing | OrderStatus::Valid => Ok(()),
            OrderStatus::Ready => insist!(order.finalize_csr(csr).await).map_err(|error| self.refused(DOING, &error)),
            OrderStatus::Invalid => Err(StepFailure { kind: FailureKind::Invalid, ..first }),
            OrderStatus::Pending => Err(first),
        }
    }

    /// The chain; fetching it is repeated, because what is issued and lost would have to be ordered again.
    pub(super) async fn certificate(&self, order: &mut Order) -> Result<String, StepFailure> {
        const DOING: &str = "fetching the certificate";
        let mut last = Fault::retry(DOING, "no answer").into();
        for attempt in 0..4_u32 {
            tokio::time::sleep(Duration::from_millis(500) * attempt).await;
            match insist!(order.poll_certificate(&POLLING).await) {
                Ok(chain) if is_whole(&chain) => return Ok(chain),
                Ok(_) => last = Fault::retry(DOING, "a chain that is cut off").into(),
                Err(error) => last = self.refused(DOING, &error),
            }
            if order.state().status == OrderStatus::Invalid {
                return Err(StepFailure { kind: FailureKind::Invalid, ..last });
            }
        }
        Err(last)
    }

    pub(super) fn refused(&self, doing: &str, error: &Error) -> StepFailure {
        refused(doing, error, &self.transport)
    }

    fn halted(&self, doing: &str, halt: Halt) -> StepFailure {
        match halt {
            Halt::Error(error) => self.refused(doing, &error),
            Halt::Said(said) => Fault::retry(doing, said).into(),
        }
    }
}

/// How far an order is.
pub(super) fn found(order: &mut Order) -> OrderProgress {
    match order.state().status {
        OrderStatus::Pending => OrderProgress::Pending,
        OrderStatus::Ready => OrderProgress::Ready,
        OrderStatus::Processing | OrderStatus::Valid => OrderProgress::Finalized,
        OrderStatus::Invalid => OrderProgress::Invalid,
    }
}

/// Why a sequence of calls was broken off.
enum Halt {
    Error(Error),
    Said(String),
}

/// A request that may fail for its nonce alone: then nothing has happened at the CA (RFC 8555 §6.5).
pub(super) trait OfTheNonce {
    /// Whether it has.
    fn is_of_the_nonce(&self) -> bool;
}

impl OfTheNonce for Error {
    fn is_of_the_nonce(&self) -> bool {
        kind_of(self) == "badNonce"
    }
}

impl OfTheNonce for Halt {
    fn is_of_the_nonce(&self) -> bool {
        matches!(self, Halt::Error(error) if error.is_of_the_nonce())
    }
}

/// The challenge records, for every name that is not proven yet.
async fn proofs(order: &mut Order) -> Result<Vec<Proof>, Halt> {
    let mut proofs = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(Halt::Error)?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let name = match authorization.identifier().identifier {
            Identifier::Dns(name) => name.clone(),
            other => return Err(Halt::Said(format!("{other:?} is not a name that was ordered"))),
        };
        let challenge = authorization.challenge(ChallengeType::Dns01);
        let challenge = challenge.ok_or_else(|| Halt::Said(format!("no dns-01 offered for {name}")))?;
        proofs.push(Proof::new(&name, &challenge.key_authorization().dns_value()));
    }
    Ok(proofs)
}

/// Tells the CA that it may look.
async fn tell(order: &mut Order) -> Result<(), Halt> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(Halt::Error)?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        if let Some(mut challenge) = authorization.challenge(ChallengeType::Dns01)
            && challenge.status == ChallengeStatus::Pending
        {
            challenge.set_ready().await.map_err(Halt::Error)?;
        }
    }
    Ok(())
}

fn kind_of_problem(problem: &instant_acme::Problem) -> &str {
    problem.r#type.as_deref().unwrap_or_default().trim_start_matches("urn:ietf:params:acme:error:")
}
