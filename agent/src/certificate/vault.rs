//! The vault: where the document is kept. A secret in AWS, or a private file.
//!
//! Reads of a secret lag its writes. A read that shows an older version than is known to be there is made again for some
//! seconds. What follows from one that is old all the same is refused: a document is stored in the place of the version that
//! was read, and of no other.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use sha2::{Digest as _, Sha256};
use time::Duration;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::document::{Parsed, VaultDocument};
use crate::{
    atomic_file::AtomicFile,
    aws::{
        Aws,
        secret::{Secret, SecretValue, Swapped},
    },
    fault::Fault,
    keeper::Kept,
    place::{SecretId, VaultPlace},
};

/// Where the document is kept, and what this process knows of it.
pub struct Vault {
    kept: VaultStore,
    /// Number of the newest version that this process has read or written, and since when it knows.
    newest: Mutex<Option<(u64, Instant)>>,
}

/// Where the document is kept.
enum VaultStore {
    /// A secret in Secrets Manager, and the AWS session.
    Secret(SecretId, Kept<Aws>),
    /// A file that only its owner can read.
    Disk(PathBuf),
}

/// How long reads may lag before an older version is taken for the current one: a person has put it back.
const SETTLED: std::time::Duration = std::time::Duration::from_secs(60);
/// How long a read that shows an older version is made again.
const READ_AGAIN: std::time::Duration = std::time::Duration::from_secs(10);
/// Between two of them.
const EVERY: std::time::Duration = std::time::Duration::from_millis(300);

/// A clock that is off by less is not worth a word: a `Date` is a whole second, and an answer takes its time.
const UNREMARKABLE: Duration = Duration::seconds(30);

/// One reading of the vault.
#[derive(Clone)]
pub(super) struct Reading {
    /// The version to swap against; none when there is none yet.
    pub version: Option<String>,
    /// The document; an empty one when there is none yet.
    pub document: VaultDocument,
    /// What a person should know of it.
    pub note: Option<String>,
    /// How far the clock of this host is behind that of AWS; zero when it is right or unknown.
    pub off: Duration,
}

impl Vault {
    /// The vault at `place`.
    pub fn new(place: VaultPlace, aws: Kept<Aws>) -> Vault {
        let kept = match place {
            VaultPlace::Secret(id) => VaultStore::Secret(id, aws),
            VaultPlace::Disk(path) => VaultStore::Disk(path),
        };
        Vault { kept, newest: Mutex::default() }
    }

    /// Whether it takes an AWS session to read it.
    pub fn is_secret(&self) -> bool {
        matches!(self.kept, VaultStore::Secret(..))
    }

    pub(super) fn lacks(&self) -> bool {
        matches!(&self.kept, VaultStore::Secret(_, aws) if aws.borrow().is_none())
    }

    pub(super) async fn woken(&mut self) {
        match &mut self.kept {
            VaultStore::Secret(_, aws) if aws.borrow().is_none() => {
                let _ = aws.changed().await;
            }
            _ => std::future::pending().await,
        }
    }

    /// Reads the vault. Where its document is damaged, what is still good in it is used, or the version before it.
    ///
    /// # Errors
    /// When it cannot be read; when it holds something that this program has not written, or a newer one has.
    pub(super) async fn read(&self) -> Result<Reading, Fault> {
        self.read_since(0).await
    }

    /// The same, but a version before number `written`, or before one that this process has seen within the last minute, is
    /// read again for some seconds.
    ///
    /// # Errors
    /// As [`Vault::read`].
    pub(super) async fn read_since(&self, written: u64) -> Result<Reading, Fault> {
        let seen = self.newest().filter(|(_, since)| since.elapsed() < SETTLED).map_or(0, |(number, _)| number);
        let least = written.max(seen);
        let end = Instant::now() + READ_AGAIN;
        loop {
            let reading = self.look().await?;
            let number = reading.document.written;
            if number < least && Instant::now() < end {
                sleep(EVERY).await;
                continue;
            }
            if number < least {
                let waited = READ_AGAIN.as_secs();
                tracing::warn!(
                    number,
                    known = least,
                    "the vault has shown an older version than is known for {waited} s: it is used, and nothing newer is overwritten"
                );
            }
            self.knows(number);
            return Ok(reading);
        }
    }

