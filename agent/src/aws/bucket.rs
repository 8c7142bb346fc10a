//! The package bucket: which packages there are, and fetching one of them.

use std::path::Path;

use aws_sdk_s3::{
    Client,
    config::retry::RetryConfig,
    operation::get_object::GetObjectOutput,
    primitives::DateTimeFormat,
    types::{ChecksumMode, Object as Listed},
};
use time::OffsetDateTime;
use tokio::{
    fs::File,
    io::{AsyncWriteExt as _, BufWriter},
};

use super::{
    Aws,
    refusal::{code, fault},
};
use crate::{config::Bucket as Place, fault::Fault, package::Release};

/// No more pages of 1,000 keys than this are read: a prefix with more objects is not a prefix of packages.
const MOST_PAGES: usize = 100;

/// One prefix of one bucket.
pub struct Bucket {
    client: Client,
    place: Place,
}

/// What a conditional look at one object found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// Still the object that was known.
    Same,
    /// Another object under the same key.
    Other(Release),
    /// No such key any more.
    Gone,
}

impl Bucket {
    /// The bucket and prefix that the configuration names.
    pub fn new(aws: &Aws, place: Place) -> Bucket {
        // The keeper decides when to look again: an S3 that is down is not to be asked twice as often.
        let config = aws_sdk_s3::config::Builder::from(&aws.config).retry_config(RetryConfig::disabled()).build();
        Bucket { client: Client::from_conf(config), place }
    }

    /// The same with a client that is there already.
    pub(super) fn with(client: Client, place: Place) -> Bucket {
        Bucket { client, place }
    }

    /// Every object under the prefix (`ListObjectsV2`, all pages).
    ///
    /// # Errors
    /// What S3 refuses; more pages than a prefix of packages has.
    pub async fn list(&self) -> Result<Vec<Release>, Fault> {
        let doing = format!("listing {}", self.place);
        let request = self.client.list_objects_v2().bucket(&self.place.bucket).prefix(&self.place.prefix);
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        for _ in 0..MOST_PAGES {
            let Some(page) = pages.next().await else {
                return Ok(found);
            };
            let page = page.map_err(|error| fault(&doing, "s3:ListBucket", &error))?;
            found.extend(page.contents().iter().filter_map(release));
        }
        let remedy = "keep packages under a prefix of their own, and remove old ones";
        Err(Fault::operator(doing, format!("more than {MOST_PAGES} pages of objects"), remedy))
    }

    /// Looks whether `known` is still what lies under its key (`HeadObject` with `If-None-Match`).
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn head(&self, known: &Release) -> Result<Head, Fault> {
        let request = self.client.head_object().bucket(&self.place.bucket).key(&known.key).if_none_match(&known.etag);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                // 304 and 404 of a HEAD carry no body and so no code.
                return match error.raw_response().map(|r| r.status().as_u16()) {
                    Some(304) => Ok(Head::Same),
                    Some(404) => Ok(Head::Gone),
                    _ => Err(fault(&format!("looking at {}", self.named(&known.key)), "s3:GetObject", &error)),
                };
            }
        };
        let Some(etag) = answer.e_tag() else {
            return Err(Fault::retry(format!("looking at {}", self.named(&known.key)), "an answer without ETag"));
        };
        if etag == known.etag {
            return Ok(Head::Same);
        }
        Ok(Head::Other(Release {
            key: known.key.clone(),
            etag: etag.to_owned(),
            version: answer.version_id().map(str::to_owned),
            length: length(answer.content_length()),
            modified: answer.last_modified().and_then(instant).unwrap_or(known.modified),
        }))
    }

    /// Fetches exactly `release` into `path`, which is written anew, and says which version it was.
    ///
    /// The object is pinned by ETag, and by version id where one is known; length and, where S3 has one, checksum
    /// are held against what arrives.
    ///
    /// # Errors
    /// What S3 refuses; another object under the key by now; a body that is cut, too long or altered; the disk.
    pub async fn fetch(&self, release: &Release, path: &Path) -> Result<Release, Fault> {
        let doing = format!("fetching {}", self.named(&release.key));
        let request = self.client.get_object().bucket(&self.place.bucket).key(&release.key);
        let request = request.if_match(&release.etag).set_version_id(release.version.clone());
        let answer = request.checksum_mode(ChecksumMode::Enabled).send().await;
        let answer = answer.map_err(|error| match code(&error) {
            Some("PreconditionFailed" | "NoSuchKey" | "NoSuchVersion") => {
                Fault::retry(&doing, "it was replaced between look and fetch")
            }
            _ => fault(&doing, "s3:GetObject and s3:GetObjectVersion", &error),
        })?;
        let version = answer.version_id().map(str::to_owned).or_else(|| release.version.clone());
        write(answer, release.length, path).await.map_err(|said| Fault::retry(doing, said))?;
        Ok(Release { version, ..release.clone() })
    }

    fn named(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.place.bucket)
    }
}

async fn write(answer: GetObjectOutput, length: u64, path: &Path) -> Result<(), String> {
    let on_disk = |error| format!("writing {}: {error}", path.display());
    let mut file = BufWriter::with_capacity(1 << 17, File::create(path).await.map_err(on_disk)?);
    let mut body = answer.body;
    let mut written = 0;
    while let Some(chunk) = body.next().await {
        let chunk =
            chunk.map_err(|error| format!("the body after {written} bytes: {}", super::refusal::words(&error)))?;
        written += chunk.len() as u64;
        if written > length {
            return Err(format!("more than the {length} bytes that were announced"));
        }
        file.write_all(&chunk).await.map_err(on_disk)?;
    }
    if written != length {
        return Err(format!("{written} of {length} bytes"));
    }
    file.flush().await.map_err(on_disk)?;
    file.get_ref().sync_all().await.map_err(on_disk)
}

fn release(listed: &Listed) -> Option<Release> {
    Some(Release {
        key: listed.key()?.to_owned(),
        etag: listed.e_tag()?.to_owned(),
        version: None,
        length: length(listed.size()),
        modified: listed.last_modified().and_then(instant)?,
    })
}

fn length(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
}

fn instant(at: &aws_sdk_s3::primitives::DateTime) -> Option<OffsetDateTime> {
    let text = at.fmt(DateTimeFormat::DateTime).ok()?;
    OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339).ok()
}
