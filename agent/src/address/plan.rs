//! What is to be done with the records. Pure: what the zone holds goes in, a batch or a reason for none comes out.

use std::cmp::Ordering;

use super::{LeadsHere, Standing, claim::Claim, claim_name};
use crate::{
    aws::zone::{Kind, Records, Step},
    clock::moment,
    config::Name,
    fault::Fault,
    host::Host,
};

/// What should be.
pub(super) struct Wanted<'a> {
    /// The host that the names should lead to.
    pub(super) host: &'a Host,
    /// The names, the canonical one first.
    pub(super) names: &'a [Name],
    /// Time to live, in seconds.
    pub(super) ttl: u32,
}

/// One batch, and why it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In one phrase.
    pub(super) why: String,
    /// The batch.
    pub(super) steps: Vec<Step>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing: the names lead here.
    Leads(LeadsHere),
    /// This batch.
    Change(Change),
    /// Nothing: a younger host holds the names.
    StandAside(String),
    /// Nothing: a person has to decide.
    Refuse(Fault),
}

/// The claim of a host that was launched after `host`, if there is one.
#[cfg(feature = "fleet")]
pub(super) fn younger_claim(host: &Host, claim_name: &str, seen: &[Records]) -> Option<Claim> {
    let written = seen.iter().find(|set| set.name == claim_name && set.kind == Kind::Txt)?;
    read(written).ok().filter(|claim| claim.launched_against(host) == Ordering::Greater)
}

/// Plans for `wanted`, with what the zone holds at the names and at the claim, and how the claimant stands.
pub(super) fn plan(wanted: &Wanted<'_>, seen: &[Records], claimant: Standing) -> Plan {
    let Some(domain) = wanted.names.first() else {
        return Plan::Refuse(Fault::operator("planning records", "no name", "name a `domain`"));
    };
    let claim_name = claim_name(domain);
    let written = seen.iter().find(|set| set.name == claim_name && set.kind == Kind::Txt);
    let claim = match written.map(read).transpose() {
        Ok(claim) => claim,
        Err(why) => return foreign(&claim_name, &why),
    };
    if let Some(claim) = &claim
        && claimant == Standing::Lives
        && claim.launched_against(wanted.host) == Ordering::Greater
    {
        return Plan::StandAside(format!(
            "{} holds the names since its launch at {}",
            claim.instance,
            moment(claim.launched)
        ));
    }
    let steps = match record_steps(wanted, seen) {
        Ok(steps) => steps,
        Err(fault) => return Plan::Refuse(fault),
    };
    let mine = claim.as_ref().is_some_and(|claim| claim.instance == wanted.host.instance);
    let epoch = claim.as_ref().map_or(0, |claim| claim.epoch);
    if mine && steps.is_empty() {
        return Plan::Leads(LeadsHere { to: addresses(wanted.host).join(" and "), epoch });
    }
    let next = Claim::of(wanted.host, epoch + 1);
    let record =
        Records { name: claim_name, kind: Kind::Txt, ttl: Some(wanted.ttl), values: vec![next.value()], routed: false };
    let fence = written.cloned().map(Step::Delete).into_iter().chain([Step::Create(record)]);
    Plan::Change(Change { why: why(claim.as_ref(), wanted.host), steps: fence.chain(steps).collect() })
}

fn read(written: &Records) -> Result<Claim, String> {
    match written.values.as_slice() {
        [value] => Claim::parse(value),
        values => Err(format!("there are {} values", values.len())),
    }
}

fn foreign(claim_name: &str, why: &str) -> Plan {
    let remedy = "remove that record if it is not needed; it stands where spothost writes who holds the names";
    Plan::Refuse(Fault::operator(format!("reading the claim {claim_name}"), why, remedy))
}

fn why(claim: Option<&Claim>, host: &Host) -> String {
    let to = addresses(host).join(" and ");
    match claim {
        None => format!("leading the names to {to}, which nobody claims"),
        Some(claim) if claim.instance == host.instance => format!("leading the names back to {to}"),
        Some(claim) => format!("leading the names to {to}, after {}", claim.instance),
    }
}