    fn newest(&self) -> Option<(u64, Instant)> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version of that number is the newest, from all that this process knows.
    fn knows(&self, number: u64) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.is_none_or(|(known, _)| known != number) {
            *newest = Some((number, Instant::now()));
        }
    }

    async fn look(&self) -> Result<Reading, Fault> {
        let (stored, off) = self.stored().await?;
        let Some(stored) = stored else {
            return Ok(Reading { version: None, document: VaultDocument::default(), note: None, off });
        };
        let (document, note) = match VaultDocument::parse(&stored.text) {
            Parsed::Whole(document) => (document, None),
            Parsed::Newer(fault) => return Err(fault),
            Parsed::Damaged(left, why) => self.damaged(left, why).await,
            Parsed::Foreign(fault) => match self.before().await {
                Some(document) => (document, Some(format!("{fault}; the previous version is used"))),
                None => return Err(fault),
            },
        };
        Ok(Reading { version: Some(stored.version), document, note, off })
    }

    /// The stored text, whether it is a document or not, and how far the clock is behind.
    pub(super) async fn stored(&self) -> Result<(Option<SecretValue>, Duration), Fault> {
        match &self.kept {
            VaultStore::Secret(id, aws) => {
                let secret = secret(id, aws)?;
                let stored = secret.read().await?;
                Ok((stored, secret.told().map_or(Duration::ZERO, |(told, taken)| remarkable(told - taken))))
            }
            VaultStore::Disk(path) => Ok((on_disk(path)?, Duration::ZERO)),
        }
    }

    /// The document to go on with instead of a damaged one: what is left of it, if its certificate is, else the version
    /// before it.
    async fn damaged(&self, left: VaultDocument, why: String) -> (VaultDocument, Option<String>) {
        let usable =
            |document: &VaultDocument| document.certificate.as_ref().is_some_and(|issued| issued.read().is_ok());
        let note = |used: &str| Some(format!("the vault document is damaged: {why}; {used}"));
        if usable(&left) {
            return (left, note("its certificate is whole and used"));
        }
        match self.before().await.filter(usable) {
            Some(document) => (document, note("the previous version is used")),
            None => (left, note("another certificate is needed")),
        }
    }

    /// The document before the current one, if there is one and it is whole.
    pub(super) async fn before(&self) -> Option<VaultDocument> {
        let stored = match &self.kept {
            VaultStore::Secret(id, aws) => secret(id, aws).ok()?.previous().await.ok()?,
            VaultStore::Disk(path) => on_disk(&previous(path)).ok()?,
        };
        match VaultDocument::parse(&stored?.text) {
            Parsed::Whole(document) => Some(document),
            Parsed::Damaged(..) | Parsed::Foreign(_) | Parsed::Newer(_) => None,
        }
    }

    /// Stores `document` if the vault still holds the version `was`, which is kept as the one before it.
    pub(super) async fn swap(&self, was: Option<&str>, document: &VaultDocument) -> Result<Swapped, Fault> {
        let text = document.text()?;
        let swapped = match &self.kept {
            VaultStore::Secret(id, aws) => secret(id, aws)?.swap(was, &text).await?,
            VaultStore::Disk(path) => {
                let there = on_disk(path)?;
                if there.as_ref().map(|stored| stored.version.as_str()) != was {
                    return Ok(Swapped::Lost);
                }
                write(path, there, &text).map_err(|error| {
                    Fault::operator(format!("writing {}", path.display()), error, "make it writable")
                })?;
                Swapped::Done(version(&text))
            }
        };
        if let Swapped::Done(_) = swapped {
            self.knows(document.written);
        }
        Ok(swapped)
    }
}

/// What is to be made of a clock that is off by so much: nothing, if it is little.
pub(super) fn remarkable(off: Duration) -> Duration {
    if off.abs() < UNREMARKABLE { Duration::ZERO } else { off }
}

fn secret(id: &SecretId, aws: &Kept<Aws>) -> Result<Secret, Fault> {
    let aws = aws.borrow().clone();
    let aws = aws.ok_or_else(|| Fault::retry("reading the vault", "the region is not known yet"))?;
    Ok(Secret::new(&aws, id.clone()))
}

