//! `spothost policy`: the rights at AWS that a configuration needs.

use std::process::ExitCode;

use clap::Args;

use super::{CANNOT_RUN, Configured, Stop};
use crate::{
    place::PackagePlace,
    policy::{Audience, FleetKind, Policy, ResourceLocation},
};

/// Print the IAM policy with exactly the rights that the configuration needs.
///
/// `aws iam put-role-policy --policy-document` takes it. Where a customer-managed KMS key encrypts bucket or secret, name the key
/// with --key: readers need kms:Decrypt on it, and writers kms:GenerateDataKey. Standard error names the kinds of IAM policy that
/// it is too long for.
#[derive(Args)]
pub(super) struct PolicyCommand {
    #[command(flatten)]
    configured: Configured,
    /// Who gets the rights: the hosts, publishers, or the person who sets up and operates the site.
    #[arg(long = "for", value_enum, value_name = "WHO", default_value = "host")]
    who: Audience,
    /// Region of the secret and the instances; `*` stands for every region. The bucket may be in any region.
    #[arg(long, env = "AWS_REGION", default_value = "*")]
    region: String,
    /// Number of the AWS account.
    #[arg(long, value_name = "NUMBER", default_value = "*")]
    account: String,
    /// Bucket from which the user data fetches the program, and to which it reports failed boots; by default the bucket of the
    /// packages.
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// ARN of a customer-managed KMS key of bucket or secret; may be given several times.
    #[arg(long, value_name = "ARN")]
    key: Vec<String>,
    /// Kind of the fleet, where the configuration names no fleet; by default the policy has the rights for each kind.
    #[arg(long, value_enum, value_name = "KIND")]
    fleet: Option<FleetKind>,
}

impl PolicyCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        let config = self.configured.load()?;
        let of_the_package = match &config.package {
            PackagePlace::Bucket(place) => Some(place.bucket.clone()),
            PackagePlace::Disk(_) => None,
        };
        let ground = self.bucket.clone().or(of_the_package);
        let region = self.region.clone();
        let account = self.account.clone();
        let place = ResourceLocation { region, account, ground, keys: self.key.clone(), fleet: self.fleet };
        let policy = Policy::new(&config, &place, self.who);
        if let Some(said) = policy.too_long(self.who) {
            anstream::eprintln!("{said}");
        }
        let text = serde_json::to_string_pretty(&policy);
        anstream::println!("{}", text.map_err(|error| Stop::new(CANNOT_RUN, error))?);
        Ok(ExitCode::SUCCESS)
    }
}
