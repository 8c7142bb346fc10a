//! The files of a package, for programs that unpack it.

use std::io;

use bytes::{Buf as _, Bytes};

use crate::site::{Entry, Inflate, Method, PROGRAM_FOLDER, Site};

impl Site {
    /// Every file of the package with its content, also those that visitors may not see, in the order in which the package names
    /// them. Call [`verify`](Self::verify) before: content that does not hold cannot be read.
    pub fn contents(&self) -> impl Iterator<Item = (&str, Content)> {
        self.entries().iter().map(|entry| (self.name(entry), Content::of(self, entry)))
    }

    /// Every file of the program that the package brings, in the order in which the package names them: what lies below `.app/`.
    pub fn program(&self) -> impl Iterator<Item = ProgramFile<'_>> {
        self.entries().iter().filter_map(|entry| {
            let path = self.name(entry).strip_prefix(PROGRAM_FOLDER)?;
            let content = Content::of(self, entry);
            Some(ProgramFile { path, length: entry.size, crc: entry.crc, is_executable: entry.is_executable, content })
        })
    }
}

/// A file of the program that a package brings.
#[derive(Debug)]
pub struct ProgramFile<'a> {
    /// Its path below `.app/`: segments joined by `/`, none of them empty, `.` or `..`.
    pub path: &'a str,
    /// Its length in bytes.
    pub length: u64,
    /// CRC-32 of the content.
    pub crc: u32,
    /// Whether its Unix mode lets somebody execute it, as far as the writer of the package knew one.
    pub is_executable: bool,
    /// What it holds.
    pub content: Content,
}

/// The content of one file of a package, inflated as it is read. Its end is an error where the CRC-32 does not hold.
#[derive(Debug)]
pub struct Content {
    crc: u32,
    read: crc32fast::Hasher,
    /// What was inflated and not read yet; all of it, where it lies as it is.
    piece: Bytes,
    /// What is still to be inflated.
    rest: Option<Inflate>,
    damaged: bool,
}

impl Content {
    fn of(site: &Site, entry: &Entry) -> Self {
        let empty =
            Self { crc: entry.crc, read: crc32fast::Hasher::new(), piece: Bytes::new(), rest: None, damaged: false };
        match (site.packed(entry), entry.method) {
            (Some(packed), Method::Stored) => Self { piece: packed, ..empty },
            (Some(packed), Method::Deflated) => Self { rest: Some(Inflate::new(packed, entry.size)), ..empty },
            (None, _) => Self { damaged: true, ..empty },
        }
    }
}

impl io::Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the package is damaged there");
        if self.damaged {
            return Err(damaged());
        }
        if self.piece.is_empty()
            && let Some(next) = self.rest.as_mut().and_then(Inflate::piece)
        {
            self.piece = next.map_err(|_| damaged())?.into();
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        self.read.update(&buffer[..length]);
        if length == 0 && !buffer.is_empty() && self.read.clone().finalize() != self.crc {
            return Err(damaged());
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::site::{PackageLimits, zipped};

    #[test]
    fn contents_are_what_was_packed_whatever_visitors_may_see() {
        let long = "long ".repeat(50_000);
        let files = [("index.html", long.as_str()), ("_redirects", "/a /b\n"), (".env", "x"), ("empty", "")];
        let site = Site::from_bytes(zipped(&files).into(), &PackageLimits::default()).unwrap();
        let read = |mut content: Content| {
            let mut text = String::new();
            content.read_to_string(&mut text).unwrap();
            text
        };
        let found: Vec<_> = site.contents().map(|(name, content)| (name, read(content))).collect();
        let expected: Vec<_> = files.iter().map(|(name, content)| (*name, (*content).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn program_is_what_lies_below_its_folder_with_its_modes() {
        use std::io::Write as _;
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, mode) in [("index.html", 0o755), (".app/bin/server", 0o755), (".app/x.py", 0o644), (".App/y", 0o644)]
        {
            let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
            zip.start_file(name, options).unwrap();
            zip.write_all(b"abc").unwrap();
        }
        let site = Site::from_bytes(zip.finish().unwrap().into_inner().into(), &PackageLimits::default()).unwrap();
        let found: Vec<_> = site.program().map(|file| (file.path, file.length, file.is_executable)).collect();
        assert_eq!(found, [("bin/server", 3, true), ("x.py", 3, false)]);
    }

    #[test]
    fn content_that_is_not_what_was_packed_is_an_error() {
        let text = "stored as it is";
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file("index.html", options).unwrap();
        std::io::Write::write_all(&mut zip, text.as_bytes()).unwrap();
        let mut bytes = zip.finish().unwrap().into_inner();
        let at = bytes.windows(text.len()).position(|part| part == text.as_bytes()).unwrap();
        bytes[at] ^= 1;
        let site = Site::from_bytes(bytes.into(), &PackageLimits::default()).unwrap();
        let (_, mut content) = site.contents().next().unwrap();
        assert_eq!(content.read_to_end(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
