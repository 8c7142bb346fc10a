//! Which package of the state folder is the last good one.

use serde::{Deserialize, Serialize};

use super::{Document, FIRST, Release, first};

/// The package that the next process on this host serves until it has heard from the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGood {
    /// Its format, as [`Document`] says.
    #[serde(default = "first")]
    pub format: u32,
    /// Where the package is published: `s3://bucket/prefix/`, or a path on disk.
    pub source: String,
    /// What was published.
    pub release: Release,
    /// Name of the file in the same folder that holds it.
    pub file: String,
}

impl LastGood {
    /// The note that `release` of `source` lies in `file`.
    pub fn new(source: String, release: Release, file: String) -> LastGood {
        LastGood { format: FIRST, source, release, file }
    }
}

impl Document for LastGood {
    const NAME: &'static str = "note of the last good package";
}
