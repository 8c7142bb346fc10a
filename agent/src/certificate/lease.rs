//! The order lease: one host orders, the others wait for the certificate that it stores.
//!
//! The lease keeps orders apart; what makes them safe is the vault's compare-and-swap. A holder refreshes the lease several
//! times within its life, and confirms it before each step that costs something; one that stands still for longer than that
//! life may be overtaken, and then what it stores is refused, because the vault holds another version by then. So its life
//! only has to be longer than a few refreshes, and no longer than people should wait for a host that was killed.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, task::JoinHandle};

use crate::{
    aws::lease::{Asked, LeaseObject, LeaseVersion},
    chance,
    fault::Fault,
};

/// A host that was killed while it ordered holds the others up for this long; they ask again within two seconds.
pub(super) const LIFE: Duration = Duration::from_secs(15);
/// How long S3 may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the lease is refreshed meanwhile: two refreshes in a row may come to nothing.
const REFRESH: Duration = Duration::from_secs(4);
/// So soon after one that came to nothing it is refreshed again.
const REFRESH_AGAIN: Duration = Duration::from_secs(1);

/// Leave to order, until it is given back or dropped.
pub(super) struct OrderLease {
    held: Option<Held>,
}

struct Held {
    object: LeaseObject,
    holder: String,
    /// None once another host took it over.
    version: Arc<Mutex<Option<LeaseVersion>>>,
    refreshing: JoinHandle<()>,
}

impl OrderLease {
    /// Asks for leave. Where there is no object to ask for, or no permission, it is given: then what keeps hosts apart
    /// is that they do not come at the same instant, and the compare-and-swap of the vault. So it is where S3 does not
    /// answer, unless the caller would rather `insist`: a certificate should not have to wait for a bucket.
    pub(super) async fn take(object: Option<LeaseObject>, holder: &str, insist: bool) -> Result<OrderLease, Fault> {
        let Some(object) = object else { return Ok(OrderLease { held: None }) };
        let asked = match in_time("acquiring the order lease", object.ask(holder, LIFE)).await {
            Err(fault) if !insist => Asked::Denied(fault),
            asked => asked?,
        };
        match asked {
            Asked::Ours(version) => {
                tracing::info!(number = version.number, "acquired the order lease");
                Ok(OrderLease { held: Some(Held::start(object, holder, version)) })
            }
            Asked::Theirs { holder, left } => {
                let wait = left.min(Duration::from_secs(2)).max(Duration::from_millis(200));
                Err(Fault::wait("acquiring the order lease", format!("{holder} orders one"), wait))
            }
            Asked::Denied(fault) => {
                tracing::warn!(%fault, "ordering without a lease");
                tokio::time::sleep(Duration::from_secs_f64(chance::fraction() * 5.0)).await;
                Ok(OrderLease { held: None })
            }
        }
    }

    /// The number of the vault's version that was written last by a host that held it, as far as that has told; 0 for none.
    pub(super) async fn vault(&self) -> u64 {
        match &self.held {
            Some(held) => held.version.lock().await.as_ref().map_or(0, |version| version.done),
            None => 0,
        }
    }

    /// Tells the next holder of the lease that the vault's version of that number was written: with the next refresh.
    pub(super) async fn wrote(&self, number: u64) {
        if let Some(held) = &self.held
            && let Some(version) = held.version.lock().await.as_mut()
        {
            version.done = version.done.max(number);
        }
    }

    /// Makes sure that it is still ours, before a step that costs something.
    ///
    /// # Errors
    /// When another host has taken it over, or S3 does not say.
    pub(super) async fn confirm(&self) -> Result<(), Fault> {
        let Some(held) = &self.held else { return Ok(()) };
        match held.refresh().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fault::retry("ordering a certificate", "another host has taken the lease over")),
            Err(fault) => Err(fault),
        }
    }

    /// Gives it back, so that no host waits until it expires.
    pub(super) async fn give_back(self) {
        let Some(held) = &self.held else { return };
        held.refreshing.abort();
        let Some(version) = held.version.lock().await.take() else { return };
        let given = in_time("giving the lease back", held.object.give_back(&held.holder, &version)).await;
        if let Err(fault) = given {
            tracing::info!(%fault, "the lease was not released; it expires by itself");
        }
    }
}

impl Held {
    fn start(object: LeaseObject, holder: &str, version: LeaseVersion) -> Held {
        let version = Arc::new(Mutex::new(Some(version)));
        let refreshing = tokio::spawn({
            let object = object.clone();
            let holder = holder.to_owned();
            let version = version.clone();
            async move {
                let mut pause = REFRESH;
                loop {
                    tokio::time::sleep(pause).await;
                    pause = match refreshed(&object, &holder, &version).await {
                        Ok(true) => REFRESH,
                        Ok(false) => return,
                        Err(fault) => {
                            tracing::debug!(%fault, "the lease was not refreshed");
                            REFRESH_AGAIN
                        }
                    };
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

async fn refreshed(object: &LeaseObject, holder: &str, version: &Mutex<Option<LeaseVersion>>) -> Result<bool, Fault> {
    let mut version = version.lock().await;
    let Some(now) = version.as_ref() else { return Ok(false) };
    *version = in_time("refreshing the lease", object.refresh(holder, now)).await?;
    Ok(version.is_some())
}

/// An S3 that does not answer is not waited for longer than that is worth.
async fn in_time<T>(doing: &str, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let answer = tokio::time::timeout(PATIENCE, Box::pin(call)).await;
    answer.unwrap_or_else(|_| Err(Fault::retry(doing, "S3 does not answer")))
}
