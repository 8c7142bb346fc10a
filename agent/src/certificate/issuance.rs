//! The steps of `steps.rs`, done: each is one call, or a few, to the vault, the CA, S3 or Route 53.

use std::sync::{Mutex, PoisonError};

use instant_acme::Order;
use time::Duration;
use tokio::time::Instant;

use super::{
    Vault,
    acme::Acme,
    challenge::can_be_published,
    desired_certificate::DesiredCertificate,
    document::Issued,
    key::{new_key, request},
    lease::OrderLease,
    order::{AccountSession, found},
    plan::{Holding, UnreachableCas},
    steps::{Ended, FailureKind, IssuanceRun, IssuanceStep, OrderStatus, StepFailure, StepOutcome},
};
use crate::{
    aws::{Aws, lease::LeaseObject, secret::Swapped, zone::Zone},
    clock,
    fault::Fault,
};

/// How long what was seen of the zone holds: an order that is tried again within it does not look at every name anew.
const PREPARED_FOR: std::time::Duration = std::time::Duration::from_secs(600);

/// What it takes to have a certificate issued.
pub(super) struct Issuance<'a> {
    pub(super) wanted: &'a DesiredCertificate,
    pub(super) vault: &'a Vault,
    pub(super) authorities: &'a [Acme],
    pub(super) aws: Aws,
    pub(super) zone: Zone,
    /// When the zone was last seen to have room for all proofs.
    pub(super) prepared: &'a Mutex<Option<Instant>>,
    pub(super) lease: Option<LeaseObject>,
    /// Who asks for the lease.
    pub(super) holder: String,
    /// Whether to wait for an S3 that does not answer, rather than to order without the lease.
    pub(super) insist: bool,
}

/// What is at hand between two steps.
#[derive(Default)]
struct IssuanceSession {
    lease: Option<OrderLease>,
    customer: Option<AccountSession>,
    order: Option<Order>,
    /// How far the clock of this host is off.
    off: Duration,
}

