//! The vault: where the document is kept. A secret in AWS, or a private file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use time::Duration;
use zeroize::Zeroizing;

use super::{
    document::{Document, Parsed},
    local_ca::private,
};
use crate::{
    aws::{
        Aws,
        secret::{Secret, Stored, Swapped},
    },
    config::VaultPlace,
    fault::Fault,
    keeper::Kept,
};

/// Where the document is kept.
pub enum Vault {
    /// A secret in Secrets Manager.
    Secret {
        /// Its name.
        name: String,
        /// The way to AWS.
        aws: Kept<Aws>,
    },
    /// A file that only its owner can read.
    Disk(PathBuf),
}

/// A clock that is off by less is not worth a word: a `Date` is a whole second, and an answer takes its time.
const UNREMARKABLE: Duration = Duration::seconds(30);

/// What a look into the vault found.
#[derive(Clone)]
pub(super) struct Reading {
    /// The version to swap against; none when there is none yet.
    pub version: Option<String>,
    /// The document; an empty one when there is none yet.
    pub document: Document,
    /// What a person should know of it.
    pub note: Option<String>,
    /// How far the clock of this host is behind that of AWS; zero when it is right, or nobody said.
    pub off: Duration,
}

impl Vault {
    /// The vault at `place`.
    pub fn new(place: VaultPlace, aws: Kept<Aws>) -> Vault {
        match place {
            VaultPlace::Secret(name) => Vault::Secret { name, aws },
            VaultPlace::Disk(path) => Vault::Disk(path),
        }
    }

    pub(super) fn lacks(&self) -> bool {
        matches!(self, Vault::Secret { aws, .. } if aws.borrow().is_none())
    }

    pub(super) async fn woken(&mut self) {
        match self {
            Vault::Secret { aws, .. } if aws.borrow().is_none() => {
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
        let (stored, off) = self.stored().await?;
        let Some(stored) = stored else {
            return Ok(Reading { version: None, document: Document::default(), note: None, off });
        };
        let (document, note) = match Document::parse(&stored.text) {
            Parsed::Whole(document) => (document, None),
            Parsed::Newer(fault) => return Err(fault),
            Parsed::Damaged(left, why) => self.damaged(left, why).await,
            Parsed::Foreign(fault) => match self.before().await {
                Some(document) => (document, Some(format!("{fault}; the version before it is used"))),
                None => return Err(fault),
            },
        };
        Ok(Reading { version: Some(stored.version), document, note, off })
    }

    /// What is stored, be it a document or not, and how far the clock is behind.
    pub(super) async fn stored(&self) -> Result<(Option<Stored>, Duration), Fault> {
        match self {
            Vault::Secret { name, aws } => {
                let secret = secret(name, aws)?;
                let stored = secret.read().await?;
                Ok((stored, secret.told().map_or(Duration::ZERO, |(told, taken)| remarkable(told - taken))))
            }
            Vault::Disk(path) => Ok((on_disk(path)?, Duration::ZERO)),
        }
    }

    /// The document to go on with instead of a damaged one: what is left of it, if its certificate is, else the version
    /// before it.
    async fn damaged(&self, left: Document, why: String) -> (Document, Option<String>) {
        let usable = |document: &Document| document.certificate.as_ref().is_some_and(|issued| issued.read().is_ok());
        let note = |used: &str| Some(format!("the vault document is damaged: {why}; {used}"));
        if usable(&left) {
            return (left, note("its certificate is whole and used"));
        }
        match self.before().await.filter(usable) {
            Some(document) => (document, note("the version before it is used")),
            None => (left, note("another certificate is needed")),
        }
    }

    /// The document before the current one, if there is one and it is whole.
    pub(super) async fn before(&self) -> Option<Document> {
        let stored = match self {
            Vault::Secret { name, aws } => secret(name, aws).ok()?.previous().await.ok()?,
            Vault::Disk(path) => on_disk(&previous(path)).ok()?,
        };
        match Document::parse(&stored?.text) {
            Parsed::Whole(document) => Some(document),
            Parsed::Damaged(..) | Parsed::Foreign(_) | Parsed::Newer(_) => None,
        }
    }

    /// Stores `document` if the vault still holds the version `was`, which is kept as the one before it.
    pub(super) async fn swap(&self, was: Option<&str>, document: &Document) -> Result<Swapped, Fault> {
        let text = document.text()?;
        match self {
            Vault::Secret { name, aws } => secret(name, aws)?.swap(was, &text).await,
            Vault::Disk(path) => {
                let there = on_disk(path)?;
                if there.as_ref().map(|stored| stored.version.as_str()) != was {
                    return Ok(Swapped::Lost);
                }
                write(path, there, &text).map_err(|error| {
                    Fault::operator(format!("writing {}", path.display()), error, "make it writable")
                })?;
                Ok(Swapped::Done(version(&text)))
            }
        }
    }
}

/// What is to be made of a clock that is off by so much: nothing, if it is little.
pub(super) fn remarkable(off: Duration) -> Duration {
    if off.abs() < UNREMARKABLE { Duration::ZERO } else { off }
}

fn secret(name: &str, aws: &Kept<Aws>) -> Result<Secret, Fault> {
    let aws = aws.borrow().clone();
    let aws = aws.ok_or_else(|| Fault::retry("reading the vault", "the region is not known yet"))?;
    Ok(Secret::new(&aws, name.to_owned()))
}

fn write(path: &Path, there: Option<Stored>, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if let Some(there) = there {
        private(&previous(path), there.text.as_bytes())?;
    }
    private(path, text.as_bytes())
}

/// Where the version before the current one lies.
fn previous(path: &Path) -> PathBuf {
    path.with_added_extension("previous")
}

fn on_disk(path: &Path) -> Result<Option<Stored>, Fault> {
    match fs::read(path) {
        Ok(bytes) => {
            // What is not UTF-8 is no document, and is told so by what reads it.
            let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
            Ok(Some(Stored { version: version(&text), text }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::operator(format!("reading {}", path.display()), error, "make it readable")),
    }
}

/// On disk a version is what the content is.
fn version(text: &str) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut content = DefaultHasher::new();
    text.hash(&mut content);
    format!("{:016x}", content.finish())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn swap_against_a_version_that_is_no_longer_there_is_lost() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("vault/identity.json");
        let vault = Vault::Disk(path.clone());
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
