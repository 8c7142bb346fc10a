//! The plan for a host's own records among those of the others. Pure.

use crate::{
    aws::zone::{Many, MultivalueAnswer, RecordChange, RecordType, Records},
    claim::{
        Claim, RoutedHere, Takeover, is_instance_id,
        records::{self, fence},
    },
    fault::Fault,
    place::Name,
    routing::{
        foreign::{free, refuse_what_is_somebody_elses},
        plan::{DesiredRouting, RoutingPlan},
    },
};

/// The record sets at all names; with the claim of hosts that move simple records, where there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Zoned {
    pub(super) answers: Vec<MultivalueAnswer>,
    pub(super) others: Vec<Records>,
}

/// The health checks of the host's own addresses, as far as there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checks {
    pub(super) v4: Option<String>,
    pub(super) v6: Option<String>,
}

impl Checks {
    pub(super) fn of(&self, kind: RecordType) -> Option<&String> {
        match kind {
            RecordType::A => self.v4.as_ref(),
            RecordType::Aaaa => self.v6.as_ref(),
            RecordType::Txt | RecordType::Cname | RecordType::Https => None,
        }
    }
}

/// One batch, and why it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// In one phrase.
    pub(super) why: String,
    /// The steps.
    pub(super) steps: Vec<Many>,
}

/// Plans for `wanted`, whose own addresses have those `checks`. `gone` are hosts that are gone. It waits for its certificate
/// where people are led to others, and stands aside for a host that moves simple records and has the right to it.
pub(super) fn plan(wanted: &DesiredRouting<'_>, checks: &Checks, seen: &Zoned, gone: &[String]) -> RoutingPlan<Batch> {
    // Where hosts hold answers already, the names are theirs.
    let claimed = seen.answers.iter().any(|answer| is_instance_id(&answer.identifier));
    let free: Vec<Name> = match free(wanted.names, &seen.others, wanted.adopt, claimed) {
        Ok(names) => names.into_iter().cloned().collect(),
        Err(fault) => return RoutingPlan::Refuse(fault),
    };
    let wanted = &DesiredRouting { names: &free, ..*wanted };
    let simple = simple(wanted, &seen.others);
    let alive =
        |answer: &&MultivalueAnswer| answer.identifier != wanted.host.instance && !gone.contains(&answer.identifier);
    if !wanted.certified && (!simple.is_empty() || seen.answers.iter().any(|answer| alive(&answer))) {
        return RoutingPlan::Wait("a certificate: the names lead to other hosts, which serve".to_owned());
    }
    let cleared = match cleared(wanted, seen, &simple) {
        Ok(Cleared::By(steps)) => steps,
        Ok(Cleared::NotYet(claim)) => return RoutingPlan::StandAside(*claim),
        Err(fault) => return RoutingPlan::Refuse(fault),
    };
    let own = own(wanted, checks, &seen.answers);
    let swept: Vec<_> = seen.answers.iter().filter(|answer| gone.contains(&answer.identifier)).cloned().collect();
    if cleared.is_empty() && own.is_empty() && swept.is_empty() {
        let to = records::addresses(wanted.host).join(" and ");
        return RoutingPlan::Leads(RoutedHere { to, epoch: 0, target: None, asked_in: None });
    }
    let why = why(wanted, !cleared.is_empty(), !own.is_empty(), &swept);
    // What is deleted comes first: a multivalue answer cannot stand beside a simple set.
    let cleared = cleared.into_iter().map(Many::Simple);
    let steps = cleared.chain(swept.into_iter().map(Many::Delete)).chain(own).collect();
    RoutingPlan::Change(Batch { why, steps })
}

/// Simple sets of addresses at the names.
fn simple<'a>(wanted: &DesiredRouting<'_>, others: &'a [Records]) -> Vec<&'a Records> {
    let of_names = |set: &&Records| wanted.names.iter().any(|name| name.as_str() == set.name);
    others.iter().filter(of_names).filter(|set| set.is_address()).collect()
}

/// How the names come to be free for multivalue answers.
enum Cleared {
    /// By these steps, if any are needed.
    By(Vec<RecordChange>),
    /// Not yet: that host holds them.
    NotYet(Box<Claim>),
}

