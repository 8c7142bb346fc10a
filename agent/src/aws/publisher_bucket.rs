//! The bucket as a publisher sees it: looking at objects, writing small ones, and moving a pointer.

use std::{collections::HashMap, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{AppName, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    primitives::{ByteStream, DateTimeFormat},
    types::MetadataDirective,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Aws,
    bucket::BucketClient,
    document_store::HIDDEN_AT_MOST,
    refusal::{DENIED, code, fault},
};
use crate::{
    documents::Release,
    fault::{Cause, Cure, Fault},
    place::S3Prefix as Place,
};

/// What need not be encoded in `x-amz-copy-source`.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One prefix of one bucket, for the publishers there.
#[derive(Clone)]
pub struct PublisherBucket {
    pub(super) client: Client,
    pub(super) place: Place,
}

/// An object as a look finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Entity tag, quotes included.
    pub etag: String,
    /// Length in bytes.
    pub length: u64,
    /// When it was written, by S3's clock, to the second.
    pub modified: OffsetDateTime,
    /// Its user metadata, without the prefix `x-amz-meta-`.
    pub metadata: HashMap<String, String>,
}

/// The outcome of moving a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It is moved; the pointer's new ETag.
    Here(String),
    /// The pointer is not the expected one: another publisher has moved it.
    NotAsSeen,
}

impl PublisherBucket {
    /// The prefix at `place`. Its calls are repeated where they may be, and wait long: there is a person or a job behind
    /// them, and bodies may be large.
    pub fn new(aws: &Aws, place: Place) -> PublisherBucket {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(300))
            .build();
        let mut config = aws
            .s3()
            .retry_config(RetryConfig::standard().with_max_attempts(5).with_initial_backoff(Duration::from_millis(300)))
            .timeout_config(timeouts);
        // So that readers of the bucket's access log can tell publishers from hosts, where no application id is set.
        if aws.config.app_name().is_none() {
            config.set_app_name(AppName::new("publisher").ok());
        }
        PublisherBucket { client: Client::from_conf(config.build()), place }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Every object whose key begins with the prefix and then `under`.
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn list(&self, under: &str) -> Result<Vec<Release>, Fault> {
        self.list_keys(&format!("{}{under}", self.place.prefix)).await
    }

    async fn list_keys(&self, begin: &str) -> Result<Vec<Release>, Fault> {
        BucketClient::with(self.client.clone(), self.place.clone()).list_keys(begin).await
    }

