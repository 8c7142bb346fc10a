//! Opening a package: from its central directory to a [`Site`].

use std::{borrow::Cow, collections::HashMap};

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};
use http::HeaderValue;

use super::{
    Coding, Entry, Fields, Inflate, Method, Note, PackageLimits, Policy, Redirects, Rules, Site,
    directory::{self, Directory, Header, LOCAL_LENGTH},
    name,
    refused::{Reason, Refused},
};
use crate::respond::{caching, content_type};

/// How long a file of settings may be.
const LONGEST_SETTING: u64 = 1 << 20;
/// How many faults in the settings are told; a file full of them is not told in full.
const MOST_NOTES: usize = 1_000;

/// Opens a package; see [`Site::open`].
pub(super) fn open(zip: Bytes, limits: &PackageLimits) -> Result<Site, Refused> {
    let directory = directory::find(&zip)?;
    let mut opening = Opening::new(limits, zip.len() as u64, &directory)?;
    for header in directory.headers(&zip) {
        opening.add(&header?)?;
    }
    if opening.seen != directory.entries {
        return Err(Reason::Directory("it holds another number of headers than it declares").into());
    }
    opening.refuse_overlaps()?;
    opening.finish(zip, &directory)
}

struct Opening<'a> {
    limits: &'a PackageLimits,
    directory: &'a Directory,
    seen: u64,
    inflated: u64,
    inflated_limit: u64,
    entries: Vec<Entry>,
    names: String,
    /// Where each entry, directories too, lies at least: offset of its local header and the earliest end of its bytes.
    extents: Vec<(u64, u64)>,
    types: ContentTypes,
}

impl<'a> Opening<'a> {
    fn new(limits: &'a PackageLimits, length: u64, directory: &'a Directory) -> Result<Self, Refused> {
        if directory.entries > limits.entries as u64 {
            let text = format!("{} entries, {} are allowed", directory.entries, limits.entries);
            return Err(Reason::TooMuch(text).into());
        }
        let names = (directory.end - directory.start) as u64;
        // The count is only declared; a header takes at least 46 bytes, so the directory's size bounds what is reserved.
        let entries = (directory.entries).min(names / 46) as usize;
        Ok(Self {
            limits,
            directory,
            seen: 0,
            inflated: 0,
            inflated_limit: limits.inflated(length),
            entries: Vec::with_capacity(entries),
            names: String::new(),
            extents: Vec::with_capacity(entries),
            types: ContentTypes::default(),
        })
    }

    fn add(&mut self, header: &Header<'_>) -> Result<(), Refused> {
        self.seen += 1;
        if self.seen > self.limits.entries as u64 {
            return Err(Reason::TooMuch(format!("more than {} entries", self.limits.entries)).into());
        }
        let raw = raw_name(header).map_err(|reason| reason.of(String::from_utf8_lossy(header.name)))?;
        self.add_named(header, &raw).map_err(|reason| reason.of(&*raw))
    }

    fn add_named(&mut self, header: &Header<'_>, raw: &str) -> Result<(), Reason> {
        if raw.len() > self.limits.name {
            return Err(Reason::Name("it is too long"));
        }
        let name = name::normalise(raw)?;
        let directory = kind(header, name.directory)?;
        let method = method(header)?;
        let offset = self.place(header)?;
        if directory {
            return if header.size == 0 { Ok(()) } else { Err(Reason::Kind("a directory with content")) };
        }
        self.inflated = self.inflated.saturating_add(header.size);
        if self.inflated > self.inflated_limit {
            return Err(Reason::TooMuch(format!(
                "and the entries before it inflate to more than {} bytes",
                self.inflated_limit
            )));
        }
        let start = self.names.len();
        self.names.push_str(&name.text);
        if self.names.len() as u64 > self.limits.names {
            return Err(Reason::TooMuch(format!("the names take more than {} bytes", self.limits.names)));
        }
        self.entries.push(Entry {
            offset,
            packed: header.packed,
            size: header.size,
            crc: header.crc,
            modified: modified(header),
            name_start: u32::try_from(start).map_err(|_| Reason::Name("all names together are too long"))?,
            name_length: u16::try_from(name.text.len()).map_err(|_| Reason::Name("it is too long"))?,
            content_type: self.types.of(&name.text),
            siblings: [0; 3],
            method,
            fingerprinted: caching::fingerprinted(&name.text),
        });
        Ok(())
    }

    /// Notes where the entry lies, which must be before the directory, and returns the offset of its local header.
    fn place(&mut self, header: &Header<'_>) -> Result<u64, Reason> {
        let outside = Reason::Contradiction("it is declared to lie outside the file");
        let offset = header.offset.checked_add(self.directory.prefix).ok_or(outside.clone())?;
        let end = offset
            .checked_add((LOCAL_LENGTH + header.name.len()) as u64)
            .and_then(|start| start.checked_add(header.packed))
            .filter(|end| *end <= self.directory.start as u64)
            .ok_or(outside)?;
        self.extents.push((offset, end));
        Ok(offset)
    }

