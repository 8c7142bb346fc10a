//! The fleet that starts hosts: Spot Fleet, EC2 Fleet or Auto Scaling group.

use std::collections::BTreeMap;

use super::{
    Aws,
    compute::{Adapter, Capacity, Compute as _, FleetService},
    instances::Instances,
};
use crate::{
    aws::FleetState,
    fault::{Cause, Fault},
};

/// A fleet of this account and region.
#[derive(Clone, Debug)]
pub struct AwsFleet {
    kind: FleetService,
    compute: Adapter,
}

type Named = fn(String) -> FleetService;

/// The tags by which AWS says which fleet an instance is of.
const TAGS: [(&str, Named); 3] = [
    ("aws:ec2spot:fleet-request-id", FleetService::Spot),
    ("aws:ec2:fleet-id", FleetService::Ec2),
    ("aws:autoscaling:groupName", FleetService::Group),
];

impl FleetService {
    fn named(id: &str) -> FleetService {
        match id {
            id if id.starts_with("sfr-") => FleetService::Spot(id.to_owned()),
            id if id.starts_with("fleet-") => FleetService::Ec2(id.to_owned()),
            name => FleetService::Group(name.to_owned()),
        }
    }

    /// A group started by an EC2 Fleet of its own has the tags of both: the group is the one to be asked.
    fn tagged(tags: &BTreeMap<String, String>) -> Option<FleetService> {
        TAGS.iter().rev().find_map(|(key, kind)| tags.get(*key).map(|id| kind(id.clone())))
    }

    /// The command that gives it a tag.
    fn command_to_tag(&self, key: &str, value: &str) -> String {
        match self {
            FleetService::Spot(id) | FleetService::Ec2(id) => {
                format!("aws ec2 create-tags --resources {id} --tags Key={key},Value={value}")
            }
            FleetService::Group(name) => format!(
                "aws autoscaling create-or-update-tags --tags ResourceId={name},ResourceType=auto-scaling-group,Key={key},\
                 Value={value},PropagateAtLaunch=false"
            ),
        }
    }

    /// The same fault; where the caller may not, with the tag by which the policy knows the fleets of the site.
    fn perhaps_untagged(&self, fault: Fault) -> Fault {
        let denied = fault.cause == Cause::Denied;
        let Some(remedy) = fault.remedy.as_ref().filter(|_| denied) else { return fault };
        let tag = self.command_to_tag("spothost:domain", "DOMAIN-OF-THE-SITE");
        Fault { remedy: Some(format!("{remedy}; it is allowed on fleets with the tag of the site: {tag}")), ..fault }
    }
}

impl AwsFleet {
    /// The fleet of that id or name.
    pub fn named(aws: &Aws, id: &str) -> AwsFleet {
        AwsFleet::of(aws, FleetService::named(id))
    }

    /// The fleet that `instance` says it is of, by its tags: those in metadata, else those EC2 knows.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn found(aws: &Aws, instance: &str, tags: &BTreeMap<String, String>) -> Result<Option<AwsFleet>, Fault> {
        if let Some(kind) = FleetService::tagged(tags) {
            return Ok(Some(AwsFleet::of(aws, kind)));
        }
        // Metadata that shows tags shows these too.
        if !tags.is_empty() {
            return Ok(None);
        }
        let tags = Instances::new(aws).tags(instance).await?;
        Ok(FleetService::tagged(&tags).map(|kind| AwsFleet::of(aws, kind)))
    }

    fn of(aws: &Aws, kind: FleetService) -> AwsFleet {
        AwsFleet { kind, compute: Adapter::new(aws) }
    }

    /// Its id or name.
    pub fn id(&self) -> &str {
        match &self.kind {
            FleetService::Spot(id) | FleetService::Ec2(id) | FleetService::Group(id) => id,
        }
    }

    /// Target, members, and whether it is at rest.
    ///
    /// # Errors
    /// What AWS refuses; a fleet that does not exist, or whose target does not count hosts.
    pub async fn look(&self) -> Result<FleetState, Fault> {
        self.state_of(&self.members().await?).await
    }

    /// The same, of hosts that were named already.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub async fn state_of(&self, members: &[String]) -> Result<FleetState, Fault> {
        let doing = self.doing("looking at");
        let capacity = self.capacity(&doing).await?;
        counts_hosts(&doing, &capacity)?;
        Ok(FleetState {
            target: capacity.target,
            members: u32::try_from(members.len()).unwrap_or(u32::MAX),
            settled: capacity.settled,
            floor: None,
            leaves_in_one: matches!(self.kind, FleetService::Group(_)),
        })
    }

    async fn capacity(&self, doing: &str) -> Result<Capacity, Fault> {
        self.compute.capacity(&self.kind, doing).await?.ok_or_else(|| missing(doing))
    }

    /// Instance ids of the hosts it counts.
    ///
    /// # Errors
    /// As [`AwsFleet::look`].
    pub async fn members(&self) -> Result<Vec<String>, Fault> {
        self.compute.members(&self.kind, &self.doing("looking at the hosts of")).await
    }

    /// Its tags.
    ///
    /// # Errors
    /// What AWS refuses; a fleet that does not exist.
    pub async fn tags(&self) -> Result<BTreeMap<String, String>, Fault> {
        Ok(self.capacity(&self.doing("looking at the tags of")).await?.tags)
    }

    /// The command that gives it a tag.
    pub fn command_to_tag(&self, key: &str, value: &str) -> String {
        self.kind.command_to_tag(key, value)
    }

    /// Sets how many hosts it is to have; none is ended for it.
    ///
    /// # Errors
    /// What AWS refuses.
    pub async fn set_target(&self, target: u32) -> Result<(), Fault> {
        let doing = format!("{} to {target}", self.doing("setting the target of"));
        let number = i32::try_from(target).unwrap_or(i32::MAX);
        let sent = self.compute.set_target(&self.kind, number, &doing).await;
        sent.map_err(|fault| self.kind.perhaps_untagged(fault))
    }

    /// Ends `instance`. A group lowers its target with it, unless the instance is to be `replaced`.
    ///
    /// # Errors
    /// What AWS refuses.
    pub async fn end(&self, instance: &str, replaced: bool) -> Result<(), Fault> {
        let doing = format!("ending {instance} of {}", self.id());
        let ended = self.compute.end(&self.kind, instance, replaced, &doing).await;
        match &self.kind {
            FleetService::Group(_) => ended.map_err(|fault| self.kind.perhaps_untagged(fault)),
            FleetService::Spot(_) | FleetService::Ec2(_) => ended,
        }
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} the fleet {}", self.id())
    }
}

