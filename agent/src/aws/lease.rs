//! A lease: an object that at most one host holds at a time, by S3's conditional writes.
//!
//! It is made with `If-None-Match: *` and taken over only with `If-Match` of the very object that has run out
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html>), so of two hosts one wins.
//! Whether it has run out is told by S3's clock alone: `Date` of its answer against the object's `Last-Modified`.
//!
//! A holder that gives it back leaves it there with what was done under it, which the next holder is told: S3 reads what
//! was written, always.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};

use super::{
    Aws,
    refusal::{DENIED, code, fault},
};
use crate::{
    chance, clock,
    documents::{Document as _, Lease, Unreadable},
    fault::Fault,
};

/// Bytes of the object: a larger one is none.
const LARGEST: i64 = 16 << 10;

/// One lease object.
#[derive(Clone)]
pub struct LeaseObject {
    client: Client,
    bucket: String,
    key: String,
}

/// The outcome of asking for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is ours, as this version of the object.
    Ours(LeaseVersion),
    /// Another holder has it.
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
pub struct LeaseVersion {
    etag: String,
    /// Fencing number: one more with every holder.
    pub number: u64,
    /// How far what the lease is for had come when this was written: a number that only grows. The holder sets it; who
    /// takes the lease over is told it.
    pub done: u64,
}

/// So often in a row an object that S3 knows and hides again is asked for once more.
const MOST_HIDDEN: u32 = 5;
/// After so long.
const HIDDEN_AGAIN: Duration = Duration::from_millis(200);

/// The object as a look finds it.
enum ObjectState {
    /// It is there.
    Object { etag: String, lease: Lease, modified: Option<SystemTime> },
    /// It is not.
    Nothing,
    /// S3 refuses to say: the permission is missing, or there is no such object, which a role without `s3:ListBucket` on
    /// that very key is not told (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>).
    Hidden(Fault),
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
        let mut hidden = 0;
        loop {
            match self.ask_once(holder, life, gone).await? {
                Once::Told(asked) => return Ok(asked),
                // It is gone between two calls, or reading it is not allowed: the next try tells.
                Once::Hidden(fault) if hidden == MOST_HIDDEN => return Ok(Asked::Denied(fault)),
                Once::Hidden(_) => hidden += 1,
            }
            tokio::time::sleep(HIDDEN_AGAIN).await;
        }
    }

    // The future of one call of an SDK is tens of kilobytes, and those of several calls in one function stand beside each other
    // on the stack of a build without optimisation: each is boxed.
    async fn ask_once(&self, holder: &str, life: Duration, gone: Option<&str>) -> Result<Once, Fault> {
        let fresh = Lease::held(holder, 1, 0);
        let now = match Box::pin(self.put(fresh, None)).await {
            Ok(version) => return Ok(Once::Told(Asked::Ours(version))),
            Err(error) if is_taken(&error) => date_of(&error),
            Err(error) => return self.refused(&error).map(Once::Told),
        };
        let (etag, theirs, modified) = match Box::pin(self.look()).await? {
            ObjectState::Object { etag, lease, modified } => (etag, lease, modified),
            ObjectState::Nothing => return Ok(Once::Told(soon(Duration::from_millis(200)))),
            ObjectState::Hidden(fault) => return Ok(Once::Hidden(fault)),
        };
        let age = modified.and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default();
        let left = life.saturating_sub(age);
        let is_over = theirs.free || theirs.holder == holder || gone == Some(&theirs.holder) || left.is_zero();
        if !is_over {
            return Ok(Once::Told(Asked::Theirs { holder: theirs.holder, left }));
        }
        let ours = Lease::held(holder, theirs.number.saturating_add(1), theirs.done);
        match Box::pin(self.put(ours, Some(&etag))).await {
            Ok(version) => Ok(Once::Told(Asked::Ours(version))),
            Err(error) if is_gone(&error) => Ok(Once::Told(soon(Duration::from_secs(1)))),
            // The first write was not refused for a permission, so this one is for an object that is not there.
            Err(error) if is_hidden(&error) => Ok(Once::Hidden(self.fault(&error))),
            Err(error) => self.refused(&error).map(Once::Told),
        }
    }

    /// Refreshes the lease, which shows that it is still ours; none when it is not.
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn refresh(&self, holder: &str, version: &LeaseVersion) -> Result<Option<LeaseVersion>, Fault> {
        let ours = || Lease::held(holder, version.number, version.done);
        match Box::pin(self.put(ours(), Some(&version.etag))).await {
            Ok(version) => return Ok(Some(version)),
            Err(error) if is_gone(&error) || is_hidden(&error) => {}
            Err(error) => return Err(fault(&self.doing("refreshing"), "s3:PutObject", &error)),
        }
        // A refresh whose answer was lost has made it another object, and it is ours all the same.
        match Box::pin(self.look()).await? {
            ObjectState::Object { etag, lease, .. }
                if lease.holder == holder && lease.number == version.number && !lease.free =>
            {
                Ok(Box::pin(self.put(ours(), Some(&etag))).await.ok())
            }
            _ => Ok(None),
        }
    }

    /// Gives the lease back, if it is still ours, with [`LeaseVersion::done`] for the next holder.
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn give_back(&self, holder: &str, version: &LeaseVersion) -> Result<(), Fault> {
        let free = Lease { free: true, ..Lease::held(holder, version.number, version.done) };
        match self.put(free, Some(&version.etag)).await {
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) || is_hidden(&error) => Ok(()),
            Err(error) => Err(fault(&self.doing("giving back"), "s3:PutObject", &error)),
        }
    }

    async fn look(&self) -> Result<ObjectState, Fault> {
        let answer = match self.client.get_object().bucket(&self.bucket).key(&self.key).send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == Some("NoSuchKey") => return Ok(ObjectState::Nothing),
            Err(error) if is_hidden(&error) => {
                return Ok(ObjectState::Hidden(fault(&self.doing("reading"), "s3:GetObject", &error)));
            }
            Err(error) => return Err(fault(&self.doing("reading"), "s3:GetObject", &error)),
        };
        if answer.content_length().unwrap_or(0) > LARGEST {
            let remedy = "remove it: no host has written that";
            return Err(Fault::operator(self.doing("reading"), format!("it is larger than {LARGEST} bytes"), remedy));
        }
        let etag = answer.e_tag().unwrap_or_default().to_owned();
        let modified = answer.last_modified().and_then(|at| SystemTime::try_from(*at).ok());
        let body = answer.body.collect().await.map(|body| body.into_bytes()).unwrap_or_default();
        let lease = match Lease::read(&body) {
            Ok(lease) => lease,
            // Whatever it is, it may be somebody's, and has run out like any other.
            Err(Unreadable::Foreign { .. }) => Lease::held("somebody", 0, 0),
            Err(later) => return Err(later.fault(self.doing("reading"), "")),
        };
        Ok(ObjectState::Object { etag, lease, modified })
    }

    async fn put(
        &self,
        lease: Lease,
        was: Option<&str>,
    ) -> Result<LeaseVersion, SdkError<aws_sdk_s3::operation::put_object::PutObjectError>> {
        let number = lease.number;
        let done = lease.done;
        let body = Lease { writing: chance::number(), ..lease }.text();
        let request = self.client.put_object().bucket(&self.bucket).key(&self.key).body(ByteStream::from(body));
        let request = match was {
            Some(etag) => request.if_match(etag),
            None => request.if_none_match("*"),
        };
        let answer = request.content_type("application/json").send().await?;
        Ok(LeaseVersion { etag: answer.e_tag().unwrap_or_default().to_owned(), number, done })
    }

    fn refused<E>(&self, error: &SdkError<E>) -> Result<Asked, Fault>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let fault = self.fault(error);
        match fault.cure {
            crate::fault::Cure::Operator => Ok(Asked::Denied(fault)),
            _ => Err(fault),
        }
    }

    fn fault<E>(&self, error: &SdkError<E>) -> Fault
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        fault(&self.doing("asking for"), "s3:PutObject and s3:GetObject", error)
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} the lease s3://{}/{}", self.bucket, self.key)
    }
}

