//! A zip's directory as it lies: the end records and the central directory (APPNOTE.TXT 6.3.10, §4.3.12 to §4.3.16).
//!
//! Read here and not through a zip library, because what matters is what such libraries fold away: duplicates, counts that
//! lie, two names of one entry, records that overlap.

use super::refused::{Reason, Refused};

const END: u32 = 0x0605_4b50;
const END_LENGTH: usize = 22;
const END64: u32 = 0x0606_4b50;
const END64_LENGTH: usize = 56;
const LOCATOR: u32 = 0x0706_4b50;
const LOCATOR_LENGTH: usize = 20;
const HEADER: u32 = 0x0201_4b50;
const HEADER_LENGTH: usize = 46;
const LOCAL: u32 = 0x0403_4b50;
/// The fixed part of a local header (§4.3.7).
pub(super) const LOCAL_LENGTH: usize = 30;

/// Where the central directory lies, and what it claims to hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directory {
    /// Offset of the first header in the file.
    pub(super) start: usize,
    /// Offset just behind the last header.
    pub(super) end: usize,
    /// How many headers the end record declares.
    pub(super) entries: u64,
    /// How many bytes lie before the archive; offsets in the directory count from there.
    pub(super) prefix: u64,
}

/// Finds the central directory from the end of `zip`.
///
/// # Errors
/// [`Reason::NotAZip`] without an end record, [`Reason::Directory`] for records that contradict each other or the file.
pub(super) fn find(zip: &[u8]) -> Result<Directory, Refused> {
    let at = end_record(zip)?;
    let end = &zip[at..];
    let disk = u16_at(end, 4);
    let directory_disk = u16_at(end, 6);
    let small = Declared {
        here: u64::from(u16_at(end, 8)),
        entries: u64::from(u16_at(end, 10)),
        size: u64::from(u32_at(end, 12)),
        offset: u64::from(u32_at(end, 16)),
    };
    if let Some((at64, large)) = zip64(zip, at)? {
        if !small.may_stand_for(&large) {
            return Err(Reason::Directory("the Zip64 end record contradicts the end record").into());
        }
        return large.placed_before(at64);
    }
    if small.needs_zip64() {
        return Err(Reason::Directory("the end record points to a Zip64 record that is not there").into());
    }
    if disk != 0 || directory_disk != 0 {
        return Err(Reason::Directory("it is one part of a zip that was split").into());
    }
    small.placed_before(at)
}

/// What an end record declares.
#[derive(Debug)]
struct Declared {
    here: u64,
    entries: u64,
    size: u64,
    offset: u64,
}

impl Declared {
    fn needs_zip64(&self) -> bool {
        self.entries == 0xffff || self.here == 0xffff || self.size == 0xffff_ffff || self.offset == 0xffff_ffff
    }

    /// Every field of the small record is either the same or the mark that says "see Zip64" (§4.4.1.4).
    fn may_stand_for(&self, large: &Declared) -> bool {
        let same = |small: u64, large: u64, mark: u64| small == large || small == mark;
        same(self.here, large.here, 0xffff)
            && same(self.entries, large.entries, 0xffff)
            && same(self.size, large.size, 0xffff_ffff)
            && same(self.offset, large.offset, 0xffff_ffff)
    }

    /// The directory ends where the end records begin; what lies before the archive follows from that.
    fn placed_before(&self, end: usize) -> Result<Directory, Refused> {
        if self.here != self.entries {
            return Err(Reason::Directory("it is one part of a zip that was split").into());
        }
        let start = (end as u64)
            .checked_sub(self.size)
            .ok_or(Reason::Directory("the directory is declared larger than the file"))?;
        let prefix = start
            .checked_sub(self.offset)
            .ok_or(Reason::Directory("the directory is declared to lie behind its own end"))?;
        Ok(Directory { start: start as usize, end, entries: self.entries, prefix })
    }
}

/// The end record whose comment reaches exactly to the end of the file, and is no second end record. Only zeros may follow
/// it: writers into a pipe fill their last block with them, as bsdtar does.
fn end_record(zip: &[u8]) -> Result<usize, Refused> {
    let last = zip.len().checked_sub(END_LENGTH).ok_or(Reason::NotAZip("the file is shorter than an end record"))?;
    let filled = zip.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let first = filled.saturating_sub(END_LENGTH + usize::from(u16::MAX));
    let at = (first..=last.min(filled))
        .rev()
        .find(|&at| u32_at(zip, at) == END)
        .ok_or(Reason::NotAZip("it was cut short, or is something else"))?;
    let end = at + END_LENGTH + usize::from(u16_at(zip, at + 20));
    if end > zip.len() || end < filled {
        return Err(Reason::NotAZip("bytes were cut off or added behind its end record").into());
    }
    Ok(at)
}

/// The Zip64 end record, if there is one before the end record at `end` (§4.3.14, §4.3.15).
fn zip64(zip: &[u8], end: usize) -> Result<Option<(usize, Declared)>, Refused> {
    let Some(locator) = end.checked_sub(LOCATOR_LENGTH) else {
        return Ok(None);
    };
    if u32_at(zip, locator) != LOCATOR {
        return Ok(None);
    }
    let damaged = Reason::Directory("the Zip64 end record is damaged");
    let declared = usize::try_from(u64_at(zip, locator + 8)).map_err(|_| damaged.clone())?;
    // A prefix moves the record away from where the locator says; then it can only lie right before the locator.
    let beside = locator.checked_sub(END64_LENGTH).ok_or(damaged.clone())?;
    let at = if declared <= beside && u32_at(zip, declared) == END64 { declared } else { beside };
    let length = u64_at(zip, at + 4).checked_add(12);
    if u32_at(zip, at) != END64 || length != Some((locator - at) as u64) || u32_at(zip, locator + 16) > 1 {
        return Err(damaged.into());
    }
    let large = Declared {
        here: u64_at(zip, at + 24),
        entries: u64_at(zip, at + 32),
        size: u64_at(zip, at + 40),
        offset: u64_at(zip, at + 48),
    };
    Ok(Some((at, large)))
}

