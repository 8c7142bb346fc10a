//! What a host serves and how it is, told beside the packages.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::{Document, FIRST, Version, first, lenient, lenient_time, never};

/// What a host serves, in which role, and how it is. Written when one of these changes, and never as a sign of life: an instance that is gone has left
/// its last word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDocument {
    /// Its format, as [`Document`] says.
    #[serde(default = "first")]
    pub format: u32,
    /// Instance id.
    pub instance: String,
    /// How it stands to the names.
    #[serde(default, deserialize_with = "lenient")]
    pub role: HostRole,
    /// The version that the package's publisher gave it, if any: any text.
    #[serde(default, deserialize_with = "lenient")]
    pub version: Option<String>,
    /// Entity tag of the package that is served.
    #[serde(default, deserialize_with = "lenient")]
    pub etag: Option<String>,
    /// Since when it has served that in this role.
    #[serde(default = "never", serialize_with = "time::serde::rfc3339::serialize", deserialize_with = "lenient_time")]
    pub since: OffsetDateTime,
    /// Its public address, if it has one.
    #[serde(default, deserialize_with = "lenient")]
    pub address: Option<String>,
    /// Version of the program that it runs.
    #[serde(default, deserialize_with = "lenient")]
    pub program: Option<String>,
    /// Whether it takes packages that are for an application; none where it is of a version that refuses them for all hosts.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub applications: Option<bool>,
    /// Its status when this was written, as `spothost status --json` tells it there, with texts cut short; none of earlier
    /// versions. Not read here: it is the board's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
}

/// How a host stands to the names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum HostRole {
    /// They lead to it.
    Owner,
    /// They lead to another host, which has claimed them.
    Standby,
    /// It touches no names.
    Serving,
    /// It has not come to serve yet.
    Booting,
    /// Another word: of a later version, or of a reader that knows better.
    Other(String),
}

impl HostDocument {
    /// What `instance` says that it serves.
    pub fn of(instance: String, role: HostRole, since: OffsetDateTime) -> HostDocument {
        HostDocument {
            format: FIRST,
            instance,
            role,
            version: None,
            etag: None,
            since,
            address: None,
            program: None,
            applications: None,
            status: None,
        }
    }

    /// The version of the package that it serves, where it is a name that this program gives.
    pub fn published_version(&self) -> Option<Version> {
        self.version.as_ref()?.parse().ok()
    }

    /// Whether visitors are led to it: as the owner of the names, or because it keeps none and another host does.
    pub fn has_visitors(&self) -> bool {
        matches!(self.role, HostRole::Owner | HostRole::Serving)
    }

    /// Whether the names lead to this host.
    pub fn is_owner(&self) -> bool {
        self.role == HostRole::Owner
    }

    /// Whether both say the same of what is served, whenever they were written.
    pub fn says_the_same_as(&self, other: Option<&HostDocument>) -> bool {
        let same =
            |other: &HostDocument| HostDocument { since: self.since, status: self.status.clone(), ..other.clone() };
        other.is_some_and(|other| same(other) == *self)
    }
}

impl Document for HostDocument {
    const NAME: &'static str = "document of a host";
}

impl Default for HostRole {
    fn default() -> HostRole {
        HostRole::Other("unknown".to_owned())
    }
}

impl From<String> for HostRole {
    fn from(word: String) -> HostRole {
        match word.as_str() {
            "owner" => HostRole::Owner,
            "standby" => HostRole::Standby,
            "serving" => HostRole::Serving,
            "booting" => HostRole::Booting,
            _ => HostRole::Other(word),
        }
    }
}

impl From<HostRole> for String {
    fn from(role: HostRole) -> String {
        role.to_string()
    }
}

impl fmt::Display for HostRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HostRole::Owner => "owner",
            HostRole::Standby => "standby",
            HostRole::Serving => "serving",
            HostRole::Booting => "booting",
            HostRole::Other(word) => word,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn account_is_the_same_whenever_it_was_written() {
        let now = HostDocument {
            etag: Some("\"1\"".into()),
            address: Some("192.0.2.1".into()),
            program: Some("1".into()),
            ..HostDocument::of("i-1".into(), HostRole::Owner, OffsetDateTime::UNIX_EPOCH)
        };
        let later = HostDocument { since: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(9), ..now.clone() };
        assert!(later.says_the_same_as(Some(&now)));
        assert!(!later.says_the_same_as(None));
        assert!(!HostDocument { role: HostRole::Standby, ..now.clone() }.says_the_same_as(Some(&now)));
        let written: serde_json::Value = serde_json::to_value(&now).expect("JSON");
        assert_eq!((&written["role"], &written["since"]), (&"owner".into(), &"1970-01-01T00:00:00Z".into()));
    }

    #[test]
    fn roles_are_words_and_a_later_one_stays_what_it_is() {
        for (word, owner, visited) in
            [("owner", true, true), ("standby", false, false), ("serving", false, true), ("arbiter", false, false)]
        {
            let host = HostDocument::of("i-1".into(), HostRole::from(word.to_owned()), never());
            assert_eq!(
                (host.is_owner(), host.has_visitors(), host.role.to_string()),
                (owner, visited, word.to_owned())
            );
        }
    }
}
