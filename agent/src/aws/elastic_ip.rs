//! An Elastic IP: where it leads, and leading it here (feature `fleet`).
//!
//! `AssociateAddress` with `AllowReassociation` moves it in one call, whoever had it
//! (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html>); the host that loses it has the
//! address no more, nor the one it had before. Only IPv4 moves.

use std::net::Ipv4Addr;

use aws_sdk_ec2::{
    Client, config::retry::RetryConfig, error::SdkError, operation::associate_address::AssociateAddressError,
};

use super::{
    Aws,
    refusal::{POLITE, code, fault},
};
use crate::fault::Fault;

/// An Elastic IP of this account and region.
#[derive(Clone, Debug)]
pub struct ElasticIp {
    client: Client,
    allocation: String,
}

/// Where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    /// The address.
    pub ip: Ipv4Addr,
    /// The instance, or the network interface of something else; none where it leads nowhere.
    pub to: Option<String>,
}

impl ElasticIp {
    /// The one of that allocation id.
    pub fn new(aws: &Aws, allocation: String) -> ElasticIp {
        // Before each try it is looked whether the claim still stands: a retry of the SDK's own would not.
        let config = aws_sdk_ec2::config::Builder::from(&aws.config).retry_config(RetryConfig::disabled()).build();
        ElasticIp { client: Client::from_conf(config), allocation }
    }

    /// Where it leads.
    ///
    /// # Errors
    /// What EC2 refuses; an allocation id of no Elastic IP of this account and region.
    pub async fn look(&self) -> Result<Association, Fault> {
        let doing = format!("asking EC2 for {}", self.allocation);
        let answer = match self.client.describe_addresses().allocation_ids(&self.allocation).send().await {
            Ok(answer) => answer,
            Err(error) if is_missing(code(&error)) => return Err(missing(&doing)),
            Err(error) => return Err(polite(code(&error), fault(&doing, "ec2:DescribeAddresses", &error))),
        };
        let address = answer.addresses().first().ok_or_else(|| missing(&doing))?;
        let ip = address.public_ip().and_then(|ip| ip.parse().ok());
        let ip = ip.ok_or_else(|| Fault::retry(&doing, "EC2 tells no address of it"))?;
        let named = |id: Option<&str>| id.filter(|id| !id.is_empty()).map(str::to_owned);
        let to = named(address.instance_id()).or_else(|| named(address.network_interface_id()));
        Ok(Association { ip, to })
    }

    /// Whether it could be led to `instance`, as far as permissions go; nothing is changed (`DryRun`).
    ///
    /// # Errors
    /// What EC2 would refuse.
    pub async fn try_to_lead_to(&self, instance: &str) -> Result<(), Fault> {
        match self.associate(instance, true).await {
            Err(error) if code(&error) == Some("DryRunOperation") => Ok(()),
            other => other.map_err(|error| self.refused(instance, &error)),
        }
    }

    /// Leads it to `instance`, whoever has it. It may be repeated.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn lead_to(&self, instance: &str) -> Result<(), Fault> {
        self.associate(instance, false).await.map_err(|error| self.refused(instance, &error))
    }

    async fn associate(&self, instance: &str, dry: bool) -> Result<(), SdkError<AssociateAddressError>> {
        let request = self.client.associate_address().allocation_id(&self.allocation).instance_id(instance);
        request.allow_reassociation(true).dry_run(dry).send().await.map(drop)
    }

    fn refused(&self, instance: &str, error: &SdkError<AssociateAddressError>) -> Fault {
        let doing = format!("leading {} to {instance}", self.allocation);
        if is_missing(code(error)) {
            return missing(&doing);
        }
        polite(code(error), fault(&doing, "ec2:AssociateAddress", error))
    }
}

fn is_missing(code: Option<&str>) -> bool {
    code == Some("InvalidAllocationID.NotFound")
}

fn missing(doing: &str) -> Fault {
    Fault::operator(
        doing,
        "this account has no such Elastic IP in this region",
        "correct [address] elastic_ip in the configuration, or allocate one",
    )
}

/// EC2 says so when it is asked too often.
fn polite(code: Option<&str>, fault: Fault) -> Fault {
    match code {
        Some("RequestLimitExceeded") => Fault::wait(fault.doing, fault.said, POLITE),
        _ => fault,
    }
}
