//! A lease: an object that at most one host holds at a time, by S3's conditional writes.
//!
//! It is made with `If-None-Match: *` and taken over only with `If-Match` of the very object that has run out
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html>), so of two hosts one wins.
//! Whether it has run out is told by S3's clock alone: `Date` of its answer against the object's `Last-Modified`.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use serde::{Deserialize, Serialize};

use super::{
    Aws,
    refusal::{code, fault},
};
use crate::fault::Fault;

/// One lease object.
#[derive(Clone)]
pub struct LeaseObject {
    client: Client,
    bucket: String,
    key: String,
}

/// What came of asking for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is ours, as this version of the object.
    Ours(Version),
    /// Somebody else holds it.
    Theirs {
        /// Who.
        holder: String,
        /// For how long at most.
        left: Duration,
    },
    /// It may not be asked for: the permission is missing.
    Denied(Fault),
}

/// One version of the object, by which it is refreshed and given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    etag: String,
    /// Fencing number: one more with every holder.
    pub number: u64,
}

#[derive(Serialize, Deserialize)]
struct Written {
    holder: String,
    number: u64,
    /// So that every write is another object, with another ETag.
    writing: u64,
}

impl LeaseObject {
    /// The lease under that key.
    pub fn new(aws: &Aws, bucket: String, key: String) -> LeaseObject {
        LeaseObject { client: Client::from_conf(aws.s3_once().build()), bucket, key }
    }

    /// Asks for the lease for `holder`; one that was not refreshed for `life` has run out.
    ///
    /// # Errors
    /// What S3 refuses, other than a permission.
    pub async fn ask(&self, holder: &str, life: Duration) -> Result<Asked, Fault> {
        self.ask_after(holder, life, None).await
    }

    /// The same, but a lease that is held by `gone` has run out, however young it is.
    ///
    /// # Errors
    /// What S3 refuses, other than a permission.
    pub async fn ask_after(&self, holder: &str, life: Duration, gone: Option<&str>) -> Result<Asked, Fault> {
        let fresh = self.put(holder, 1, None).await;
        let now = match fresh {
            Ok(version) => return Ok(Asked::Ours(version)),
            Err(error) if is_taken(&error) => date_of(&error),
            Err(error) => return self.refused(&error),
        };
        let request = self.client.get_object().bucket(&self.bucket).key(&self.key);
        let answer = match request.send().await {
            Ok(answer) => answer,
            // It was given back this moment.
            Err(error) if code(&error) == Some("NoSuchKey") => return Ok(soon(Duration::from_millis(200))),
            Err(error) => return self.refused(&error),
        };
        let etag = answer.e_tag().unwrap_or_default().to_owned();
        let written = answer.last_modified().and_then(|at| SystemTime::try_from(*at).ok());
        let body = answer.body.collect().await.map(|body| body.into_bytes()).unwrap_or_default();
        let theirs =
            serde_json::from_slice(&body).unwrap_or(Written { holder: "somebody".into(), number: 0, writing: 0 });
        let age = written.and_then(|written| now.duration_since(written).ok()).unwrap_or_default();
        match life.checked_sub(age) {
            Some(left) if theirs.holder != holder && gone != Some(&theirs.holder) && !left.is_zero() => {
                Ok(Asked::Theirs { holder: theirs.holder, left })
            }
            _ => self.take_over(holder, theirs.number + 1, &etag).await,
        }
    }

    /// Refreshes the lease, which shows that it is still ours; none when it is not.
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn refresh(&self, holder: &str, version: &Version) -> Result<Option<Version>, Fault> {
        match self.put(holder, version.number, Some(&version.etag)).await {
            Ok(version) => Ok(Some(version)),
            Err(error) if is_taken(&error) || code(&error) == Some("NoSuchKey") => Ok(None),
            Err(error) => Err(fault(&self.doing("refreshing"), "s3:PutObject", &error)),
        }
    }

    /// Gives the lease back, if it is still ours.
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn give_back(&self, version: &Version) -> Result<(), Fault> {
        let request = self.client.delete_object().bucket(&self.bucket).key(&self.key).if_match(&version.etag);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_taken(&error) || code(&error) == Some("NoSuchKey") => Ok(()),
            Err(error) => Err(fault(&self.doing("giving back"), "s3:DeleteObject", &error)),
        }
    }

    async fn take_over(&self, holder: &str, number: u64, etag: &str) -> Result<Asked, Fault> {
        match self.put(holder, number, Some(etag)).await {
            Ok(version) => Ok(Asked::Ours(version)),
            Err(error) if is_taken(&error) || code(&error) == Some("NoSuchKey") => Ok(soon(Duration::from_secs(1))),
            Err(error) => self.refused(&error),
        }
    }

    async fn put(
        &self,
        holder: &str,
        number: u64,
        was: Option<&str>,
    ) -> Result<Version, SdkError<aws_sdk_s3::operation::put_object::PutObjectError>> {
        let written = Written { holder: holder.to_owned(), number, writing: fastrand::u64(..) };
        let body = serde_json::to_vec(&written).unwrap_or_default();
        let request = self.client.put_object().bucket(&self.bucket).key(&self.key).body(ByteStream::from(body));
        let request = match was {
            Some(etag) => request.if_match(etag),
            None => request.if_none_match("*"),
        };
        let answer = request.content_type("application/json").send().await?;
        Ok(Version { etag: answer.e_tag().unwrap_or_default().to_owned(), number })
    }

    fn refused<E>(&self, error: &SdkError<E>) -> Result<Asked, Fault>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let fault = fault(&self.doing("asking for"), "s3:PutObject, s3:GetObject and s3:DeleteObject", error);
        match fault.cure {
            crate::fault::Cure::Operator => Ok(Asked::Denied(fault)),
            _ => Err(fault),
        }
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} the lease s3://{}/{}", self.bucket, self.key)
    }
}

fn soon(left: Duration) -> Asked {
    Asked::Theirs { holder: "another host".to_owned(), left }
}

/// 412: the condition does not hold. 409: two conditional writes met, and this one lost.
fn is_taken<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    matches!(code(error), Some("PreconditionFailed" | "ConditionalRequestConflict"))
}

fn date_of<E>(error: &SdkError<E>) -> SystemTime {
    let date = error.raw_response().and_then(|answer| answer.headers().get("date"));
    date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(SystemTime::now)
}
