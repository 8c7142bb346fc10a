//! Keeper: a certificate for the domain, valid long enough.
//!
//! It comes from the vault. Only when the vault was read and holds none that is good is one ordered, and it is
//! stored there before it is used: any number of hosts shares one identity, and the CA sees an order only when one
//! is due.

use std::{sync::Arc, time::Duration};

use spothost_server::Identity;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    aws::secret::Swapped,
    clock::moment,
    config::Name,
    fault::{Cure, Fault},
    keeper::{Judgement, Keeper, Pace},
    status::Part,
};

mod acme;
mod at_hand;
mod certifier;
mod challenge;
mod document;
mod due;
mod issuance;
mod key;
mod lease;
mod local_ca;
mod order;
mod refusal;
mod self_made;
mod transport;
mod vault;

pub use at_hand::AtHand;
pub use certifier::{ByAcme, Certifier};
pub use local_ca::LocalCa;
pub use self_made::self_made;
pub use vault::Vault;

use document::{Document, Issued};
use due::{Due, Life, Window, again, due};

/// How often the vault is looked at: a renewal by another host is picked up within this time.
const LOOK: Duration = Duration::from_secs(600);
/// The same while there is no certificate: another host may be about to store one.
const LOOK_FOR_ONE: Duration = Duration::from_secs(10);
/// The CA is asked when it would like to renew so long after the boot, which does not wait for the answer.
const FIRST_ASKED: Duration = Duration::from_secs(5);
/// And then as often as it says, within these bounds: RFC 9773 §4.3.2 wants at least some patience, Let's Encrypt to be
/// asked at least twice a day.
const ASKED_AGAIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(12 * 3600));
/// The same after it did not answer.
const ASKED_IN_VAIN: Duration = Duration::from_secs(3600);
/// So many orders may fail before one is made without the lease, if S3 is what fails; a renewal has time.
const PATIENT: u32 = 2;
/// How long the CA may take to say when it would like to renew: one that hangs makes no host look bad.
const ASKED_FOR: Duration = Duration::from_secs(10);
/// A pause of an order up to this long is a pause of the keeper; during a longer one it looks at the vault.
const SHORT_PAUSE: Duration = Duration::from_secs(5);

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
    /// As it is stored.
    issued: Arc<Issued>,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Certificate) -> bool {
        self.leaf == other.leaf
    }
}

impl Certificate {
    /// A number between 0 and 1 that all hosts with this certificate agree on.
    fn dice(&self) -> f64 {
        let sum = self.leaf.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
        f64::from(sum) / f64::from(u32::MAX)
    }
}

/// Keeper of the certificate.
pub struct Certificates {
    names: Vec<Name>,
    vault: Vault,
    certifier: Certifier,
    at_hand: Option<AtHand>,
    /// What the vault held after the last correction, so that the look after it needs no call.
    fresh: Option<(Option<String>, Document)>,
    /// Whether the last look found a certificate that can be used.
    held: bool,
    /// How many orders in a row have failed.
    failed: u32,
    /// Until when nothing is ordered, and why. The vault is looked at all the same: another host may be luckier.
    on_hold: Option<(Instant, Fault)>,
    /// When the CA is to be asked when it would like to renew.
    ask_at: Instant,
}

/// What a look found.
#[derive(Clone)]
pub struct Seen {
    version: Option<String>,
    document: Document,
    now: OffsetDateTime,
    certificate: Option<Result<Certificate, String>>,
    /// What the CA said this time.
    window: Option<Window>,
}

/// What is to be corrected.
pub enum Drift {
    /// A certificate is to be ordered.
    Order {
        /// For this reason.
        why: String,
        /// In the place of the one with this leaf, if one is stored that can be used.
        replaces: Option<Vec<u8>>,
    },
    /// What the CA said is to be remembered.
    Remember(Box<Seen>, Window),
}

impl Certificates {
    /// Keeps a certificate for `names` in `vault`, certified by `certifier`.
    /// Until the vault was read, what is `at_hand` is held.
    pub fn new(names: Vec<Name>, vault: Vault, certifier: Certifier, at_hand: Option<AtHand>) -> Certificates {
        let ask_at = Instant::now() + FIRST_ASKED;
        Certificates { names, vault, certifier, at_hand, fresh: None, held: false, failed: 0, on_hold: None, ask_at }
    }

