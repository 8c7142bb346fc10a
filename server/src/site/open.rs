//! Opening a package: from its central directory to a [`Site`].

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::{
    Coding, Entry, PackageLimits, Rules, Site,
    attributes::{is_executable, kind, method, modified, raw_name},
    before::Before,
    content_types::ContentTypes,
    directory::{self, Directory, Header, LOCAL_LENGTH},
    fingerprint::{self, Fingerprint},
    name,
    refused::{Reason, Refused},
    rules,
};

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
            return Err(Reason::Name("it is too long; shorten it"));
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
            fingerprint: Fingerprint::None,
            is_executable: is_executable(header),
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
        self.names.shrink_to_fit();
        let bundled = fingerprint::bundled(self.entries.iter().map(|entry| &self.names[entry.name()]));
        for entry in &mut self.entries {
            entry.fingerprint = fingerprint::of(&self.names[entry.name()], &bundled);
        }
        let mut site = Site {
            zip,
            file: None,
            directory: directory.start,
            entries: self.entries,
            names: self.names,
            index,
            hidden: HashTable::new(),
            hasher,
            types: self.types.values,
            rules: Rules::default(),
            notes: Vec::new(),
            published: 0,
            before: Before::default(),
        };
        rules::read(&mut site);
        if site.index.is_empty() && site.rules.policy.process.is_none() {
            return Err(Reason::Empty.into());
        }
        Ok(site)
    }

    /// Indexes all files, refuses duplicates, and marries files to their codings.
    fn index(&mut self, hasher: &DefaultHashBuilder) -> Result<HashTable<u32>, Refused> {
        use std::hash::BuildHasher;
        let entries = &mut self.entries;
        let names = &self.names;
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
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
    }
}
