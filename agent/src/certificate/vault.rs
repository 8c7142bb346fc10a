//! The vault: where the document is kept. A secret in AWS, or a private file.

use std::{fs, io, path::PathBuf};

use super::{document::Document, local_ca::private};
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

    /// The document and the version to swap against; an empty one when there is none yet.
    pub(super) async fn read(&self) -> Result<(Option<String>, Document), Fault> {
        let stored = match self {
            Vault::Secret { name, aws } => secret(name, aws)?.read().await?,
            Vault::Disk(path) => on_disk(path)?,
        };
        match stored {
            None => Ok((None, Document::default())),
            Some(stored) => Ok((Some(stored.version), Document::parse(&stored.text)?)),
        }
    }

    /// Stores `document` if the vault still holds the version `was`.
    pub(super) async fn swap(&self, was: Option<&str>, document: &mut Document) -> Result<Swapped, Fault> {
        let text = document.text()?;
        let swapped = match self {
            Vault::Secret { name, aws } => secret(name, aws)?.swap(was, &text).await?,
            Vault::Disk(path) => {
                if on_disk(path)?.map(|stored| stored.version).as_deref() != was {
                    return Ok(Swapped::Lost);
                }
                let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
                folder.and_then(|()| private(path, text.as_bytes())).map_err(|error| {
                    Fault::operator(format!("writing {}", path.display()), error, "make it writable")
                })?;
                Swapped::Done(version(&text))
            }
        };
        document.stored();
        Ok(swapped)
    }
}

fn secret(name: &str, aws: &Kept<Aws>) -> Result<Secret, Fault> {
    let aws = aws.borrow().clone();
    let aws = aws.ok_or_else(|| Fault::retry("reading the vault", "the region is not known yet"))?;
    Ok(Secret::new(&aws, name.to_owned()))
}

fn on_disk(path: &PathBuf) -> Result<Option<Stored>, Fault> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(Stored { version: version(&text), text })),
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
        let (none, mut document) = vault.read().await.expect("empty");
        assert_eq!(none, None);
        let Swapped::Done(first) = vault.swap(None, &mut document).await.expect("written") else { panic!("lost") };
        assert_eq!(vault.swap(None, &mut document).await, Ok(Swapped::Lost));
        assert_eq!(vault.read().await.map(|(version, _)| version).ok(), Some(Some(first)));
        assert_eq!(fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
