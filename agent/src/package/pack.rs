//! A folder as a package, for the embedded store.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    time::SystemTime,
};

use time::OffsetDateTime;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use super::tree::{TOO_MANY, Tree};

/// Packs `folder` into `file`: files in order of their names, everything deflated.
///
/// # Errors
/// What the file system says; [`io::ErrorKind::InvalidInput`] for what only a person can mend: a name that is not UTF-8, which
/// no URL leads to, or too many of them.
pub(super) fn pack(folder: &Path, file: fs::File) -> io::Result<()> {
    let mut zip = ZipWriter::new(io::BufWriter::new(file));
    let tree = Tree::read(folder);
    if let Some((path, error)) = tree.unreadable.into_iter().next() {
        return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
    }
    if tree.too_many {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, TOO_MANY));
    }
    for leaf in tree.files {
        let name = leaf.inside.to_str();
        let unnamed = || format!("{} has a name that is not UTF-8, which no URL leads to", leaf.path.display());
        let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, unnamed()))?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(if leaf.is_executable() { 0o755 } else { 0o644 })
            .large_file(leaf.about.len() >= u64::from(u32::MAX))
            .last_modified_time(dos_time(leaf.about.modified()?));
        zip.start_file(name, options).map_err(io::Error::other)?;
        io::copy(&mut fs::File::open(&leaf.path)?, &mut zip)?;
    }
    zip.finish().map_err(io::Error::other)?.flush()
}

/// A zip knows the years 1980 to 2107; what lies outside gets the first of them.
fn dos_time(at: SystemTime) -> DateTime {
    let at = OffsetDateTime::from(at);
    DateTime::try_from(time::PrimitiveDateTime::new(at.date(), at.time())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use spothost_server::{PackageLimits, Site};

    use super::*;

    #[test]
    fn packed_folder_is_a_package_without_what_is_hidden() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = folder.path().join("site");
        for (name, text) in
            [("index.html", "one"), ("a/b.txt", "two"), (".env", "x"), (".git/HEAD", "x"), (".well-known/y", "z")]
        {
            let path = site.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        let path = folder.path().join("site.zip");
        pack(&site, fs::File::create(&path).expect("made")).expect("packed");
        let packed = Site::open(&path, &PackageLimits::default()).expect("a package");
        packed.verify().expect("whole");
        assert_eq!(packed.files(), 3);
    }
}