/// Simple records of hosts that move them are taken over by right, with their claim, so that those hosts stand aside; those
/// of people only where that is allowed. What else people have made is never touched ([`crate::routing::foreign`]).
fn cleared(wanted: &DesiredRouting<'_>, seen: &Zoned, simple: &[&Records]) -> Result<Cleared, Fault> {
    let claim = match wanted.names.first() {
        Some(domain) if !simple.is_empty() => records::claim(domain, &seen.others)?.map(|claim| (domain, claim)),
        _ => None,
    };
    let fenced = match claim {
        // Where answers of hosts stand already the names are the site's.
        None if seen.answers.iter().any(|answer| is_instance_id(&answer.identifier)) && simple.is_empty() => Vec::new(),
        None => {
            let ours = records::addresses(wanted.host);
            // Route 53 deletes a simple set before an answer can stand there, be it one that leads here.
            refuse_what_is_somebody_elses(wanted.names, &seen.others, &ours, wanted.adopt, true)?;
            Vec::new()
        }
        Some((domain, (claim, written))) => match wanted.takeover(Some(&claim)) {
            Takeover::StandAside => return Ok(Cleared::NotYet(Box::new(claim))),
            takeover => fence(domain, Some(written), &wanted.next(Some(&claim), takeover), wanted.ttl),
        },
    };
    let gone = simple.iter().map(|set| RecordChange::Delete((*set).clone()));
    Ok(Cleared::By(fenced.into_iter().chain(gone).collect()))
}

/// What makes the host's own records be as they should.
fn own(wanted: &DesiredRouting<'_>, checks: &Checks, answers: &[MultivalueAnswer]) -> Vec<Many> {
    let host = wanted.host;
    let addresses =
        [(RecordType::A, host.ipv4.map(|ip| ip.to_string())), (RecordType::Aaaa, host.ipv6.map(|ip| ip.to_string()))];
    let mut steps = Vec::new();
    for name in wanted.names {
        for (kind, address) in &addresses {
            let mine = |answer: &&MultivalueAnswer| {
                answer.name == name.as_str() && answer.kind == *kind && answer.identifier == host.instance
            };
            let there = answers.iter().find(mine);
            let should = address.as_ref().map(|address| MultivalueAnswer {
                name: name.to_string(),
                kind: *kind,
                ttl: Some(wanted.ttl),
                values: vec![address.clone()],
                identifier: host.instance.clone(),
                check: checks.of(*kind).cloned(),
            });
            match (should, there) {
                (Some(should), there) if there != Some(&should) => steps.push(Many::Upsert(should)),
                (None, Some(there)) => steps.push(Many::Delete(there.clone())),
                _ => {}
            }
        }
    }
    steps
}

