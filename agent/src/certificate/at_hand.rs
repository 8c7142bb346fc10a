//! The certificate at hand: what a restarted agent serves with before it has heard from the vault.
//!
//! It lies in the runtime folder, which is memory and ends with the instance, in the one file on a host that holds a
//! private key. A site on a vault that is a file needs none: that file is as near.

use std::{fs, path::PathBuf};

use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{Certificate, document::Issued, local_ca::private};
use crate::{config::Name, keeper::Kept};

/// A certificate is a few KiB; what is larger is none of ours.
const LARGEST: u64 = 64 << 10;

/// Where the certificate in use is kept for the next process on this host.
#[derive(Clone, Debug)]
pub struct AtHand(PathBuf);

impl AtHand {
    /// Kept in the file at `path`.
    pub fn new(path: PathBuf) -> AtHand {
        AtHand(path)
    }

    /// What the process before this one served with, if it is still good for `names` at `now`.
    pub fn read(&self, names: &[Name], now: OffsetDateTime) -> Option<Certificate> {
        if fs::metadata(&self.0).ok()?.len() > LARGEST {
            return None;
        }
        let text = Zeroizing::new(fs::read(&self.0).ok()?);
        let certificate = serde_json::from_slice::<Issued>(&text).ok()?.read().ok()?;
        let good = certificate.life.not_before <= now && now < certificate.life.not_after;
        (good && names.iter().all(|name| certificate.names.contains(name))).then_some(certificate)
    }

    /// Keeps every certificate that is held from now on. That it cannot be kept costs the next start a call, no more.
    pub async fn follow(self, mut certificates: Kept<Certificate>) {
        loop {
            let held = certificates.borrow_and_update().clone();
            if let Some(held) = held
                && let Err(error) = self.write(&held)
            {
                tracing::warn!(path = %self.0.display(), %error, "the certificate is not kept for the next start");
            }
            if certificates.changed().await.is_err() {
                return;
            }
        }
    }

    fn write(&self, held: &Certificate) -> std::io::Result<()> {
        let text = serde_json::to_vec(&*held.issued).map(Zeroizing::new)?;
        private(&self.0, &text)
    }
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
        let at_hand = AtHand::new(folder.path().join("identity.json"));
        let now = OffsetDateTime::now_utc();
        assert!(at_hand.read(&names(&["a.example"]), now).is_none(), "there is none yet");

        let ca = LocalCa::open(&folder.path().join("ca")).expect("a CA");
        let issued = ca.issue(&names(&["a.example", "b.example"]), now).expect("issued");
        let certificate = issued.read().expect("usable");
        at_hand.write(&certificate).expect("written");
        assert_eq!(fs::metadata(&at_hand.0).expect("there").permissions().mode() & 0o777, 0o600);

        let table = [
            (names(&["a.example"]), now, true),
            (names(&["b.example", "a.example"]), now, true),
            (names(&["a.example", "c.example"]), now, false),
            (names(&["a.example"]), certificate.life.not_after, false),
            (names(&["a.example"]), certificate.life.not_before - time::Duration::SECOND, false),
        ];
        for (names, now, good) in table {
            let read = at_hand.read(&names, now);
            assert_eq!(read.is_some_and(|read| read == certificate), good, "{names:?} at {now}");
        }
        fs::write(&at_hand.0, "{\"directory\":").expect("damaged");
        assert!(at_hand.read(&names(&["a.example"]), now).is_none());
    }
}
