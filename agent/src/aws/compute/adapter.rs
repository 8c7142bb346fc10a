//! EC2 and Auto Scaling by their SDKs.
//!
//! A fleet's target is lowered with `NoTermination`, and the host then ends itself
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/modify-spot-fleet.html>, …/modify-ec2-fleet.html); a group does both in
//! one call (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html>).

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_autoscaling::types::LifecycleState;
use aws_sdk_ec2::{
    config::retry::RetryConfig,
    types::{
        BatchState, ExcessCapacityTerminationPolicy, Filter, FleetExcessCapacityTerminationPolicy, FleetStateCode,
        HttpTokensState, Instance, InstanceMetadataTagsState, InstanceStateName, TargetCapacitySpecificationRequest,
        TargetCapacityUnitType,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use time::OffsetDateTime;

use super::{
    Association, Capacity, Compute, Ec2Instance, FleetService, LaunchTemplate, Settings, TemplateVersion, Tried,
};
use crate::{
    aws::{
        Aws, InstanceState,
        permission_outcome::{HARMFUL, outcome},
        refusal::{POLITE, code, fault},
    },
    fault::Fault,
};

/// Makes the client that a call needs: all of them share the connections and credentials of the AWS session.
#[derive(Clone, Debug)]
pub(in crate::aws) struct Adapter {
    config: SdkConfig,
}

impl Compute for Adapter {
    const IS_BUILT_IN: bool = true;

    fn new(aws: &Aws) -> Adapter {
        Adapter { config: aws.config.clone() }
    }

    async fn instances(&self, ids: &[String]) -> Result<Vec<Ec2Instance>, Fault> {
        let mut known = Vec::new();
        // A filter takes 200 values. Named otherwise, one that EC2 does not know would be an error for all of them.
        for some in ids.chunks(200) {
            let filter = Filter::builder().name("instance-id").set_values(Some(some.to_vec())).build();
            let answer = self.ec2().describe_instances().filters(filter).send().await;
            let answer = answer.map_err(|error| fault("asking EC2 for the hosts", "ec2:DescribeInstances", &error))?;
            let instances = answer.reservations().iter().flat_map(|reservation| reservation.instances());
            known.extend(instances.filter_map(machine));
        }
        Ok(known)
    }

    async fn settings(&self, id: &str) -> Result<Option<Settings>, Fault> {
        let doing = format!("asking EC2 how instance {id} was set up");
        let answer = match self.ec2().describe_instances().instance_ids(id).send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == Some("InvalidInstanceID.NotFound") => return Ok(None),
            Err(error) => return Err(fault(&doing, "ec2:DescribeInstances", &error)),
        };
        Ok(answer.reservations().iter().flat_map(|reservation| reservation.instances()).next().map(set_up))
    }

    async fn capacity(&self, fleet: &FleetService, doing: &str) -> Result<Option<Capacity>, Fault> {
        match fleet {
            FleetService::Spot(id) => self.spot(id, doing).await,
            FleetService::Ec2(id) => self.fleet(id, doing).await,
            FleetService::Group(name) => self.group(name, doing).await,
        }
    }

    async fn members(&self, fleet: &FleetService, doing: &str) -> Result<Vec<String>, Fault> {
        let ids: Vec<Option<&str>>;
        match fleet {
            FleetService::Spot(id) => {
                let answer = self.ec2().describe_spot_fleet_instances().spot_fleet_request_id(id).send().await;
                let answer = answer.map_err(|error| fault(doing, "ec2:DescribeSpotFleetInstances", &error))?;
                ids = answer.active_instances().iter().map(|instance| instance.instance_id()).collect();
                Ok(owned(&ids))
            }
            FleetService::Ec2(id) => {
                let answer = self.ec2().describe_fleet_instances().fleet_id(id).send().await;
                let answer = answer.map_err(|error| fault(doing, "ec2:DescribeFleetInstances", &error))?;
                ids = answer.active_instances().iter().map(|instance| instance.instance_id()).collect();
                Ok(owned(&ids))
            }
            FleetService::Group(name) => {
                let answer = self.groups().describe_auto_scaling_groups().auto_scaling_group_names(name).send().await;
                let answer = answer.map_err(|error| fault(doing, "autoscaling:DescribeAutoScalingGroups", &error))?;
                let instances = answer.auto_scaling_groups().iter().flat_map(|group| group.instances());
                let here = |state: &LifecycleState| !state.as_str().starts_with("Terminat");
                let living = instances.filter(|instance| instance.lifecycle_state().is_none_or(here));
                ids = living.map(|instance| instance.instance_id()).collect();
                Ok(owned(&ids))
            }
        }
    }

    async fn set_target(&self, fleet: &FleetService, number: i32, doing: &str) -> Result<(), Fault> {
        match fleet {
            FleetService::Spot(id) => {
                let request = self.ec2().modify_spot_fleet_request().spot_fleet_request_id(id).target_capacity(number);
                let policy = ExcessCapacityTerminationPolicy::NoTermination;
                let sent = request.excess_capacity_termination_policy(policy).send().await;
                sent.map_err(|error| fault(doing, "ec2:ModifySpotFleetRequest", &error))?;
            }
            FleetService::Ec2(id) => {
                let target = TargetCapacitySpecificationRequest::builder().total_target_capacity(number).build();
                let request = self.ec2().modify_fleet().fleet_id(id).target_capacity_specification(target);
                let policy = FleetExcessCapacityTerminationPolicy::NoTermination;
                let sent = request.excess_capacity_termination_policy(policy).send().await;
                sent.map_err(|error| fault(doing, "ec2:ModifyFleet", &error))?;
            }
            FleetService::Group(name) => {
                let request =
                    self.groups().set_desired_capacity().auto_scaling_group_name(name).desired_capacity(number);
                let sent = request.honor_cooldown(false).send().await;
                sent.map_err(|error| fault(doing, "autoscaling:SetDesiredCapacity", &error))?;
            }
        }
        Ok(())
    }

    async fn end(&self, fleet: &FleetService, instance: &str, replaced: bool, doing: &str) -> Result<(), Fault> {
        if let FleetService::Group(_) = fleet {
            let request = self.groups().terminate_instance_in_auto_scaling_group().instance_id(instance);
            let sent = request.should_decrement_desired_capacity(!replaced).send().await;
            sent.map_err(|error| fault(doing, "autoscaling:TerminateInstanceInAutoScalingGroup", &error))?;
            return Ok(());
        }
        let sent = self.ec2().terminate_instances().instance_ids(instance).send().await;
        sent.map(drop).map_err(|error| fault(doing, "ec2:TerminateInstances", &error))
    }

    async fn association(&self, allocation: &str, doing: &str) -> Result<Option<Association>, Fault> {
        let answer = match self.ec2_once().describe_addresses().allocation_ids(allocation).send().await {
            Ok(answer) => answer,
            Err(error) if is_missing(code(&error)) => return Ok(None),
            Err(error) => return Err(polite(code(&error), fault(doing, "ec2:DescribeAddresses", &error))),
        };
        let Some(address) = answer.addresses().first() else { return Ok(None) };
        let ip = address.public_ip().and_then(|ip| ip.parse().ok());
        let ip = ip.ok_or_else(|| Fault::retry(doing, "EC2 names no address of it"))?;
        let named = |id: Option<&str>| id.filter(|id| !id.is_empty()).map(str::to_owned);
        let to = named(address.instance_id()).or_else(|| named(address.network_interface_id()));
        Ok(Some(Association { ip, to }))
    }

    async fn associate(&self, allocation: &str, instance: &str, dry: bool, doing: &str) -> Result<bool, Fault> {
        let request = self.ec2_once().associate_address().allocation_id(allocation).instance_id(instance);
        match request.allow_reassociation(true).dry_run(dry).send().await {
            Ok(_) => Ok(true),
            Err(error) if dry && code(&error) == Some("DryRunOperation") => Ok(true),
            Err(error) if is_missing(code(&error)) => Ok(false),
            Err(error) => Err(polite(code(&error), fault(doing, "ec2:AssociateAddress", &error))),
        }
    }

    async fn launch_templates(&self, domain: &str, doing: &str) -> Result<Vec<LaunchTemplate>, Fault> {
        let of_site = Filter::builder().name("tag:spothost:domain").values(domain).build();
        let asked = self.ec2().describe_launch_templates().filters(of_site.clone()).into_paginator().items().send();
        let templates = asked.collect::<Result<Vec<_>, _>>().await;
        let templates = templates.map_err(|error| fault(doing, "ec2:DescribeLaunchTemplates", &error))?;
        let mut found = Vec::new();
        for template in &templates {
            let Some(id) = template.launch_template_id() else { continue };
            let of = |key: &str| template.tags().iter().find(|tag| tag.key() == Some(key)).and_then(|tag| tag.value());
            let stack = of("spothost:stack").or(of("aws:cloudformation:stack-name")).map(str::to_owned);
            let versions = self.ec2().describe_launch_template_versions().launch_template_id(id);
            let versions = versions.versions("$Latest").versions("$Default").send().await;
            let versions = versions.map_err(|error| fault(doing, "ec2:DescribeLaunchTemplateVersions", &error))?;
            let versions = versions.launch_template_versions();
            let newest = versions.iter().max_by_key(|version| version.version_number());
            let default = versions.iter().find(|version| version.default_version() == Some(true));
            let (Some(newest), Some(default)) = (newest, default) else { continue };
            let latest = template_version(newest);
            let default = template_version(default);
            let started = Vec::new();
            found.push(LaunchTemplate { id: id.to_owned(), stack, latest, default, started });
        }
        if found.is_empty() {
            return Ok(found);
        }
        let running = Filter::builder().name("instance-state-name").values("pending").values("running").build();
        let asked = self.ec2().describe_instances().filters(of_site).filters(running).into_paginator().items().send();
        let reservations = asked.collect::<Result<Vec<_>, _>>().await;
        let reservations = reservations.map_err(|error| fault(doing, "ec2:DescribeInstances", &error))?;
        for instance in reservations.iter().flat_map(|reservation| reservation.instances()) {
            // AWS says by these tags from what it was started (Amazon EC2 User Guide, "Launch templates").
            let of = |key: &str| instance.tags().iter().find(|tag| tag.key() == Some(key)).and_then(|tag| tag.value());
            let version = of("aws:ec2launchtemplate:version").and_then(|version| version.parse().ok());
            let (Some(from), Some(id)) = (of("aws:ec2launchtemplate:id"), instance.instance_id()) else { continue };
            for template in &mut found {
                template.started.push((id.to_owned(), version.filter(|_| from == template.id)));
            }
        }
        Ok(found)
    }

    async fn attempt(&self, service: &str, action: &str, instance: &str) -> Tried {
        const DRY: &[&str] = &["DryRunOperation"];
        const NONE: &[&str] = &[
            "DryRunOperation",
            "InvalidSpotFleetRequestId.NotFound",
            "InvalidFleetId.NotFound",
            "InvalidFleetId",
            "InvalidParameterValue",
        ];
        let ec2 = self.ec2();
        let nobodys = "00000000-0000-0000-0000-000000000000";
        match (service, action) {
            ("ec2", "DescribeInstances") => {
                outcome("ec2:DescribeInstances", ec2.describe_instances().dry_run(true).send().await, DRY)
            }
            ("ec2", "DescribeSpotFleetRequests") => {
                let asked = ec2.describe_spot_fleet_requests().dry_run(true).send().await;
                outcome("ec2:DescribeSpotFleetRequests", asked, DRY)
            }
            ("ec2", "DescribeSpotFleetInstances") => {
                let asked = ec2.describe_spot_fleet_instances().spot_fleet_request_id(format!("sfr-{nobodys}"));
                outcome("ec2:DescribeSpotFleetInstances", asked.dry_run(true).send().await, NONE)
            }
            ("ec2", "DescribeFleets") => {
                outcome("ec2:DescribeFleets", ec2.describe_fleets().dry_run(true).send().await, DRY)
            }
            ("ec2", "DescribeFleetInstances") => {
                let asked = ec2.describe_fleet_instances().fleet_id(format!("fleet-{nobodys}")).dry_run(true);
                outcome("ec2:DescribeFleetInstances", asked.send().await, NONE)
            }
            ("ec2", "TerminateInstances") => {
                let asked = ec2.terminate_instances().instance_ids(instance).dry_run(true).send().await;
                outcome("ec2:TerminateInstances", asked, DRY)
            }
            ("autoscaling", "DescribeAutoScalingGroups") => {
                let asked = self.groups().describe_auto_scaling_groups().max_records(1).send().await;
                outcome("autoscaling:DescribeAutoScalingGroups", asked, &[])
            }
            _ => Ok(HARMFUL),
        }
    }
}

/// A version, as far as it is understood: user data that is no text is none.
fn template_version(version: &aws_sdk_ec2::types::LaunchTemplateVersion) -> TemplateVersion {
    let user_data = version.launch_template_data().and_then(|data| data.user_data()).unwrap_or_default();
    let user_data = STANDARD.decode(user_data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    TemplateVersion { number: version.version_number().unwrap_or_default(), user_data: user_data.unwrap_or_default() }
}

impl Adapter {
    fn ec2(&self) -> aws_sdk_ec2::Client {
        aws_sdk_ec2::Client::new(&self.config)
    }

    /// One that tries once: before each try to move an Elastic IP it is looked whether the claim still stands, and a retry of
    /// the SDK's own would not.
    fn ec2_once(&self) -> aws_sdk_ec2::Client {
        let config = aws_sdk_ec2::config::Builder::from(&self.config).retry_config(RetryConfig::disabled()).build();
        aws_sdk_ec2::Client::from_conf(config)
    }

    fn groups(&self) -> aws_sdk_autoscaling::Client {
        aws_sdk_autoscaling::Client::new(&self.config)
    }

    async fn spot(&self, id: &str, doing: &str) -> Result<Option<Capacity>, Fault> {
        let answer = self.ec2().describe_spot_fleet_requests().spot_fleet_request_ids(id).send().await;
        let answer = answer.map_err(|error| fault(doing, "ec2:DescribeSpotFleetRequests", &error))?;
        let Some(request) = answer.spot_fleet_request_configs().first() else { return Ok(None) };
        let Some(config) = request.spot_fleet_request_config() else { return Ok(None) };
        let specified = config.launch_specifications().iter().filter_map(|one| one.weighted_capacity());
        let overrides = config.launch_template_configs().iter().flat_map(|template| template.overrides());
        let unit = config.target_capacity_unit_type().cloned();
        Ok(Some(Capacity {
            target: count(config.target_capacity()),
            settled: request.spot_fleet_request_state() == Some(&BatchState::Active),
            weights: specified.chain(overrides.filter_map(|one| one.weighted_capacity())).collect(),
            unit: other_than_hosts(unit),
            tags: tags(request.tags().iter().map(|tag| (tag.key(), tag.value()))),
        }))
    }

    async fn fleet(&self, id: &str, doing: &str) -> Result<Option<Capacity>, Fault> {
        let answer = self.ec2().describe_fleets().fleet_ids(id).send().await;
        let answer = answer.map_err(|error| fault(doing, "ec2:DescribeFleets", &error))?;
        let Some(fleet) = answer.fleets().first() else { return Ok(None) };
        let target = fleet.target_capacity_specification();
        let overrides = fleet.launch_template_configs().iter().flat_map(|template| template.overrides());
        Ok(Some(Capacity {
            target: count(target.and_then(|target| target.total_target_capacity())),
            settled: fleet.fleet_state() == Some(&FleetStateCode::Active),
            weights: overrides.filter_map(|one| one.weighted_capacity()).collect(),
            unit: other_than_hosts(target.and_then(|target| target.target_capacity_unit_type()).cloned()),
            tags: tags(fleet.tags().iter().map(|tag| (tag.key(), tag.value()))),
        }))
    }

    async fn group(&self, name: &str, doing: &str) -> Result<Option<Capacity>, Fault> {
        let answer = self.groups().describe_auto_scaling_groups().auto_scaling_group_names(name).send().await;
        let answer = answer.map_err(|error| fault(doing, "autoscaling:DescribeAutoScalingGroups", &error))?;
        let Some(group) = answer.auto_scaling_groups().first() else { return Ok(None) };
        let mixed = group.mixed_instances_policy().and_then(|policy| policy.launch_template());
        let overrides = mixed.iter().flat_map(|template| template.overrides());
        Ok(Some(Capacity {
            target: count(group.desired_capacity()),
            settled: true,
            weights: overrides.filter_map(|one| one.weighted_capacity()?.parse().ok()).collect(),
            unit: other_than_hosts(group.desired_capacity_type().map(TargetCapacityUnitType::from)),
            tags: tags(group.tags().iter().map(|tag| (tag.key(), tag.value()))),
        }))
    }
}

fn machine(instance: &Instance) -> Option<Ec2Instance> {
    let address = instance.public_ip_address().or(instance.ipv6_address());
    let told = match instance.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Pending | InstanceStateName::Running) => InstanceState::Runs,
        Some(_) => InstanceState::Ended,
        None => InstanceState::Unknown,
    };
    Some(Ec2Instance {
        id: instance.instance_id()?.to_owned(),
        launched: instance.launch_time().and_then(|at| OffsetDateTime::from_unix_timestamp(at.secs()).ok()),
        address: address.and_then(|address| address.parse().ok()),
        told,
    })
}

