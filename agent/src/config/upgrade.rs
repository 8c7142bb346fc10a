//! Where new versions of the program are taken from, if hosts are to take them by themselves.

use crate::{documents::PackageKey, place::S3Prefix};

/// New versions of the program, and who may offer them.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// Where they lie: `spothost-x86_64` or `spothost-arm64`, with `.sha256` and `.minisig` beside it.
    pub from: S3Prefix,
    /// Whose signatures count; never empty.
    pub keys: Vec<PackageKey>,
}
