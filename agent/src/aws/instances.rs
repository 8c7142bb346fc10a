//! Instances, as EC2 tells of those that it knows (feature `fleet`).

use std::{collections::BTreeMap, net::IpAddr};

use aws_sdk_ec2::{
    Client,
    types::{Filter, HttpTokensState, Instance, InstanceMetadataTagsState, InstanceStateName},
};

use time::OffsetDateTime;

use super::{
    Aws,
    refusal::{code, fault},
};
use crate::{aws::Told, fault::Fault};

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

    /// What EC2 tells of the instance with that id. That it does not know it says nothing: it does not know instances of other
    /// regions and accounts, nor one that was launched a moment ago, nor one that ended an hour ago.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn told(&self, id: &str) -> Result<Told, Fault> {
        let told = self.told_of(&[id.to_owned()]).await?;
        Ok(told.get(id).copied().unwrap_or(Told::Unknown))
    }

    /// What EC2 tells of those instances, as far as it knows them.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn told_of(&self, ids: &[String]) -> Result<BTreeMap<String, Told>, Fault> {
        let told = |instance: &Instance| {
            let state = instance.state().and_then(|state| state.name());
            let told = match state {
                Some(InstanceStateName::Pending | InstanceStateName::Running) => Told::Runs,
                Some(_) => Told::Ended,
                None => Told::Unknown,
            };
            Some((instance.instance_id()?.to_owned(), told))
        };
        Ok(self.known(ids).await?.iter().filter_map(told).collect())
    }

    /// Those of the instances that EC2 knows.
    async fn known(&self, ids: &[String]) -> Result<Vec<Instance>, Fault> {
        let mut known = Vec::new();
        // A filter takes 200 values. Named otherwise, one that EC2 does not know would be an error for all of them.
        for some in ids.chunks(200) {
            let filter = Filter::builder().name("instance-id").set_values(Some(some.to_vec())).build();
            let answer = self.client.describe_instances().filters(filter).send().await;
            let answer = answer.map_err(|error| fault("asking EC2 for the hosts", "ec2:DescribeInstances", &error))?;
            known.extend(answer.reservations().iter().flat_map(|reservation| reservation.instances()).cloned());
        }
        Ok(known)
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
        let machine = |instance: &Instance| {
            let address = instance.public_ip_address().or(instance.ipv6_address());
            let launched = instance.launch_time().and_then(|at| OffsetDateTime::from_unix_timestamp(at.secs()).ok());
            let address = address.and_then(|address| address.parse().ok());
            Some(Machine { id: instance.instance_id()?.to_owned(), launched, address })
        };
        Ok(self.known(ids).await?.iter().filter_map(machine).collect())
    }

    /// The same of all of them: of those that EC2 does not know yet nothing but their ids, in their order.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn listed(&self, ids: &[String]) -> Result<Vec<Machine>, Fault> {
        let mut known: BTreeMap<_, _> =
            self.described(ids).await?.into_iter().map(|machine| (machine.id.clone(), machine)).collect();
        let unknown = |id: &String| Machine { id: id.clone(), launched: None, address: None };
        Ok(ids.iter().map(|id| known.remove(id).unwrap_or_else(|| unknown(id))).collect())
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
