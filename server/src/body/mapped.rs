//! Where content lies in a file.

use std::fs::File;

/// Bytes that lie mapped from a file, so that the kernel can send them from there.
pub(crate) trait Mapped: Send + Sync {
    /// Where in the file these bytes lie, if they are a part of the mapping.
    fn position(&self, part: &[u8]) -> Option<(&File, u64)>;
}
