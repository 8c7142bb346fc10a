//! The clients of AWS, made once; a struct with a few domain verbs per service.
//!
//! Only the modules below name an SDK type. There is no port and no mock: the seam is the wire. The SDK reads
//! `AWS_ENDPOINT_URL` and `AWS_EC2_METADATA_SERVICE_ENDPOINT`, so the shipped binary runs against any world.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, SdkConfig, environment::EnvironmentVariableRegionProvider,
    meta::region::ProvideRegion as _, profile::ProfileFileRegionProvider, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;

pub mod bucket;
mod bucket_region;
pub mod caller;
pub mod checksum;
pub(crate) mod compute;
mod credentials;
mod date;
pub mod document_store;
pub mod elastic_ip;
pub mod fleet;
mod fleet_state;
pub mod health;
pub(crate) mod host;
mod instance_state;
pub mod instances;
pub mod launch_template;
pub mod lease;
mod login;
#[cfg(test)]
pub(crate) mod memory;
pub mod metadata;
pub mod partition;
mod permission_outcome;
pub mod permission_probe;
pub mod publisher_bucket;
pub mod quota;
mod refusal;
pub mod secret;
mod signed;
pub mod simulation;
pub mod upload;
pub mod zone;
pub mod zones;

pub use fleet_state::FleetState;
pub use host::Host;
pub use instance_state::InstanceState;
pub use login::aws_session;

use bucket_region::BucketRegions;
use credentials::Warmed;
use metadata::Metadata;

/// An AWS session: credentials and a region, from which the clients are made.
#[derive(Clone, Debug)]
pub struct Aws {
    config: SdkConfig,
    date: date::Date,
    bucket_regions: BucketRegions,
}

impl Aws {
    /// The region that it leads to.
    pub fn region(&self) -> String {
        self.config.region().map(ToString::to_string).unwrap_or_default()
    }
}

/// Two ways are never told apart: there is one in a process, and it never changes once it is there.
impl PartialEq for Aws {
    fn eq(&self, _: &Aws) -> bool {
        true
    }
}

/// The credentials of this process, looked for from the moment this is made, so that no caller waits for them twice.
#[derive(Clone, Debug)]
pub struct Login {
    credentials: SharedCredentialsProvider,
}

impl Login {
    /// Starts looking for credentials in the usual places: environment, profile, container, instance profile.
    pub async fn start(metadata: &Metadata) -> Login {
        Login { credentials: SharedCredentialsProvider::new(Warmed::start(metadata).await) }
    }

    /// The AWS session in `region`.
    pub async fn in_region(&self, region: String) -> Aws {
        let loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region));
        in_region_with(loader, self.credentials.clone()).await
    }
}

async fn in_region_with(loader: ConfigLoader, credentials: SharedCredentialsProvider) -> Aws {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(Duration::from_secs(10))
        .operation_attempt_timeout(Duration::from_secs(20))
        .build();
    let date = date::Date::default();
    let config = loader
        .credentials_provider(credentials)
        .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(200)))
        .timeout_config(timeouts)
        .time_source(date.clone())
        .load()
        .await;
    Aws { config, date, bucket_regions: BucketRegions::default() }
}

impl Aws {
    /// How far this host's clock is ahead of AWS's (negative: behind), as the last answer of S3, Route 53 or Secrets Manager told it; none
    /// before one. `Date` tells whole seconds, and answers take their time: some seconds mean nothing.
    pub fn ahead(&self) -> Option<time::Duration> {
        self.date.told().map(|(theirs, ours)| ours - theirs)
    }
}

/// The region that the environment or the profile names, if one does; an instance need not say it.
pub async fn configured_region() -> Option<String> {
    let named = EnvironmentVariableRegionProvider::new().region().await;
    let named = match named {
        Some(region) => Some(region),
        None => ProfileFileRegionProvider::builder().build().region().await,
    };
    named.map(|region| region.to_string())
}
