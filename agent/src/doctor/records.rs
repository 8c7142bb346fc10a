//! The records of the names, and the claim to them.

use super::{Case, Line, Subject};
use crate::{
    aws::zone::{Form, RecordType, Records, RoutingPolicy, Zone},
    claim::{Claim, NameService, claim_name, records},
    config::RoutingMode,
    fault::Fault,
    place::Name,
    routing::foreign,
};

/// Whether the host that holds the names answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Answers,
    Silent,
    /// It does not answer, and the EC2 that could know it says that it no longer runs.
    Gone,
}

/// Reads the records; also the claim, if there is one that can be read.
pub(super) async fn examined(case: &Case<'_>) -> (Vec<Line>, Option<Claim>) {
    let name_service = NameService::of(case.config).filter(|name_service| name_service.zone.is_some());
    let (Some(name_service), Some(aws)) = (name_service, &case.aws) else { return (Vec::new(), None) };
    let records = match name_service.read(&Zone::new(aws, name_service.zone_id().to_owned())).await {
        Ok(records) => records,
        // Faults of the zone are reported with the delegation.
        Err(_) => return (Vec::new(), None),
    };
    // No host holds names that every host has records of, and the claim to an Elastic IP lies elsewhere.
    if name_service.leading != RoutingMode::Records {
        return (in_the_way(case.config.adopt, &name_service, &records), None);
    }
    let claim = records::claim(&case.config.domain, &records).map(|found| found.map(|(claim, _)| claim));
    let owner = match &claim {
        Ok(Some(claim)) => owner(case, &name_service, claim).await,
        _ => Owner::Silent,
    };
    let lines = judged(case.config.adopt, &name_service, &records, &claim, owner);
    (lines, claim.ok().flatten())
}

async fn owner(case: &Case<'_>, name_service: &NameService, claim: &Claim) -> Owner {
    if name_service.answers(claim).await {
        return Owner::Answers;
    }
    if is_gone(case, claim).await { Owner::Gone } else { Owner::Silent }
}

async fn is_gone(case: &Case<'_>, claim: &Claim) -> bool {
    let (Some(aws), Some(caller)) = (&case.aws, &case.caller) else { return false };
    let ec2 = crate::place::Location::new(&aws.region(), &caller.account);
    if !crate::claim::could_know(ec2.as_ref(), claim) {
        return false;
    }
    let told = crate::aws::instances::Instances::new(aws).told(&claim.instance).await;
    told.is_ok_and(|told| told == crate::aws::InstanceState::Ended)
}

fn judged(
    adopt: bool,
    name_service: &NameService,
    records: &[Records],
    claim: &Result<Option<Claim>, Fault>,
    owner: Owner,
) -> Vec<Line> {
    let mut lines = in_the_way(adopt, name_service, records);
    let leads = |set: &&Records| set.is_address() && is_ours(set, &name_service.names);
    match claim {
        Err(fault) => {
            let name = name_service.names.first().map(claim_name).unwrap_or_default();
            let mend = format!(
                "remove the TXT record {name}: aws route53 change-resource-record-sets --hosted-zone-id {} …",
                name_service.zone_id()
            );
            lines.push(Line { mend: Some(mend), ..Line::fault(Subject::Records, fault) });
        }
        // The obstacle has been reported.
        Ok(None) if !lines.is_empty() => {}
        Ok(None) => match foreign::leads_elsewhere(&name_service.names, records, &[]) {
            Some(set) if !adopt => lines.push(Line::wrong(
                Subject::Records,
                format!("{} {} already, and no host of this site has made that record", set.name, set.leads()),
                "let hosts take it over with [dns] adopt = true, or remove it",
            )),
            Some(set) if set.is_address() => {
                let said = format!("{}, which {}, will be taken over ([dns] adopt)", set.name, set.leads());
                lines.push(Line::ok(Subject::Records, said));
            }
            _ => lines.push(Line::ok(
                Subject::Records,
                "no host holds the names yet; the first host that answers takes them",
            )),
        },
        Ok(Some(claim)) => {
            let said = !lines.is_empty();
            let led: Vec<_> = records.iter().filter(leads).filter(|_| !said).collect();
            lines.extend(held(claim, owner, &led));
        }
    }
    let ours: Vec<_> = records.iter().filter(leads).flat_map(|set| set.values.iter().cloned()).collect();
    let browsers = foreign::browsers_elsewhere(&name_service.names, records, &ours);
    lines.extend(browsers.map(|fault| Line::unseen(Subject::Records, &fault)));
    lines
}

fn held(claim: &Claim, owner: Owner, records: &[&Records]) -> Vec<Line> {
    let Claim { instance, epoch, .. } = claim;
    let at = claim.at.map_or_else(|| "an address that it does not say".to_owned(), |at| at.to_string());
    let region = claim.location.as_ref().map(|there| format!(" --region {}", there.region)).unwrap_or_default();
    let mut lines = vec![match owner {
        Owner::Answers => {
            Line::ok(Subject::Records, format!("{instance} holds the names (epoch {epoch}) and answers at {at}"))
        }
        Owner::Silent => Line::wrong(
            Subject::Records,
            format!("{instance} holds the names (epoch {epoch}) and does not answer at {at}"),
            format!("look at it: aws ec2 get-console-output --latest --output text --instance-id {instance}{region}"),
        ),
        Owner::Gone => Line::wrong(
            Subject::Records,
            format!("{instance} holds the names (epoch {epoch}) and is gone; no host has followed it"),
            "see why no other comes up: spothost hosts; aws s3 ls s3://BUCKET/failed/",
        ),
    }];
    let astray =
        |set: &&&Records| claim.at.is_some_and(|at| !set.values.contains(&at.to_string())) && same_family(set, claim);
    if let Some(set) = records.iter().find(astray) {
        let said = format!("{} leads to {}, and the host of the claim is at {at}", set.name, set.values.join(" "));
        lines.push(Line::warning(
            Subject::Records,
            said,
            "a host that is up changes it back by itself: spothost hosts",
        ));
    }
    lines
}

