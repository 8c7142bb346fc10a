//! What this host serves, told beside the packages: `<prefix>.spothost/hosts/<instance>.json`.
//!
//! Publishers read there who serves which version. It is written when that changes and never as a sign of life; nothing
//! here depends on it, so a missing permission is said once and left.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::{
    aws::{Aws, Host, papers::Papers},
    fault::{Cure, Fault},
    keeper::Kept,
    listener::Answering,
    package::Package,
    place::Bucket,
    status::{Going, Part, Phase, Status},
};

/// The version of this format.
const FORMAT: u32 = 1;
/// Changes within this time are told as one.
const GATHER: Duration = Duration::from_millis(200);
/// How long to wait before it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// What a host serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Version of this format.
    pub format: u32,
    /// Instance id.
    pub instance: String,
    /// How it stands to the names.
    pub role: Role,
    /// The version that the package's publisher gave it, if any.
    pub version: Option<String>,
    /// Entity tag of the package that is served, quotes included.
    pub etag: String,
    /// Since when it has served that in this role.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Its public address, if it has one.
    pub address: Option<String>,
    /// Version of the program.
    pub program: String,
}

/// How a host stands to the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// They lead to it.
    Owner,
    /// They lead to another host, which has claimed them.
    Standby,
    /// It touches no names.
    Serving,
}

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
async fn write(papers: &Papers, prefix: &str, now: &Presence, first: bool) -> Result<(), Fault> {
    let key = format!("{prefix}.spothost/hosts/{}.json", now.instance);
    if first {
        let before = papers.read(&key).await?;
        let before: Option<Presence> = before.and_then(|text| serde_json::from_slice(&text).ok());
        if now.says_the_same_as(before.as_ref()) {
            return Ok(());
        }
    }
    papers.write(&key, serde_json::to_vec_pretty(now).unwrap_or_default()).await?;
    tracing::info!(role = ?now.role, etag = now.etag, version = now.version.as_deref().unwrap_or("none"), "told");
    Ok(())
}

impl Sources {
    /// What this host serves; none before it answers, or while it is not settled how it stands to the names.
    fn presence(&self, status: &Status) -> Option<Presence> {
        let host = self.host.borrow().clone()?;
        let etag = self.answering.borrow().as_ref()?.release.clone();
        let version = self.packages.borrow().as_ref().filter(|p| p.release.etag == etag)?.release.named.clone();
        Some(Presence {
            format: FORMAT,
            role: self.role(status)?,
            version,
            etag,
            since: OffsetDateTime::now_utc(),
            address: host.public().map(|address| address.to_string()),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            instance: host.instance,
        })
    }

    fn role(&self, status: &Status) -> Option<Role> {
        if !self.names {
            return Some(Role::Serving);
        }
        match status.parts.iter().find(|part| part.part == Part::Address)?.phase {
            Phase::Kept => Some(Role::Owner),
            Phase::StandingAside => Some(Role::Standby),
            _ => None,
        }
    }
}

impl Presence {
    /// Whether both say the same, whenever they were written.
    fn says_the_same_as(&self, other: Option<&Presence>) -> bool {
        other.is_some_and(|other| Presence { since: self.since, ..other.clone() } == *self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_is_the_same_whenever_it_was_written() {
        let now = Presence {
            format: FORMAT,
            instance: "i-1".into(),
            role: Role::Owner,
            version: None,
            etag: "\"1\"".into(),
            since: OffsetDateTime::UNIX_EPOCH,
            address: Some("192.0.2.1".into()),
            program: "1".into(),
        };
        let later = Presence { since: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(9), ..now.clone() };
        assert!(later.says_the_same_as(Some(&now)));
        assert!(!later.says_the_same_as(None));
        assert!(!Presence { role: Role::Standby, ..now.clone() }.says_the_same_as(Some(&now)));
        let written: serde_json::Value = serde_json::to_value(&now).expect("JSON");
        assert_eq!((&written["role"], &written["since"]), (&"owner".into(), &"1970-01-01T00:00:00Z".into()));
    }
}
