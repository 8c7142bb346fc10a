//! The next action for the certificate, and its time: keep it, order one at a CA, or wait. Pure.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use super::{
    desired_certificate::DesiredCertificate,
    document::{Purpose, VaultDocument},
    due::{Due, Life, Urgency, again, due},
    ledger::{Need, NotBefore},
};
use crate::place::Name;

/// Failures of the first CA after which a host without any certificate turns to the second.
const PATIENT: u32 = 3;
/// How long a host without any certificate waits for the first CA, when it could have one from the second.
const LONG: Duration = Duration::hours(1);

/// The certificate that a document holds, as far as what to do depends on it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Holding {
    /// None.
    Nothing,
    /// One that cannot be used, for that reason.
    Unusable(String),
    /// One that can be read.
    Leaf(LeafCertificate),
}

/// A certificate that can be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LeafCertificate {
    /// From when to when it is valid.
    pub life: Life,
    /// The names it is for.
    pub names: Vec<Name>,
    /// A number between 0 and 1 that all hosts with this certificate agree on.
    pub dice: f64,
}

/// The next action for the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CertificatePlan {
    /// Nothing before that instant.
    Keep(OffsetDateTime),
    /// Order a certificate now.
    Order(PlannedOrder),
    /// Order one, but not before an instant.
    Wait {
        /// Why to order.
        why: String,
        /// Why not yet.
        not: NotBefore,
    },
}

/// An order of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedOrder {
    /// Why it is placed.
    pub why: String,
    /// From which CA, as its place in [`DesiredCertificate::authorities`].
    pub authority: usize,
    /// Whether it resumes the order that is pending there.
    pub resumes: bool,
    /// Whether it replaces the certificate that is stored.
    pub replaces: bool,
    /// Whether it does so inside the window that the CA gave.
    pub exempt: bool,
    /// Whether the staging environment is to be tried before.
    pub probes: bool,
}

/// CAs that could not be reached by this host: what costs nothing at the CA is not written down for all.
#[derive(Clone, Debug, Default)]
pub(super) struct UnreachableCas(BTreeMap<String, UnreachableCa>);

#[derive(Clone, Debug)]
struct UnreachableCa {
    failed: u32,
    until: OffsetDateTime,
    said: String,
}

impl UnreachableCas {
    /// The CA could not be reached.
    pub(super) fn add(&mut self, directory: &str, said: &str, urgency: Urgency, now: OffsetDateTime) {
        let failed = self.0.get(directory).map_or(0, |unreachable_ca| unreachable_ca.failed).saturating_add(1);
        // It costs the CA's limits nothing, so an hour is the longest wait: it may be back any time.
        let until = now + again(failed, urgency).min(Duration::HOUR);
        self.0.insert(directory.to_owned(), UnreachableCa { failed, until, said: said.to_owned() });
    }

    /// It could.
    pub(super) fn clear(&mut self, directory: &str) {
        self.0.remove(directory);
    }

    fn failed(&self, directory: &str) -> u32 {
        self.0.get(directory).map_or(0, |unreachable_ca| unreachable_ca.failed)
    }

    fn ready(&self, directory: &str, now: OffsetDateTime) -> Result<(), NotBefore> {
        match self.0.get(directory).filter(|unreachable_ca| unreachable_ca.until > now) {
            Some(unreachable_ca) => {
                let why = format!("the CA could not be reached: {}", unreachable_ca.said);
                // A clock that was set back does not make an hour longer.
                Err(NotBefore { until: unreachable_ca.until.min(now + Duration::HOUR), why })
            }
            None => Ok(()),
        }
    }
}

impl Holding {
    /// How pressing an order is.
    pub(super) fn urgency(&self, now: OffsetDateTime) -> Urgency {
        match self {
            Holding::Leaf(leaf) => leaf.life.urgency(now),
            Holding::Nothing | Holding::Unusable(_) => Urgency::Without,
        }
    }
}

/// The plan for `document`, which holds `holding`, at `now`.
pub(super) fn plan(
    wanted: &DesiredCertificate,
    document: &VaultDocument,
    holding: &Holding,
    unreachable: &UnreachableCas,
    now: OffsetDateTime,
) -> CertificatePlan {
    let why = match judged(wanted, document, holding, now) {
        Due::Not(until) => return CertificatePlan::Keep(until),
        Due::Soon(why) | Due::Now(why) => why,
    };
    let mut first = None;
    for authority in 0..wanted.authorities.len() {
        match order(wanted, document, holding, unreachable, authority, now) {
            Ok(order) => return CertificatePlan::Order(PlannedOrder { why, ..order }),
            Err(not) => {
                let turns = turns_away(wanted, document, holding, unreachable, &not, now);
                let earlier = first.as_ref().is_none_or(|first: &NotBefore| not.until < first.until);
                if earlier {
                    first = Some(not);
                }
                if !turns {
                    break;
                }
            }
        }
    }
    let not = first.unwrap_or_else(|| NotBefore { until: now + LONG, why: "there is no CA".to_owned() });
    CertificatePlan::Wait { why, not }
}

