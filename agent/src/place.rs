//! What things are called and where they are: names of sites, folders of buckets, secrets, paths, regions of AWS.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize;

mod location;
mod name;

pub use location::Location;
pub use name::Name;

/// Where packages are published.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum PackagePlace {
    /// A folder of a bucket.
    Bucket(S3Prefix),
    /// A folder with a site, or a zip, on this machine.
    Disk(PathBuf),
}

/// A folder of a bucket: what the keys below it begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Prefix {
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix of the keys: empty, which means the bucket's top level, or with a slash at its end.
    pub prefix: String,
}

/// The longest prefix in bytes: keys have at most 1,024
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>), and names of objects follow it.
const LONGEST_PREFIX: usize = 900;

impl S3Prefix {
    /// The folder that `prefix` means, with or without a slash at its end.
    ///
    /// # Errors
    /// In words, why neither is the name of a bucket, or of a folder in it.
    pub fn folder(bucket: &str, prefix: &str) -> Result<S3Prefix, String> {
        if !is_bucket(bucket) {
            let has = "a name has 3 to 63 lower-case letters, digits, hyphens and single dots";
            return Err(format!("`{bucket}` is not the name of a bucket: {has}"));
        }
        Ok(S3Prefix { bucket: bucket.to_owned(), prefix: folder(prefix)? })
    }

    /// Whether that key lies in the folder itself, and not in another one below it.
    pub fn holds(&self, key: &str) -> bool {
        key.strip_prefix(&self.prefix).is_some_and(|name| !name.contains('/'))
    }
}

/// The prefix of all keys in the folder that `prefix` names: `www` means `www/`, so that what lies in `www-staging/` is
/// no part of it.
///
/// # Errors
/// In words, what cannot stand in it.
fn folder(prefix: &str) -> Result<String, String> {
    if prefix.len() > LONGEST_PREFIX {
        return Err(format!("the prefix is longer than {LONGEST_PREFIX} bytes, and keys have no more than 1,024"));
    }
    // In a policy these stand for more than themselves, and cannot be escaped everywhere
    // (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>).
    if let Some(pattern) = ["*", "?", "${"].into_iter().find(|pattern| prefix.contains(pattern)) {
        let why = "policies of AWS take it for a pattern, and would allow more than this folder";
        return Err(format!("`{pattern}` cannot stand in a prefix: {why}"));
    }
    if let Some(control) = prefix.chars().find(|character| character.is_control()) {
        return Err(format!("a control character (U+{:04X}) cannot stand in a prefix", u32::from(control)));
    }
    Ok(if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") })
}

/// Where certificate and account are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum VaultPlace {
    /// A secret in Secrets Manager.
    Secret(SecretId),
    /// A file on this machine, readable by its owner alone.
    Disk(PathBuf),
}

/// Where the values lie that an application needs, and that its package does not have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SecretsPlace {
    /// The members of a JSON object in one secret of Secrets Manager.
    Secret(SecretId),
    /// The environment of this process, and what it lacks in a file with a `NAME=value` a line, if there is one.
    Environment(Option<PathBuf>),
}

/// A secret of Secrets Manager, by its name or its ARN, as the configuration has it. Every call takes either
/// (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>, `SecretId`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretId(String);

impl TryFrom<String> for PackagePlace {
    type Error = String;

    fn try_from(text: String) -> Result<PackagePlace, String> {
        if let Some(path) = path_of(&text)? {
            return Ok(PackagePlace::Disk(path));
        }
        let Some(rest) = text.strip_prefix("s3://") else {
            return Err(format!("`{text}` is neither s3:// nor file:///"));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        S3Prefix::folder(bucket, prefix).map(PackagePlace::Bucket)
    }
}

impl TryFrom<String> for VaultPlace {
    type Error = String;

    fn try_from(text: String) -> Result<VaultPlace, String> {
        if let Some(path) = path_of(&text)? {
            return Ok(VaultPlace::Disk(path));
        }
        SecretId::try_from(text).map(VaultPlace::Secret)
    }
}

impl TryFrom<String> for SecretsPlace {
    type Error = String;

    fn try_from(text: String) -> Result<SecretsPlace, String> {
        SecretId::try_from(text).map(SecretsPlace::Secret)
    }
}

impl fmt::Display for SecretsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretsPlace::Secret(id) => write!(f, "secret {id}"),
            SecretsPlace::Environment(None) => f.write_str("the environment"),
            SecretsPlace::Environment(Some(file)) => write!(f, "the environment and {}", file.display()),
        }
    }
}

