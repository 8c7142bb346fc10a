//! The secret that the vault is kept in.
//!
//! A new value is put as a version under a private stage, and `AWSCURRENT` is then moved from the version that was
//! read: `UpdateSecretVersionStage` with a `RemoveFromVersionId` that no longer holds the label is refused, so this
//! is a compare-and-swap
//! (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>).

use aws_sdk_secretsmanager::Client;

use super::{
    Aws,
    refusal::{code, fault},
};
use crate::fault::Fault;

const CURRENT: &str = "AWSCURRENT";
/// The stage of a version that was put but is not current yet.
const DRAFT: &str = "spothost-draft";

/// One secret.
pub struct Secret {
    client: Client,
    name: String,
}

/// A value as it was read, with the version to swap against.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// Version id.
    pub version: String,
    /// The value.
    pub text: String,
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
        Secret { client: Client::new(&aws.config), name }
    }

    /// The current value, if the secret exists and has one.
    ///
    /// # Errors
    /// What Secrets Manager refuses.
    pub async fn read(&self) -> Result<Option<Stored>, Fault> {
        let doing = format!("reading secret {}", self.name);
        let request = self.client.get_secret_value().secret_id(&self.name).version_stage(CURRENT);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == Some("ResourceNotFoundException") => return Ok(None),
            Err(error) => return Err(fault(&doing, "secretsmanager:GetSecretValue", &error)),
        };
        let version = answer.version_id().unwrap_or_default().to_owned();
        match answer.secret_string() {
            Some(text) => Ok(Some(Stored { version, text: text.to_owned() })),
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
        let version = self.put(text, CURRENT).await?;
        Ok(Swapped::Done(version))
    }

    async fn replace(&self, was: &str, text: &str) -> Result<Swapped, Fault> {
        let version = self.put(text, DRAFT).await?;
        let request = self.client.update_secret_version_stage().secret_id(&self.name).version_stage(CURRENT);
        match request.move_to_version_id(&version).remove_from_version_id(was).send().await {
            Ok(_) => Ok(Swapped::Done(version)),
            Err(error) if code(&error) == Some("InvalidParameterException") => Ok(Swapped::Lost),
            Err(error) => {
                let doing = format!("making version {version} of secret {} current", self.name);
                Err(fault(&doing, "secretsmanager:UpdateSecretVersionStage", &error))
            }
        }
    }

    async fn put(&self, text: &str, stage: &str) -> Result<String, Fault> {
        let doing = format!("writing secret {}", self.name);
        let request = self.client.put_secret_value().secret_id(&self.name).version_stages(stage).secret_string(text);
        let answer = request.send().await.map_err(|error| fault(&doing, "secretsmanager:PutSecretValue", &error))?;
        let version = answer.version_id().map(str::to_owned);
        version.ok_or_else(|| Fault::retry(doing, "an answer without version id"))
    }
}
