//! The simulated vault, with compare-and-swap, and the lease.

use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime};

use crate::{
    certificate::document::{Document, Issued},
    fault::Fault,
};

/// How long the lease of a host lasts that was killed.
const LEASE: Duration = Duration::seconds(60);

/// The vault and the lease.
#[derive(Default)]
pub(super) struct Store {
    current: Option<(u64, Document)>,
    written: Vec<OffsetDateTime>,
    lease: Option<(usize, Option<OffsetDateTime>)>,
    /// Which certificates have been replaced since what was last lost.
    replaced: BTreeSet<Option<String>>,
}

impl Store {
    pub(super) fn read(&self) -> (Option<String>, Document) {
        match &self.current {
            Some((version, document)) => (Some(version.to_string()), document.clone()),
            None => (None, Document::default()),
        }
    }

    /// The new version, if the current one is `was`.
    pub(super) fn swap(&mut self, was: Option<&str>, document: &Document, now: OffsetDateTime) -> Option<String> {
        let current = self.current.as_ref().map(|(version, _)| version.to_string());
        if current.as_deref() != was {
            return None;
        }
        self.written.push(now);
        let version = self.written.len() as u64;
        self.current = Some((version, document.clone()));
        Some(version.to_string())
    }

    /// Puts a certificate where nobody asks what was there.
    pub(super) fn keep(&mut self, issued: Issued, now: OffsetDateTime) {
        let mut document = Document::default();
        document.certificate = Some(issued);
        self.written.push(now);
        self.current = Some((self.written.len() as u64, document));
    }

    /// Loses everything.
    pub(super) fn forget(&mut self) {
        self.current = None;
        self.replaced.clear();
    }

    /// Whether the certificate is replaced for the first time.
    pub(super) fn replaced(&mut self, before: Option<String>) -> bool {
        self.replaced.insert(before)
    }

    pub(super) fn lease(&mut self, host: usize, now: OffsetDateTime) -> Result<(), Fault> {
        match self.lease {
            Some((holder, until)) if holder != host && until.is_none_or(|until| until > now) => {
                Err(Fault::wait("asking for leave", "another host orders", std::time::Duration::from_secs(2)))
            }
            _ => {
                self.lease = Some((host, None));
                Ok(())
            }
        }
    }

    pub(super) fn confirm(&self, host: usize, _: OffsetDateTime) -> Result<(), Fault> {
        match self.lease {
            Some((holder, _)) if holder == host => Ok(()),
            _ => Err(Fault::retry("ordering", "another host has taken the lease over")),
        }
    }

    pub(super) fn give_back(&mut self, host: usize) {
        self.lease = self.lease.filter(|(holder, _)| *holder != host);
    }

    /// The host was killed: its lease runs out.
    pub(super) fn abandon(&mut self, host: usize, now: OffsetDateTime) {
        if let Some((holder, until @ None)) = &mut self.lease
            && *holder == host
        {
            *until = Some(now + LEASE);
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
