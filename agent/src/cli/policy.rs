//! `spothost policy`: the rights at AWS that a configuration needs.

use std::process::ExitCode;

use clap::Args;

use super::{CANNOT_RUN, Configured, Stop};
use crate::{
    config::PackagePlace,
    policy::{Place, Policy, Who},
};

/// Print the IAM policy that this configuration needs, and nothing more.
///
/// For `aws iam put-role-policy --policy-document`. A bucket or secret under a customer-managed KMS key needs kms:Decrypt
/// (and for the secret kms:GenerateDataKey) on that key besides.
#[derive(Args)]
pub(super) struct Print {
    #[command(flatten)]
    configured: Configured,
    /// For whom: the instances, whoever publishes packages, or the person who sets up and looks after the site.
    #[arg(long = "for", value_enum, value_name = "WHO", default_value = "host")]
    who: Who,
    /// Region of the secret and the instances; `*` allows the same in any. The bucket may be in any region.
    #[arg(long, env = "AWS_REGION", default_value = "*")]
    region: String,
    /// Number of the AWS account.
    #[arg(long, value_name = "NUMBER", default_value = "*")]
    account: String,
    /// Bucket that the user data takes the program from and reports failed boots to; by default that of the packages.
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
}

impl Print {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        let config = self.configured.load()?;
        let of_the_package = match &config.package {
            PackagePlace::Bucket(place) => Some(place.bucket.clone()),
            PackagePlace::Disk(_) => None,
        };
        let ground = self.bucket.clone().or(of_the_package);
        let place = Place { region: self.region.clone(), account: self.account.clone(), ground };
        let text = serde_json::to_string_pretty(&Policy::new(&config, &place, self.who));
        anstream::println!("{}", text.map_err(|error| Stop::new(CANNOT_RUN, error))?);
        Ok(ExitCode::SUCCESS)
    }
}
