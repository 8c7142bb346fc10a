//! The certificate at hand: what a restarted agent serves with before it has heard from the vault.
//!
//! It lies in the runtime folder, which is memory and ends with the instance, in the one file on a host that holds a
//! private key. A site on a vault that is a file needs none: that file is as near.

use std::{
    fs,
    path::{Path, PathBuf},
};

use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{
    Certificate,
    document::{Issued, Parsed, VaultDocument},
};
use crate::{atomic_file::AtomicFile, keeper::Kept, place::Name};

/// A certificate is a few KiB; what is larger is none of ours.
const LARGEST: u64 = 64 << 10;
/// Beside it a vault keeps accounts, an order and a ledger; a secret in AWS is no larger than 64 KiB.
const LARGEST_VAULT: u64 = 1 << 20;

/// Where the certificate in use is kept for the next process on this host.
#[derive(Clone, Debug)]
pub struct IdentityCache(PathBuf);

impl IdentityCache {
    /// Kept in the file at `path`.
    pub fn new(path: PathBuf) -> IdentityCache {
        IdentityCache(path)
    }

    /// What the process before this one served with, if it is still good for `names` at `now`.
    pub fn read(&self, names: &[Name], now: OffsetDateTime) -> Option<Certificate> {
        let text = read(&self.0, LARGEST)?;
        good(&serde_json::from_slice::<Issued>(&text).ok()?, names, now)
    }

    /// The certificate in the vault that is the file at `path`, if it is good for `names` at `now`.
    pub fn in_vault(path: &Path, names: &[Name], now: OffsetDateTime) -> Option<Certificate> {
        let bytes = read(path, LARGEST_VAULT)?;
        match VaultDocument::parse(std::str::from_utf8(&bytes).ok()?) {
            Parsed::Whole(document) | Parsed::Damaged(document, _) => good(&document.certificate?, names, now),
            Parsed::Foreign(_) | Parsed::Newer(_) => None,
        }
    }

    /// Keeps every certificate that is held from now on. That it cannot be kept costs the next start a call, no more.
    pub async fn follow(self, mut certificates: Kept<Certificate>) {
        loop {
            let held = certificates.borrow_and_update().clone();
            if let Some(held) = held
                && let Err(error) = self.write(&held)
            {
                tracing::warn!(path = %self.0.display(), %error, "the certificate was not stored for the next start");
            }
            if certificates.changed().await.is_err() {
                return;
            }
        }
    }

    fn write(&self, held: &Certificate) -> std::io::Result<()> {
        let text = serde_json::to_vec(&*held.issued).map(Zeroizing::new)?;
        AtomicFile::at(&self.0).private().write(&text)
    }
}

fn read(path: &Path, largest: u64) -> Option<Zeroizing<Vec<u8>>> {
    if fs::metadata(path).ok()?.len() > largest {
        return None;
    }
    fs::read(path).ok().map(Zeroizing::new)
}

fn good(issued: &Issued, names: &[Name], now: OffsetDateTime) -> Option<Certificate> {
    let certificate = issued.read().ok()?;
    let valid = certificate.life.not_before <= now && now < certificate.life.not_after;
    (valid && names.iter().all(|name| certificate.names.contains(name))).then_some(certificate)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::certificate::LocalCa;

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| name.parse().expect("a name")).collect()
    }

    #[test]
    fn certificate_comes_back_for_its_names_while_it_is_valid() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let identity_cache = IdentityCache::new(folder.path().join("identity.json"));
        let now = OffsetDateTime::now_utc();
        assert!(identity_cache.read(&names(&["a.example"]), now).is_none(), "there is none yet");

        let ca = LocalCa::open(&folder.path().join("ca")).expect("a CA");
        let issued = ca.issue(&names(&["a.example", "b.example"]), now).expect("issued");
        let certificate = issued.read().expect("usable");
        identity_cache.write(&certificate).expect("written");
        assert_eq!(fs::metadata(&identity_cache.0).expect("there").permissions().mode() & 0o777, 0o600);

        let table = [
            (names(&["a.example"]), now, true),
            (names(&["b.example", "a.example"]), now, true),
            (names(&["a.example", "c.example"]), now, false),
            (names(&["a.example"]), certificate.life.not_after, false),
            (names(&["a.example"]), certificate.life.not_before - time::Duration::SECOND, false),
        ];
        for (names, now, good) in table {
            let read = identity_cache.read(&names, now);
            assert_eq!(read.is_some_and(|read| read == certificate), good, "{names:?} at {now}");
        }
        fs::write(&identity_cache.0, "{\"directory\":").expect("damaged");
        assert!(identity_cache.read(&names(&["a.example"]), now).is_none());
    }
}
