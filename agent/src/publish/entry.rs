//! One file of the site as entries of a package: itself, and beside it in the codings that save enough.

use std::{
    collections::HashSet,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};

use super::{
    Problem,
    cache::{Cache, CachedCoding},
    folder::SiteFile,
    single_entry,
};

/// A file is compressed where that saves a twentieth of it.
const WORTH_DEFLATING: f64 = 0.95;
/// What hosts put around a deflated entry, so that it is gzip (RFC 1952 §2.3): what visitors load is that much longer.
const FRAMING: u64 = 18;
/// Another coding lies beside a file where it saves a tenth of what deflate makes of it, …
const WORTH_LYING_BESIDE: f64 = 0.9;
/// … and at least so many bytes: what fits a packet anyway is not there sooner.
const LEAST_SAVED: u64 = 512;
/// Longer files are compressed as a stream, and in no other coding: they would have to lie in memory as a whole.
const LONGEST_IN_MEMORY: u64 = 64 << 20;
/// Brotli's window: 2^22 bytes. Larger ones are not decoded by every browser.
const BROTLI_WINDOW: i32 = 22;

/// One entry of the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PackageEntry {
    /// Name in the package.
    pub(super) name: String,
    /// Length of the file that was compressed, in bytes.
    pub(super) length: u64,
    /// Bytes it takes in the package.
    pub(super) packed: u64,
    /// Where its bytes are.
    pub(super) storage: EntryStorage,
    /// Whether it is another coding of a file rather than a file.
    pub(super) beside: bool,
    /// Whether it is of the package's program, and may be executed.
    pub(super) is_executable: bool,
}

/// Where the bytes of an entry are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntryStorage {
    /// In a file, as they are.
    File(PathBuf),
    /// In a zip whose only entry they are.
    Zipped(PathBuf),
}

/// How hard files are compressed. docs/benchmarks.md has the figures that these levels were chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Level of deflate, 1 to 9.
    pub deflate: u32,
    /// Quality of Brotli, 1 to 11; none makes no `.br`.
    pub brotli: Option<u32>,
    /// Level of Zstandard, 1 to 19; none makes no `.zst`.
    pub zstandard: Option<i32>,
}

impl Effort {
    /// What is worth its time each time that something is published.
    pub const USUAL: Effort = Effort { deflate: 9, brotli: Some(5), zstandard: Some(9) };
    /// The smallest files, whatever the time.
    pub const BEST: Effort = Effort { deflate: 9, brotli: Some(11), zstandard: Some(19) };
}

/// Makes entries of files.
pub(super) struct Packer<'a> {
    pub(super) cache: &'a Cache,
    pub(super) effort: Effort,
    /// The names of all files: what the site brings along compressed is not made again.
    pub(super) names: HashSet<&'a str>,
}

