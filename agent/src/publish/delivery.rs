//! Bringing a package to where hosts look for it, and moving the pointer back.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use time::OffsetDateTime;

use super::{BuiltPackage, catalogue::Catalogue, pointer::may_move, progress::ByteProgress, signature::Signer};
use crate::{
    aws::{
        publisher_bucket::{Moved, Object, PublisherBucket},
        upload::{UploadOutcome, UploadSource},
    },
    documents::{Label, Layout, Version, layout},
    fault::Fault,
};

/// How often a conditional write is tried again after another publisher has moved the pointer.
const MOST_TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// One publication under way.
pub struct Delivery<'a> {
    publisher_bucket: &'a PublisherBucket,
    keys: Layout,
    /// When it was decided, which settles who of two publishers is the newer one.
    begun: OffsetDateTime,
    /// The pointer as it was then.
    seen: Option<Object>,
}

/// How a publication ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The pointer leads to it.
    Live {
        /// What it leads to.
        label: Label,
        /// ETag of the pointer.
        etag: String,
        /// How many bytes were sent for it.
        sent: u64,
        /// Other objects that say that they are the latest.
        rivals: Vec<String>,
    },
    /// The pointer led to exactly this already.
    Unchanged {
        /// What it leads to.
        label: Label,
        /// ETag of the pointer.
        etag: String,
    },
    /// A publisher who began later was there first, and its version stays.
    Superseded {
        /// What the pointer leads to, if it was published by this program.
        by: Option<Version>,
    },
    /// A host has refused exactly this package before, for these reasons.
    Refused {
        /// Its version.
        version: Version,
        /// What was wrong with it.
        reasons: Vec<String>,
    },
}