    fn refuse_overlaps(&mut self) -> Result<(), Refused> {
        let mut extents = std::mem::take(&mut self.extents);
        extents.sort_unstable();
        let Some(overlap) = extents.windows(2).find(|pair| pair[0].1 > pair[1].0) else {
            return Ok(());
        };
        let at = overlap[1].0;
        let entry = self.entries.iter().find(|entry| entry.offset == at);
        Err(match entry {
            Some(entry) => Reason::Overlap.of(&self.names[entry.name()]),
            None => Reason::Overlap.of("(a directory)"),
        })
    }

    fn finish(mut self, zip: Bytes, directory: &Directory) -> Result<Site, Refused> {
        let hasher = DefaultHashBuilder::default();
        let index = self.index(&hasher)?;
        if index.is_empty() {
            return Err(Reason::Empty.into());
        }
        self.names.shrink_to_fit();
        let mut site = Site {
            zip,
            file: None,
            directory: directory.start,
            entries: self.entries,
            names: self.names,
            index,
            hasher,
            types: self.types.values,
            rules: Rules::default(),
            notes: Vec::new(),
        };
        read_rules(&mut site);
        Ok(site)
    }

    /// Indexes the files that visitors may see, refuses duplicates among all, and marries files to their codings.
    fn index(&mut self, hasher: &DefaultHashBuilder) -> Result<HashTable<u32>, Refused> {
        use std::hash::BuildHasher;
        let (entries, names) = (&mut self.entries, &self.names);
        let mut all: HashTable<u32> = HashTable::with_capacity(entries.len());
        for index in 0..entries.len() {
            let name = &names[entries[index].name()];
            let hash = |index: &u32| hasher.hash_one(&names[entries[*index as usize].name()]);
            let same = |other: &u32| names[entries[*other as usize].name()] == *name;
            match all.entry(hasher.hash_one(name), same, hash) {
                hashbrown::hash_table::Entry::Occupied(_) => return Err(Reason::Duplicate.of(name)),
                hashbrown::hash_table::Entry::Vacant(vacant) => vacant.insert(index as u32),
            };
        }
        for index in 0..entries.len() {
            let name = &names[entries[index].name()];
            for coding in Coding::ALL {
                let Some(plain) = name.strip_suffix(coding.suffix()) else {
                    continue;
                };
                let found = all.find(hasher.hash_one(plain), |other| names[entries[*other as usize].name()] == *plain);
                if let Some(&found) = found {
                    entries[found as usize].siblings[coding as usize] = index as u32 + 1;
                }
            }
        }
        all.retain(|index| !name::hidden(&names[entries[*index as usize].name()]));
        Ok(all)
    }
}

/// Reads the package's own settings; what is wrong with them is noted, and never keeps the site from being served.
fn read_rules(site: &mut Site) {
    let mut notes = Vec::new();
    let mut read = |file| {
        site.setting(file).unwrap_or_else(|text| {
            notes.push(Note { file, line: 0, text });
            String::new()
        })
    };
    let (redirects, fields, policy) = (read("_redirects"), read("_headers"), read("site.toml"));
    site.rules = Rules {
        redirects: Redirects::parse(&redirects, &mut notes),
        fields: Fields::parse(&fields, &mut notes),
        policy: Policy::parse(&policy, &mut notes),
    };
    if let Some(fallback) = &site.rules.policy.fallback
        && site.file(fallback).is_none()
    {
        notes.push(Note { file: "site.toml", line: 0, text: format!("fallback {fallback:?} is not in the package") });
    }
    notes.truncate(MOST_NOTES);
    site.notes = notes;
}

impl Site {
    /// The text of a file at the package's root that is a setting; empty if there is none.
    fn setting(&self, file: &str) -> Result<String, String> {
        let Some(entry) = self.entries.iter().find(|entry| self.names[entry.name()] == *file) else {
            return Ok(String::new());
        };
        if entry.size > LONGEST_SETTING {
            return Err(format!("it is longer than {LONGEST_SETTING} bytes; none of it is used"));
        }
        let packed = self.packed(entry).ok_or("it cannot be read; none of it is used")?;
        let bytes = match entry.method {
            Method::Stored => packed.to_vec(),
            Method::Deflated => {
                let mut inflate = Inflate::new(packed, entry.size);
                let mut bytes = Vec::new();
                while let Some(piece) = inflate.piece() {
                    bytes.extend(piece.map_err(|_| "it does not inflate; none of it is used")?);
                }
                bytes
            }
        };
        String::from_utf8(bytes).map_err(|_| "it is not UTF-8; none of it is used".into())
    }
}

