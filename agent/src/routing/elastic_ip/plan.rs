//! The plan for an Elastic IP and the records that lead to it. Pure, by the same rights as for records that move.

use std::net::Ipv4Addr;

use crate::{
    aws::{
        Host,
        elastic_ip::Association,
        zone::{RecordChange, Records},
    },
    claim::{Claim, Takeover, TakeoverReason, records},
    fault::Fault,
    routing::{
        foreign::refuse_what_is_somebody_elses,
        plan::{DesiredRouting, RoutingPlan, record_steps, why},
    },
};

/// How the address comes here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// In one phrase.
    pub(super) why: String,
    /// The claim to be written first; none where the host's own says all.
    pub(super) claim: Option<Claim>,
    /// Whether the address is then led here.
    pub(super) associate: bool,
}

/// The host as people see it who are led by the address `ip`, which is of IPv4 alone.
pub(super) fn seen_at(ip: Ipv4Addr, host: &Host) -> Host {
    Host { ipv4: Some(ip), ipv6: None, ..host.clone() }
}

/// Plans for `wanted`, whose host is [`seen_at`] the address.
pub(super) fn plan(wanted: &DesiredRouting<'_>, claim: Option<&Claim>, address: &Association) -> RoutingPlan<Move> {
    let takeover = wanted.takeover(claim);
    if let (Takeover::StandAside, Some(claim)) = (takeover, claim) {
        return RoutingPlan::StandAside(claim.clone());
    }
    let here = address.to.as_ref() == Some(&wanted.host.instance);
    if let (Takeover::Take(TakeoverReason::Unclaimed), Some(other), false) = (takeover, &address.to, here)
        && let Some(fault) = somebody_elses(wanted, other)
    {
        return RoutingPlan::Refuse(fault);
    }
    match claim {
        Some(claim) if takeover == Takeover::Hold && wanted.is_said_by(claim) => {
            if here {
                return RoutingPlan::Leads(wanted.held(address.ip.to_string(), claim));
            }
            let why = why(Some(claim), takeover, wanted.host, false);
            RoutingPlan::Change(Move { why, claim: None, associate: true })
        }
        _ => {
            let next = wanted.next(claim, takeover);
            let why = why(claim, takeover, wanted.host, here);
            RoutingPlan::Change(Move { why, claim: Some(next), associate: !here })
        }
    }
}

/// An address that leads to an instance and that no host claims belongs to a person, as such a record does.
fn somebody_elses(wanted: &DesiredRouting<'_>, other: &str) -> Option<Fault> {
    let said = format!("it leads to {other}, and no host claims it");
    let doing = "leading the Elastic IP here";
    match (wanted.certified, wanted.adopt) {
        (false, _) => Some(Fault::retry(doing, format!("{said}; this host has no certificate yet"))),
        (true, true) => None,
        (true, false) => {
            let remedy = "disassociate it, or let it be taken over: [dns] adopt = true";
            Some(Fault::operator(doing, said, remedy))
        }
    }
}