impl<'a> Delivery<'a> {
    /// Begins a publication that is decided at `begun`.
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn begin(publisher_bucket: &'a PublisherBucket, begun: OffsetDateTime) -> Result<Delivery<'a>, Fault> {
        let keys = Layout::new(&publisher_bucket.place().prefix);
        let seen = publisher_bucket.look(&keys.pointer()).await?;
        Ok(Delivery { publisher_bucket, keys, begun, seen })
    }

    /// Publishes a package: its own object, the signature, then the pointer.
    ///
    /// # Errors
    /// What S3 refuses; a key that does not sign.
    pub async fn publish(&self, built: &BuiltPackage, signer: Option<&Signer>) -> Result<Delivered, Fault> {
        if let Some((label, etag)) = self.unchanged(built, signer) {
            return Ok(Delivered::Unchanged { label, etag });
        }
        let catalogue = Catalogue::read(self.publisher_bucket).await?;
        let version = self.version(built, &catalogue).await?;
        let signature = signer.map(|signer| signer.sign(&built.path, &version)).transpose()?;
        if let Some(reasons) = catalogue.refusal(&version, signature.as_deref()) {
            return Ok(Delivered::Refused { version, reasons });
        }
        let label = Label { sha256: built.sha256.clone(), published: self.begun, version, signature };
        let (etag, sent) = self.version_object(built, &label).await?;
        let rivals = catalogue.beside(&self.keys.pointer());
        self.move_pointer(&etag, label, sent, rivals).await
    }

    /// Moves the pointer back, or forth, to a version of the catalogue.
    ///
    /// # Errors
    /// What S3 refuses; no such version.
    pub async fn lead_to(&self, version: &Version, catalogue: &Catalogue) -> Result<Delivered, Fault> {
        let key = self.keys.version(version);
        let gone =
            || Fault::operator(format!("leading to {version}"), "there is no such version", "see spothost releases");
        let object = self.publisher_bucket.look(&key).await?.ok_or_else(gone)?;
        let label = Label::of(&object.metadata).ok_or_else(gone)?;
        if let Some(reasons) = catalogue.refusal(version, label.signature.as_deref()) {
            return Ok(Delivered::Refused { version: version.clone(), reasons });
        }
        if let Some((now, etag)) =
            self.seen.as_ref().and_then(|seen| Some((Label::of(&seen.metadata)?, seen.etag.clone())))
            && now.version == *version
        {
            return Ok(Delivered::Unchanged { label: now, etag });
        }
        if let Some(signature) = &label.signature {
            self.sign_pointer(signature).await?;
        }
        self.move_pointer(&object.etag, Label { published: self.begun, ..label }, 0, Vec::new()).await
    }

    /// What the pointer leads to, if it is this package, with a signature where one is wanted.
    fn unchanged(&self, built: &BuiltPackage, signer: Option<&Signer>) -> Option<(Label, String)> {
        let seen = self.seen.as_ref()?;
        let label = Label::of(&seen.metadata)?;
        let signed = signer.is_none_or(|signer| label.signature.as_deref().is_some_and(|text| signer.has_signed(text)));
        (label.sha256 == built.sha256 && signed).then(|| (label, seen.etag.clone()))
    }

    /// The version of this package: the one that it has, be it whole or half sent, or a new one.
    async fn version(&self, built: &BuiltPackage, catalogue: &Catalogue) -> Result<Version, Fault> {
        let fits = |version: &Version| version.is_of(&built.sha256);
        if let Some(known) = catalogue.versions().find(|version| fits(version)) {
            return Ok(known.clone());
        }
        let pending = self.publisher_bucket.pending(&self.keys.versions()).await?;
        let pending = pending.iter().filter_map(|key| self.keys.version_of(key)).filter(fits).max();
        Ok(pending.unwrap_or_else(|| Version::new(self.begun, &built.sha256)))
    }

    /// Writes the version's own object, if it is not there; its ETag, and how many bytes were sent.
    async fn version_object(&self, built: &BuiltPackage, label: &Label) -> Result<(String, u64), Fault> {
        let key = self.keys.version(&label.version);
        if let Some(signature) = &label.signature {
            self.write_signature(&key, signature).await?;
            self.sign_pointer(signature).await?;
        }
        if let Some(there) = self.publisher_bucket.look(&key).await? {
            return Ok((same(there, built, &key)?.etag, 0));
        }
        let content = UploadSource { path: &built.path, length: built.length, sha256: bytes_of(&built.sha256)? };
        let progress = ByteProgress::new("uploading", built.length);
        let sent = AtomicU64::new(0);
        let count = |bytes| {
            progress.add(bytes);
            sent.fetch_add(bytes, Ordering::Relaxed);
        };
        let written = self.publisher_bucket.write_once(&key, content, label.metadata(), &count).await;
        progress.done();
        let bytes = match written? {
            UploadOutcome::New(bytes) => bytes,
            UploadOutcome::Taken(object) => {
                return Ok((same(object, built, &key)?.etag, sent.into_inner()));
            }
        };
        let gone = || Fault::retry(format!("looking at {key}"), "it was written a moment ago, and is not there");
        Ok((self.publisher_bucket.look(&key).await?.ok_or_else(gone)?.etag, bytes))
    }

    /// Makes the pointer a copy of the version's object, unless a younger decision was there first.
    async fn move_pointer(&self, etag: &str, label: Label, sent: u64, rivals: Vec<String>) -> Result<Delivered, Fault> {
        let from = self.keys.version(&label.version);
        let to = self.keys.pointer();
        for _ in 0..MOST_TRIES {
            let now = self.publisher_bucket.look(&to).await?;
            if let Some(now) = &now
                && Label::of(&now.metadata).is_some_and(|now| now == label)
            {
                return Ok(Delivered::Live { label, etag: now.etag.clone(), sent, rivals });
            }
            if !may_move(now.as_ref(), self.seen.as_ref(), self.begun, &label.version) {
                return Ok(Delivered::Superseded {
                    by: now.and_then(|now| Label::of(&now.metadata)).map(|label| label.version),
                });
            }
            let was = now.as_ref().map(|now| now.etag.as_str());
            if let Moved::Here(etag) = self.publisher_bucket.point(&from, etag, &to, was, label.metadata()).await? {
                return Ok(Delivered::Live { label, etag, sent, rivals });
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Fault::retry(format!("moving {to}"), format!("others moved it {MOST_TRIES} times meanwhile")))
    }

    async fn sign_pointer(&self, signature: &str) -> Result<(), Fault> {
        self.write_signature(&self.keys.pointer(), signature).await
    }

    async fn write_signature(&self, package: &str, signature: &str) -> Result<(), Fault> {
        self.publisher_bucket.write(&layout::signature(package), signature.as_bytes().to_vec(), "text/plain").await
    }
}

/// The object under a version's key, if it is this package.
fn same(object: Object, built: &BuiltPackage, key: &str) -> Result<Object, Fault> {
    let label = Label::of(&object.metadata);
    if label.is_some_and(|label| label.sha256 == built.sha256) && object.length == built.length {
        return Ok(object);
    }
    let remedy = "remove that object: it was not written by this program";
    Err(Fault::operator(format!("writing {key}"), "something else lies there", remedy))
}

/// The 32 bytes of a SHA-256 in hexadecimal digits.
///
/// # Errors
/// When it is none.
fn bytes_of(sha256: &str) -> Result<[u8; 32], Fault> {
    let mut bytes = [0; 32];
    let decoded = hex::decode_to_slice(sha256, &mut bytes);
    let remedy = "report this as a defect: the package was hashed wrongly";
    decoded.map_err(|error| Fault::operator(format!("reading the SHA-256 `{sha256}`"), error, remedy))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_that_is_no_sha256_is_an_error_and_no_other_hash() {
        assert_eq!(bytes_of(&"0f".repeat(32)), Ok([0x0f; 32]));
        for bad in ["", "0f", &"0f".repeat(33), &"0g".repeat(32), &"é".repeat(32)] {
            assert!(bytes_of(bad).is_err(), "{bad}");
        }
    }
}
