//! From a vault without a good certificate to one with, step by step: by any host, from wherever the one before was killed.
//!
//! The order of the steps is what keeps the promise that nothing is ordered twice and nothing is used that is not stored:
//! lease, vault read again, zone looked at and CA reached, attempt stored, account stored, order made and stored with its key, proven,
//! finalized, fetched, stored, lease given back. Each is found done by the next host. A [`IssuanceRun`] says which step is next
//! and takes its outcome; it does nothing by itself, so that the same code runs against the world
//! (`issuance.rs`) and against a simulated one on virtual time (`model.rs`).

use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::{
    desired_certificate::{AcmeCa, DesiredCertificate},
    document::{Account, Issued, PendingOrder, VaultDocument},
    due::Urgency,
    ledger::Need,
    plan::{CertificatePlan, Holding, PlannedOrder, UnreachableCas, plan},
};
use crate::{
    clock::moment,
    fault::{Cure, Fault},
};

/// One step, to be done and reported with [`IssuanceRun::came`].
pub(super) enum IssuanceStep<'a> {
    /// Take the lease: [`StepOutcome::Done`].
    Lease,
    /// Read the vault: [`StepOutcome::Read`].
    Read,
    /// See that the names can be proven in the zone, before that CA is reached: [`StepOutcome::Done`].
    Prepare(&'a AcmeCa),
    /// Read the directory of the CA and see that it offers the profile: [`StepOutcome::Done`].
    Reach(&'a AcmeCa),
    /// Store the document if the vault still holds that version: [`StepOutcome::Stored`] or [`StepOutcome::Overtaken`].
    Store(&'a VaultDocument, Option<&'a str>),
    /// Open the account at the CA, or make one if the document has none: [`StepOutcome::Opened`].
    Open(&'a AcmeCa, Option<&'a Account>),
    /// Prove the names to the staging environment: [`StepOutcome::Done`].
    Probe(&'a str),
    /// Make sure that the lease is still ours: [`StepOutcome::Done`].
    Confirm,
    /// Make an order, in the place of a certificate: [`StepOutcome::Placed`].
    Place(&'a AcmeCa, Option<&'a Issued>),
    /// Read the order that is under way: [`StepOutcome::Found`].
    Resume(&'a PendingOrder),
    /// Prove the names: [`StepOutcome::Done`].
    Prove,
    /// Ask for the certificate, for that key: [`StepOutcome::Done`].
    Finalize(&'a PendingOrder),
    /// Fetch it: [`StepOutcome::Fetched`].
    Fetch(&'a PendingOrder),
    /// Give the lease back, after a run that ended well or not: [`StepOutcome::Done`], whatever came of it.
    GiveBack {
        /// Whether it ended well, so that nothing follows that would ask for the lease again.
        well: bool,
    },
}

/// The outcome of a step.
pub(super) enum StepOutcome {
    /// It is done.
    Done,
    /// The version that the vault holds, the document, and its certificate.
    Read(Option<String>, Box<VaultDocument>, Holding),
    /// It is stored, as that version.
    Stored(String),
    /// The vault held another version: another host was faster.
    Overtaken,
    /// The account, if it was made just now.
    Opened(Option<Account>),
    /// The order is at that URL, with this key for its certificate.
    Placed(String, Zeroizing<String>),
    /// How far the order is that was under way.
    Found(OrderProgress),
    /// The certificate.
    Fetched(Issued),
    /// It failed.
    Failed(StepFailure),
}

/// The status of an order (RFC 8555 §7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderProgress {
    /// The names are to be proven.
    Pending,
    /// They are, and the certificate is to be asked for.
    Ready,
    /// It is being issued, or is there.
    Finalized,
    /// No certificate will come of it.
    Invalid,
    /// The CA does not know it.
    Gone,
}

/// Why a step failed, as far as it matters to what comes next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StepFailure {
    /// What people are told.
    pub fault: Fault,
    /// Its effect on the order.
    pub kind: FailureKind,
}

/// The effect of a failure on the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// Nothing: the step may be made again.
    Passing,
    /// The CA did not believe that the names are ours, and the order is invalid.
    AuthorizationFailed,
    /// The order is invalid for another reason.
    Invalid,
    /// The CA does not know the account.
    AccountGone,
    /// The order is not taken as a replacement, but may be taken as any other.
    NotAsReplacement,
}

impl From<Fault> for StepFailure {
    fn from(fault: Fault) -> StepFailure {
        StepFailure { fault, kind: FailureKind::Passing }
    }
}

/// One run of the procedure on one host.
pub(super) struct IssuanceRun<'a> {
    wanted: &'a DesiredCertificate,
    unreachable: UnreachableCas,
    version: Option<String>,
    document: VaultDocument,
    urgency: Urgency,
    order: PlannedOrder,
    at: IssuanceState,
    leased: bool,
    alerts: bool,
    /// Whether an order that was under way has turned out to be none already.
    looked_twice: bool,
}

/// Where a run is.
enum IssuanceState {
    Lease,
    Read,
    Prepare,
    Reach,
    Store(Next),
    Open,
    Probe,
    Confirm(Next),
    Place { replaces: bool },
    Resume,
    Prove,
    Finalize,
    Fetch,
    GiveBack(Ended),
    Over(Ended),
}

/// The step after one that may come anywhere.
enum Next {
    Open,
    Order,
    Place,
    Prove,
    Finalize,
    /// The run is over, well.
    Well,
    /// It is not.
    Ill(Fault),
}

/// How a run ended: with the vault as it stands then, and its version, or with what failed.
pub(super) type Ended = Result<(Option<String>, VaultDocument), Fault>;

impl<'a> IssuanceRun<'a> {
    /// A run that has not begun.
    pub(super) fn new(wanted: &'a DesiredCertificate, unreachable: UnreachableCas) -> IssuanceRun<'a> {
        let order = PlannedOrder {
            why: String::new(),
            authority: 0,
            resumes: false,
            replaces: false,
            exempt: false,
            probes: false,
        };
        IssuanceRun {
            wanted,
            unreachable,
            version: None,
            document: VaultDocument::default(),
            urgency: Urgency::Without,
            order,
            at: IssuanceState::Lease,
            leased: false,
            alerts: false,
            looked_twice: false,
        }
    }

    /// The step that is next; none when the run is over.
    pub(super) fn next(&self) -> Option<IssuanceStep<'_>> {
        Some(match &self.at {
            IssuanceState::Lease => IssuanceStep::Lease,
            IssuanceState::Read => IssuanceStep::Read,
            IssuanceState::Prepare => IssuanceStep::Prepare(self.authority()),
            IssuanceState::Reach => IssuanceStep::Reach(self.authority()),
            IssuanceState::Store(_) => IssuanceStep::Store(&self.document, self.version.as_deref()),
            IssuanceState::Open => {
                IssuanceStep::Open(self.authority(), self.document.account(&self.authority().directory))
            }
            IssuanceState::Probe => IssuanceStep::Probe(self.authority().staging.as_deref().unwrap_or_default()),
            IssuanceState::Confirm(_) => IssuanceStep::Confirm,
            IssuanceState::Place { replaces } => {
                IssuanceStep::Place(self.authority(), self.document.certificate.as_ref().filter(|_| *replaces))
            }
            IssuanceState::Resume => IssuanceStep::Resume(self.pending_order()?),
            IssuanceState::Prove => IssuanceStep::Prove,
            IssuanceState::Finalize => IssuanceStep::Finalize(self.pending_order()?),
            IssuanceState::Fetch => IssuanceStep::Fetch(self.pending_order()?),
            IssuanceState::GiveBack(ended) => IssuanceStep::GiveBack { well: ended.is_ok() },
            IssuanceState::Over(_) => return None,
        })
    }

    /// How the run ended, and which CAs could not be reached; a fault if it did not end.
    pub(super) fn ended(self) -> (Ended, UnreachableCas) {
        let ended = match self.at {
            IssuanceState::Over(ended) => ended,
            _ => Err(Fault::retry(DOING, "the run did not finish")),
        };
        (ended, self.unreachable)
    }

    /// Whether it is to be said loudly that renewal fails.
    pub(super) fn alerts(&self) -> bool {
        self.alerts
    }

    /// The CA that is asked.
    pub(super) fn authority(&self) -> &'a AcmeCa {
        &self.wanted.authorities[self.order.authority]
    }

    /// Takes the outcome of the step.
    pub(super) fn came(&mut self, came: StepOutcome, now: OffsetDateTime) {
        let at =
            std::mem::replace(&mut self.at, IssuanceState::GiveBack(Err(Fault::retry(DOING, "a step without an end"))));
        self.at = match (at, came) {
            (IssuanceState::GiveBack(ended), _) => IssuanceState::Over(ended),
            (IssuanceState::Store(next), StepOutcome::Failed(refused)) => self.end(match next {
                // What failed before is what people should hear of.
                Next::Ill(fault) => Err(fault),
                _ => Err(refused.fault),
            }),
            (_, StepOutcome::Failed(refused)) if refused.kind == FailureKind::AccountGone => {
                self.without_account(refused.fault, now)
            }
            (
                IssuanceState::Lease | IssuanceState::Read | IssuanceState::Prepare | IssuanceState::Confirm(_),
                StepOutcome::Failed(refused),
            ) => self.end(Err(refused.fault)),
            (IssuanceState::Reach, StepOutcome::Failed(refused)) => {
                let said = refused.fault.said.clone();
                self.unreachable.add(&self.authority().directory, &said, self.urgency, now);
                self.end(Err(refused.fault))
            }
            (IssuanceState::Place { replaces: true }, StepOutcome::Failed(refused))
                if refused.kind == FailureKind::NotAsReplacement =>
            {
                self.not_as_replacement(now)
            }
            (_, StepOutcome::Failed(refused)) => self.failed(refused, now),

            (IssuanceState::Lease, _) => {
                self.leased = true;
                IssuanceState::Read
            }
            (IssuanceState::Read, StepOutcome::Read(version, document, holding)) => {
                (self.version, self.document) = (version, *document);
                self.urgency = holding.urgency(now);
                self.planned(&holding, now)
            }
            (IssuanceState::Prepare, _) => IssuanceState::Reach,
            (IssuanceState::Reach, _) => self.reached(now),
            (IssuanceState::Store(next), StepOutcome::Stored(version)) => {
                self.version = Some(version);
                self.after(next)
            }
            (IssuanceState::Store(_), _) => {
                self.end(Err(Fault::retry("writing the vault", "another host was faster; reading again")))
            }
            (IssuanceState::Open, StepOutcome::Opened(Some(account))) => {
                self.document.keep_account(account);
                self.store(Next::Order, now)
            }
            (IssuanceState::Open, _) => self.after(Next::Order),
            (IssuanceState::Probe, _) => IssuanceState::Confirm(Next::Place),
            (IssuanceState::Confirm(next), _) => self.after(next),
            (IssuanceState::Place { replaces }, StepOutcome::Placed(url, key)) => self.placed(url, key, replaces, now),
            (IssuanceState::Resume, StepOutcome::Found(found)) => self.found(found, now),
            (IssuanceState::Prove, _) => IssuanceState::Confirm(Next::Finalize),
            (IssuanceState::Finalize, _) => IssuanceState::Fetch,
            (IssuanceState::Fetch, StepOutcome::Fetched(issued)) => self.fetched(issued, now),
            _ => self.end(Err(Fault::retry(DOING, "internal error: a step had an outcome of another step"))),
        };
    }

    fn planned(&mut self, holding: &Holding, now: OffsetDateTime) -> IssuanceState {
        match plan(self.wanted, &self.document, holding, &self.unreachable, now) {
            CertificatePlan::Keep(_) => self.end(Ok((self.version.clone(), self.document.clone()))),
            CertificatePlan::Wait { not, .. } => self.end(Err(waiting(&not.why, not.until, now))),
            CertificatePlan::Order(order) => {
                self.order = order;
                // An order that is under way has been prepared for.
                if self.order.resumes { IssuanceState::Reach } else { IssuanceState::Prepare }
            }
        }
    }

    fn reached(&mut self, now: OffsetDateTime) -> IssuanceState {
        let directory = &self.authority().directory;
        self.unreachable.clear(directory);
        if self.order.resumes {
            return IssuanceState::Open;
        }
        let account = self.document.account(directory).is_none();
        self.document.ledger.attempt(directory, account, now);
        self.store(Next::Open, now)
    }

    fn after(&mut self, next: Next) -> IssuanceState {
        match next {
            Next::Open => IssuanceState::Open,
            Next::Order if self.order.resumes => IssuanceState::Resume,
            Next::Order if self.order.probes => IssuanceState::Probe,
            Next::Order => IssuanceState::Confirm(Next::Place),
            Next::Place => IssuanceState::Place { replaces: self.order.replaces },
            Next::Prove => IssuanceState::Prove,
            Next::Finalize => IssuanceState::Finalize,
            Next::Well => self.end(Ok((self.version.clone(), self.document.clone()))),
            Next::Ill(fault) => self.end(Err(fault)),
        }
    }

    /// The order is stored with its key before it is relied on, and counted.
    fn placed(&mut self, url: String, key: Zeroizing<String>, replaces: bool, now: OffsetDateTime) -> IssuanceState {
        let AcmeCa { directory, profile, .. } = self.authority().clone();
        let exempt = replaces && self.order.exempt;
        if !exempt {
            self.document.ledger.ordered(&directory, &self.wanted.names, now);
        }
        let names = self.wanted.names.clone();
        self.document.order = Some(PendingOrder { url, directory, profile, names, key, exempt });
        self.store(Next::Prove, now)
    }

    fn not_as_replacement(&mut self, now: OffsetDateTime) -> IssuanceState {
        let need = Need { names: &self.wanted.names, urgency: self.urgency, exempt: false, account: false };
        // The attempt that is being made is not one that stands against itself.
        let limits = self.document.ledger.limits(&self.authority().directory, need, now);
        match limits {
            Ok(()) => IssuanceState::Place { replaces: false },
            Err(not) => {
                let said = format!("the CA refuses the order as a replacement, and {}", not.why);
                let wait = Fault::wait(DOING, said, span(not.until - now));
                self.failed(wait.into(), now)
            }
        }
    }

    fn found(&mut self, found: OrderProgress, now: OffsetDateTime) -> IssuanceState {
        match found {
            OrderProgress::Pending => IssuanceState::Prove,
            OrderProgress::Ready => IssuanceState::Confirm(Next::Finalize),
            OrderProgress::Finalized => IssuanceState::Fetch,
            OrderProgress::Invalid | OrderProgress::Gone => {
                self.drop_order(found == OrderProgress::Invalid);
                if std::mem::replace(&mut self.looked_twice, true) {
                    return self.end(Err(Fault::retry(DOING, "the pending order is gone")));
                }
                // Whether there may be another is for the ledger to say, now that this one is none.
                self.order.resumes = false;
                let need = Need {
                    names: &self.wanted.names,
                    urgency: self.urgency,
                    exempt: self.order.exempt,
                    account: false,
                };
                match self.document.ledger.limits(&self.authority().directory, need, now) {
                    Ok(()) => self.reached(now),
                    Err(not) => self.store(Next::Ill(waiting(&not.why, not.until, now)), now),
                }
            }
        }
    }

    fn fetched(&mut self, issued: Issued, now: OffsetDateTime) -> IssuanceState {
        self.document.ledger.succeeded(&issued.directory, now);
        self.document.certificate = Some(issued);
        self.document.order = None;
        self.store(Next::Well, now)
    }

    /// The attempt failed: it is written down for all hosts, with what the CA asked for.
    fn failed(&mut self, refused: StepFailure, now: OffsetDateTime) -> IssuanceState {
        let directory = self.authority().directory.clone();
        match refused.kind {
            FailureKind::AuthorizationFailed => {
                self.drop_order(true);
                self.document.ledger.authorization_failed(&directory, &self.wanted.names, now);
            }
            FailureKind::Invalid => self.drop_order(true),
            _ => {}
        }
        let asked = match refused.fault.cure {
            Cure::Wait(asked) => Duration::try_from(asked).ok(),
            Cure::Retry | Cure::Operator => None,
        };
        let Fault { said, remedy, .. } = &refused.fault;
        let said = remedy.as_ref().map_or_else(|| said.clone(), |remedy| format!("{said} — {remedy}"));
        self.document.ledger.failed(&directory, &said, asked, now);
        self.alerts = self.urgency != Urgency::Without && self.document.ledger.alerts(&directory, now);
        self.store(Next::Ill(refused.fault), now)
    }

    /// The CA does not know the account any more, nor then its orders: the next run makes a new one.
    fn without_account(&mut self, fault: Fault, now: OffsetDateTime) -> IssuanceState {
        let directory = self.authority().directory.clone();
        self.document.forget_account(&directory);
        if self.pending_order().is_some_and(|order| order.directory == directory) {
            self.drop_order(false);
        }
        self.store(Next::Ill(Fault { cure: Cure::Retry, remedy: None, ..fault }), now)
    }

    /// Forgets the order under way; one of which it is known that no certificate came is not counted any more.
    fn drop_order(&mut self, to_nothing: bool) {
        if let Some(order) = self.document.order.take()
            && to_nothing
            && !order.exempt
        {
            self.document.ledger.came_to_nothing(&order.directory, &order.names);
        }
    }

    /// The document is to be stored as it is now, and every version counts.
    fn store(&mut self, next: Next, now: OffsetDateTime) -> IssuanceState {
        self.document.count(now);
        IssuanceState::Store(next)
    }

    fn pending_order(&self) -> Option<&PendingOrder> {
        self.document.order.as_ref()
    }

    fn end(&mut self, ended: Ended) -> IssuanceState {
        if self.leased { IssuanceState::GiveBack(ended) } else { IssuanceState::Over(ended) }
    }
}

const DOING: &str = "having a certificate issued";

fn waiting(why: &str, until: OffsetDateTime, now: OffsetDateTime) -> Fault {
    Fault::wait(DOING, format!("{why}; not before {}", moment(until)), span(until - now))
}

fn span(time: Duration) -> std::time::Duration {
    time.try_into().unwrap_or_default()
}
