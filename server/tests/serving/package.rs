//! Packages made for tests.

use std::io::{Cursor, Write};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A package in memory.
pub(crate) struct Package(ZipWriter<Cursor<Vec<u8>>>);

impl Package {
    pub(crate) fn new() -> Self {
        Self(ZipWriter::new(Cursor::new(Vec::new())))
    }

    /// The package most tests serve.
    pub(crate) fn example() -> Vec<u8> {
        Self::new()
            .deflated("index.html", text("home", 22_000))
            .deflated("about.html", text("about", 100))
            .deflated("docs/index.html", text("docs", 3_000))
            .deflated("docs/404.html", "no such page in docs")
            .deflated("404.html", "no such page")
            .stored("logo.png", noise(100_000))
            .stored("big.bin", noise(1 << 20))
            .deflated("app.3f9c1a.js", text("js", 5_000))
            .deflated("style.css", text("css", 5_000))
            .stored("style.css.br", "brotli form of style.css")
            .stored("style.css.zst", "zstd form of style.css")
            .stored("empty.txt", "")
            .deflated("sp ace/ä.txt", "unicode")
            .deflated(".env", "SECRET=1")
            .deflated(".well-known/security.txt", "Contact: mailto:ops@example.org")
            .finish()
    }

    pub(crate) fn deflated(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.add(name, content.as_ref(), CompressionMethod::Deflated)
    }

    pub(crate) fn stored(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.add(name, content.as_ref(), CompressionMethod::Stored)
    }

    /// Stored, beginning with a page, as zipalign puts it.
    pub(crate) fn aligned(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(4096);
        self.0.start_file(name, options).unwrap();
        self.0.write_all(content.as_ref()).unwrap();
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.finish().unwrap().into_inner()
    }

    fn add(mut self, name: &str, content: &[u8], method: CompressionMethod) -> Self {
        let time = zip::DateTime::from_date_and_time(2026, 11, 21, 12, 0, 0).unwrap();
        let options = SimpleFileOptions::default().compression_method(method).last_modified_time(time);
        self.0.start_file(name, options).unwrap();
        self.0.write_all(content).unwrap();
        self
    }
}

/// Text that compresses, of about this length.
pub(crate) fn text(word: &str, length: usize) -> String {
    (0..)
        .map(|line| format!("{word} {line}\n"))
        .scan(0, |sum, line| {
            *sum += line.len();
            (*sum <= length + line.len()).then_some(line)
        })
        .collect()
}

/// Bytes that do not compress, the same each time.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