fn why(wanted: &DesiredRouting<'_>, in_place: bool, own: bool, swept: &[MultivalueAnswer]) -> String {
    let to = records::addresses(wanted.host).join(" and ");
    let leading = own.then(|| format!("leading the names to {to} as well"));
    let in_place = in_place.then(|| "in the place of simple records".to_owned());
    let mut ids: Vec<&str> = swept.iter().map(|answer| answer.identifier.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let gone = (!ids.is_empty()).then(|| format!("removing the records of {}, gone", ids.join(" and ")));
    leading.into_iter().chain(in_place).chain(gone).collect::<Vec<_>>().join(", ")
}

/// The batch that takes this instance's records away; empty where there are none.
///
/// The last record of a name stays, as a simple one does: a resolver that is told that there is none remembers that for up
/// to the minimum of the zone's SOA (RFC 2308 §5), longer than the next host takes to come. That host sweeps it.
pub(super) fn withdrawal(instance: &str, answers: &[MultivalueAnswer]) -> Vec<Many> {
    let others = |own: &MultivalueAnswer| {
        answers
            .iter()
            .any(|answer| (&answer.name, answer.kind) == (&own.name, own.kind) && answer.identifier != instance)
    };
    let own = answers.iter().filter(|answer| answer.identifier == instance);
    own.filter(|answer| others(answer)).cloned().map(Many::Delete).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aws::{
            host::tests::host,
            zone::{Alias, Form, RoutingPolicy},
        },
        claim::claim_name,
        routing::plan::wanted,
    };

    fn names() -> Vec<Name> {
        vec!["www.example.org".parse().expect("a name"), "example.org".parse().expect("a name")]
    }

    fn answer(name: &str, instance: &str, value: &str) -> MultivalueAnswer {
        MultivalueAnswer {
            name: name.to_owned(),
            kind: RecordType::A,
            ttl: Some(60),
            values: vec![value.to_owned()],
            identifier: instance.to_owned(),
            check: Some(format!("check-{instance}")),
        }
    }

    fn of(instance: &str, value: &str) -> Vec<MultivalueAnswer> {
        ["www.example.org", "example.org"].map(|name| answer(name, instance, value)).into()
    }

    fn simple(name: &str, kind: RecordType, values: &[&str]) -> Records {
        Records::simple(name, kind, 60, values.iter().map(|value| (*value).to_owned()).collect())
    }

    fn leads() -> RoutingPlan<Batch> {
        RoutingPlan::Leads(RoutedHere { to: "192.0.2.7".into(), epoch: 0, target: None, asked_in: None })
    }

    fn checks() -> Checks {
        Checks { v4: Some("check-i-me".to_owned()), v6: None }
    }

    fn seen(answers: Vec<MultivalueAnswer>, others: Vec<Records>) -> Zoned {
        Zoned { answers, others }
    }

    fn planned(seen: &Zoned, gone: &[&str]) -> RoutingPlan<Batch> {
        let gone: Vec<_> = gone.iter().map(|id| (*id).to_owned()).collect();
        plan(&wanted(&host("i-me", 5), &names()), &checks(), seen, &gone)
    }

    fn steps(plan: RoutingPlan<Batch>) -> Vec<Many> {
        match plan {
            RoutingPlan::Change(batch) => batch.steps,
            other => panic!("{other:?} is no change"),
        }
    }

    #[test]
    fn host_adds_its_own_records_beside_those_of_others() {
        let mine: Vec<_> = of("i-me", "192.0.2.7").into_iter().map(Many::Upsert).collect();
        assert_eq!(steps(planned(&seen(Vec::new(), Vec::new()), &[])), mine);
        assert_eq!(steps(planned(&seen(of("i-a", "192.0.2.1"), Vec::new()), &[])), mine);
        let both = [of("i-a", "192.0.2.1"), of("i-me", "192.0.2.7")].concat();
        assert_eq!(planned(&seen(both, Vec::new()), &[]), leads());
    }

    #[test]
    fn own_record_that_differs_is_corrected_and_a_family_that_is_lacking_removed() {
        let mut mine = of("i-me", "192.0.2.7");
        mine[0].values = vec!["198.51.100.1".into()];
        mine[1].check = None;
        let corrected: Vec<_> = of("i-me", "192.0.2.7").into_iter().map(Many::Upsert).collect();
        assert_eq!(steps(planned(&seen(mine, Vec::new()), &[])), corrected);
        let v6 = MultivalueAnswer { kind: RecordType::Aaaa, ..answer("example.org", "i-me", "2001:db8::1") };
        let there = [of("i-me", "192.0.2.7"), vec![v6.clone()]].concat();
        assert_eq!(steps(planned(&seen(there, Vec::new()), &[])), [Many::Delete(v6)]);
    }

    #[test]
    fn records_of_instances_that_are_gone_are_swept_and_no_others() {
        let theirs = of("i-gone", "192.0.2.1");
        let by_hand = answer("www.example.org", "by-hand", "192.0.2.99");
        let there = [theirs.clone(), of("i-lives", "192.0.2.2"), of("i-me", "192.0.2.7"), vec![by_hand]].concat();
        let swept: Vec<_> = theirs.into_iter().map(Many::Delete).collect();
        assert_eq!(steps(planned(&seen(there, Vec::new()), &["i-gone"])), swept);
    }

    #[test]
    fn simple_records_of_people_are_replaced_only_where_that_is_allowed() {
        let theirs = seen(Vec::new(), vec![simple("www.example.org", RecordType::A, &["198.51.100.1"])]);
        let RoutingPlan::Refuse(fault) = planned(&theirs, &[]) else { panic!("taken") };
        assert!(fault.said.contains("www.example.org leads to 198.51.100.1"), "{fault}");
        let me = host("i-me", 5);
        let names = names();
        let adopting = DesiredRouting { adopt: true, ..wanted(&me, &names) };
        let steps = steps(plan(&adopting, &checks(), &theirs, &[]));
        assert_eq!(steps[0], Many::Simple(RecordChange::Delete(theirs.others[0].clone())), "first, or it is refused");
        assert_eq!(steps.len(), 3);
    }

    #[test]
    fn simple_records_of_a_host_are_taken_over_with_its_claim_by_takeover() {
        let claimed = |instance, minute| {
            let value = Claim::of(&host(instance, minute), 4).value();
            let claim = simple(&claim_name(&names()[0]), RecordType::Txt, &[&value]);
            seen(Vec::new(), vec![claim, simple("www.example.org", RecordType::A, &["192.0.2.1"])])
        };
        let older = claimed("i-a", 1);
        let steps = steps(planned(&older, &[]));
        let written = simple(&claim_name(&names()[0]), RecordType::Txt, &[&Claim::of(&host("i-me", 5), 5).value()]);
        let expected = [
            RecordChange::Delete(older.others[0].clone()),
            RecordChange::Create(written),
            RecordChange::Delete(older.others[1].clone()),
        ];
        assert_eq!(steps[..3], expected.map(Many::Simple));
        assert!(matches!(planned(&claimed("i-z", 9), &[]), RoutingPlan::StandAside(_)), "a younger one holds them");
    }

    #[test]
    fn further_name_that_people_use_otherwise_keeps_no_other_name_from_a_host_that_joins() {
        let cname = || simple("example.org", RecordType::Cname, &["lb.example.net"]);
        let another = answer("www.example.org", "i-0a", "192.0.2.1");
        let joined = steps(planned(&seen(vec![another.clone()], vec![cname()]), &[]));
        let own_only = matches!(joined.as_slice(), [Many::Upsert(own)] if own.name == "www.example.org");
        assert!(own_only, "{joined:?}");
        let of_the_site = Records { name: "www.example.org".into(), ..cname() };
        for (answers, other) in [(Vec::new(), cname()), (vec![another], of_the_site)] {
            let planned = planned(&seen(answers, vec![other]), &[]);
            assert!(matches!(planned, RoutingPlan::Refuse(_)), "{planned:?}");
        }
    }

    #[test]
    fn every_kind_of_record_set_at_a_name_has_its_rule() {
        let a = || simple("example.org", RecordType::A, &["198.51.100.1"]);
        let of = Alias { target: "d1.cloudfront.net".into(), zone: "Z2FDTNDATAQYW2".into(), evaluates_health: false };
        let alias = |kind| Records { ttl: None, form: Form::Alias(of.clone()), ..simple("example.org", kind, &[]) };
        let routed = |routing| Records { form: Form::Routed(routing), ..a() };
        let checked = Records { check: Some("c1".into()), ..a() };
        let cname = simple("example.org", RecordType::Cname, &["lb.example.net"]);
        let https = simple("example.org", RecordType::Https, &["0 cdn.example.net."]);
        // Whether it is refused without `adopt`, and with it; and whether it is then deleted.
        let table = [
            (a(), (true, false), true, "leads to 198.51.100.1"),
            (checked, (true, false), true, "leads to 198.51.100.1"),
            (alias(RecordType::A), (true, false), true, "is an alias of d1.cloudfront.net"),
            (alias(RecordType::Aaaa), (true, false), true, "is an alias of d1.cloudfront.net"),
            (routed(RoutingPolicy::Weighted), (true, true), false, "(weighted)"),
            (routed(RoutingPolicy::Latency), (true, true), false, "(latency)"),
            (routed(RoutingPolicy::Failover), (true, true), false, "(failover)"),
            (routed(RoutingPolicy::Geolocation), (true, true), false, "(geolocation)"),
            (routed(RoutingPolicy::Geoproximity), (true, true), false, "(geoproximity)"),
            (routed(RoutingPolicy::IpBased), (true, true), false, "(IP-based)"),
            (Records { form: Form::TrafficPolicy, ..a() }, (true, true), false, "a traffic policy"),
            (cname, (true, true), false, "a CNAME to lb.example.net"),
            (https, (true, false), false, "leads to 0 cdn.example.net. for browsers"),
        ];
        let me = host("i-me", 5);
        let names = names();
        let by_hand = answer("example.org", "blue", "198.51.100.2");
        for (record, refused, deleted, reason) in table {
            for (adopt, refused) in [(false, refused.0), (true, refused.1)] {
                let adopting = DesiredRouting { adopt, ..wanted(&me, &names) };
                let seen = seen(vec![by_hand.clone()], vec![record.clone()]);
                match plan(&adopting, &checks(), &seen, &[]) {
                    RoutingPlan::Refuse(fault) => {
                        assert!(refused && fault.said.contains(reason), "{record:?}, adopt: {adopt}: {fault}");
                        assert!(fault.remedy.is_some(), "{fault}");
                    }
                    RoutingPlan::Change(Batch { steps, .. }) => {
                        assert!(!refused, "{record:?} is taken, adopt: {adopt}");
                        let delete = Many::Simple(RecordChange::Delete(record.clone()));
                        assert_eq!(steps.contains(&delete), deleted, "{record:?}: {steps:?}");
                        assert!(!steps.contains(&Many::Delete(by_hand.clone())), "answers of people are left alone");
                    }
                    other => panic!("{record:?}: {other:?}"),
                }
            }
            // Before there is a certificate nothing is taken at all.
            let adopting = DesiredRouting { adopt: true, certified: false, ..wanted(&me, &names) };
            let seen = seen(Vec::new(), vec![record.clone()]);
            match plan(&adopting, &checks(), &seen, &[]) {
                RoutingPlan::Refuse(_) | RoutingPlan::Wait(_) => {}
                RoutingPlan::Change(_) if record.kind == RecordType::Https => {}
                other => panic!("{record:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn names_that_hosts_answer_for_already_are_joined_whatever_browsers_are_told() {
        let https = simple("example.org", RecordType::Https, &["0 cdn.example.net."]);
        assert!(!steps(planned(&seen(of("i-a", "192.0.2.1"), vec![https]), &[])).is_empty());
    }

    #[test]
    fn host_without_certificate_is_led_to_only_where_no_other_is() {
        let me = host("i-me", 5);
        let names = names();
        let uncertified = DesiredRouting { certified: false, ..wanted(&me, &names) };
        let planned = |seen: &Zoned, gone: &[String]| plan(&uncertified, &checks(), seen, gone);
        assert!(matches!(planned(&seen(Vec::new(), Vec::new()), &[]), RoutingPlan::Change(_)));
        assert_eq!(planned(&seen(of("i-me", "192.0.2.7"), Vec::new()), &[]), leads());
        let others = seen(of("i-a", "192.0.2.1"), Vec::new());
        assert!(matches!(planned(&others, &[]), RoutingPlan::Wait(_)));
        assert!(matches!(planned(&others, &["i-a".to_owned()]), RoutingPlan::Change(_)));
        let people = seen(Vec::new(), vec![simple("example.org", RecordType::A, &["198.51.100.1"])]);
        assert!(matches!(planned(&people, &[]), RoutingPlan::Wait(_)));
    }

    #[test]
    fn departing_host_takes_its_own_records_away_and_no_others() {
        let mine = of("i-me", "192.0.2.7");
        let all = [of("i-a", "192.0.2.1"), mine.clone()].concat();
        assert_eq!(withdrawal("i-me", &mine), [], "nobody else is there: the next host sweeps it");
        let mixed = [of("i-a", "192.0.2.1")[..1].to_vec(), mine.clone()].concat();
        assert_eq!(withdrawal("i-me", &mixed), [Many::Delete(mine[0].clone())], "of the name that others have, too");
        assert_eq!(withdrawal("i-me", &all), mine.into_iter().map(Many::Delete).collect::<Vec<_>>());
        assert_eq!(withdrawal("i-other", &all), []);
    }
}