/// The steps for all names; none where all is as it should be.
fn record_steps(wanted: &Wanted<'_>, seen: &[Records]) -> Result<Vec<Step>, Fault> {
    let (v4, v6) = (wanted.host.ipv4.map(|ip| ip.to_string()), wanted.host.ipv6.map(|ip| ip.to_string()));
    let mut steps = Vec::new();
    for name in wanted.names {
        let sets: Vec<_> = seen.iter().filter(|set| set.name == name.as_str()).collect();
        refuse_what_is_in_the_way(name, &sets)?;
        for (kind, address) in [(Kind::A, &v4), (Kind::Aaaa, &v6)] {
            let there = sets.iter().find(|set| set.kind == kind).copied();
            steps.extend(record_step(name, kind, address.as_deref(), there, wanted.ttl)?);
        }
    }
    Ok(steps)
}

fn record_step(
    name: &Name,
    kind: Kind,
    address: Option<&str>,
    there: Option<&Records>,
    ttl: u32,
) -> Result<Option<Step>, Fault> {
    match (address, there) {
        (None, None) => Ok(None),
        (Some(address), Some(set)) if set.values == [address] && set.ttl == Some(ttl) => Ok(None),
        (Some(address), _) => {
            let values = vec![address.to_owned()];
            Ok(Some(Step::Upsert(Records { name: name.to_string(), kind, ttl: Some(ttl), values, routed: false })))
        }
        (None, Some(set)) if set.values.is_empty() => {
            let remedy = "remove it: this host has no address of that family, and visitors would be led elsewhere";
            Err(Fault::operator(format!("reading {name}"), format!("an alias record of type {kind:?}"), remedy))
        }
        (None, Some(set)) => Ok(Some(Step::Delete(set.clone()))),
    }
}

/// An address record cannot stand beside a CNAME (RFC 1034 §3.6.2), nor a simple one beside routed ones.
fn refuse_what_is_in_the_way(name: &Name, sets: &[&Records]) -> Result<(), Fault> {
    let doing = format!("reading {name}");
    if let Some(set) = sets.iter().find(|set| set.kind == Kind::Cname) {
        let said = format!("a CNAME to {}", set.values.join(" "));
        return Err(Fault::operator(doing, said, "remove it: an address cannot stand beside it"));
    }
    if sets.iter().any(|set| set.routed && matches!(set.kind, Kind::A | Kind::Aaaa)) {
        let said = "records with a routing policy";
        return Err(Fault::operator(doing, said, "remove them: a simple record cannot stand beside them"));
    }
    Ok(())
}

