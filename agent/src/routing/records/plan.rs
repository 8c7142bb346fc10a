//! The plan for records that move. Pure: the records of the zone go in, a batch or a reason for none comes out.

use crate::{
    aws::{
        Host,
        zone::{RecordChange, Records},
    },
    claim::{
        Claim, Takeover, TakeoverReason,
        records::{ChangeBatch, addresses, claim, fence},
    },
    fault::Fault,
    place::Name,
    routing::{
        foreign::{in_the_way, refuse_what_is_somebody_elses},
        plan::{DesiredRouting, RoutingPlan, record_steps, why},
    },
};

/// Plans for `wanted`, with what the zone holds at the names and at the claim.
pub(crate) fn plan(wanted: &DesiredRouting<'_>, seen: &[Records]) -> RoutingPlan<ChangeBatch> {
    let planned = wanted.names.first().map_or_else(
        || Err(Fault::operator("planning records", "no name", "name a `domain`")),
        |domain| planned(wanted, domain, seen),
    );
    planned.unwrap_or_else(RoutingPlan::Refuse)
}

fn planned(wanted: &DesiredRouting<'_>, domain: &Name, seen: &[Records]) -> Result<RoutingPlan<ChangeBatch>, Fault> {
    let claim = claim(domain, seen)?;
    let (claim, written) = claim.map_or((None, None), |(claim, written)| (Some(claim), Some(written)));
    let takeover = wanted.takeover(claim.as_ref());
    if let (Takeover::StandAside, Some(claim)) = (takeover, &claim) {
        return Ok(RoutingPlan::StandAside(claim.clone()));
    }
    let steps = record_steps(wanted, seen, claim.is_some())?;
    if takeover == Takeover::Take(TakeoverReason::Unclaimed) {
        let ours = addresses(wanted.host);
        refuse_what_is_somebody_elses(wanted.names, seen, &ours, wanted.adopt, wanted.certified)?;
    }
    if let (Takeover::Hold, Some(claim), true) = (takeover, &claim, steps.is_empty())
        && wanted.is_said_by(claim)
    {
        return Ok(RoutingPlan::Leads(wanted.held(addresses(wanted.host).join(" and "), claim)));
    }
    let next = wanted.next(claim.as_ref(), takeover);
    let why = why(claim.as_ref(), takeover, wanted.host, steps.is_empty());
    let steps = fence(domain, written, &next, wanted.ttl).into_iter().chain(steps).collect();
    Ok(RoutingPlan::Change(ChangeBatch { why, steps }))
}

