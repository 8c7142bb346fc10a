//! The secret that the vault is kept in.
//!
//! A new value is put as a version under a private stage, and `AWSCURRENT` is then moved from the version that was
//! read: `UpdateSecretVersionStage` with a `RemoveFromVersionId` that no longer holds the label is refused, so this
//! is a compare-and-swap
//! (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>).
//!
//! Reads lag writes: Secrets Manager is eventually consistent. So nothing here is decided by a read that a write could
//! decide: who was first is told by the answer to the write.

use std::time::Duration;

use aws_sdk_secretsmanager::{
    Client,
    config::Region,
    error::{ProvideErrorMetadata, SdkError},
};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::{
    Aws,
    date::Date,
    refusal::{code, fault},
};
use crate::{fault::Fault, place::SecretId};

const CURRENT: &str = "AWSCURRENT";
/// The stage that AWS leaves with the version that was current before.
const PREVIOUS: &str = "AWSPREVIOUS";
/// The stage of a version that was put but is not current yet.
const DRAFT: &str = "spothost-draft";

/// How long a read may show a version that is known to be current no more, before it is no longer waited for.
const SETTLES: Duration = Duration::from_secs(5);
/// Between two such reads.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// One secret.
pub struct Secret {
    client: Client,
    id: SecretId,
    date: Date,
}

/// A value as it was read, with the version to swap against. It has no `Debug`: it may be a key.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue {
    /// Version id.
    pub version: String,
    /// The value.
    pub text: Zeroizing<String>,
}

/// The outcome of a compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// The value is current now, under this version id.
    Done(String),
    /// Another writer was faster; its value stays.
    Lost,
}

impl Secret {
    /// The secret of that name or ARN.
    pub fn new(aws: &Aws, id: SecretId) -> Secret {
        let mut config = aws_sdk_secretsmanager::config::Builder::from(&aws.config).interceptor(aws.date.clone());
        // A secret is of one region, and its ARN is known in no other.
        if let Some(arn) = id.arn() {
            config = config.region(Region::new(arn.region.to_owned()));
        }
        Secret { client: Client::from_conf(config.build()), id, date: aws.date.clone() }
    }

    /// The current value, if the secret exists and has one.
    ///
    /// # Errors
    /// What Secrets Manager refuses.
    pub async fn read(&self) -> Result<Option<SecretValue>, Fault> {
        self.staged(CURRENT).await
    }

    /// The value that was current before, if there is one.
    ///
    /// # Errors
    /// What Secrets Manager refuses.
    pub async fn previous(&self) -> Result<Option<SecretValue>, Fault> {
        self.staged(PREVIOUS).await
    }

