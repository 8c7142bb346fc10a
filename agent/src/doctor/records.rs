//! The records of the names, and the claim to them.

use super::{Case, Line, Subject};
use crate::{
    address::{Ledger, plan},
    aws::zone::{Kind, Records, Zone},
    config::{Leading, Name},
    fault::Fault,
    succession::{Claim, claim_name},
};

/// Whether the host that holds the names answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Answers,
    Silent,
    /// EC2 says that it is no more.
    Gone,
}

/// Reads the records; also the claim, if there is one that can be read.
pub(super) async fn examined(case: &Case<'_>) -> (Vec<Line>, Option<Claim>) {
    let (Some(ledger), Some(aws)) = (Ledger::of(case.config), &case.aws) else { return (Vec::new(), None) };
    // Nobody holds names that every host has records of, and the claim to an Elastic IP lies elsewhere.
    if ledger.leading != Leading::Records {
        return (Vec::new(), None);
    }
    let records = match ledger.read(&Zone::new(aws, ledger.zone_id().to_owned())).await {
        Ok(records) => records,
        // What is wrong with the zone is told of the delegation.
        Err(_) => return (Vec::new(), None),
    };
    let claim = plan::claim(&case.config.domain, &records).map(|found| found.map(|(claim, _)| claim));
    let owner = match &claim {
        Ok(Some(claim)) => owner(case, &ledger, claim).await,
        _ => Owner::Silent,
    };
    let lines = judged(case.config.adopt, &ledger, &records, &claim, owner);
    (lines, claim.ok().flatten())
}

async fn owner(case: &Case<'_>, ledger: &Ledger, claim: &Claim) -> Owner {
    if ledger.answers(claim).await {
        return Owner::Answers;
    }
    match is_gone(case, claim).await {
        true => Owner::Gone,
        false => Owner::Silent,
    }
}

#[cfg(feature = "fleet")]
async fn is_gone(case: &Case<'_>, claim: &Claim) -> bool {
    let Some(aws) = &case.aws else { return false };
    let standing = crate::aws::instances::Instances::new(aws).standing(&claim.instance).await;
    standing.is_ok_and(|standing| standing == crate::succession::Standing::Gone)
}

#[cfg(not(feature = "fleet"))]
async fn is_gone(_: &Case<'_>, _: &Claim) -> bool {
    false
}

fn judged(
    adopt: bool,
    ledger: &Ledger,
    records: &[Records],
    claim: &Result<Option<Claim>, Fault>,
    owner: Owner,
) -> Vec<Line> {
    let mut lines: Vec<_> = ledger.names.iter().filter_map(|name| in_the_way(name, records, ledger)).collect();
    let leads = |set: &&Records| matches!(set.kind, Kind::A | Kind::Aaaa) && is_ours(set, &ledger.names);
    match claim {
        Err(fault) => {
            let name = ledger.names.first().map(claim_name).unwrap_or_default();
            let mend = format!(
                "remove the TXT record {name}: aws route53 change-resource-record-sets --hosted-zone-id {} …",
                ledger.zone_id()
            );
            lines.push(Line { mend: Some(mend), ..Line::fault(Subject::Records, fault) });
        }
        Ok(None) => match records.iter().find(leads) {
            Some(set) if !adopt => lines.push(Line::wrong(
                Subject::Records,
                format!(
                    "{} leads to {} already, and no host of this site has made that record",
                    set.name,
                    set.values.join(" ")
                ),
                "let hosts take it over with [dns] adopt = true, or remove it",
            )),
            Some(set) => {
                lines.push(Line::ok(Subject::Records, format!("{} will be taken over ([dns] adopt)", set.name)))
            }
            None if lines.is_empty() => {
                lines.push(Line::ok(Subject::Records, "nobody holds the names yet; the first host that answers will"));
            }
            None => {}
        },
        Ok(Some(claim)) => lines.extend(held(claim, owner, &records.iter().filter(leads).collect::<Vec<_>>())),
    }
    lines
}

