//! An Elastic IP: where it leads, and leading it here.
//!
//! `AssociateAddress` with `AllowReassociation` moves it in one call from any instance
//! (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html>); the host that loses it has the
//! address no more, nor the one it had before. Only IPv4 moves.

use super::{
    Aws,
    compute::{Adapter, Compute as _},
};
use crate::fault::Fault;

pub use super::compute::Association;

/// An Elastic IP of this account and region.
#[derive(Clone, Debug)]
pub struct ElasticIp {
    compute: Adapter,
    allocation: String,
}

impl ElasticIp {
    /// The one of that allocation id.
    pub fn new(aws: &Aws, allocation: String) -> ElasticIp {
        ElasticIp { compute: Adapter::new(aws), allocation }
    }

    /// Where it leads.
    ///
    /// # Errors
    /// What EC2 refuses; an allocation id of no Elastic IP of this account and region.
    pub async fn look(&self) -> Result<Association, Fault> {
        let doing = format!("asking EC2 for {}", self.allocation);
        self.compute.association(&self.allocation, &doing).await?.ok_or_else(|| missing(&doing))
    }

    /// Whether it could be led to `instance`, as far as permissions go; nothing is changed (`DryRun`).
    ///
    /// # Errors
    /// What EC2 would refuse.
    pub async fn try_to_lead_to(&self, instance: &str) -> Result<(), Fault> {
        self.associate(instance, true).await
    }

    /// Associates it with `instance`, wherever it is. Idempotent.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn lead_to(&self, instance: &str) -> Result<(), Fault> {
        self.associate(instance, false).await
    }

    async fn associate(&self, instance: &str, dry: bool) -> Result<(), Fault> {
        let doing = format!("leading {} to {instance}", self.allocation);
        if self.compute.associate(&self.allocation, instance, dry, &doing).await? {
            Ok(())
        } else {
            Err(missing(&doing))
        }
    }
}

fn missing(doing: &str) -> Fault {
    Fault::operator(
        doing,
        "this account has no such Elastic IP in this region",
        "correct [address] elastic_ip in the configuration, or allocate one",
    )
}
