//! Writing a package that is never overwritten: in one piece, or in parts that a later run goes on with.
//!
//! Every byte is sent with its SHA-256, which S3 holds against what arrives
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>).

use std::{collections::HashMap, path::Path, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, MultipartUpload, Part},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    time::sleep,
};

use super::{
    publisher_bucket::{Object, PublisherBucket, is_condition, is_conflict, refused},
    refusal::{code, is_denied},
};
use crate::fault::Fault;

/// How many bytes a part has: S3 takes 5 MiB to 5 GiB, at most 10,000 of them, and 5 GiB in parts of this are 640
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const PART: u64 = 8 << 20;
/// Packages from this length on are sent in parts.
const IN_PARTS_FROM: u64 = 2 * PART;
/// How many parts are under way at once: they lie in memory meanwhile.
const AT_ONCE: usize = 4;

/// How often a write is tried again that another conditional write was in the way of (409), which S3 asks for
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>).
const MOST_CONFLICTS: u32 = 5;
const CONFLICT_PAUSE: Duration = Duration::from_millis(200);

/// The file that is uploaded.
#[derive(Clone, Copy, Debug)]
pub struct UploadSource<'a> {
    /// Where it lies.
    pub path: &'a Path,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

/// The outcome of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadOutcome {
    /// It is there now; so many bytes were sent by this run.
    New(u64),
    /// Something lies under that key already.
    Taken(Object),
}

impl PublisherBucket {
    /// Writes `content` under `key`, if nothing lies there (`If-None-Match: *`). `sent` is told of bytes as they are
    /// there.
    ///
    /// # Errors
    /// What S3 refuses; the file.
    pub async fn write_once(
        &self,
        key: &str,
        content: UploadSource<'_>,
        metadata: HashMap<String, String>,
        sent: &(impl Fn(u64) + Sync),
    ) -> Result<UploadOutcome, Fault> {
        let written = if content.length < IN_PARTS_FROM {
            self.in_one_piece(key, content, metadata).await?.then_some(content.length)
        } else {
            self.in_parts(key, content, metadata, sent).await?
        };
        match written {
            Some(bytes) if content.length < IN_PARTS_FROM => {
                sent(bytes);
                Ok(UploadOutcome::New(bytes))
            }
            Some(bytes) => Ok(UploadOutcome::New(bytes)),
            None => match self.look(key).await? {
                Some(object) => Ok(UploadOutcome::Taken(object)),
                None => Err(Fault::retry(self.writing(key), "it was there a moment ago, and is not any more")),
            },
        }
    }

    /// The keys under `prefix` that an upload in parts is under way for; none to a caller who may not list them.
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn pending(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        let uploads = self.uploads(prefix).await?;
        Ok(uploads.into_iter().filter_map(|upload| upload.key).collect())
    }

    async fn in_one_piece(
        &self,
        key: &str,
        content: UploadSource<'_>,
        metadata: HashMap<String, String>,
    ) -> Result<bool, Fault> {
        let mut conflicts = 0;
        loop {
            let body = ByteStream::from_path(content.path).await;
            let body = body.map_err(|error| Fault::retry(self.writing(key), error))?;
            let request = self.client.put_object().bucket(&self.place.bucket).key(key).body(body);
            let request = request.if_none_match("*").checksum_sha256(BASE64_STANDARD.encode(content.sha256));
            let request = request.set_metadata(Some(metadata.clone())).content_type("application/zip");
            match request.send().await {
                Ok(_) => return Ok(true),
                Err(error) if is_conflict(&error) && conflicts < MOST_CONFLICTS => conflicts += 1,
                Err(error) if is_condition(&error) => return Ok(false),
                Err(error) => return Err(refused(&self.writing(key), "s3:PutObject", &error)),
            }
            sleep(CONFLICT_PAUSE).await;
        }
    }

    /// Sends what is missing of an upload in parts, or of a new one. How many bytes were sent; none when something lies
    /// under the key.
    async fn in_parts(
        &self,
        key: &str,
        content: UploadSource<'_>,
        metadata: HashMap<String, String>,
        sent: &(impl Fn(u64) + Sync),
    ) -> Result<Option<u64>, Fault> {
        let (upload, there) = match self.uploads(key).await?.into_iter().find(|upload| upload.key() == Some(key)) {
            Some(MultipartUpload { upload_id: Some(upload), .. }) => {
                let there = self.parts(key, &upload).await?;
                (upload, there)
            }
            _ => (self.begin(key, metadata).await?, Vec::new()),
        };
        let numbers = 1..=content.length.div_ceil(PART);
        let sending = numbers.map(|number| self.part(key, &upload, content, number, &there, sent));
        let parts: Vec<_> = stream::iter(sending).buffered(AT_ONCE).try_collect().await?;
        let bytes = parts.iter().map(|(_, bytes)| bytes).sum();
        let parts = parts.into_iter().map(|(part, _)| part).collect();
        Ok(self.complete(key, &upload, parts).await?.then_some(bytes))
    }

