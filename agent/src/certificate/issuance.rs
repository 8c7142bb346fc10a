//! The steps of `steps.rs`, done: each is one call, or a few, to the vault, the CA, S3 or Route 53.

use std::{
    pin::{Pin, pin},
    sync::{Mutex, PoisonError},
};

use instant_acme::Order;
use time::Duration;
use tokio::time::{Instant, timeout};

use super::{
    Vault,
    acme::Acme,
    challenge::{Challenges, can_be_published},
    desired_certificate::DesiredCertificate,
    document::{Issued, PendingOrder},
    key::{new_key, request},
    lease::OrderLease,
    order::{AccountSession, found},
    plan::{Holding, UnreachableCas},
    steps::{Ended, FailureKind, IssuanceRun, IssuanceStep, OrderProgress, StepFailure, StepOutcome},
    transport::Transport,
};
use crate::{
    aws::{Aws, lease::LeaseObject, secret::Swapped, zone::Zone},
    clock,
    fault::Fault,
};

/// How long what was seen of the zone holds: an order that is tried again within it does not look at every name anew.
const PREPARED_FOR: std::time::Duration = std::time::Duration::from_secs(600);

/// How long a certificate that is stored waits at most until the challenge records are removed.
const LONGEST_REMOVAL: std::time::Duration = std::time::Duration::from_secs(3);

/// Whether the zone has room for all proofs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Preparation {
    /// It was not looked at yet.
    #[default]
    Unknown,
    /// It had then.
    Good(Instant),
    /// It had not, or could not be looked at.
    Bad,
}

/// The clients and settings that one issuance needs.
pub(super) struct Issuance<'a> {
    pub(super) wanted: &'a DesiredCertificate,
    pub(super) vault: &'a Vault,
    pub(super) authorities: &'a [Acme],
    pub(super) aws: Aws,
    pub(super) zone: Zone,
    /// What was last seen of the zone.
    pub(super) prepared: &'a Mutex<Preparation>,
    pub(super) lease: Option<LeaseObject>,
    /// Who asks for the lease.
    pub(super) holder: String,
    /// Whether to wait for an S3 that does not answer, rather than to order without the lease.
    pub(super) insist: bool,
}

/// The lease, client, account and order that are open between two steps.
#[derive(Default)]
struct IssuanceSession<'z> {
    lease: Option<OrderLease>,
    /// What came of reaching the CA while the zone was looked at.
    reached: Option<Result<Transport, Fault>>,
    /// The client that has reached the CA.
    transport: Option<Transport>,
    account_session: Option<AccountSession>,
    order: Option<Order>,
    /// Challenge records that are of no use any more.
    published: Option<Challenges<'z>>,
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
        let mut removal = None;
        while let Some(step) = run.next() {
            // A step may be a call of any of four services: its future is large, and does not belong on the stack.
            let taken = Box::pin(self.take(step, &mut session));
            let came = with_removal(taken, &mut removal).await.unwrap_or_else(StepOutcome::Failed);
            if let Some(challenges) = session.published.take() {
                removal = Some(Box::pin(challenges.remove()) as Removal<'_>);
            }
            run.came(came, clock::now() + session.off);
        }
        if let Some(removal) = removal
            && timeout(LONGEST_REMOVAL, removal).await.is_err()
        {
            tracing::warn!("challenge records were not removed: Route 53 does not answer");
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

    /// Looks at the zone, unless it was found good shortly before, and reaches `acme` meanwhile. A zone that was found bad is
    /// looked at alone, so that the CA is not asked each time.
    async fn prepare(&self, acme: &Acme) -> Result<Option<Result<Transport, Fault>>, Fault> {
        let before = *self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(before, Preparation::Good(at) if at.elapsed() < PREPARED_FOR) {
            return Ok(None);
        }
        let reaching = async {
            match before {
                Preparation::Bad => None,
                Preparation::Unknown | Preparation::Good(_) => Some(acme.reach().await),
            }
        };
        let looking = can_be_published(&self.zone, &self.wanted.names);
        let seen = tokio::try_join!(looking, async { Ok(reaching.await) });
        let after = if seen.is_ok() { Preparation::Good(Instant::now()) } else { Preparation::Bad };
        *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = after;
        seen.map(|((), reached)| reached)
    }

    async fn take<'z>(
        &'z self,
        step: IssuanceStep<'_>,
        session: &mut IssuanceSession<'z>,
    ) -> Result<StepOutcome, StepFailure> {
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
            IssuanceStep::Prepare(authority) => {
                session.reached = self.prepare(self.acme(&authority.directory)?).await?;
            }
            IssuanceStep::Reach(authority) => {
                let reached = match session.reached.take() {
                    Some(reached) => reached,
                    None => self.acme(&authority.directory)?.reach().await,
                };
                session.transport = Some(reached?);
            }
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
                let transport = session.transport.clone().ok_or_else(|| none_at_hand("client"))?;
                let acme = self.acme(&authority.directory)?;
                let (account_session, made) = acme.open(transport, kept, &self.aws).await?;
                session.account_session = Some(account_session);
                return Ok(StepOutcome::Opened(made));
            }
            IssuanceStep::Probe(staging) => self.probe(staging).await?,
            IssuanceStep::Confirm => match &session.lease {
                Some(lease) => lease.confirm().await?,
                None => return Err(none_at_hand("lease")),
            },
            IssuanceStep::Place(authority, replaces) => {
                let acme = self.acme(&authority.directory)?;
                let key = new_key()?;
                let order = acme.place(&account_session(session)?, &self.wanted.names, replaces).await?;
                let url = order.url().to_owned();
                session.order = Some(order);
                return Ok(StepOutcome::Placed(url, key));
            }
            IssuanceStep::Resume(pending_order) => {
                return Ok(StepOutcome::Found(resume(pending_order, session).await?));
            }
            IssuanceStep::Prove => self.prove(session).await?,
            IssuanceStep::Finalize(pending_order) => {
                account_session(session)?
                    .finalize(order(session)?, &request(&pending_order.names, &pending_order.key)?)
                    .await?;
            }
            IssuanceStep::Fetch(pending_order) => {
                return Ok(StepOutcome::Fetched(fetch(pending_order, session).await?));
            }
            IssuanceStep::GiveBack { well } => give_back(session.lease.take(), well).await,
        }
        Ok(StepOutcome::Done)
    }

    /// Proves the names to the CA; the challenge records are left in the session, to be removed.
    async fn prove<'z>(&'z self, session: &mut IssuanceSession<'z>) -> Result<(), StepFailure> {
        let account_session = account_session(session)?;
        let mut published = None;
        let proven = account_session.prove(order(session)?, &self.zone, &mut published).await;
        session.published = published;
        proven
    }

    /// Proves the names to the staging environment. That it cannot be asked is no reason not to ask the CA itself.
    async fn probe(&self, staging: &str) -> Result<(), StepFailure> {
        match self.probed(staging).await {
            Err(refused) if refused.kind != FailureKind::AuthorizationFailed => {
                tracing::warn!(fault = %refused.fault, "the staging environment could not validate the names");
                Ok(())
            }
            Err(refused) => {
                Err(StepFailure { fault: refused.fault.while_doing("trying it at the staging CA"), ..refused })
            }
            Ok(()) => {
                tracing::info!(staging, "the staging environment validated the names");
                Ok(())
            }
        }
    }

    async fn probed(&self, staging: &str) -> Result<(), StepFailure> {
        let production = self.authorities.iter().find(|acme| acme.authority.staging.as_deref() == Some(staging));
        let acme = production.ok_or_else(|| none_at_hand("staging environment"))?.staging(staging);
        let (account_session, _) = acme.open(acme.transport()?, None, &self.aws).await?;
        let mut order = acme.place(&account_session, &self.wanted.names, None).await?;
        let mut published = None;
        let proven = account_session.prove(&mut order, &self.zone, &mut published).await;
        if let Some(challenges) = published {
            challenges.remove().await;
        }
        proven
    }

    fn acme(&self, directory: &str) -> Result<&Acme, StepFailure> {
        let found = self.authorities.iter().find(|acme| acme.authority.directory == directory);
        found.ok_or_else(|| none_at_hand("CA"))
    }
}