/// Whether the certificate is due, at any CA.
pub(super) fn judged(
    wanted: &DesiredCertificate,
    document: &VaultDocument,
    holding: &Holding,
    now: OffsetDateTime,
) -> Due {
    let leaf = match holding {
        Holding::Nothing => return Due::Now("the vault holds none".to_owned()),
        Holding::Unusable(why) => return Due::Now(why.clone()),
        Holding::Leaf(leaf) => leaf,
    };
    let issued = document.certificate.as_ref();
    let from = issued.map_or("", |issued| issued.directory.as_str());
    let window = issued.and_then(|issued| issued.renewal.as_ref());
    match due(now, &leaf.life, &leaf.names, &wanted.names, window, leaf.dice) {
        Due::Not(_) if !wanted.authorities.iter().any(|authority| authority.directory == from) => {
            let wanted = wanted.authorities.first().map_or("", |authority| authority.directory.as_str());
            Due::Soon(format!("the stored one is from {from}, not from {wanted}"))
        }
        due => due,
    }
}

/// The order that is to be made at one CA, or why none yet.
fn order(
    wanted: &DesiredCertificate,
    document: &VaultDocument,
    holding: &Holding,
    unreachable: &UnreachableCas,
    index: usize,
    now: OffsetDateTime,
) -> Result<PlannedOrder, NotBefore> {
    let authority = &wanted.authorities[index];
    let directory = &authority.directory;
    let resumes = document.order.as_ref().is_some_and(|order| order.is_for(wanted, authority));
    let stored = document.certificate.as_ref().filter(|issued| issued.directory == *directory);
    let replaces = stored.is_some() && matches!(holding, Holding::Leaf(_));
    let window = stored.and_then(|issued| issued.renewal.as_ref());
    let exempt = replaces && window.is_some_and(|window| window.start <= now && now <= window.end);
    let need = Need {
        names: &wanted.names,
        urgency: holding.urgency(now),
        exempt,
        account: document.account(directory).is_none(),
    };
    unreachable.ready(directory, now)?;
    document.ledger.ready(directory, need, resumes, now)?;
    document.writable(if resumes { Purpose::Resume } else { Purpose::Order }, now)?;
    let probes = !resumes && authority.staging.is_some() && document.ledger.book(directory).failed_authorizations > 0;
    Ok(PlannedOrder { why: String::new(), authority: index, resumes, replaces, exempt, probes })
}

