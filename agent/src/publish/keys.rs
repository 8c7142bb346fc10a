//! Where things lie in the folder that packages are published in.

use crate::documents::Version;

/// What publishers and hosts agree on beside the packages.
pub(super) const BESIDE: &str = ".spothost/";

/// The keys of one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// The keys of the folder with that prefix, as [`crate::place::Bucket`] has it.
    pub fn new(prefix: &str) -> Keys {
        Keys { prefix: prefix.to_owned() }
    }

    /// The object that hosts look for.
    pub fn pointer(&self) -> String {
        format!("{}site-latest.zip", self.prefix)
    }

    /// A version's own object.
    pub fn version(&self, version: &Version) -> String {
        format!("{}{version}.zip", self.versions())
    }

    /// What the keys of all versions begin with.
    pub fn versions(&self) -> String {
        format!("{}site-", self.prefix)
    }

    /// The signature beside a package.
    pub fn signature(package: &str) -> String {
        format!("{package}.minisig")
    }

    /// The version whose own object lies under that key.
    pub fn version_of(&self, key: &str) -> Option<Version> {
        key.strip_prefix(&self.versions())?.strip_suffix(".zip")?.parse().ok()
    }

    /// Whether a verdict on a package lies under that key.
    pub fn is_verdict(&self, key: &str) -> bool {
        self.is_beside(key, "verdicts/")
    }

    /// Whether a host's word on what it serves lies under that key.
    pub fn is_host(&self, key: &str) -> bool {
        self.is_beside(key, "hosts/")
    }

    fn is_beside(&self, key: &str, folder: &str) -> bool {
        let rest = key.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix(BESIDE)?.strip_prefix(folder));
        rest.is_some_and(|name| name.ends_with(".json") && !name.contains('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_under_the_prefix_and_lead_back() {
        let keys = Keys::new("www/");
        let version: Version = "20261121T120000Z-0123456789ab".parse().expect("a version");
        assert_eq!(keys.pointer(), "www/site-latest.zip");
        assert_eq!(keys.version(&version), "www/site-20261121T120000Z-0123456789ab.zip");
        assert_eq!(keys.version_of(&keys.version(&version)), Some(version));
        for key in ["www/site-latest.zip", "site-20261121T120000Z-0123456789ab.zip", "www/site-7.zip"] {
            assert_eq!(keys.version_of(key), None, "{key}");
        }
        assert!(keys.is_verdict("www/.spothost/verdicts/abc.json") && keys.is_host("www/.spothost/hosts/i-1.json"));
        assert!(!keys.is_verdict("www/.spothost/hosts/i-1.json") && !keys.is_host("www/.spothost/hosts/"));
    }
}
