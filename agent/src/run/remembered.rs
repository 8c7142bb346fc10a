//! What the process before this one served.

use std::{sync::Arc, time::Duration};

use spothost_server::Identity;
use tokio::time::timeout;

use crate::{
    certificate::{Certificate, IdentityCache},
    clock,
    config::Config,
    folders::Folders,
    package::Package,
    place::VaultPlace,
};

/// How long a disk may take to say what was served before.
const REMEMBERED: Duration = Duration::from_secs(1);
/// The same where the process of a package goes on, and is ended if it is not known in time which package that is.
const REMEMBERED_OF_A_PROCESS: Duration = Duration::from_secs(20);

/// What the process before this one served, so that those who wait since it ended are served too, and not sent away
/// with 503.
pub(super) struct Remembered {
    pub(super) package: Option<Package>,
    pub(super) identity: Option<Arc<Identity>>,
}

impl Remembered {
    /// Reads both; where `a_process` goes on, its package is waited for.
    pub(super) async fn of(config: &Config, folders: &Folders, a_process: bool) -> Remembered {
        let patience = if a_process { REMEMBERED_OF_A_PROCESS } else { REMEMBERED };
        let package = async { folders.package_cache(&config.package).last_good().await };
        let certificate = async { timeout(REMEMBERED, certificate_at_hand(config, folders)).await.unwrap_or_default() };
        let (package, certificate) = tokio::join!(timeout(patience, package), certificate);
        let package = package.unwrap_or_default();
        Remembered { package, identity: certificate.map(|certificate| certificate.identity) }
    }
}

/// The certificate that is as near as a file: in the vault, if that is one, else as the process before this one kept it.
async fn certificate_at_hand(config: &Config, folders: &Folders) -> Option<Certificate> {
    let names = config.names();
    let now = clock::now();
    let identity_cache = folders.identity_cache(&config.vault);
    let vault = config.vault.clone();
    let read = move || match (identity_cache, vault) {
        (Some(identity_cache), _) => identity_cache.read(&names, now),
        (None, VaultPlace::Disk(path)) => IdentityCache::in_vault(&path, &names, now),
        (None, VaultPlace::Secret(_)) => None,
    };
    tokio::task::spawn_blocking(read).await.ok().flatten()
}
