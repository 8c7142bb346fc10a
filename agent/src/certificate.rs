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
    clock::{self, moment},
    fault::{Cure, Fault},
    keeper::{Judgement, Keeper, Pace},
    place::Name,
    status::Part,
};

mod acme;
mod anchor;
mod budget;
mod certifier;
mod challenge;
mod confinement;
mod desired_certificate;
mod document;
mod due;
mod identity_cache;
pub mod inventory;
mod issuance;
mod key;
mod lease;
mod ledger;
mod limit;
mod local_ca;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod order;
mod plan;
mod refusal;
mod self_signed;
mod steps;
mod transport;
mod vault;

pub use anchor::Anchor;
pub use budget::{AtAuthority, Budget, LimitLeft};
pub use certifier::{ByAcme, Certifier};
pub use identity_cache::IdentityCache;
pub use local_ca::LocalCa;
pub use self_signed::self_signed;
pub use transport::{DirectoryMetadata, about};
pub use vault::Vault;

use desired_certificate::DesiredCertificate;
use document::{Issued, Purpose, VaultDocument};
use due::{Due, Life, Urgency, Window};
use plan::{CertificatePlan, Holding, LeafCertificate, UnreachableCas, judged, plan};
use vault::Reading;

/// How often the vault is looked at: a renewal by another host is picked up within this time.
const LOOK: Duration = Duration::from_secs(600);
/// The same while there is no certificate: another host may be about to store one.
const LOOK_FOR_ONE: Duration = Duration::from_secs(10);
/// The CA is asked when it would like to renew so long after the certificate is held: the boot does not wait for it.
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
/// Within so long of the instant at which an order may be made it is waited for, and not for the next look.
const NEARLY: Duration = Duration::from_secs(45);

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
    /// What a person should know of the vault it is from.
    pub notes: Vec<String>,
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

    /// Whether who visits the canonical name can be shown it.
    fn serves(&self, wanted: &DesiredCertificate) -> bool {
        wanted.names.first().is_some_and(|first| self.names.contains(first))
    }
}

impl Issued {
    /// What the plan depends on.
    fn holding(&self) -> Holding {
        Issued::held(&self.read())
    }

    fn held(read: &Result<Certificate, String>) -> Holding {
        match read {
            Ok(certificate) => {
                let life = certificate.life;
                let names = certificate.names.clone();
                let dice = certificate.dice();
                Holding::Leaf(LeafCertificate { life, names, dice })
            }
            Err(why) => Holding::Unusable(why.clone()),
        }
    }
}

/// Keeper of the certificate.
pub struct Certificates {
    wanted: DesiredCertificate,
    vault: Vault,
    certifier: Certifier,
    identity_cache: Option<IdentityCache>,
    /// What the vault held after the last correction, so that the look after it needs no call.
    fresh: Option<Reading>,
    /// Whether the last look found a certificate that is valid.
    held: bool,
    /// How many corrections in a row have failed.
    failed: u32,
    /// The CAs that could not be reached.
    unreachable: UnreachableCas,
    /// When the CA is to be asked when it would like to renew.
    ask_at: Instant,
    /// When the certificate is due, as far as the last look could tell.
    due_at: Option<Instant>,
    /// How far the clock of this host was behind at the last look.
    off: time::Duration,
    /// What was wrong with the vault at the last look, and has been said.
    damage: Option<String>,
}

/// One look at the vault, and at the CA's renewal window when that is due.
#[derive(Clone)]
pub struct CertificateObservation {
    reading: Reading,
    now: OffsetDateTime,
    certificate: Option<Result<Certificate, String>>,
    /// Whether the CA said something new of when it would like to renew; it is in the document.
    news: bool,
}

/// A correction: an order, a wait for one, or a renewal window to store.
pub enum CertificateDrift {
    /// A certificate is to be ordered, for this reason; what the CA said anew is to be remembered before.
    Order(String, Option<Box<CertificateObservation>>),
    /// One is to be ordered for this reason, but not yet.
    Wait(String, Fault),
    /// What the CA said is to be remembered.
    Remember(Box<CertificateObservation>),
}