impl SecretId {
    /// What calls name it by, and people are shown: as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The region and the account that its ARN names; none where it is a name, which is one of the caller's region and
    /// account.
    pub fn arn(&self) -> Option<SecretArn<'_>> {
        let mut parts = self.0.strip_prefix("arn:")?.splitn(6, ':');
        let partition = parts.next()?;
        let service = parts.next()?;
        let region = parts.next()?;
        let account = parts.next()?;
        let kind = parts.next()?;
        let resource = parts.next()?;
        (service == "secretsmanager" && kind == "secret").then_some(SecretArn { partition, region, account, resource })
    }

    /// The name that a secret which is not there yet is made under; none for an ARN, which only a secret that is there has.
    pub fn name(&self) -> Option<&str> {
        self.arn().is_none().then_some(&*self.0)
    }

    /// The ARNs that a policy has to allow, for a secret of that partition, region and account unless its own ARN says
    /// others: `*` and `?` are IAM's.
    ///
    /// Secrets Manager ends the ARN of a secret with a hyphen and six characters of its own choice. A call about a secret
    /// that is not there may be authorised by the bare name, which no ARN of a secret is. An ARN is used as it is; one
    /// without those six characters is the beginning of one.
    pub fn policy_resources(&self, partition: &str, region: &str, account: &str) -> Vec<String> {
        match self.arn() {
            Some(arn) if arn.is_complete() => vec![self.0.clone()],
            Some(_) => vec![self.0.clone(), format!("{}-??????", self.0)],
            None => {
                let bare = format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{}", self.0);
                vec![format!("{bare}-??????"), bare]
            }
        }
    }
}

/// The parts of a secret's ARN (AWS General Reference, "Amazon Resource Names").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretArn<'a> {
    /// Partition, such as `aws`.
    pub partition: &'a str,
    /// Region, such as `eu-central-1`.
    pub region: &'a str,
    /// Number of the AWS account.
    pub account: &'a str,
    /// The name, with the hyphen and the six characters after it where they are written.
    pub resource: &'a str,
}

impl SecretArn<'_> {
    /// Whether it ends as Secrets Manager ends ARNs. A name may end so by itself, which cannot be told apart
    /// (<https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html#ARN_secretnamehyphen>).
    fn is_complete(&self) -> bool {
        let end = self.resource.rsplit_once('-').map(|(_, end)| end);
        end.is_some_and(|end| end.len() == 6 && end.bytes().all(|b| b.is_ascii_alphanumeric()))
    }
}

impl TryFrom<String> for SecretId {
    type Error = String;

    fn try_from(text: String) -> Result<SecretId, String> {
        let id = SecretId(text);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b);
        let is_name = |name: &str| (1..=512).contains(&name.len()) && name.bytes().all(allowed);
        if !id.0.starts_with("arn:") {
            return if is_name(&id.0) {
                Ok(id)
            } else {
                Err(format!("`{id}` is not the name of a secret: 1 to 512 letters, digits and /_+=.@-"))
            };
        }
        let plausible = |arn: SecretArn<'_>| {
            let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let account = arn.account.len() == 12 && arn.account.bytes().all(|b| b.is_ascii_digit());
            word(arn.partition) && word(arn.region) && account && is_name(arn.resource)
        };
        if id.arn().is_some_and(plausible) {
            Ok(id)
        } else {
            Err(format!("`{id}` is not the ARN of a secret: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-XXXXXX"))
        }
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for VaultPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VaultPlace::Secret(id) => id.fmt(f),
            VaultPlace::Disk(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for S3Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl fmt::Display for PackagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackagePlace::Bucket(bucket) => bucket.fmt(f),
            PackagePlace::Disk(path) => path.display().fmt(f),
        }
    }
}

