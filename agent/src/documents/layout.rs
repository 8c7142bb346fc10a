//! Where everything lies that hosts, publishers and operators write for each other: every key and every prefix, for writers,
//! readers and policies alike.
//!
//! Hosts of several versions share a bucket, so none of these ever changes: a test holds each as it is.

use super::Version;

/// The folder beside the packages that verdicts and documents of hosts lie in, below the prefix.
pub const BESIDE: &str = ".spothost/";
/// Verdicts on packages, below the prefix: `<entity tag>.json`.
pub const VERDICTS: &str = ".spothost/verdicts/";
/// What hosts serve, below the prefix: `<instance id>.json`.
pub const HOSTS: &str = ".spothost/hosts/";
/// The lease for ordering a certificate, below the prefix.
pub const ORDER_LEASE: &str = ".spothost-lease.json";
/// The claim to an Elastic IP, below the prefix.
pub const ADDRESS_CLAIM: &str = ".spothost-claim.json";
/// The turn of a host to leave its fleet, below the prefix: a lease.
pub const LEAVING: &str = ".spothost-leaving.json";
/// The one successor that is asked for early within an hour, below the prefix: a lease.
pub const EARLY: &str = ".spothost-early.json";
/// What the keys of the replacements of a day begin with, below the prefix: a lease each, `<number>.json`.
pub const REPLACEMENT: &str = ".spothost-replacement-";
/// What the keys of all that is published by this program begin with, below the prefix.
pub const PUBLISHED: &str = "site-";
/// What the keys of versions begin with, below the prefix, and nothing else that is published does: the millennium.
pub const VERSIONS: &str = "site-2";

/// The programs that instances boot with, in the bucket of the user data: `<SHA-256>/spothost-<machine>`.
pub const PROGRAMS: &str = "spothost/";
/// Reports of failed boots, in the bucket of the user data.
pub const FAILED_BOOTS: &str = "failed/";
/// The machine that this program is built for, as programs are named after it.
pub const MACHINE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };

/// The folder of what packages bring for their processes, in the state folder; that of their sockets, in the runtime folder.
pub const APPLICATION_FOLDER: &str = "application";
/// The folder of the last good package, in the state folder.
pub const PACKAGE_FOLDER: &str = "package";
/// The note of what it is, in that folder.
pub const LAST_GOOD: &str = "last-good.json";
/// The account of how the host is doing, in the runtime folder.
pub const STATUS: &str = "status.json";

/// The keys below one prefix of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    prefix: String,
}

impl Layout {
    /// The keys below that prefix, which is empty or ends with a slash.
    pub fn new(prefix: &str) -> Layout {
        Layout { prefix: prefix.to_owned() }
    }

    fn key(&self, below: &str) -> String {
        format!("{}{below}", self.prefix)
    }

    /// The object that hosts look for.
    pub fn pointer(&self) -> String {
        self.key("site-latest.zip")
    }

    /// A version's own object.
    pub fn version(&self, version: &Version) -> String {
        format!("{}{version}.zip", self.versions())
    }

    /// What the keys of all versions begin with.
    pub fn versions(&self) -> String {
        self.key(PUBLISHED)
    }

    /// The version whose own object lies under that key.
    pub fn version_of(&self, key: &str) -> Option<Version> {
        key.strip_prefix(&self.versions())?.strip_suffix(".zip")?.parse().ok()
    }

    /// What the keys of all verdicts begin with.
    pub fn verdicts(&self) -> String {
        self.key(VERDICTS)
    }

    /// The verdict on the object with that entity tag, with quotes or without.
    pub fn verdict(&self, etag: &str) -> String {
        format!("{}{}.json", self.verdicts(), etag.trim_matches('"'))
    }

    /// Whether a verdict on a package lies under that key.
    pub fn is_verdict(&self, key: &str) -> bool {
        self.is_document_in(VERDICTS, key)
    }

    /// What that instance says that it serves.
    pub fn host(&self, instance: &str) -> String {
        format!("{}{instance}.json", self.key(HOSTS))
    }

    /// Whether a host's word on what it serves lies under that key.
    pub fn is_host(&self, key: &str) -> bool {
        self.is_document_in(HOSTS, key)
    }

    fn is_document_in(&self, folder: &str, key: &str) -> bool {
        let name = key.strip_prefix(&self.prefix).and_then(|below| below.strip_prefix(folder));
        name.is_some_and(|name| name.ends_with(".json") && !name.contains('/'))
    }

    /// The lease for ordering a certificate.
    pub fn order_lease(&self) -> String {
        self.key(ORDER_LEASE)
    }

    /// The claim to an Elastic IP.
    pub fn address_claim(&self) -> String {
        self.key(ADDRESS_CLAIM)
    }

    /// The turn of a host to leave its fleet.
    pub fn leaving(&self) -> String {
        self.key(LEAVING)
    }

