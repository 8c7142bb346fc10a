//! The fleet that starts hosts: Spot Fleet, EC2 Fleet or Auto Scaling group (feature `fleet`).
//!
//! How a host leaves without being replaced, and without the fleet ending another one in its place, is documented for
//! each: the target is lowered with `NoTermination` and the host then ends itself
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/modify-spot-fleet.html>, …/modify-ec2-fleet.html), or both in
//! one call
//! (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html>).

use std::collections::BTreeMap;

use aws_sdk_autoscaling::types::LifecycleState;
use aws_sdk_ec2::types::{
    BatchState, ExcessCapacityTerminationPolicy, FleetExcessCapacityTerminationPolicy, FleetStateCode,
    TargetCapacitySpecificationRequest, TargetCapacityUnitType,
};

use super::{Aws, refusal::fault};
use crate::{
    aws::Crew,
    fault::{Cause, Fault},
};

/// A fleet of this account and region.
#[derive(Clone, Debug)]
pub struct Fleet {
    kind: Kind,
    ec2: aws_sdk_ec2::Client,
    groups: aws_sdk_autoscaling::Client,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Spot(String),
    Ec2(String),
    Group(String),
}

type Named = fn(String) -> Kind;

/// The tags by which AWS says which fleet an instance is of.
const TAGS: [(&str, Named); 3] = [
    ("aws:ec2spot:fleet-request-id", Kind::Spot),
    ("aws:ec2:fleet-id", Kind::Ec2),
    ("aws:autoscaling:groupName", Kind::Group),
];

impl Kind {
    fn named(id: &str) -> Kind {
        match id {
            id if id.starts_with("sfr-") => Kind::Spot(id.to_owned()),
            id if id.starts_with("fleet-") => Kind::Ec2(id.to_owned()),
            name => Kind::Group(name.to_owned()),
        }
    }

    /// A group started by an EC2 Fleet of its own has the tags of both: the group is the one to be asked.
    fn tagged(tags: &BTreeMap<String, String>) -> Option<Kind> {
        TAGS.iter().rev().find_map(|(key, kind)| tags.get(*key).map(|id| kind(id.clone())))
    }

