//! Trying a permission without doing anything by it.
//!
//! AWS asks whether a caller may before it looks at what exactly is wanted, so what is asked here is refused for its content
//! where it is not refused to the caller: an object whose checksum is not that of its bytes, a record that is not there, a
//! version that exists already with another value, `DryRun`. Reads are made as they are.

use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};
use aws_sdk_s3::primitives::ByteStream;
use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    Aws,
    compute::{Adapter, Compute as _},
    permission_outcome::{HARMFUL, Tried, outcome},
    simulation::Question,
};
use crate::fault::Fault;

pub use super::permission_outcome::PermissionOutcome;

/// The name that stands for any, where a permission is for any.
pub const ANY: &str = "doctor";

/// What a question has in the place of the hyphen and the six characters with which Secrets Manager ends ARNs.
pub const SECRETS_MANAGERS: &str = "-aaaaaa";

/// A tag that no object has.
const NOBODYS: &str = "\"00000000000000000000000000000000\"";

/// Tries the permissions of the caller that `aws` is.
pub struct PermissionProbe {
    s3: aws_sdk_s3::Client,
    route53: aws_sdk_route53::Client,
    secrets: aws_sdk_secretsmanager::Client,
    /// The one prefix that may be listed.
    prefix: String,
    /// EC2 and Auto Scaling.
    compute: Adapter,
    /// The instance that is asked of.
    instance: String,
}

impl PermissionProbe {
    /// Tries as `aws`, on the instance of that id; packages lie below `prefix`.
    pub fn new(aws: &Aws, instance: &str, prefix: &str) -> PermissionProbe {
        PermissionProbe {
            prefix: prefix.to_owned(),
            s3: aws_sdk_s3::Client::from_conf(aws.s3().build()),
            route53: aws_sdk_route53::Client::new(&aws.config),
            secrets: aws_sdk_secretsmanager::Client::new(&aws.config),
            compute: Adapter::new(aws),
            instance: instance.to_owned(),
        }
    }

    /// Tries one action of `question`.
    ///
    /// # Errors
    /// When it cannot be told, because AWS does not answer, or answers something else.
    pub async fn attempt(&self, action: &str, question: &Question) -> Tried {
        match action.split_once(':') {
            Some(("s3", action)) => self.s3(action, question).await,
            Some(("secretsmanager", action)) => self.secret(action, question).await,
            Some(("route53", action)) => self.records(action, question).await,
            Some((service, action)) => self.compute.attempt(service, action, &self.instance).await,
            None => Ok(HARMFUL),
        }
    }

    async fn s3(&self, action: &str, question: &Question) -> Tried {
        let named = question.resource.rsplit(":::").next().unwrap_or_default();
        let (bucket, key) = named.split_once('/').unwrap_or((named, ""));
        let prefix = question.context.get("s3:prefix").and_then(|all| all.first()).map_or("", String::as_str);
        let s3 = &self.s3;
        match action {
            "ListBucket" => {
                let listed = s3.list_objects_v2().bucket(bucket).prefix(prefix).max_keys(1).send().await;
                outcome("s3:ListBucket", listed, &[])
            }
            "ListBucketVersions" => {
                let listed = s3.list_object_versions().bucket(bucket).prefix(prefix).max_keys(1).send().await;
                outcome("s3:ListBucketVersions", listed, &[])
            }
            "GetObject" => {
                let Some(key) = self.some_object(bucket, key).await else { return Ok(NOTHING) };
                let read = s3.get_object().bucket(bucket).key(key).range("bytes=0-0").send().await;
                outcome("s3:GetObject", read, &["InvalidRange", "NoSuchKey"])
            }
            "GetObjectVersion" => {
                let Some((key, version)) = self.some_version(bucket, key).await else { return Ok(NOTHING) };
                let read = s3.get_object().bucket(bucket).key(key).version_id(version).range("bytes=0-0").send().await;
                outcome("s3:GetObjectVersion", read, &["InvalidRange", "NoSuchVersion"])
            }
            // Refused as damaged where nothing lies there, and before that where something does.
            "PutObject" => {
                let put = s3.put_object().bucket(bucket).key(key).if_none_match("*");
                let put = put.content_md5(BASE64_STANDARD.encode([0; 16])).body(ByteStream::from_static(b"doctor"));
                let refused = &["BadDigest", "InvalidDigest", "PreconditionFailed", "ConditionalRequestConflict"];
                outcome("s3:PutObject", put.send().await, refused)
            }
            "DeleteObject" => {
                let removed = s3.delete_object().bucket(bucket).key(key).if_match(NOBODYS).send().await;
                outcome("s3:DeleteObject", removed, &["PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"])
            }
            _ => Ok(HARMFUL),
        }
    }

    /// An object that lies where `key` says: S3 tells who may not list that it may not read what is not there.
    async fn some_object(&self, bucket: &str, key: &str) -> Option<String> {
        let prefix = self.listable(key)?;
        let listed = self.s3.list_objects_v2().bucket(bucket).prefix(prefix).max_keys(1).send().await.ok()?;
        listed.contents().first().and_then(|object| object.key()).map(str::to_owned)
    }

