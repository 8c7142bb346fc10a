//! What differs between two packages, or a package and a folder.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Serialize;
use zip::ZipArchive;

use super::folder::SiteFolder;

/// The files of one side by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side(BTreeMap<String, FileFingerprint>);

/// Length and CRC-32, which tell a file from another of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileFingerprint {
    crc: u32,
    size: u64,
}

/// One file that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its name.
    pub name: String,
    /// Its length in bytes on the first side; none if it is not there.
    pub before: Option<u64>,
    /// The same on the second side.
    pub after: Option<u64>,
}

impl Side {
    /// The files of a zip, by its directory alone.
    ///
    /// # Errors
    /// The fault of the zip.
    pub fn of_zip(zip: impl io::Read + io::Seek) -> io::Result<Side> {
        let mut zip = ZipArchive::new(zip).map_err(io::Error::other)?;
        let mut files = BTreeMap::new();
        for index in 0..zip.len() {
            let entry = zip.by_index_raw(index).map_err(io::Error::other)?;
            if entry.is_file() {
                let name = entry.name().map_err(io::Error::other)?.into_owned();
                files.insert(name, FileFingerprint { crc: entry.crc32(), size: entry.size() });
            }
        }
        Ok(Side(files).without_codings())
    }

    /// The files of a folder, as they would be published.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of_folder(folder: &Path) -> io::Result<Side> {
        let read = SiteFolder::read(folder, u64::MAX);
        let files = read.files.into_iter().map(|file| {
            let mut crc = crc32fast::Hasher::new();
            let mut content = fs::File::open(&file.path)?;
            let mut piece = vec![0; 1 << 17];
            loop {
                match io::Read::read(&mut content, &mut piece)? {
                    0 => break,
                    read => crc.update(&piece[..read]),
                }
            }
            Ok((file.name, FileFingerprint { crc: crc.finalize(), size: file.length }))
        });
        Ok(Side(files.collect::<io::Result<_>>()?).without_codings())
    }

    /// Without what holds another file in another coding: it changes when that file does.
    fn without_codings(mut self) -> Side {
        let coded = |name: &String| {
            let file = name.strip_suffix(".br").or_else(|| name.strip_suffix(".zst"));
            file.is_some_and(|file| self.0.contains_key(file))
        };
        let beside = self.0.keys().filter(|name| coded(name));
        for name in beside.cloned().collect::<Vec<_>>() {
            self.0.remove(&name);
        }
        self
    }

    /// How many files are the same on both sides.
    pub fn same(&self, other: &Side) -> usize {
        self.0.iter().filter(|(name, is)| other.0.get(*name) == Some(is)).count()
    }

    /// The files added, changed and removed from this side to `after`, in the order of names.
    pub fn changes(&self, after: &Side) -> Vec<FileChange> {
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(after.0.keys()).collect();
        let change = |name: &String| {
            let old = self.0.get(name);
            let new = after.0.get(name);
            let size = |is: Option<&FileFingerprint>| is.map(|is| is.size);
            (old != new).then(|| FileChange { name: name.clone(), before: size(old), after: size(new) })
        };
        names.into_iter().filter_map(change).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    fn zip(files: &[(&str, &str)]) -> Cursor<Vec<u8>> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).expect("started");
            zip.write_all(content.as_bytes()).expect("written");
        }
        zip.finish().expect("a zip")
    }

    #[test]
    fn differences_are_told_by_content_and_codings_are_left_out() {
        let before =
            zip(&[("a.html", "one"), ("a.html.br", "x"), ("b.html", "two"), ("c.html", "same"), ("d.br", "own")]);
        let after = zip(&[("a.html", "ONE"), ("c.html", "same"), ("e.html", "new!"), ("d.br", "own")]);
        let before = Side::of_zip(before).expect("a side");
        let after = Side::of_zip(after).expect("a side");
        let change = |name: &str, before, after| FileChange { name: name.into(), before, after };
        let expected =
            [change("a.html", Some(3), Some(3)), change("b.html", Some(3), None), change("e.html", None, Some(4))];
        assert_eq!(before.changes(&after), expected);
        assert_eq!((before.same(&after), before.changes(&before)), (2, vec![]));
    }

    #[test]
    fn folder_differs_from_its_own_package_in_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in [("index.html", "one"), ("x.txt", "two"), (".hidden", "no")] {
            fs::write(folder.path().join(name), content).expect("written");
        }
        let side = Side::of_folder(folder.path()).expect("a side");
        let zip = Side::of_zip(zip(&[("x.txt", "two"), ("index.html", "one")])).expect("a side");
        assert_eq!(side.changes(&zip), []);
    }
}
