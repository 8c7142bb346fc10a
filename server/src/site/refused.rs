//! Why a package is not served.

use std::fmt;

/// A package that is not served, with the entry at fault and the reason in one sentence.
///
/// Only a better package cures it, so the text speaks to the person who built the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    entry: Option<Box<str>>,
    reason: Reason,
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "the package is refused: entry {entry:?} {}", self.reason),
            None => write!(f, "the package is refused: {}", self.reason),
        }
    }
}

impl Refused {
    /// What is wrong.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The name of the entry at fault, if the fault is one entry's.
    pub fn entry(&self) -> Option<&str> {
        self.entry.as_deref()
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { entry: None, reason }
    }
}

/// What is wrong with a package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The file cannot be opened or mapped.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// No end record: not a zip, or the end is missing.
    #[error("it is not a whole zip: no end record was found ({0}); copy it anew, or pack the folder anew")]
    NotAZip(&'static str),
    /// The records of the directory contradict each other or the file.
    #[error("its directory is damaged: {0}; pack the folder anew")]
    Directory(&'static str),
    /// A limit of [`PackageLimits`](crate::PackageLimits) is exceeded.
    #[error("it is over a limit: {0}; leave out what is no part of the site, or split it")]
    TooMuch(String),
    /// Nothing in it could be served.
    #[error("it holds no file that could be served: package the folder that the site was built into")]
    Empty,
    /// The entry's name could lead outside, or is not a name.
    #[error("has a name that is not allowed: {0}")]
    Name(&'static str),
    /// Two entries have the same name once both are normalised.
    #[error("is there twice: pack the folder anew, without adding to an archive that is there")]
    Duplicate,
    /// The entry is neither a file nor a directory.
    #[error("is not a regular file but {0}: put a file in its place, or leave it out")]
    Kind(&'static str),
    /// The entry is encrypted.
    #[error("is encrypted: pack it without a password")]
    Encrypted,
    /// The entry uses a compression method other than stored and deflate.
    #[error(
        "uses compression method {0}; only stored (0) and deflate (8) are served: pack it with zip, or 7z a -mm=Deflate"
    )]
    Method(u16),
    /// Two entries share bytes of the package.
    #[error("overlaps another entry: the archive is damaged or made to mislead; pack the folder anew")]
    Overlap,
    /// The entry's records contradict each other.
    #[error("contradicts itself: {0}; pack the folder anew")]
    Contradiction(&'static str),
    /// The entry's bytes do not inflate.
    #[error("does not inflate: its deflate stream is damaged; pack the folder anew")]
    Deflate,
    /// The entry's content is not what the directory declares.
    #[error("is damaged: {0}; pack the folder anew")]
    Damaged(&'static str),
}

impl Reason {
    /// This reason, of one entry.
    pub(crate) fn of(self, entry: impl Into<Box<str>>) -> Refused {
        Refused { entry: Some(entry.into()), reason: self }
    }
}
