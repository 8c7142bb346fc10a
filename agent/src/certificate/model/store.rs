//! The simulated vault, with compare-and-swap and reads that lag, and the lease.

use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime};

use crate::{
    certificate::{
        document::{Issued, VaultDocument},
        lease::LIFE,
    },
    fault::Fault,
};

/// The vault and the lease.
#[derive(Default)]
pub(super) struct Store {
    current: Option<(u64, VaultDocument)>,
    /// What was current when, the newest last: as much of it as reads may lag.
    past: Vec<(OffsetDateTime, Option<(u64, VaultDocument)>)>,
    written: Vec<OffsetDateTime>,
    lease: Option<Lease>,
    /// Number of the vault's version that the lease tells.
    told: u64,
    /// Which certificates have been replaced since what was last lost.
    replaced: BTreeSet<Option<String>>,
}

/// Who holds the lease.
#[derive(Clone, Copy)]
struct Lease {
    holder: usize,
    /// Until when, where the holder does not refresh it any more.
    until: Option<OffsetDateTime>,
}

/// The vault as a read shows it.
pub(super) type Read = (Option<String>, VaultDocument);

impl Store {
    /// What is in the vault.
    pub(super) fn read(&self) -> Read {
        shown(self.current.as_ref())
    }

    /// What a read shows that lags by so much.
    pub(super) fn read_late(&self, lag: Duration, now: OffsetDateTime) -> Read {
        let then = self.past.iter().rev().find(|(since, _)| *since <= now - lag);
        match then {
            Some((_, version)) => shown(version.as_ref()),
            None => shown(None),
        }
    }

    /// What a read shows that is made again for as long as it shows a version before number `written`, or lags by no more
    /// than `patience`.
    pub(super) fn read_since(&self, written: u64, lag: Duration, patience: Duration, now: OffsetDateTime) -> Read {
        let late = self.read_late(lag, now);
        if late.1.written < written && lag <= patience { self.read() } else { late }
    }

    /// The new version, if the current one is `was`.
    pub(super) fn swap(&mut self, was: Option<&str>, document: &VaultDocument, now: OffsetDateTime) -> Option<String> {
        let current = self.current.as_ref().map(|(version, _)| version.to_string());
        if current.as_deref() != was {
            return None;
        }
        Some(self.overwrite(document, now))
    }

    /// The new version, whatever the current one is.
    pub(super) fn overwrite(&mut self, document: &VaultDocument, now: OffsetDateTime) -> String {
        self.written.push(now);
        let version = self.written.len() as u64;
        self.set(Some((version, document.clone())), now);
        version.to_string()
    }

    /// Puts a certificate where nobody asks what was there.
    pub(super) fn keep(&mut self, issued: Issued, now: OffsetDateTime) {
        let mut document = VaultDocument::default();
        document.certificate = Some(issued);
        self.overwrite(&document, now);
    }

    fn set(&mut self, version: Option<(u64, VaultDocument)>, now: OffsetDateTime) {
        let kept = self.past.iter().rposition(|(since, _)| *since <= now - LONGEST_LAG).unwrap_or_default();
        self.past.drain(..kept);
        self.past.push((now, version.clone()));
        self.current = version;
    }

    /// Loses everything.
    pub(super) fn forget(&mut self, now: OffsetDateTime) {
        self.set(None, now);
        self.replaced.clear();
    }

    /// Whether the certificate is replaced for the first time.
    pub(super) fn replaced(&mut self, before: Option<String>) -> bool {
        self.replaced.insert(before)
    }

    pub(super) fn lease(&mut self, host: usize, now: OffsetDateTime) -> Result<(), Fault> {
        match self.lease {
            Some(Lease { holder, until }) if holder != host && until.is_none_or(|until| until > now) => {
                Err(Fault::wait("acquiring the order lease", "another host orders", std::time::Duration::from_secs(2)))
            }
            _ => {
                self.lease = Some(Lease { holder: host, until: None });
                Ok(())
            }
        }
    }

    pub(super) fn confirm(&mut self, host: usize) -> Result<(), Fault> {
        match &mut self.lease {
            Some(lease) if lease.holder == host => {
                lease.until = None;
                Ok(())
            }
            _ => Err(Fault::retry("ordering", "another host has taken the lease over")),
        }
    }

    /// The host moves: its lease runs out no more, unless somebody has taken it over.
    pub(super) fn refresh(&mut self, host: usize) {
        if let Some(lease) = self.lease.as_mut().filter(|lease| lease.holder == host) {
            lease.until = None;
        }
    }

    /// Number of the vault's version that whoever holds the lease is told.
    pub(super) fn told(&self) -> u64 {
        self.told
    }

    /// Tells it to whoever holds the lease next.
    pub(super) fn tell(&mut self, host: usize, number: u64) {
        if self.lease.is_some_and(|lease| lease.holder == host) {
            self.told = self.told.max(number);
        }
    }

    pub(super) fn give_back(&mut self, host: usize) {
        self.lease = self.lease.filter(|lease| lease.holder != host);
    }

    /// The host was killed, or stands still: its lease runs out.
    pub(super) fn abandon(&mut self, host: usize, now: OffsetDateTime) {
        if let Some(Lease { holder, until: until @ None }) = &mut self.lease
            && *holder == host
        {
            *until = Some(now + LIFE);
        }
    }

    pub(super) fn writes(&self) -> u32 {
        u32::try_from(self.written.len()).unwrap_or(u32::MAX)
    }

    /// The most versions that were written within `span`.
    pub(super) fn most_in(&self, span: Duration) -> usize {
        let until = |from: &OffsetDateTime| self.written.partition_point(|at| *at < *from + span);
        let counts = self.written.iter().enumerate().map(|(index, from)| until(from) - index);
        counts.max().unwrap_or_default()
    }
}

/// A read lags by no more.
pub(super) const LONGEST_LAG: Duration = Duration::minutes(1);

fn shown(version: Option<&(u64, VaultDocument)>) -> Read {
    match version {
        Some((version, document)) => (Some(version.to_string()), document.clone()),
        None => (None, VaultDocument::default()),
    }
}
