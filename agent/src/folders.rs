//! The folders of a host.

use std::path::PathBuf;

use crate::{
    certificate::IdentityCache,
    documents::layout,
    package::PackageCache,
    place::{PackagePlace, VaultPlace},
};

/// Where this host keeps what survives its process, and what does not.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Survives: the last good package, the local CA.
    pub state: PathBuf,
    /// Does not: the state file.
    pub runtime: PathBuf,
    /// Where the local CA lies, if there is one.
    pub local_ca: PathBuf,
}

impl Folders {
    /// Where the account of how the host is doing lies.
    pub fn status_file(&self) -> PathBuf {
        self.runtime.join(layout::STATUS)
    }

    /// Where the certificate in use is kept for the next process, unless the vault is as near.
    pub(crate) fn identity_cache(&self, vault: &VaultPlace) -> Option<IdentityCache> {
        matches!(vault, VaultPlace::Secret(_)).then(|| IdentityCache::new(self.runtime.join("identity.json")))
    }

    /// Where the last good packages of that place are kept for the next process.
    pub(crate) fn package_cache(&self, place: &PackagePlace) -> PackageCache {
        PackageCache::new(self.state.join(layout::PACKAGE_FOLDER), place.to_string())
    }
}