impl Certificates {
    /// Keeps a certificate for `names` in `vault`, certified by `certifier`.
    /// Until the vault was read, what is `identity_cache` is held.
    pub fn new(
        names: Vec<Name>,
        vault: Vault,
        certifier: Certifier,
        identity_cache: Option<IdentityCache>,
    ) -> Certificates {
        Certificates {
            wanted: certifier.wanted(names),
            vault,
            certifier,
            identity_cache,
            fresh: None,
            held: false,
            failed: 0,
            unreachable: UnreachableCas::default(),
            ask_at: Instant::now() + FIRST_ASKED,
            due_at: None,
            off: time::Duration::ZERO,
            damage: None,
        }
    }

    /// Reports a damaged vault when it is found: the held certificate may be good all the same, and then nothing else would.
    fn warn_of(&mut self, reading: &Reading) {
        if let Some(damage) = reading.note.as_ref().filter(|note| self.damage.as_ref() != Some(note)) {
            tracing::warn!("the vault: {damage}");
        }
        self.damage.clone_from(&reading.note);
    }

    /// How long until something is to be done that is known of already.
    fn until_something(&self) -> Duration {
        let asked = matches!(&self.certifier, Certifier::Acme(_)).then_some(self.ask_at);
        let next = asked.into_iter().chain(self.due_at).min();
        next.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Asks the CA when it would like to renew, if it is time to ask. That it does not answer is no fault: the rule of
    /// thumb is there for that.
    async fn ask(&mut self, document: &VaultDocument) -> Option<Window> {
        let Certifier::Acme(by) = &self.certifier else { return None };
        let authority = document.certificate.as_ref().and_then(|issued| by.authority(&issued.directory))?;
        if !self.held || Instant::now() < self.ask_at {
            return None;
        }
        let said = tokio::time::timeout(ASKED_FOR, authority.window(document)).await;
        let said = said.unwrap_or_else(|_| Err(Fault::retry("asking the CA for its renewal window", "no answer")));
        match said {
            Ok(said) => {
                let again = said.as_ref().map_or(ASKED_AGAIN.1, |(_, again)| *again);
                self.ask_at = Instant::now() + again.clamp(ASKED_AGAIN.0, ASKED_AGAIN.1);
                said.map(|(window, _)| window)
            }
            Err(fault) => {
                self.ask_at = Instant::now() + ASKED_IN_VAIN;
                tracing::info!(%fault, "the CA gives no renewal window");
                None
            }
        }
    }

    async fn remember(&self, seen: CertificateObservation) -> Result<(), Fault> {
        let Reading { version, mut document, .. } = seen.reading;
        document.count(seen.now);
        // Another host that was faster has news too.
        self.vault.swap(version.as_deref(), &document).await.map(|_| ())
    }

    async fn order(&mut self) -> Result<(), Fault> {
        match self.issue().await {
            Ok(issued) => {
                self.failed = 0;
                self.ask_at = Instant::now() + FIRST_ASKED;
                self.fresh = Some(issued);
                Ok(())
            }
            Err(fault) => {
                self.failed += 1;
                if let Certifier::Internal(_) = &self.certifier {
                    let urgency = if self.held { Urgency::CanWait(time::Duration::HOUR) } else { Urgency::Without };
                    self.unreachable.add("internal", &fault.said, urgency, clock::now());
                }
                Err(self.bounded(fault))
            }
        }
    }

    /// Issues what is missing and stores it; what the vault then holds.
    async fn issue(&mut self) -> Result<Reading, Fault> {
        let (version, document) = match &self.certifier {
            Certifier::Acme(by) => {
                let insist = self.held || self.failed < PATIENT;
                by.issuance(&self.wanted, &self.vault, insist)?.run(&mut self.unreachable).await?
            }
            Certifier::Internal(folder) => {
                let Reading { version, mut document, .. } = self.vault.read().await?;
                let now = clock::now();
                document.certificate = Some(LocalCa::open(folder)?.issue(&self.wanted.names, now)?);
                document.count(now);
                match self.vault.swap(version.as_deref(), &document).await? {
                    Swapped::Done(version) => (Some(version), document),
                    Swapped::Lost => {
                        return Err(Fault::retry("writing the vault", "another host was faster; reading again"));
                    }
                }
            }
        };
        Ok(Reading { version, document, note: None, off: self.off })
    }

    /// How long to pause when an order is not to be made for so long: the vault is looked at all the same, as another host
    /// may be luckier, but the instant itself is not missed by much.
    fn pause(&self, left: Duration) -> Duration {
        let look = if self.held { LOOK } else { LOOK_FOR_ONE };
        if left <= NEARLY { left.min(look.max(NEARLY)) } else { (left - NEARLY).min(look) }
    }

    /// A fault as the runner should take it: with a pause after which the vault is looked at again.
    fn bounded(&self, fault: Fault) -> Fault {
        match fault.cure {
            Cure::Wait(left) => Fault { cure: Cure::Wait(self.pause(left)), ..fault },
            Cure::Retry | Cure::Operator => fault,
        }
    }
}

impl Keeper for Certificates {
    type Observation = CertificateObservation;
    type Drift = CertificateDrift;
    type Held = Certificate;
    const PART: Part = Part::Certificate;

