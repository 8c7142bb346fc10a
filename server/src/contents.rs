//! The files of a package, for programs that unpack it.

use std::io;

use bytes::{Buf as _, Bytes};

use crate::site::{Entry, Inflate, Method, Site};

impl Site {
    /// Every file of the package with its content, also those that visitors may not see, in the order in which the package names
    /// them. Call [`verify`](Self::verify) before: content that does not hold cannot be read.
    pub fn contents(&self) -> impl Iterator<Item = (&str, Content)> {
        self.entries().iter().map(|entry| (self.name(entry), Content::of(self, entry)))
    }
}

/// The content of one file of a package, inflated as it is read.
#[derive(Debug)]
pub struct Content {
    /// What was inflated and not read yet; all of it, where it lies as it is.
    piece: Bytes,
    /// What is still to be inflated.
    rest: Option<Inflate>,
    damaged: bool,
}

impl Content {
    fn of(site: &Site, entry: &Entry) -> Self {
        match (site.packed(entry), entry.method) {
            (Some(packed), Method::Stored) => Self { piece: packed, rest: None, damaged: false },
            (Some(packed), Method::Deflated) => {
                Self { piece: Bytes::new(), rest: Some(Inflate::new(packed, entry.size)), damaged: false }
            }
            (None, _) => Self { piece: Bytes::new(), rest: None, damaged: true },
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
}
