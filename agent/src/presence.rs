//! What this host serves, told beside the packages.
//!
//! Publishers read there who serves which version. It is written when that changes and never as a sign of life; nothing
//! here depends on it, so a missing permission is said once and left.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

use crate::{
    aws::{Aws, Host, papers::Papers},
    claim::Leads,
    documents::{Document as _, HostDocument, HostRole, Layout},
    fault::{Cure, Fault},
    keeper::{Ended, Kept, Yield},
    listener::Answering,
    package::Package,
    place::Bucket,
    status::Going,
};

/// Changes within this time are told as one.
const GATHER: Duration = Duration::from_millis(200);
/// How long to wait before it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// What the account is made from.
#[derive(Clone)]
pub struct Sources {
    /// Who it is.
    pub host: Kept<Host>,
    /// What it has.
    pub packages: Kept<Package>,
    /// What it answers with.
    pub answering: Kept<Answering>,
    /// Where the names lead; none where it keeps none.
    pub names: Option<Yield<Leads>>,
}

/// Tells what this host serves while it does not depart: a departing host changes nothing outside itself.
pub async fn tell(sources: Sources, place: Bucket, aws: Kept<Aws>, mut departs: watch::Receiver<Option<Going>>) {
    loop {
        tokio::select! {
            biased;
            _ = departs.wait_for(Option::is_some) => {}
            () = tell_changes(sources.clone(), &place, aws.clone()) => return,
        }
        // A notice may be withdrawn.
        if departs.wait_for(Option::is_none).await.is_err() {
            return;
        }
    }
}

async fn tell_changes(mut sources: Sources, place: &Bucket, mut aws: Kept<Aws>) {
    let Ok(aws) = aws.wait_for(Option::is_some).await.map(|aws| aws.clone()) else { return };
    let Some(aws) = aws else { return };
    let papers = Papers::new(&aws, place.bucket.clone());
    let mut told = None;
    loop {
        let now = sources.presence();
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
        sources.changed().await;
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
    fn presence(&self) -> Option<HostDocument> {
        let host = self.host.borrow().clone()?;
        let etag = self.answering.borrow().as_ref()?.release.clone();
        let version = self.packages.borrow().as_ref().filter(|p| p.release.etag == etag)?.release.named.clone();
        let address = host.public().map(|address| address.to_string());
        Some(HostDocument {
            version,
            etag: Some(etag),
            address,
            program: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..HostDocument::of(host.instance, self.role()?, OffsetDateTime::now_utc())
        })
    }

    fn role(&self) -> Option<HostRole> {
        let Some(names) = &self.names else { return Some(HostRole::Serving) };
        match (*names.ended.borrow(), &*names.held.borrow()) {
            (Ended::Well | Ended::Despite, Some(Leads::Here(_))) => Some(HostRole::Owner),
            (Ended::Aside, Some(Leads::Elsewhere(_))) => Some(HostRole::Standby),
            _ => None,
        }
    }

    /// Resolves when something has changed that the account is made from; never, where nothing can any more.
    async fn changed(&mut self) {
        let Sources { host, packages, answering, names } = self;
        let names = async {
            match names {
                Some(names) => tokio::select! {
                    Ok(()) = names.held.changed() => {}
                    Ok(()) = names.ended.changed() => {}
                    else => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = host.changed() => {}
            Ok(()) = packages.changed() => {}
            Ok(()) = answering.changed() => {}
            () = names => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aws::host::tests::host,
        claim::{Claim, Elsewhere, LeadsHere},
    };

    #[test]
    fn role_is_told_only_while_it_is_settled_where_the_names_lead() {
        let here = Leads::Here(LeadsHere { to: "192.0.2.7".into(), epoch: 3, target: None, asked_in: None });
        let claim = Claim::of(&host("i-other", 1), 4);
        let elsewhere = Leads::Elsewhere(Box::new(Elsewhere { claim, held: false, answers: true }));
        let table = [
            (None, Ended::NotYet, None),
            (None, Ended::Failed, None),
            (Some(&here), Ended::Well, Some(HostRole::Owner)),
            // One of the names may be left out, which is no reason not to say who serves the others.
            (Some(&here), Ended::Despite, Some(HostRole::Owner)),
            (Some(&elsewhere), Ended::Aside, Some(HostRole::Standby)),
            // What was seen last may not be so any more.
            (Some(&here), Ended::Failed, None),
            (Some(&here), Ended::Waiting, None),
            (Some(&elsewhere), Ended::Failed, None),
            (Some(&elsewhere), Ended::Well, None),
        ];
        for (leads, ended, expected) in table {
            let names = Yield {
                held: watch::channel(leads.cloned()).1,
                ended: watch::channel(ended).1,
                departed: watch::channel(false).1,
            };
            assert_eq!(sources(Some(names)).role(), expected, "{leads:?}, {ended:?}");
        }
        assert_eq!(sources(None).role(), Some(HostRole::Serving), "it keeps no names");
    }

    fn sources(names: Option<Yield<Leads>>) -> Sources {
        let (host, packages) = (watch::channel(None).1, watch::channel(None).1);
        Sources { host, packages, answering: watch::channel(None).1, names }
    }
}
