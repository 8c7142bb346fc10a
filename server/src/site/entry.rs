//! One file of a package.

use std::ops::Range;

use super::{EntityTag, fingerprint::Fingerprint};

/// How an entry's bytes lie in the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// As they are (method 0).
    Stored,
    /// As a raw deflate stream (method 8).
    Deflated,
}

/// A content coding that can lie in the package as a file of its own (`name.br` beside `name`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Brotli, RFC 7932.
    Brotli,
    /// Zstandard, RFC 8878.
    Zstandard,
    /// gzip, RFC 1952.
    Gzip,
}

impl Coding {
    /// All of them, the best first.
    pub(crate) const ALL: [Self; 3] = [Self::Brotli, Self::Zstandard, Self::Gzip];

    /// The suffix of a file in this coding.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstandard => ".zst",
            Self::Gzip => ".gz",
        }
    }
}

/// Where a file lies in the package, and what the directory says of it. Kept small: there can be many.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Offset of the local header in the file.
    pub(super) offset: u64,
    /// Length as it lies.
    pub(crate) packed: u64,
    /// Length of the content.
    pub(crate) size: u64,
    /// CRC-32 of the content.
    pub(crate) crc: u32,
    /// When it was last changed, in seconds since 1970; 0 where the package does not say.
    pub(crate) modified: u32,
    pub(super) name_start: u32,
    pub(super) name_length: u16,
    pub(super) content_type: u16,
    /// Indices of the same content in other codings, one more than the index; 0 for none.
    pub(super) siblings: [u32; 3],
    /// How it lies.
    pub(crate) method: Method,
    /// Whether the name says that a change of content changes the name too.
    pub(crate) fingerprint: Fingerprint,
    /// Whether somebody may execute it, as its Unix mode says.
    pub(crate) is_executable: bool,
}

impl Entry {
    pub(super) fn name(&self) -> Range<usize> {
        let start = self.name_start as usize;
        start..start + usize::from(self.name_length)
    }

    pub(super) fn sibling(&self, coding: Coding) -> Option<usize> {
        (self.siblings[coding as usize] as usize).checked_sub(1)
    }

    /// The strong validator of the content as it is (RFC 9110 §8.8.1): what the CRC-32 and the length tell apart.
    pub(crate) fn identity_tag(&self) -> EntityTag {
        EntityTag { crc: self.crc, size: self.size, gzip: None }
    }

    /// The strong validator of the content as gzip, re-framed: other bytes, so another tag.
    pub(crate) fn gzip_tag(&self) -> EntityTag {
        EntityTag { crc: self.crc, size: self.size, gzip: Some(self.packed) }
    }
}