    /// The object under that key (`HeadObject`); none when there is none.
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn look(&self, key: &str) -> Result<Option<Object>, Fault> {
        let doing = format!("looking at {}", self.named(key));
        let mut times = 0;
        let answer = loop {
            let error = match self.client.head_object().bucket(&self.place.bucket).key(key).send().await {
                Ok(answer) => break answer,
                Err(error) => error,
            };
            let refused = refused(&doing, "s3:GetObject", &error);
            match error.raw_response().map(|answer| answer.status().as_u16()) {
                Some(404) => return Ok(None),
                Some(403) if self.is_there(key, &refused, &mut times).await? => {}
                Some(403) => return Ok(None),
                _ => return Err(refused),
            }
        };
        Ok(Some(Object {
            etag: answer.e_tag().unwrap_or_default().to_owned(),
            length: answer.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0),
            modified: answer.last_modified().and_then(instant).unwrap_or(OffsetDateTime::UNIX_EPOCH),
            metadata: answer.metadata().cloned().unwrap_or_default(),
        }))
    }

    /// The content under that key, or the last `tail` bytes of it (`GetObject`); none when there is no such object.
    ///
    /// # Errors
    /// What S3 refuses; a body that is cut.
    pub async fn read(&self, key: &str, tail: Option<u64>) -> Result<Option<Vec<u8>>, Fault> {
        let doing = format!("reading {}", self.named(key));
        let mut times = 0;
        let answer = loop {
            let request = self.client.get_object().bucket(&self.place.bucket).key(key);
            let request = request.set_range(tail.map(|bytes| format!("bytes=-{bytes}")));
            let error = match request.send().await {
                Ok(answer) => break answer,
                Err(error) => error,
            };
            let refused = refused(&doing, "s3:GetObject", &error);
            match code(&error) {
                Some("NoSuchKey") => return Ok(None),
                Some(code) if DENIED.contains(&code) => {
                    if !self.is_there(key, &refused, &mut times).await? {
                        return Ok(None);
                    }
                }
                _ => return Err(refused),
            }
        };
        let body = answer.body.collect().await.map_err(|error| Fault::retry(&doing, super::refusal::words(&error)))?;
        Ok(Some(body.into_bytes().to_vec()))
    }

    /// Writes a small object, over whatever is there (`PutObject`).
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn write(&self, key: &str, body: Vec<u8>, content_type: &str) -> Result<(), Fault> {
        let request = self.client.put_object().bucket(&self.place.bucket).key(key).content_type(content_type);
        let written = request.body(ByteStream::from(body)).send().await;
        written.map(drop).map_err(|error| refused(&format!("writing {}", self.named(key)), "s3:PutObject", &error))
    }

    /// Makes `to` a copy of the object `from`, which must still be `etag`, with this metadata — if what lies under `to`
    /// is still `was`, or nothing (`CopyObject` with `If-Match` or `If-None-Match`,
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).
    ///
    /// # Errors
    /// What S3 refuses; a source that is gone.
    pub async fn point(
        &self,
        from: &str,
        etag: &str,
        to: &str,
        was: Option<&str>,
        metadata: HashMap<String, String>,
    ) -> Result<Moved, Fault> {
        let source = format!("{}/{}", self.place.bucket, utf8_percent_encode(from, PLAIN));
        let request = self.client.copy_object().bucket(&self.place.bucket).key(to).copy_source(source);
        let request = request.copy_source_if_match(etag).metadata_directive(MetadataDirective::Replace);
        let request = request.set_metadata(Some(metadata)).content_type("application/zip");
        let request = match was {
            Some(etag) => request.if_match(etag),
            None => request.if_none_match("*"),
        };
        match request.send().await {
            Ok(answer) => {
                let etag = answer.copy_object_result().and_then(|result| result.e_tag());
                Ok(Moved::Here(etag.unwrap_or_default().to_owned()))
            }
            Err(error) if is_condition(&error) => Ok(Moved::NotAsSeen),
            // `If-Match` on what is gone.
            Err(error) if code(&error) == Some("NoSuchKey") && was.is_some() => Ok(Moved::NotAsSeen),
            Err(error) => {
                let doing = format!("making {} a copy of {}", self.named(to), self.named(from));
                let refused = refused(&doing, "s3:PutObject and s3:GetObject", &error);
                let denied = code(&error).is_some_and(|code| DENIED.contains(&code));
                // What was copied from, or the pointer that was seen, may be gone.
                if denied && self.look(from).await?.is_none() {
                    let remedy = "another publisher has removed it: publish again";
                    return Err(Fault::operator(doing, format!("{} is gone", self.named(from)), remedy));
                }
                if denied && was.is_some() && self.look(to).await?.is_none() {
                    Ok(Moved::NotAsSeen)
                } else {
                    Err(refused)
                }
            }
        }
    }

    /// Removes an object; one that is not there is removed already (`DeleteObject`).
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn remove(&self, key: &str) -> Result<(), Fault> {
        let removed = self.client.delete_object().bucket(&self.place.bucket).key(key).send().await;
        removed.map(drop).map_err(|error| refused(&format!("removing {}", self.named(key)), "s3:DeleteObject", &error))
    }

    /// Holds a refusal (403) of a read against a listing, as a caller who may list only some prefixes is not told that
    /// there is no such object (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>). If there is one, it
    /// may have been written in between, and is worth another read.
    ///
    /// # Errors
    /// The refusal, if the object may not be listed either, or was there [`HIDDEN_AT_MOST`] `times`.
    async fn is_there(&self, key: &str, refused: &Fault, times: &mut u32) -> Result<bool, Fault> {
        match self.list_keys(key).await {
            Ok(found) if found.iter().all(|object| object.key != key) => Ok(false),
            Ok(_) => {
                *times += 1;
                if *times < HIDDEN_AT_MOST { Ok(true) } else { Err(refused.clone()) }
            }
            Err(fault) if fault.cure == Cure::Operator => {
                let remedy = refused.remedy.clone().unwrap_or_default();
                let remedy =
                    format!("{remedy}; and s3:ListBucket of `{key}`, without which S3 hides whether it is there");
                Err(Fault { remedy: Some(remedy), ..refused.clone() })
            }
            Err(fault) => Err(fault),
        }
    }

    pub(super) fn named(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.place.bucket)
    }
}

/// 412: the condition does not hold. 409: two conditional writes met, and this one lost.
pub(super) fn is_condition<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    matches!(code(error), Some("PreconditionFailed" | "ConditionalRequestConflict"))
}

/// 409: two conditional writes met, and S3 asks for another try.
pub(super) fn is_conflict<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    code(error) == Some("ConditionalRequestConflict")
}

/// The fault that `error` is, with the cure for a publisher rather than for a host.
pub(super) fn refused<E>(doing: &str, permission: &str, error: &SdkError<E>) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let fault = fault(doing, permission, error);
    let denied = error.raw_response().is_some_and(|answer| answer.status().as_u16() == 403);
    match fault.cause {
        Cause::Other | Cause::Denied if denied => {
            let remedy = format!("allow {permission} to the publisher");
            Fault::operator(doing, fault.said, remedy).because(fault.cause)
        }
        _ => fault,
    }
}

fn instant(at: &aws_sdk_s3::primitives::DateTime) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&at.fmt(DateTimeFormat::DateTime).ok()?, &Rfc3339).ok()
}
