//! The AWS session of a host that only learns from its metadata where it is.

use tokio::sync::watch;

use super::{Aws, Host, Login, configured_region, metadata::Metadata};

/// The AWS session: at once where the environment names a region, else once the host has said where it is.
/// Credentials are looked for meanwhile.
pub fn aws_session(metadata: &Metadata, mut host: watch::Receiver<Option<Host>>) -> watch::Receiver<Option<Aws>> {
    let (yields, kept) = watch::channel(None);
    let metadata = metadata.clone();
    tokio::spawn(async move {
        let login = Login::start(&metadata).await;
        let region = match configured_region().await {
            Some(region) => region,
            None => match host.wait_for(Option::is_some).await {
                Ok(host) => host.as_ref().map(|host| host.region.clone()).unwrap_or_default(),
                Err(_) => return,
            },
        };
        tracing::info!(region, "AWS clients are ready");
        yields.send_replace(Some(login.in_region(region).await));
        yields.closed().await;
    });
    kept
}