    fn due(&self, document: &Document, certificate: &Certificate, window: Option<&Window>, now: OffsetDateTime) -> Due {
        let issued = document.certificate.as_ref();
        let stored_for = issued.map_or("", |issued| &issued.directory);
        if stored_for != self.certifier.directory() {
            return Due::Now(format!("the stored one is from {stored_for}, not from {}", self.certifier.directory()));
        }
        let window = window.or(issued.and_then(|issued| issued.renewal.as_ref()));
        due(now, &certificate.life, (&certificate.names, &self.names), window, certificate.dice())
    }

    /// Whether `document` holds a good certificate, other than the one that is to be replaced.
    fn is_good(&self, document: &Document, replaces: Option<&[u8]>) -> bool {
        let certificate = document.certificate.as_ref().and_then(|issued| issued.read().ok());
        certificate.is_some_and(|held| {
            let due = self.due(document, &held, None, OffsetDateTime::now_utc());
            due == Due::Not && replaces != Some(&held.leaf)
        })
    }

    /// Asks the CA when it would like to renew, if it is time to ask. That it does not answer is no fault: the rule of
    /// thumb is there for that.
    async fn ask(&mut self, document: &Document) -> Option<Window> {
        let Certifier::Acme(by) = &self.certifier else { return None };
        if !self.held || Instant::now() < self.ask_at {
            return None;
        }
        let said = tokio::time::timeout(ASKED_FOR, by.authority.window(document)).await;
        let said = said.unwrap_or_else(|_| Err(Fault::retry("asking the CA when it would like to renew", "no answer")));
        match said {
            Ok(said) => {
                let (window, again) = said?;
                self.ask_at = Instant::now() + again.clamp(ASKED_AGAIN.0, ASKED_AGAIN.1);
                Some(window)
            }
            Err(fault) => {
                self.ask_at = Instant::now() + ASKED_IN_VAIN;
                tracing::info!(%fault, "the CA does not say when it would like to renew");
                None
            }
        }
    }

    /// Issues what is missing and stores it; what the vault then holds.
    async fn issue(&self, replaces: Option<&[u8]>) -> Result<(Option<String>, Document), Fault> {
        match &self.certifier {
            Certifier::Acme(by) => {
                by.issuance(&self.names, &self.vault, self.held || self.failed < PATIENT)?
                    .run(|stored| self.is_good(stored, replaces))
                    .await
            }
            Certifier::Internal(folder) => {
                let (version, mut document) = self.vault.read().await?;
                document.certificate = Some(LocalCa::open(folder)?.issue(&self.names, OffsetDateTime::now_utc())?);
                match self.vault.swap(version.as_deref(), &mut document).await? {
                    Swapped::Done(version) => Ok((Some(version), document)),
                    Swapped::Lost => Err(Fault::retry("writing the vault", "another host was faster; reading again")),
                }
            }
        }
    }

    /// An order that failed is tried again when the CA says, or else on a ladder of its own.
    fn hold(&mut self, fault: Fault) -> Fault {
        let wait = match fault.cure {
            Cure::Wait(time) => time,
            Cure::Retry | Cure::Operator => {
                self.failed += 1;
                again(self.failed, self.held)
            }
        };
        let cure = if fault.cure == Cure::Operator { fault.cure } else { Cure::Wait(wait) };
        let held = Fault { cure, ..fault };
        self.on_hold = Some((Instant::now() + wait, held.clone()));
        if wait <= SHORT_PAUSE { held } else { Fault { cure: Cure::Retry, ..held } }
    }

    /// The judgement that `why` there is to be an order, unless orders are on hold.
    fn to_order(&self, why: String, meanwhile: Option<Certificate>) -> Judgement<Certificate, Drift> {
        match &self.on_hold {
            Some((until, fault)) if Instant::now() < *until => Judgement::Refused(fault.clone()),
            _ => {
                let replaces = meanwhile.as_ref().map(|certificate| certificate.leaf.clone());
                Judgement::Drifted { drift: Drift::Order { why, replaces }, meanwhile }
            }
        }
    }
}

impl Keeper for Certificates {
    type Seen = Seen;
    type Drift = Drift;
    type Held = Certificate;
    const PART: Part = Part::Certificate;

    fn pace(&self) -> Pace {
        let look = match (&self.certifier, self.held) {
            (_, false) => LOOK_FOR_ONE,
            (Certifier::Internal(_), true) => LOOK,
            (Certifier::Acme(_), true) => self.ask_at.saturating_duration_since(Instant::now()).min(LOOK),
        };
        Pace {
            look: look.max(Duration::from_secs(1)),
            observe: Duration::from_secs(30),
            converge: Duration::from_secs(600),
            // Without a certificate every second counts; the CA is protected by the ladder of `due`.
            longest_pause: Duration::from_secs(if self.held { 75 } else { 2 }),
        }
    }