/// The outcome of one request for it.
enum Once {
    Told(Asked),
    Hidden(Fault),
}

fn soon(left: Duration) -> Asked {
    Asked::Theirs { holder: "another host".to_owned(), left }
}

/// 412: the condition does not hold. 409: two conditional writes met, and this one lost.
fn is_taken<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    matches!(code(error), Some("PreconditionFailed" | "ConditionalRequestConflict"))
}

/// The same, or there is no such object to compare with.
fn is_gone<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    is_taken(error) || code(error) == Some("NoSuchKey")
}

/// The permission is missing, or the object is.
fn is_hidden<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    code(error).is_some_and(|code| DENIED.contains(&code))
}

fn date_of<E>(error: &SdkError<E>) -> SystemTime {
    let date = error.raw_response().and_then(|answer| answer.headers().get("date"));
    date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(|| clock::now().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::memory::{BUCKET, Memory};

    #[tokio::test(start_paused = true)]
    async fn lease_of_another_version_is_heeded_and_one_of_a_later_format_is_left_alone() {
        let written = r#"{"holder":"i-1","number":7,"writing":9,"done":3,"free":FREE}"#;
        let table = [
            ("held, as version 0.1.0 wrote it", written.replace("FREE", "false"), Some("i-1")),
            ("given back", written.replace("FREE", "true"), None),
            ("with a word of a later version", written.replace("FREE", "false,\"mood\":[]"), Some("i-1")),
            ("no lease", "moved".to_owned(), Some("somebody")),
        ];
        for (what, text, theirs) in table {
            let memory = Memory::default();
            memory.put("www/.spothost-lease.json", text.into_bytes(), 0);
            let lease = LeaseObject::new(&memory.aws().await, BUCKET.to_owned(), "www/.spothost-lease.json".to_owned());
            match (lease.ask("i-2", Duration::from_secs(60)).await.expect(what), theirs) {
                (Asked::Theirs { holder, .. }, Some(expected)) => assert_eq!(holder, expected, "{what}"),
                (Asked::Ours(version), None) => assert_eq!((version.number, version.done), (8, 3), "{what}"),
                (asked, _) => panic!("{what}: {asked:?}"),
            }
        }
        let memory = Memory::default();
        let later = r#"{"format":2,"holders":["i-1"]}"#;
        memory.put("k", later.as_bytes().to_vec(), 0);
        let lease = LeaseObject::new(&memory.aws().await, BUCKET.to_owned(), "k".to_owned());
        let fault = lease.ask("i-2", Duration::ZERO).await.expect_err("a later format");
        assert!(fault.to_string().contains("upgrade spothost"), "{fault}");
        assert_eq!(memory.body("k").as_deref(), Some(later.as_bytes()), "it is not overwritten");
    }
}
