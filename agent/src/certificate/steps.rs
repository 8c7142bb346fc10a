//! From a vault without a good certificate to one with, step by step: whoever does it, wherever the one before was killed.
//!
//! The order of the steps is what keeps the promise that nothing is ordered twice and nothing is used that is not stored:
//! lease, vault read again, zone looked at, CA reached, attempt stored, account stored, order made and stored with its key, proven,
//! finalized, fetched, stored, lease given back. Each is found done by the next host. A [`Run`] says which step is next
//! and hears what came of it; it does nothing by itself, so that the same code runs against the world
//! (`issuance.rs`) and against a simulated one on virtual time (`model.rs`).

use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::{
    document::{Account, Document, Issued, Underway},
    due::Urgency,
    ledger::Need,
    plan::{Holding, Order, Plan, Strikes, plan},
    wanted::{Authority, Wanted},
};
use crate::{
    clock::moment,
    fault::{Cure, Fault},
};

/// One step, to be done and reported with [`Run::came`].
pub(super) enum Step<'a> {
    /// Take the lease: [`Came::Done`].
    Lease,
    /// Read the vault: [`Came::Read`].
    Read,
    /// See that the names can be proven in the zone: [`Came::Done`].
    Prepare,
    /// Read the directory of the CA and see that it offers the profile: [`Came::Done`].
    Reach(&'a Authority),
    /// Store the document if the vault still holds that version: [`Came::Stored`] or [`Came::Overtaken`].
    Store(&'a Document, Option<&'a str>),
    /// Open the account at the CA, or make one if the document has none: [`Came::Opened`].
    Open(&'a Authority, Option<&'a Account>),
    /// Prove the names to the staging environment: [`Came::Done`].
    Probe(&'a str),
    /// Make sure that the lease is still ours: [`Came::Done`].
    Confirm,
    /// Make an order, in the place of a certificate: [`Came::Placed`].
    Place(&'a Authority, Option<&'a Issued>),
    /// Read the order that is under way: [`Came::Found`].
    Resume(&'a Underway),
    /// Prove the names: [`Came::Done`].
    Prove,
    /// Ask for the certificate, for that key: [`Came::Done`].
    Finalize(&'a Underway),
    /// Fetch it: [`Came::Fetched`].
    Fetch(&'a Underway),
    /// Give the lease back: [`Came::Done`], whatever came of it.
    GiveBack,
}

/// What came of a step.
pub(super) enum Came {
    /// It is done.
    Done,
    /// The version that the vault holds, the document, and its certificate.
    Read(Option<String>, Box<Document>, Holding),
    /// It is stored, as that version.
    Stored(String),
    /// The vault held another version: somebody else was faster.
    Overtaken,
    /// The account, if it was made just now.
    Opened(Option<Account>),
    /// The order is at that URL, with this key for its certificate.
    Placed(String, Zeroizing<String>),
    /// How far the order is that was under way.
    Found(Found),
    /// The certificate.
    Fetched(Issued),
    /// It failed.
    Failed(Refused),
}

/// How far an order is (RFC 8555 §7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
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
pub(super) struct Refused {
    /// What people are told.
    pub fault: Fault,
    /// What it means for the order.
    pub kind: Kind,
}

/// What a failure means for the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: the step may be made again.
    Passing,
    /// The CA did not believe that the names are ours, and the order is invalid.
    Disproven,
    /// The order is invalid for another reason.
    Invalid,
    /// The CA does not know the account.
    AccountGone,
    /// The order is not taken as a replacement, but may be taken as any other.
    NotAsReplacement,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        Refused { fault, kind: Kind::Passing }
    }
}

/// One run of the procedure on one host.
pub(super) struct Run<'a> {
    wanted: &'a Wanted,
    strikes: Strikes,
    version: Option<String>,
    document: Document,
    urgency: Urgency,
    order: Order,
    at: At,
    leased: bool,
    alerts: bool,
    /// Whether an order that was under way has turned out to be none already.
    looked_twice: bool,
}

/// Where a run is.
enum At {
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

/// What comes after a step that may come anywhere.
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
pub(super) type Ended = Result<(Option<String>, Document), Fault>;

impl<'a> Run<'a> {
    /// A run that has not begun.
    pub(super) fn new(wanted: &'a Wanted, strikes: Strikes) -> Run<'a> {
        let order =
            Order { why: String::new(), authority: 0, resumes: false, replaces: false, exempt: false, probes: false };
        Run {
            wanted,
            strikes,
            version: None,
            document: Document::default(),
            urgency: Urgency::Without,
            order,
            at: At::Lease,
            leased: false,
            alerts: false,
            looked_twice: false,
        }
    }

    /// The step that is next; none when the run is over.
    pub(super) fn next(&self) -> Option<Step<'_>> {
        Some(match &self.at {
            At::Lease => Step::Lease,
            At::Read => Step::Read,
            At::Prepare => Step::Prepare,
            At::Reach => Step::Reach(self.authority()),
            At::Store(_) => Step::Store(&self.document, self.version.as_deref()),
            At::Open => Step::Open(self.authority(), self.document.account(&self.authority().directory)),
            At::Probe => Step::Probe(self.authority().staging.as_deref().unwrap_or_default()),
            At::Confirm(_) => Step::Confirm,
            At::Place { replaces } => {
                Step::Place(self.authority(), self.document.certificate.as_ref().filter(|_| *replaces))
            }
            At::Resume => Step::Resume(self.underway()?),
            At::Prove => Step::Prove,
            At::Finalize => Step::Finalize(self.underway()?),
            At::Fetch => Step::Fetch(self.underway()?),
            At::GiveBack(_) => Step::GiveBack,
            At::Over(_) => return None,
        })
    }

    /// How the run ended, and which CAs could not be reached; a fault if it did not end.
    pub(super) fn ended(self) -> (Ended, Strikes) {
        let ended = match self.at {
            At::Over(ended) => ended,
            _ => Err(Fault::retry(DOING, "the run did not finish")),
        };
        (ended, self.strikes)
    }

    /// Whether it is to be said loudly that renewal fails.
    pub(super) fn alerts(&self) -> bool {
        self.alerts
    }

    /// The CA that is asked.
    pub(super) fn authority(&self) -> &'a Authority {
        &self.wanted.authorities[self.order.authority]
    }

    /// Hears what came of the step.
    pub(super) fn came(&mut self, came: Came, now: OffsetDateTime) {
        let at = std::mem::replace(&mut self.at, At::GiveBack(Err(Fault::retry(DOING, "a step without an end"))));
        self.at = match (at, came) {
            (At::GiveBack(ended), _) => At::Over(ended),
            (At::Store(next), Came::Failed(refused)) => self.end(match next {
                // What failed before is what people should hear of.
                Next::Ill(fault) => Err(fault),
                _ => Err(refused.fault),
            }),
            (_, Came::Failed(refused)) if refused.kind == Kind::AccountGone => self.without_account(refused.fault, now),
            (At::Lease | At::Read | At::Prepare | At::Confirm(_), Came::Failed(refused)) => {
                self.end(Err(refused.fault))
            }
            (At::Reach, Came::Failed(refused)) => {
                let said = refused.fault.said.clone();
                self.strikes.add(&self.authority().directory, &said, self.urgency, now);
                self.end(Err(refused.fault))
            }
            (At::Place { replaces: true }, Came::Failed(refused)) if refused.kind == Kind::NotAsReplacement => {
                self.not_as_replacement(now)
            }
            (_, Came::Failed(refused)) => self.failed(refused, now),

            (At::Lease, _) => {
                self.leased = true;
                At::Read
            }
            (At::Read, Came::Read(version, document, holding)) => {
                (self.version, self.document) = (version, *document);
                self.urgency = holding.urgency(now);
                self.planned(&holding, now)
            }
            (At::Prepare, _) => At::Reach,
            (At::Reach, _) => self.reached(now),
            (At::Store(next), Came::Stored(version)) => {
                self.version = Some(version);
                self.after(next)
            }
            (At::Store(_), _) => {
                self.end(Err(Fault::retry("writing the vault", "another host was faster; reading again")))
            }
            (At::Open, Came::Opened(Some(account))) => {
                self.document.keep_account(account);
                self.store(Next::Order, now)
            }
            (At::Open, _) => self.after(Next::Order),
            (At::Probe, _) => At::Confirm(Next::Place),
            (At::Confirm(next), _) => self.after(next),
            (At::Place { replaces }, Came::Placed(url, key)) => self.placed(url, key, replaces, now),
            (At::Resume, Came::Found(found)) => self.found(found, now),
            (At::Prove, _) => At::Confirm(Next::Finalize),
            (At::Finalize, _) => At::Fetch,
            (At::Fetch, Came::Fetched(issued)) => self.fetched(issued, now),
            _ => self.end(Err(Fault::retry(DOING, "internal error: a step had an outcome of another step"))),
        };
    }

    fn planned(&mut self, holding: &Holding, now: OffsetDateTime) -> At {
        match plan(self.wanted, &self.document, holding, &self.strikes, now) {
            Plan::Keep(_) => self.end(Ok((self.version.clone(), self.document.clone()))),
            Plan::Wait { not, .. } => self.end(Err(waiting(&not.why, not.until, now))),
            Plan::Order(order) => {
                self.order = order;
                // An order that is under way has been prepared for.
                if self.order.resumes { At::Reach } else { At::Prepare }
            }
        }
    }

    fn reached(&mut self, now: OffsetDateTime) -> At {
        let directory = &self.authority().directory;
        self.strikes.clear(directory);
        if self.order.resumes {
            return At::Open;
        }
        let account = self.document.account(directory).is_none();
        self.document.ledger.attempt(directory, account, now);
        self.store(Next::Open, now)
    }

    fn after(&mut self, next: Next) -> At {
        match next {
            Next::Open => At::Open,
            Next::Order if self.order.resumes => At::Resume,
            Next::Order if self.order.probes => At::Probe,
            Next::Order => At::Confirm(Next::Place),
            Next::Place => At::Place { replaces: self.order.replaces },
            Next::Prove => At::Prove,
            Next::Finalize => At::Finalize,
            Next::Well => self.end(Ok((self.version.clone(), self.document.clone()))),
            Next::Ill(fault) => self.end(Err(fault)),
        }
    }

    /// The order is stored with its key before it is relied on, and counted.
    fn placed(&mut self, url: String, key: Zeroizing<String>, replaces: bool, now: OffsetDateTime) -> At {
        let Authority { directory, profile, .. } = self.authority().clone();
        let exempt = replaces && self.order.exempt;
        if !exempt {
            self.document.ledger.ordered(&directory, &self.wanted.names, now);
        }
        let names = self.wanted.names.clone();
        self.document.order = Some(Underway { url, directory, profile, names, key, exempt });
        self.store(Next::Prove, now)
    }

    fn not_as_replacement(&mut self, now: OffsetDateTime) -> At {
        let need = Need { names: &self.wanted.names, urgency: self.urgency, exempt: false, account: false };
        // The attempt that is being made is not one that stands against itself.
        let limits = self.document.ledger.limits(&self.authority().directory, need, now);
        match limits {
            Ok(()) => At::Place { replaces: false },
            Err(not) => {
                let said = format!("the CA does not take it as a replacement, and {}", not.why);
                let wait = Fault::wait(DOING, said, span(not.until - now));
                self.failed(wait.into(), now)
            }
        }
    }

    fn found(&mut self, found: Found, now: OffsetDateTime) -> At {
        match found {
            Found::Pending => At::Prove,
            Found::Ready => At::Confirm(Next::Finalize),
            Found::Finalized => At::Fetch,
            Found::Invalid | Found::Gone => {
                self.drop_order(found == Found::Invalid);
                if std::mem::replace(&mut self.looked_twice, true) {
                    return self.end(Err(Fault::retry(DOING, "the order that was under way is gone")));
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

    fn fetched(&mut self, issued: Issued, now: OffsetDateTime) -> At {
        self.document.ledger.succeeded(&issued.directory, now);
        self.document.certificate = Some(issued);
        self.document.order = None;
        self.store(Next::Well, now)
    }

    /// The attempt failed: it is written down for all hosts, with what the CA asked for.
    fn failed(&mut self, refused: Refused, now: OffsetDateTime) -> At {
        let directory = self.authority().directory.clone();
        match refused.kind {
            Kind::Disproven => {
                self.drop_order(true);
                self.document.ledger.disproven(&directory, &self.wanted.names, now);
            }
            Kind::Invalid => self.drop_order(true),
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
    fn without_account(&mut self, fault: Fault, now: OffsetDateTime) -> At {
        let directory = self.authority().directory.clone();
        self.document.forget_account(&directory);
        if self.underway().is_some_and(|order| order.directory == directory) {
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
    fn store(&mut self, next: Next, now: OffsetDateTime) -> At {
        self.document.count(now);
        At::Store(next)
    }

    fn underway(&self) -> Option<&Underway> {
        self.document.order.as_ref()
    }

    fn end(&mut self, ended: Ended) -> At {
        if self.leased { At::GiveBack(ended) } else { At::Over(ended) }
    }
}

const DOING: &str = "having a certificate issued";

fn waiting(why: &str, until: OffsetDateTime, now: OffsetDateTime) -> Fault {
    Fault::wait(DOING, format!("{why}; not before {}", moment(until)), span(until - now))
}

fn span(time: Duration) -> std::time::Duration {
    time.try_into().unwrap_or_default()
}