/// The batch by which the names lead to the address; none where they do. The claim stands beside them for hosts that move
/// records, which stand aside for it.
///
/// # Errors
/// What a person has to decide.
pub(super) fn records(
    wanted: &DesiredRouting<'_>,
    claim: &Claim,
    seen: &[Records],
) -> Result<Option<Vec<RecordChange>>, Fault> {
    let Some(domain) = wanted.names.first() else { return Ok(None) };
    let written = records::claim(domain, seen);
    let steps = record_steps(wanted, seen, matches!(written, Ok(Some(_))))?;
    // Where the names lead takeover, it makes no difference what stands at the claim.
    if steps.is_empty() {
        return Ok(None);
    }
    let written = written?;
    if written.is_none() {
        refuse_what_is_somebody_elses(wanted.names, seen, &records::addresses(wanted.host), wanted.adopt, true)?;
    }
    let epoch = written.as_ref().map_or(0, |(claim, _)| claim.epoch) + 1;
    let next = Claim { epoch, ..claim.clone() };
    let fence = records::fence(domain, written.map(|(_, record)| record), &next, wanted.ttl);
    Ok(Some(fence.into_iter().chain(steps).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aws::{host::tests::host, zone::RecordType},
        claim::{Liveness, claim_name},
        place::Name,
        routing::plan::wanted,
    };

    const IP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

    fn names() -> Vec<Name> {
        vec!["www.example.org".parse().expect("a name")]
    }

    fn led_to(instance: &str) -> Association {
        Association { ip: IP, to: Some(instance.to_owned()).filter(|to| !to.is_empty()) }
    }

    fn claimed(instance: &str, minute: i64) -> Claim {
        Claim::of(&seen_at(IP, &host(instance, minute)), 4)
    }

    fn record(name: &str, kind: RecordType, value: &str) -> Records {
        Records::simple(name, kind, 60, vec![value.to_owned()])
    }

    #[test]
    fn address_moves_by_the_rights_that_records_move_by() {
        let me = seen_at(IP, &host("i-me", 5));
        let names = names();
        let wanted = wanted(&me, &names);
        let lives = Liveness::Lives;
        let gone = Liveness::Gone;
        let next = |epoch, over: Option<&str>| Claim { over: over.map(str::to_owned), ..Claim::of(&me, epoch) };
        // What: who claims, how it stands, where the address leads; the claim that is written, and whether it is moved.
        let table = [
            ("nobody has it", None, lives, led_to(""), Some((Some(next(1, None)), true))),
            ("it leads here, unclaimed", None, lives, led_to("i-me"), Some((Some(next(1, None)), false))),
            ("older", Some(claimed("i-a", 1)), lives, led_to("i-a"), Some((Some(next(5, None)), true))),
            ("gone", Some(claimed("i-z", 9)), gone, led_to(""), Some((Some(next(5, Some("i-z"))), true))),
            ("mine, not here yet", Some(claimed("i-me", 5)), lives, led_to("i-a"), Some((None, true))),
            ("mine, drifted away", Some(claimed("i-me", 5)), lives, led_to(""), Some((None, true))),
            ("mine, and here", Some(claimed("i-me", 5)), lives, led_to("i-me"), None),
        ];
        for (what, claim, claimant, address, expected) in table {
            let planned = plan(&DesiredRouting { claimant, ..wanted }, claim.as_ref(), &address);
            match (planned, expected) {
                (RoutingPlan::Change(Move { claim, associate, .. }), Some(expected)) => {
                    assert_eq!((claim, associate), expected, "{what}");
                }
                (RoutingPlan::Leads(leads), None) => assert_eq!((leads.to, leads.epoch), (IP.to_string(), 4), "{what}"),
                (planned, _) => panic!("{what}: {planned:?}"),
            }
        }
    }

    #[test]
    fn younger_host_keeps_the_address_wherever_it_leads() {
        let me = seen_at(IP, &host("i-me", 5));
        let names = names();
        for address in [led_to("i-z"), led_to("i-me"), led_to("")] {
            let planned = plan(&wanted(&me, &names), Some(&claimed("i-z", 9)), &address);
            assert!(matches!(planned, RoutingPlan::StandAside(_)), "{planned:?}");
        }
    }

    #[test]
    fn address_that_leads_to_somebody_unclaimed_is_taken_only_where_that_is_allowed() {
        let me = seen_at(IP, &host("i-me", 5));
        let names = names();
        let planned = |adopt, certified| {
            let wanted = DesiredRouting { adopt, certified, ..wanted(&me, &names) };
            plan(&wanted, None, &led_to("eni-0theirs"))
        };
        let RoutingPlan::Refuse(fault) = planned(false, true) else { panic!("taken") };
        assert!(fault.said.contains("leads to eni-0theirs"), "{fault}");
        assert!(matches!(planned(true, true), RoutingPlan::Change(_)));
        assert!(matches!(planned(true, false), RoutingPlan::Refuse(_)), "it would lead away from somebody");
    }

    #[test]
    fn host_without_certificate_takes_an_address_that_leads_nowhere_and_says_that_it_waits() {
        let me = seen_at(IP, &host("i-me", 5));
        let names = names();
        let uncertified = DesiredRouting { certified: false, ..wanted(&me, &names) };
        let RoutingPlan::Change(moved) = plan(&uncertified, None, &led_to("")) else { panic!("it is dark") };
        let claim = moved.claim.expect("a claim");
        assert!(claim.waiting && moved.associate);
        let RoutingPlan::Change(later) = plan(&wanted(&me, &names), Some(&claim), &led_to("i-me")) else {
            panic!("it says that it waits")
        };
        assert!(later.claim.is_some_and(|claim| !claim.waiting) && !later.associate);
    }

    #[test]
    fn records_lead_to_the_address_and_are_written_only_if_they_differ() {
        let me = seen_at(IP, &host("i-me", 5));
        let names = names();
        let wanted = wanted(&me, &names);
        let mine = claimed("i-me", 5);
        let right = record("www.example.org", RecordType::A, "203.0.113.9");
        assert_eq!(records(&wanted, &mine, std::slice::from_ref(&right)), Ok(None), "they stay, whoever claims");

        let claim_name = claim_name(&names[0]);
        let noted = |epoch| record(&claim_name, RecordType::Txt, &Claim { epoch, ..mine.clone() }.value());
        let expected = vec![RecordChange::Create(noted(1)), RecordChange::Upsert(right.clone())];
        assert_eq!(records(&wanted, &mine, &[]), Ok(Some(expected)));

        // Of hosts that move records, or changed by hand: the claim says that they are no stranger's.
        let before = record(&claim_name, RecordType::Txt, &claimed("i-a", 1).value());
        let theirs = record("www.example.org", RecordType::A, "192.0.2.1");
        let expected =
            vec![RecordChange::Delete(before.clone()), RecordChange::Create(noted(5)), RecordChange::Upsert(right)];
        assert_eq!(records(&wanted, &mine, &[theirs.clone(), before]), Ok(Some(expected)));

        let fault = records(&wanted, &mine, std::slice::from_ref(&theirs)).expect_err("nobody claims it");
        assert!(fault.said.contains("leads to 192.0.2.1"), "{fault}");
        assert!(
            records(&DesiredRouting { adopt: true, ..wanted }, &mine, &[theirs]).is_ok_and(|steps| steps.is_some())
        );
    }
}
