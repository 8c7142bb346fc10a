//! One host orders, the others wait for what it stores.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, task::JoinHandle};

use crate::{
    aws::lease::{Asked, LeaseObject, Version},
    fault::Fault,
};

/// A host that was killed while it ordered holds the others up for this long.
const LIFE: Duration = Duration::from_secs(60);
/// How long S3 may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the lease is refreshed meanwhile.
const REFRESH: Duration = Duration::from_secs(15);

/// Leave to order, until it is given back or dropped.
pub(super) struct Lease {
    held: Option<Held>,
}

struct Held {
    object: LeaseObject,
    holder: String,
    /// None once somebody else took it over.
    version: Arc<Mutex<Option<Version>>>,
    refreshing: JoinHandle<()>,
}

impl Lease {
    /// Asks for leave. Where there is no object to ask for, or no permission, it is given: then what keeps hosts apart
    /// is that they do not come at the same instant, and the compare-and-swap of the vault. So it is where S3 does not
    /// answer, unless the caller would rather `insist`: a certificate should not have to wait for a bucket.
    pub(super) async fn take(object: Option<LeaseObject>, holder: &str, insist: bool) -> Result<Lease, Fault> {
        let Some(object) = object else { return Ok(Lease { held: None }) };
        let asked = tokio::time::timeout(PATIENCE, object.ask(holder, LIFE)).await;
        let asked = asked.unwrap_or_else(|_| Err(Fault::retry("asking for leave to order", "S3 does not answer")));
        let asked = match asked {
            Err(fault) if !insist => Asked::Denied(fault),
            asked => asked?,
        };
        match asked {
            Asked::Ours(version) => {
                tracing::info!(number = version.number, "the lease to order is ours");
                Ok(Lease { held: Some(Held::start(object, holder, version)) })
            }
            Asked::Theirs { holder, left } => {
                let wait = left.min(Duration::from_secs(2)).max(Duration::from_millis(200));
                Err(Fault::wait("asking for leave to order a certificate", format!("{holder} orders one"), wait))
            }
            Asked::Denied(fault) => {
                tracing::warn!(%fault, "ordering without a lease");
                tokio::time::sleep(Duration::from_secs_f64(fastrand::f64() * 5.0)).await;
                Ok(Lease { held: None })
            }
        }
    }

    /// Makes sure that it is still ours, before a step that costs something.
    ///
    /// # Errors
    /// When somebody else has taken it over, or S3 does not say.
    pub(super) async fn confirm(&self) -> Result<(), Fault> {
        let Some(held) = &self.held else { return Ok(()) };
        match held.refresh().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fault::retry("ordering a certificate", "another host has taken the lease over")),
            Err(fault) => Err(fault),
        }
    }

    /// Gives it back, so that nobody waits for its end.
    pub(super) async fn give_back(self) {
        let Some(held) = &self.held else { return };
        held.refreshing.abort();
        let Some(version) = held.version.lock().await.take() else { return };
        if let Err(fault) = held.object.give_back(&version).await {
            tracing::info!(%fault, "the lease runs out by itself");
        }
    }
}

impl Held {
    fn start(object: LeaseObject, holder: &str, version: Version) -> Held {
        let version = Arc::new(Mutex::new(Some(version)));
        let refreshing = tokio::spawn({
            let (object, holder, version) = (object.clone(), holder.to_owned(), version.clone());
            async move {
                loop {
                    tokio::time::sleep(REFRESH).await;
                    match refreshed(&object, &holder, &version).await {
                        Ok(true) => {}
                        Ok(false) => return,
                        Err(fault) => tracing::debug!(%fault, "the lease was not refreshed"),
                    }
                }
            }
        });
        Held { object, holder: holder.to_owned(), version, refreshing }
    }

    async fn refresh(&self) -> Result<bool, Fault> {
        refreshed(&self.object, &self.holder, &self.version).await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.refreshing.abort();
    }
}

async fn refreshed(object: &LeaseObject, holder: &str, version: &Mutex<Option<Version>>) -> Result<bool, Fault> {
    let mut version = version.lock().await;
    let Some(now) = version.as_ref() else { return Ok(false) };
    *version = object.refresh(holder, now).await?;
    Ok(version.is_some())
}