    fn pace(&self) -> Pace {
        let look = if self.held { self.until_something().min(LOOK) } else { LOOK_FOR_ONE };
        Pace {
            look: look.max(Duration::from_secs(1)),
            observe: Duration::from_secs(30),
            converge: Duration::from_secs(600),
            // Without a certificate every second counts; the CA is protected by the ledger.
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
        self.identity_cache.as_ref()?.read(&self.wanted.names, clock::now())
    }

    async fn woken(&mut self) {
        // The time between looks is spread, by more than a short life bears: a certificate of a minute is renewed three seconds
        // before its end at the latest.
        let due = self.due_at.filter(|at| *at > Instant::now());
        let is_due = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let changed = async {
            match &mut self.certifier {
                Certifier::Acme(by) if by.aws.borrow().is_none() => {
                    let _ = by.aws.changed().await;
                }
                _ => self.vault.woken().await,
            }
        };
        tokio::select! {
            () = is_due => {}
            () = changed => {}
        }
    }

    async fn observe(&mut self) -> Result<CertificateObservation, Fault> {
        let mut reading = match self.fresh.take() {
            Some(fresh) => fresh,
            None => self.vault.read().await?,
        };
        if reading.off != self.off && !reading.off.is_zero() {
            tracing::warn!(off = %reading.off, "the clock of this host is off");
        }
        self.off = reading.off;
        self.warn_of(&reading);
        let now = clock::now() + reading.off;
        let mut certificate = reading.document.certificate.as_ref().map(Issued::read);
        let was_held = self.held;
        self.held = matches!(&certificate, Some(Ok(certificate)) if now < certificate.life.not_after);
        if self.held && !was_held {
            self.ask_at = Instant::now() + FIRST_ASKED;
        }
        let said = self.ask(&reading.document).await;
        let mut news = false;
        if let (Some(issued), Some(window)) = (reading.document.certificate.as_mut(), said) {
            // A vault that is damaged, or holds something else, is written when there is no way around it.
            news = issued.renewal.as_ref() != Some(&window) && reading.note.is_none();
            issued.renewal = Some(window);
            // A CA that says something else each time it is asked is heard, and not written down each time.
            news = news && reading.document.writable(Purpose::Memo, now).is_ok();
        }
        let holding = certificate.as_ref().map_or(Holding::Nothing, Issued::held);
        self.due_at = match judged(&self.wanted, &reading.document, &holding, now) {
            Due::Not(until) => (until - now).try_into().ok().map(|left: Duration| Instant::now() + left),
            Due::Soon(_) | Due::Now(_) => None,
        };
        if let Some(Ok(certificate)) = &mut certificate {
            certificate.notes = notes(&reading, &certificate.life, now);
        }
        Ok(CertificateObservation { reading, now, certificate, news })
    }

    fn judge(&self, seen: CertificateObservation) -> Judgement<Certificate, CertificateDrift> {
        let holding = seen.certificate.as_ref().map_or(Holding::Nothing, Issued::held);
        let planned = plan(&self.wanted, &seen.reading.document, &holding, &self.unreachable, seen.now);
        let certificate = seen.certificate.clone().and_then(Result::ok);
        let meanwhile = certificate.filter(|certificate| certificate.serves(&self.wanted));
        match (planned, meanwhile) {
            (CertificatePlan::Keep(_), Some(certificate)) if !seen.news => Judgement::Kept(certificate),
            (CertificatePlan::Keep(_), meanwhile) => {
                Judgement::Drifted { drift: CertificateDrift::Remember(Box::new(seen)), meanwhile }
            }
            (CertificatePlan::Order(order), meanwhile) => {
                let news = seen.news.then(|| Box::new(seen));
                Judgement::Drifted { drift: CertificateDrift::Order(order.why, news), meanwhile }
            }
            (CertificatePlan::Wait { why, not }, meanwhile) => {
                let left = (not.until - seen.now).try_into().unwrap_or_default();
                let said = format!("{}; not before {}", not.why, moment(not.until));
                let fault = self.bounded(Fault::wait(format!("ordering a certificate ({why})"), said, left));
                Judgement::Drifted { drift: CertificateDrift::Wait(why, fault), meanwhile }
            }
        }
    }

    async fn converge(&mut self, drift: CertificateDrift) -> Result<(), Fault> {
        match drift {
            CertificateDrift::Order(_, news) => {
                if let Some(seen) = news {
                    self.remember(*seen).await?;
                }
                self.order().await
            }
            CertificateDrift::Wait(_, fault) => Err(fault),
            CertificateDrift::Remember(seen) => self.remember(*seen).await,
        }
    }

    fn holding(held: &Certificate) -> String {
        let names: Vec<_> = held.names.iter().map(Name::as_str).collect();
        format!("{} until {}", names.join(" "), held.life.not_after.date())
    }

    fn drifting(drift: &CertificateDrift) -> String {
        match drift {
            CertificateDrift::Order(why, _) => format!("ordering a certificate: {why}"),
            CertificateDrift::Wait(why, _) => format!("waiting to order a certificate: {why}"),
            CertificateDrift::Remember(seen) => {
                let renewal = seen.reading.document.certificate.as_ref().and_then(|issued| issued.renewal.as_ref());
                let end = renewal.map_or_else(String::new, |window| format!(" by {}", moment(window.end)));
                format!("storing the renewal window of the CA{end}")
            }
        }
    }

    fn notes(held: &Certificate) -> Vec<String> {
        held.notes.clone()
    }
}

/// What a person should know: that the vault is damaged, that the clock is off.
fn notes(reading: &Reading, life: &Life, now: OffsetDateTime) -> Vec<String> {
    let mut notes: Vec<_> = reading.note.iter().cloned().collect();
    if !reading.off.is_zero() {
        let seconds = std::time::Duration::from_secs(reading.off.whole_seconds().unsigned_abs());
        let by = humantime::format_duration(seconds);
        let side = if reading.off.is_positive() { "behind" } else { "ahead" };
        let taken = now - reading.off;
        let looks = if taken >= life.not_after && now < life.not_after {
            ", by which the certificate would have expired"
        } else if taken < life.not_before && now >= life.not_before {
            ", by which the certificate would not be valid yet"
        } else {
            ""
        };
        notes.push(format!("the clock of this host is {by} {side} of what AWS says{looks}: see to its time service"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::VaultPlace;

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

    #[tokio::test(start_paused = true)]
    async fn keeper_wakes_when_the_certificate_is_due_and_only_once() {
        let place = Place::new();
        let mut certificates = place.keeper(&["a.example"]);
        let begun = Instant::now();
        certificates.due_at = Some(begun + Duration::from_secs(57));
        certificates.woken().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(57));
        // What is due goes on being due until a look has gone well.
        let again = tokio::time::timeout(Duration::from_secs(60), certificates.woken()).await;
        assert!(again.is_err(), "it would look without a pause");
    }

    async fn look(certificates: &mut Certificates) -> Judgement<Certificate, CertificateDrift> {
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

    async fn drift(certificates: &mut Certificates) -> CertificateDrift {
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

    #[tokio::test]
    async fn order_that_failed_is_on_hold_while_the_vault_is_still_looked_at() {
        let place = Place::new();
        let other = Place::new();
        std::fs::write(place.folder.path().join("ca"), "in the way of the CA").expect("written");
        let mut certificates = place.keeper(&["a.example"]);
        let order = drift(&mut certificates).await;
        certificates.converge(order).await.expect_err("there is no CA");
        assert!(matches!(drift(&mut certificates).await, CertificateDrift::Wait(..)), "on hold");
        std::thread::sleep(Duration::from_millis(1_010));
        assert!(matches!(drift(&mut certificates).await, CertificateDrift::Order(..)));
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
        std::fs::write(&path, "{\"format\":3}").expect("written");
        let mut certificates = place.keeper(&["a.example"]);
        assert!(certificates.observe().await.is_err());
        assert_eq!(std::fs::read_to_string(path).expect("there"), "{\"format\":3}");
    }

    /// What `number` does to a document: cut off, one byte changed, a key or a chain of another, a chain that is none.
    fn mutated(text: &str, other: &str, number: usize) -> String {
        let mut dice = fastrand::Rng::with_seed(number as u64);
        let field = |text: &str, name: &str| {
            let begin = text.find(&format!("\"{name}\":\"")).expect("a field") + name.len() + 4;
            let end = begin + text[begin..].find('"').expect("its end");
            begin..end
        };
        let mut mutated = text.to_owned();
        match number % 5 {
            0 => mutated.truncate(dice.usize(1..text.len())),
            1 => {
                let at = dice.usize(..text.len());
                mutated.replace_range(at..=at, &char::from(dice.u8(b' '..=b'~')).to_string());
            }
            2 => mutated.replace_range(field(text, "key"), &other[field(other, "key")]),
            3 => mutated.replace_range(field(text, "chain"), &other[field(other, "chain")]),
            _ => mutated.replace_range(field(text, "chain"), &"A".repeat(dice.usize(..99))),
        }
        mutated
    }

    #[tokio::test]
    async fn two_hundred_damages_cost_an_order_each_at_the_most_and_what_was_damaged_is_kept() {
        let place = Place::new();
        let other = Place::new();
        for (place, name) in [(&place, "a.example"), (&other, "b.example")] {
            let mut certificates = place.keeper(&[name]);
            let order = drift(&mut certificates).await;
            certificates.converge(order).await.expect("ordered");
        }
        let read = |place: &Place, name: &str| std::fs::read_to_string(place.folder.path().join(name)).ok();
        let good = read(&place, "identity.json").expect("there");
        let foreign = read(&other, "identity.json").expect("there");
        let mut kept = 0;
        let mut ordered = 0;
        let mut left = 0;
        for number in 0..200 {
            let damaged = mutated(&good, &foreign, number);
            let path = place.folder.path().join("identity.json");
            let _ = std::fs::remove_file(place.folder.path().join("identity.json.previous"));
            std::fs::write(&path, &damaged).expect("written");
            let mut certificates = place.keeper(&["a.example"]);
            let Ok(seen) = certificates.observe().await else {
                left += 1;
                assert_eq!(read(&place, "identity.json"), Some(damaged), "what is left for a person is not changed");
                continue;
            };
            match certificates.judge(seen) {
                Judgement::Kept(_) => kept += 1,
                Judgement::Drifted { drift, .. } => {
                    ordered += 1;
                    certificates.converge(drift).await.expect("ordered");
                    assert_eq!(read(&place, "identity.json.previous"), Some(damaged), "it is the version before");
                }
                _ => panic!("{number}: neither kept nor ordered"),
            }
            let Ok(seen) = certificates.observe().await else { panic!("{number}: it cannot be read") };
            assert!(matches!(certificates.judge(seen), Judgement::Kept(_)), "{number}: a second order");
        }
        assert!(kept > 0 && ordered > 120 && left < 20, "{kept} kept, {ordered} ordered, {left} left");
    }
}
