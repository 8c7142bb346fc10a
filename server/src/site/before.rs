//! The versions before this one, whose fingerprinted files pages that are already loaded still ask for.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{Site, fingerprint::Fingerprint};

/// How many versions before are kept: each keeps its package on disk, and a page rarely outlives more.
const MOST: usize = 4;

/// The versions before a site, the youngest first, and until when each is asked.
#[derive(Debug, Default)]
pub(super) struct Before {
    any: AtomicBool,
    sites: RwLock<Vec<(Arc<Site>, Instant)>>,
}

impl Site {
    /// This site as the one that comes after `before`: for the time `skew` it answers for the fingerprinted files of
    /// `before` that it does not have itself, so that a page which was loaded a moment ago still finds its script. Pages
    /// and whatever else keeps its name are its own alone.
    ///
    /// The versions before `before` are kept as long as they were to be, four in all.
    #[must_use]
    pub fn after(self, before: &Arc<Self>, skew: Duration) -> Self {
        let now = Instant::now();
        let mut sites = Vec::with_capacity(MOST);
        if !skew.is_zero() {
            sites.push((before.clone(), now + skew));
            sites.extend(before.before.read().iter().filter(|(_, until)| *until > now).cloned());
            sites.truncate(MOST);
        }
        let any = AtomicBool::new(!sites.is_empty());
        Self { before: Before { any, sites: RwLock::new(sites) }, ..self }
    }

    /// Lets go of the versions before this one whose time is over, and with them of their packages.
    pub fn forget_expired(&self) {
        self.before.retain(|until| until > Instant::now());
    }

    /// Lets go of every version before this one.
    pub fn forget_all(&self) {
        self.before.retain(|_| false);
    }

    /// The version before this one that holds a file of this name, which this one has not and which could have a fingerprint.
    pub(crate) fn before(&self, name: &str) -> Option<Arc<Self>> {
        if !self.before.any.load(Ordering::Relaxed) || self.file(name).is_some() {
            return None;
        }
        let now = Instant::now();
        let holds = |site: &Self| site.file(name).is_some_and(|entry| entry.fingerprint != Fingerprint::None);
        let sites = self.before.read();
        sites.iter().find(|(site, until)| *until > now && holds(site)).map(|(site, _)| site.clone())
    }
}

impl Before {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<(Arc<Site>, Instant)>> {
        self.sites.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn retain(&self, keep: impl Fn(Instant) -> bool) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        // What is let go of is dropped outside of the lock: unmapping a package takes its time.
        let gone: Vec<_> = {
            let mut sites = self.sites.write().unwrap_or_else(PoisonError::into_inner);
            let (kept, gone) = std::mem::take(&mut *sites).into_iter().partition(|(_, until)| keep(*until));
            *sites = kept;
            self.any.store(!sites.is_empty(), Ordering::Relaxed);
            gone
        };
        drop(gone);
    }
}
