//! EC2 and Auto Scaling, behind one trait.
//!
//! `aws-sdk-ec2` alone takes minutes to build. Every default build has it (feature `fleet`); the program of a first look
//! (`cargo up`) does without, and says so where a command would need it. This is the one place that knows of the two:
//! [`AwsFleet`](super::fleet::AwsFleet), [`Instances`](super::instances::Instances) and
//! [`ElasticIp`](super::elastic_ip::ElasticIp) ask an [`Adapter`], whichever it is.

use super::{Aws, permission_outcome::Tried};
use crate::fault::Fault;

#[cfg_attr(not(feature = "fleet"), path = "compute/absent.rs")]
mod adapter;
mod facts;

pub(super) use adapter::Adapter;
pub use facts::{Association, Ec2Instance, LaunchTemplate, Settings, TemplateVersion};
pub(super) use facts::{Capacity, FleetService};

/// Whether this program can ask EC2 and Auto Scaling.
pub(crate) const IS_BUILT_IN: bool = Adapter::IS_BUILT_IN;

/// The calls of EC2 and Auto Scaling that the agent makes.
///
/// Each returns the fault of a call that AWS refuses.
pub(super) trait Compute {
    /// Whether it makes calls at all.
    const IS_BUILT_IN: bool;

    /// Makes calls as `aws`.
    fn new(aws: &Aws) -> Self;

    /// The instances of those ids, as far as EC2 knows them (`DescribeInstances`).
    fn instances(&self, ids: &[String]) -> impl Future<Output = Result<Vec<Ec2Instance>, Fault>> + Send;

    /// How the instance with that id was set up; none when EC2 does not know it (`DescribeInstances`).
    fn settings(&self, id: &str) -> impl Future<Output = Result<Option<Settings>, Fault>> + Send;

    /// What the fleet is to have (`DescribeSpotFleetRequests`, `DescribeFleets`, `DescribeAutoScalingGroups`); none when
    /// there is no such fleet.
    fn capacity(
        &self,
        fleet: &FleetService,
        doing: &str,
    ) -> impl Future<Output = Result<Option<Capacity>, Fault>> + Send;

    /// The ids of the instances that it counts (`DescribeSpotFleetInstances`, `DescribeFleetInstances`,
    /// `DescribeAutoScalingGroups`).
    fn members(&self, fleet: &FleetService, doing: &str) -> impl Future<Output = Result<Vec<String>, Fault>> + Send;

    /// Sets how many hosts it is to have, and ends none for it (`ModifySpotFleetRequest`, `ModifyFleet`,
    /// `SetDesiredCapacity`).
    fn set_target(
        &self,
        fleet: &FleetService,
        number: i32,
        doing: &str,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Ends `instance` (`TerminateInstances`, `TerminateInstanceInAutoScalingGroup`). A group lowers its target with it,
    /// unless the instance is to be `replaced`.
    fn end(
        &self,
        fleet: &FleetService,
        instance: &str,
        replaced: bool,
        doing: &str,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Where the Elastic IP of that allocation id leads (`DescribeAddresses`); none when this account and region have no such
    /// one. The SDK does not retry.
    fn association(
        &self,
        allocation: &str,
        doing: &str,
    ) -> impl Future<Output = Result<Option<Association>, Fault>> + Send;

    /// Leads it to `instance` (`AssociateAddress`), or, `dry`, only tries whether it may (`DryRun`); false when this account
    /// and region have no such one. The SDK does not retry.
    fn associate(
        &self,
        allocation: &str,
        instance: &str,
        dry: bool,
        doing: &str,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// The launch templates with the tag `spothost:domain` of that site, and the instances that run of them
    /// (`DescribeLaunchTemplates`, `DescribeLaunchTemplateVersions`, `DescribeInstances`).
    fn launch_templates(
        &self,
        domain: &str,
        doing: &str,
    ) -> impl Future<Output = Result<Vec<LaunchTemplate>, Fault>> + Send;

    /// Tries one action, such as `ec2:DescribeFleets`, so that nothing happens; `instance` is this one.
    fn attempt(&self, service: &str, action: &str, instance: &str) -> impl Future<Output = Tried> + Send;
}
