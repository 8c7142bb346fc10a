//! What hosts and people write for each other, beside the packages and in them: one type a file, for writers and readers.

mod release;
pub(crate) mod signature;
mod version;

pub use release::Release;
pub(crate) use signature::signed_by;
pub use signature::{PackageKey, Signed};
pub use version::Version;
