//! Whether the disk has room for a package.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::fault::Fault;

/// What is left free for everything else that writes there.
const SPARE: u64 = 16 << 20;

/// Says whether `length` bytes will go into the file `incoming`, counting what it holds already.
///
/// # Errors
/// That they will not, with the figures.
pub(super) fn room(incoming: &Path, length: u64) -> Result<(), Fault> {
    let Some(folder) = incoming.parent() else { return Ok(()) };
    // A file system that cannot say has to be tried.
    let Ok(about) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    let held = fs::metadata(incoming).map(|about| about.blocks().saturating_mul(512)).unwrap_or(0);
    let needed = length.saturating_sub(held).saturating_add(SPARE.min(length));
    if needed <= free {
        return Ok(());
    }
    let mb = |bytes: u64| bytes.div_ceil(1_000_000);
    let said = format!("the package needs {} MB, and {} MB are free", mb(needed), mb(free));
    let remedy = "free some, or give the host a larger disk: it holds the package that is served and the next one";
    let fault = Fault::retry(format!("keeping the package in {}", folder.display()), said);
    Err(Fault { remedy: Some(remedy.to_owned()), ..fault })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_larger_than_the_disk_is_refused_with_the_figures() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let incoming = folder.path().join("incoming.zip");
        assert_eq!(room(&incoming, 1), Ok(()));
        let fault = room(&incoming, 1 << 60).expect_err("no disk is so large");
        assert!(fault.said.starts_with("the package needs 1152921504624 MB"), "{fault}");
        assert!(fault.remedy.is_some());
    }
}
