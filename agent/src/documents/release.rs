//! A published object.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Version;

/// A published object, pinned: two releases are the same if and only if all of this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Key of the object, or path on disk.
    pub key: String,
    /// Entity tag, quotes included.
    pub etag: String,
    /// Version id, where the bucket keeps versions and it is known.
    pub version: Option<String>,
    /// The version that its publisher gave it (`spothost-version` of its metadata), once it is known.
    #[serde(default)]
    pub named: Option<String>,
    /// Length in bytes.
    pub length: u64,
    /// When it was published.
    #[serde(with = "time::serde::rfc3339")]
    pub modified: OffsetDateTime,
}

impl Release {
    /// A release as a listing shows it.
    pub fn plain(key: &str, etag: &str, length: u64, modified: OffsetDateTime) -> Release {
        Release { key: key.to_owned(), etag: etag.to_owned(), version: None, named: None, length, modified }
    }

    /// When it was published, in seconds since 1970: as its version says, which every host that serves it reads alike, else
    /// when the store took it.
    pub fn published(&self) -> u32 {
        let version = self.named.as_ref().and_then(|named| named.parse::<Version>().ok());
        let at = version.map_or(self.modified, |version| version.at());
        u32::try_from(at.unix_timestamp()).unwrap_or(0)
    }

    /// Whether both are the same object with the same content, however much is known of their versions.
    pub fn is(&self, other: &Release) -> bool {
        self.key == other.key && self.etag == other.etag
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn package_was_published_when_its_version_says_or_else_when_the_store_took_it() {
        let modified = datetime!(2026-11-22 08:00 UTC);
        let plain = Release::plain("www/site-latest.zip", "\"1\"", 1, modified);
        for (named, expected) in [
            (None, modified),
            (Some("20261121T120000Z-0123456789ab"), datetime!(2026-11-21 12:00 UTC)),
            (Some("by hand"), modified),
        ] {
            let release = Release { named: named.map(str::to_owned), ..plain.clone() };
            assert_eq!(i64::from(release.published()), expected.unix_timestamp(), "{named:?}");
        }
        let before = Release { modified: OffsetDateTime::UNIX_EPOCH - time::Duration::DAY, ..plain };
        assert_eq!(before.published(), 0);
    }
}
