//! Whether the disk has room for a package.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::fault::Fault;

/// What is left free for everything else that writes there: notes, status and certificate have some KB each.
const SPARE: u64 = 1 << 20;

/// Says whether a package of `length` bytes will go into the file `incoming`, counting what it holds already. Nothing is
/// unpacked: the file is the package. The one that is served meanwhile has its room already.
///
/// # Errors
/// That it will not, with the figures.
pub(super) fn check(incoming: &Path, length: u64) -> Result<(), Fault> {
    let Some(folder) = incoming.parent() else { return Ok(()) };
    // A file system that cannot say has to be tried.
    let Ok(about) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    let held = fs::metadata(incoming).map(|about| about.blocks().saturating_mul(512)).unwrap_or(0);
    let needed = needed(length, held);
    if needed <= free {
        return Ok(());
    }
    // What is needed is rounded up and what is there down, so that the figures never seem to contradict the sentence.
    let needed = needed.div_ceil(1_000_000);
    let free = free / 1_000_000;
    let said = format!("the package needs {needed} MB, and {free} MB are free");
    let remedy = "free some, or give the host a larger disk: it holds the package that is served and the next one";
    let fault = Fault::retry(format!("keeping the package in {}", folder.display()), said);
    Err(Fault { remedy: Some(remedy.to_owned()), ..fault })
}

/// Bytes that have to be free for a package of `length` bytes, of which so many are on disk already.
fn needed(length: u64, held: u64) -> u64 {
    length.saturating_sub(held).saturating_add(SPARE.min(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_needs_its_own_length_and_little_more() {
        const MB: u64 = 1_000_000;
        let table = [
            // Length, of which is there, free; whether it goes.
            (10_600_000, 0, 17 * MB, true),
            (10_600_000, 0, 11 * MB, false),
            (10_600_000, 10_600_000, 2 * MB, true),
            (64 * MB, 16 * MB, 50 * MB, true),
            (64 * MB, 0, 64 * MB, false),
            (1_000, 0, 2_000, true),
            (1_000, 0, 1_000, false),
            (0, 0, 0, true),
        ];
        for (length, held, free, goes) in table {
            assert_eq!(needed(length, held) <= free, goes, "{length} bytes, {held} there, {free} free");
        }
    }

    #[test]
    fn package_larger_than_the_disk_is_refused_with_the_figures() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let incoming = folder.path().join("incoming.zip");
        assert_eq!(check(&incoming, 1), Ok(()));
        let fault = check(&incoming, 1 << 60).expect_err("no disk is so large");
        assert!(fault.said.starts_with("the package needs 1152921504608 MB"), "{fault}");
        assert!(fault.remedy.is_some());
    }
}
