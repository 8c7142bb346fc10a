//! The package bucket: which packages there are, and fetching one of them.

use std::{ops::Range, time::Duration};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::{ByteStream, DateTimeFormat},
    types::{ChecksumMode, Object as Listed},
};
use time::OffsetDateTime;

use super::{
    Aws,
    checksum::Checksum,
    refusal::{DENIED, code, fault},
};
use crate::{
    documents::{Label, Release},
    fault::Fault,
    place::S3Prefix as Place,
};

/// No more pages of 1,000 keys than this are read: a prefix with more objects is not a prefix of packages.
const MOST_PAGES: usize = 100;

/// One prefix of one bucket.
pub struct BucketClient {
    client: Client,
    place: Place,
}

/// A body that says nothing for this long is given up; what came of it stays.
const SILENCE: Duration = Duration::from_secs(20);

/// The metadata that S3 keeps of one release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMetadata {
    /// Version id, where the bucket keeps versions.
    pub version: Option<String>,
    /// What its bytes are.
    pub checksum: Checksum,
    /// The version that its publisher gave it.
    pub named: Option<String>,
    /// What its publisher says is its SHA-256, in hexadecimal digits.
    pub sha256: Option<String>,
    /// A whole `.minisig` file, in base64.
    pub signature: Option<String>,
}

/// The bytes of a part, as they come.
pub struct PartBody(ByteStream);

/// The answer to a conditional `HeadObject`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionalHead {
    /// Still the object that was known.
    Same,
    /// Another object under the same key.
    Other,
    /// No such key any more.
    Gone,
    /// Gone, or not allowed to be read, as the fault says: to a caller who may list only some prefixes S3 answers 403 for
    /// both (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>). A listing tells which.
    Hidden(Fault),
}

/// Why exactly one release could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfetched {
    /// Another object lies under its key by now, or none.
    Replaced(Fault),
    /// It is gone, or may not be read, as the fault says; see [`ConditionalHead::Hidden`].
    Hidden(Fault),
    /// Anything else.
    Failed(Fault),
}

impl BucketClient {
    /// The bucket and prefix that the configuration names.
    pub fn new(aws: &Aws, place: Place) -> BucketClient {
        // The keeper decides when to look again: an S3 that is down is not to be asked twice as often.
        BucketClient { client: Client::from_conf(aws.s3_once().build()), place }
    }

    /// The same with a client that is there already.
    pub(super) fn with(client: Client, place: Place) -> BucketClient {
        BucketClient { client, place }
    }

    /// Every object in the folder and below it (`ListObjectsV2`, all pages).
    ///
    /// # Errors
    /// What S3 refuses; more pages than a folder of packages has.
    pub async fn list(&self) -> Result<Vec<Release>, Fault> {
        self.list_keys(&self.place.prefix).await
    }

    /// Every object whose key begins so.
    ///
    /// # Errors
    /// As [`BucketClient::list`].
    pub(super) async fn list_keys(&self, begin: &str) -> Result<Vec<Release>, Fault> {
        let doing = format!("listing {}", self.named(begin));
        let request = self.client.list_objects_v2().bucket(&self.place.bucket).prefix(begin);
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        for _ in 0..MOST_PAGES {
            let Some(page) = pages.next().await else {
                return Ok(found);
            };
            let permission = format!("s3:ListBucket of `{begin}`, as `spothost policy` prints it,");
            let page = page.map_err(|error| fault(&doing, &permission, &error))?;
            found.extend(page.contents().iter().filter_map(release));
        }
        let remedy = "keep packages in a folder of their own, and remove old ones";
        Err(Fault::operator(doing, format!("more than {MOST_PAGES} pages of objects"), remedy))
    }