fn addresses(host: &Host) -> Vec<String> {
    host.ipv4.map(|ip| ip.to_string()).into_iter().chain(host.ipv6.map(|ip| ip.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use time::{Duration, OffsetDateTime, macros::datetime};

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn host(instance: &str, minute: i64) -> Host {
        Host {
            instance: instance.into(),
            region: "eu-central-1".into(),
            availability_zone: "eu-central-1a".into(),
            launched: NOON + Duration::minutes(minute),
            life_cycle: "spot".into(),
            ipv4: Some(Ipv4Addr::new(192, 0, 2, 7)),
            ipv6: None,
            tags: BTreeMap::new(),
        }
    }

    fn names() -> Vec<Name> {
        vec!["www.example.org".parse().expect("a name"), "example.org".parse().expect("a name")]
    }

    fn set(name: &str, kind: Kind, values: &[&str]) -> Records {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Records { name: name.into(), kind, ttl: Some(60), values, routed: false }
    }

    fn claim(instance: &str, minute: i64, epoch: u64) -> Records {
        let value = Claim::of(&host(instance, minute), epoch).value();
        set("_spothost.www.example.org", Kind::Txt, &[&value])
    }

    fn both(address: &str) -> Vec<Records> {
        vec![set("www.example.org", Kind::A, &[address]), set("example.org", Kind::A, &[address])]
    }

    fn planned(host: &Host, seen: &[Records]) -> Plan {
        plan(&Wanted { host, names: &names(), ttl: 60 }, seen, Standing::Lives)
    }

    fn steps(host: &Host, seen: &[Records]) -> Vec<Step> {
        match planned(host, seen) {
            Plan::Change(change) => change.steps,
            other => panic!("{other:?} is no change"),
        }
    }

    #[test]
    fn empty_zone_gets_all_names_and_the_claim_in_one_batch() {
        let me = host("i-me", 5);
        let expected: Vec<Step> = std::iter::once(Step::Create(claim("i-me", 5, 1)))
            .chain(both("192.0.2.7").into_iter().map(Step::Upsert))
            .collect();
        assert_eq!(steps(&me, &[]), expected);
    }

    #[test]
    fn host_that_holds_the_names_changes_nothing() {
        let mut seen = both("192.0.2.7");
        seen.push(claim("i-me", 5, 4));
        let leads = LeadsHere { to: "192.0.2.7".into(), epoch: 4 };
        assert_eq!(planned(&host("i-me", 5), &seen), Plan::Leads(leads));
    }

    #[test]
    fn older_host_is_succeeded_by_deleting_exactly_its_claim() {
        let mut seen = both("192.0.2.1");
        seen.push(claim("i-old", 1, 4));
        let steps = steps(&host("i-me", 5), &seen);
        assert_eq!(steps[..2], [Step::Delete(claim("i-old", 1, 4)), Step::Create(claim("i-me", 5, 5))]);
        assert_eq!(steps[2..], both("192.0.2.7").into_iter().map(Step::Upsert).collect::<Vec<_>>());
    }

    #[test]
    fn younger_host_is_stood_aside_for_whatever_the_records_say() {
        for seen in [vec![claim("i-new", 9, 4)], [both("192.0.2.7"), vec![claim("i-new", 9, 4)]].concat()] {
            let Plan::StandAside(why) = planned(&host("i-me", 5), &seen) else { panic!("taken") };
            assert!(why.contains("i-new"), "{why}");
        }
    }

    #[test]
    fn younger_host_that_is_gone_is_succeeded_like_an_older_one() {
        let (me, seen) = (host("i-me", 5), [claim("i-new", 9, 4)]);
        let planned = plan(&Wanted { host: &me, names: &names(), ttl: 60 }, &seen, Standing::Gone);
        let Plan::Change(change) = planned else { panic!("{planned:?}") };
        assert_eq!(change.steps[..2], [Step::Delete(claim("i-new", 9, 4)), Step::Create(claim("i-me", 5, 5))]);
    }

    #[test]
    fn hosts_launched_in_the_same_instant_agree_who_is_the_younger() {
        let taken = |me: &str, other: &str| matches!(planned(&host(me, 5), &[claim(other, 5, 1)]), Plan::Change(_));
        assert!(taken("i-b", "i-a") && !taken("i-a", "i-b"));
    }

    #[test]
    fn record_changed_by_hand_is_changed_back_under_a_new_epoch() {
        let mut by_hand = both("192.0.2.7");
        by_hand[1].values = vec!["198.51.100.1".into()];
        by_hand.push(claim("i-me", 5, 4));
        let expected = [
            Step::Delete(claim("i-me", 5, 4)),
            Step::Create(claim("i-me", 5, 5)),
            Step::Upsert(set("example.org", Kind::A, &["192.0.2.7"])),
        ];
        assert_eq!(steps(&host("i-me", 5), &by_hand), expected);
    }

    #[test]
    fn time_to_live_is_corrected_and_a_family_that_the_host_lacks_is_removed() {
        let mut seen = both("192.0.2.7");
        seen[0].ttl = Some(300);
        let aaaa = set("example.org", Kind::Aaaa, &["2001:db8::1"]);
        seen.extend([aaaa.clone(), claim("i-me", 5, 4)]);
        let steps = steps(&host("i-me", 5), &seen);
        assert_eq!(steps[2..], [Step::Upsert(set("www.example.org", Kind::A, &["192.0.2.7"])), Step::Delete(aaaa)]);
    }

    #[test]
    fn what_is_in_the_way_is_left_alone_and_shown() {
        let mut routed = set("example.org", Kind::A, &["192.0.2.9"]);
        routed.routed = true;
        let table = [
            (set("www.example.org", Kind::Cname, &["lb.example.net"]), "lb.example.net"),
            (routed, "routing policy"),
            (set("example.org", Kind::Aaaa, &[]), "alias record"),
            (set("_spothost.www.example.org", Kind::Txt, &["\"hands off\""]), "hands off"),
            (set("_spothost.www.example.org", Kind::Txt, &["\"a\"", "\"b\""]), "2 values"),
        ];
        for (record, reason) in table {
            let Plan::Refuse(fault) = planned(&host("i-me", 5), &[record]) else { panic!("{reason} is not refused") };
            assert!(fault.said.contains(reason), "{fault} does not say {reason}");
        }
    }
}
