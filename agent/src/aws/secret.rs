//! The secret that the vault is kept in.
//!
//! A new value is put as a version under a private stage, and `AWSCURRENT` is then moved from the version that was
//! read: `UpdateSecretVersionStage` with a `RemoveFromVersionId` that no longer holds the label is refused, so this
//! is a compare-and-swap
//! (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>).

use aws_sdk_secretsmanager::Client;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{
    Aws,
    date::Date,
    refusal::{code, fault},
};
use crate::fault::Fault;

const CURRENT: &str = "AWSCURRENT";
/// The stage that AWS leaves with the version that was current before.
const PREVIOUS: &str = "AWSPREVIOUS";
/// The stage of a version that was put but is not current yet.
const DRAFT: &str = "spothost-draft";

/// One secret.
pub struct Secret {
    client: Client,
    name: String,
    date: Date,
}

/// A value as it was read, with the version to swap against. It has no `Debug`: it may be a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// Version id.
    pub version: String,
    /// The value.
    pub text: Zeroizing<String>,
}

/// What came of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// The value is current now, under this version id.
    Done(String),
    /// Somebody else was faster; what they wrote stays.
    Lost,
}

impl Secret {
    /// The secret of that name.
    pub fn new(aws: &Aws, name: String) -> Secret {
        let config = aws_sdk_secretsmanager::config::Builder::from(&aws.config).interceptor(aws.date.clone());
        Secret { client: Client::from_conf(config.build()), name, date: aws.date.clone() }
    }

    /// The current value, if the secret exists and has one.
    ///
    /// # Errors
    /// What Secrets Manager refuses.
    pub async fn read(&self) -> Result<Option<Stored>, Fault> {
        self.staged(CURRENT).await
    }

    /// The value that was current before, if there is one.
    ///
    /// # Errors
    /// What Secrets Manager refuses.
    pub async fn previous(&self) -> Result<Option<Stored>, Fault> {
        self.staged(PREVIOUS).await
    }

    /// What the time is as AWS told it with its last answer, and what this host took it for then.
    pub fn told(&self) -> Option<(OffsetDateTime, OffsetDateTime)> {
        self.date.told()
    }

    async fn staged(&self, stage: &str) -> Result<Option<Stored>, Fault> {
        let doing = format!("reading secret {}", self.name);
        let request = self.client.get_secret_value().secret_id(&self.name).version_stage(stage);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == Some("ResourceNotFoundException") => return Ok(None),
            Err(error) => return Err(fault(&doing, "secretsmanager:GetSecretValue", &error)),
        };
        let version = answer.version_id().unwrap_or_default().to_owned();
        match answer.secret_string {
            Some(text) => Ok(Some(Stored { version, text: Zeroizing::new(text) })),
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
        let request = self.client.create_secret().name(&self.name).secret_string(text);
        let request = request.client_request_token(token("", text));
        let request = request.description("Certificate and ACME account of a site, kept by spothost.");
        match request.send().await {
            Ok(answer) => Ok(Swapped::Done(answer.version_id().unwrap_or_default().to_owned())),
            Err(error) if code(&error) == Some("ResourceExistsException") => self.fill(text).await,
            Err(error) => Err(fault(&format!("making secret {}", self.name), "secretsmanager:CreateSecret", &error)),
        }
    }

    /// A secret can exist without a value, as CloudFormation and people make it: then the first version is ours.
    async fn fill(&self, text: &str) -> Result<Swapped, Fault> {
        if self.read().await?.is_some() {
            return Ok(Swapped::Lost);
        }
        let version = self.put("", text, CURRENT).await?;
        Ok(Swapped::Done(version))
    }

    async fn replace(&self, was: &str, text: &str) -> Result<Swapped, Fault> {
        let version = self.put(was, text, DRAFT).await?;
        let request = self.client.update_secret_version_stage().secret_id(&self.name).version_stage(CURRENT);
        match request.move_to_version_id(&version).remove_from_version_id(was).send().await {
            Ok(_) => Ok(Swapped::Done(version)),
            // The move may have been made before, by a call whose answer was lost.
            Err(error) if code(&error) == Some("InvalidParameterException") => Ok(match self.read().await? {
                Some(now) if now.version == version => Swapped::Done(version),
                _ => Swapped::Lost,
            }),
            Err(error) => {
                let doing = format!("making version {version} of secret {} current", self.name);
                Err(fault(&doing, "secretsmanager:UpdateSecretVersionStage", &error))
            }
        }
    }

    async fn put(&self, was: &str, text: &str, stage: &str) -> Result<String, Fault> {
        let doing = format!("writing secret {}", self.name);
        let request = self.client.put_secret_value().secret_id(&self.name).version_stages(stage).secret_string(text);
        let request = request.client_request_token(token(was, text));
        let answer = request.send().await.map_err(|error| fault(&doing, "secretsmanager:PutSecretValue", &error))?;
        let version = answer.version_id().map(str::to_owned);
        version.ok_or_else(|| Fault::retry(doing, "an answer without version id"))
    }
}

/// The token by which Secrets Manager knows a write that is repeated: the same text in the place of the same version is
/// the same version again, whoever repeats it and after whatever was lost. 64 characters are the most.
fn token(was: &str, text: &str) -> String {
    let digest = Sha256::new().chain_update(was).chain_update([0]).chain_update(text).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
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
