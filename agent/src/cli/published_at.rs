//! The place of the packages, from the command line or the configuration.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{BAD_CONFIGURATION, CONFIGURATION, Stop};
use crate::{
    aws::{Login, configured_region, metadata::Metadata, publisher_bucket::PublisherBucket},
    config::Config,
    place::{Name, PackagePlace, S3Prefix},
};

/// Where packages are published.
#[derive(Args)]
pub(super) struct PublishedAt {
    /// Where packages are published, such as s3://bucket/folder/; by default the place in the configuration.
    #[arg(long, value_name = "PLACE", value_parser = place, conflicts_with = "config")]
    at: Option<PackagePlace>,
    /// Configuration of the hosts that serve them.
    #[arg(long, value_name = "FILE", default_value = CONFIGURATION)]
    config: PathBuf,
}

/// Where a package is to be published.
#[derive(Args)]
pub(super) struct Target {
    /// Where to publish, such as s3://bucket/folder/, or file:///srv/site.zip; by default the place in the configuration.
    #[arg(long, value_name = "PLACE", value_parser = place, conflicts_with = "config")]
    to: Option<PackagePlace>,
    /// Configuration of the hosts that serve it.
    #[arg(long, value_name = "FILE", default_value = CONFIGURATION)]
    config: PathBuf,
}

impl Target {
    /// The same place, as one looks at it.
    pub(super) fn published(&self) -> PublishedAt {
        PublishedAt { at: self.to.clone(), config: self.config.clone() }
    }
}

fn place(text: &str) -> Result<PackagePlace, String> {
    PackagePlace::try_from(text.to_owned())
}

impl PublishedAt {
    /// Where that is, and the name of the site if it is known.
    pub(super) fn place(&self) -> Result<(PackagePlace, Option<Name>), Stop> {
        if let Some(place) = &self.at {
            return Ok((place.clone(), None));
        }
        let config = Config::load(&self.config).map_err(|error| {
            let hint =
                if self.config == Path::new(CONFIGURATION) { " (or name the place: s3://bucket/folder/)" } else { "" };
            Stop::new(BAD_CONFIGURATION, format!("{error}{hint}"))
        })?;
        Ok((config.package, Some(config.domain)))
    }

    /// Whether a place other than that of a host's own configuration is named.
    pub(super) fn is_named(&self) -> bool {
        self.at.is_some() || self.config != Path::new(CONFIGURATION)
    }

    /// The way to that bucket.
    pub(super) async fn publisher_bucket(&self) -> Result<PublisherBucket, Stop> {
        let place = self.bucket()?;
        Ok(PublisherBucket::new(&aws_session().await?, place))
    }

    /// Which bucket that is, and which folder of it.
    pub(super) fn bucket(&self) -> Result<S3Prefix, Stop> {
        match self.place()?.0 {
            PackagePlace::Bucket(place) => Ok(place),
            PackagePlace::Disk(path) => {
                let said =
                    format!("{} has no release history: use a place in a bucket, s3://bucket/folder/", path.display());
                Err(Stop::new(BAD_CONFIGURATION, said))
            }
        }
    }
}

/// The AWS session of a caller that is not a host: a laptop, a CI job. On an instance its own region is taken.
pub(super) async fn aws_session() -> Result<crate::aws::Aws, Stop> {
    let metadata = Metadata::new();
    let login = Login::start(&metadata).await;
    let region = match configured_region().await {
        Some(region) => Some(region),
        None => metadata.host().await.ok().map(|host| host.region),
    };
    let no_region = || {
        Stop::new(
            BAD_CONFIGURATION,
            "no region is known: set AWS_REGION to the region of the site, or `region` in the profile",
        )
    };
    Ok(login.in_region(region.ok_or_else(no_region)?).await)
}
