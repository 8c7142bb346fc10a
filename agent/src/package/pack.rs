//! A folder as a package, for the embedded store.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    time::SystemTime,
};

use time::OffsetDateTime;
use walkdir::{DirEntry, WalkDir};
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

/// Whether a package would have this entry: what begins with a dot is hidden, but for `.well-known` (RFC 8615).
pub(crate) fn served(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    !name.starts_with('.') || name == ".well-known"
}

/// Packs `folder` into `file`: files in order of their names, everything deflated.
///
/// # Errors
/// What the file system says; a name that is not UTF-8, which no URL leads to.
pub(super) fn pack(folder: &Path, file: fs::File) -> io::Result<()> {
    let mut zip = ZipWriter::new(io::BufWriter::new(file));
    for entry in WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(|e| e.depth() == 0 || served(e)) {
        let entry = entry.map_err(io::Error::from)?;
        if !entry.file_type().is_file() {
            continue;
        }
        let path = entry.path();
        let name = path.strip_prefix(folder).ok().and_then(Path::to_str);
        let name = name.ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))?;
        let modified = entry.metadata().map_err(io::Error::from)?.modified()?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .large_file(entry.metadata().map_err(io::Error::from)?.len() >= u64::from(u32::MAX))
            .last_modified_time(dos_time(modified));
        zip.start_file(name, options).map_err(io::Error::other)?;
        io::copy(&mut fs::File::open(path)?, &mut zip)?;
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