/// The batch that removes what leads to a host which holds the names; none where another has followed, or the records are
/// no longer as it made them. What people have put at a name, and hosts leave out, stays. The claim stays, and says that
/// the host goes: the next host reads there how many hosts the fleet has at rest, and whether a place is to be given
/// back.
///
/// # Errors
/// Where something else stands in the claim's place.
pub(super) fn removal(host: &Host, names: &[Name], seen: &[Records]) -> Result<Option<ChangeBatch>, Fault> {
    let Some(domain) = names.first() else { return Ok(None) };
    let Some((claim, written)) = claim(domain, seen)? else { return Ok(None) };
    let ours = addresses(host);
    // Nothing of people's is taken over here, so it makes no difference whether it might be.
    let ours_to_lead: Vec<&Name> = names.iter().filter(|name| in_the_way(name, seen, false).is_none()).collect();
    let leads = |set: &&Records| set.is_address() && ours_to_lead.iter().any(|name| name.as_str() == set.name);
    let sets: Vec<_> = seen.iter().filter(leads).collect();
    let as_made = sets.iter().all(|set| set.is_simple() && set.values.iter().all(|value| ours.contains(value)));
    if claim.instance != host.instance || !as_made || sets.is_empty() {
        return Ok(None);
    }
    let next = Claim { epoch: claim.epoch + 1, departing: true, ..claim };
    let fenced = fence(domain, Some(written), &next, written.ttl.unwrap_or(60));
    let steps = fenced.into_iter().chain(sets.into_iter().cloned().map(RecordChange::Delete)).collect();
    Ok(Some(ChangeBatch { why: format!("removing the records of {}, which is leaving", host.instance), steps }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aws::{
            host::tests::host,
            zone::{Alias, Form, RecordType, RoutingPolicy},
        },
        claim::{Liveness, RoutedHere, records::departing},
        fault::Cure,
        routing::{foreign::left_out, plan::wanted},
    };

    fn names() -> Vec<Name> {
        vec!["www.example.org".parse().expect("a name"), "example.org".parse().expect("a name")]
    }

    fn set(name: &str, kind: RecordType, values: &[&str]) -> Records {
        Records::simple(name, kind, 60, values.iter().map(|value| (*value).to_owned()).collect())
    }

    fn claim(instance: &str, minute: i64, epoch: u64) -> Records {
        let value = Claim::of(&host(instance, minute), epoch).value();
        set("_spothost.www.example.org", RecordType::Txt, &[&value])
    }

    fn both(address: &str) -> Vec<Records> {
        vec![set("www.example.org", RecordType::A, &[address]), set("example.org", RecordType::A, &[address])]
    }

    fn planned(host: &Host, seen: &[Records]) -> RoutingPlan<ChangeBatch> {
        plan(&wanted(host, &names()), seen)
    }

    fn steps(host: &Host, seen: &[Records]) -> Vec<RecordChange> {
        match planned(host, seen) {
            RoutingPlan::Change(change) => change.steps,
            other => panic!("{other:?} is no change"),
        }
    }

    #[test]
    fn empty_zone_gets_all_names_and_the_claim_in_one_batch() {
        let me = host("i-me", 5);
        let expected: Vec<RecordChange> = std::iter::once(RecordChange::Create(claim("i-me", 5, 1)))
            .chain(both("192.0.2.7").into_iter().map(RecordChange::Upsert))
            .collect();
        assert_eq!(steps(&me, &[]), expected);
    }

    #[test]
    fn host_that_holds_the_names_changes_nothing() {
        let mut seen = both("192.0.2.7");
        seen.push(claim("i-me", 5, 4));
        let leads = RoutedHere { to: "192.0.2.7".into(), epoch: 4, target: None, asked_in: None };
        assert_eq!(planned(&host("i-me", 5), &seen), RoutingPlan::Leads(leads));
    }

    #[test]
    fn older_host_is_succeeded_by_deleting_exactly_its_claim() {
        let mut seen = both("192.0.2.1");
        seen.push(claim("i-old", 1, 4));
        let steps = steps(&host("i-me", 5), &seen);
        assert_eq!(steps[..2], [RecordChange::Delete(claim("i-old", 1, 4)), RecordChange::Create(claim("i-me", 5, 5))]);
        assert_eq!(steps[2..], both("192.0.2.7").into_iter().map(RecordChange::Upsert).collect::<Vec<_>>());
    }

    #[test]
    fn younger_host_is_stood_aside_for_whatever_the_records_say() {
        for seen in [vec![claim("i-new", 9, 4)], [both("192.0.2.7"), vec![claim("i-new", 9, 4)]].concat()] {
            let RoutingPlan::StandAside(claim) = planned(&host("i-me", 5), &seen) else { panic!("taken") };
            assert_eq!(claim.instance, "i-new");
        }
    }

    #[test]
    fn younger_host_that_is_gone_is_succeeded_like_an_older_one() {
        let me = host("i-me", 5);
        let seen = [claim("i-new", 9, 4)];
        let planned = plan(&DesiredRouting { claimant: Liveness::Gone, ..wanted(&me, &names()) }, &seen);
        let RoutingPlan::Change(change) = planned else { panic!("{planned:?}") };
        let over = Claim { over: Some("i-new".into()), ..Claim::of(&me, 5) };
        let over = set("_spothost.www.example.org", RecordType::Txt, &[&over.value()]);
        assert_eq!(change.steps[..2], [RecordChange::Delete(claim("i-new", 9, 4)), RecordChange::Create(over)]);
    }

    #[test]
    fn records_that_nobody_claims_are_adopted_only_where_that_is_allowed() {
        let me = host("i-me", 5);
        let names = names();
        let theirs = both("198.51.100.1");
        let RoutingPlan::Refuse(fault) = planned(&me, &theirs) else { panic!("taken") };
        assert!(fault.said.contains("www.example.org leads to 198.51.100.1"), "{fault}");
        assert!(fault.remedy.as_ref().is_some_and(|remedy| remedy.contains("adopt = true")), "{fault}");
        let adopted = plan(&DesiredRouting { adopt: true, ..wanted(&me, &names) }, &theirs);
        assert!(matches!(adopted, RoutingPlan::Change(_)), "{adopted:?}");
        // Its own records without their claim are no stranger's.
        assert!(matches!(planned(&me, &both("192.0.2.7")), RoutingPlan::Change(_)));
    }

    #[test]
    fn host_without_certificate_claims_only_an_empty_place_and_says_that_it_waits() {
        let me = host("i-me", 5);
        let names = names();
        let planned = |adopt, seen: &[Records], claimant| {
            plan(&DesiredRouting { adopt, claimant, certified: false, ..wanted(&me, &names) }, seen)
        };
        let waiting =
            set("_spothost.www.example.org", RecordType::Txt, &[&Claim { waiting: true, ..Claim::of(&me, 1) }.value()]);
        let RoutingPlan::Change(change) = planned(false, &[], Liveness::Lives) else { panic!("it is dark") };
        let expected: Vec<_> = std::iter::once(RecordChange::Create(waiting.clone()))
            .chain(both("192.0.2.7").into_iter().map(RecordChange::Upsert))
            .collect();
        assert_eq!(change.steps, expected);

        // It holds that, and no more; with its certificate it says that it waits no longer.
        let mine = [both("192.0.2.7"), vec![waiting.clone()]].concat();
        assert!(matches!(planned(false, &mine, Liveness::Lives), RoutingPlan::Leads(_)));
        assert_eq!(
            steps(&me, &mine),
            [RecordChange::Delete(waiting.clone()), RecordChange::Create(claim("i-me", 5, 2))]
        );
        // One that has lost its certificate says so, for others to follow.
        let lost = [both("192.0.2.7"), vec![claim("i-me", 5, 4)]].concat();
        let RoutingPlan::Change(change) = planned(false, &lost, Liveness::Lives) else { panic!("it does not say so") };
        assert!(
            matches!(&change.steps[1], RecordChange::Create(set) if set.values[0].contains(" waiting")),
            "{change:?}"
        );

        // A host with a certificate follows at once, also the older one.
        let theirs = [both("192.0.2.7"), vec![waiting]].concat();
        let RoutingPlan::Change(change) = plan(&wanted(&host("i-old", 1), &names), &theirs) else {
            panic!("it stands aside for one that cannot serve")
        };
        assert!(change.why.contains("waits for its certificate"), "{}", change.why);

        // Where somebody may be led already nothing is taken: a living claimant, or records of people.
        let claimed = [both("192.0.2.1"), vec![claim("i-old", 1, 4)]].concat();
        assert!(matches!(planned(false, &claimed, Liveness::Lives), RoutingPlan::StandAside(_)));
        assert!(matches!(planned(false, &claimed, Liveness::Gone), RoutingPlan::Change(_)));
        for (adopt, reason) in [(false, "no host claims it"), (true, "no certificate yet")] {
            let RoutingPlan::Refuse(fault) = planned(adopt, &both("198.51.100.1"), Liveness::Lives) else {
                panic!("taken")
            };
            assert!(fault.said.contains(reason), "{fault}");
        }
    }

    #[test]
    fn departing_host_changes_its_claim_and_nothing_else() {
        let me = host("i-me", 5);
        let mut seen = both("192.0.2.7");
        seen.push(claim("i-me", 5, 4));
        let domain = &names()[0];
        let change = departing(&me, domain, &seen, true, None).expect("a claim").expect("it is mine");
        let says = Claim { departing: true, asked: true, ..Claim::of(&me, 5) };
        let says = set("_spothost.www.example.org", RecordType::Txt, &[&says.value()]);
        assert_eq!(change.steps, [RecordChange::Delete(claim("i-me", 5, 4)), RecordChange::Create(says.clone())]);
        assert_eq!(departing(&me, domain, std::slice::from_ref(&says), true, None), Ok(None), "it has said so");
        assert_eq!(departing(&host("i-other", 1), domain, &seen, true, None), Ok(None), "it is another's");
        assert_eq!(departing(&me, domain, &[], true, None), Ok(None), "there is none");

        // No other host knows how many hosts the fleet had before it was asked, unless the claim says it already.
        let noted = departing(&me, domain, &seen, true, Some(1)).expect("a claim").expect("it is mine");
        assert!(
            matches!(&noted.steps[1], RecordChange::Create(set) if set.values[0].contains(" target=1 ")),
            "{noted:?}"
        );

        // One that stays after all says that too.
        let back = [both("192.0.2.7"), vec![says.clone()]].concat();
        assert_eq!(steps(&me, &back), [RecordChange::Delete(says), RecordChange::Create(claim("i-me", 5, 6))]);
    }

    #[test]
    fn records_of_a_departing_host_are_removed_only_as_it_made_them() {
        let me = host("i-me", 5);
        let names = names();
        let seen = [both("192.0.2.7"), vec![claim("i-me", 5, 4)]].concat();
        let change = removal(&me, &names, &seen).expect("a claim").expect("all of it is mine");
        let says = Claim { departing: true, ..Claim::of(&me, 5) };
        let says = set("_spothost.www.example.org", RecordType::Txt, &[&says.value()]);
        let gone = both("192.0.2.7").into_iter().map(RecordChange::Delete);
        let expected: Vec<_> =
            [RecordChange::Delete(claim("i-me", 5, 4)), RecordChange::Create(says)].into_iter().chain(gone).collect();
        assert_eq!(change.steps, expected);
        let followed = [both("192.0.2.7"), vec![claim("i-new", 9, 5)]].concat();
        assert_eq!(removal(&me, &names, &followed), Ok(None), "another has followed");
        let edited = [both("198.51.100.1"), vec![claim("i-me", 5, 4)]].concat();
        assert_eq!(removal(&me, &names, &edited), Ok(None), "somebody has changed them");
        assert_eq!(removal(&me, &names, &both("192.0.2.7")), Ok(None), "nobody claims them");
    }

    #[test]
    fn what_the_fleet_has_at_rest_is_noted_once_and_handed_on() {
        let me = host("i-me", 5);
        let names = names();
        let mine = [both("192.0.2.7"), vec![claim("i-me", 5, 4)]].concat();
        let knowing = DesiredRouting { target: Some(1), ..wanted(&me, &names) };
        let noted = set(
            "_spothost.www.example.org",
            RecordType::Txt,
            &[&Claim { target: Some(1), ..Claim::of(&me, 5) }.value()],
        );
        let planned = plan(&knowing, &mine);
        let RoutingPlan::Change(change) = planned else { panic!("{planned:?}") };
        assert_eq!(change.steps, [RecordChange::Delete(claim("i-me", 5, 4)), RecordChange::Create(noted.clone())]);

        // Another value found later, by this host or a successor, does not change it.
        let next = host("i-next", 9);
        let later = DesiredRouting { target: Some(2), ..wanted(&next, &names) };
        let RoutingPlan::Change(change) = plan(&later, &[noted]) else { panic!("it stands aside") };
        let RecordChange::Create(created) = &change.steps[1] else { panic!("{change:?}") };
        assert_eq!(Claim::parse(&created.values[0]).map(|claim| claim.target), Ok(Some(1)));
    }

    #[test]
    fn what_a_fleet_elsewhere_has_at_rest_is_handed_on_and_not_taken_for_this_ones() {
        let me = host("i-me", 5);
        let names = names();
        let elsewhere = Host { region: "us-east-1".into(), ..host("i-other", 9) };
        let theirs = Claim { target: Some(2), ..Claim::of(&elsewhere, 4) };
        let theirs = set("_spothost.www.example.org", RecordType::Txt, &[&theirs.value()]);
        let written = |host: &Host, target, seen: &[Records]| {
            let wanted = DesiredRouting { target, claimant: Liveness::Gone, ..wanted(host, &names) };
            let RoutingPlan::Change(change) = plan(&wanted, seen) else { panic!("it stands aside") };
            let created = change.steps.iter().find_map(|step| match step {
                RecordChange::Create(set) => Some(set.clone()),
                _ => None,
            });
            created.expect("a claim")
        };
        let read = |set: &Records| Claim::parse(&set.values[0]).expect("a claim");
        let mine = written(&me, Some(1), std::slice::from_ref(&theirs));
        assert_eq!(
            (read(&mine).target, read(&mine).elsewhere),
            (Some(1), elsewhere.location().map(|there| (there, 2)))
        );
        // Back there, each knows its own again, whatever a host finds when it boots.
        let back = written(&elsewhere, Some(3), std::slice::from_ref(&mine));
        assert_eq!((read(&back).target, read(&back).elsewhere), (Some(2), me.location().map(|here| (here, 1))));
        let again = written(&Host { instance: "i-next".into(), ..elsewhere }, None, std::slice::from_ref(&back));
        assert_eq!((read(&again).target, read(&again).elsewhere), (Some(2), me.location().map(|here| (here, 1))));
    }

    #[test]
    fn own_claim_of_an_older_program_is_written_anew_to_say_where_it_is() {
        let older = Claim { location: None, ..Claim::of(&host("i-me", 5), 4) };
        let older = set("_spothost.www.example.org", RecordType::Txt, &[&older.value()]);
        let seen = [both("192.0.2.7"), vec![older.clone()]].concat();
        assert_eq!(
            steps(&host("i-me", 5), &seen),
            [RecordChange::Delete(older), RecordChange::Create(claim("i-me", 5, 5))]
        );
    }

    #[test]
    fn hosts_launched_in_the_same_instant_agree_who_is_the_younger() {
        let taken =
            |me: &str, other: &str| matches!(planned(&host(me, 5), &[claim(other, 5, 1)]), RoutingPlan::Change(_));
        assert!(taken("i-b", "i-a") && !taken("i-a", "i-b"));
    }

    #[test]
    fn record_changed_by_hand_is_changed_back_under_a_new_epoch() {
        let mut by_hand = both("192.0.2.7");
        by_hand[1].values = vec!["198.51.100.1".into()];
        by_hand.push(claim("i-me", 5, 4));
        let expected = [
            RecordChange::Delete(claim("i-me", 5, 4)),
            RecordChange::Create(claim("i-me", 5, 5)),
            RecordChange::Upsert(set("example.org", RecordType::A, &["192.0.2.7"])),
        ];
        assert_eq!(steps(&host("i-me", 5), &by_hand), expected);
    }

    #[test]
    fn time_to_live_is_corrected_and_a_family_that_the_host_lacks_is_removed() {
        let mut seen = both("192.0.2.7");
        seen[0].ttl = Some(300);
        let aaaa = set("example.org", RecordType::Aaaa, &["2001:db8::1"]);
        seen.extend([aaaa.clone(), claim("i-me", 5, 4)]);
        let steps = steps(&host("i-me", 5), &seen);
        assert_eq!(
            steps[2..],
            [RecordChange::Upsert(set("www.example.org", RecordType::A, &["192.0.2.7"])), RecordChange::Delete(aaaa)]
        );
    }

    #[test]
    fn something_else_in_the_place_of_the_claim_is_left_alone_and_shown() {
        let routed = |set: Records| Records { form: Form::Routed(RoutingPolicy::Weighted), ..set };
        let here = |values: &[&str]| set("_spothost.www.example.org", RecordType::Txt, values);
        let table = [
            (here(&["\"hands off\""]), "hands off"),
            (here(&["\"a\"", "\"b\""]), "2 values"),
            (alias("_spothost.www.example.org", RecordType::Txt), "is an alias of d1.cloudfront.net"),
            (routed(claim("i-old", 1, 4)), "routing policy (weighted)"),
            (set("_spothost.www.example.org", RecordType::Cname, &["txt.example.net"]), "a CNAME, which leads to txt"),
        ];
        for (record, reason) in table {
            let RoutingPlan::Refuse(fault) = planned(&host("i-me", 5), &[record]) else {
                panic!("{reason} is not refused")
            };
            assert!(fault.said.contains(reason), "{fault} does not say {reason}");
        }
        // Addresses there are no business of hosts, and a health check on the claim is deleted with it.
        let beside = [set("_spothost.www.example.org", RecordType::A, &["192.0.2.9"])];
        assert!(matches!(planned(&host("i-me", 5), &beside), RoutingPlan::Change(_)));
        let checked = Records { check: Some("c1".into()), ..claim("i-old", 1, 4) };
        assert_eq!(steps(&host("i-me", 5), std::slice::from_ref(&checked))[0], RecordChange::Delete(checked));
    }

    fn alias(name: &str, kind: RecordType) -> Records {
        let of = Alias { target: "d1.cloudfront.net".into(), zone: "Z2FDTNDATAQYW2".into(), evaluates_health: false };
        Records { ttl: None, form: Form::Alias(of), ..set(name, kind, &[]) }
    }

    /// The fate of a record set that people have made.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Becomes {
        /// It is left alone, no name is led here, and `status` says why.
        LeftAlone,
        /// It is left alone, the other names are led here, and `status` says why.
        LeftOut,
        /// Nothing is led here yet, which time may cure.
        LeftForNow,
        /// It is replaced, or deleted.
        Taken,
        /// It stays, and the names lead here.
        Beside,
    }

    /// What becomes of `set`, and what is said.
    fn becomes(planned: &RoutingPlan<ChangeBatch>, set: &Records, adopt: bool) -> (Becomes, String) {
        let at = |step: &RecordChange, name: &str| match step {
            RecordChange::Delete(one) | RecordChange::Upsert(one) | RecordChange::Create(one) => one.name == name,
        };
        let touched = |step: &RecordChange| match step {
            RecordChange::Delete(one) | RecordChange::Upsert(one) => (&one.name, one.kind) == (&set.name, set.kind),
            RecordChange::Create(_) => false,
        };
        match planned {
            RoutingPlan::Refuse(fault) if fault.cure == Cure::Operator => (Becomes::LeftAlone, fault.to_string()),
            RoutingPlan::Refuse(fault) => (Becomes::LeftForNow, fault.to_string()),
            RoutingPlan::Change(change) if change.steps.iter().any(touched) => (Becomes::Taken, String::new()),
            RoutingPlan::Change(change) if !change.steps.iter().any(|step| at(step, &set.name)) => {
                let fault =
                    left_out(&names(), std::slice::from_ref(set), adopt).expect("a name that is left out is told");
                (Becomes::LeftOut, fault.to_string())
            }
            RoutingPlan::Change(_) | RoutingPlan::Leads(_) => (Becomes::Beside, String::new()),
            RoutingPlan::StandAside(claim) => panic!("stands aside for {claim}"),
            RoutingPlan::Wait(need) => panic!("waits for {need}"),
        }
    }

    #[test]
    fn every_kind_of_record_set_at_a_name_has_its_rule() {
        use Becomes::{Beside, LeftAlone, LeftForNow, LeftOut, Taken};
        let a = || set("example.org", RecordType::A, &["198.51.100.1"]);
        let aaaa = || set("example.org", RecordType::Aaaa, &["2001:db8::1"]);
        let routed = |routing| Records { form: Form::Routed(routing), ..a() };
        let checked = |set: Records| Records { check: Some("c1".into()), ..set };
        let https = |value: &str| set("example.org", RecordType::Https, &[value]);
        let cname = set("example.org", RecordType::Cname, &["lb.example.net"]);
        // Unclaimed without a certificate and with one, then claimed by a host that is followed; each with `adopt` unset and set.
        let people = [LeftAlone, LeftForNow, LeftAlone, Taken, Taken, Taken];
        let aliased = [LeftAlone, LeftForNow, LeftAlone, Taken, LeftOut, Taken];
        let never = [LeftAlone, LeftAlone, LeftAlone, LeftAlone, LeftOut, LeftOut];
        let browsers = [LeftAlone, LeftForNow, LeftAlone, Beside, Beside, Beside];
        let table = [
            (a(), people, "leads to 198.51.100.1"),
            (aaaa(), people, "leads to 2001:db8::1"),
            (checked(a()), people, "leads to 198.51.100.1"),
            (alias("example.org", RecordType::A), aliased, "is an alias of d1.cloudfront.net"),
            (alias("example.org", RecordType::Aaaa), aliased, "is an alias of d1.cloudfront.net"),
            (checked(alias("example.org", RecordType::A)), aliased, "is an alias of d1.cloudfront.net"),
            (routed(RoutingPolicy::Weighted), never, "(weighted)"),
            (routed(RoutingPolicy::Latency), never, "(latency)"),
            (routed(RoutingPolicy::Failover), never, "(failover)"),
            (routed(RoutingPolicy::Geolocation), never, "(geolocation)"),
            (routed(RoutingPolicy::Geoproximity), never, "(geoproximity)"),
            (routed(RoutingPolicy::Multivalue), never, "(multivalue answer)"),
            (routed(RoutingPolicy::IpBased), never, "(IP-based)"),
            (routed(RoutingPolicy::Other), never, "routing policy"),
            (Records { form: Form::TrafficPolicy, ..a() }, never, "a traffic policy"),
            (cname.clone(), never, "a CNAME to lb.example.net"),
            (Records { form: Form::Routed(RoutingPolicy::Weighted), ..cname }, never, "a CNAME, which has records"),
            (alias("example.org", RecordType::Cname), never, "a CNAME, which is an alias of d1"),
            (https("0 cdn.example.net."), browsers, "leads to 0 cdn.example.net. for browsers"),
            (https("1 . ipv4hint=198.51.100.1"), browsers, "for browsers (type HTTPS)"),
            (alias("example.org", RecordType::Https), browsers, "is an alias of d1.cloudfront.net for browsers"),
            (https("1 . alpn=\"h2\""), [Beside; 6], ""),
            (set("example.org", RecordType::Txt, &["\"v=spf1 -all\""]), [Beside; 6], ""),
        ];
        let me = host("i-me", 5);
        let names = names();
        // The site's own name is never left out.
        let own = table.iter().map(|(record, expected, reason)| {
            let record = Records { name: "www.example.org".into(), ..record.clone() };
            (record, expected.map(|is| if is == LeftOut { LeftAlone } else { is }), *reason)
        });
        let further = table.iter().cloned();
        for (record, expected, reason) in further.chain(own) {
            let claimed = [record.clone(), claim("i-gone", 9, 4)];
            let ways = [(false, false), (false, true), (true, false), (true, true)]
                .map(|(certified, adopt)| (certified, adopt, std::slice::from_ref(&record)))
                .into_iter()
                .chain([(true, false, &claimed[..]), (true, true, &claimed[..])]);
            for ((certified, adopt, seen), expected) in ways.zip(expected) {
                let wanted = DesiredRouting { adopt, certified, claimant: Liveness::Gone, ..wanted(&me, &names) };
                let (is, said) = becomes(&plan(&wanted, seen), &record, adopt);
                let what = format!("{record:?}, certified: {certified}, adopt: {adopt}, of {}", seen.len());
                assert_eq!(is, expected, "{what}: {said}");
                assert!(matches!(is, Taken | Beside) || said.contains(reason), "{what}: {said} does not say {reason}");
            }
        }
    }

    #[test]
    fn host_that_departs_deletes_no_record_that_it_did_not_make() {
        let me = host("i-me", 5);
        let names = names();
        let mine = || set("www.example.org", RecordType::A, &["192.0.2.7"]);
        let changed = Records { check: Some("c1".into()), ..set("example.org", RecordType::A, &["192.0.2.7"]) };
        let seen = [mine(), changed, claim("i-me", 5, 4)];
        assert_eq!(removal(&me, &names, &seen), Ok(None), "{seen:?}");
        // A name that was left out is left out.
        for other in [
            alias("example.org", RecordType::A),
            Records {
                form: Form::Routed(RoutingPolicy::Weighted),
                ..set("example.org", RecordType::A, &["192.0.2.7"])
            },
        ] {
            let seen = [mine(), other, claim("i-me", 5, 4)];
            let Ok(Some(change)) = removal(&me, &names, &seen) else { panic!("its own record stays: {seen:?}") };
            let deleted: Vec<_> = change.steps.iter().filter(|step| matches!(step, RecordChange::Delete(_))).collect();
            assert_eq!(deleted, [&RecordChange::Delete(claim("i-me", 5, 4)), &RecordChange::Delete(mine())]);
        }
    }
}