    async fn begin(&self, key: &str, metadata: HashMap<String, String>) -> Result<String, Fault> {
        let request = self.client.create_multipart_upload().bucket(&self.place.bucket).key(key);
        let request = request.checksum_algorithm(ChecksumAlgorithm::Sha256).set_metadata(Some(metadata));
        let answer = request.content_type("application/zip").send().await;
        let answer = answer.map_err(|error| refused(&self.writing(key), "s3:PutObject", &error))?;
        let id = answer.upload_id().map(str::to_owned);
        id.ok_or_else(|| Fault::retry(self.writing(key), "an answer without an upload id"))
    }

    /// Sends one part, unless exactly it is there. The part, and how many bytes were sent for it.
    async fn part(
        &self,
        key: &str,
        upload: &str,
        content: UploadSource<'_>,
        number: u64,
        there: &[Part],
        sent: &(impl Fn(u64) + Sync),
    ) -> Result<(CompletedPart, u64), Fault> {
        let body = piece(content, number).await.map_err(|error| Fault::retry(self.writing(key), error))?;
        let length = body.len() as u64;
        let sum = BASE64_STANDARD.encode(digest(&SHA256, &body));
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        let completed = CompletedPart::builder().part_number(number).checksum_sha256(&sum);
        let known = there.iter().find(|part| {
            part.part_number() == Some(number) && part.checksum_sha256() == Some(&sum) && part.e_tag().is_some()
        });
        let (etag, bytes) = match known.and_then(Part::e_tag) {
            Some(etag) => (etag.to_owned(), 0),
            None => {
                let request = self.client.upload_part().bucket(&self.place.bucket).key(key).upload_id(upload);
                let request = request.part_number(number).checksum_algorithm(ChecksumAlgorithm::Sha256);
                let answer = request.checksum_sha256(&sum).body(ByteStream::from(body)).send().await;
                let answer = answer.map_err(|error| refused(&self.writing(key), "s3:PutObject", &error))?;
                (answer.e_tag().unwrap_or_default().to_owned(), length)
            }
        };
        sent(length);
        Ok((completed.e_tag(etag).build(), bytes))
    }

    async fn complete(&self, key: &str, upload: &str, parts: Vec<CompletedPart>) -> Result<bool, Fault> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let mut conflicts = 0;
        loop {
            let request = self.client.complete_multipart_upload().bucket(&self.place.bucket).key(key).upload_id(upload);
            match request.multipart_upload(parts.clone()).if_none_match("*").send().await {
                Ok(_) => return Ok(true),
                Err(error) if is_conflict(&error) && conflicts < MOST_CONFLICTS => conflicts += 1,
                // `NoSuchUpload`: it was completed, and the answer to that was lost.
                Err(error) if is_condition(&error) || code(&error) == Some("NoSuchUpload") => return Ok(false),
                Err(error) => return Err(refused(&self.writing(key), "s3:PutObject", &error)),
            }
            sleep(CONFLICT_PAUSE).await;
        }
    }

    /// Unfinished uploads below `prefix`. Resuming one only saves bytes, so a caller who may not list them finds none.
    async fn uploads(&self, prefix: &str) -> Result<Vec<MultipartUpload>, Fault> {
        let request = self.client.list_multipart_uploads().bucket(&self.place.bucket).prefix(prefix);
        match request.send().await {
            Ok(answer) => Ok(answer.uploads.unwrap_or_default()),
            Err(error) if is_denied(&error) => Ok(Vec::new()),
            Err(error) => {
                let doing = format!("looking for unfinished uploads to {}", self.named(prefix));
                Err(refused(&doing, "s3:ListBucketMultipartUploads", &error))
            }
        }
    }

    /// The parts of an upload that are stored; none for a caller who may not list them, who then sends all of it.
    async fn parts(&self, key: &str, upload: &str) -> Result<Vec<Part>, Fault> {
        let request = self.client.list_parts().bucket(&self.place.bucket).key(key).upload_id(upload);
        let pages: Result<Vec<_>, _> = request.into_paginator().send().collect().await;
        match pages {
            Ok(pages) => Ok(pages.into_iter().flat_map(|page| page.parts.unwrap_or_default()).collect()),
            Err(error) if is_denied(&error) => Ok(Vec::new()),
            Err(error) => Err(refused(&self.writing(key), "s3:ListMultipartUploadParts", &error)),
        }
    }

    fn writing(&self, key: &str) -> String {
        format!("writing {}", self.named(key))
    }
}

/// The bytes of a part, counted from 1.
async fn piece(content: UploadSource<'_>, number: u64) -> std::io::Result<Bytes> {
    let start = (number - 1) * PART;
    let length = PART.min(content.length.saturating_sub(start));
    let mut file = File::open(content.path).await?;
    file.seek(std::io::SeekFrom::Start(start)).await?;
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes).await?;
    Ok(bytes.into())
}
