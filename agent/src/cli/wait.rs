//! Waiting for the owner of the name, after something was published.

use std::time::Duration;

use clap::Args;

use super::{NOT_AS_IT_SHOULD_BE, SUPERSEDED, Stop, TRY_AGAIN};
use crate::{
    aws::publisher_bucket::PublisherBucket,
    documents::Label,
    publish::{Awaited, wait},
};

/// Whether and how long to wait.
#[derive(Args)]
pub(super) struct Patience {
    /// Wait until the owner of the name serves it; end with 1 and the reasons when a host refuses it.
    #[arg(long)]
    wait: bool,
    /// Time limit for waiting, such as 90s or 10m.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration, requires = "wait")]
    timeout: Duration,
}

impl Patience {
    /// Whether the caller asked to wait.
    pub(super) fn is_wanted(&self) -> bool {
        self.wait
    }

    /// Waits, where that is wanted; the instance that serves it.
    pub(super) async fn wait(
        &self,
        publisher_bucket: &PublisherBucket,
        label: &Label,
        etag: &str,
        quiet: bool,
    ) -> Result<Option<String>, Stop> {
        if !self.wait {
            return Ok(None);
        }
        let begun = std::time::Instant::now();
        let version = &label.version;
        match wait(publisher_bucket, label, etag, self.timeout).await? {
            Awaited::Served { by } => {
                if !quiet {
                    anstream::println!("{version} is served by {by}, after {:.1} s", begun.elapsed().as_secs_f64());
                }
                Ok(Some(by))
            }
            Awaited::Refused { by, reasons } => {
                let reasons = reasons.join("\n  ");
                Err(Stop::new(NOT_AS_IT_SHOULD_BE, format!("{version} is refused by {by}:\n  {reasons}")))
            }
            Awaited::Replaced { by } => {
                let by = by.map_or("something else".to_owned(), |version| version.to_string());
                Err(Stop::new(SUPERSEDED, format!("{by} was published while this waited for {version}")))
            }
            Awaited::Unheard { unread } => {
                for unread in unread {
                    anstream::eprintln!("warning: {unread}");
                }
                let time = humantime::format_duration(self.timeout);
                let cure = "no host has served or refused it; see spothost status on the host";
                Err(Stop::new(TRY_AGAIN, format!("{version} is published, but after {time} {cure}")))
            }
        }
    }
}