fn held(claim: &Claim, owner: Owner, records: &[&Records]) -> Vec<Line> {
    let Claim { instance, epoch, .. } = claim;
    let at = claim.at.map_or_else(|| "an address that it does not say".to_owned(), |at| at.to_string());
    let mut lines = vec![match owner {
        Owner::Answers => {
            Line::ok(Subject::Records, format!("{instance} holds the names (epoch {epoch}) and answers at {at}"))
        }
        Owner::Silent => Line::wrong(
            Subject::Records,
            format!("{instance} holds the names (epoch {epoch}) and does not answer at {at}"),
            format!("look at it: aws ec2 get-console-output --latest --output text --instance-id {instance}"),
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
    claim.at.is_some_and(|at| at.is_ipv4() == (set.kind == Kind::A))
}

fn is_ours(set: &Records, names: &[Name]) -> bool {
    names.iter().any(|name| name.as_str() == set.name)
}

/// What no address can stand beside (RFC 1034 §3.6.2; Route 53's rules for routed sets and aliases).
fn in_the_way(name: &Name, records: &[Records], ledger: &Ledger) -> Option<Line> {
    let sets = || records.iter().filter(|set| set.name == name.as_str());
    let what = match () {
        () if sets().any(|set| set.kind == Kind::Cname) => "a CNAME",
        () if sets().any(|set| set.routed) => "records with a routing policy",
        () if sets().any(|set| matches!(set.kind, Kind::A | Kind::Aaaa) && set.values.is_empty()) => "an alias record",
        () => return None,
    };
    Some(Line::wrong(
        Subject::Records,
        format!("{what} stands at {name}, and no address can beside it"),
        format!("remove it: aws route53 change-resource-record-sets --hosted-zone-id {} …", ledger.zone_id()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Is;

    fn set(name: &str, kind: Kind, values: &[&str]) -> Records {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Records { name: name.into(), kind, ttl: Some(60), values, routed: false }
    }

    fn claim() -> Claim {
        let value = "\"spothost=1 epoch=7 instance=i-1 launched=2026-11-21T12:00:00Z at=192.0.2.7\"";
        Claim::parse(value).expect("a claim")
    }

    #[test]
    fn records_are_judged_by_who_holds_them() {
        let a = |address: &str| set("www.example.org", Kind::A, &[address]);
        let held = || Ok(Some(claim()));
        let unreadable = Err(Fault::retry("reading the claim", "spf"));
        let routed = Records { routed: true, ..a("192.0.2.1") };
        let table = [
            (false, vec![], Ok(None), Owner::Silent, vec![Is::Ok]),
            (false, vec![a("192.0.2.1")], Ok(None), Owner::Silent, vec![Is::Wrong]),
            (true, vec![a("192.0.2.1")], Ok(None), Owner::Silent, vec![Is::Ok]),
            (false, vec![set("www.example.org", Kind::Cname, &["x"])], Ok(None), Owner::Silent, vec![Is::Wrong]),
            (true, vec![routed], Ok(None), Owner::Silent, vec![Is::Wrong, Is::Ok]),
            (false, vec![], unreadable, Owner::Silent, vec![Is::Wrong]),
            (false, vec![a("192.0.2.7")], held(), Owner::Answers, vec![Is::Ok]),
            (false, vec![a("192.0.2.7")], held(), Owner::Silent, vec![Is::Wrong]),
            (false, vec![a("192.0.2.7")], held(), Owner::Gone, vec![Is::Wrong]),
            (false, vec![a("192.0.2.9")], held(), Owner::Answers, vec![Is::Ok, Is::Warning]),
            (false, vec![set("www.example.org", Kind::Aaaa, &["2001:db8::1"])], held(), Owner::Answers, vec![Is::Ok]),
        ];
        let names = vec!["www.example.org".parse().expect("a name")];
        let ledger = Ledger { names, zone: Some("Z1".into()), ttl: 60, port: 443, leading: Leading::Records };
        for (adopt, records, claim, owner, expected) in table {
            let lines = judged(adopt, &ledger, &records, &claim, owner);
            assert_eq!(lines.iter().map(|line| line.is).collect::<Vec<_>>(), expected, "{records:?} {claim:?}");
            assert!(lines.iter().all(|line| line.mend.is_some() == (line.is != Is::Ok)), "{lines:?}");
        }
    }
}