    /// The current value of a secret that is somebody else's to write.
    ///
    /// # Errors
    /// What Secrets Manager refuses, or that there is no text in it; never the value.
    pub async fn given(&self) -> Result<SecretValue, Fault> {
        let doing = format!("reading secret {}", self.id);
        let id = &self.id;
        let request = self.client.get_secret_value().secret_id(id.as_str()).version_stage(CURRENT);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == Some("ResourceNotFoundException") && id.arn().is_none() => {
                let cure = format!(
                    "make it: aws secretsmanager create-secret --name {id} --secret-string file://secrets.json, or correct [app] \
                     secrets in the configuration"
                );
                return Err(Fault::operator(doing, "there is no such secret, or it has no value", cure));
            }
            Err(error) => return Err(self.refused(&doing, "secretsmanager:GetSecretValue", &error)),
        };
        let version = answer.version_id().unwrap_or_default().to_owned();
        match answer.secret_string {
            Some(text) => Ok(SecretValue { version, text: Zeroizing::new(text) }),
            None => {
                let cure = format!(
                    "write a JSON object of names and texts: aws secretsmanager put-secret-value --secret-id {id} --secret-string \
                     file://secrets.json"
                );
                Err(Fault::operator(doing, "it is binary, and no JSON object", cure))
            }
        }
    }

    /// What the time is as AWS told it with its last answer, and what this host took it for then.
    pub fn told(&self) -> Option<(OffsetDateTime, OffsetDateTime)> {
        self.date.told()
    }

    async fn staged(&self, stage: &str) -> Result<Option<SecretValue>, Fault> {
        let doing = format!("reading secret {}", self.id);
        let request = self.client.get_secret_value().secret_id(self.id.as_str()).version_stage(stage);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == Some("ResourceNotFoundException") => return Ok(None),
            Err(error) => return Err(self.refused(&doing, "secretsmanager:GetSecretValue", &error)),
        };
        let version = answer.version_id().unwrap_or_default().to_owned();
        match answer.secret_string {
            Some(text) => Ok(Some(SecretValue { version, text: Zeroizing::new(text) })),
            None => {
                let remedy = "name another secret in `vault`; this one is not spothost's";
                Err(Fault::operator(doing, "a binary value", remedy))
            }
        }
    }

    /// Makes `text` the current value if the version `was` still is, or makes the secret if there was none.
    ///
    /// # Errors
    /// What Secrets Manager refuses.
    pub async fn swap(&self, was: Option<&str>, text: &str) -> Result<Swapped, Fault> {
        match was {
            None => self.create(text).await,
            Some(version) => self.replace(version, text).await,
        }
    }

    async fn create(&self, text: &str) -> Result<Swapped, Fault> {
        // A secret that has an ARN is there, and may have no value yet.
        let Some(name) = self.id.name() else { return self.fill(text).await };
        let request = self.client.create_secret().name(name).secret_string(text);
        let request = request.client_request_token(token("", text));
        let request = request.description("Certificate and ACME account of a site, kept by spothost.");
        match request.send().await {
            Ok(answer) => Ok(Swapped::Done(answer.version_id().unwrap_or_default().to_owned())),
            Err(error) if code(&error) == Some("ResourceExistsException") => self.fill(text).await,
            Err(error) => Err(self.refused(&format!("making secret {name}"), "secretsmanager:CreateSecret", &error)),
        }
    }

    /// A secret can exist without a value, as CloudFormation and people make it: then the first version is ours.
    ///
    /// The first version of a secret becomes the current one whatever label it is put under, and no later one does
    /// (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>): a value that somebody
    /// else has stored meanwhile is not replaced, even where reads do not show it yet.
    async fn fill(&self, text: &str) -> Result<Swapped, Fault> {
        let put = self.put("", text, DRAFT).await?;
        Ok(if put.is_current { Swapped::Done(put.version) } else { Swapped::Lost })
    }

    async fn replace(&self, was: &str, text: &str) -> Result<Swapped, Fault> {
        let version = self.put(was, text, DRAFT).await?.version;
        let request = self.client.update_secret_version_stage().secret_id(self.id.as_str()).version_stage(CURRENT);
        match request.move_to_version_id(&version).remove_from_version_id(was).send().await {
            Ok(_) => Ok(Swapped::Done(version)),
            Err(error) if code(&error) == Some("InvalidParameterException") => self.moved(was, version).await,
            Err(error) => {
                let doing = format!("making version {version} of secret {} current", self.id);
                Err(self.refused(&doing, "secretsmanager:UpdateSecretVersionStage", &error))
            }
        }
    }

    /// Who has moved the label away from `was`: this host itself, by a call whose answer was lost, or another writer.
    /// A read that still shows `was` is an old one.
    async fn moved(&self, was: &str, version: String) -> Result<Swapped, Fault> {
        let end = Instant::now() + SETTLES;
        loop {
            match self.read().await? {
                Some(now) if now.version == version => return Ok(Swapped::Done(version)),
                Some(now) if now.version != was => return Ok(Swapped::Lost),
                _ if Instant::now() >= end => return Ok(Swapped::Lost),
                _ => sleep(LOOK_AGAIN).await,
            }
        }
    }

    async fn put(&self, was: &str, text: &str, stage: &str) -> Result<Put, Fault> {
        let doing = format!("writing secret {}", self.id);
        let request = self.client.put_secret_value().secret_id(self.id.as_str()).version_stages(stage);
        let request = request.secret_string(text).client_request_token(token(was, text));
        let answer = request.send().await;
        let answer = answer.map_err(|error| self.refused(&doing, "secretsmanager:PutSecretValue", &error))?;
        let is_current = answer.version_stages().iter().any(|stage| stage == CURRENT);
        let version = answer.version_id().map(str::to_owned);
        let version = version.ok_or_else(|| Fault::retry(doing, "an answer without version id"))?;
        Ok(Put { version, is_current })
    }

    /// The fault that `error` is, with the cure where that names the secret.
    fn refused<E>(&self, doing: &str, permission: &str, error: &SdkError<E>) -> Fault
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let fault = fault(doing, permission, error);
        let id = &self.id;
        let remedy = match code(error) {
            Some("InvalidRequestException") => format!(
                "if it is scheduled for deletion, bring it back: aws secretsmanager restore-secret --secret-id {id}; else \
                 name another secret"
            ),
            // What has a name is made anew by the next look.
            Some("ResourceNotFoundException") if id.arn().is_some() => {
                format!(
                    "there is no secret {id}: correct the ARN, or write a name in its place, under which one is made"
                )
            }
            _ => return fault,
        };
        Fault::operator(doing, fault.said, remedy)
    }
}

/// A version that was put.
struct Put {
    version: String,
    /// Whether it is the current one, as the answer to the write says.
    is_current: bool,
}

/// The token by which Secrets Manager knows a write that is repeated: the same text in the place of the same version is
/// the same version again, after any lost answer and from any host. 64 characters are the most.
fn token(was: &str, text: &str) -> String {
    hex::encode(Sha256::new().chain_update(was).chain_update([0]).chain_update(text).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_write_has_the_token_of_the_first_and_no_other_has() {
        assert_eq!(token("v1", "text"), token("v1", "text"));
        assert_eq!(token("v1", "text").len(), 64);
        let all = [token("v1", "text"), token("v2", "text"), token("v1", "other"), token("", "v1text")];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one));
        }
    }
}
