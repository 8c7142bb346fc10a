//! Instances, as EC2 tells of those that it knows.

use std::collections::BTreeMap;

use super::{
    Aws,
    compute::{Adapter, Compute as _},
};
use crate::{aws::InstanceState, fault::Fault};

pub use super::compute::{Ec2Instance, Settings};

/// The instances of this account and region.
pub struct Instances {
    compute: Adapter,
}

impl Instances {
    /// The instances that `aws` leads to.
    pub fn new(aws: &Aws) -> Instances {
        Instances { compute: Adapter::new(aws) }
    }

    /// What EC2 tells of the instance with that id. That it does not know it says nothing: it does not know instances of other
    /// regions and accounts, nor one that was launched a moment ago, nor one that ended an hour ago.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn told(&self, id: &str) -> Result<InstanceState, Fault> {
        let told = self.told_of(&[id.to_owned()]).await?;
        Ok(told.get(id).copied().unwrap_or(InstanceState::Unknown))
    }

    /// What EC2 tells of those instances, as far as it knows them.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn told_of(&self, ids: &[String]) -> Result<BTreeMap<String, InstanceState>, Fault> {
        let known = self.compute.instances(ids).await?;
        Ok(known.into_iter().map(|machine| (machine.id, machine.told)).collect())
    }

    /// How the instance with that id was set up; none when EC2 no longer knows it.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn settings(&self, id: &str) -> Result<Option<Settings>, Fault> {
        self.compute.settings(id).await
    }

    /// The instances of those ids, as far as EC2 knows them.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn described(&self, ids: &[String]) -> Result<Vec<Ec2Instance>, Fault> {
        self.compute.instances(ids).await
    }

    /// The same of all of them: of those that EC2 does not know yet nothing but their ids, in their order.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn listed(&self, ids: &[String]) -> Result<Vec<Ec2Instance>, Fault> {
        let mut known: BTreeMap<_, _> =
            self.described(ids).await?.into_iter().map(|machine| (machine.id.clone(), machine)).collect();
        let unknown =
            |id: &String| Ec2Instance { id: id.clone(), launched: None, address: None, told: InstanceState::Unknown };
        Ok(ids.iter().map(|id| known.remove(id).unwrap_or_else(|| unknown(id))).collect())
    }

    /// The tags of that instance.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn tags(&self, id: &str) -> Result<BTreeMap<String, String>, Fault> {
        let settings = self.compute.settings(id).await?;
        let unknown =
            || Fault::retry(format!("asking EC2 for the tags of instance {id}"), "EC2 does not know the instance yet");
        Ok(settings.ok_or_else(unknown)?.tags)
    }
}