    /// Looks whether `known` is still what lies under its key (`HeadObject` with `If-None-Match`).
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn head(&self, known: &Release) -> Result<ConditionalHead, Fault> {
        let request = self.client.head_object().bucket(&self.place.bucket).key(&known.key).if_none_match(&known.etag);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let doing = format!("looking at {}", self.named(&known.key));
                // The answer to a HEAD carries no body and so no code.
                return match status(&error) {
                    Some(304) => Ok(ConditionalHead::Same),
                    Some(404) => Ok(ConditionalHead::Gone),
                    Some(403) => Ok(ConditionalHead::Hidden(denied(&doing, "s3:GetObject"))),
                    _ => Err(fault(&doing, "s3:GetObject", &error)),
                };
            }
        };
        let Some(etag) = answer.e_tag() else {
            return Err(Fault::retry(format!("looking at {}", self.named(&known.key)), "an answer without ETag"));
        };
        if etag == known.etag {
            return Ok(ConditionalHead::Same);
        }
        Ok(ConditionalHead::Other)
    }

    /// What the store says of exactly `release` (`HeadObject`, pinned).
    ///
    /// # Errors
    /// What S3 refuses; another object under the key by now.
    pub async fn about(&self, release: &Release) -> Result<ObjectMetadata, Unfetched> {
        let request = self.client.head_object().bucket(&self.place.bucket).key(&release.key);
        let request = request.if_match(&release.etag).set_version_id(release.version.clone());
        let answer = request.checksum_mode(ChecksumMode::Enabled).send().await;
        let answer = answer.map_err(|error| self.unfetched(release, &error))?;
        let said = |name: &str| answer.metadata().and_then(|all| all.get(name)).cloned();
        Ok(ObjectMetadata {
            version: answer.version_id().map(str::to_owned).or_else(|| release.version.clone()),
            checksum: Checksum::of(&answer),
            named: said(Label::VERSION),
            sha256: said(Label::SHA256),
            signature: said(Label::SIGNATURE),
        })
    }

    /// Begins to fetch `part` of exactly `release`, which is pinned by ETag, and by version id where one is known.
    ///
    /// # Errors
    /// What S3 refuses; another object under the key by now.
    pub async fn part(&self, release: &Release, part: Range<u64>) -> Result<PartBody, Unfetched> {
        let request = self.client.get_object().bucket(&self.place.bucket).key(&release.key);
        let mut request = request.if_match(&release.etag).set_version_id(release.version.clone());
        if part != (0..release.length) {
            request = request.range(format!("bytes={}-{}", part.start, part.end.saturating_sub(1)));
        }
        let answer = request.send().await.map_err(|error| self.unfetched(release, &error))?;
        let begins =
            answer.content_range().and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
        if begins.unwrap_or(0) != part.start {
            let said = "S3 sent another part than was asked for";
            return Err(Unfetched::Failed(Fault::retry(self.fetching(release), said)));
        }
        Ok(PartBody(answer.body))
    }

    /// The versions of the object under `key` that the bucket keeps (`ListObjectVersions`, one page), without delete markers.
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn versions(&self, key: &str) -> Result<Vec<Release>, Fault> {
        let request = self.client.list_object_versions().bucket(&self.place.bucket).prefix(key).max_keys(100);
        let doing = format!("listing the versions of {}", self.named(key));
        let answer = request.send().await.map_err(|error| fault(&doing, "s3:ListBucketVersions", &error))?;
        let kept = answer.versions().iter().filter(|version| version.key() == Some(key)).filter_map(|version| {
            let modified = version.last_modified().and_then(instant)?;
            let plain = Release::plain(version.key()?, version.e_tag()?, length(version.size()), modified);
            Some(Release { version: version.version_id().filter(|id| *id != "null").map(str::to_owned), ..plain })
        });
        Ok(kept.collect())
    }

    fn unfetched<E>(&self, release: &Release, error: &SdkError<E>) -> Unfetched
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let doing = self.fetching(release);
        let permission = "s3:GetObject and s3:GetObjectVersion";
        // The answer to a HEAD carries no body and so no code.
        match (code(error), status(error)) {
            (Some("PreconditionFailed" | "NoSuchKey" | "NoSuchVersion" | "NotFound"), _) | (None, Some(404 | 412)) => {
                Unfetched::Replaced(Fault::retry(doing, "it was replaced between listing and download"))
            }
            (None, Some(403)) => Unfetched::Hidden(denied(&doing, permission)),
            (Some(code), _) if DENIED.contains(&code) => Unfetched::Hidden(fault(&doing, permission, error)),
            _ => Unfetched::Failed(fault(&doing, permission, error)),
        }
    }

    fn fetching(&self, release: &Release) -> String {
        format!("fetching {}", self.named(&release.key))
    }

    fn named(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.place.bucket)
    }
}

impl PartBody {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// In words, why it ends before its end.
    pub async fn next(&mut self) -> Option<Result<bytes::Bytes, String>> {
        match tokio::time::timeout(SILENCE, self.0.next()).await {
            Ok(next) => next.map(|piece| piece.map_err(|error| super::refusal::words(&error))),
            Err(_) => Some(Err(format!("nothing came for {} s", SILENCE.as_secs()))),
        }
    }
}

impl Unfetched {
    /// The fault, where it does not matter which.
    pub fn fault(self) -> Fault {
        match self {
            Unfetched::Replaced(fault) | Unfetched::Hidden(fault) | Unfetched::Failed(fault) => fault,
        }
    }
}

/// The status of the answer; none when there was no answer.
fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|answer| answer.status().as_u16())
}

/// A refusal without a body, which could say more.
fn denied(doing: &str, permission: &str) -> Fault {
    Fault::operator(doing, "403 Forbidden", format!("allow {permission} to the role of the host"))
}

fn release(listed: &Listed) -> Option<Release> {
    let modified = listed.last_modified().and_then(instant)?;
    Some(Release::plain(listed.key()?, listed.e_tag()?, length(listed.size()), modified))
}

fn length(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
}

fn instant(at: &aws_sdk_s3::primitives::DateTime) -> Option<OffsetDateTime> {
    let text = at.fmt(DateTimeFormat::DateTime).ok()?;
    OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339).ok()
}
