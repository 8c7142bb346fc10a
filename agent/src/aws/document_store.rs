//! Small objects that hosts leave beside the packages for each other and for people: JSON, read and written whole.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};

use super::{
    Aws,
    refusal::{DENIED, code, fault},
};
use crate::fault::{Cure, Fault};

/// A larger object is none of these.
const LARGEST: i64 = 64 << 10;

/// How often in a row an object may be hidden that something else shows to be there, before that is a missing permission
/// and no coincidence: it may have been written or deleted between two calls.
pub const HIDDEN_AT_MOST: u32 = 3;

/// The bucket that they lie in.
#[derive(Clone)]
pub struct DocumentStore {
    client: Client,
    bucket: String,
    hidden: HiddenKeys,
}

/// The keys that S3 refused to be read, how often each was seen to be there all the same, and the last refusal.
#[derive(Clone, Default)]
struct HiddenKeys(Arc<Mutex<HashMap<String, (u32, Fault)>>>);

/// The outcome of writing an object that must not be there yet, or must be unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionalWrite {
    /// It is there now.
    Ours,
    /// It was there before, and is as it was.
    AnOthers,
}

impl DocumentStore {
    /// Those in `bucket`.
    pub fn new(aws: &Aws, bucket: String) -> DocumentStore {
        DocumentStore { client: Client::from_conf(aws.s3_once().build()), bucket, hidden: HiddenKeys::default() }
    }

    /// Reads an object; none if it is not there.
    ///
    /// Without `s3:ListBucket` on the very key, S3 answers 403 where nothing is: so a refusal reads as nothing too, until
    /// something else shows that the object is there ([`DocumentStore::read_listed`], [`DocumentStore::write_new`]).
    ///
    /// # Errors
    /// What S3 refuses otherwise; an object that is too large.
    pub async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.read_tagged(key).await?.map(|(body, _)| body))
    }

    /// Reads an object that a listing has shown; none if it is not there any more.
    ///
    /// # Errors
    /// As [`DocumentStore::read`]; a refusal: first as something that time may cure, since the object may just have been deleted,
    /// and as a missing permission when it is refused [`HIDDEN_AT_MOST`] times in a row.
    pub async fn read_listed(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        let read = self.read(key).await?;
        match self.hidden.is_there(key) {
            Some(fault) => Err(fault),
            None => Ok(read),
        }
    }

    /// The same with its entity tag, by which it can be replaced.
    ///
    /// # Errors
    /// As [`DocumentStore::read`].
    pub async fn read_tagged(&self, key: &str) -> Result<Option<(Vec<u8>, String)>, Fault> {
        let doing = self.doing("reading", key);
        let answer = match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == Some("NoSuchKey") => {
                self.hidden.forget(key);
                return Ok(None);
            }
            Err(error) if code(&error).is_some_and(|code| DENIED.contains(&code)) => {
                self.hidden.note(key, fault(&doing, "s3:GetObject", &error));
                return Ok(None);
            }
            Err(error) => return Err(fault(&doing, "s3:GetObject", &error)),
        };
        self.hidden.forget(key);
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
    /// What S3 refuses; two such writes that met (409), which may be tried again; an object that is there, and was refused
    /// to be read each time before.
    pub async fn write_new(&self, key: &str, body: Vec<u8>) -> Result<ConditionalWrite, Fault> {
        match self.put(key, body).if_none_match("*").send().await {
            Ok(_) => Ok(ConditionalWrite::Ours),
            Err(error) if code(&error) == Some("PreconditionFailed") => match self.hidden.is_there(key) {
                Some(fault) if fault.cure == Cure::Operator => Err(fault),
                _ => Ok(ConditionalWrite::AnOthers),
            },
            Err(error) => Err(self.refused(key, &error)),
        }
    }

    /// Replaces the object with that entity tag, and no other (`If-Match`): a compare-and-swap.
    ///
    /// # Errors
    /// What S3 refuses; two such writes that met (409), which may be tried again.
    pub async fn replace(&self, key: &str, etag: &str, body: Vec<u8>) -> Result<ConditionalWrite, Fault> {
        match self.put(key, body).if_match(etag).send().await {
            Ok(_) => Ok(ConditionalWrite::Ours),
            Err(error) if matches!(code(&error), Some("PreconditionFailed" | "NoSuchKey")) => {
                Ok(ConditionalWrite::AnOthers)
            }
            // Refused like a missing object: the next reader, who makes it anew, hears of a missing permission.
            Err(error) if code(&error).is_some_and(|code| DENIED.contains(&code)) => match self.read(key).await? {
                None => Ok(ConditionalWrite::AnOthers),
                Some(_) => Err(self.refused(key, &error)),
            },
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

impl HiddenKeys {
    /// Notes that `key` was refused to be read.
    fn note(&self, key: &str, fault: Fault) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(key) {
            Some((_, last)) => *last = fault,
            None => drop(all.insert(key.to_owned(), (0, fault))),
        }
    }

    /// Forgets what was noted of `key`, which was read, or is not there.
    fn forget(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Hears that `key` is there. None if it was not refused to be read.
    fn is_there(&self, key: &str) -> Option<Fault> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (times, fault) = all.get_mut(key)?;
        *times += 1;
        let said = format!("{}: it is gone by now, or may not be read", fault.said);
        let passing = Fault::retry(fault.doing.clone(), said);
        Some(if *times < HIDDEN_AT_MOST { passing } else { fault.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_that_lasts_is_told_as_one() {
        let hidden = HiddenKeys::default();
        let denied = Fault::operator("reading k", "AccessDenied: no", "allow it");
        assert_eq!(hidden.is_there("k"), None, "nothing was refused");
        for _ in 0..2 {
            let mut cures = Vec::new();
            for _ in 0..4 {
                hidden.note("k", denied.clone());
                cures.extend(hidden.is_there("k").map(|fault| fault.cure));
            }
            assert_eq!(cures, [Cure::Retry, Cure::Retry, Cure::Operator, Cure::Operator]);
            hidden.note("other", denied.clone());
            hidden.forget("k");
            assert_eq!(hidden.is_there("k"), None, "it was read in between");
        }
    }
}