impl Packer<'_> {
    /// The entries of one file, and whether nothing had to be compressed for them.
    pub(super) fn pack(&self, file: &SiteFile) -> Result<(Vec<PackageEntry>, bool), Problem> {
        self.entries(file).map_err(|error| Problem::stops(&file.name, format!("cannot be packed: {error}")))
    }

    fn entries(&self, file: &SiteFile) -> io::Result<(Vec<PackageEntry>, bool)> {
        if file.length == 0 || is_compressed(&file.name) {
            return Ok((vec![as_it_is(file)], true));
        }
        if file.length > LONGEST_IN_MEMORY {
            let (entry, known) = self.streamed(file)?;
            return Ok((vec![entry], known));
        }
        let content = fs::read(&file.path)?;
        let hash = hex::encode(aws_lc_rs::digest::digest(&SHA256, &content));
        let mut making = Making { cache: self.cache, hash: &hash, known: true };
        let deflated = self.deflated(&mut making, content.len() as u64, &mut || Ok(&content[..]))?;
        let CachedCoding::Zip(path, packed) = deflated else {
            return Ok((vec![as_it_is(file)], making.known));
        };
        let length = content.len() as u64;
        let mut entries = vec![PackageEntry { length, packed, storage: EntryStorage::Zipped(path), ..as_it_is(file) }];
        // No visitor loads it.
        if file.is_of_the_program() {
            return Ok((entries, making.known));
        }
        let known = self.beside(file, &content, packed, &mut making, &mut entries)?;
        Ok((entries, known))
    }

    /// Adds the codings that lie beside a file.
    fn beside(
        &self,
        file: &SiteFile,
        content: &[u8],
        deflated: u64,
        making: &mut Making<'_>,
        entries: &mut Vec<PackageEntry>,
    ) -> io::Result<bool> {
        type Encode = Box<dyn Fn(&[u8]) -> io::Result<Vec<u8>>>;
        // Whether a coding is worth it depends on what deflate makes, too.
        let base = deflate_key(self.effort.deflate);
        let brotli = self.effort.brotli.map(|quality| -> (&str, String, Encode) {
            ("br", format!("br{quality}.{base}"), Box::new(move |content| brotli(content, quality)))
        });
        let zstandard = self.effort.zstandard.map(|level| -> (&str, String, Encode) {
            ("zst", format!("zst{level}.{base}"), Box::new(move |content| zstd::bulk::compress(content, level)))
        });
        // It cannot save enough.
        if deflated + FRAMING <= LEAST_SAVED {
            return Ok(making.known);
        }
        for (extension, made_by, encode) in brotli.into_iter().chain(zstandard) {
            let name = format!("{}.{extension}", file.name);
            if self.names.contains(name.as_str()) {
                continue;
            }
            let coded = making.kept(&made_by, |zip| {
                let coded = encode(content)?;
                if !saves_enough(coded.len() as u64, deflated) {
                    return Ok(None);
                }
                single_entry::write(zip, |entry| entry.write_all(&coded), None).map(Some)
            })?;
            if let CachedCoding::Zip(path, packed) = coded {
                entries.push(PackageEntry {
                    name,
                    length: packed,
                    packed,
                    storage: EntryStorage::Zipped(path),
                    beside: true,
                    is_executable: false,
                });
            }
        }
        Ok(making.known)
    }

    /// A file that is too long for memory: read once for its hash, and once more where it is not known.
    fn streamed(&self, file: &SiteFile) -> io::Result<(PackageEntry, bool)> {
        let hash = hash_of(&file.path)?;
        let mut making = Making { cache: self.cache, hash: &hash, known: true };
        let kept = self.deflated(&mut making, file.length, &mut || fs::File::open(&file.path))?;
        let entry = match kept {
            CachedCoding::Zip(path, packed) => {
                PackageEntry { packed, storage: EntryStorage::Zipped(path), ..as_it_is(file) }
            }
            CachedCoding::NotWorthIt => as_it_is(file),
        };
        Ok((entry, making.known))
    }

    /// A content of that length, deflated, if that is worth it.
    fn deflated<R: io::Read>(
        &self,
        making: &mut Making<'_>,
        length: u64,
        content: &mut dyn FnMut() -> io::Result<R>,
    ) -> io::Result<CachedCoding> {
        let level = self.effort.deflate;
        making.kept(&deflate_key(level), |zip| {
            let packed = single_entry::write(zip, |entry| io::copy(&mut content()?, entry).map(drop), Some(level))?;
            Ok(is_worth_deflating(packed, length).then_some(packed))
        })
    }
}

/// What is kept of a content that was deflated at that level.
fn deflate_key(level: u32) -> String {
    format!("deflate{level}")
}

/// The forms that are made of one content.
struct Making<'a> {
    cache: &'a Cache,
    hash: &'a str,
    /// Whether everything so far was in the cache.
    known: bool,
}

