//! Keeper: a certificate for the domain, valid long enough.
//!
//! It comes from the vault. Only when the vault was read and holds none that is good is one ordered, and it is
//! stored there before it is used: any number of hosts shares one identity, and the CA sees an order only when one
//! is due.

use std::{path::PathBuf, sync::Arc, time::Duration};

use spothost_server::Identity;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    aws::{Aws, secret::Swapped, zone::Zone},
    config::{Authority, Name},
    fault::{Cure, Fault},
    keeper::{Judgement, Keeper, Kept, Pace},
    status::Part,
};

mod challenge;
mod document;
mod due;
mod local_ca;
mod order;
mod self_made;
mod transport;
mod vault;

pub use local_ca::LocalCa;
pub use self_made::self_made;
pub use vault::Vault;

use document::{Document, Issued};
use due::{Due, Life, again, due};

/// How often the vault is looked at: a renewal by another host is picked up within this time.
const LOOK: Duration = Duration::from_secs(600);
/// The same while there is no certificate: another host may be about to store one.
const LOOK_FOR_ONE: Duration = Duration::from_secs(10);

/// A certificate that is stored in the vault and may be used.
#[derive(Clone)]
pub struct Certificate {
    /// Chain and key, ready for TLS.
    pub identity: Arc<Identity>,
    /// The leaf in DER, by which an answer over TLS is recognised.
    pub leaf: Vec<u8>,
    /// From when to when it is valid.
    pub life: Life,
    /// The names it is for.
    pub names: Vec<Name>,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Certificate) -> bool {
        self.leaf == other.leaf
    }
}

/// Who certifies, with what it takes.
pub enum Certifier {
    /// The local CA in this folder, made when the first certificate is.
    Internal(PathBuf),
    /// A CA that speaks ACME, convinced by records in the zone.
    Acme {
        /// How to reach it.
        authority: order::Acme,
        /// Id of the hosted zone.
        zone: String,
        /// The way to AWS.
        aws: Kept<Aws>,
    },
}

impl Certifier {
    /// The one that the configuration names; a local CA lies in `local_ca`.
    pub fn new(
        authority: &Authority,
        contact: Option<&str>,
        zone: Option<&str>,
        local_ca: PathBuf,
        aws: Kept<Aws>,
    ) -> Certifier {
        match (authority, zone) {
            (Authority::Acme { directory, roots, profile }, Some(zone)) => Certifier::Acme {
                authority: order::Acme {
                    directory: directory.clone(),
                    roots: roots.clone(),
                    profile: profile.clone(),
                    contact: contact.map(str::to_owned),
                },
                zone: zone.to_owned(),
                aws,
            },
            _ => Certifier::Internal(local_ca),
        }
    }

    fn directory(&self) -> &str {
        match self {
            Certifier::Internal(_) => "internal",
            Certifier::Acme { authority, .. } => &authority.directory,
        }
    }
}

/// Keeper of the certificate.
pub struct Certificates {
    names: Vec<Name>,
    vault: Vault,
    certifier: Certifier,
    /// What the vault held at the last look, so that the look after a swap needs no call.
    fresh: Option<Seen>,
    /// What was issued but could not be stored yet: ordering it again would cost one of the few that the CA allows.
    unstored: Option<Issued>,
    /// Whether the last look found a certificate that can be used.
    held: bool,
    /// How many orders in a row have failed.
    failed: u32,
    /// Until when nothing is ordered, and why. The vault is looked at all the same: another host may be luckier.
    on_hold: Option<(Instant, Fault)>,
}

/// What a look at the vault found.
#[derive(Clone)]
pub struct Seen {
    version: Option<String>,
    document: Document,
    now: OffsetDateTime,
    certificate: Option<Result<Certificate, String>>,
}

/// Why a certificate is to be ordered, and what the vault holds beside it.
pub struct Order {
    why: String,
    version: Option<String>,
    document: Document,
}

impl Certificates {
    /// Keeps a certificate for `names` in `vault`, certified by `certifier`.
    pub fn new(names: Vec<Name>, vault: Vault, certifier: Certifier) -> Certificates {
        Certificates { names, vault, certifier, fresh: None, unstored: None, held: false, failed: 0, on_hold: None }
    }

    fn seen(&self, version: Option<String>, document: Document) -> Seen {
        let certificate = document.certificate.as_ref().map(Issued::read);
        Seen { version, document, now: OffsetDateTime::now_utc(), certificate }
    }

