//! What EC2 and Auto Scaling tell of instances, fleets and Elastic IPs.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use time::OffsetDateTime;

use crate::aws::InstanceState;

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ec2Instance {
    /// Its id.
    pub id: String,
    /// When it was launched.
    pub launched: Option<OffsetDateTime>,
    /// Its public address, IPv4 before IPv6.
    pub address: Option<IpAddr>,
    /// Whether it runs, as far as EC2 tells.
    pub told: InstanceState,
}

/// The settings of an instance that the doctor judges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether metadata is answered by token alone.
    pub tokens_required: bool,
    /// How many hops an answer with a token may travel.
    pub hop_limit: u32,
    /// Whether metadata shows the tags.
    pub shows_tags: bool,
    /// The tags, AWS's own among them.
    pub tags: BTreeMap<String, String>,
}

/// Which of the services that start instances it is of, and its id or name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::aws) enum FleetService {
    Spot(String),
    Ec2(String),
    Group(String),
}

/// The target capacity of a fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::aws) struct Capacity {
    /// How much of its unit.
    pub(in crate::aws) target: u32,
    /// Whether it has carried out the last change of that.
    pub(in crate::aws) settled: bool,
    /// What one instance counts, where that is said.
    pub(in crate::aws) weights: Vec<f64>,
    /// The unit of the target, unless that is instances.
    pub(in crate::aws) unit: Option<String>,
    /// Its tags.
    pub(in crate::aws) tags: BTreeMap<String, String>,
}

/// A launch template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchTemplate {
    /// Its id.
    pub id: String,
    /// The stack of CloudFormation that made it, if one did.
    pub stack: Option<String>,
    /// Its newest version.
    pub latest: TemplateVersion,
    /// Its default version.
    pub default: TemplateVersion,
    /// The instances of the site that run, each with the version that it was started from; none of another launch template.
    pub started: Vec<(String, Option<i64>)>,
}

/// A version of a launch template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateVersion {
    /// Its number.
    pub number: i64,
    /// Its user data, as text.
    pub user_data: String,
}

impl LaunchTemplate {
    /// The version that fleets start hosts from: the newest of a stack, and by hand the default.
    pub fn in_use(&self) -> &TemplateVersion {
        if self.stack.is_some() { &self.latest } else { &self.default }
    }

    /// The instances that were started from another version than that, or from another launch template.
    pub fn behind(&self) -> Vec<String> {
        let others = self.started.iter().filter(|(_, version)| *version != Some(self.in_use().number));
        others.map(|(instance, _)| instance.clone()).collect()
    }
}

/// Where an Elastic IP leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    /// The address.
    pub ip: Ipv4Addr,
    /// The instance, or the network interface of something else; none where it leads nowhere.
    pub to: Option<String>,
}
