//! What this host serves, told beside the packages.
//!
//! Publishers read there who serves which version. It is written when that changes and never as a sign of life; nothing
//! here depends on it, so a missing permission is said once and left.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

use crate::{
    aws::{Aws, Host, papers::Papers},
    documents::{Document as _, HostDocument, HostRole, Layout},
    fault::{Cure, Fault},
    keeper::Kept,
    listener::Answering,
    package::Package,
    place::Bucket,
    status::{Going, Part, Phase, Status},
};

/// Changes within this time are told as one.
const GATHER: Duration = Duration::from_millis(200);
/// How long to wait before it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// What the account is made from.
pub struct Sources {
    /// Who it is.
    pub host: Kept<Host>,
    /// What it has.
    pub packages: Kept<Package>,
    /// What it answers with.
    pub answering: Kept<Answering>,
    /// Whether it keeps names at all.
    pub names: bool,
}

/// Tells what this host serves while it does not depart: a departing host changes nothing outside itself.
pub async fn tell(
    sources: Sources,
    place: Bucket,
    aws: Kept<Aws>,
    board: watch::Receiver<Status>,
    mut departs: watch::Receiver<Option<Going>>,
) {
    loop {
        tokio::select! {
            biased;
            _ = departs.wait_for(Option::is_some) => {}
            () = tell_changes(&sources, &place, aws.clone(), board.clone()) => return,
        }
        // A notice may be withdrawn.
        if departs.wait_for(Option::is_none).await.is_err() {
            return;
        }
    }
}

async fn tell_changes(sources: &Sources, place: &Bucket, mut aws: Kept<Aws>, mut board: watch::Receiver<Status>) {
    let Ok(aws) = aws.wait_for(Option::is_some).await.map(|aws| aws.clone()) else { return };
    let Some(aws) = aws else { return };
    let papers = Papers::new(&aws, place.bucket.clone());
    let mut told = None;
    loop {
        let now = sources.presence(&board.borrow_and_update());
        if let Some(now) = now.filter(|now| !now.says_the_same_as(told.as_ref())) {
            match write(&papers, &place.prefix, &now, told.is_none()).await {
                Ok(()) => told = Some(now),
                Err(fault) if fault.cure == Cure::Operator => {
                    tracing::warn!(%fault, "what this host serves is not told beside the packages");
                    return;
                }
                Err(fault) => {
                    tracing::info!(%fault, "what this host serves is told later");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            }
        }
        if board.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// Writes it, unless an earlier life of this process has told the same.
async fn write(papers: &Papers, prefix: &str, now: &HostDocument, first: bool) -> Result<(), Fault> {
    let key = Layout::new(prefix).host(&now.instance);
    if first {
        // It is this host's own, whatever version of the program wrote it: one that cannot be read is written anew.
        let before = papers.read(&key).await?.and_then(|text| HostDocument::read(&text).ok());
        if now.says_the_same_as(before.as_ref()) {
            return Ok(());
        }
    }
    papers.write(&key, now.text()).await?;
    tracing::info!(role = ?now.role, etag = now.etag.as_deref(), version = now.version.as_deref().unwrap_or("none"), "told");
    Ok(())
}

impl Sources {
    /// What this host serves; none before it answers, or while it is not settled how it stands to the names.
    fn presence(&self, status: &Status) -> Option<HostDocument> {
        let host = self.host.borrow().clone()?;
        let etag = self.answering.borrow().as_ref()?.release.clone();
        let version = self.packages.borrow().as_ref().filter(|p| p.release.etag == etag)?.release.named.clone();
        let address = host.public().map(|address| address.to_string());
        Some(HostDocument {
            version,
            etag: Some(etag),
            address,
            program: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..HostDocument::of(host.instance, self.role(status)?, OffsetDateTime::now_utc())
        })
    }

    fn role(&self, status: &Status) -> Option<HostRole> {
        if !self.names {
            return Some(HostRole::Serving);
        }
        match status.parts.iter().find(|part| part.part == Part::Address)?.phase {
            Phase::Kept => Some(HostRole::Owner),
            Phase::StandingAside => Some(HostRole::Standby),
            _ => None,
        }
    }
}