    /// The one successor that is asked for early within an hour.
    pub fn early(&self) -> String {
        self.key(EARLY)
    }

    /// Replacement number `number`, from 1 on, of a day.
    pub fn replacement(&self, number: u32) -> String {
        self.key(&format!("{REPLACEMENT}{number}.json"))
    }
}

/// The name of the record that holds the claim to `domain`, in its zone.
pub fn claim_record(domain: impl std::fmt::Display) -> String {
    format!("_spothost.{domain}")
}

/// The signature beside the package or program with that key or path.
pub fn signature(of: &str) -> String {
    format!("{of}.minisig")
}

/// The SHA-256 beside the program with that key, in hexadecimal digits.
pub fn checksum(of: &str) -> String {
    format!("{of}.sha256")
}

/// A newer version of the program for such machines, offered below `prefix`.
pub fn offered(prefix: &str, machine: &str) -> String {
    format!("{prefix}spothost-{machine}")
}

/// The program of that SHA-256 for such machines, in the bucket of the user data.
pub fn program(sha256: &str, machine: &str) -> String {
    format!("{PROGRAMS}{sha256}/spothost-{machine}")
}

/// Whether an object with this key says that it is the newest package.
pub fn is_latest(key: &str) -> bool {
    key.ends_with("-latest") || key.ends_with("-latest.zip")
}

/// Whether the object under that key is the version of that name.
pub fn is_of_version(key: &str, version: &str) -> bool {
    key.ends_with(&format!("{PUBLISHED}{version}.zip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Version {
        "20261121T120000.123Z-0123456789ab".parse().expect("a version")
    }

    #[test]
    fn every_key_is_what_it_was_in_every_version_before() {
        let www = Layout::new("www/");
        let top = Layout::new("");
        let table = [
            (www.pointer(), "www/site-latest.zip"),
            (www.version(&version()), "www/site-20261121T120000.123Z-0123456789ab.zip"),
            (www.versions(), "www/site-"),
            (signature(&www.pointer()), "www/site-latest.zip.minisig"),
            (www.verdicts(), "www/.spothost/verdicts/"),
            (www.verdict("\"ab-3\""), "www/.spothost/verdicts/ab-3.json"),
            (www.verdict("ab"), "www/.spothost/verdicts/ab.json"),
            (www.host("i-1"), "www/.spothost/hosts/i-1.json"),
            (www.order_lease(), "www/.spothost-lease.json"),
            (www.address_claim(), "www/.spothost-claim.json"),
            (www.leaving(), "www/.spothost-leaving.json"),
            (www.early(), "www/.spothost-early.json"),
            (www.replacement(12), "www/.spothost-replacement-12.json"),
            (top.pointer(), "site-latest.zip"),
            (top.verdict("ab"), ".spothost/verdicts/ab.json"),
            (top.host("i-1"), ".spothost/hosts/i-1.json"),
            (top.order_lease(), ".spothost-lease.json"),
            (program("0a", "x86_64"), "spothost/0a/spothost-x86_64"),
            (offered("spothost/latest/", "arm64"), "spothost/latest/spothost-arm64"),
            (claim_record("www.example.org"), "_spothost.www.example.org"),
            (checksum(&offered("", "arm64")), "spothost-arm64.sha256"),
            (signature(&offered("", "x86_64")), "spothost-x86_64.minisig"),
        ];
        for (key, expected) in table {
            assert_eq!(key, expected);
        }
        let fixed = [BESIDE, FAILED_BOOTS, PROGRAMS, PACKAGE_FOLDER, LAST_GOOD, STATUS];
        assert_eq!(fixed, [".spothost/", "failed/", "spothost/", "package", "last-good.json", "status.json"]);
    }

    #[test]
    fn keys_lead_back_to_what_they_are_of() {
        let www = Layout::new("www/");
        assert_eq!(www.version_of(&www.version(&version())), Some(version()));
        assert!(is_of_version(&www.version(&version()), &version().to_string()));
        for key in ["www/site-latest.zip", "site-20261121T120000Z-0123456789ab.zip", "www/site-7.zip"] {
            assert_eq!(www.version_of(key), None, "{key}");
        }
        assert!(www.is_verdict(&www.verdict("abc")) && www.is_host(&www.host("i-1")));
        assert!(!www.is_verdict(&www.host("i-1")) && !www.is_host(&www.host("i-1/x")));
        assert!(!www.is_host("www/.spothost/hosts/"));
    }

    #[test]
    fn key_of_the_newest_package_says_so_at_its_end() {
        let table = [
            ("www/site-latest.zip", true),
            ("www/site-latest", true),
            ("-latest", true),
            ("www/site-latest.zip.part", false),
            ("www/latest.zip", false),
            ("www/site-latest/", false),
            ("www/site-LATEST.zip", false),
            ("www/site-7.zip", false),
        ];
        for (key, latest) in table {
            assert_eq!(is_latest(key), latest, "{key}");
        }
    }
}