/// One header of the central directory (§4.3.12), with its Zip64 fields resolved.
#[derive(Debug)]
pub(super) struct Header<'a> {
    /// The system that wrote it (APPNOTE §4.4.2): 0 and 10 are DOS and Windows.
    pub(super) system: u8,
    pub(super) name: &'a [u8],
    pub(super) extra: &'a [u8],
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) time: u16,
    pub(super) date: u16,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) size: u64,
    /// Upper half: the Unix mode, where the writer knew one.
    pub(super) attributes: u32,
    /// Offset of the local header, counted from the start of the archive.
    pub(super) offset: u64,
}

/// The headers of the directory, one after the other.
pub(super) struct Headers<'a> {
    rest: &'a [u8],
}

impl Directory {
    /// The headers of this directory in `zip`.
    pub(super) fn headers<'a>(&self, zip: &'a [u8]) -> Headers<'a> {
        Headers { rest: &zip[self.start..self.end] }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<Header<'a>, Refused>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let next = header(self.rest);
        self.rest = match &next {
            Ok((_, length)) => &self.rest[*length..],
            Err(_) => &[],
        };
        Some(next.map(|(header, _)| header))
    }
}

fn header(bytes: &[u8]) -> Result<(Header<'_>, usize), Refused> {
    if bytes.len() < HEADER_LENGTH || u32_at(bytes, 0) != HEADER {
        return Err(Reason::Directory("something that is no header lies between its headers").into());
    }
    let name = HEADER_LENGTH..HEADER_LENGTH + usize::from(u16_at(bytes, 28));
    let extra = name.end..name.end + usize::from(u16_at(bytes, 30));
    let length = extra.end + usize::from(u16_at(bytes, 32));
    if length > bytes.len() {
        return Err(Reason::Directory("its last header is cut short").into());
    }
    let mut header = Header {
        system: bytes[5],
        name: &bytes[name],
        extra: &bytes[extra],
        flags: u16_at(bytes, 8),
        method: u16_at(bytes, 10),
        time: u16_at(bytes, 12),
        date: u16_at(bytes, 14),
        crc: u32_at(bytes, 16),
        packed: u64::from(u32_at(bytes, 20)),
        size: u64::from(u32_at(bytes, 24)),
        attributes: u32_at(bytes, 38),
        offset: u64::from(u32_at(bytes, 42)),
    };
    header.resolve_zip64(u16_at(bytes, 34))?;
    Ok((header, length))
}

impl<'a> Header<'a> {
    /// Replaces fields that hold the Zip64 mark by those of the extra field, which come in this order (§4.5.3).
    fn resolve_zip64(&mut self, disk: u16) -> Result<(), Refused> {
        const MARK: u64 = 0xffff_ffff;
        let mut field = self.extra(0x0001).unwrap_or_default();
        let lossy = String::from_utf8_lossy(self.name).into_owned();
        for value in [&mut self.size, &mut self.packed, &mut self.offset] {
            if *value != MARK {
                continue;
            }
            let Some((large, rest)) = field.split_first_chunk::<8>() else {
                return Err(Reason::Contradiction("its Zip64 sizes are missing").of(lossy));
            };
            *value = u64::from_le_bytes(*large);
            field = rest;
        }
        if disk != 0 && disk != 0xffff {
            return Err(Reason::Directory("it is one part of a zip that was split").into());
        }
        Ok(())
    }

    /// The content of the extra field with this id (§4.5.1).
    pub(super) fn extra(&self, id: u16) -> Option<&'a [u8]> {
        let mut rest = self.extra;
        while rest.len() >= 4 {
            let end = 4 + usize::from(u16_at(rest, 2));
            if end > rest.len() {
                return None;
            }
            if u16_at(rest, 0) == id {
                return Some(&rest[4..end]);
            }
            rest = &rest[end..];
        }
        None
    }
}

/// A local header (§4.3.7): what stands before an entry's bytes.
#[derive(Debug)]
pub(super) struct Local<'a> {
    pub(super) name: &'a [u8],
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) packed: u32,
    pub(super) size: u32,
    /// Offset of the entry's bytes in the file.
    pub(super) data: usize,
}

/// The local header at `offset`, if a whole one lies there.
pub(super) fn local(zip: &[u8], offset: usize) -> Option<Local<'_>> {
    let fixed = zip.get(offset..offset.checked_add(LOCAL_LENGTH)?)?;
    if u32_at(fixed, 0) != LOCAL {
        return None;
    }
    let name = offset + LOCAL_LENGTH..offset + LOCAL_LENGTH + usize::from(u16_at(fixed, 26));
    Some(Local {
        data: name.end + usize::from(u16_at(fixed, 28)),
        name: zip.get(name)?,
        flags: u16_at(fixed, 6),
        method: u16_at(fixed, 8),
        crc: u32_at(fixed, 14),
        packed: u32_at(fixed, 18),
        size: u32_at(fixed, 22),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
