//! Writing zips that are the same bytes whenever they hold the same files.

use std::{
    fs,
    io::{self, BufReader, BufWriter, Write as _},
    os::unix::fs::FileExt as _,
};

use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};
use zip::{DateTime, ZipArchive, ZipWriter};

use super::{
    entry::{EntryStorage, PackageEntry},
    single_entry::{STORED, options},
};

/// Writes `entries`, which come in the order of their names, as a package into `file`. Each is said to have been modified at
/// `date`, if there is one.
///
/// # Errors
/// What the file system says; a date that no zip can hold ([`io::ErrorKind::InvalidInput`]).
pub(super) fn write(entries: &[PackageEntry], file: &fs::File, date: Option<OffsetDateTime>) -> io::Result<()> {
    let mut zip = ZipWriter::new(BufWriter::with_capacity(1 << 20, file));
    for entry in entries {
        add(&mut zip, entry).map_err(|error| io::Error::other(format!("{}: {error}", entry.name)))?;
    }
    zip.finish().map_err(io::Error::other)?.flush()?;
    if entries.iter().any(|entry| entry.is_executable) {
        set_modes(file, entries)?;
    }
    match date {
        Some(date) => set_dates(file, dos_time(date)?),
        None => Ok(()),
    }
}

/// The time as a zip has it: in UTC, which hosts take it for, and down to two seconds.
pub(super) fn dos_time(at: OffsetDateTime) -> io::Result<DateTime> {
    let at = at.to_offset(UtcOffset::UTC);
    let fault = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("{at}: a zip knows the years 1980 to 2107"));
    DateTime::try_from(PrimitiveDateTime::new(at.date(), at.time())).map_err(fault)
}

/// Sets the time of every entry: what was compressed before was kept without one, and is copied as it lies.
fn set_dates(file: &fs::File, at: DateTime) -> io::Result<()> {
    /// Where time and date stand in a local header, and in one of the central directory (APPNOTE §4.3.7, §4.3.12).
    const IN_LOCAL: u64 = 10;
    const IN_CENTRAL: u64 = 12;
    let mut zip = ZipArchive::new(BufReader::new(file.try_clone()?)).map_err(io::Error::other)?;
    let mut places = Vec::with_capacity(2 * zip.len());
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(io::Error::other)?;
        places.extend([entry.header_start() + IN_LOCAL, entry.central_header_start() + IN_CENTRAL]);
    }
    let [low, high] = at.timepart().to_le_bytes();
    let [lower, higher] = at.datepart().to_le_bytes();
    places.iter().try_for_each(|place| file.write_all_at(&[low, high, lower, higher], *place))
}

/// Says of the entries that may be executed that they may: what was compressed before was kept without a mode of its own. They come in
/// the order of `entries`.
fn set_modes(file: &fs::File, entries: &[PackageEntry]) -> io::Result<()> {
    /// Where the external attributes stand in a header of the central directory (APPNOTE §4.3.12); their upper half is the Unix mode.
    const IN_CENTRAL: u64 = 38;
    let attributes = (0o100_755_u32 << 16).to_le_bytes();
    let mut zip = ZipArchive::new(BufReader::new(file.try_clone()?)).map_err(io::Error::other)?;
    for index in entries.iter().enumerate().filter(|(_, entry)| entry.is_executable).map(|(index, _)| index) {
        let at = zip.by_index_raw(index).map_err(io::Error::other)?.central_header_start() + IN_CENTRAL;
        file.write_all_at(&attributes, at)?;
    }
    Ok(())
}

fn add(zip: &mut ZipWriter<BufWriter<&fs::File>>, entry: &PackageEntry) -> io::Result<()> {
    match &entry.storage {
        EntryStorage::File(path) => {
            let mut file = fs::File::open(path)?;
            zip.start_file(&entry.name, options(STORED, entry.length)).map_err(io::Error::other)?;
            io::copy(&mut file, zip)?;
        }
        EntryStorage::Zipped(path) => {
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

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn time_is_kept_as_hosts_read_it() {
        let at = datetime!(2026-11-21 13:00:05 +1);
        let dos = dos_time(at).expect("a time");
        assert_eq!((dos.year(), dos.month(), dos.day()), (2026, 11, 21));
        assert_eq!((dos.hour(), dos.minute(), dos.second()), (12, 0, 4));
        for beyond in [datetime!(1979-12-31 23:59:59 UTC), datetime!(2108-01-01 0:00 UTC)] {
            assert_eq!(dos_time(beyond).expect_err("no time of a zip").kind(), io::ErrorKind::InvalidInput);
        }
    }
}