    /// The prefix of `key`, where that may be listed.
    fn listable<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_suffix(ANY).filter(|prefix| *prefix == self.prefix)
    }

    async fn some_version(&self, bucket: &str, key: &str) -> Option<(String, String)> {
        let prefix = self.listable(key)?;
        let listed = self.s3.list_object_versions().bucket(bucket).prefix(prefix).max_keys(1).send().await.ok()?;
        let first = listed.versions().first()?;
        Some((first.key()?.to_owned(), first.version_id()?.to_owned()))
    }

    async fn secret(&self, action: &str, question: &Question) -> Tried {
        // A secret is asked for by its name, where the pattern has that and the six characters that follow it, else by its ARN.
        let named = question.resource.strip_suffix(SECRETS_MANAGERS).and_then(|arn| arn.split_once(":secret:"));
        let name = named.map_or(question.resource.as_str(), |(_, name)| name);
        let secrets = &self.secrets;
        let version = async {
            let read = secrets.get_secret_value().secret_id(name).version_stage("AWSCURRENT").send().await;
            read.ok().and_then(|secret| secret.version_id().map(str::to_owned))
        };
        match action {
            "GetSecretValue" => {
                let read = secrets.get_secret_value().secret_id(name).version_stage("AWSCURRENT").send().await;
                outcome("secretsmanager:GetSecretValue", read, &["ResourceNotFoundException"])
            }
            // A version that exists with another value is never written over
            // (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>).
            "PutSecretValue" => {
                let Some(version) = version.await else { return Ok(NOTHING) };
                let put = secrets.put_secret_value().secret_id(name).client_request_token(version);
                let put = put.version_stages("spothost-doctor").secret_string("doctor").send().await;
                outcome("secretsmanager:PutSecretValue", put, &["ResourceExistsException"])
            }
            // A version that is not there gets no label.
            "UpdateSecretVersionStage" => {
                let Some(version) = version.await else { return Ok(NOTHING) };
                let moved = secrets.update_secret_version_stage().secret_id(name).version_stage("spothost-doctor");
                let moved = moved.remove_from_version_id(version).move_to_version_id("0".repeat(32)).send().await;
                let refused = &["ResourceNotFoundException", "InvalidParameterException", "InvalidRequestException"];
                outcome("secretsmanager:UpdateSecretVersionStage", moved, refused)
            }
            "CreateSecret" => {
                let name = question.context.get("secretsmanager:Name").and_then(|all| all.first());
                let Some(name) = name else { return Ok(NOTHING) };
                let there = secrets.get_secret_value().secret_id(name).version_stage("AWSCURRENT").send().await;
                if there.is_err() {
                    return Ok(PermissionOutcome::Untried("there is no such secret yet, and one would be made"));
                }
                let made = secrets.create_secret().name(name).secret_string("doctor").send().await;
                outcome("secretsmanager:CreateSecret", made, &["ResourceExistsException"])
            }
            _ => Ok(HARMFUL),
        }
    }

    async fn records(&self, action: &str, question: &Question) -> Tried {
        let id = question.resource.rsplit('/').next().unwrap_or_default();
        match action {
            "ListResourceRecordSets" => {
                let listed = self.route53.list_resource_record_sets().hosted_zone_id(id).max_items(1).send().await;
                outcome("route53:ListResourceRecordSets", listed, &[])
            }
            "GetChange" => {
                let asked = self.route53.get_change().id("C00000000000000000000").send().await;
                outcome("route53:GetChange", asked, &["NoSuchChange"])
            }
            "ChangeResourceRecordSets" => {
                let names = question.context.iter().find(|(key, _)| key.ends_with("NormalizedRecordNames"));
                let batch = nobodys_records(names.map_or(&[], |(_, names)| names))
                    .map_err(|error| Fault::retry("trying route53:ChangeResourceRecordSets", error))?;
                let changed = self.route53.change_resource_record_sets().hosted_zone_id(id).change_batch(batch);
                outcome("route53:ChangeResourceRecordSets", changed.send().await, &["InvalidChangeBatch"])
            }
            _ => Ok(HARMFUL),
        }
    }
}

const NOTHING: PermissionOutcome = PermissionOutcome::Untried("there is nothing yet to try it on");

/// A batch that every zone refuses: it deletes a record that does not exist.
fn nobodys_records(names: &[String]) -> Result<ChangeBatch, aws_sdk_route53::error::BuildError> {
    let mut batch = ChangeBatch::builder().comment("spothost doctor: refused, whatever the zone holds");
    for name in names {
        let (kind, value) =
            if name.starts_with('_') { (RrType::Txt, "\"spothost doctor\"") } else { (RrType::A, "192.0.2.0") };
        let set = ResourceRecordSet::builder().name(name).r#type(kind).ttl(i64::from(i32::MAX));
        let set = set.resource_records(ResourceRecord::builder().value(value).build()?).build()?;
        batch = batch.changes(Change::builder().action(ChangeAction::Delete).resource_record_set(set).build()?);
    }
    batch.build()
}