impl Issuance<'_> {
    /// Runs the procedure to its end: the document as it stands then, with its version.
    ///
    /// # Errors
    /// What the vault, the CA, S3 or Route 53 refuse; that another host is about it; that it is not time yet.
    pub(super) async fn run(&self, strikes: &mut UnreachableCas) -> Ended {
        let mut run = IssuanceRun::new(self.wanted, std::mem::take(strikes));
        let mut hands = IssuanceSession::default();
        while let Some(step) = run.next() {
            // A step may be a call of any of four services: its future is large, and does not belong on the stack.
            let came = Box::pin(self.take(step, &mut hands)).await.unwrap_or_else(StepOutcome::Failed);
            run.came(came, clock::now() + hands.off);
        }
        let directory = &run.authority().directory;
        let alerts = run.alerts();
        let (ended, left) = run.ended();
        *strikes = left;
        if let (true, Err(fault)) = (alerts, &ended) {
            tracing::error!(directory, %fault, "the certificate is due and is not renewed");
        }
        ended
    }

    async fn prepare(&self) -> Result<(), Fault> {
        let seen = *self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none_or(|at| at.elapsed() >= PREPARED_FOR) {
            can_be_published(&self.zone, &self.wanted.names).await?;
            *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(())
    }

    async fn take(&self, step: IssuanceStep<'_>, hands: &mut IssuanceSession) -> Result<StepOutcome, StepFailure> {
        match step {
            IssuanceStep::Lease => {
                hands.lease = Some(OrderLease::take(self.lease.clone(), &self.holder, self.insist).await?);
            }
            IssuanceStep::Read => {
                let written = match &hands.lease {
                    Some(lease) => lease.vault().await,
                    None => 0,
                };
                let reading = self.vault.read_since(written).await?;
                hands.off = reading.off;
                let holding = reading.document.certificate.as_ref().map_or(Holding::Nothing, Issued::holding);
                return Ok(StepOutcome::Read(reading.version, Box::new(reading.document), holding));
            }
            IssuanceStep::Prepare => self.prepare().await?,
            IssuanceStep::Reach(authority) => self.acme(&authority.directory)?.reach().await?,
            IssuanceStep::Store(document, was) => {
                let Swapped::Done(version) = self.vault.swap(was, document).await? else {
                    return Ok(StepOutcome::Overtaken);
                };
                if let Some(lease) = &hands.lease {
                    lease.wrote(document.written).await;
                }
                return Ok(StepOutcome::Stored(version));
            }
            IssuanceStep::Open(authority, kept) => {
                let (customer, made) = self.acme(&authority.directory)?.open(kept, &self.aws).await?;
                hands.customer = Some(customer);
                return Ok(StepOutcome::Opened(made));
            }
            IssuanceStep::Probe(staging) => self.probe(staging).await?,
            IssuanceStep::Confirm => match &hands.lease {
                Some(lease) => lease.confirm().await?,
                None => return Err(none_at_hand("lease")),
            },
            IssuanceStep::Place(authority, replaces) => {
                let (acme, key) = (self.acme(&authority.directory)?, new_key()?);
                let order = acme.place(&customer(hands)?, &self.wanted.names, replaces).await?;
                let url = order.url().to_owned();
                hands.order = Some(order);
                return Ok(StepOutcome::Placed(url, key));
            }
            IssuanceStep::Resume(underway) => {
                let Some(mut order) = customer(hands)?.read(&underway.url).await? else {
                    return Ok(StepOutcome::Found(OrderStatus::Gone));
                };
                tracing::info!(url = underway.url, "going on with the order that was under way");
                let found = found(&mut order);
                hands.order = Some(order);
                return Ok(StepOutcome::Found(found));
            }
            IssuanceStep::Prove => customer(hands)?.prove(order(hands)?, &self.zone).await?,
            IssuanceStep::Finalize(underway) => {
                customer(hands)?.finalize(order(hands)?, &request(&underway.names, &underway.key)?).await?;
            }
            IssuanceStep::Fetch(underway) => {
                let chain = customer(hands)?.certificate(order(hands)?).await?;
                let (directory, profile) = (underway.directory.clone(), underway.profile.clone());
                let issued = Issued { directory, profile, chain, key: underway.key.clone(), renewal: None };
                let read = issued.read();
                read.map_err(|why| Fault::retry("reading the certificate that the CA issued", why))?;
                return Ok(StepOutcome::Fetched(issued));
            }
            IssuanceStep::GiveBack => {
                if let Some(lease) = hands.lease.take() {
                    lease.give_back().await;
                }
            }
        }
        Ok(StepOutcome::Done)
    }

    /// Proves the names to the staging environment. That it cannot be asked is no reason not to ask the CA itself.
    async fn probe(&self, staging: &str) -> Result<(), StepFailure> {
        match self.probed(staging).await {
            Err(refused) if refused.kind != FailureKind::Disproven => {
                tracing::warn!(fault = %refused.fault, "the staging environment could not be tried");
                Ok(())
            }
            Err(refused) => {
                Err(StepFailure { fault: refused.fault.while_doing("trying it at the staging CA"), ..refused })
            }
            Ok(()) => {
                tracing::info!(staging, "the names were proven to the staging environment");
                Ok(())
            }
        }
    }

    async fn probed(&self, staging: &str) -> Result<(), StepFailure> {
        let production = self.authorities.iter().find(|acme| acme.authority.staging.as_deref() == Some(staging));
        let acme = production.ok_or_else(|| none_at_hand("staging environment"))?.staging(staging);
        let (customer, _) = acme.open(None, &self.aws).await?;
        let mut order = acme.place(&customer, &self.wanted.names, None).await?;
        customer.prove(&mut order, &self.zone).await
    }

    fn acme(&self, directory: &str) -> Result<&Acme, StepFailure> {
        let found = self.authorities.iter().find(|acme| acme.authority.directory == directory);
        found.ok_or_else(|| none_at_hand("CA"))
    }
}

fn customer(hands: &IssuanceSession) -> Result<AccountSession, StepFailure> {
    hands.customer.clone().ok_or_else(|| none_at_hand("account"))
}

fn order(hands: &mut IssuanceSession) -> Result<&mut Order, StepFailure> {
    hands.order.as_mut().ok_or_else(|| none_at_hand("order"))
}

/// The steps come in an order in which this does not happen.
fn none_at_hand(what: &str) -> StepFailure {
    Fault::retry("having a certificate issued", format!("a defect of spothost: no {what} at hand")).into()
}