    fn lacks(&self) -> Option<String> {
        let aws = match &self.certifier {
            Certifier::Acme(by) => by.aws.borrow().is_none(),
            Certifier::Internal(_) => false,
        };
        (aws || self.vault.lacks()).then(|| "the region of the host".to_owned())
    }

    async fn remembered(&mut self) -> Option<Certificate> {
        self.at_hand.as_ref()?.read(&self.names, OffsetDateTime::now_utc())
    }

    async fn woken(&mut self) {
        match &mut self.certifier {
            Certifier::Acme(by) if by.aws.borrow().is_none() => {
                let _ = by.aws.changed().await;
            }
            _ => self.vault.woken().await,
        }
    }

    async fn observe(&mut self) -> Result<Seen, Fault> {
        let (version, document) = match self.fresh.take() {
            Some(fresh) => fresh,
            None => self.vault.read().await?,
        };
        let now = OffsetDateTime::now_utc();
        let certificate = document.certificate.as_ref().map(Issued::read);
        self.held = matches!(&certificate, Some(Ok(certificate)) if now < certificate.life.not_after);
        let window = self.ask(&document).await;
        Ok(Seen { version, document, now, certificate, window })
    }

    fn judge(&self, seen: Seen) -> Judgement<Certificate, Drift> {
        let certificate = match seen.certificate.clone() {
            None => return self.to_order("the vault holds none".to_owned(), None),
            Some(Err(why)) => return self.to_order(why, None),
            Some(Ok(certificate)) => certificate,
        };
        match self.due(&seen.document, &certificate, seen.window.as_ref(), seen.now) {
            Due::Soon(why) => return self.to_order(why, Some(certificate)),
            Due::Now(why) => return self.to_order(why, None),
            Due::Not => {}
        }
        let known = seen.document.certificate.as_ref().and_then(|issued| issued.renewal.as_ref());
        match seen.window.clone().filter(|window| known != Some(window)) {
            None => Judgement::Kept(certificate),
            Some(window) => {
                let drift = Drift::Remember(Box::new(seen), window);
                Judgement::Drifted { drift, meanwhile: Some(certificate) }
            }
        }
    }

    async fn converge(&mut self, drift: Drift) -> Result<(), Fault> {
        match drift {
            Drift::Order { replaces, .. } => {
                let issued = self.issue(replaces.as_deref()).await.map_err(|fault| self.hold(fault))?;
                (self.failed, self.on_hold) = (0, None);
                self.ask_at = Instant::now() + FIRST_ASKED;
                self.fresh = Some(issued);
            }
            Drift::Remember(seen, window) => {
                let Seen { version, mut document, .. } = *seen;
                if let Some(issued) = document.certificate.as_mut() {
                    issued.renewal = Some(window);
                }
                // Somebody else who was faster has news too.
                self.vault.swap(version.as_deref(), &mut document).await?;
            }
        }
        Ok(())
    }

    fn holding(held: &Certificate) -> String {
        let names: Vec<_> = held.names.iter().map(Name::as_str).collect();
        format!("{} until {}", names.join(" "), held.life.not_after.date())
    }

    fn drifting(drift: &Drift) -> String {
        match drift {
            Drift::Order { why, .. } => format!("ordering a certificate: {why}"),
            Drift::Remember(_, window) => format!("remembering that the CA would renew by {}", moment(window.end)),
        }
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
            Certificates::new(names, vault, Certifier::Internal(self.folder.path().join("ca")), None)
        }
    }

    async fn look(certificates: &mut Certificates) -> Judgement<Certificate, Drift> {
        let seen = certificates.observe().await.expect("seen");
        certificates.judge(seen)
    }

    async fn kept(certificates: &mut Certificates) -> Certificate {
        match look(certificates).await {
            Judgement::Kept(certificate) => certificate,
            Judgement::Drifted { drift, .. } => panic!("{}", Certificates::drifting(&drift)),
            _ => panic!("not kept"),
        }
    }

    async fn drift(certificates: &mut Certificates) -> Drift {
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
        assert_eq!(Certificates::drifting(&order), "ordering a certificate: the vault holds none");
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
        assert_eq!(Certificates::drifting(&order), "ordering a certificate: the stored one is not for b.example");
        second.converge(order).await.expect("ordered");
        assert_eq!(kept(&mut second).await.names.len(), 2);
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