fn write(path: &Path, there: Option<SecretValue>, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if let Some(there) = there {
        AtomicFile::at(&previous(path)).private().write(there.text.as_bytes())?;
    }
    AtomicFile::at(path).private().write(text.as_bytes())
}

/// Where the version before the current one lies.
fn previous(path: &Path) -> PathBuf {
    path.with_added_extension("previous")
}

fn on_disk(path: &Path) -> Result<Option<SecretValue>, Fault> {
    match fs::read(path) {
        Ok(bytes) => {
            // What is not UTF-8 is no document, and is told so by what reads it.
            let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
            Ok(Some(SecretValue { version: version(&text), text }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::operator(format!("reading {}", path.display()), error, "make it readable")),
    }
}

/// On disk a version is what the content is.
fn version(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn vault_in(folder: &Path) -> (Vault, PathBuf) {
        let path = folder.join("vault/identity.json");
        (Vault::new(VaultPlace::Disk(path.clone()), tokio::sync::watch::channel(None).1), path)
    }

    async fn write_next(vault: &Vault) -> u64 {
        let Reading { version, mut document, .. } = vault.read().await.expect("read");
        document.count(time::OffsetDateTime::now_utc());
        assert!(matches!(vault.swap(version.as_deref(), &document).await, Ok(Swapped::Done(_))));
        document.written
    }

    #[tokio::test(start_paused = true)]
    async fn older_version_than_is_known_is_read_again_and_then_taken_for_what_is_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (vault, path) = vault_in(folder.path());
        write_next(&vault).await;
        let old = fs::read(&path).expect("there");
        assert_eq!(write_next(&vault).await, 2);
        let new = fs::read(&path).expect("there");
        // What a lagging read shows.
        fs::write(&path, &old).expect("written");
        let begun = Instant::now();
        let read = async { vault.read().await.map(|reading| reading.document.written) };
        let later = async {
            sleep(std::time::Duration::from_secs(3)).await;
            fs::write(&path, &new).expect("written");
        };
        let (read, ()) = tokio::join!(read, later);
        assert_eq!((read, begun.elapsed().as_secs()), (Ok(2), 3));
        // Somebody puts the older one back.
        fs::write(&path, &old).expect("written");
        let begun = Instant::now();
        assert_eq!(vault.read().await.map(|reading| reading.document.written), Ok(1));
        assert_eq!(begun.elapsed().as_secs(), READ_AGAIN.as_secs());
        assert_eq!(vault.read().await.map(|reading| reading.document.written), Ok(1), "it is known by now");
        // What the lease tells is waited for as well, and a minute later an older one is no surprise.
        let begun = Instant::now();
        vault.read_since(7).await.expect("read");
        assert_eq!(begun.elapsed().as_secs(), READ_AGAIN.as_secs());
        fs::write(&path, &new).expect("written");
        vault.read().await.expect("read");
        tokio::time::advance(SETTLED).await;
        fs::write(&path, &old).expect("written");
        let begun = Instant::now();
        vault.read().await.expect("read");
        assert_eq!(begun.elapsed().as_secs(), 0);
    }

    #[tokio::test]
    async fn swap_against_a_version_that_is_no_longer_there_is_lost() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("vault/identity.json");
        let vault = Vault::new(VaultPlace::Disk(path.clone()), tokio::sync::watch::channel(None).1);
        let Reading { version: none, mut document, .. } = vault.read().await.expect("empty");
        assert_eq!(none, None);
        let Swapped::Done(first) = vault.swap(None, &document).await.expect("written") else { panic!("lost") };
        assert_eq!(vault.swap(None, &document).await, Ok(Swapped::Lost));
        assert_eq!(vault.read().await.map(|reading| reading.version).ok(), Some(Some(first.clone())));
        document.ledger.attempt("https://ca.example/", false, time::OffsetDateTime::now_utc());
        assert!(matches!(vault.swap(Some(&first), &document).await, Ok(Swapped::Done(second)) if second != first));
        for path in [previous(&path), path] {
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
    }
}