/// The entry's name as text. Names without the UTF-8 flag are taken if they are valid UTF-8 all the same; else the
/// Unicode path field (APPNOTE §4.6.9) counts, if its checksum shows that it belongs to this name.
fn raw_name<'a>(header: &Header<'a>) -> Result<Cow<'a, str>, Reason> {
    let unicode = header
        .extra(0x7075)
        .and_then(|field| Some((field.get(1..5)?, field.get(5..)?)))
        .filter(|(crc, _)| **crc == crc32fast::hash(header.name).to_le_bytes())
        .and_then(|(_, name)| std::str::from_utf8(name).ok());
    match (std::str::from_utf8(header.name), unicode) {
        (Ok(name), Some(unicode)) if name != unicode => Err(Reason::Name("it has two different ones")),
        (Ok(name), _) => Ok(name.into()),
        (Err(_), Some(unicode)) => Ok(unicode.into()),
        (Err(_), None) => Err(Reason::Name("it is not UTF-8")),
    }
}

/// Whether the entry is a directory; refuses everything that is neither that nor a regular file.
fn kind(header: &Header<'_>, directory: bool) -> Result<bool, Reason> {
    match header.attributes >> 28 {
        // Writers without Unix modes leave the upper half empty; some give directories the mode of a file.
        0 | 0o10 => Ok(directory),
        0o04 => Ok(true),
        0o12 => Err(Reason::Kind("a symbolic link")),
        0o01 => Err(Reason::Kind("a pipe")),
        0o14 => Err(Reason::Kind("a socket")),
        0o02 | 0o06 => Err(Reason::Kind("a device")),
        _ => Err(Reason::Kind("something unknown")),
    }
}

fn method(header: &Header<'_>) -> Result<Method, Reason> {
    const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
    const PATCH: u16 = 1 << 5;
    if header.flags & ENCRYPTED != 0 {
        return Err(Reason::Encrypted);
    }
    if header.flags & PATCH != 0 {
        return Err(Reason::Kind("a patch"));
    }
    match header.method {
        0 if header.packed != header.size => Err(Reason::Contradiction("it is stored, but its two lengths differ")),
        0 => Ok(Method::Stored),
        8 => Ok(Method::Deflated),
        other => Err(Reason::Method(other)),
    }
}

/// Seconds since 1970, 0 if unknown. The extended timestamp is UTC (extra field 0x5455); the DOS time has no zone and is
/// taken as UTC. What lies at the first day of DOS time was put there by a reproducible build and says nothing.
fn modified(header: &Header<'_>) -> u32 {
    if let Some([flags, time @ ..]) = header.extra(0x5455)
        && flags & 1 != 0
        && let Some(time) = time.first_chunk::<4>()
    {
        return u32::try_from(i32::from_le_bytes(*time)).unwrap_or(0);
    }
    let (date, time) = (u32::from(header.date), u32::from(header.time));
    let (year, month, day) = (1980 + (date >> 9), date >> 5 & 15, date & 31);
    if !(1..=12).contains(&month) || day == 0 || (year, month, day) == (1980, 1, 1) {
        return 0;
    }
    let seconds = (time >> 11) * 3600 + (time >> 5 & 63) * 60 + (time & 31) * 2;
    // DOS time goes on to 2107, which is later than 32 bits of seconds hold.
    days_since_1970(year, month, day)
        .checked_mul(86_400)
        .and_then(|midnight| midnight.checked_add(seconds))
        .unwrap_or(0)
}

/// Days of the proleptic Gregorian calendar, for years from 1980 to 2107.
fn days_since_1970(year: u32, month: u32, day: u32) -> u32 {
    // Years are counted from March, so that the leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    days - 719_468
}

/// The content types in use, each once.
#[derive(Default)]
struct ContentTypes {
    values: Vec<HeaderValue>,
    by_extension: HashMap<Box<str>, u16>,
}

impl ContentTypes {
    fn of(&mut self, name: &str) -> u16 {
        let extension = content_type::extension(name);
        if let Some(&known) = self.by_extension.get(extension) {
            return known;
        }
        let value = content_type::of_extension(extension);
        let at = self.values.iter().position(|known| *known == value).unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        });
        // There are fewer content types in the world than this.
        let at = u16::try_from(at).unwrap_or(0);
        self.by_extension.insert(extension.into(), at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for (date, days) in
            [((1980, 1, 2), 3653), ((2000, 2, 29), 11_016), ((2026, 11, 21), 20_778), ((2107, 12, 31), 50_402)]
        {
            assert_eq!(days_since_1970(date.0, date.1, date.2), days, "{date:?}");
        }
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
    }
}