    async fn issue(&mut self, order: &mut Order) -> Result<Issued, Fault> {
        if let Some(issued) = self.unstored.take().filter(|issued| self.is_good(issued)) {
            return Ok(issued);
        }
        match &self.certifier {
            Certifier::Internal(folder) => LocalCa::open(folder)?.issue(&self.names, OffsetDateTime::now_utc()),
            Certifier::Acme { authority, zone, aws } => {
                let aws = aws.borrow().clone();
                let aws = aws.ok_or_else(|| Fault::retry("ordering a certificate", "the region is not known yet"))?;
                let account = authority.account(&mut order.document).await?;
                // The account is stored before it is used, which also shows that the certificate could be stored.
                if order.document.changed() {
                    order.version = Some(self.store(order.version.as_deref(), &mut order.document).await?);
                }
                let ordered = authority.order(&account, &self.names, &Zone::new(&aws, zone.clone())).await;
                if ordered.as_ref().is_err_and(order::Customer::is_unknown) {
                    // The CA forgot the account: the next round makes a new one.
                    order.document.account = None;
                    self.store(order.version.as_deref(), &mut order.document).await?;
                }
                ordered
            }
        }
    }

    /// An order that failed is tried again when the CA says, or else on a ladder of its own.
    fn hold(&mut self, fault: Fault) -> Fault {
        self.failed += 1;
        let wait = match fault.cure {
            Cure::Wait(time) => time,
            Cure::Retry | Cure::Operator => again(self.failed, self.held),
        };
        let held =
            Fault { cure: if fault.cure == Cure::Operator { fault.cure } else { Cure::Wait(wait) }, ..fault.clone() };
        self.on_hold = Some((Instant::now() + wait, held));
        fault
    }

    /// The judgement that `why` there is to be an order, unless orders are on hold.
    fn to_order(&self, seen: Seen, why: String, meanwhile: Option<Certificate>) -> Judgement<Certificate, Order> {
        match &self.on_hold {
            Some((until, fault)) if Instant::now() < *until && self.unstored.is_none() => {
                Judgement::Refused(fault.clone())
            }
            _ => Judgement::Drifted { drift: Order { why, version: seen.version, document: seen.document }, meanwhile },
        }
    }

    fn is_good(&self, issued: &Issued) -> bool {
        let good = |certificate: Certificate| {
            due(OffsetDateTime::now_utc(), &certificate.life, &certificate.names, &self.names) == Due::Not
        };
        issued.read().is_ok_and(good)
    }

    async fn store(&self, was: Option<&str>, document: &mut Document) -> Result<String, Fault> {
        match self.vault.swap(was, document).await? {
            Swapped::Done(version) => Ok(version),
            Swapped::Lost => Err(Fault::retry("writing the vault", "another host was faster; reading again")),
        }
    }
}

impl Keeper for Certificates {
    type Seen = Seen;
    type Drift = Order;
    type Held = Certificate;
    const PART: Part = Part::Certificate;

    fn pace(&self) -> Pace {
        Pace {
            look: if self.held { LOOK } else { LOOK_FOR_ONE },
            observe: Duration::from_secs(30),
            converge: Duration::from_secs(600),
            // Without a certificate every second counts; the CA is protected by the ladder of `due`.
            longest_pause: Duration::from_secs(if self.held { 75 } else { 2 }),
        }
    }

    fn lacks(&self) -> Option<String> {
        let aws = match &self.certifier {
            Certifier::Acme { aws, .. } => aws.borrow().is_none(),
            Certifier::Internal(_) => false,
        };
        (aws || self.vault.lacks()).then(|| "the region of the host".to_owned())
    }

    async fn woken(&mut self) {
        match &mut self.certifier {
            Certifier::Acme { aws, .. } if aws.borrow().is_none() => {
                let _ = aws.changed().await;
            }
            _ => self.vault.woken().await,
        }
    }

    async fn observe(&mut self) -> Result<Seen, Fault> {
        let seen = match self.fresh.take() {
            Some(seen) => seen,
            None => {
                let (version, document) = self.vault.read().await?;
                self.seen(version, document)
            }
        };
        self.held = matches!(&seen.certificate, Some(Ok(certificate)) if seen.now < certificate.life.not_after);
        Ok(seen)
    }

    fn judge(&self, seen: Seen) -> Judgement<Certificate, Order> {
        let certificate = match seen.certificate.clone() {
            None => return self.to_order(seen, "the vault holds none".to_owned(), None),
            Some(Err(why)) => return self.to_order(seen, why, None),
            Some(Ok(certificate)) => certificate,
        };
        let stored_for = seen.document.certificate.as_ref().map_or("", |issued| &issued.directory);
        if stored_for != self.certifier.directory() {
            let why = format!("the stored one is from {stored_for}, not from {}", self.certifier.directory());
            return self.to_order(seen, why, None);
        }
        match due(seen.now, &certificate.life, &certificate.names, &self.names) {
            Due::Not => Judgement::Kept(certificate),
            Due::Soon(why) => self.to_order(seen, why, Some(certificate)),
            Due::Now(why) => self.to_order(seen, why, None),
        }
    }

