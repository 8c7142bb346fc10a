//! Whether an instance still lives, as EC2 tells it (feature `fleet`).

use std::{collections::BTreeMap, net::IpAddr};

use aws_sdk_ec2::{
    Client,
    types::{HttpTokensState, InstanceMetadataTagsState, InstanceStateName},
};

use time::OffsetDateTime;

use super::{
    Aws,
    refusal::{code, fault},
};
use crate::{fault::Fault, succession::Standing};

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its id.
    pub id: String,
    /// When it was launched.
    pub launched: Option<OffsetDateTime>,
    /// Its public address, IPv4 before IPv6.
    pub address: Option<IpAddr>,
}

/// What matters of how an instance was set up.
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

/// The instances of this account and region.
pub struct Instances {
    client: Client,
}

impl Instances {
    /// The instances that `aws` leads to.
    pub fn new(aws: &Aws) -> Instances {
        Instances { client: Client::new(&aws.config) }
    }

    /// How the instance with that id stands. One that EC2 no longer knows is gone: it forgets them an hour after
    /// their end.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn standing(&self, id: &str) -> Result<Standing, Fault> {
        let doing = format!("asking EC2 for instance {id}");
        let answer = match self.client.describe_instances().instance_ids(id).send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == Some("InvalidInstanceID.NotFound") => return Ok(Standing::Gone),
            Err(error) => return Err(fault(&doing, "ec2:DescribeInstances", &error)),
        };
        let instance = answer.reservations().iter().flat_map(|reservation| reservation.instances()).next();
        let state = instance.and_then(|instance| instance.state()).and_then(|state| state.name());
        Ok(match state {
            Some(InstanceStateName::Pending | InstanceStateName::Running) => Standing::Lives,
            Some(_) | None => Standing::Gone,
        })
    }

    /// How the instance with that id was set up; none when EC2 no longer knows it.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn settings(&self, id: &str) -> Result<Option<Settings>, Fault> {
        let doing = format!("asking EC2 how instance {id} was set up");
        let answer = match self.client.describe_instances().instance_ids(id).send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == Some("InvalidInstanceID.NotFound") => return Ok(None),
            Err(error) => return Err(fault(&doing, "ec2:DescribeInstances", &error)),
        };
        let instance = answer.reservations().iter().flat_map(|reservation| reservation.instances()).next();
        Ok(instance.map(|instance| {
            let options = instance.metadata_options();
            let tags = instance.tags().iter();
            Settings {
                tokens_required: options.and_then(|all| all.http_tokens()) == Some(&HttpTokensState::Required),
                hop_limit: options
                    .and_then(|all| all.http_put_response_hop_limit())
                    .and_then(|hops| hops.try_into().ok())
                    .unwrap_or(1),
                shows_tags: options.and_then(|all| all.instance_metadata_tags())
                    == Some(&InstanceMetadataTagsState::Enabled),
                tags: tags.filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned()))).collect(),
            }
        }))
    }

    /// The instances of those ids, as far as EC2 knows them.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn described(&self, ids: &[String]) -> Result<Vec<Machine>, Fault> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.client.describe_instances().set_instance_ids(Some(ids.to_vec())).send().await;
        let answer = answer.map_err(|error| fault("asking EC2 for the hosts", "ec2:DescribeInstances", &error))?;
        let instances = answer.reservations().iter().flat_map(|reservation| reservation.instances());
        let machine = |instance: &aws_sdk_ec2::types::Instance| {
            let address = instance.public_ip_address().or(instance.ipv6_address());
            let launched = instance.launch_time().and_then(|at| OffsetDateTime::from_unix_timestamp(at.secs()).ok());
            let address = address.and_then(|address| address.parse().ok());
            Some(Machine { id: instance.instance_id()?.to_owned(), launched, address })
        };
        Ok(instances.filter_map(machine).collect())
    }

    /// Those of `ids` that no longer live; one that EC2 does not know is gone, too.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn gone(&self, ids: &[String]) -> Result<Vec<String>, Fault> {
        let mut living = std::collections::BTreeSet::new();
        // A filter takes 200 values. Named otherwise, one that EC2 does not know would be an error for all of them.
        for some in ids.chunks(200) {
            let filter =
                aws_sdk_ec2::types::Filter::builder().name("instance-id").set_values(Some(some.to_vec())).build();
            let answer = self.client.describe_instances().filters(filter).send().await;
            let answer = answer.map_err(|error| fault("asking EC2 for the hosts", "ec2:DescribeInstances", &error))?;
            let instances = answer.reservations().iter().flat_map(|reservation| reservation.instances());
            let lives = |instance: &&aws_sdk_ec2::types::Instance| {
                let state = instance.state().and_then(|state| state.name());
                matches!(state, Some(InstanceStateName::Pending | InstanceStateName::Running))
            };
            living.extend(instances.filter(lives).filter_map(|instance| instance.instance_id().map(str::to_owned)));
        }
        Ok(ids.iter().filter(|id| !living.contains(*id)).cloned().collect())
    }

    /// The tags of that instance.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn tags(&self, id: &str) -> Result<BTreeMap<String, String>, Fault> {
        let doing = format!("asking EC2 for the tags of instance {id}");
        let answer = self.client.describe_instances().instance_ids(id).send().await;
        let answer = answer.map_err(|error| fault(&doing, "ec2:DescribeInstances", &error))?;
        let instances = answer.reservations().iter().flat_map(|reservation| reservation.instances());
        let tags = instances.flat_map(|instance| instance.tags());
        Ok(tags.filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned()))).collect())
    }
}