/// Whether the first CA, which is `not` to be asked yet, is to be passed over: it cannot serve before the emergency line.
fn turns_away(
    wanted: &DesiredCertificate,
    document: &VaultDocument,
    holding: &Holding,
    unreachable: &UnreachableCas,
    not: &NotBefore,
    now: OffsetDateTime,
) -> bool {
    let emergency = match holding {
        Holding::Leaf(leaf) if leaf.life.not_after > now => leaf.life.emergency(),
        _ => {
            let directory = wanted.authorities.first().map_or("", |authority| &authority.directory);
            let failed = document.ledger.book(directory).failed.max(unreachable.failed(directory));
            return failed >= PATIENT || not.until > now + LONG;
        }
    };
    not.until >= emergency
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::certificate::{
        desired_certificate::AcmeCa,
        document::{Account, Issued, PendingOrder},
    };

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn wanted() -> DesiredCertificate {
        let authority = |directory: &str| AcmeCa { directory: directory.to_owned(), ..AcmeCa::default() };
        let staging = Some("https://staging.example/".to_owned());
        let first = AcmeCa { staging, ..authority("https://first.example/") };
        let names = vec!["a.example".parse().expect("a name")];
        DesiredCertificate { names, authorities: vec![first, authority("https://second.example/")] }
    }

    /// A document with a certificate that has lived for so many of its 90 days, and accounts.
    fn lived(days: i64) -> (VaultDocument, Holding) {
        let not_before = NOW - Duration::days(days);
        let life = Life { not_before, not_after: not_before + Duration::days(90) };
        let leaf = LeafCertificate { life, names: wanted().names, dice: 0.5 };
        let mut document = fresh();
        document.certificate = Some(Issued::sketched("https://first.example/"));
        document.accounts.push(Account::sketched("https://second.example/"));
        (document, Holding::Leaf(leaf))
    }

    fn fresh() -> VaultDocument {
        let mut document = VaultDocument::default();
        document.keep_account(Account::sketched("https://first.example/"));
        document
    }

    fn planned(document: &VaultDocument, holding: &Holding) -> CertificatePlan {
        plan(&wanted(), document, holding, &UnreachableCas::default(), NOW)
    }

    fn ordered(plan: CertificatePlan) -> PlannedOrder {
        match plan {
            CertificatePlan::Order(order) => order,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn certificate_is_kept_until_it_is_due_and_then_replaced() {
        let (document, holding) = lived(30);
        assert_eq!(planned(&document, &holding), CertificatePlan::Keep(NOW + Duration::days(30)));
        let (document, holding) = lived(60);
        let order = ordered(planned(&document, &holding));
        assert_eq!((order.authority, order.replaces, order.exempt, order.resumes), (0, true, false, false));
        let order = ordered(planned(&fresh(), &Holding::Nothing));
        assert_eq!((order.authority, order.replaces), (0, false));
    }

    #[test]
    fn order_under_way_is_gone_on_with_if_it_is_what_is_wanted() {
        let (mut document, holding) = lived(60);
        document.order = Some(PendingOrder::sketched("https://first.example/", &wanted().names));
        assert!(ordered(planned(&document, &holding)).resumes);
        document.order = Some(PendingOrder::sketched("https://first.example/", &[]));
        assert!(!ordered(planned(&document, &holding)).resumes);
    }

    #[test]
    fn second_ca_is_turned_to_when_the_first_cannot_serve_before_the_emergency_line() {
        let (mut document, holding) = lived(80);
        let held_off = |document: &mut VaultDocument, days| {
            document.ledger.failed("https://first.example/", "no", Some(Duration::days(days)), NOW);
        };
        held_off(&mut document, 3);
        assert!(
            matches!(planned(&document, &holding), CertificatePlan::Wait { not, .. } if not.until == NOW + Duration::days(3))
        );
        held_off(&mut document, 6);
        let order = ordered(planned(&document, &holding));
        assert_eq!((order.authority, order.replaces), (1, false));
        // Without any certificate it is when the first has failed some times, or is to be waited for too long.
        let mut document = fresh();
        for _ in 0..2 {
            document.ledger.failed("https://first.example/", "no", None, NOW);
        }
        assert!(matches!(planned(&document, &Holding::Nothing), CertificatePlan::Wait { .. }));
        document.ledger.failed("https://first.example/", "no", None, NOW);
        assert_eq!(ordered(planned(&document, &Holding::Nothing)).authority, 1);
    }

    #[test]
    fn staging_environment_is_tried_after_a_proof_that_failed_and_only_then() {
        let mut document = fresh();
        assert!(!ordered(planned(&document, &Holding::Nothing)).probes);
        document.ledger.authorization_failed("https://first.example/", &wanted().names, NOW - Duration::HOUR);
        document.ledger.failed("https://first.example/", "dns", None, NOW - Duration::HOUR);
        assert!(ordered(planned(&document, &Holding::Nothing)).probes);
    }

    #[test]
    fn ca_that_cannot_be_reached_is_tried_again_within_the_hour() {
        let (document, holding) = lived(60);
        let mut unreachable = UnreachableCas::default();
        for _ in 0..9 {
            unreachable.add("https://first.example/", "no route", Urgency::CanWait(Duration::DAY), NOW);
        }
        let planned = plan(&wanted(), &document, &holding, &unreachable, NOW);
        assert!(matches!(planned, CertificatePlan::Wait { not, .. } if not.until == NOW + Duration::HOUR));
        unreachable.clear("https://first.example/");
        ordered(plan(&wanted(), &document, &holding, &unreachable, NOW));
    }

    #[test]
    fn window_that_the_ca_gave_makes_a_replacement_cost_nothing() {
        let (mut document, holding) = lived(40);
        let window = super::super::due::Window {
            start: NOW - Duration::HOUR,
            end: NOW + Duration::minutes(1),
            explanation: None,
        };
        document.certificate.as_mut().expect("one").renewal = Some(window);
        let order = ordered(planned(&document, &holding));
        assert!(order.replaces && order.exempt);
        for _ in 0..3 {
            document.ledger.ordered("https://first.example/", &wanted().names, NOW);
        }
        assert!(ordered(planned(&document, &holding)).exempt, "our own limit does not stand against it");
    }

    #[test]
    fn renewal_that_fails_for_thirty_days_is_tried_forty_times_and_hourly_at_the_end() {
        let (mut document, holding) = lived(60);
        let Holding::Leaf(leaf) = &holding else { panic!("one is held") };
        let emergency = leaf.life.emergency();
        let end = leaf.life.not_after;
        let mut now = NOW;
        let mut tries = Vec::new();
        while now < end {
            match plan(&wanted(), &document, &holding, &UnreachableCas::default(), now) {
                CertificatePlan::Order(order) => {
                    // The second CA is down, too.
                    let directory = &wanted().authorities[order.authority].directory;
                    document.ledger.attempt(directory, false, now);
                    document.ledger.failed(directory, "serverInternal", None, now);
                    tries.push((order.authority, now));
                }
                CertificatePlan::Wait { not, .. } => now = not.until,
                CertificatePlan::Keep(_) => panic!("it is due"),
            }
        }
        let before = tries.iter().filter(|(_, at)| *at < emergency).count();
        assert!((25..=40).contains(&before), "{before}");
        let late: Vec<_> = tries.iter().filter(|(authority, at)| *authority == 0 && *at >= emergency).collect();
        let longest = late.windows(2).map(|pair| pair[1].1 - pair[0].1).max();
        assert_eq!(longest, Some(Duration::HOUR), "so long after the CA is back there is a certificate");
    }
}