    /// The command that gives it a tag.
    fn command_to_tag(&self, key: &str, value: &str) -> String {
        match self {
            Kind::Spot(id) | Kind::Ec2(id) => {
                format!("aws ec2 create-tags --resources {id} --tags Key={key},Value={value}")
            }
            Kind::Group(name) => format!(
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

impl Fleet {
    /// The fleet of that id or name.
    pub fn named(aws: &Aws, id: &str) -> Fleet {
        Fleet::of(aws, Kind::named(id))
    }

    /// The fleet that `instance` says it is of, by its tags: those in metadata, else those EC2 knows.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn found(aws: &Aws, instance: &str, tags: &BTreeMap<String, String>) -> Result<Option<Fleet>, Fault> {
        if let Some(kind) = Kind::tagged(tags) {
            return Ok(Some(Fleet::of(aws, kind)));
        }
        // Metadata that shows tags shows these too.
        if !tags.is_empty() {
            return Ok(None);
        }
        let tags = super::instances::Instances::new(aws).tags(instance).await?;
        Ok(Kind::tagged(&tags).map(|kind| Fleet::of(aws, kind)))
    }

    fn of(aws: &Aws, kind: Kind) -> Fleet {
        let (ec2, groups) = (aws_sdk_ec2::Client::new(&aws.config), aws_sdk_autoscaling::Client::new(&aws.config));
        Fleet { kind, ec2, groups }
    }

    /// Its id or name.
    pub fn id(&self) -> &str {
        match &self.kind {
            Kind::Spot(id) | Kind::Ec2(id) | Kind::Group(id) => id,
        }
    }

    /// Target, members, and whether it is at rest.
    ///
    /// # Errors
    /// What AWS refuses; a fleet that does not exist, or whose target does not count hosts.
    pub async fn look(&self) -> Result<Crew, Fault> {
        self.crew(&self.members().await?).await
    }

    /// The same, of hosts that were named already.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub async fn crew(&self, members: &[String]) -> Result<Crew, Fault> {
        let (target, settled) = match &self.kind {
            Kind::Spot(id) => self.spot(id).await?,
            Kind::Ec2(id) => self.fleet(id).await?,
            Kind::Group(name) => self.group(name).await?,
        };
        Ok(Crew {
            target,
            members: u32::try_from(members.len()).unwrap_or(u32::MAX),
            settled,
            floor: None,
            leaves_in_one: matches!(self.kind, Kind::Group(_)),
        })
    }

    async fn spot(&self, id: &str) -> Result<(u32, bool), Fault> {
        let doing = self.doing("looking at");
        let answer = self.ec2.describe_spot_fleet_requests().spot_fleet_request_ids(id).send().await;
        let answer = answer.map_err(|error| fault(&doing, "ec2:DescribeSpotFleetRequests", &error))?;
        let request = answer.spot_fleet_request_configs().first().ok_or_else(|| missing(&doing))?;
        let config = request.spot_fleet_request_config().ok_or_else(|| missing(&doing))?;
        let specified = config.launch_specifications().iter().map(|one| one.weighted_capacity());
        let overrides = config.launch_template_configs().iter().flat_map(|template| template.overrides());
        let weights = specified.chain(overrides.map(|one| one.weighted_capacity()));
        counts_hosts(&doing, weights, config.target_capacity_unit_type())?;
        Ok((count(config.target_capacity()), request.spot_fleet_request_state() == Some(&BatchState::Active)))
    }

    async fn fleet(&self, id: &str) -> Result<(u32, bool), Fault> {
        let doing = self.doing("looking at");
        let answer = self.ec2.describe_fleets().fleet_ids(id).send().await;
        let answer = answer.map_err(|error| fault(&doing, "ec2:DescribeFleets", &error))?;
        let fleet = answer.fleets().first().ok_or_else(|| missing(&doing))?;
        let target = fleet.target_capacity_specification();
        let overrides = fleet.launch_template_configs().iter().flat_map(|template| template.overrides());
        let unit = target.and_then(|target| target.target_capacity_unit_type());
        counts_hosts(&doing, overrides.map(|one| one.weighted_capacity()), unit)?;
        let target = target.and_then(|target| target.total_target_capacity());
        Ok((count(target), fleet.fleet_state() == Some(&FleetStateCode::Active)))
    }

    async fn group(&self, name: &str) -> Result<(u32, bool), Fault> {
        let doing = self.doing("looking at");
        let answer = self.groups.describe_auto_scaling_groups().auto_scaling_group_names(name).send().await;
        let answer = answer.map_err(|error| fault(&doing, "autoscaling:DescribeAutoScalingGroups", &error))?;
        let group = answer.auto_scaling_groups().first().ok_or_else(|| missing(&doing))?;
        let mixed = group.mixed_instances_policy().and_then(|policy| policy.launch_template());
        let weights = mixed.iter().flat_map(|template| template.overrides()).map(|one| one.weighted_capacity());
        let unit = group.desired_capacity_type().map(TargetCapacityUnitType::from);
        counts_hosts(&doing, weights.map(|weight| weight.and_then(|weight| weight.parse().ok())), unit.as_ref())?;
        Ok((count(group.desired_capacity()), true))
    }

    /// Instance ids of the hosts it counts.
    ///
    /// # Errors
    /// As [`Fleet::look`].
    pub async fn members(&self) -> Result<Vec<String>, Fault> {
        let doing = self.doing("looking at the hosts of");
        let ids: Vec<Option<&str>>;
        match &self.kind {
            Kind::Spot(id) => {
                let answer = self.ec2.describe_spot_fleet_instances().spot_fleet_request_id(id).send().await;
                let answer = answer.map_err(|error| fault(&doing, "ec2:DescribeSpotFleetInstances", &error))?;
                ids = answer.active_instances().iter().map(|instance| instance.instance_id()).collect();
                Ok(owned(&ids))
            }
            Kind::Ec2(id) => {
                let answer = self.ec2.describe_fleet_instances().fleet_id(id).send().await;
                let answer = answer.map_err(|error| fault(&doing, "ec2:DescribeFleetInstances", &error))?;
                ids = answer.active_instances().iter().map(|instance| instance.instance_id()).collect();
                Ok(owned(&ids))
            }
            Kind::Group(name) => {
                let answer = self.groups.describe_auto_scaling_groups().auto_scaling_group_names(name).send().await;
                let answer = answer.map_err(|error| fault(&doing, "autoscaling:DescribeAutoScalingGroups", &error))?;
                let instances = answer.auto_scaling_groups().iter().flat_map(|group| group.instances());
                let here = |state: &LifecycleState| !state.as_str().starts_with("Terminat");
                let living = instances.filter(|instance| instance.lifecycle_state().is_none_or(here));
                ids = living.map(|instance| instance.instance_id()).collect();
                Ok(owned(&ids))
            }
        }
    }

    /// Its tags.
    ///
    /// # Errors
    /// What AWS refuses; a fleet that does not exist.
    pub async fn tags(&self) -> Result<BTreeMap<String, String>, Fault> {
        let doing = self.doing("looking at the tags of");
        let pair =
            |key: Option<&str>, value: Option<&str>| Some((key?.to_owned(), value.unwrap_or_default().to_owned()));
        match &self.kind {
            Kind::Spot(id) => {
                let answer = self.ec2.describe_spot_fleet_requests().spot_fleet_request_ids(id).send().await;
                let answer = answer.map_err(|error| fault(&doing, "ec2:DescribeSpotFleetRequests", &error))?;
                let request = answer.spot_fleet_request_configs().first().ok_or_else(|| missing(&doing))?;
                Ok(request.tags().iter().filter_map(|tag| pair(tag.key(), tag.value())).collect())
            }
            Kind::Ec2(id) => {
                let answer = self.ec2.describe_fleets().fleet_ids(id).send().await;
                let answer = answer.map_err(|error| fault(&doing, "ec2:DescribeFleets", &error))?;
                let fleet = answer.fleets().first().ok_or_else(|| missing(&doing))?;
                Ok(fleet.tags().iter().filter_map(|tag| pair(tag.key(), tag.value())).collect())
            }
            Kind::Group(name) => {
                let answer = self.groups.describe_auto_scaling_groups().auto_scaling_group_names(name).send().await;
                let answer = answer.map_err(|error| fault(&doing, "autoscaling:DescribeAutoScalingGroups", &error))?;
                let group = answer.auto_scaling_groups().first().ok_or_else(|| missing(&doing))?;
                Ok(group.tags().iter().filter_map(|tag| pair(tag.key(), tag.value())).collect())
            }
        }
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
        self.send_target(number, &doing).await.map_err(|fault| self.kind.perhaps_untagged(fault))
    }

    async fn send_target(&self, number: i32, doing: &str) -> Result<(), Fault> {
        match &self.kind {
            Kind::Spot(id) => {
                let request = self.ec2.modify_spot_fleet_request().spot_fleet_request_id(id).target_capacity(number);
                let request =
                    request.excess_capacity_termination_policy(ExcessCapacityTerminationPolicy::NoTermination);
                request.send().await.map_err(|error| fault(doing, "ec2:ModifySpotFleetRequest", &error))?;
            }
            Kind::Ec2(id) => {
                let target = TargetCapacitySpecificationRequest::builder().total_target_capacity(number).build();
                let request = self.ec2.modify_fleet().fleet_id(id).target_capacity_specification(target);
                let policy = FleetExcessCapacityTerminationPolicy::NoTermination;
                let request = request.excess_capacity_termination_policy(policy);
                request.send().await.map_err(|error| fault(doing, "ec2:ModifyFleet", &error))?;
            }
            Kind::Group(name) => {
                let request = self.groups.set_desired_capacity().auto_scaling_group_name(name).desired_capacity(number);
                let sent = request.honor_cooldown(false).send().await;
                sent.map_err(|error| fault(doing, "autoscaling:SetDesiredCapacity", &error))?;
            }
        }
        Ok(())
    }

    /// Ends `instance`. A group lowers its target with it, unless the instance is to be `replaced`.
    ///
    /// # Errors
    /// What AWS refuses.
    pub async fn end(&self, instance: &str, replaced: bool) -> Result<(), Fault> {
        let doing = format!("ending {instance} of {}", self.id());
        if let Kind::Group(_) = &self.kind {
            let request = self.groups.terminate_instance_in_auto_scaling_group().instance_id(instance);
            let sent = request.should_decrement_desired_capacity(!replaced).send().await;
            let sent = sent.map_err(|error| fault(&doing, "autoscaling:TerminateInstanceInAutoScalingGroup", &error));
            return sent.map(drop).map_err(|fault| self.kind.perhaps_untagged(fault));
        }
        let sent = self.ec2.terminate_instances().instance_ids(instance).send().await;
        sent.map(drop).map_err(|error| fault(&doing, "ec2:TerminateInstances", &error))
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} the fleet {}", self.id())
    }
}

fn owned(ids: &[Option<&str>]) -> Vec<String> {
    ids.iter().flatten().map(|id| (*id).to_owned()).collect()
}

/// A target may be said in units of which one host has several, in vCPU or in memory: then it is no number of hosts, and one
/// less of it would not be one host less.
fn counts_hosts(
    doing: &str,
    weights: impl Iterator<Item = Option<f64>>,
    unit: Option<&TargetCapacityUnitType>,
) -> Result<(), Fault> {
    let weight = weights.flatten().find(|weight| (weight - 1.0).abs() > f64::EPSILON);
    let said = match (weight, unit) {
        (Some(weight), _) => format!("its target is in units of which one host counts {weight}"),
        (None, Some(unit)) if *unit != TargetCapacityUnitType::Units => format!("its target is in {}", unit.as_str()),
        (None, _) => return Ok(()),
    };
    let remedy = "make one whose target is a number of hosts: leave out WeightedCapacity, and the type of the capacity";
    Err(Fault::operator(doing, said, remedy))
}

fn count(number: Option<i32>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
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
        let (units, vcpu) = (TargetCapacityUnitType::Units, TargetCapacityUnitType::Vcpu);
        let table: [(&[Option<f64>], _, _); 7] = [
            (&[], None, None),
            (&[None, None], Some(&units), None),
            (&[Some(1.0), None], Some(&units), None),
            (&[Some(1.0), Some(4.0)], None, Some("one host counts 4")),
            (&[Some(0.5)], Some(&units), Some("one host counts 0.5")),
            (&[], Some(&vcpu), Some("in vcpu")),
            (&[Some(1.0)], Some(&vcpu), Some("in vcpu")),
        ];
        for (weights, unit, refused) in table {
            let counted = counts_hosts("looking at the fleet www", weights.iter().copied(), unit);
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
            let kind = Kind::named(id);
            let remedy = kind.perhaps_untagged(denied.clone()).remedy.expect("a remedy");
            assert!(remedy.starts_with("allow ec2:ModifyFleet") && remedy.contains(command), "{remedy}");
            assert_eq!(kind.perhaps_untagged(other.clone()), other);
        }
    }

    #[test]
    fn fleet_is_known_by_its_id_or_by_the_tags_that_aws_sets() {
        assert_eq!(Kind::named("sfr-1"), Kind::Spot("sfr-1".into()));
        assert_eq!(Kind::named("fleet-1"), Kind::Ec2("fleet-1".into()));
        assert_eq!(Kind::named("www"), Kind::Group("www".into()));
        let tags = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let table = [
            (tags(&[("Name", "www")]), None),
            (tags(&[("aws:ec2spot:fleet-request-id", "sfr-1")]), Some(Kind::Spot("sfr-1".into()))),
            (tags(&[("aws:ec2:fleet-id", "fleet-1")]), Some(Kind::Ec2("fleet-1".into()))),
            (
                tags(&[("aws:ec2:fleet-id", "fleet-1"), ("aws:autoscaling:groupName", "www")]),
                Some(Kind::Group("www".into())),
            ),
        ];
        for (tags, kind) in table {
            assert_eq!(Kind::tagged(&tags), kind, "{tags:?}");
        }
    }
}
