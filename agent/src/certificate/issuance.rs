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
    steps::{Ended, FailureKind, IssuanceRun, IssuanceStep, OrderProgress, StepFailure, StepOutcome},
};
use crate::{
    aws::{Aws, lease::LeaseObject, secret::Swapped, zone::Zone},
    clock,
    fault::Fault,
};

/// How long what was seen of the zone holds: an order that is tried again within it does not look at every name anew.
const PREPARED_FOR: std::time::Duration = std::time::Duration::from_secs(600);

/// The clients and settings that one issuance needs.
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

/// The lease, account and order that are open between two steps.
#[derive(Default)]
struct IssuanceSession {
    lease: Option<OrderLease>,
    account_session: Option<AccountSession>,
    order: Option<Order>,
    /// How far the clock of this host is off.
    off: Duration,
}

impl Issuance<'_> {
    /// Runs the procedure to its end: the document as it stands then, with its version.
    ///
    /// # Errors
    /// What the vault, the CA, S3 or Route 53 refuse; that another host is about it; that it is not time yet.
    pub(super) async fn run(&self, unreachable: &mut UnreachableCas) -> Ended {
        let mut run = IssuanceRun::new(self.wanted, std::mem::take(unreachable));
        let mut session = IssuanceSession::default();
        while let Some(step) = run.next() {
            // A step may be a call of any of four services: its future is large, and does not belong on the stack.
            let came = Box::pin(self.take(step, &mut session)).await.unwrap_or_else(StepOutcome::Failed);
            run.came(came, clock::now() + session.off);
        }
        let directory = &run.authority().directory;
        let alerts = run.alerts();
        let (ended, left) = run.ended();
        *unreachable = left;
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

    async fn take(&self, step: IssuanceStep<'_>, session: &mut IssuanceSession) -> Result<StepOutcome, StepFailure> {
        match step {
            IssuanceStep::Lease => {
                session.lease = Some(OrderLease::take(self.lease.clone(), &self.holder, self.insist).await?);
            }
            IssuanceStep::Read => {
                let written = match &session.lease {
                    Some(lease) => lease.vault().await,
                    None => 0,
                };
                let reading = self.vault.read_since(written).await?;
                session.off = reading.off;
                let holding = reading.document.certificate.as_ref().map_or(Holding::Nothing, Issued::holding);
                return Ok(StepOutcome::Read(reading.version, Box::new(reading.document), holding));
            }
            IssuanceStep::Prepare => self.prepare().await?,
            IssuanceStep::Reach(authority) => self.acme(&authority.directory)?.reach().await?,
            IssuanceStep::Store(document, was) => {
                let Swapped::Done(version) = self.vault.swap(was, document).await? else {
                    return Ok(StepOutcome::Overtaken);
                };
                if let Some(lease) = &session.lease {
                    lease.wrote(document.written).await;
                }
                return Ok(StepOutcome::Stored(version));
            }
            IssuanceStep::Open(authority, kept) => {
                let (account_session, made) = self.acme(&authority.directory)?.open(kept, &self.aws).await?;
                session.account_session = Some(account_session);
                return Ok(StepOutcome::Opened(made));
            }
            IssuanceStep::Probe(staging) => self.probe(staging).await?,
            IssuanceStep::Confirm => match &session.lease {
                Some(lease) => lease.confirm().await?,
                None => return Err(none_at_hand("lease")),
            },
            IssuanceStep::Place(authority, replaces) => {
                let (acme, key) = (self.acme(&authority.directory)?, new_key()?);
                let order = acme.place(&account_session(session)?, &self.wanted.names, replaces).await?;
                let url = order.url().to_owned();
                session.order = Some(order);
                return Ok(StepOutcome::Placed(url, key));
            }
            IssuanceStep::Resume(pending_order) => {
                let Some(mut order) = account_session(session)?.read(&pending_order.url).await? else {
                    return Ok(StepOutcome::Found(OrderProgress::Gone));
                };
                tracing::info!(url = pending_order.url, "resuming the pending order");
                let found = found(&mut order);
                session.order = Some(order);
                return Ok(StepOutcome::Found(found));
            }
            IssuanceStep::Prove => account_session(session)?.prove(order(session)?, &self.zone).await?,
            IssuanceStep::Finalize(pending_order) => {
                account_session(session)?
                    .finalize(order(session)?, &request(&pending_order.names, &pending_order.key)?)
                    .await?;
            }
            IssuanceStep::Fetch(pending_order) => {
                let chain = account_session(session)?.certificate(order(session)?).await?;
                let (directory, profile) = (pending_order.directory.clone(), pending_order.profile.clone());
                let issued = Issued { directory, profile, chain, key: pending_order.key.clone(), renewal: None };
                let read = issued.read();
                read.map_err(|why| Fault::retry("reading the certificate that the CA issued", why))?;
                return Ok(StepOutcome::Fetched(issued));
            }
            IssuanceStep::GiveBack => {
                if let Some(lease) = session.lease.take() {
                    lease.give_back().await;
                }
            }
        }
        Ok(StepOutcome::Done)
    }

    /// Proves the names to the staging environment. That it cannot be asked is no reason not to ask the CA itself.
    async fn probe(&self, staging: &str) -> Result<(), StepFailure> {
        match self.probed(staging).await {
            Err(refused) if refused.kind != FailureKind::AuthorizationFailed => {
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
        let (account_session, _) = acme.open(None, &self.aws).await?;
        let mut order = acme.place(&account_session, &self.wanted.names, None).await?;
        account_session.prove(&mut order, &self.zone).await
    }

    fn acme(&self, directory: &str) -> Result<&Acme, StepFailure> {
        let found = self.authorities.iter().find(|acme| acme.authority.directory == directory);
        found.ok_or_else(|| none_at_hand("CA"))
    }
}

fn account_session(session: &IssuanceSession) -> Result<AccountSession, StepFailure> {
    session.account_session.clone().ok_or_else(|| none_at_hand("account"))
}

fn order(session: &mut IssuanceSession) -> Result<&mut Order, StepFailure> {
    session.order.as_mut().ok_or_else(|| none_at_hand("order"))
}

/// The steps come in an order in which this does not happen.
fn none_at_hand(what: &str) -> StepFailure {
    Fault::retry("having a certificate issued", format!("internal error: no {what} at hand")).into()
}