/// The path that `file://…` names, with or without a slash at its end.
fn path_of(text: &str) -> Result<Option<PathBuf>, String> {
    let Some(path) = text.strip_prefix("file://") else {
        return Ok(None);
    };
    if let Some(control) = path.chars().find(|character| character.is_control()) {
        return Err(format!("a control character (U+{:04X}) cannot stand in a path", u32::from(control)));
    }
    if Path::new(path).is_absolute() {
        Ok(Some(Path::new(path).components().collect()))
    } else {
        Err(format!("`{text}` has to name an absolute path: file:///…"))
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>, as far as it keeps URLs whole.
fn is_bucket(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    (3..=63).contains(&name.len()) && name.bytes().all(allowed) && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_place_is_a_folder_of_a_bucket_or_a_path() {
        let bucket = |bucket: &str, prefix: &str| {
            PackagePlace::Bucket(S3Prefix { bucket: bucket.into(), prefix: prefix.into() })
        };
        let table = [
            ("s3://example-sites/www/", Some(bucket("example-sites", "www/"))),
            ("s3://example-sites/www", Some(bucket("example-sites", "www/"))),
            ("s3://example-sites/a/b", Some(bucket("example-sites", "a/b/"))),
            ("s3://example-sites/", Some(bucket("example-sites", ""))),
            ("s3://example-sites", Some(bucket("example-sites", ""))),
            ("file:///srv/site", Some(PackagePlace::Disk("/srv/site".into()))),
            ("file://srv/site", None),
            ("s3:///www", None),
            ("s3://a/b", None),
            ("https://example.org/", None),
            ("", None),
        ];
        for (text, place) in table {
            assert_eq!(PackagePlace::try_from(text.to_owned()).ok(), place, "{text}");
        }
        let slash = PackagePlace::try_from("file:///srv//site/".to_owned()).expect("a path");
        assert_eq!(slash.to_string(), "/srv/site", "what lies beside it is named after it");
    }

    #[test]
    fn prefix_has_nothing_that_means_more_than_itself() {
        let table = [
            ("s3://example-sites/www*", "`*` cannot stand in a prefix: policies"),
            ("s3://example-sites/www?/", "`?` cannot stand in a prefix: policies"),
            ("s3://example-sites/${aws:username}/", "`${` cannot stand in a prefix: policies"),
            ("s3://example-sites/www\n/", "(U+000A) cannot stand in a prefix"),
            ("s3://example-sites/www\u{7f}", "(U+007F) cannot stand in a prefix"),
            ("file:///srv/si\0te", "(U+0000) cannot stand in a path"),
        ];
        for (text, said) in table {
            let why = PackagePlace::try_from(text.to_owned()).expect_err(text);
            assert!(why.contains(said), "{text}: {why}");
        }
        let long = PackagePlace::try_from(format!("s3://example-sites/{}", "x".repeat(901))).expect_err("too long");
        assert!(long.contains("longer than 900 bytes"), "{long}");
        assert!(PackagePlace::try_from("s3://example-sites/$100 {a} é/".to_owned()).is_ok());
    }

    #[test]
    fn folder_holds_what_lies_directly_in_it() {
        let table = [
            ("www", "www/site-latest.zip", true),
            ("www", "www/previews/pr-7/site-latest.zip", false),
            ("www", "www-staging/site-latest.zip", false),
            ("www", "wwwsite-latest.zip", false),
            ("www", "site-latest.zip", false),
            ("", "site-latest.zip", true),
            ("", "www/site-latest.zip", false),
        ];
        for (prefix, key, expected) in table {
            let place = S3Prefix::folder("example-sites", prefix).expect("a folder");
            assert_eq!(place.holds(key), expected, "{key} in {place}");
        }
    }

    #[test]
    fn vault_place_is_a_secret_or_a_path() {
        let secret = |text: &str| Some(VaultPlace::Secret(SecretId(text.to_owned())));
        let arn = "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:www.example.org/identity-a1B2c3";
        let table = [
            ("www.example.org/identity", secret("www.example.org/identity")),
            (arn, secret(arn)),
            ("file:///var/lib/vault.json", Some(VaultPlace::Disk("/var/lib/vault.json".into()))),
            ("", None),
            ("a b", None),
            ("a*", None),
            ("a:b", None),
            ("arn:aws:s3:::bucket", None),
            ("arn:aws:secretsmanager:us-east-1:123456789012:secret:", None),
            ("arn:aws:secretsmanager:us-east-1:*:secret:a-a1B2c3", None),
            ("arn:aws:secretsmanager:us-east-1:123456789012:secret:a-??????", None),
            ("arn:aws:secretsmanager::123456789012:secret:a-a1B2c3", None),
        ];
        for (text, place) in table {
            assert_eq!(VaultPlace::try_from(text.to_owned()).ok(), place, "{text}");
        }
    }

    #[test]
    fn policy_allows_a_secret_by_its_arn_as_it_is_and_by_its_name_with_and_without_an_end() {
        let of = |text: &str| {
            let id = SecretId::try_from(text.to_owned()).expect("a secret");
            let resources = id.policy_resources("aws", "eu-central-1", "123456789012");
            (id.name().map(str::to_owned), resources)
        };
        let bare = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:www/identity".to_owned();
        assert_eq!(of("www/identity"), (Some("www/identity".to_owned()), vec![format!("{bare}-??????"), bare]));
        let complete = "arn:aws-cn:secretsmanager:cn-north-1:210987654321:secret:www/identity-a1B2c3";
        assert_eq!(of(complete), (None, vec![complete.to_owned()]));
        let partial = "arn:aws:secretsmanager:us-east-1:210987654321:secret:www/identity";
        assert_eq!(of(partial), (None, vec![partial.to_owned(), format!("{partial}-??????")]));
    }
}