fn set_up(instance: &Instance) -> Settings {
    let options = instance.metadata_options();
    let hops = options.and_then(|all| all.http_put_response_hop_limit());
    Settings {
        tokens_required: options.and_then(|all| all.http_tokens()) == Some(&HttpTokensState::Required),
        hop_limit: hops.and_then(|hops| hops.try_into().ok()).unwrap_or(1),
        shows_tags: options.and_then(|all| all.instance_metadata_tags()) == Some(&InstanceMetadataTagsState::Enabled),
        tags: tags(instance.tags().iter().map(|tag| (tag.key(), tag.value()))),
    }
}

/// Tags, as pairs of a key and a value that may be missing.
fn tags<'a>(pairs: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>) -> BTreeMap<String, String> {
    pairs.filter_map(|(key, value)| Some((key?.to_owned(), value.unwrap_or_default().to_owned()))).collect()
}

fn owned(ids: &[Option<&str>]) -> Vec<String> {
    ids.iter().flatten().map(|id| (*id).to_owned()).collect()
}

/// The unit of a target, unless that is hosts.
fn other_than_hosts(unit: Option<TargetCapacityUnitType>) -> Option<String> {
    unit.filter(|unit| *unit != TargetCapacityUnitType::Units).map(|unit| unit.as_str().to_owned())
}

fn count(number: Option<i32>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

fn is_missing(code: Option<&str>) -> bool {
    code == Some("InvalidAllocationID.NotFound")
}

/// EC2 says so when it is asked too often.
fn polite(code: Option<&str>, fault: Fault) -> Fault {
    match code {
        Some("RequestLimitExceeded") => Fault::wait(fault.doing, fault.said, POLITE),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_of_a_target_is_told_unless_it_is_hosts() {
        let of = |unit: &str| other_than_hosts(Some(TargetCapacityUnitType::from(unit)));
        assert_eq!((other_than_hosts(None), of("units")), (None, None));
        assert_eq!((of("vcpu"), of("memory-mib")), (Some("vcpu".to_owned()), Some("memory-mib".to_owned())));
        // One that AWS has made since is none that counts hosts.
        assert_eq!(of("gpu"), Some("gpu".to_owned()));
    }
}
