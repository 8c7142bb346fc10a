//! A lease: what at most one host does at a time, or so often in a time.

use serde::{Deserialize, Serialize};

use super::{Document, FIRST, first, lenient};

/// The holder of a lease. Made, taken over and given back only by conditional writes; S3's clock says how old it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its format, as [`Document`] says.
    #[serde(default = "first")]
    pub format: u32,
    /// Who holds it: an instance id, with what tells several of its leases apart.
    pub holder: String,
    /// Fencing number: one more with every holder.
    #[serde(default, deserialize_with = "lenient")]
    pub number: u64,
    /// Random, so that every write is another object, with another entity tag.
    #[serde(default, deserialize_with = "lenient")]
    pub writing: u64,
    /// How far what the lease is for had come when this was written: a number that only grows.
    #[serde(default, deserialize_with = "lenient")]
    pub done: u64,
    /// Whether it was given back.
    #[serde(default, deserialize_with = "lenient")]
    pub free: bool,
}

impl Lease {
    /// A lease that `holder` holds with that fencing number, of something that has come as far as `done`.
    pub fn held(holder: &str, number: u64, done: u64) -> Lease {
        Lease { format: FIRST, holder: holder.to_owned(), number, writing: 0, done, free: false }
    }
}

impl Document for Lease {
    const NAME: &'static str = "lease";
}