fn same_family(set: &Records, claim: &Claim) -> bool {
    claim.at.is_some_and(|at| at.is_ipv4() == (set.kind == RecordType::A))
}

fn is_ours(set: &Records, names: &[Name]) -> bool {
    names.iter().any(|name| name.as_str() == set.name)
}

/// What at the names keeps an address of a host from standing there, as hosts say it.
fn in_the_way(adopt: bool, name_service: &NameService, records: &[Records]) -> Vec<Line> {
    // Where every host has records of its own, those answers are the site's.
    let own = |set: &&Records| {
        name_service.leading == RoutingMode::Multivalue && set.form == Form::Routed(RoutingPolicy::Multivalue)
    };
    let others: Vec<_> = records.iter().filter(|set| !own(set)).cloned().collect();
    let faults = name_service.names.iter().filter_map(|name| foreign::in_the_way(name, &others, adopt));
    faults
        .map(|fault| {
            let line = Line::fault(Subject::Records, &fault);
            let zone = name_service.zone_id();
            let how = format!("aws route53 change-resource-record-sets --hosted-zone-id {zone} …");
            Line { mend: line.mend.map(|mend| format!("{mend}: {how}")), ..line }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::zone::Alias, doctor::LineState};

    fn set(name: &str, kind: RecordType, values: &[&str]) -> Records {
        Records::simple(name, kind, 60, values.iter().map(|value| (*value).to_owned()).collect())
    }

    fn claim() -> Claim {
        let value = "\"spothost=1 epoch=7 instance=i-1 launched=2026-11-21T12:00:00Z at=192.0.2.7\"";
        Claim::parse(value).expect("a claim")
    }

    #[test]
    fn records_are_judged_by_who_holds_them() {
        let a = |address: &str| set("www.example.org", RecordType::A, &[address]);
        let held = || Ok(Some(claim()));
        let unreadable = Err(Fault::retry("reading the claim", "spf"));
        let routed = Records { form: Form::Routed(RoutingPolicy::Weighted), ..a("192.0.2.1") };
        let of = Alias { target: "d1.cloudfront.net".into(), zone: "Z2FDTNDATAQYW2".into(), evaluates_health: false };
        let alias =
            || Records { ttl: None, form: Form::Alias(of.clone()), ..set("www.example.org", RecordType::A, &[]) };
        let https = || set("www.example.org", RecordType::Https, &["0 cdn.example.net."]);
        let table = [
            (false, vec![], Ok(None), Owner::Silent, vec![LineState::Ok]),
            (false, vec![a("192.0.2.1")], Ok(None), Owner::Silent, vec![LineState::Wrong]),
            (true, vec![a("192.0.2.1")], Ok(None), Owner::Silent, vec![LineState::Ok]),
            (
                false,
                vec![set("www.example.org", RecordType::Cname, &["x"])],
                Ok(None),
                Owner::Silent,
                vec![LineState::Wrong],
            ),
            (true, vec![routed], Ok(None), Owner::Silent, vec![LineState::Wrong]),
            (false, vec![alias()], Ok(None), Owner::Silent, vec![LineState::Wrong]),
            (true, vec![alias()], Ok(None), Owner::Silent, vec![LineState::Ok]),
            (false, vec![alias()], held(), Owner::Answers, vec![LineState::Wrong, LineState::Ok]),
            (false, vec![https()], Ok(None), Owner::Silent, vec![LineState::Wrong, LineState::Warning]),
            (false, vec![a("192.0.2.7"), https()], held(), Owner::Answers, vec![LineState::Ok, LineState::Warning]),
            (false, vec![], unreadable, Owner::Silent, vec![LineState::Wrong]),
            (false, vec![a("192.0.2.7")], held(), Owner::Answers, vec![LineState::Ok]),
            (false, vec![a("192.0.2.7")], held(), Owner::Silent, vec![LineState::Wrong]),
            (false, vec![a("192.0.2.7")], held(), Owner::Gone, vec![LineState::Wrong]),
            (false, vec![a("192.0.2.9")], held(), Owner::Answers, vec![LineState::Ok, LineState::Warning]),
            (
                false,
                vec![set("www.example.org", RecordType::Aaaa, &["2001:db8::1"])],
                held(),
                Owner::Answers,
                vec![LineState::Ok],
            ),
        ];
        let names = vec!["www.example.org".parse().expect("a name")];
        let name_service =
            NameService { names, zone: Some("Z1".into()), ttl: 60, port: 443, leading: RoutingMode::Records };
        for (adopt, records, claim, owner, expected) in table {
            let lines = judged(adopt, &name_service, &records, &claim, owner);
            assert_eq!(lines.iter().map(|line| line.is).collect::<Vec<_>>(), expected, "{records:?} {claim:?}");
            assert!(lines.iter().all(|line| line.mend.is_some() == (line.is != LineState::Ok)), "{lines:?}");
            assert!(!lines.iter().any(|line| line.said.contains("  ")), "something is not named: {lines:?}");
        }
    }
}
