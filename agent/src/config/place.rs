//! Where packages and the vault are: in AWS, or in the embedded stores on disk.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Where packages are published.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum PackagePlace {
    /// A prefix of a bucket.
    Bucket(Bucket),
    /// A folder with a site, or a zip, on this machine.
    Disk(PathBuf),
}

/// A prefix of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix of the keys; empty, or ends as the configuration says.
    pub prefix: String,
}

/// Where certificate and account are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum VaultPlace {
    /// A secret in Secrets Manager.
    Secret(String),
    /// A file on this machine, readable by its owner alone.
    Disk(PathBuf),
}

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
        if !is_bucket(bucket) {
            return Err(format!("`{bucket}` is not the name of a bucket"));
        }
        if prefix.len() > 900 {
            return Err("the prefix is longer than keys can be".to_owned());
        }
        Ok(PackagePlace::Bucket(Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() }))
    }
}

impl TryFrom<String> for VaultPlace {
    type Error = String;

    fn try_from(text: String) -> Result<VaultPlace, String> {
        if let Some(path) = path_of(&text)? {
            return Ok(VaultPlace::Disk(path));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/_+=.@-:".contains(&b);
        match (1..=512).contains(&text.len()) && text.bytes().all(allowed) {
            true => Ok(VaultPlace::Secret(text)),
            false => Err(format!("`{text}` is not the name of a secret: 1 to 512 letters, digits and /_+=.@-")),
        }
    }
}

impl fmt::Display for Bucket {
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

fn path_of(text: &str) -> Result<Option<PathBuf>, String> {
    let Some(path) = text.strip_prefix("file://") else {
        return Ok(None);
    };
    match Path::new(path).is_absolute() {
        true => Ok(Some(PathBuf::from(path))),
        false => Err(format!("`{text}` has to name an absolute path: file:///…")),
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
    fn package_place_is_a_prefix_or_a_path() {
        let bucket =
            |bucket: &str, prefix: &str| PackagePlace::Bucket(Bucket { bucket: bucket.into(), prefix: prefix.into() });
        let table = [
            ("s3://example-sites/www/", Some(bucket("example-sites", "www/"))),
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
    }

    #[test]
    fn vault_place_is_a_secret_or_a_path() {
        let table = [
            ("www.example.org/identity", Some(VaultPlace::Secret("www.example.org/identity".into()))),
            ("file:///var/lib/vault.json", Some(VaultPlace::Disk("/var/lib/vault.json".into()))),
            ("", None),
            ("a b", None),
        ];
        for (text, place) in table {
            assert_eq!(VaultPlace::try_from(text.to_owned()).ok(), place, "{text}");
        }
    }
}
