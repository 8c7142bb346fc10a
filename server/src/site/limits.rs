//! What a package may be.

/// Limits on what a package may be; everything beyond them is refused at opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageLimits {
    /// How many entries (files and directories) the central directory may list.
    pub entries: usize,
    /// How many bytes the names of all entries may take together.
    pub names: u64,
    /// How many bytes one name may take.
    pub name: usize,
    /// The whole package may inflate to at most `max(64 MiB, inflated_ratio * length of the package)` bytes.
    pub inflated_ratio: u64,
}

impl Default for PackageLimits {
    fn default() -> Self {
        Self { entries: 200_000, names: 32 << 20, name: 4096, inflated_ratio: 200 }
    }
}

impl PackageLimits {
    /// How many bytes all entries of a package of `length` bytes may inflate to together.
    pub(crate) fn inflated(&self, length: u64) -> u64 {
        const FLOOR: u64 = 64 << 20;
        length.saturating_mul(self.inflated_ratio).max(FLOOR)
    }
}