/// Challenge records that are being removed.
type Removal<'z> = Pin<Box<dyn Future<Output = ()> + Send + 'z>>;

/// Takes a step, and goes on meanwhile with the removal that is under way: no later step needs it done.
async fn with_removal<T>(step: impl Future<Output = T>, removal: &mut Option<Removal<'_>>) -> T {
    let mut step = pin!(step);
    if let Some(under_way) = removal {
        tokio::select! {
            taken = &mut step => return taken,
            () = under_way => *removal = None,
        }
    }
    step.await
}

/// Reads the order that is under way.
async fn resume(pending: &PendingOrder, session: &mut IssuanceSession<'_>) -> Result<OrderProgress, StepFailure> {
    let Some(mut order) = account_session(session)?.read(&pending.url).await? else { return Ok(OrderProgress::Gone) };
    tracing::info!(url = pending.url, "resuming the pending order");
    let found = found(&mut order);
    session.order = Some(order);
    Ok(found)
}

/// Fetches the certificate, which has to be one.
async fn fetch(pending: &PendingOrder, session: &mut IssuanceSession<'_>) -> Result<Issued, StepFailure> {
    let chain = account_session(session)?.certificate(order(session)?).await?;
    let directory = pending.directory.clone();
    let profile = pending.profile.clone();
    let issued = Issued { directory, profile, chain, key: pending.key.clone(), renewal: None };
    let read = issued.read();
    read.map_err(|why| Fault::retry("reading the certificate that the CA issued", why))?;
    Ok(issued)
}

/// Gives the lease back. Where the run ended `well` the certificate is stored and may be used: visitors do not wait for this one
/// call.
async fn give_back(lease: Option<OrderLease>, well: bool) {
    match lease {
        Some(lease) if well => drop(tokio::spawn(lease.give_back())),
        Some(lease) => lease.give_back().await,
        None => {}
    }
}

fn account_session(session: &IssuanceSession<'_>) -> Result<AccountSession, StepFailure> {
    session.account_session.clone().ok_or_else(|| none_at_hand("account"))
}

fn order<'s>(session: &'s mut IssuanceSession<'_>) -> Result<&'s mut Order, StepFailure> {
    session.order.as_mut().ok_or_else(|| none_at_hand("order"))
}

/// The steps come in an order in which this does not happen.
fn none_at_hand(what: &str) -> StepFailure {
    Fault::retry("having a certificate issued", format!("internal error: {what} is missing")).into()
}
