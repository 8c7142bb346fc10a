//! `spothost prune`: old versions are removed.

use std::process::ExitCode;

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;

use super::{Stop, published_at, runtime};
use crate::{
    aws::publisher_bucket::PublisherBucket,
    documents::layout,
    publish::{Catalogue, PublishedPackage},
};

/// Remove old versions, except those that hosts or a rollback may still need.
#[derive(Args)]
pub(super) struct PruneCommand {
    #[command(flatten)]
    published: published_at::PublishedAt,
    /// Number of newest versions to keep. The latest, the one before it and the last good one always stay.
    #[arg(long, value_name = "NUMBER")]
    keep: usize,
    /// Show the versions that would be removed, and remove nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl PruneCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        runtime()?.block_on(async {
            let publisher_bucket = self.published.publisher_bucket().await?;
            let catalogue = Catalogue::read(&publisher_bucket).await?;
            let old = catalogue.prunable(self.keep);
            if !self.dry_run {
                for package in &old {
                    remove(&publisher_bucket, package).await?;
                }
            }
            self.tell(&old);
            Ok(ExitCode::SUCCESS)
        })
    }

    fn tell(&self, old: &[&PublishedPackage]) {
        let bytes = old.iter().map(|package| package.length).sum();
        if self.json {
            let versions: Vec<_> = old.iter().map(|package| &package.version).collect();
            anstream::println!("{}", json!({ "removed": !self.dry_run, "versions": versions, "bytes": bytes }));
            return;
        }
        let word = if self.dry_run { "would be removed" } else { "removed" };
        for package in old {
            anstream::println!("{} {word}", package.version.as_ref().map_or(package.key.clone(), ToString::to_string));
        }
        let versions = if old.len() == 1 { "version" } else { "versions" };
        anstream::println!("{} {versions} {word}, {}", old.len(), HumanBytes(bytes));
    }
}

/// The package goes first: an interruption leaves a signature without a package, which does no harm.
async fn remove(publisher_bucket: &PublisherBucket, package: &PublishedPackage) -> Result<(), Stop> {
    publisher_bucket.remove(&package.key).await?;
    publisher_bucket.remove(&layout::signature(&package.key)).await?;
    Ok(())
}
