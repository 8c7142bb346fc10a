//! Small objects that hosts leave beside the packages for each other and for people: JSON, read and written whole.

use aws_sdk_s3::{
    Client,
    config::retry::RetryConfig,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};

use super::{
    Aws,
    refusal::{code, fault},
};
use crate::fault::Fault;

/// A larger object is none of these.
const LARGEST: i64 = 64 << 10;

/// The bucket that they lie in.
#[derive(Clone)]
pub struct Papers {
    client: Client,
    bucket: String,
}

/// What came of writing an object that must not be there yet, or must be as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there now.
    Ours,
    /// It was there before, and is as it was.
    AnOthers,
}

impl Papers {
    /// Those in `bucket`.
    pub fn new(aws: &Aws, bucket: String) -> Papers {
        let config = aws_sdk_s3::config::Builder::from(&aws.config).retry_config(RetryConfig::disabled());
        let config = config.interceptor(aws.date.clone()).build();
        Papers { client: Client::from_conf(config), bucket }
    }

    /// Reads an object; none if it is not there.
    ///
    /// Without `s3:ListBucket` on the very key, S3 answers 403 where nothing is: so a refusal reads as nothing too.
    ///
    /// # Errors
    /// What S3 refuses otherwise; an object that is too large.
    pub async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.read_tagged(key).await?.map(|(body, _)| body))
    }

    /// The same with its entity tag, by which it can be replaced.
    ///
    /// # Errors
    /// As [`Papers::read`].
    pub async fn read_tagged(&self, key: &str) -> Result<Option<(Vec<u8>, String)>, Fault> {
        let doing = self.doing("reading", key);
        let answer = match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(answer) => answer,
            Err(error) if matches!(code(&error), Some("NoSuchKey" | "AccessDenied")) => return Ok(None),
            Err(error) => return Err(fault(&doing, "s3:GetObject", &error)),
        };
        if answer.content_length().unwrap_or(0) > LARGEST {
            return Err(Fault::retry(doing, format!("it is larger than {LARGEST} bytes")));
        }
        let etag = answer.e_tag().unwrap_or_default().to_owned();
        let body = answer.body.collect().await;
        body.map(|body| Some((body.to_vec(), etag))).map_err(|error| Fault::retry(doing, super::refusal::words(&error)))
    }

    /// Writes an object that must not be there yet (`If-None-Match: *`).
    ///
    /// # Errors
    /// What S3 refuses; two such writes that met (409), which may be tried again.
    pub async fn write_new(&self, key: &str, body: Vec<u8>) -> Result<Written, Fault> {
        match self.put(key, body).if_none_match("*").send().await {
            Ok(_) => Ok(Written::Ours),
            Err(error) if code(&error) == Some("PreconditionFailed") => Ok(Written::AnOthers),
            Err(error) => Err(self.refused(key, &error)),
        }
    }

    /// Replaces the object with that entity tag, and no other (`If-Match`): a compare-and-swap.
    ///
    /// # Errors
    /// What S3 refuses; two such writes that met (409), which may be tried again.
    pub async fn replace(&self, key: &str, etag: &str, body: Vec<u8>) -> Result<Written, Fault> {
        match self.put(key, body).if_match(etag).send().await {
            Ok(_) => Ok(Written::Ours),
            Err(error) if matches!(code(&error), Some("PreconditionFailed" | "NoSuchKey")) => Ok(Written::AnOthers),
            Err(error) => Err(self.refused(key, &error)),
        }
    }

    /// Writes an object, whatever was there.
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn write(&self, key: &str, body: Vec<u8>) -> Result<(), Fault> {
        self.put(key, body).send().await.map(|_| ()).map_err(|error| self.refused(key, &error))
    }

    fn put(&self, key: &str, body: Vec<u8>) -> aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder {
        let request = self.client.put_object().bucket(&self.bucket).key(key).body(ByteStream::from(body));
        request.content_type("application/json")
    }

    fn refused<E>(&self, key: &str, error: &SdkError<E>) -> Fault
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        fault(&self.doing("writing", key), "s3:PutObject", error)
    }

    fn doing(&self, what: &str, key: &str) -> String {
        format!("{what} s3://{}/{key}", self.bucket)
    }
}
