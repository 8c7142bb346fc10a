//! Writing zips that are the same bytes whenever they hold the same files.

use std::{
    fs,
    io::{self, BufReader, BufWriter, Seek as _, Write},
};

use zip::{
    CompressionMethod, DateTime, System, ZipArchive, ZipWriter,
    write::{FullFileOptions, SimpleFileOptions},
};

use super::entry::{Entry, Lies};

/// Stored entries from this length on begin with a page: hosts let the kernel send those from the file, and no shorter
/// ones (`spliced.rs` of the server). Aligning shorter ones would only make the package longer.
const ALIGNED_FROM: u64 = 32 * 1024;
const PAGE: u16 = 4096;

/// An entry as it is.
pub(super) const STORED: CompressionMethod = CompressionMethod::Stored;
/// An entry that is compressed.
pub(super) const DEFLATED: CompressionMethod = CompressionMethod::Deflated;

/// Writes `entries`, which come in the order of their names, as a package into `file`; `done` is told how many bytes
/// of content each had.
///
/// # Errors
/// What the file system says.
pub(super) fn write(entries: &[Entry], file: fs::File, done: impl Fn(u64)) -> io::Result<()> {
    let mut zip = ZipWriter::new(BufWriter::with_capacity(1 << 20, file));
    for entry in entries {
        add(&mut zip, entry).map_err(|error| io::Error::other(format!("{}: {error}", entry.name)))?;
        done(entry.length);
    }
    zip.finish().map_err(io::Error::other)?.flush()
}

fn add(zip: &mut ZipWriter<BufWriter<fs::File>>, entry: &Entry) -> io::Result<()> {
    match &entry.lies {
        Lies::File(path) => {
            let mut file = fs::File::open(path)?;
            zip.start_file(&entry.name, options(STORED, entry.length)).map_err(io::Error::other)?;
            io::copy(&mut file, zip)?;
        }
        Lies::Zipped(path) => {
            let mut kept = ZipArchive::new(BufReader::new(fs::File::open(path)?)).map_err(io::Error::other)?;
            let mut kept = kept.by_index(0).map_err(io::Error::other)?;
            if kept.compression() == STORED {
                // A raw copy would not be aligned.
                zip.start_file(&entry.name, options(STORED, entry.packed)).map_err(io::Error::other)?;
                io::copy(&mut kept, zip)?;
            } else {
                zip.raw_copy_file_rename(kept, &entry.name).map_err(io::Error::other)?;
            }
        }
    }
    Ok(())
}

/// Writes a zip with one entry into `file`; how many bytes the entry takes.
///
/// # Errors
/// What the file system and `content` say.
pub(super) fn single(
    file: &fs::File,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    method: CompressionMethod,
) -> io::Result<u64> {
    let mut zip = ZipWriter::new(BufWriter::new(file));
    // Its name is given when it is copied. ZIP64 fields would be copied too, so they are there only where needed.
    let options = options(method, 0).compression_level((method == DEFLATED).then_some(9));
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
fn options(method: CompressionMethod, length: u64) -> FullFileOptions<'static, 'static> {
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