    async fn converge(&mut self, mut order: Order) -> Result<(), Fault> {
        let issued = self.issue(&mut order).await.map_err(|fault| self.hold(fault))?;
        (self.failed, self.on_hold) = (0, None);
        order.document.certificate = Some(issued.clone());
        self.unstored = Some(issued);
        let version = self.store(order.version.as_deref(), &mut order.document).await?;
        self.unstored = None;
        self.fresh = Some(self.seen(Some(version), order.document));
        Ok(())
    }

    fn holding(held: &Certificate) -> String {
        let names: Vec<_> = held.names.iter().map(Name::as_str).collect();
        format!("{} until {}", names.join(" "), held.life.not_after.date())
    }

    fn drifting(drift: &Order) -> String {
        format!("ordering a certificate: {}", drift.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::VaultPlace;

    struct Place {
        folder: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Place {
            Place { folder: tempfile::tempdir().expect("a temporary folder") }
        }

        fn keeper(&self, names: &[&str]) -> Certificates {
            let vault = VaultPlace::Disk(self.folder.path().join("identity.json"));
            let vault = Vault::new(vault, tokio::sync::watch::channel(None).1);
            let names = names.iter().map(|name| name.parse().expect("a name")).collect();
            Certificates::new(names, vault, Certifier::Internal(self.folder.path().join("ca")))
        }
    }

    async fn look(certificates: &mut Certificates) -> Judgement<Certificate, Order> {
        let seen = certificates.observe().await.expect("seen");
        certificates.judge(seen)
    }

    async fn kept(certificates: &mut Certificates) -> Certificate {
        match look(certificates).await {
            Judgement::Kept(certificate) => certificate,
            Judgement::Drifted { drift, .. } => panic!("{}", drift.why),
            _ => panic!("not kept"),
        }
    }

    async fn drift(certificates: &mut Certificates) -> Order {
        match look(certificates).await {
            Judgement::Drifted { drift, .. } => drift,
            _ => panic!("no drift"),
        }
    }

    #[tokio::test]
    async fn host_takes_the_certificate_of_the_host_before_it() {
        let place = Place::new();
        let mut first = place.keeper(&["a.example"]);
        let order = drift(&mut first).await;
        assert_eq!(order.why, "the vault holds none");
        first.converge(order).await.expect("ordered");
        let certificate = kept(&mut first).await;
        assert!(kept(&mut place.keeper(&["a.example"])).await == certificate, "no second order");
    }

    #[tokio::test]
    async fn name_that_was_added_is_ordered_for() {
        let place = Place::new();
        let mut first = place.keeper(&["a.example"]);
        let order = drift(&mut first).await;
        first.converge(order).await.expect("ordered");
        let mut second = place.keeper(&["a.example", "b.example"]);
        let order = drift(&mut second).await;
        assert_eq!(order.why, "the stored one is not for b.example");
        second.converge(order).await.expect("ordered");
        assert_eq!(kept(&mut second).await.names.len(), 2);
    }

    #[tokio::test]
    async fn host_that_lost_the_race_takes_what_the_winner_stored() {
        let place = Place::new();
        let (mut winner, mut loser) = (place.keeper(&["a.example"]), place.keeper(&["a.example"]));
        let (first, second) = (drift(&mut winner).await, drift(&mut loser).await);
        winner.converge(first).await.expect("stored");
        let fault = loser.converge(second).await.expect_err("lost");
        assert!(fault.said.contains("another host was faster"), "{fault}");
        assert!(kept(&mut loser).await == kept(&mut winner).await);
    }

    #[tokio::test(start_paused = true)]
    async fn order_that_failed_is_on_hold_while_the_vault_is_still_looked_at() {
        let (place, other) = (Place::new(), Place::new());
        std::fs::write(place.folder.path().join("ca"), "in the way of the CA").expect("written");
        let mut certificates = place.keeper(&["a.example"]);
        let order = drift(&mut certificates).await;
        certificates.converge(order).await.expect_err("there is no CA");
        assert!(matches!(look(&mut certificates).await, Judgement::Refused(_)), "on hold");
        tokio::time::advance(Duration::from_secs(1)).await;
        drift(&mut certificates).await;
        let mut luckier = other.keeper(&["a.example"]);
        let order = drift(&mut luckier).await;
        luckier.converge(order).await.expect("ordered");
        let stored = other.folder.path().join("identity.json");
        std::fs::copy(stored, place.folder.path().join("identity.json")).expect("copied");
        kept(&mut certificates).await;
    }

    #[tokio::test]
    async fn vault_of_a_newer_program_is_neither_used_nor_overwritten() {
        let place = Place::new();
        let path = place.folder.path().join("identity.json");
        std::fs::write(&path, "{\"format\":2}").expect("written");
        let mut certificates = place.keeper(&["a.example"]);
        assert!(certificates.observe().await.is_err());
        assert_eq!(std::fs::read_to_string(path).expect("there"), "{\"format\":2}");
    }
}
