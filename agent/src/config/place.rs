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
    /// A folder of a bucket.
    Bucket(Bucket),
    /// A folder with a site, or a zip, on this machine.
    Disk(PathBuf),
}

/// A folder of a bucket: what the keys below it begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix of the keys: empty, which means the bucket's top level, or with a slash at its end.
    pub prefix: String,
}

/// The longest prefix in bytes: keys have at most 1,024
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>), and names of objects follow it.
const LONGEST_PREFIX: usize = 900;

impl Bucket {
    /// The folder that `prefix` means, with or without a slash at its end.
    ///
    /// # Errors
    /// In words, why neither is the name of a bucket, or of a folder in it.
    pub fn folder(bucket: &str, prefix: &str) -> Result<Bucket, String> {
        if !is_bucket(bucket) {
            return Err(format!("`{bucket}` is not the name of a bucket"));
        }
        Ok(Bucket { bucket: bucket.to_owned(), prefix: folder(prefix)? })
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
        Bucket::folder(bucket, prefix).map(PackagePlace::Bucket)
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

/// The path that `file://…` names, with or without a slash at its end.
fn path_of(text: &str) -> Result<Option<PathBuf>, String> {
    let Some(path) = text.strip_prefix("file://") else {
        return Ok(None);
    };
    if let Some(control) = path.chars().find(|character| character.is_control()) {
        return Err(format!("a control character (U+{:04X}) cannot stand in a path", u32::from(control)));
    }
    match Path::new(path).is_absolute() {
        true => Ok(Some(Path::new(path).components().collect())),
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
    fn package_place_is_a_folder_of_a_bucket_or_a_path() {
        let bucket =
            |bucket: &str, prefix: &str| PackagePlace::Bucket(Bucket { bucket: bucket.into(), prefix: prefix.into() });
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
            let place = Bucket::folder("example-sites", prefix).expect("a folder");
            assert_eq!(place.holds(key), expected, "{key} in {place}");
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
