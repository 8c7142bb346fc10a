//! Zips with one entry: the form in which what was compressed is kept until a package copies it, as it lies.

use std::{
    fs,
    io::{self, BufReader, BufWriter, Seek as _, Write},
};

use zip::{
    CompressionMethod, DateTime, System, ZipArchive, ZipWriter,
    write::{FullFileOptions, SimpleFileOptions},
};

/// Stored entries from this length on begin with a page: hosts let the kernel send those from the file, and no shorter
/// ones (`spliced.rs` of the server). Aligning shorter ones would only make the package longer.
const ALIGNED_FROM: u64 = 32 * 1024;
const PAGE: u16 = 4096;

/// An entry as it is.
pub(super) const STORED: CompressionMethod = CompressionMethod::Stored;
/// An entry that is compressed.
const DEFLATED: CompressionMethod = CompressionMethod::Deflated;

/// Writes a zip with one entry into `file`, deflated at that level if there is one (1 to 9); how many bytes the entry takes.
///
/// # Errors
/// What the file system and `content` say.
pub(super) fn write(
    file: &fs::File,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    level: Option<u32>,
) -> io::Result<u64> {
    let method = if level.is_some() { DEFLATED } else { STORED };
    let mut zip = ZipWriter::new(BufWriter::new(file));
    // Its name is given when it is copied. ZIP64 fields would be copied too, so they are there only where needed.
    let options = options(method, 0).compression_level(level.map(i64::from));
    zip.start_file("x", options).map_err(io::Error::other)?;
    content(&mut zip)?;
    zip.finish().map_err(io::Error::other)?.flush()?;
    let mut file = file.try_clone()?;
    file.rewind()?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(io::Error::other)?;
    let entry = zip.by_index(0).map_err(io::Error::other)?;
    Ok(entry.compressed_size())
}

/// What an entry says beside its content: always the same. The first day of DOS time tells hosts that the time of the
/// file is not known.
pub(super) fn options(method: CompressionMethod, length: u64) -> FullFileOptions<'static, 'static> {
    let aligned = method == STORED && length >= ALIGNED_FROM;
    SimpleFileOptions::default()
        .compression_method(method)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644)
        .system(System::Unix)
        .large_file(length >= u64::from(u32::MAX))
        .with_alignment(if aligned { PAGE } else { 1 })
        .into_full_options()
}