/// A target may be said in units of which one host has several, in vCPU or in memory: then it is no number of hosts, and one
/// less of it would not be one host less.
fn counts_hosts(doing: &str, capacity: &Capacity) -> Result<(), Fault> {
    let weight = capacity.weights.iter().find(|weight| (*weight - 1.0).abs() > f64::EPSILON);
    let said = match (weight, &capacity.unit) {
        (Some(weight), _) => format!("its target is in units of which one host counts {weight}"),
        (None, Some(unit)) => format!("its target is in {unit}"),
        (None, None) => return Ok(()),
    };
    let remedy = "make one whose target is a number of hosts: leave out WeightedCapacity, and the type of the capacity";
    Err(Fault::operator(doing, said, remedy))
}

fn missing(doing: &str) -> Fault {
    Fault::operator(doing, "there is none of that name", "correct [fleet] id in the configuration")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::refusal::refused;

    #[test]
    fn target_that_counts_something_else_than_hosts_is_refused() {
        let table: [(&[f64], Option<&str>, Option<&str>); 6] = [
            (&[], None, None),
            (&[1.0], None, None),
            (&[1.0, 4.0], None, Some("one host counts 4")),
            (&[0.5], None, Some("one host counts 0.5")),
            (&[], Some("vcpu"), Some("in vcpu")),
            (&[1.0], Some("vcpu"), Some("in vcpu")),
        ];
        for (weights, unit, refused) in table {
            let capacity = Capacity { weights: weights.to_vec(), unit: unit.map(str::to_owned), ..Capacity::default() };
            let counted = counts_hosts("looking at the fleet www", &capacity);
            match (counted, refused) {
                (Ok(()), None) => {}
                (Err(fault), Some(why)) => assert!(fault.said.contains(why), "{fault}"),
                (counted, refused) => panic!("{weights:?} in {unit:?}: {counted:?}, not {refused:?}"),
            }
        }
    }

    #[test]
    fn refused_change_of_a_fleet_names_the_tag_that_the_policy_looks_at() {
        let denied = refused("setting", "ec2:ModifyFleet", "UnauthorizedOperation", "no");
        let other = refused("setting", "ec2:ModifyFleet", "InvalidFleetId", "no");
        for (id, command) in [
            ("fleet-1", "create-tags --resources fleet-1 --tags Key=spothost:domain"),
            ("sfr-1", "create-tags --resources sfr-1"),
            ("www", "create-or-update-tags --tags ResourceId=www,ResourceType=auto-scaling-group,Key=spothost:domain"),
        ] {
            let kind = FleetService::named(id);
            let remedy = kind.perhaps_untagged(denied.clone()).remedy.expect("a remedy");
            assert!(remedy.starts_with("allow ec2:ModifyFleet") && remedy.contains(command), "{remedy}");
            assert_eq!(kind.perhaps_untagged(other.clone()), other);
        }
    }

    #[test]
    fn fleet_is_known_by_its_id_or_by_the_tags_that_aws_sets() {
        assert_eq!(FleetService::named("sfr-1"), FleetService::Spot("sfr-1".into()));
        assert_eq!(FleetService::named("fleet-1"), FleetService::Ec2("fleet-1".into()));
        assert_eq!(FleetService::named("www"), FleetService::Group("www".into()));
        let tags = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let table = [
            (tags(&[("Name", "www")]), None),
            (tags(&[("aws:ec2spot:fleet-request-id", "sfr-1")]), Some(FleetService::Spot("sfr-1".into()))),
            (tags(&[("aws:ec2:fleet-id", "fleet-1")]), Some(FleetService::Ec2("fleet-1".into()))),
            (
                tags(&[("aws:ec2:fleet-id", "fleet-1"), ("aws:autoscaling:groupName", "www")]),
                Some(FleetService::Group("www".into())),
            ),
        ];
        for (tags, kind) in table {
            assert_eq!(FleetService::tagged(&tags), kind, "{tags:?}");
        }
    }
}