impl Making<'_> {
    fn kept(
        &mut self,
        made_by: &str,
        make: impl FnOnce(&fs::File) -> io::Result<Option<u64>>,
    ) -> io::Result<CachedCoding> {
        let key = format!("{}.{made_by}", self.hash);
        if let Some(kept) = self.cache.find(&key) {
            return Ok(kept);
        }
        self.known = false;
        self.cache.keep(&key, make)
    }
}

/// The hash of a file, in hexadecimal digits.
pub(super) fn hash_of(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Context::new(&SHA256);
    let mut piece = vec![0; 1 << 17];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finish())),
            read => hash.update(&piece[..read]),
        }
    }
}

fn as_it_is(file: &SiteFile) -> PackageEntry {
    let name = file.name.clone();
    let storage = EntryStorage::File(file.path.clone());
    let length = file.length;
    let is_executable = file.is_executable;
    PackageEntry { name, length, packed: length, storage, beside: false, is_executable }
}

/// Whether what visitors load of a content of that length is enough shorter once it is deflated.
fn is_worth_deflating(packed: u64, length: u64) -> bool {
    (packed + FRAMING) as f64 <= length as f64 * WORTH_DEFLATING
}

/// Whether another coding is enough shorter than what visitors load of the deflated entry.
fn saves_enough(coded: u64, deflated: u64) -> bool {
    let gzip = deflated + FRAMING;
    coded + LEAST_SAVED <= gzip && coded as f64 <= gzip as f64 * WORTH_LYING_BESIDE
}

fn brotli(content: &[u8], quality: u32) -> io::Result<Vec<u8>> {
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: quality.min(11) as i32,
        lgwin: BROTLI_WINDOW,
        size_hint: content.len(),
        ..Default::default()
    };
    let mut coded = Vec::new();
    brotli::BrotliCompress(&mut &*content, &mut coded, &parameters)?;
    Ok(coded)
}

/// Whether a file of that name is compressed already: trying again takes time and saves nothing.
fn is_compressed(name: &str) -> bool {
    const COMPRESSED: &[&str] = &[
        "7z", "aac", "apk", "avif", "br", "bz2", "docx", "epub", "flac", "gif", "gz", "heic", "jpeg", "jpg", "jxl",
        "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "odt", "oga", "ogg", "ogv", "opus", "png", "pptx", "rar", "tgz",
        "webm", "webp", "woff", "woff2", "xlsx", "xz", "zip", "zst",
    ];
    let extension = name.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
    extension.is_some_and(|extension| COMPRESSED.binary_search(&extension.to_ascii_lowercase().as_str()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_already_is_told_by_its_name() {
        for (name, expected) in [
            ("a.png", true),
            ("a.PNG", true),
            ("a/b.woff2", true),
            ("a.html", false),
            ("png", false),
            ("a.png/b", false),
            ("site.wasm", false),
        ] {
            assert_eq!(is_compressed(name), expected, "{name}");
        }
    }

    #[test]
    fn coding_lies_beside_a_file_where_it_saves_enough() {
        for (coded, deflated, expected) in [
            (900, 1000, false),
            (400, 1000, true),
            (8_900, 10_000, true),
            (9_100, 10_000, false),
            (1, 400, false),
            // 512 bytes fewer than the entry and its frame.
            (506, 1000, true),
            (507, 1000, false),
        ] {
            assert_eq!(saves_enough(coded, deflated), expected, "{coded} of {deflated}");
        }
    }

    #[test]
    fn file_is_deflated_where_its_gzip_is_enough_shorter() {
        for (packed, length, expected) in [
            // 26 bytes would be 46 to the browser that loads them.
            (28, 26, false),
            (10, 26, false),
            (90, 100, false),
            (77, 100, true),
            (78, 100, false),
            (9_482, 10_000, true),
            (9_483, 10_000, false),
            (0, 0, false),
        ] {
            assert_eq!(is_worth_deflating(packed, length), expected, "{packed} of {length}");
        }
    }
}
