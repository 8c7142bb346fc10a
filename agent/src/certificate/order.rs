//! One order at the CA (RFC 8555 §7.1), each step reachable only through the one before.

use std::time::Duration;

use instant_acme::{Account, AuthorizationStatus, ChallengeType, Error, Identifier, Order, OrderStatus, RetryPolicy};

use super::{
    challenge::{Challenges, Proof},
    document::is_whole,
    refusal::{AFTER_A_FAILED_PROOF, fault, words},
    transport::Transport,
};
use crate::{aws::zone::Zone, fault::Fault};

/// How a pending order is looked at again; a `Retry-After` of the CA goes before.
const POLLING: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(100)).timeout(Duration::from_secs(120));

/// An account that is ready to order.
pub(super) struct Customer {
    pub(super) account: Account,
    pub(super) transport: Transport,
}

impl Customer {
    /// Whether `fault` says that the CA does not know the account any more.
    pub(super) fn is_unknown(fault: &Fault) -> bool {
        fault.said.contains("accountDoesNotExist")
    }

    pub(super) async fn prove(&self, order: &mut Order, zone: &Zone) -> Result<(), Fault> {
        let proofs = self.proofs(order).await?;
        if proofs.is_empty() {
            return Ok(());
        }
        let challenges = Challenges::new(zone, proofs);
        challenges.publish().await?;
        let proven = self.validate(order).await;
        // Whatever came of it, what we published is of no use any more.
        if let Err(fault) = challenges.remove().await {
            tracing::warn!(%fault, "challenge records stay behind");
        }
        proven
    }

    /// What has to stand in DNS, for every name that is not proven yet.
    async fn proofs(&self, order: &mut Order) -> Result<Vec<Proof>, Fault> {
        const DOING: &str = "reading the authorizations of the order";
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.fault(DOING, &error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let name = match authorization.identifier().identifier {
                Identifier::Dns(name) => name.clone(),
                other => {
                    return Err(Fault::retry(DOING, format!("{other:?} is no name that was ordered")));
                }
            };
            let challenge = authorization.challenge(ChallengeType::Dns01);
            let challenge = challenge.ok_or_else(|| Fault::retry(DOING, format!("no dns-01 offered for {name}")))?;
            proofs.push(Proof::new(&name, &challenge.key_authorization().dns_value()));
        }
        Ok(proofs)
    }

    async fn validate(&self, order: &mut Order) -> Result<(), Fault> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.fault("reading an authorization", &error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            if let Some(mut challenge) = authorization.challenge(ChallengeType::Dns01) {
                let ready = challenge.set_ready().await;
                ready.map_err(|error| self.fault("telling the CA that the challenge is ready", &error))?;
            }
        }
        let status = order.poll_ready(&POLLING).await;
        match status.map_err(|error| self.fault("waiting for the CA to look at the challenge", &error))? {
            OrderStatus::Invalid => Err(self.disproven(order).await),
            _ => Ok(()),
        }
    }

    /// Why the CA does not believe that the names are ours.
    async fn disproven(&self, order: &mut Order) -> Fault {
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
        let mut fault = Fault::wait("proving the names to the CA", said, AFTER_A_FAILED_PROOF);
        fault.remedy = Some(remedy.to_owned());
        fault
    }

    /// Sends the request for the certificate. An answer that was lost is settled by reading the order again, so that
    /// never two are issued for one order.
    pub(super) async fn finalize(&self, order: &mut Order, csr: &[u8]) -> Result<(), Fault> {
        const DOING: &str = "finalizing the order";
        let Err(error) = order.finalize_csr(csr).await else {
            return Ok(());
        };
        let first = self.fault(DOING, &error);
        if matches!(error, Error::Api(_)) && first.cure != crate::fault::Cure::Retry {
            return Err(first);
        }
        tracing::info!(fault = %first, "reading the order again");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let state = order.refresh().await.map_err(|error| self.fault("reading the order again", &error))?;
        match state.status {
            OrderStatus::Processing | OrderStatus::Valid => Ok(()),
            OrderStatus::Ready => order.finalize_csr(csr).await.map_err(|error| self.fault(DOING, &error)),
            _ => Err(first),
        }
    }

    /// The chain; fetching it is repeated, because what is issued and lost would have to be ordered again.
    pub(super) async fn certificate(&self, order: &mut Order) -> Result<String, Fault> {
        let mut last = None;
        for attempt in 0..4_u32 {
            tokio::time::sleep(Duration::from_millis(500) * attempt).await;
            match order.poll_certificate(&POLLING).await {
                Ok(chain) if is_whole(&chain) => return Ok(chain),
                Ok(_) => last = Some(Fault::retry("fetching the certificate", "a chain that is cut off")),
                Err(error) => last = Some(self.fault("fetching the certificate", &error)),
            }
        }
        Err(last.unwrap_or_else(|| Fault::retry("fetching the certificate", "no answer")))
    }

    pub(super) fn fault(&self, doing: &str, error: &Error) -> Fault {
        fault(doing, error, &self.transport)
    }
}
